// A sweep: the front of time against area or energy, lines over a key, and every point's machine.

const { metrics } = data;
metrics.edp = metrics.time.map((s, i) => (s === null || metrics.energy[i] === null ? null : s * metrics.energy[i]));
const places = new Map(data.index.map((index, i) => [index, i]));
const param = (name) => data.params.find((each) => each.name === name);
const models = Object.keys(data.fronts);
const METRIC = { time: ["time", (x) => si(x, "s")], energy: ["energy", (x) => si(x, "J")], edp: ["energy × time", (x) => si(x, "Js")], over: ["times its bound", (x) => `${Number(x.toPrecision(3))} ×`] };
const SECOND = { area: ["area proxy", (x) => `${Number(x.toPrecision(3))} mm²`], energy: ["energy", (x) => si(x, "J")] };
const HUES = ["--g1", "--g2", "--g0", "--g3", "--ink", "--soft"];
const DASHES = ["none", "8 3", "2 3", "10 3 2 3", "14 4"];
const MARKS = ["circle", "square", "triangle", "diamond"];
let model = models[0] ?? "", second = $('[data-second][aria-pressed="true"]').dataset.second;

const mine = () => data.index.map((_, i) => i).filter((i) => data.status[i] === "ok" && (models.length < 2 || data.model[i] === model));
const name = (i) => data.params.map((each) => `${each.name} = ${each.values[each.at[i]]}`).join("\n");
const words = (i) => `${name(i)}\n${si(metrics.time[i], "s")}, ${si(metrics.energy[i] ?? 0, "J")}${metrics.area[i] === null ? "" : `, ${SECOND.area[1](metrics.area[i])}`}\n${metrics.over[i] === null ? "" : `${metrics.over[i].toFixed(2)} × its bound`}`;
const isFar = (i) => metrics.over[i] !== null && metrics.over[i] > data.far;

/** A word as a shell takes it. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`);

function openPoint(index) {
  const i = places.get(index);
  $("#point-told").textContent = data.status[i] === "ok" ? words(i) : `${name(i)}\n${data.status[i]}: ${data.reason[i]}`;
  const typed = Object.fromEntries(data.params.map((each) => [each.name, each.values[each.at[i]]]));
  const varied = Object.entries(typed).filter(([key]) => !["model", "config"].includes(key)).map((pair) => `--set ${quoted(pair.join("="))}`);
  $("#point-command").textContent = $("#point-copy").dataset.copy = [data.commands[data.command[i]], ...varied].join(" ");
  const all = { ...data.keys, ...typed, ...data.changed[i] };
  $("tbody", $("#point-keys")).replaceChildren(...Object.entries(all).map(([key, value]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), told = document.createElement(key in typed ? "strong" : "span");
    head.scope = "row";
    head.className = "code";
    head.textContent = key;
    told.textContent = value;
    row.append(head, document.createElement("td"), document.createElement("td"));
    row.cells[1].append(told);
    row.cells[1].className = "code";
    row.cells[2].className = "say soft";
    row.cells[2].textContent = data.meanings[key] ?? "";
    return row;
  }));
  $("#point").showModal();
}

// -- the front --------------------------------------------------------------------------------------------------

const drawFront = chart($("#pareto-chart"), "Time against area or energy", () => {
  const points = mine().filter((i) => metrics[second][i] !== null && metrics.time[i] !== null);
  const told = data.fronts[model]?.[second] ?? { front: [], knee: -1 };
  const line = told.front.map((index) => places.get(index)).filter((i) => i !== undefined);
  const best = new Set(line), knee = places.get(told.knee);
  const xs = points.map((i) => metrics[second][i]), ys = points.map((i) => metrics.time[i]);
  return {
    x: { label: SECOND[second][0], range: extent(xs, true), log: true, format: SECOND[second][1] },
    y: { label: "time", range: extent(ys, true), log: true, format: METRIC.time[1] },
    lines: line.length > 1 ? [{ points: line.map((i) => [metrics[second][i], metrics.time[i]]), colour: "--g1" }] : [],
    dots: points.sort((a, b) => best.has(a) - best.has(b)).map((i) => ({
      id: data.index[i], kind: "point", choose: openPoint, x: metrics[second][i], y: metrics.time[i], hollow: isFar(i),
      shape: i === knee ? "star" : "circle", r: i === knee ? 9 : best.has(i) ? 6 : 4, fill: i === knee ? "--g2" : best.has(i) ? "--g1" : "--soft", text: words(i),
    })),
    labels: knee === undefined ? [] : [{ x: metrics[second][knee], y: metrics.time[knee], dy: 28, anchor: "middle", text: `the knee: ${METRIC.time[1](metrics.time[knee])}`, kind: "strong" }],
  };
}, 380);
for (const button of $$("[data-second]")) {
  button.addEventListener("click", () => {
    second = button.dataset.second;
    $("#second-name").textContent = SECOND[second][0];
    for (const other of $$("[data-second]")) other.setAttribute("aria-pressed", String(other === button));
    drawFront();
  });
}

// -- lines over a key ---------------------------------------------------------------------------------------------

/** The best point for each pair of values of two keys (or of one, and "" for the other); null where none ran. */
function bestOf(metric, across, along) {
  const found = new Map();
  for (const i of mine()) {
    const value = metrics[metric][i];
    if (value === null) continue;
    const key = `${across ? param(across).at[i] : 0},${along ? param(along).at[i] : 0}`;
    if (!found.has(key) || value < metrics[metric][found.get(key)]) found.set(key, i);
  }
  return (x, y) => found.get(`${x},${y}`) ?? null;
}
function options(select, names, chosen) {
  select.replaceChildren(...names.map((each) => new Option(each || "nothing", each, false, each === chosen)));
}
const keys = data.varied.length ? data.varied : data.params.slice(0, 1).map((each) => each.name);
options($("#main-key"), keys, keys[0]);
options($("#second-key"), ["", ...keys], keys[1] ?? "");

const drawLines = chart($("#lines-chart"), "The metric over a key", () => {
  const metric = $("#metric").value, main = param($("#main-key").value);
  if (!main) return { x: { label: "", range: [0, 1] }, y: { label: "", range: [0, 1] } };
  const along = $("#second-key").value === main.name ? "" : $("#second-key").value;
  const best = bestOf(metric, main.name, along), values = along ? param(along).values : [""];
  const log = main.numbers.every((x) => x > 0), numbers = main.numbers.every((x) => x !== null);
  const place = numbers && log ? (x) => main.numbers[x] : (x) => x + 1;
  const lines = [], dots = [], all = [];
  values.slice(0, 12).forEach((value, y) => {
    const hits = main.values.map((_, x) => [x, best(x, y)]).filter(([, i]) => i !== null);
    const hue = HUES[y % HUES.length], points = hits.map(([x, i]) => [place(x), metrics[metric][i]]);
    if (!hits.length) return;
    lines.push({ points, colour: hue, dash: DASHES[Math.floor(y / HUES.length) % DASHES.length] });
    if (metric === "time") {
      const bounds = hits.filter(([, i]) => metrics.bound[i] !== null).map(([x, i]) => [place(x), metrics.bound[i]]);
      if (bounds.length) lines.push({ points: bounds, colour: hue, dash: "1 5" });
      all.push(...bounds.map(([, v]) => v));
    }
    all.push(...points.map(([, v]) => v));
    dots.push(...hits.map(([x, i]) => ({ id: data.index[i], kind: "point", choose: openPoint, x: place(x), y: metrics[metric][i], hollow: isFar(i), shape: MARKS[y % MARKS.length], r: 5, fill: hue, text: words(i) })));
  });
  toldLines(along, values.slice(0, 12), values.length);
  const range = numbers && log ? [Math.min(...main.numbers) / 1.15, Math.max(...main.numbers) * 1.15] : [0.5, main.values.length + 0.5];
  return {
    x: { label: main.name, range, log: numbers && log, ticks: main.values.map((_, x) => place(x)), format: (x) => main.values[numbers && log ? main.numbers.indexOf(x) : x - 1] ?? "" },
    y: { label: METRIC[metric][0], range: extent(all, true), log: true, format: METRIC[metric][1] }, lines, dots,
  };
}, 360);

function toldLines(along, values, count) {
  $("#lines-key").replaceChildren(...(along ? values.map((value, y) => {
    const item = document.createElement("span");
    item.append(svg("svg", { viewBox: "-10 -7 20 14" }, svg("path", { d: SHAPES[MARKS[y % MARKS.length]](5), style: `fill:var(${HUES[y % HUES.length]})` })), `${along} = ${value}`);
    return item;
  }) : []), ...(count > values.length ? [`and ${count - values.length} more values`] : []));
}
for (const id of ["metric", "main-key", "second-key"]) $(`#${id}`).addEventListener("change", drawLines);

// -- the points ---------------------------------------------------------------------------------------------------

if (models.length > 1) {
  $("#model-tools").hidden = false;
  options($("#model"), models, model);
  $("#model").addEventListener("change", (event) => { model = event.target.value; redraw(); });
}
const table = $("#point-table");
sortable(table);
searchable(table, $("#find"), { found: $("#found") });
table.tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row) openPoint(Number(row.dataset.point));
});
document.documentElement.dataset.ready = "yes";
