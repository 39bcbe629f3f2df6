// A query and documents: which document answers it best.

import { bar, counted, field as labelled, h, number, shortened, table } from "../elements.js";
import { largestDifference } from "../distances.js";
import { lines } from "../lines.js";

export function ranking(endpoint) {
  const pairs = endpoint.example?.pairs ?? [];
  const query = h("input", { type: "text", name: "query", autocomplete: "off" });
  query.value = pairs[0]?.query ?? "";
  const documents = lines("Documents", pairs.map((pair) => pair.document));
  let asked = [];
  return {
    title: "Sorts documents by how well they answer a query.",
    fields: [labelled("Query", query), documents.element],
    ask: (send) => {
      asked = documents.texts();
      return send(endpoint.path, { pairs: asked.map((document) => ({ query: query.value, document })) });
    },
    show: (answers) => shown(answers, asked),
    told: (answers) => `Best of ${counted(answers.length, "document")}: “${shortened(asked[order(answers)[0]])}”`,
    distance: (a, b) => apart(a, b, asked),
  };
}

/** The places of the answers, the most relevant first. */
const order = (answers) => answers.map((_, i) => i).sort((i, j) => answers[j].score - answers[i].score);

function shown(answers, asked) {
  const scores = answers.map(({ score }) => score);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  const probabilities = least >= 0 && most <= 1;
  const share = (score) => (probabilities ? score : most > least ? (score - least) / (most - least) : 1);
  const bars = order(answers).map((i) => bar(asked[i], share(scores[i]), number(scores[i])));
  return h("ol", { class: "bars ranked" }, bars);
}

function apart(a, b, asked) {
  const [one, two] = [order(a), order(b)];
  const moved = one.filter((document, place) => two[place] !== document).length;
  const { largest } = largestDifference(a.map(({ score }) => score), b.map(({ score }) => score));
  const rows = one.map((i, place) => [shortened(asked[i]), String(place + 1), String(two.indexOf(i) + 1), number(Math.abs(a[i].score - b[i].score))]);
  return {
    text: `${moved ? `${counted(moved, "document")} have another rank.` : "Both rank alike."} Largest difference of scores: ${number(largest)}.`,
    more: table("Ranks of A and B", ["Document", "Rank in A", "Rank in B", "Difference of scores"], rows),
  };
}
