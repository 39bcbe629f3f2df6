// Images to labels, or to vectors: files that are chosen or dropped.

import { counted, field, h } from "../elements.js";
import { apart, raw, similarities, told } from "../matrix.js";
import { answered, labelsApart, tellLabels } from "./labels.js";

export function images(endpoint) {
  const vectors = endpoint.answer.items?.items?.type === "number";
  const top = endpoint.schema.properties.top_k && h("input", { type: "number", name: "top_k", min: 1, placeholder: "the model's own number" });
  const { element, files } = chosen();
  let asked = [];
  const name = (i) => asked[i].name;
  const preview = (file) => h("figure", {}, picture(file), h("figcaption", {}, file.name));
  const seen = (i) => h("span", { class: "seen" }, picture(asked[i]), ` ${i + 1} ${name(i)}`);
  const common = {
    fields: [element, top && field("Labels for each image", top, "Left empty, the model decides.")],
    ask: (send) => {
      asked = files();
      const form = new FormData();
      for (const file of asked) form.append("images", file);
      if (top?.value) form.append("top_k", top.value);
      return send(endpoint.path, form);
    },
  };
  if (vectors) {
    const title = "Turns images into vectors. Images that show the same are near each other.";
    return { ...common, title, show: (answer) => [similarities(answer, seen), raw(answer, name)], told, distance: (a, b) => apart(a, b, name) };
  }
  return {
    ...common,
    title: "Says what each image shows, and how sure the model is.",
    show: (answers) => answers.map((answer, i) => answered(preview(asked[i]), answer, true)),
    told: (answers) => tellLabels(answers, true),
    distance: (a, b) => labelsApart(a, b, name, true),
  };
}

/** An image of a file, as long as the page shows it. */
function picture(file) {
  const url = URL.createObjectURL(file);
  const image = h("img", { src: url, alt: "" });
  for (const event of ["load", "error"]) image.addEventListener(event, () => URL.revokeObjectURL(url));
  return image;
}

/** The field for files with what is chosen below it; `files()` are those. */
function chosen() {
  const input = h("input", { type: "file", accept: "image/*", multiple: true, name: "images" });
  const list = h("ul", { class: "previews", "aria-label": "Chosen images" });
  const hint = h("span");
  let files = [];
  const take = (given) => {
    files = [...given];
    list.replaceChildren(...files.map((file) => h("li", {}, h("figure", {}, picture(file), h("figcaption", {}, file.name)))));
    hint.textContent = files.length ? `${counted(files.length, "image")} chosen.` : "Choose one or more, or drop them here.";
  };
  take([]);
  input.addEventListener("change", () => take(input.files));
  const element = h("div", { class: "drop" }, field("Images", input, hint), list);
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    input.value = "";
    take(event.dataTransfer.files);
  });
  return { element, files: () => files };
}
