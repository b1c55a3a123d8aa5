"""How minisim's speed holds up from 10 k to 10 M operations: each stage is linear if its last column is about 1.

    python benchmarks/growth.py [--operations 10000,100000,1000000,10000000] [--config npu_32x32] [--effort 0]

One cubic GEMM a size, each in a process of its own, and at last, for the compiler, another of as many steps whose tiles
have a dozen sizes: ragged edges, a bias, a residual, and a softmax of its rows in blocks. On the array's tiles, if the
effort is not another. Each stage once, in CPU seconds (for
other work on the machine disturbs those less than wall time). `peak` is what the process had in memory at most by the
end of the stage, less what it had before it compiled; so it grows from stage to stage. The engine's DRAM, which holds
the matrices, and numpy's inputs are part of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minisim as ms
from minisim.runtime import example_inputs

STAGES = ["compile", "timing, ideal", "timing, banked", "engine", "compile, mixed sizes"]


MOST = 100_000_000
"""Operations, more than any size has."""


def cubic_edge(operations: int, machine: ms.Machine) -> int:
    """The edge of a GEMM that gives about so many operations: mostly the tiles' EXECUTEs, and a third more."""
    tiles = (operations / 1.31) ** (1 / 3)
    return round(tiles * machine.tile.m)


def mixed(edge: int) -> ms.Graph:
    """softmax(x w + b + r), ragged in all dimensions; the weights take no memory."""
    g = ms.Graph("mixed")
    x, r = g.input("x", (edge + 5, edge + 9)), g.input("r", (edge + 5, edge + 3))
    w = g.weight("w", np.broadcast_to(np.float32(0), (edge + 9, edge + 3)))
    g.output(g.softmax(x @ w + g.weight("b", np.zeros(edge + 3, dtype=np.float32)) + r), "y")
    return g


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(operations: int, config: str, effort: str) -> dict[str, Any]:
    """Operations, and seconds and peak bytes of each stage."""
    machine = ms.Machine.load(config).replace(f"compiler.effort={effort}")
    banked = machine.with_overrides({"dram.model": "banked"})
    edge = cubic_edge(operations, machine)
    graph = ms.load_model(f"gemm:{edge}x{edge}x{edge}")
    found: dict[str, Any] = {"edge": edge, "before": peak_bytes(), "seconds": {}, "peak": {}, "operations": {}}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        found["seconds"][stage] = time.process_time() - began
        found["peak"][stage] = peak_bytes() - found["before"]
        return result

    found["operations"] = dict.fromkeys(STAGES, _of_a_run(graph, machine, banked, timed))
    other = timed("compile, mixed sizes", lambda: ms.compile_graph(mixed(edge), machine, max_operations=MOST))
    found["operations"]["compile, mixed sizes"] = len(other)
    return found


def _of_a_run(graph: ms.Graph, machine: ms.Machine, banked: ms.Machine, timed: Callable[..., Any]) -> int:
    """Run all stages but the last; the operations of the schedule, of which nothing is left behind."""
    schedule = timed("compile", lambda: ms.compile_graph(graph, machine, max_operations=MOST))
    timed("timing, ideal", lambda: ms.simulate(schedule, machine))
    timed("timing, banked", lambda: ms.simulate(schedule, banked))
    runtime = ms.Runtime(graph, machine, schedule)
    for name, values in example_inputs(graph).items():
        runtime.set(name, values)
    timed("engine", runtime.execute)
    return len(schedule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", default="10000,100000,1000000,10000000")
    parser.add_argument("--effort", default="0")
    parser.add_argument("--config", default="npu_32x32")
    parser.add_argument("--one", type=int, help="measure one size and print it as JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.config, args.effort)))
        return
    sizes = []
    for size in args.operations.split(","):
        command = [sys.executable, __file__, "--one", size, "--config", args.config, "--effort", args.effort]
        sizes.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"gemm of edge {sizes[-1]['edge']}: {sizes[-1]['operations']['compile']:,} operations", flush=True)
    for title, per_size in (
        ("operations per CPU second", lambda x, stage: f"{x['operations'][stage] / x['seconds'][stage]:12,.0f}"),
        ("peak bytes per operation", lambda x, stage: f"{x['peak'][stage] / x['operations'][stage]:12,.0f}"),
    ):
        heads = "".join(f"{x['operations']['compile']:12,}" for x in sizes)
        print(f"{title:<26}{heads}   time per operation, last / first" if "CPU" in title else f"{title:<26}{heads}")
        for stage in STAGES:
            first, last = (x["seconds"][stage] / x["operations"][stage] for x in (sizes[0], sizes[-1]))
            ratio = f"   {last / first:6.2f}" if "CPU" in title else ""
            print(f"  {stage:<24}{''.join(per_size(x, stage) for x in sizes)}{ratio}")


if __name__ == "__main__":
    main()
