"""How minisim's speed holds up from 10 k to 10 M operations: each stage is linear if its last column is about 1.

    python benchmarks/growth.py [--operations 10000,100000,1000000,10000000] [--config npu_32x32]
    python benchmarks/growth.py --tile 8 --edges 2048 --limit 4    # within 4 GiB of address space, or it fails

One cubic GEMM a size, each in a process of its own, and for the compiler another of as many steps whose tiles have a
dozen sizes: ragged edges, a bias, a residual, and a softmax of its rows in blocks. Each stage once, in CPU seconds (for
other work on the machine disturbs those less than wall time). `peak` is what the process had in memory at most by the
end of the stage, less what it had before it compiled; so it grows from stage to stage. The engine's DRAM, which holds
the matrices, and numpy's inputs are part of it. Decisions are not taken from the disk: each is made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minisim as ms
from minisim.runtime import example_inputs

STAGES = ["compile", "timing, ideal", "timing, banked", "engine", "compile, mixed sizes"]

MOST = 40_000_000
"""Operations that a model may take: more than by default."""


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


def measure(edge: int, machine: ms.Machine, stages: Sequence[str]) -> dict[str, Any]:
    """Operations, and seconds and peak bytes of each stage."""
    banked = machine.with_overrides({"dram.model": "banked"})
    graph = ms.load_model(f"gemm:{edge}x{edge}x{edge}")
    ms.compile_graph("gemm:64x64x64", machine)  # what is set up once is no part of it
    found: dict[str, Any] = {"edge": edge, "before": peak_bytes(), "seconds": {}, "peak": {}, "operations": {}}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        found["seconds"][stage] = time.process_time() - began
        found["peak"][stage] = peak_bytes() - found["before"]
        return result

    if "compile, mixed sizes" in stages:
        schedule = timed("compile, mixed sizes", lambda: ms.compile_graph(mixed(edge), machine, max_operations=MOST))
    else:
        schedule = timed("compile", lambda: ms.compile_graph(graph, machine, max_operations=MOST))
        timed("timing, ideal", lambda: ms.simulate(schedule, machine))
        timed("timing, banked", lambda: ms.simulate(schedule, banked))
    if "engine" in stages:
        runtime = ms.Runtime(graph, machine, schedule)
        for name, values in example_inputs(graph).items():
            runtime.set(name, values)
        timed("engine", runtime.execute)
    return {**found, "operations": dict.fromkeys(found["seconds"], len(schedule))}


def measured_apart(edge: int, args: argparse.Namespace, stages: Sequence[str]) -> dict[str, Any]:
    """`measure` in a process of its own, with its memory limited."""

    def limit() -> None:
        if args.limit:
            resource.setrlimit(resource.RLIMIT_AS, (int(args.limit * 2**30),) * 2)

    command = [sys.executable, __file__, "--one", str(edge), "--config", args.config, "--tile", str(args.tile)]
    done = subprocess.run([*command, "--stages", *stages], check=True, stdout=subprocess.PIPE, preexec_fn=limit)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", default="10000,100000,1000000,10000000")
    parser.add_argument("--edges", help="of the GEMMs, instead of operations")
    parser.add_argument("--config", default="npu_32x32")
    parser.add_argument("--tile", type=int, default=0, help="edge of the tiles; default: the compiler's choice")
    parser.add_argument("--limit", type=float, default=0, help="GiB of address space; default: no limit")
    parser.add_argument("--stages", nargs="+", default=STAGES, help="the compiler and timing are always measured")
    parser.add_argument("--one", type=int, help="measure a GEMM of this edge and print it as JSON")
    args = parser.parse_args()
    os.environ["MINISIM_CACHE"] = "off"
    machine = ms.Machine.load(args.config)
    if args.tile:
        machine = machine.with_overrides({f"tile.{axis}": args.tile for axis in "mkn"})
    if args.one:
        print(json.dumps(measure(args.one, machine, args.stages)))
        return
    edges = [int(edge) for edge in args.edges.split(",")] if args.edges else []
    sizes = []
    for edge in edges or [cubic_edge(int(size), machine) for size in args.operations.split(",")]:
        sizes.append(measured_apart(edge, args, [x for x in args.stages if "mixed" not in x] or ["compile"]))
        if STAGES[-1] in args.stages:
            more = measured_apart(edge, args, STAGES[-1:])
            for of in ("seconds", "peak", "operations"):
                sizes[-1][of] |= more[of]
        print(f"gemm of edge {sizes[-1]['edge']}: {sizes[-1]['operations']['compile']:,} operations", flush=True)
    for title, per_size in (
        ("operations per CPU second", lambda x, stage: f"{x['operations'][stage] / x['seconds'][stage]:12,.0f}"),
        ("peak bytes per operation", lambda x, stage: f"{x['peak'][stage] / x['operations'][stage]:12,.0f}"),
    ):
        heads = "".join(f"{x['operations']['compile']:12,}" for x in sizes)
        print(f"{title:<26}{heads}   time per operation, last / first" if "CPU" in title else f"{title:<26}{heads}")
        for stage in sizes[0]["seconds"]:
            first, last = (x["seconds"][stage] / x["operations"][stage] for x in (sizes[0], sizes[-1]))
            ratio = f"   {last / first:6.2f}" if "CPU" in title else ""
            print(f"  {stage:<24}{''.join(per_size(x, stage) for x in sizes)}{ratio}")


if __name__ == "__main__":
    main()
