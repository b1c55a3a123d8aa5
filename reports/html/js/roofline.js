// The roofline: MACs a cycle over MACs a byte, both logarithmic; a point per layer with MACs.

function roofline(host) {
  const { layers, roofs, groups } = data;
  const with_macs = layers.macs.map((n, i) => i).filter((i) => layers.macs[i] && layers.interval[i]);
  if (!with_macs.length || !roofs.macs) {
    host.textContent = "No layer has MACs.";
    return;
  }
  const moved = with_macs.filter((i) => layers.bytes[i]);
  const intensity = (i) => layers.macs[i] / layers.bytes[i];
  const [low, high] = extent([...moved.map(intensity), roofs.macs / roofs.dram], true);
  const right = Math.max(high, (roofs.macs / Math.min(roofs.dram, roofs.load)) * 2) * 1.6;
  const speed = (i) => layers.macs[i] / layers.interval[i];
  const [slow] = extent([...with_macs.map(speed), roofs.macs], true);
  const left = low / 1.3, floor = slow / 1.5;
  const longest = Math.max(...layers.interval), top = Math.max(roofs.macs, ...with_macs.map(speed)) * 1.6;
  const dots = with_macs.map((i) => ({
    id: i, kind: "layer", choose: select, x: layers.bytes[i] ? intensity(i) : right / 1.15, y: speed(i),
    r: 4 + 7 * Math.sqrt(layers.interval[i] / longest), shape: GROUP_SHAPE[layers.group[i]] ?? "circle", fill: `--g${Math.max(0, layers.group[i])}`,
    text: `${layers.name[i]} (${layers.op[i]})\n${si(speed(i))} MACs a cycle of ${si(roofs.macs)}, ${layers.bytes[i] ? `${si(intensity(i))} MACs a byte` : "nothing from DRAM"}\n${whole(layers.interval[i])} cycles until its results were there, mostly ${groups[layers.group[i]] ?? "nothing"}`,
  }));
  const slope = (bytes) => {
    const from = Math.max(left, floor / bytes);
    return [[from, from * bytes], [Math.min(right, roofs.macs / bytes), Math.min(right * bytes, roofs.macs)]];
  };
  const turn = (width) => {
    const across = (width - MARGIN.left - MARGIN.right) / Math.log10(right / left);
    const up = (380 - MARGIN.top - MARGIN.bottom) / Math.log10(top / floor);
    return (-Math.atan2(up, across) * 180) / Math.PI;
  };
  const sloped = (bytes, text, width, dy) => {
    const [[x0, y0], [x1]] = slope(bytes);
    const at = x0 * (x1 / x0) ** 0.42;
    return { x: at, y: at * bytes, dx: 0, dy, text, anchor: "middle", turn: turn(width) };
  };
  chart(host, "Roofline: MACs a cycle over MACs a byte of DRAM traffic", (width) => ({
    x: { label: "MACs per byte from and to DRAM", range: [left, right], log: true, format: plain },
    y: { label: "MACs per cycle", range: [floor, top], log: true, format: plain },
    lines: [
      { points: [[roofs.macs / roofs.dram, roofs.macs], [right, roofs.macs]], kind: "roof" },
      { points: slope(roofs.dram), kind: "roof" },
      ...(roofs.load < roofs.dram ? [{ points: slope(roofs.load), kind: "limit" }] : []),
    ],
    labels: [
      { x: right, y: roofs.macs, dy: -8, anchor: "end", text: `${roofs.macs_name}, ${whole(roofs.macs)} MACs a cycle` },
      sloped(roofs.dram, roofs.dram_name, width, -8),
      ...(roofs.load < roofs.dram ? [sloped(roofs.load, roofs.load_name, width, 16)] : []),
    ],
    dots: dots.sort((a, b) => b.r - a.r),
  }), 380);
  const key = document.createElement("p");
  key.className = "key";
  groups.forEach((group, i) => {
    if (!with_macs.some((layer) => layers.group[layer] === i)) return;
    const item = document.createElement("span");
    item.append(svg("svg", { viewBox: "-8 -8 16 16" }, svg("path", { d: SHAPES[GROUP_SHAPE[i]](6), style: `fill:var(--g${i})` })), `mostly ${group}`);
    key.append(item);
  });
  host.after(key);
}
