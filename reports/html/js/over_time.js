// Bytes a cycle from and to the DRAM, and bytes in use on chip, over the run.

const seconds = (cycles) => si(cycles / data.hertz, "s");

function steps(edges, low, high) {
  return high.flatMap((value, i) => [[edges[i], low?.[i] ?? 0, value], [edges[i + 1], low?.[i] ?? 0, value]]);
}
const stepOf = (edges, at) => Math.max(0, Math.min(edges.length - 2, edges.findLastIndex((edge) => edge <= at)));

function bandwidth(host) {
  const { edges, read, written, peak } = data.bandwidth;
  if (edges.length < 2) return;
  const rate = (column) => column.map((bytes, i) => bytes / (edges[i + 1] - edges[i]));
  const reads = rate(read), both = rate(read.map((bytes, i) => bytes + written[i]));
  const perSecond = (bytes) => si(bytes * data.hertz, "B/s");
  chart(host, "DRAM bandwidth over time", () => ({
    x: { label: "time", range: [0, data.cycles], format: seconds },
    y: { label: "bytes per second", range: [0, Math.max(peak, ...both) * 1.12], format: perSecond },
    areas: [{ points: steps(edges, null, reads), colour: "--g1" }, { points: steps(edges, reads, both), colour: "--g3" }],
    lines: [{ points: [[0, peak], [data.cycles, peak]], kind: "limit" }],
    labels: [{ x: data.cycles, y: peak, dy: -6, anchor: "end", text: `all it can: ${perSecond(peak)}` }],
    hover: (at) => {
      const i = stepOf(edges, at);
      return `${seconds(at)} (cycle ${whole(at)})\nread ${perSecond(reads[i])}\nwritten ${perSecond(both[i] - reads[i])}`;
    },
  }), 240);
  host.after(keyOfAreas([["--g1", "read"], ["--g3", "written"]]));
}

function occupancy(host) {
  if (!data.occupancy) {
    host.textContent = "Not found out for a run of so many operations; the peak of each layer is in layers.csv.";
    return;
  }
  const { edges, bytes, capacity } = data.occupancy;
  if (edges.length < 2) return;
  chart(host, "Bytes in use on chip over time", () => ({
    x: { label: "time", range: [0, data.cycles], format: seconds },
    y: { label: "bytes in use", range: [0, capacity * 1.12], format: memory, ticks: [0, 0.25, 0.5, 0.75, 1].map((part) => part * capacity) },
    areas: [{ points: steps(edges, null, bytes), colour: "--g0" }],
    lines: [{ points: [[0, capacity], [data.cycles, capacity]], kind: "limit" }],
    labels: [{ x: data.cycles, y: capacity, dy: -6, anchor: "end", text: `all there is: ${memory(capacity)}` }],
    hover: (at) => `${seconds(at)} (cycle ${whole(at)})\n${whole(bytes[stepOf(edges, at)])} B in use, ${Math.round((100 * bytes[stepOf(edges, at)]) / capacity)} %`,
  }), 240);
}
