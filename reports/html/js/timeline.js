// The timeline: a row per unit, a canvas that merges bars by pixel, so that 100,000 of them are drawn in a moment.

const ROW = data.bars.rows.length > 24 ? 15 : 26, HEAD = 22, NAMES = 74;
const UNIT_COLOUR = { load: "--g1", store: "--g3", matrix: "--g0", vector: "--g2" };
const unitOf = (name) => name.replace(/^c\d+\./, "").replace(/ \d+$/, "");

class Timeline {
  constructor(canvas, columns) {
    Object.assign(this, columns, { canvas, pen: canvas.getContext("2d"), cursor: null, row: 0 });
    this.rows = data.bars.rows;
    this.whole();
  }

  whole() { this.from = 0; this.to = Math.max(1, data.cycles); }


  /** Show [from, to), no less than 20 cycles and nothing beyond the run. */
  show(from, to) {
    const length = Math.min(Math.max(to - from, 20), Math.max(1, data.cycles));
    this.from = Math.max(0, Math.min(from, data.cycles - length));
    this.to = this.from + length;
    this.draw();
  }
  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) / factor, at + (this.to - at) / factor);
  }
  move(share) {
    const by = share * (this.to - this.from);
    const from = Math.max(0, Math.min(this.from + by, data.cycles - (this.to - this.from)));
    this.show(from, from + this.to - this.from);
  }

  draw() {
    const { canvas, pen } = this, ratio = devicePixelRatio || 1;
    this.width = canvas.clientWidth;
    this.scale = (this.width - NAMES) / (this.to - this.from);
    const height = HEAD + this.rows.length * ROW + 6;
    const size = [Math.round(this.width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      canvas.style.height = `${height}px`;
      [canvas.width, canvas.height] = size;
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, height);
    this.paint ??= Object.fromEntries(["--ink", "--soft", "--line", "--g0", "--g1", "--g2", "--g3"].map((name) => [name, colour(name)]));
    this.axis(height);
    this.rows.forEach((name, i) => this.drawRow(name, i));
    if (this.cursor !== null) this.drawCursor();
    $("#window").textContent = `${seconds(this.from)} to ${seconds(this.to)}`;
  }

  axis(height) {
    const { pen, paint } = this;
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "middle";
    for (const at of ticks(this.from, this.to, Math.max(2, Math.floor((this.width - NAMES) / 110)))) {
      const x = NAMES + (at - this.from) * this.scale;
      pen.fillStyle = paint["--line"];
      pen.fillRect(Math.round(x), HEAD - 4, 1, height - HEAD);
      pen.fillStyle = paint["--soft"];
      const text = this.to - this.from < 5000 ? whole(at) : seconds(at), room = pen.measureText(text).width;
      pen.fillText(text, Math.min(x + 4, this.width - room - 2), 10);
    }
  }

  /** Bars wider than a pixel by themselves; the others as how much of each pixel they cover. */
  drawRow(name, i) {
    const { pen, paint, begin, length, layer, busy, from, to, scale } = this;
    const [first, last] = this.range(i), top = HEAD + i * ROW, high = ROW - (ROW > 20 ? 7 : 3);
    pen.fillStyle = i === this.row && document.activeElement === this.canvas ? paint["--ink"] : paint["--soft"];
    pen.fillText(name, 6, top + high / 2 + 1);
    const pixels = Math.max(1, Math.ceil(this.width - NAMES));
    const cover = new Float64Array(pixels + 1), marked = new Uint8Array(pixels + 1);
    const fill = paint[UNIT_COLOUR[unitOf(name)]];
    pen.fillStyle = fill;
    const wide = [];
    for (let j = this.firstFrom(first, last, from); j < last && begin[j] < to; j++) {
      const x0 = Math.max(0, (begin[j] - from) * scale);
      const x1 = Math.min(pixels, (begin[j] + length[j] - from) * scale);
      if (x1 - x0 >= 2) { wide.push(j, x0, x1); continue; }
      const at = Math.floor(x0), share = busy ? busy[j] / Math.max(1, length[j]) : 1;
      const inside = Math.min(x1, at + 1) - x0;
      cover[at] += inside * share;
      if (x1 > at + 1) cover[at + 1] += (x1 - at - 1) * share;
      if (layer[j] === selected) marked[at] = 1;
    }
    this.drawCover(cover, marked, top, high, fill);
    for (let w = 0; w < wide.length; w += 3) this.drawBar(wide[w], wide[w + 1], wide[w + 2], top, high, fill);
    pen.globalAlpha = 1;
  }

  /** Runs of pixels that are covered alike are one rectangle. */
  drawCover(cover, marked, top, high, fill) {
    const { pen, paint } = this;
    const levels = 12, level = (x) => (cover[x] > 0 ? Math.max(1, Math.min(levels, Math.round(cover[x] * levels))) : 0) + (marked[x] ? 100 : 0);
    for (let x = 0; x < cover.length;) {
      const here = level(x);
      let end = x + 1;
      while (end < cover.length && level(end) === here) end++;
      if (here) {
        pen.globalAlpha = 0.15 + 0.85 * ((here % 100) / levels);
        pen.fillStyle = here >= 100 ? paint["--ink"] : fill;
        pen.fillRect(NAMES + x, top, end - x, high);
      }
      x = end;
    }
  }

  drawBar(j, x0, x1, top, high, fill) {
    const { pen, paint, layer, busy, length } = this;
    const on = layer[j] === selected;
    pen.globalAlpha = on ? 1 : (layer[j] % 2 ? 0.72 : 1) * (busy ? 0.3 + (0.7 * busy[j]) / Math.max(1, length[j]) : 1);
    pen.fillStyle = on ? paint["--ink"] : fill;
    pen.fillRect(NAMES + x0, top, Math.max(1, x1 - x0 - (x1 - x0 > 4 ? 1 : 0)), high);
  }

  drawCursor() {
    const { pen, paint } = this, j = this.cursor, row = this.rowOf(j);
    const x0 = NAMES + (this.begin[j] - this.from) * this.scale;
    pen.strokeStyle = paint["--ink"];
    pen.lineWidth = 2;
    pen.strokeRect(x0 - 1, HEAD + row * ROW - 2, Math.max(3, this.length[j] * this.scale) + 2, ROW - 3);
  }

  range(row) { return [this.firsts[row], this.firsts[row + 1]]; }
  rowOf(j) { return this.firsts.findLastIndex((first) => first <= j); }

  /** The first bar of a row that ends behind a cycle. */
  firstFrom(first, last, cycle) {
    let low = first, high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.begin[middle] + this.length[middle] <= cycle) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** The bar at a place of the canvas, within two pixels; null if there is none. */
  at(x, y) {
    const row = Math.floor((y - HEAD) / ROW);
    if (row < 0 || row >= this.rows.length || x < NAMES) return null;
    const cycle = this.from + (x - NAMES) / this.scale, near = 2 / this.scale;
    const [first, last] = this.range(row);
    const j = this.firstFrom(first, last, cycle);
    if (j < last && this.begin[j] <= cycle + near) return j;
    return j > first && this.begin[j - 1] + this.length[j - 1] >= cycle - near ? j - 1 : null;
  }

  /** What a bar is, in words. */
  words(j) {
    const begin = this.begin[j], end = begin + this.length[j], name = data.layers.name[this.layer[j]];
    const span = `${whole(begin)} to ${whole(end)} (${whole(this.length[j])} cycles)`;
    if (!this.op) return `${whole(this.count[j])} operations, busy ${Math.round((100 * this.busy[j]) / Math.max(1, this.length[j]))} %\nfrom ${name}\n${span}`;
    const waited = data.bars.waits[this.waited[j]], t = this.tile[j], { tensor, row, col, rows, cols } = this.tiles;
    const opcode = { load: "LOAD", store: "STORE", matrix: "EXECUTE", vector: "VECTOR" }[unitOf(this.rows[this.rowOf(j)])];
    const tile = `${data.tensors[tensor[t]]}[${row[t]}:${row[t] + rows[t]},${col[t]}:${col[t] + cols[t]}]`;
    return `${opcode} ${tile}\n${name}\n${span}, operation ${whole(this.op[j])}${waited ? `\nwaited for: ${waited}` : ""}`;
  }

  /** Go to the next (or previous) bar of the row, and tell it. */
  step(by) {
    const [first, last] = this.range(this.row);
    if (first === last) return;
    const here = this.cursor !== null && this.rowOf(this.cursor) === this.row ? this.cursor + by : this.firstFrom(first, last, this.from);
    this.cursor = Math.max(first, Math.min(last - 1, here));
    const begin = this.begin[this.cursor], half = (this.to - this.from) / 2;
    if (begin < this.from || begin > this.to) this.show(begin - half, begin + half); else this.draw();
    const box = this.canvas.getBoundingClientRect();
    showTip(this.words(this.cursor), box.left + NAMES + Math.max(0, (begin - this.from) * this.scale), box.top + HEAD + (this.row + 1) * ROW);
  }
}

/** Pointer, wheel and keys. */
function steered(timeline) {
  const { canvas } = timeline, held = new Map();
  const cycleAt = (x) => timeline.from + (x - NAMES) / timeline.scale;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  let moved = 0;
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
    event.preventDefault();
    timeline.zoom(Math.exp(-event.deltaY / 300), cycleAt(place(event)[0]));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event)[0]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (!held.has(event.pointerId)) {
      const j = timeline.at(x, y);
      if (j === null) hideTip(); else showTip(timeline.words(j), event.clientX, event.clientY);
      return;
    }
    const was = held.get(event.pointerId);
    moved += Math.abs(x - was);
    if (held.size === 1) timeline.move((was - x) / (timeline.width - NAMES));
    else {
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const factor = Math.abs(x - other) / Math.max(1, Math.abs(was - other));
      timeline.zoom(Math.max(0.5, Math.min(2, factor)), cycleAt((x + other) / 2));
    }
    held.set(event.pointerId, x);
  });
  canvas.addEventListener("pointerup", (event) => {
    held.delete(event.pointerId);
    const j = timeline.at(...place(event));
    if (moved < 4 && j !== null) select(timeline.layer[j]);
  });
  canvas.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("dblclick", (event) => timeline.zoom(4, cycleAt(place(event)[0])));
  const keys = {
    ArrowLeft: () => timeline.move(-0.2), ArrowRight: () => timeline.move(0.2), "+": () => timeline.zoom(1.6), "=": () => timeline.zoom(1.6), "-": () => timeline.zoom(1 / 1.6),
    0: () => { timeline.whole(); timeline.draw(); }, n: () => timeline.step(1), p: () => timeline.step(-1),
    ArrowDown: () => { timeline.row = Math.min(timeline.rows.length - 1, timeline.row + 1); timeline.step(0); },
    ArrowUp: () => { timeline.row = Math.max(0, timeline.row - 1); timeline.step(0); },
    Enter: () => { if (timeline.cursor !== null) select(timeline.layer[timeline.cursor]); },
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  for (const type of ["focus", "blur"]) canvas.addEventListener(type, () => timeline.draw());
  canvas.addEventListener("blur", hideTip);
  const buttons = { in: () => timeline.zoom(2), out: () => timeline.zoom(0.5), all: keys[0] };
  for (const button of $$("[data-zoom]")) button.addEventListener("click", buttons[button.dataset.zoom]);
}

/** Unpack the bars and show them; gives the timeline. */
async function timelineOf(canvas) {
  const { columns, tiles, counts, merged } = data.bars;
  const named = async (table) => Object.fromEntries(await Promise.all(Object.entries(table).map(async ([name, text]) => [name, await unpacked(text)])));
  const found = await named(columns), firsts = [0];
  for (const count of counts) firsts.push(firsts.at(-1) + count);
  for (let row = 0; row < counts.length; row++) summed(found.begin.subarray(firsts[row], firsts[row + 1]));
  for (const name of ["layer", "op", "tile"]) if (found[name]) summed(found[name]);
  const all = await named(tiles);
  for (const column of Object.values(all)) summed(column);
  const timeline = new Timeline(canvas, { ...found, firsts, tiles: all });
  steered(timeline);
  if (merged) $("#timeline-note").append(" So many operations are drawn together where they begin within a few cycles of each other.");
  redraws.push(() => { timeline.paint = null; timeline.draw(); });
  selection.addEventListener("change", () => timeline.draw());
  new ResizeObserver(() => timeline.draw()).observe(canvas.parentElement);
  timeline.draw();
  return timeline;
}
