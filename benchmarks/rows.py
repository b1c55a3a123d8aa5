"""Row operators on the tiles of their neighbours (docs/adr/0037) against strips of whole rows of their own.

    python benchmarks/rows.py [--quick]

For each model, preset and SRAM: cycles in strips of whole rows, and what the compiler takes, as a part of that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from unittest import mock

import minisim as ms
from minisim import Graph, Machine
from minisim.errors import CapacityError

SIZES = ("128KiB", "256KiB", "512KiB", "1MiB", "4MiB")


def attention(heads: int, rows: int, width: int = 64, masked: bool = False) -> Graph:
    """softmax(q k^T / sqrt(width) + mask) v."""
    g = Graph(f"attention {heads}x{rows}x{width}{' masked' * masked}")
    q, k, v = (g.input(name, (heads, rows, width)) for name in "qkv")
    scores = g.matmul(q, k, transpose_b=True)
    if masked:
        scores = g.add(g.mul(scores, width**-0.5), g.input("mask", (rows, rows)))
    g.output(g.matmul(g.softmax(scores), v))
    return g


def scores(heads: int, rows: int, width: int = 64) -> Graph:
    g = Graph(f"scores {heads}x{rows}x{width}")
    q, k = (g.input(name, (heads, rows, width)) for name in "qk")
    g.output(g.softmax(g.matmul(q, k, transpose_b=True)))
    return g


def norm(rows: int, cols: int) -> Graph:
    """A layer norm between two matmuls."""
    g = Graph(f"norm {rows}x{cols}")
    x = g.matmul(g.input("x", (rows, cols)), g.weight("w0", shape=(cols, cols)))
    g.output(g.matmul(g.layer_norm(x), g.weight("w1", shape=(cols, cols))))
    return g


def block(rows: int, cols: int) -> Graph:
    """A projection, its residual and norm, and the two layers behind them with theirs."""
    g = Graph(f"block {rows}x{cols}")
    x = g.input("x", (rows, cols))
    y = g.layer_norm(g.add(g.matmul(x, g.weight("w0", shape=(cols, cols))), x))
    wide = g.relu(g.matmul(y, g.weight("w1", shape=(cols, 2 * cols))))
    g.output(g.layer_norm(g.add(g.matmul(wide, g.weight("w2", shape=(2 * cols, cols))), y)))
    return g


def classifier(rows: int, classes: int) -> Graph:
    g = Graph(f"classifier {rows}x{classes}")
    g.output(g.softmax(g.matmul(g.input("x", (rows, 256)), g.weight("w", shape=(256, classes)))))
    return g


MODELS: tuple[Callable[[], Graph], ...] = (
    lambda: attention(12, 128),
    lambda: attention(6, 197),
    lambda: attention(12, 197, masked=True),
    lambda: attention(4, 256),
    lambda: attention(4, 512),
    lambda: scores(12, 128),
    lambda: norm(512, 768),
    lambda: norm(128, 1024),
    lambda: block(256, 512),
    lambda: block(128, 256),
    lambda: block(1, 512),
    lambda: classifier(512, 1000),
    lambda: classifier(1, 1000),
)


def cycles(graph: Graph, machine: Machine) -> int | None:
    try:
        return ms.run(graph, machine, numerics=False).cycles
    except CapacityError:
        return None


def cases(quick: bool) -> Iterator[tuple[Graph, Machine]]:
    for preset in ("npu_32x32", "tpu_like_128x128"):
        for make in MODELS[:: 3 if quick else 1]:
            for size in SIZES[1:4:2] if quick else SIZES:
                yield make(), Machine.of(preset).replace(f"sram.bytes={size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few of the cases")
    shares = []
    print(f"{'model':32} {'machine':18} {'SRAM':>9} {'whole rows':>12} {'taken':>12}  part")
    for graph, machine in cases(parser.parse_args().quick):
        with mock.patch("minisim.compiler.ops.row_strips.tile_as_neighbours", return_value=None):
            before = cycles(graph, machine)
        after = cycles(graph, machine)
        if before is None or after is None:
            continue
        shares.append(after / before)
        print(
            f"{graph.name:32} {machine.name:18} {machine.sram.bytes:9} {before:12,} {after:12,}  {shares[-1]:.3f}",
            flush=True,
        )
    print(f"{len(shares)} cases: from {min(shares):.3f} to {max(shares):.3f}; {sum(x < 0.99 for x in shares)} sooner")


if __name__ == "__main__":
    main()
