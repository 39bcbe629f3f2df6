// A field for several texts, one per line.

import { counted, field, h } from "./elements.js";

/** The field, and `texts()`: its lines. Empty ones are left out, and the hint says so. */
export function lines(label, example = []) {
  const area = h("textarea", { rows: Math.max(4, Math.min(10, example.length + 1)), spellcheck: "false", name: "texts" });
  area.value = example.join("\n");
  const hint = h("span");
  const all = () => area.value.split("\n");
  const texts = () => all().filter((line) => line.trim());
  const count = () => {
    const empty = all().length - texts().length;
    const left = empty ? `; ${counted(empty, "empty line")} ${empty === 1 ? "is" : "are"} left out` : "";
    hint.textContent = `One per line. ${counted(texts().length, "text")}${left}.`;
  };
  area.addEventListener("input", count);
  count();
  return { element: field(label, area, hint), texts };
}

/** What is shown of each text: its number, and the text, cut where it is long. */
export function quoted(text, index) {
  return h("span", { class: "quoted", title: text }, h("span", { class: "index" }, `${index + 1} `), text);
}
