// Two sweeps: their fronts of time against area or energy in one chart, and the table of points.

const COST = { area: ["area proxy", (x) => `${Number(x.toPrecision(3))} mm²`], energy: ["energy", (x) => si(x, "J")] };
const LOOKS = { a: { hue: "--g1", shape: "circle", dash: "none" }, b: { hue: "--g2", shape: "square", dash: "8 3" } };
let cost = $('[data-second][aria-pressed="true"]').dataset.second, model = data.models[0] ?? "";

const shown = (side) => data.points[side].filter((point) => point.model === model && point[cost] !== null);
const words = (side, point) => `${side.toUpperCase()}: ${point.name}\n${si(point.time, "s")}, ${COST[cost][1](point[cost])}`;

function dotsOf(side) {
  const { hue, shape } = LOOKS[side];
  return shown(side).map((point, i) => {
    const on = cost in point.fronts, isKnee = point.fronts[cost] === true;
    return { id: `${side}${i}`, kind: side, x: point[cost], y: point.time, hollow: !on, shape: isKnee ? "star" : shape, r: isKnee ? 9 : on ? 6 : 4, fill: hue, text: words(side, point) };
  });
}
function lineOf(side) {
  const front = shown(side).filter((point) => cost in point.fronts).sort((p, q) => p[cost] - q[cost]);
  return { points: front.map((point) => [point[cost], point.time]), colour: LOOKS[side].hue, dash: LOOKS[side].dash };
}
const drawFronts = chart($("#fronts-chart"), "The fronts of both sweeps", () => {
  const all = ["a", "b"].flatMap(shown);
  return {
    x: { label: COST[cost][0], range: extent(all.map((point) => point[cost]), true), log: true, format: COST[cost][1] },
    y: { label: "time", range: extent(all.map((point) => point.time), true), log: true, format: (x) => si(x, "s") },
    lines: ["a", "b"].map(lineOf).filter((line) => line.points.length > 1),
    dots: ["a", "b"].flatMap(dotsOf).sort((p, q) => q.hollow - p.hollow),
  };
}, 360);

$("#fronts-key").append(...["a", "b"].map((side) => {
  const item = document.createElement("span");
  item.append(svg("svg", { viewBox: "-10 -7 20 14" }, svg("path", { d: SHAPES[LOOKS[side].shape](5), style: `fill:var(${LOOKS[side].hue})` })), `${side.toUpperCase()}: ${data.names[side]}`);
  return item;
}));
for (const button of $$("[data-second]")) {
  button.disabled = !data.against.includes(button.dataset.second);
  button.addEventListener("click", () => {
    cost = button.dataset.second;
    for (const each of $$("[data-second]")) each.setAttribute("aria-pressed", String(each === button));
    $("#second-name").textContent = COST[cost][0];
    drawFronts();
  });
}
if (data.models.length > 1) {
  $("#model-tools").hidden = false;
  $("#model").append(...data.models.map((each) => new Option(each, each)));
  $("#model").addEventListener("change", (event) => { model = event.target.value; drawFronts(); });
}
sortable($("#point-table"));
searchable($("#point-table"), $("#find"), { found: $("#found") });
document.documentElement.dataset.ready = "yes";
