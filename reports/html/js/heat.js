// A heat map over two keys: the metric of the best point for each pair of values, which a press opens.

function drawHeat() {
  const metric = $("#metric").value, across = param($("#heat-x").value), down = param($("#heat-y").value);
  const best = bestOf(metric, across.name, down.name), [, format] = METRIC[metric];
  const values = across.values.flatMap((_, x) => down.values.map((__, y) => best(x, y))).filter((i) => i !== null).map((i) => metrics[metric][i]);
  const low = Math.min(...values), high = Math.max(...values), span = Math.log(high / low) || 1;
  const head = document.createElement("tr");
  head.append(cell("th", `${down.name} ↓  ${across.name} →`), ...across.values.map((value) => cell("th", value, "col")));
  const rows = down.values.map((value, y) => {
    const row = document.createElement("tr");
    row.append(cell("th", value, "row"), ...across.values.map((_, x) => {
      const i = best(x, y);
      if (i === null) return cell("td", "–");
      const found = cell("td", ""), button = document.createElement("button"), number = metrics[metric][i];
      button.type = "button";
      button.textContent = `${number === low ? "★ " : ""}${format(number)}`;
      button.dataset.tip = words(i);
      button.addEventListener("click", () => openPoint(data.index[i]));
      found.style.background = `color-mix(in oklab, var(--g1) ${Math.round((55 * Math.log(number / low)) / span)}%, var(--surface))`;
      found.append(button);
      return found;
    }));
    return row;
  });
  const top = document.createElement("thead"), body = document.createElement("tbody");
  top.append(head);
  body.append(...rows);
  $("#heat-table").replaceChildren(top, body);
}
function cell(kind, text, scope) {
  const found = document.createElement(kind);
  found.textContent = text;
  if (scope) found.scope = scope;
  return found;
}

if ($("#heat-table") && keys.length > 1) {
  options($("#heat-x"), keys, keys[0]);
  options($("#heat-y"), keys, keys[1]);
  for (const id of ["heat-x", "heat-y", "metric"]) $(`#${id}`).addEventListener("change", drawHeat);
  redraws.push(drawHeat);
  drawHeat();
}
