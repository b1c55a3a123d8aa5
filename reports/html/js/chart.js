// A small chart: axes in plain SVG, drawn anew for every width; points can be pointed at and walked with the keyboard.

const MARGIN = { left: 58, right: 14, top: 26, bottom: 38 };

/** A scale from values to pixels: linear, or logarithmic, with ticks. */
function scale(low, high, from, to, log = false) {
  const f = log ? Math.log10 : (x) => x;
  const span = f(high) - f(low) || 1;
  const at = (x) => from + ((f(x) - f(low)) / span) * (to - from);
  return Object.assign(at, { low, high, ticks: (count) => (log ? logTicks(low, high, count) : ticks(low, high, count)) });
}
function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999) ?? raw;
  const found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) found.push(Math.abs(x) < step * 1e-9 ? 0 : x);
  return found;
}
function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 1) return ticks(low, high, count);
  const factors = decades > count ? [1] : decades * 3 > count * 1.6 ? [1] : [1, 2, 5];
  const step = Math.max(1, Math.ceil(decades / count));
  const found = [];
  for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d += factors.length > 1 ? 1 : step) {
    for (const factor of factors) found.push(factor * 10 ** d);
  }
  return found.filter((x) => x >= low * 0.999 && x <= high * 1.001);
}

/** A range that holds all values, from 0 on or with some room around. */
function extent(values, log = false) {
  const finite = values.filter((x) => isFinite(x) && (!log || x > 0));
  if (!finite.length) return log ? [1, 10] : [0, 1];
  const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
  const room = Math.max(1.06, (high / low) ** 0.07);
  if (log) return [low / room, high * room];
  return [0, high * 1.06 || 1];
}

const SHAPES = {
  circle: (r) => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
  square: (r) => `M${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  triangle: (r) => `M0,${-r * 1.2}L${r * 1.1},${r * 0.85}H${-r * 1.1}Z`,
  diamond: (r) => `M0,${-r * 1.3}L${r * 1.3},0L0,${r * 1.3}L${-r * 1.3},0Z`,
  star: (r) => `M0,${-r * 1.6}L${r * 0.5},${-r * 0.5}L${r * 1.6},0L${r * 0.5},${r * 0.5}L0,${r * 1.6}L${-r * 0.5},${r * 0.5}L${-r * 1.6},0L${-r * 0.5},${-r * 0.5}Z`,
};
const GROUP_SHAPE = ["circle", "square", "triangle", "diamond"];

/**
 * Draw a chart into `host`, and again whenever its width or the colours change.
 *
 * `spec()` gives: x and y ({label, range, log, format, ticks}), areas and lines ([[x, y], ...] with class or colour),
 * dots ({x, y, r, shape, fill, hollow, text, choose, id}), labels ({x, y, text, anchor}); `hover(x)` gives the text of a place.
 */
function chart(host, name, spec, height = 300) {
  let drawn = 0;
  const draw = () => {
    const width = host.clientWidth;
    if (!width) return;
    drawn = width;
    host.replaceChildren(drawing(host, name, spec(width), width, height));
  };
  new ResizeObserver(() => { if (host.clientWidth !== drawn) draw(); }).observe(host);
  redraws.push(draw);
  draw();
  return draw;
}

function drawing(host, name, spec, width, height) {
  const { left, right, top, bottom } = MARGIN;
  const root = svg("svg", { height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": name });
  const x = scale(...spec.x.range, left, width - right, spec.x.log);
  const y = scale(...spec.y.range, height - bottom, top, spec.y.log);
  root.append(...axes(spec, x, y, width, height));
  for (const area of spec.areas ?? []) {
    const up = area.points.map(([px, , high]) => `${x(px)},${y(high)}`);
    const down = area.points.map(([px, low]) => `${x(px)},${y(low)}`).reverse();
    root.append(svg("path", { d: `M${up.join("L")}L${down.join("L")}Z`, style: `fill:var(${area.colour})`, "fill-opacity": area.opacity ?? 0.75 }));
  }
  for (const line of spec.lines ?? []) {
    root.append(svg("path", { d: `M${line.points.map(([px, py]) => `${x(px)},${y(py)}`).join("L")}`, class: `line ${line.kind ?? ""}`, ...(line.colour ? { style: `stroke:var(${line.colour})`, "stroke-dasharray": line.dash ?? "none" } : {}) }));
  }
  for (const label of spec.labels ?? []) {
    root.append(svg("text", { x: x(label.x) + (label.dx ?? 0), y: y(label.y) + (label.dy ?? 0), "text-anchor": label.anchor ?? "start", class: label.kind ?? "", ...(label.turn ? { transform: `rotate(${label.turn} ${x(label.x)} ${y(label.y)})` } : {}) }, label.text));
  }
  dots(root, spec.dots ?? [], x, y);
  if (spec.hover) hovered(root, spec, x, left, width - right);
  return root;
}

function axes(spec, x, y, width, height) {
  const { left, right, top, bottom } = MARGIN;
  const found = [];
  const across = spec.x.ticks ?? x.ticks(Math.max(2, Math.floor(width / 90)));
  for (const at of spec.y.ticks ?? y.ticks(Math.floor(height / 55))) {
    found.push(svg("line", { x1: left, x2: width - right, y1: Math.round(y(at)), y2: Math.round(y(at)), class: "grid" }));
    found.push(svg("text", { x: left - 8, y: y(at) + 4, "text-anchor": "end" }, (spec.y.format ?? si)(at)));
  }
  for (const at of across) {
    const last = x(at) > width - right - 18;
    found.push(svg("text", { x: last ? width : x(at), y: height - bottom + 17, "text-anchor": last ? "end" : "middle" }, (spec.x.format ?? si)(at)));
  }
  found.push(svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }));
  found.push(svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, spec.x.label));
  found.push(svg("text", { x: 0, y: 10, "text-anchor": "start" }, spec.y.label));
  return found;
}

function dots(root, all, x, y) {
  const items = all.map((dot) => {
    const paint = dot.hollow ? `fill:var(--surface);stroke:var(${dot.fill})` : `fill:var(${dot.fill})`;
    const item = svg("path", { d: SHAPES[dot.shape ?? "circle"](dot.r ?? 5), transform: `translate(${x(dot.x)} ${y(dot.y)})`, style: paint, "fill-opacity": dot.hollow ? 1 : 0.85, class: `dot${dot.hollow ? " hollow" : ""}${dot.id === selected ? " on" : ""}`, role: "img", "aria-label": dot.text, "data-tip": dot.text });
    if (dot.kind) item.setAttribute(`data-${dot.kind}`, dot.id);
    item.addEventListener("click", () => dot.choose?.(dot.id));
    return item;
  });
  root.append(...items);
  if (items.length) walkable(root, items, (i) => all[i].text, (i) => all[i].choose?.(all[i].id));
}

/** A line at the pointer, or where the arrow keys have moved it, with the numbers of that place. */
function hovered(root, spec, x, from, to) {
  const mark = svg("line", { y1: MARGIN.top, y2: root.viewBox.baseVal.height - MARGIN.bottom, class: "axis", visibility: "hidden" });
  root.append(mark);
  root.tabIndex = 0;
  let at = from;
  const value = (px) => x.low + ((px - from) / (to - from)) * (x.high - x.low);
  const show = (px, clientY) => {
    at = Math.max(from, Math.min(to, px));
    mark.setAttribute("x1", at);
    mark.setAttribute("x2", at);
    mark.setAttribute("visibility", "visible");
    const box = root.getBoundingClientRect();
    showTip(spec.hover(value(at)), box.left + at, clientY ?? box.top + 20);
  };
  const hide = () => { mark.setAttribute("visibility", "hidden"); hideTip(); };
  root.addEventListener("pointermove", (event) => show(event.clientX - root.getBoundingClientRect().left, event.clientY));
  root.addEventListener("pointerleave", hide);
  root.addEventListener("blur", hide);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 8, ArrowLeft: -8 }[event.key];
    if (step) { event.preventDefault(); show(at + step); }
  });
}

/** What the colours of areas mean. */
function keyOfAreas(pairs) {
  const key = document.createElement("p");
  key.className = "key";
  for (const [colourName, text] of pairs) {
    const item = document.createElement("span");
    item.append(svg("svg", { viewBox: "0 0 16 12" }, svg("rect", { width: 16, height: 12, style: `fill:var(${colourName})` })), text);
    key.append(item);
  }
  return key;
}
