"""A long schedule within a limit of memory: compiled and timed, or it fails.

    python benchmarks/long.py [--edge 2048] [--tile 8] [--limit 4] [--effort 0]

A cubic GEMM on npu_32x32 in tiles of one edge, by default 16.8 million operations of the array. The limit is of the
address space, in GiB, all of the process included. Prints CPU seconds, and the most resident memory by the end of each
stage.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import minisim as ms

MOST = 100_000_000
"""Operations, more than the schedule has."""


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=2048)
    parser.add_argument("--tile", type=int, default=8)
    parser.add_argument("--limit", type=float, default=4)
    parser.add_argument("--effort", type=int, default=0)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(args.limit * 2**30),) * 2)
    machine = ms.Machine.load("npu_32x32").with_overrides(
        {f"tile.{axis}": args.tile for axis in "mkn"} | {"compiler.effort": args.effort}
    )
    model, before = f"gemm:{args.edge}x{args.edge}x{args.edge}", peak_bytes()

    def timed(stage: str, work: Callable[[], Any], size: Callable[[Any], int] = len) -> Any:
        began = time.process_time()
        found = work()
        seconds, peak = time.process_time() - began, peak_bytes()
        each = (peak - before) / size(found)
        print(f"{stage:<10}{seconds:8.1f} s {peak / 2**30:8.2f} GiB {each:8.0f} B/operation", flush=True)
        return found

    schedule = timed("compile", lambda: ms.compile_graph(model, machine, max_operations=MOST))
    timeline = timed("timing", lambda: ms.simulate(schedule, machine), lambda found: len(found.end))
    print(f"{len(schedule):,} operations, {timeline.cycles:,} cycles, within {args.limit:g} GiB of address space")


if __name__ == "__main__":
    main()
