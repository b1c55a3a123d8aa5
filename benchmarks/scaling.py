"""How work scales over cores that share one DRAM: cycles, speed-up, and what keeps it from being more.

    python benchmarks/scaling.py

Each model at 1, 2, 4 and 16 cores of npu_32x32, on two memories: `ample`, a DRAM and ports so fast that the arrays
are the limit, and the preset's own DDR4 channel, 25.6 GB/s for all cores together. `/ roofline` is against the bound
of the traffic that the run really has (hwmodel/cost.py); `split` is into how many rows x columns of output tiles each
matmul was cut, the first one's where they differ.
"""

from __future__ import annotations

import argparse

import numpy as np

import minisim as ms
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.tile import Tile
from minisim.reports import summary

COUNTS = (1, 2, 4, 16)

MEMORIES = {
    "ample": {"dram.bandwidth": "4000GB/s", "dma.bytes_per_cycle": 256, "dram.latency": "20ns"},
    "25.6 GB/s": {},
}


def mlp(rows: int, layers: int, width: int) -> ms.Graph:
    """A chain of square matmuls with relu between them."""
    graph = ms.Graph(f"mlp {rows}x{width} x{layers}")
    x = graph.input("x", (rows, width))
    for i in range(layers):
        x = graph.relu(x @ graph.weight(f"w{i}", np.zeros((width, width), np.float32)))
    graph.output(x)
    return graph


def split(graph: ms.Graph, machine: ms.Machine) -> str:
    """Rows x columns of rectangles."""
    tilings = Tile(machine).apply(Fuse().apply(graph)).tilings.values()
    shares = next(t.shares for t in tilings)
    if not shares:
        return "1x1"
    return f"{len({s.m0 for s in shares})}x{len({s.n0 for s in shares})}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    models = [ms.load_model("gemm:1024x512x1024"), mlp(1024, 3, 256), mlp(32, 3, 512)]
    print(f"{'model':<20}{'memory':<11}{'cores':>5}{'split':>7}{'cycles':>12}{'speed-up':>10}{'/ roofline':>12}"
          f"{'bound by':>10}{'DRAM bytes':>13}")  # fmt: skip
    for graph in models:
        for memory, settings in MEMORIES.items():
            alone = 0
            for count in COUNTS:
                machine = ms.Machine().with_overrides({**settings, "cores.count": count})
                row = summary(ms.run(graph, machine, numerics=False).record()).iloc[0]
                cycles = int(row["cycles_total"])
                alone = alone or cycles
                moved = row["dram_read_bytes"] + row["dram_write_bytes"]
                print(f"{graph.name:<20}{memory:<11}{count:>5}{split(graph, machine):>7}{cycles:>12,}"
                      f"{alone / cycles:>9.2f}x{row['cycles_over_roofline']:>12.3f}{row['bound_by']:>10}"
                      f"{moved:>13,}")  # fmt: skip


if __name__ == "__main__":
    main()
