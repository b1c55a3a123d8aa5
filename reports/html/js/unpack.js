// Columns as run.json packs them: base64, deflated, numbers of 7 bits a byte, signs folded in.

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  let count = 0;
  for (const byte of raw) count += byte < 128;
  const found = new Float64Array(count);
  let value = 0, factor = 1, at = 0;
  for (const byte of raw) {
    value += (byte & 127) * factor;
    factor *= 128;
    if (byte >= 128) continue;
    found[at++] = value % 2 ? -(value + 1) / 2 : value / 2;
    value = 0;
    factor = 1;
  }
  return found;
}

/** Differences become the values themselves. */
function summed(column) {
  for (let i = 1; i < column.length; i++) column[i] += column[i - 1];
  return column;
}
