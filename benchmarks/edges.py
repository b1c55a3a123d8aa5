"""How good schedules are at each effort: cycles of random matmuls over what no schedule is below.

    python benchmarks/edges.py [--count 300] [--seed S] [--efforts 0,1,2] [--jobs 2]

Matmuls with M, K and N of 1 to 4,096 (ragged, tall, flat, one row), at most a million operations of the array each, on
the presets, with SRAM from a bit over three tiles up, the DRAM ideal or banked. Columns, by effort: cycles over the
largest of

    array        the whole layer as one tile
    port         each byte once through the DMA's port
    DRAM         each byte once, at the peak rate

as mean, median, 90 % and worst, of all and of those whose tensors fit in SRAM. A matmul of a handful of operations is
far above that: it waits for the DRAM to answer, and for the array to fill and to drain. So of those that fit the same
stands over the bound and the latency of one operation, which is the time of gemm:1x1x1 on the machine. Then cycles over
the soonest of all efforts, and the operations that were compiled in a second of this machine's time.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

import minisim as ms
from minisim.errors import CapacityError, ConfigError
from minisim.hwmodel import isa
from minisim.hwmodel.cost import matmul_cycles, roofline

PRESETS = ("npu_32x32", "npu_32x32", "tpu_like_128x128", "edge_8x8", "gemmini_16x16", "tpu_v3")
POPULAR = (1, 1, 8, 16, 31, 32, 64, 100, 127, 128, 129, 197, 256, 384, 512, 768, 1000, 1024, 2048, 3072, 4096)
ROOM = (1.02, 1.3, 2, 4, 8, 16, 64, 256)
"""SRAM, in parts of what the operands of one operation take."""

MOST = 1_000_000


class Case(NamedTuple):
    m: int
    k: int
    n: int
    preset: str
    keys: tuple[str, ...]

    @property
    def model(self) -> str:
        return f"gemm:{self.m}x{self.k}x{self.n}"

    def machine(self, effort: int) -> ms.Machine:
        return ms.Machine.load(self.preset).replace(*self.keys, f"compiler.effort={effort}")


class Found(NamedTuple):
    """By effort: cycles, operations, seconds of CPU to compile. And the bound, the latency of one operation, and
    whether the tensors fit."""

    cycles: list[int]
    operations: list[int]
    seconds: list[float]
    bound: float
    latency: int
    fits: bool


def cases(count: int, seed: int, most: int) -> Iterator[Case]:
    draw = random.Random(seed)
    while count:
        m, k, n = (draw.choice([draw.choice(POPULAR), draw.randint(1, 4096), draw.randint(1, 300)]) for _ in range(3))
        preset = draw.choice(PRESETS)
        machine = ms.Machine.load(preset)
        tile = [
            min(size, edge)
            for size, edge in zip((m, k, n), (machine.tile.m, machine.tile.k, machine.tile.n), strict=True)
        ]
        if -(-m // tile[0]) * -(-k // tile[1]) * -(-n // tile[2]) > most:
            continue
        operands = 4 * (tile[0] * tile[1] + tile[1] * tile[2] + 2 * tile[0] * tile[2])
        keys = [f"sram.bytes={int(operands * draw.choice(ROOM)) // 64 * 64 + 256}"]
        if draw.random() < 0.4:
            keys.append("dram.model=banked")
        if draw.random() < 0.4:
            keys.append(f"dma.bytes_per_cycle={draw.choice((8, 16, 64, 256))}")
        try:
            machine.replace(*keys)
        except ConfigError:
            continue
        count -= 1
        yield Case(m, k, n, preset, tuple(keys))


def bound(case: Case, machine: ms.Machine) -> float:
    item = isa.ITEMSIZE[machine.dtype]
    array = float(matmul_cycles(case.m, case.k, case.n, 1, machine)[1]) / machine.cores.count
    read = (case.m * case.k + case.k * case.n) * item
    roof = roofline(0, 0, read, case.m * case.n * item, machine)
    return max(array, float(roof.load_port), float(roof.store_port), float(roof.dram))


def measure(work: tuple[Case, Sequence[int]]) -> Found | None:
    case, efforts = work
    latency = ms.run("gemm:1x1x1", case.machine(0), numerics=False).cycles
    found = Found([], [], [], bound(case, case.machine(0)), latency, False)
    for effort in efforts:
        machine = case.machine(effort)
        graph = ms.load_model(case.model)
        began = time.process_time()
        try:
            schedule = ms.compile_graph(graph, machine, numerics=False)
        except CapacityError:
            return None
        found.seconds.append(time.process_time() - began)
        found.operations.append(len(schedule))
        found.cycles.append(ms.run(graph, machine, numerics=False).cycles)
    sizes = 4 * (case.m * case.k + case.k * case.n + case.m * case.n)
    return found._replace(fits=1.3 * sizes < machine.sram.bytes)


def line(name: str, ratios: Sequence[float]) -> str:
    if not ratios:
        return f"{name:<28} none"
    x = np.array(ratios)
    return f"{name:<28} {x.mean():8.3f} {np.median(x):8.3f} {np.quantile(x, 0.9):8.3f} {x.max():8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=MOST, help="operations of the array, on the array's tiles")
    parser.add_argument("--efforts", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    efforts = [int(x) for x in options.efforts.split(",")]
    work = [(case, efforts) for case in cases(options.count, options.seed, options.most)]
    with ProcessPoolExecutor(options.jobs) as pool:
        all_ = [found for found in pool.map(measure, work) if found is not None]
    print(f"{len(all_)} of {len(work)} matmuls; the others have no room for the array's tiles")
    print(f"{'cycles over the bound':<28} {'mean':>8} {'median':>8} {'90 %':>8} {'worst':>8}")
    for i, effort in enumerate(efforts):
        print(line(f"effort {effort}", [x.cycles[i] / x.bound for x in all_]))
        print(line(f"effort {effort}, tensors fit", [x.cycles[i] / x.bound for x in all_ if x.fits]))
        print(line("  and the latency", [x.cycles[i] / (x.bound + x.latency) for x in all_ if x.fits]))
    print("cycles over the soonest of all efforts")
    for i, effort in enumerate(efforts):
        print(line(f"effort {effort}", [x.cycles[i] / min(x.cycles) for x in all_]))
    for i, effort in enumerate(efforts):
        operations, seconds = sum(x.operations[i] for x in all_), sum(x.seconds[i] for x in all_)
        large = [x for x in all_ if x.operations[i] >= 20_000]
        rate = sum(x.operations[i] for x in large) / max(1e-9, sum(x.seconds[i] for x in large))
        print(
            f"effort {effort}: {operations:,} operations compiled in {seconds:.1f} s; schedules of 20,000 and more "
            f"at {rate:,.0f} a second"
        )


if __name__ == "__main__":
    main()
