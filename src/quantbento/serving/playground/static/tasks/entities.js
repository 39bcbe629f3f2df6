// Texts to entities: the parts that name something, marked where they are.

import { counted, h, number, percent, shortened, table } from "../elements.js";
import { lines } from "../lines.js";

const COLOURS = 6;

export function entities(endpoint) {
  const field = lines("Texts", endpoint.example?.texts ?? []);
  let asked = [];
  return {
    title: "Marks the parts of each text that name something.",
    fields: [field.element],
    ask: (send) => send(endpoint.path, { texts: (asked = field.texts()) }),
    show: (answers) => answers.map((found, i) => h("article", {}, marked(asked[i], found), listed(found))),
    told: (answers) => `${counted(answers.flat().length, "part")} marked in ${counted(answers.length, "text")}`,
    distance: (a, b) => apart(a, b, asked),
  };
}

const kind = (entity) => entity.entity_group ?? entity.entity;
const colour = (name) => [...name.replace(/^[BI]-/, "")].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % COLOURS;

/** The text with its entities; places count characters as Python does, where one outside of the first plane is one. */
function marked(text, found) {
  const characters = Array.from(text);
  const parts = [];
  let end = 0;
  for (const entity of [...found].sort((a, b) => a.start - b.start)) {
    if (entity.start < end) continue;
    parts.push(characters.slice(end, entity.start).join(""));
    const words = characters.slice(entity.start, entity.end).join("");
    parts.push(h("mark", { class: `kind-${colour(kind(entity))}` }, words, h("span", { class: "kind" }, ` ${kind(entity)}`)));
    end = entity.end;
  }
  parts.push(characters.slice(end).join(""));
  return h("p", { class: "marked" }, parts);
}

function listed(found) {
  if (!found.length) return h("p", { class: "hint" }, "Nothing is marked in this text.");
  const rows = found.map((entity) => [entity.word, kind(entity), `${entity.start}–${entity.end}`, percent(entity.score)]);
  return h("details", {}, h("summary", {}, counted(found.length, "part")), table("Marked parts", ["Words", "Kind", "Characters", "Probability"], rows));
}

function apart(a, b, asked) {
  const key = (entity) => `${entity.start}–${entity.end} ${kind(entity)}`;
  let [largest, differ] = [0, 0];
  const rows = [];
  a.forEach((found, i) => {
    const [one, two] = [found, b[i]].map((list) => new Map(list.map((entity) => [key(entity), entity])));
    for (const place of new Set([...one.keys(), ...two.keys()])) {
      const [first, second] = [one.get(place), two.get(place)];
      if (first && second) {
        largest = Math.max(largest, Math.abs(first.score - second.score));
        continue;
      }
      differ += 1;
      rows.push([shortened(asked[i], 40), (first ?? second).word, kind(first ?? second), first ? "A only" : "B only"]);
    }
  });
  return {
    text: `${differ ? `${counted(differ, "part")} marked by one only.` : "Both mark the same parts."} Largest difference of a probability: ${number(100 * largest)} points.`,
    more: rows.length > 0 && table("Marked by one only", ["Text", "Words", "Kind", "By"], rows),
  };
}
