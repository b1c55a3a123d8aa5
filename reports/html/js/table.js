// Tables that are sorted by their heads, and searched; / goes to the search.

/** Sort a table's rows by a column when its head is pressed: numbers the greatest first, texts from A. */
function sortable(table) {
  const body = table.tBodies[0];
  const heads = $$("thead th", table);
  heads.forEach((head, column) => {
    $("button", head)?.addEventListener("click", () => {
      const numbers = head.classList.contains("n");
      const was = head.getAttribute("aria-sort");
      const order = was === null ? (numbers ? "descending" : "ascending")
        : was === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
      keyed.sort(([a], [b]) => sign * compared(a, b));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
function keyOf(cell) {
  const key = cell.dataset.key ?? cell.textContent;
  return key !== "" && isFinite(key) ? Number(key) : key;
}
function compared(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Show the rows that hold all words of the search, and (if a select is given) its value in its column. */
function searchable(table, input, { only = null, column = 0, found = null } = {}) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, i) => {
      const hit = words.every((word) => texts[i].includes(word)) &&
        (!only?.value || row.cells[column].textContent === only.value);
      row.hidden = !hit;
      count += hit;
    });
    if (found) found.textContent = count === rows.length ? `${count} rows` : `${count} of ${rows.length} rows`;
  };
  input.addEventListener("input", show);
  only?.addEventListener("change", show);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    input.focus();
  });
  show();
}
