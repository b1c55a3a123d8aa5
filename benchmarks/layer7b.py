"""How long it takes to time layers of a transformer of 7 billion weights, and in how much memory.

    python benchmarks/layer7b.py [--layers 1] [--tokens 2048] [--machine tpu_like_128x128] [--no-attention]

Each layer: a norm, four projections of 4,096 x 4,096 with 32 heads of attention between them (scores, softmax, values;
no mask), a norm, and an MLP of 11,008 with a gate. Weights have shapes alone. Prints operations, cycles, the seconds of
building the graph, of compiling and of timing, and the peak of the process; nothing is remembered from an earlier run
unless MINISIM_CACHE names a folder.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

HIDDEN, HEADS, INNER = 4096, 32, 11008


def layers(count: int, tokens: int, attention: bool):  # type: ignore[no-untyped-def]
    import minisim as ms

    graph = ms.Graph(f"{count} layers")
    x = graph.input("x", (tokens, HIDDEN))
    for i in range(count):

        def weight(name: str, *shape: int, layer: int = i) -> ms.Tensor:
            return graph.weight(f"layer{layer}.{name}", shape=shape)

        def projected(y: ms.Tensor, name: str, inner: int, outer: int, layer: int = i) -> ms.Tensor:
            return graph.matmul(y, weight(name, inner, outer, layer=layer), name=f"layer{layer}.{name}.matmul")

        y = graph.layer_norm(x, weight("norm1.scale", HIDDEN), weight("norm1.bias", HIDDEN))
        q, k, v = (projected(y, name, HIDDEN, HIDDEN) for name in ("q", "k", "v"))
        if attention:
            heads = [graph.transpose(graph.reshape(z, (tokens, HEADS, HIDDEN // HEADS)), (1, 0, 2)) for z in (q, k, v)]
            scores = graph.softmax(graph.matmul(heads[0], heads[1], transpose_b=True))
            y = graph.reshape(graph.transpose(graph.matmul(scores, heads[2]), (1, 0, 2)), (tokens, HIDDEN))
        else:
            y = graph.add(graph.add(q, k), v)
        x = graph.add(x, projected(y, "o", HIDDEN, HIDDEN))
        y = graph.layer_norm(x, weight("norm2.scale", HIDDEN), weight("norm2.bias", HIDDEN))
        gate, up = (projected(y, name, HIDDEN, INNER) for name in ("gate", "up"))
        x = graph.add(x, projected(graph.mul(graph.sigmoid(gate), up), "down", INNER, HIDDEN))
    graph.output(x, "y")
    return graph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--machine", default="tpu_like_128x128")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--no-attention", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("MINISIM_CACHE", "off")

    import minisim as ms
    from minisim.compiler.pipeline import compile_graph
    from minisim.hwmodel.native import simulate_native

    machine = ms.Machine.load(args.machine).replace(*args.set)
    began = time.perf_counter()
    graph = layers(args.layers, args.tokens, not args.no_attention)
    built = time.perf_counter()
    schedule = compile_graph(graph, machine, numerics=False, max_operations=100_000_000)
    compiled = time.perf_counter()
    timeline = simulate_native(schedule, machine)
    timed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{args.layers} layers, {args.tokens} tokens on {machine.name}: {len(schedule):,} operations, "
        f"{int(timeline.cycles):,} cycles\n"
        f"graph {built - began:.2f} s, compile {compiled - built:.2f} s, time {timed - compiled:.2f} s, "
        f"in all {timed - began:.2f} s; peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
