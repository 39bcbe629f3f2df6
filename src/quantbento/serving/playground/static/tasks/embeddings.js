// Texts to vectors: which texts are near each other.

import { shortened } from "../elements.js";
import { lines, quoted } from "../lines.js";
import { apart, raw, similarities, told } from "../matrix.js";

const MORE = ["A train leaves every hour."];

export function embeddings(endpoint) {
  const given = endpoint.example?.texts ?? [];
  const field = lines("Texts", given.length > 1 ? [...given, ...MORE] : given);
  let asked = [];
  const names = (i) => quoted(shortened(asked[i], 48), i);
  return {
    title: "Turns texts into vectors. Texts that mean the same are near each other.",
    fields: [field.element],
    ask: (send) => send(endpoint.path, { texts: (asked = field.texts()) }),
    show: (vectors) => [similarities(vectors, names), raw(vectors, names)],
    told,
    distance: (a, b) => apart(a, b, names),
  };
}
