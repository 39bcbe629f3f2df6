// Texts from a language model, piece by piece.

import { counted, field, h } from "../elements.js";
import { textDifference } from "../distances.js";
import { events } from "../service.js";

export function generation(models) {
  const prompt = h("textarea", { rows: 6, name: "prompt", spellcheck: "false" });
  prompt.value = "def fibonacci(n):";
  const system = h("textarea", { rows: 2, name: "system" });
  const tokens = h("input", { type: "number", name: "max_tokens", min: 1, value: 64 });
  const temperature = h("input", { type: "number", name: "temperature", min: 0, max: 2, step: 0.1, value: models.length > 1 ? 0 : 0.7 });
  const [asPrompt, asChat] = ["prompt", "chat"].map((value) => h("input", { type: "radio", name: "kind", value, id: `kind-${value}` }));
  asPrompt.checked = true;
  const systemField = field("Instructions", system, "The system message. Left empty, there is none.");
  const changed = () => (systemField.hidden = !asChat.checked);
  for (const radio of [asPrompt, asChat]) radio.addEventListener("change", changed);
  changed();
  const kinds = h(
    "fieldset",
    { class: "kinds" },
    h("legend", {}, "How it is asked"),
    h("span", {}, asPrompt, h("label", { for: asPrompt.id }, "Prompt: the text goes on")),
    h("span", {}, asChat, h("label", { for: asChat.id }, "Chat: the model answers")),
  );
  const numbers = h("div", { class: "row" }, field("Most tokens", tokens, "The text may end before."), field("Temperature", temperature, "0 is always the same."));
  const body = (model) => {
    const content = prompt.value;
    const messages = [...(system.value ? [{ role: "system", content: system.value }] : []), { role: "user", content }];
    const asked = asChat.checked ? { messages } : { prompt: content };
    return { model, ...asked, max_tokens: value(tokens), temperature: value(temperature), stream: true, stream_options: { include_usage: true } };
  };
  return {
    title: "Writes on where a text ends, or answers in a chat.",
    fields: [kinds, systemField, field("Text", prompt), numbers],
    ask: (send, { model, place }) => streamed(() => send(asChat.checked ? "/v1/chat/completions" : "/v1/completions", body(model), true), place),
    show: null, // it is shown while it comes
    told: (answer) => answer.told,
    distance: (a, b) => apart(a.text, b.text),
    streams: true,
  };
}

/** A number as it was written; what is none is sent as it is, so that the service says what is wrong. */
const value = (input) => (input.value === "" ? null : Number(input.value));

async function streamed(send, place) {
  const text = h("p", { class: "generated", "aria-live": "polite", "aria-busy": "true" });
  place.append(text);
  let [pieces, used, first, reason] = [0, null, 0, ""];
  const start = performance.now();
  try {
    const response = await send();
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices?.[0];
      const piece = choice?.text ?? choice?.delta?.content ?? "";
      if (piece) {
        first ||= performance.now();
        pieces += 1;
        text.append(piece);
      }
      reason = choice?.finish_reason ?? reason;
      used = event.usage?.completion_tokens ?? used;
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    reason = "stopped";
  } finally {
    text.setAttribute("aria-busy", "false");
  }
  const end = performance.now();
  const count = used ?? pieces;
  const ends = { length: "ended at the most tokens", stopped: "you stopped it", stop: "the model ended it" }[reason] ?? reason;
  const rate = count && end > start ? `, ${((1000 * count) / (end - start)).toFixed(1)} tokens/s` : "";
  const wait = first ? `, the first after ${Math.round(first - start)} ms` : "";
  const told = `${used === null ? "about " : ""}${counted(count, "token")}${rate}${wait}; ${ends}`;
  return { text: text.textContent, told };
}

function apart(a, b) {
  if (a === b) return { text: "Both wrote the same text." };
  const parts = textDifference(a, b);
  if (!parts) return { text: "The texts differ, and are too long to compare word by word." };
  const names = { same: "span", first: "del", second: "ins" };
  const words = (kinds) => parts.filter(({ kind }) => kinds.includes(kind)).reduce((sum, { text }) => sum + text.split(/\s+/).filter(Boolean).length, 0);
  const shared = words(["same"]) / Math.max(words(["same", "first"]), words(["same", "second"]), 1);
  return {
    text: `${(100 * shared).toFixed(0)} % of the words are the same and in the same order.`,
    more: h("p", { class: "generated difference" }, h("span", { class: "hint" }, "A only is crossed out, B only is underlined."), "\n", parts.map(({ text, kind }) => h(names[kind], {}, text))),
  };
}
