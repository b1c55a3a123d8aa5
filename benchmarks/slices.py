"""Networks of the zoo layer by layer and in slices: cycles, DRAM traffic, time to compile (docs/schedules.md).

python benchmarks/slices.py [NETWORK ...]
"""

from __future__ import annotations

import sys

import numpy as np

import minisim as ms
from minisim.compiler.frontend import load_model

NETWORKS = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "squeezenet", "unet")
MACHINES = (
    ("npu_32x32", "256KiB"),
    ("npu_32x32", "1MiB"),
    ("npu_32x32", "2MiB"),
    ("tpu_like_128x128", "1MiB"),
    ("tpu_like_128x128", "4MiB"),
)


def measured(name: str, preset: str, sram: str, slices: bool) -> tuple[int, float, float, int]:
    """Cycles, MB to and from DRAM, seconds to compile, layers that are walked with others."""
    machine = ms.Machine.load(preset, [f"sram.bytes={sram}", f"compiler.slices={str(slices).lower()}"])
    result = ms.run(load_model(name), machine, numerics=False)
    reads, writes = result.record().dram_moved
    _, counts = np.unique(result.schedule.layers["slice"], return_counts=True)
    moved = (int(reads.sum()) + int(writes.sum())) / 1e6
    return result.cycles, moved, result.wall_compile_s, int(counts[counts > 1].sum())


ROW = "{:<14}{:<18}{:>7}{:>18}{:>7}{:>16}{:>14}{:>8}"


def main() -> None:
    print(ROW.format("network", "machine", "SRAM", "M cycles", "ratio", "DRAM MB", "compile s", "layers"))
    for name in sys.argv[1:] or NETWORKS:
        for preset, sram in MACHINES:
            plain, sliced = (measured(name, preset, sram, slices) for slices in (False, True))
            cycles = f"{plain[0] / 1e6:.3f} {sliced[0] / 1e6:.3f}"
            moved, taken = f"{plain[1]:.1f} {sliced[1]:.1f}", f"{plain[2]:.1f} {sliced[2]:.1f}"
            ratio = f"{sliced[0] / plain[0]:.3f}"
            print(ROW.format(name, preset, sram, cycles, ratio, moved, taken, sliced[3]), flush=True)


if __name__ == "__main__":
    main()
