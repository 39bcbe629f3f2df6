// Tables are sorted by a click on a heading, or by Enter or the space bar on it: headings become buttons.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.order === undefined ? cell.textContent : Number(cell.dataset.order);
  };
  const compare = (a, b) => {
    const [x, y] = [typeof a === "number", typeof b === "number"];
    if (x && y) return a - b;
    return x === y ? String(a).localeCompare(String(b), undefined, { numeric: true }) : 0;
  };
  const sort = (table, column) => {
    const headings = [...table.tHead.rows[0].cells];
    const heading = headings[column];
    const up = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const empty = (row) => row.cells[column].textContent === "-";
    // Empty cells stay at the end, whichever way the others are sorted.
    rows.sort((a, b) => empty(a) - empty(b) || (up ? 1 : -1) * compare(value(a, column), value(b, column)));
    table.tBodies[0].append(...rows);
    const way = up ? "ascending" : "descending";
    document.getElementById("sorted").textContent = `${table.caption.textContent}: by ${heading.textContent}, ${way}`;
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, column));
      heading.append(button);
    });
  }
})();
