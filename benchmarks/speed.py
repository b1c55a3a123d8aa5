"""How fast minisim itself is: operations per second of each stage, memory per operation, one GEMM end to end.

    python benchmarks/speed.py [--runs 5] [--sizes 256,512,1024] [--tile 32]

Medians of several runs; CPU time, but for the command and for timing and engine together, which work in two threads:
they are timed as a user waits for them. Machines differ and are
noisy: compare ratios, in one run. How each stage grows with the operations: growth.py.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import minisim as ms
from minisim._engine import DramMemory
from minisim.compiler import panels
from minisim.hwmodel.banked import Memory
from minisim.hwmodel.dram_presets import PRESETS
from minisim.lockstep import in_lockstep
from minisim.runtime import example_inputs


def median_seconds(work: Callable[[], Any], runs: int, clock: Callable[[], float] = time.process_time) -> float:
    """Median time of `work` after one warm-up."""
    times = []
    for i in range(runs + 1):
        began = clock()
        work()
        if i:
            times.append(clock() - began)
    return statistics.median(times)


def loaded_runtime(graph: ms.Graph, machine: ms.Machine, schedule: ms.Schedule, kernel: str = "auto") -> ms.Runtime:
    runtime = ms.Runtime(graph, machine, schedule, kernel=kernel)
    for name, values in example_inputs(graph).items():
        runtime.set(name, values)
    return runtime


def lockstep(runtime: ms.Runtime, machine: ms.Machine, timing: str) -> None:
    runtime.engine.reset()
    in_lockstep(runtime.schedule, machine, runtime.engine, [], timing)


def compile_cold(graph: ms.Graph, machine: ms.Machine) -> ms.Schedule:
    """Compile as for the first time: the choice of panels is remembered otherwise."""
    panels.choose.cache_clear()
    return ms.compile_graph(graph, machine)


def stage_rows(size: int, tile: int, runs: int) -> None:
    """A line per stage for a cubic GEMM in cubic tiles; the engine has its schedule and inputs, and what that takes is
    the stage `load`."""
    machine = ms.Machine.load("npu_32x32").with_overrides({f"tile.{axis}": tile for axis in "mkn"})
    banked = machine.with_overrides({"dram.model": "banked"})
    graph = ms.load_model(f"gemm:{size}x{size}x{size}")
    schedule = ms.compile_graph(graph, machine)
    operations = len(schedule)
    print(f"gemm {size}x{size}x{size} on npu_32x32 in tiles of {tile}: {operations:,} operations")
    runtime = loaded_runtime(graph, machine, schedule)
    reference = loaded_runtime(graph, machine, schedule, kernel="reference")
    stages: dict[str, Callable[[], Any]] = {
        "compile": lambda: compile_cold(graph, machine),
        "timing, ideal": lambda: ms.simulate(schedule, machine),
        "timing, banked": lambda: ms.simulate(schedule, banked),
        "SimPy, ideal": lambda: ms.simulate(schedule, machine, timing="simpy"),
        "SimPy, banked": lambda: ms.simulate(schedule, banked, timing="simpy"),
        "load": lambda: ms.Runtime(graph, machine, schedule),
        "engine": runtime.execute,
        "engine, scalar": reference.execute,
        "timing + engine": lambda: lockstep(runtime, machine, "native"),
        "banked + engine": lambda: lockstep(runtime, banked, "native"),
        "SimPy + engine": lambda: lockstep(runtime, machine, "simpy"),
    }
    for name, work in stages.items():
        both = " + engine" in name
        seconds = median_seconds(work, runs, time.perf_counter if both else time.process_time)
        flops = f"{2 * size**3 / seconds / 1e9:8.1f} GFLOP/s" if "engine" in name else ""
        print(f"  {name:<16} {seconds * 1e3:10.1f} ms {operations / seconds:14,.0f} operations/s {flops}")


def dram_rows(runs: int) -> None:
    """Tiles of 32 x 32 floats at a pitch of 64 KiB, every fourth one stored: the banked DRAM, and its definition."""
    part, tiles = PRESETS["ddr4-3200"], 400
    seconds = []
    for name, kind in (("Python, definition", Memory), ("C++, in every run", DramMemory)):

        def serve(kind: type[Memory] | type[DramMemory] = kind) -> None:
            memory, now = kind(part), 0
            for i in range(tiles):
                now = memory.transfer(128 * i, 65536, 32, 128, i % 4 == 3, now, now).end

        seconds.append(median_seconds(serve, runs))
        print(f"  {name:<18} {tiles * 64 / seconds[-1]:12,.0f} bursts/s")
    print(f"  ratio {seconds[0] / seconds[1]:.0f}")


def memory_row(size: int) -> None:
    """Bytes per operation: of what is kept, and of the largest moment."""
    machine = ms.Machine.load("npu_32x32")
    graph = ms.load_model(f"gemm:{size}x{size}x{size}")
    for name in ("compile", "timing"):
        schedule = ms.compile_graph(graph, machine)
        tracemalloc.start()
        if name == "compile":
            schedule = ms.compile_graph(graph, machine)
            kept = schedule.nbytes()
        else:
            timeline = ms.simulate(schedule, machine)
            kept = sum(v.nbytes for v in vars(timeline).values() if isinstance(v, np.ndarray))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        n = len(schedule)
        print(f"  {name:<16} kept {kept / n:6.0f} B/operation, peak {peak / n:6.0f} B/operation ({n:,} operations)")


def command_row(runs: int) -> None:
    """The whole command as a user starts it: interpreter, imports, compile, timing, numerics, reports."""
    wall = time.perf_counter
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "minisim", "run", "gemm:512x512x512", "--out", out]
        seconds = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), runs, wall)
    imports = median_seconds(
        lambda: subprocess.run([sys.executable, "-c", "import minisim, minisim.reports"], check=True), runs, wall
    )
    print(f"  minisim run gemm:512x512x512   {seconds:6.2f} s, of which imports {imports:6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default="256,512,1024")
    parser.add_argument("--tile", type=int, default=32, help="edge of a tile, in elements: at most 32")
    args = parser.parse_args()
    for size in map(int, args.sizes.split(",")):
        stage_rows(size, args.tile, args.runs)
    print("banked DRAM, bursts of a ddr4-3200")
    dram_rows(args.runs)
    print("memory, gemm 1024x1024x1024")
    memory_row(1024)
    print("end to end, as a command")
    command_row(args.runs)


if __name__ == "__main__":
    main()
