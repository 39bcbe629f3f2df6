// Elements made in one expression. What comes from a model or a user is only ever text: nothing here reads HTML.

let made = 0;

/** An element with attributes and children. `vars` are CSS variables; true is an attribute without a value. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "vars") for (const [css, text] of Object.entries(value)) element.style.setProperty(`--${css}`, text);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** A label, what is to be filled in, and a hint below, tied together for screen readers. */
export function field(label, control, hint = "") {
  control.id ||= `field-${++made}`;
  const told = hint instanceof Node ? hint : h("span", {}, hint);
  told.id = `${control.id}-hint`;
  told.classList.add("hint");
  control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, told);
}

/** A table with a caption and headings. Cells are texts or elements; the first of each row is its heading. */
export function table(caption, columns, rows) {
  const head = h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)));
  const body = rows.map(([first, ...rest]) =>
    h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => (cell instanceof Node && cell.matches("td") ? cell : h("td", {}, cell)))),
  );
  return scrolling(caption, h("table", {}, h("caption", {}, caption), h("thead", {}, head), h("tbody", {}, body)));
}

/** What may be wider than a phone: it scrolls by itself, also by keyboard. */
export function scrolling(label, element) {
  return h("div", { class: "scrolling", tabindex: 0, role: "group", "aria-label": label }, element);
}

/** A name, a bar from 0 to 1 and the number in words. */
export function bar(name, value, text) {
  const share = Math.max(0, Math.min(1, value));
  return h(
    "li",
    { class: "bar" },
    h("span", { class: "name" }, name),
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill", vars: { share } })),
    h("span", { class: "number" }, text),
  );
}

export const number = (value) => (Number.isInteger(value) ? String(value) : Number(value.toPrecision(4)).toString());
export const percent = (value) => `${(100 * value).toFixed(1)} %`;
export const shortened = (text, most = 60) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
export const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
