// Which models the page asks: the one that is served and its candidates, or those of two services.

import { h } from "./elements.js";

/** Each model: a letter, a name, its exact tag, the service to ask and the headers by which it answers. */
export async function modelsOf(services) {
  const infos = [];
  for (const service of services) infos.push(await service.get("info"));
  const found = infos.map((info, i) => ({ info, service: services[i], tag: info.model, digest: info.digest, headers: {}, role: "" }));
  if (found.length === 1) found.push(...candidates(found[0]));
  return found.map((model, i) => ({ ...model, letter: "AB"[i], name: named(model) }));
}

/** A canary or shadow beside the model that is served: a request that names a version's tag is answered by it. */
function candidates(served) {
  const role = ["canary", "shadow"].find((name) => served.info[name]);
  if (!role) return [];
  Object.assign(served, { role: "served", headers: { "x-model": served.tag } });
  const tag = served.info[role];
  return [{ ...served, role, tag, digest: null, headers: { "x-model": tag } }];
}

/** What is known of each model, as list items. */
export function modelCards(models) {
  return models.map(({ letter, info, tag, digest, role }) => {
    const version = tag.split(":")[1];
    const facts = { version, digest: digest && short(digest), task: info.task, runtime: info.runtime, scheme: info.scheme, bento: info.bento };
    if (role && role !== "served") for (const unknown of ["runtime", "scheme"]) delete facts[unknown];
    const rows = Object.entries(facts).filter(([, value]) => value).map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", { title: key === "digest" ? digest : false }, value)));
    const heading = models.length > 1 && h("p", { class: "name" }, h("span", { class: "letter" }, letter), named({ tag, role }));
    return h("li", {}, heading, h("dl", {}, rows));
  });
}

const named = ({ tag, role }) => (role ? `${tag.split(":")[0]}, ${role}` : tag.split(":")[0]);
const short = (digest) => `${digest.slice(0, 19)}…`;

/** Links to what else a service has. Behind a key a browser cannot follow them. */
export function footer(services, needsKey) {
  const paths = { "API reference": "docs", "OpenAPI document": "docs.json", "Model info": "info" };
  if (needsKey) return [h("p", {}, "With the API key: ", Object.values(paths).map((path) => `/${path}`).join(", "))];
  const links = services.flatMap(({ base }, i) =>
    Object.entries(paths).map(([name, path]) => h("a", { href: base + path }, services.length > 1 ? `${name} of ${"AB"[i]}` : name)),
  );
  return [h("nav", { "aria-label": "Of the service" }, links)];
}
