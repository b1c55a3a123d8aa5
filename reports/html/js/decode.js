// A decoding: time and bytes of each token over its position.

const first = data.position[0] ?? 0, last = Math.max(data.position.at(-1) ?? 1, first + 1);
const across = () => ({ label: "position of the token", range: [first, last], format: whole });
const nearest = (at) => data.position.reduce((best, x, i) => (Math.abs(x - at) < Math.abs(data.position[best] - at) ? i : best), 0);
const along = (column) => data.position.map((x, i) => [x, column[i]]);

chart($("#tokens-chart"), "Time of each token over its position", () => ({
  x: across(),
  y: { label: "time", range: extent([...data.seconds, ...data.bound]), format: (x) => si(x, "s") },
  lines: [{ points: along(data.seconds), colour: "--g1" }, { points: along(data.bound), kind: "limit" }],
  dots: data.position.length <= 64 ? data.position.map((x, i) => ({ id: i, x, y: data.seconds[i], r: 4, fill: "--g1", hollow: data.seconds[i] > 1.3 * data.bound[i], text: told(i) })) : [],
  hover: (at) => told(nearest(at)),
}), 320);

chart($("#bytes-chart"), "Bytes of weights and of the cache that each token moves", () => ({
  x: across(),
  y: { label: "bytes", range: extent(data.weights.map((bytes, i) => bytes + data.cache[i])), format: (x) => si(x, "B") },
  areas: [
    { points: data.position.map((x, i) => [x, 0, data.weights[i]]), colour: "--g1" },
    { points: data.position.map((x, i) => [x, data.weights[i], data.weights[i] + data.cache[i]]), colour: "--g2" },
  ],
  hover: (at) => told(nearest(at)),
}), 260);
$("#bytes-chart").after(keyOfAreas([["--g1", "weights"], ["--g2", "keys and values"]]));

function told(i) {
  return `token ${whole(data.position[i])}: ${si(data.seconds[i], "s")}, ${(data.seconds[i] / data.bound[i]).toFixed(2)} × its bound\nweights ${si(data.weights[i], "B")}, keys and values ${si(data.cache[i], "B")}`;
}

sortable($("#program-table"));
searchable($("#program-table"), $("#find"), { found: $("#found") });
document.documentElement.dataset.ready = "yes";
