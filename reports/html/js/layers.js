// The layers: bars of the account, the table, the graph. A click on one selects it in all of them.

const bars = $("#layer-bars");
if (bars) {
  const items = [...bars.children];
  let order = "cycles", all = false;
  const show = () => {
    const shown = new Set(all ? items : items.slice(0, Number(bars.dataset.shown)));
    for (const item of items) item.hidden = !shown.has(item);
    bars.append(...(order === "cycles" ? items : [...items].sort((a, b) => a.dataset.layer - b.dataset.layer)));
  };
  for (const button of $$("[data-order]")) {
    button.addEventListener("click", () => {
      order = button.dataset.order;
      for (const other of $$("[data-order]")) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  $("#all-layers")?.addEventListener("click", (event) => {
    all = !all;
    event.target.setAttribute("aria-expanded", String(all));
    event.target.textContent = all ? `show ${bars.dataset.shown}` : `show all ${items.length}`;
    show();
  });
  bars.addEventListener("click", (event) => {
    const item = event.target.closest("[data-layer]");
    if (item) select(Number(item.dataset.layer));
  });
}

const table = $("#layer-table");
sortable(table);
searchable(table, $("#find"), { only: $("#operator"), column: 1, found: $("#found") });
table.tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row) select(Number(row.dataset.layer));
});

const nodes = $$(".model .node");
walkable($(".model"), nodes, (i) => nodes[i].dataset.tip, (i) => select(Number(nodes[i].dataset.layer)));
for (const node of nodes) {
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", node.dataset.tip);
  node.addEventListener("click", () => select(Number(node.dataset.layer)));
}
