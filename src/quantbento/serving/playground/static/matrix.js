// Vectors by their similarity: a table of cosines with colours, and of two services' vectors how far they are.

import { h, number, shortened, table } from "./elements.js";
import { cosine } from "./distances.js";

const MOST = 16;

/** The table of all pairs' cosines; `names` are elements or texts for each vector. */
export function similarities(vectors, names) {
  const shown = vectors.slice(0, MOST);
  const rows = shown.map((one, i) => [names(i), ...shown.map((other) => coloured(cosine(one, other)))]);
  const result = table("Cosine similarity of each pair", ["Input", ...shown.map((_, i) => String(i + 1))], rows);
  const more = vectors.length > MOST && h("p", { class: "hint" }, `The first ${MOST} of ${vectors.length} are shown.`);
  return h("div", { class: "matrix" }, result, more);
}

/** In a sentence: how many vectors, how long, and the pair that is nearest. */
export function told(vectors) {
  const width = vectors[0]?.length ?? 0;
  const head = `${vectors.length} ${vectors.length === 1 ? "vector" : "vectors"} of ${width} numbers`;
  let best = null;
  vectors.forEach((one, i) => {
    for (let j = i + 1; j < vectors.length; j++) {
      const value = cosine(one, vectors[j]);
      if (!best || value > best.value) best = { value, i, j };
    }
  });
  return best ? `${head}. Nearest: ${best.i + 1} and ${best.j + 1}, cosine ${best.value.toFixed(3)}` : head;
}

/** The vectors of two services for the same inputs: the cosine of each pair. */
export function apart(a, b, names) {
  if (a.length !== b.length || a.some((vector, i) => vector.length !== b[i].length)) return { text: "The vectors have other sizes." };
  const values = a.map((vector, i) => cosine(vector, b[i]));
  const least = Math.min(...values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const rows = values.map((value, i) => [names(i), value.toFixed(6)]);
  return {
    text: `Cosine of A and B: ${mean.toFixed(6)} on average, ${least.toFixed(6)} at least.`,
    more: table("Cosine of A and B", ["Input", "Cosine"], rows),
  };
}

function coloured(value) {
  return h("td", { class: "heat", vars: { heat: Math.max(0, value).toFixed(3) } }, value.toFixed(3));
}

/** A vector's first numbers, for who wants to see them. */
export function raw(vectors, names) {
  const rows = vectors.slice(0, MOST).map((vector, i) => [names(i), shortened(vector.slice(0, 8).map(number).join(", "), 90)]);
  return h("details", {}, h("summary", {}, "The numbers"), table("The first numbers of each vector", ["Input", "Numbers"], rows));
}
