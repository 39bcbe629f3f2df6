// JSON in, JSON out: arrays for a `tensor` model, and any task that has no page of its own. Arrays also as .npy files.

import { counted, field, h, number, shortened, table } from "../elements.js";
import { largestDifference, numbers } from "../distances.js";
import { Refused } from "../service.js";

const MOST = 50;

export function arrays(endpoint) {
  const area = h("textarea", { rows: 8, class: "code", spellcheck: "false", name: "body" });
  area.value = written(endpoint.example);
  const takesFiles = Boolean(endpoint.schema.properties?.inputs);
  const file = h("input", { type: "file", accept: ".npy,.npz", name: "file" });
  const instead = "Sent as it is, in place of the JSON above. Its first axis counts the inputs.";
  return {
    title: takesFiles ? "Takes arrays and gives arrays, in JSON or as NumPy files." : `Asks ${endpoint.path} with JSON.`,
    fields: [field("Request in JSON", area, `What is sent to ${endpoint.path}.`), takesFiles && field("Or a NumPy file", file, instead)],
    ask: (send) => send(endpoint.path, file.files[0] ?? parsed(area.value)),
    show: (answer) => [flat(answer), h("details", { open: !isFlat(answer) }, h("summary", {}, "JSON"), h("pre", { tabindex: 0 }, shortened(written(answer), 20000)))],
    told: (answer) => (Array.isArray(answer) ? `${counted(answer.length, "answer")} of shape ${shape(answer[0])}` : "One answer"),
    distance: apart,
  };
}

/** JSON with short arrays on one line. */
function written(value) {
  const text = JSON.stringify(value ?? {}, null, 2);
  return text.replace(/\[[^[\]{}]*\]/g, (list) => (list.length < 400 ? list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]") : list));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refused(0, `The request is no valid JSON: ${error.message}`);
  }
}

const isFlat = (answer) => Array.isArray(answer) && answer.length > 0 && answer.every((row) => Array.isArray(row) && row.every((x) => typeof x === "number"));

function flat(answer) {
  if (!isFlat(answer)) return null;
  const width = Math.min(12, Math.max(...answer.map((row) => row.length)));
  const cut = answer[0].length > width ? ["…"] : [];
  const columns = ["Input", ...Array.from({ length: width }, (_, i) => `[${i}]`), ...cut];
  return table("Outputs", columns, answer.slice(0, MOST).map((row, i) => [String(i + 1), ...row.slice(0, width).map(number), ...cut]));
}

function shape(value) {
  if (Array.isArray(value)) return `[${[value.length, ...(Array.isArray(value[0]) ? [shape(value[0]).slice(1, -1)] : [])].join(", ")}]`;
  return value && typeof value === "object" ? `{${Object.keys(value).join(", ")}}` : "one value";
}

function apart(a, b) {
  const found = largestDifference(a, b);
  if (!found) return { text: "The answers have other shapes." };
  const most = Math.max(...[...numbers(a).values()].map(Math.abs), 0);
  const relative = most ? ` That is ${(100 * found.largest / most).toPrecision(3)} % of A's largest number.` : "";
  const where = found.at ? ` at ${found.at}` : "";
  return { text: found.largest ? `Largest difference: ${number(found.largest)}${where}.${relative}` : "The numbers are equal." };
}
