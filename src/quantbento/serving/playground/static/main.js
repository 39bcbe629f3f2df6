// The page: which models there are, the fields of their task, and what they answer.

import { batchOf, endpoints } from "./endpoints.js";
import { field, h } from "./elements.js";
import { footer, modelCards, modelsOf } from "./models.js";
import { Refused, Service } from "./service.js";
import { arrays } from "./tasks/arrays.js";
import { embeddings } from "./tasks/embeddings.js";
import { entities } from "./tasks/entities.js";
import { generation } from "./tasks/generation.js";
import { images } from "./tasks/images.js";
import { labels } from "./tasks/labels.js";
import { ranking } from "./tasks/ranking.js";

// By task: its page, and the list of inputs that its endpoint takes.
const TASKS = {
  "feature-extraction": [embeddings, "texts"],
  "text-classification": [labels, "texts"],
  "text-ranking": [ranking, "pairs"],
  "token-classification": [entities, "texts"],
  "image-classification": [images, "images"],
  "image-feature-extraction": [images, "images"],
};

const $ = (id) => document.getElementById(id);
const { services: given, key } = document.documentElement.dataset;
const services = given.split(" ").map((base) => new Service(base));
let [models, task, running] = [[], null, null];

async function start() {
  try {
    models = await modelsOf(services);
    task = await pageOf(models);
  } catch (error) {
    fail(error);
    $("about").textContent = error.status === 401 ? "The service asks for an API key." : "";
    return;
  }
  $("problem").replaceChildren();
  const names = [...new Set(models.map(({ tag }) => tag.split(":")[0]))];
  document.title = `${names.join(" and ")} – playground`;
  $("title").textContent = names.join(" and ");
  $("about").textContent = task.title;
  $("models").replaceChildren(...modelCards(models));
  $("fields").replaceChildren(...task.fields.filter(Boolean));
  $("stop").hidden = !task.streams;
  $("footer").replaceChildren(...footer(services, key === "needed"));
  $("answers").className = models.length > 1 ? "side-by-side" : "";
  document.body.classList.toggle("compares", models.length > 1);
  $("work").hidden = false;
}

async function pageOf(models) {
  const kind = models[0].info.task;
  if (models.some(({ info }) => info.task !== kind)) throw new Refused(0, "These models are for two tasks. Only models for one task can be compared.");
  if (kind === "text-generation") return generation(models);
  const described = await models[0].service.get("docs.json");
  const [page, inputs] = TASKS[kind] ?? [];
  const endpoint = page && batchOf(described, inputs);
  if (endpoint) return page(endpoint);
  const any = batchOf(described, "inputs") ?? endpoints(described)[0];
  if (!any) throw new Refused(0, "The service describes no endpoint that takes JSON. Its /docs may say more.");
  return arrays(any);
}

/** Asks each model in turn: two at once would slow each other down. */
async function run() {
  if (running) return;
  running = new AbortController();
  for (const id of ["problem", "answers", "distance"]) $(id).replaceChildren();
  $("status").textContent = "Asking…";
  $("run").setAttribute("aria-disabled", "true");
  $("stop").disabled = false;
  $("answer").setAttribute("aria-busy", "true");
  try {
    const answers = [];
    for (const model of models) answers.push(await ask(model));
    tell(answers);
  } catch (error) {
    if (error.name === "AbortError") $("status").textContent = "Stopped.";
    else fail(error);
  } finally {
    running = null;
    $("run").removeAttribute("aria-disabled");
    if (document.activeElement === $("stop")) $("run").focus();
    $("stop").disabled = true;
    $("answer").removeAttribute("aria-busy");
  }
}

async function ask(model) {
  const place = h("section", { class: "of-model", "aria-label": `Answer of ${model.name}` });
  if (models.length > 1) place.append(h("h3", {}, h("span", { class: "letter" }, model.letter), model.name));
  const took = h("p", { class: "took" });
  place.append(took);
  $("answers").append(place);
  let [milliseconds, by] = [0, model.tag];
  const send = async (path, body, stream = false) => {
    const began = performance.now();
    const response = await model.service.post(path, body, { headers: model.headers, signal: running.signal });
    by = response.headers.get("x-model") ?? by;
    if (stream) return response;
    const answer = await response.json();
    milliseconds = performance.now() - began;
    return answer;
  };
  const answer = await task.ask(send, { model: model.tag, place });
  if (task.show) place.append(...[task.show(answer)].flat().filter(Boolean));
  const time = task.streams ? "" : `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  took.append(h("strong", {}, time || (models.length > 1 ? task.told(answer) : "Written")), ` by ${by}`);
  return { answer };
}

function tell(answers) {
  const [one, two] = answers;
  if (!two) {
    $("status").textContent = task.told(one.answer);
    return;
  }
  const { text, more } = task.distance(one.answer, two.answer);
  $("status").textContent = text;
  if (more) $("distance").replaceChildren(more);
}

/** What went wrong, in words; a mistake of the page's own goes to the console too. */
function fail(error) {
  if (!(error instanceof Refused)) console.error(error);
  const status = error.status ? `Not answered (${error.status}). ` : "";
  const fields = error.fields?.length ? h("ul", {}, error.fields.map((line) => h("li", {}, line))) : null;
  const detail = error.fields?.length ? "The service does not take this input:" : error.message;
  const id = error.id && h("p", { class: "hint" }, `Request ${error.id}, as the service's log calls it.`);
  $("problem").replaceChildren(h("div", { class: "problem" }, h("p", {}, status, detail), fields ?? "", id || ""));
  $("status").textContent = "There is no answer.";
}

function askForKey() {
  const input = h("input", { type: "password", name: "key", autocomplete: "off" });
  const form = h("form", { id: "key", "aria-label": "API key" }, field("API key", input, "Kept in this page only, until it is closed."), h("button", { type: "submit" }, "Use it"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    for (const service of services) service.key = input.value.trim();
    start();
  });
  document.querySelector("main").prepend(form);
  $("about").textContent = "The service asks for an API key.";
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
$("stop").addEventListener("click", () => running?.abort());
if (key === "needed") askForKey();
else start();
