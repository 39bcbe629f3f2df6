// Texts to labels: one, several, or a number for each.

import { bar, counted, h, number, percent, shortened, table } from "../elements.js";
import { lines } from "../lines.js";

export function labels(endpoint) {
  const field = lines("Texts", endpoint.example?.texts ?? []);
  const probabilities = scoreOf(endpoint.answer.items).maximum === 1;
  let asked = [];
  return {
    title: probabilities ? "Says what each text is, and how sure the model is." : "Gives each text a number.",
    fields: [field.element],
    ask: (send) => send(endpoint.path, { texts: (asked = field.texts()) }),
    show: (answers) => answers.map((answer, i) => answered(h("blockquote", {}, asked[i]), answer, probabilities)),
    told: (answers) => tellLabels(answers, probabilities),
    distance: (a, b) => labelsApart(a, b, (i) => shortened(asked[i]), probabilities),
  };
}

/** One input with its labels as bars; a number that is no probability has none. */
export function answered(input, answer, probabilities) {
  const found = listed(answer);
  const largest = Math.max(...found.map((one) => Math.abs(one.score)), 1e-12);
  const bars = found.map(({ label, score }) =>
    probabilities ? bar(label, score, percent(score)) : bar(label, Math.abs(score) / largest, number(score)),
  );
  const none = found.length === 0 && h("p", { class: "hint" }, "No label is probable enough.");
  return h("article", {}, input, none || h("ul", { class: "bars" }, bars));
}

/** In a sentence: the answer to a lone input, or how often each label comes first. */
export function tellLabels(answers, probabilities) {
  if (answers.length === 1) {
    const [best] = listed(answers[0]);
    return best ? `${best.label}: ${probabilities ? percent(best.score) : number(best.score)}` : "No label is probable enough";
  }
  if (!probabilities) return `${answers.length} numbers`;
  const counts = new Map();
  for (const answer of answers) {
    const label = listed(answer)[0]?.label ?? "no label";
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return `${counted(answers.length, "answer")}: ${[...counts].map(([label, count]) => `${count} × ${label}`).join(", ")}`;
}

/** Two services' labels: whether the first ones agree, and how far the numbers of equal labels are apart. */
export function labelsApart(a, b, names, probabilities) {
  const form = (value) => (probabilities ? `${(100 * value).toFixed(2)} points` : number(value));
  let [largest, others] = [0, 0];
  const rows = a.map((answer, i) => {
    const [one, two] = [listed(answer), listed(b[i])];
    const same = one[0]?.label === two[0]?.label;
    others += same ? 0 : 1;
    const scores = new Map(two.map(({ label, score }) => [label, score]));
    const differences = one.filter(({ label }) => scores.has(label)).map(({ label, score }) => Math.abs(score - scores.get(label)));
    const difference = differences.length ? Math.max(...differences) : null;
    largest = Math.max(largest, difference ?? 0);
    return [names(i), one[0]?.label ?? "none", two[0]?.label ?? "none", difference === null ? "–" : form(difference)];
  });
  const agree = others ? `${counted(others, "input")} of ${a.length} got another label.` : "Every input got the same label.";
  const what = probabilities ? "probability" : "number";
  return {
    text: `${agree} Largest difference of a label's ${what}: ${form(largest)}.`,
    more: table("Labels of A and B", ["Input", "A", "B", "Difference"], rows),
  };
}

const listed = (answer) => (Array.isArray(answer) ? answer : [answer]);
const scoreOf = (schema = {}) => (schema.items ?? schema).properties?.score ?? {};
