"""How many points a minute a sweep takes: 8 sizes of the SRAM by 8 rates of the DMA engine.

    python benchmarks/sweep.py [--model gemm:512x512x512] [--machine npu_32x32] [--jobs 2,1] [--points 64]

Prints for each number of processes the points a minute, starting the processes included, and the CPU seconds a point.
Each number is measured in a process of its own, and nothing is remembered from an earlier run unless MINISIM_CACHE
names a folder. `--points` takes so many of the grid, evenly spaced.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

SIZES = [f"{2**i}KiB" for i in range(5, 13)]
RATES = [str(2**i) for i in range(2, 10)]


def measure(model: str, config: str, jobs: int, count: int, numerics: bool) -> str:
    """Sweep in so many processes; a line that says how fast."""
    import minisim as ms
    from minisim.sweeps.grid import grid
    from minisim.sweeps.rows import point_rows

    points = grid(ms.Machine.load(config), [("sram.bytes", SIZES), ("dma.bytes_per_cycle", RATES)])
    points = points[:: -(-len(points) // count)]
    began = time.perf_counter()
    rows = point_rows(ms.load_model(model), points, jobs=jobs, numerics=numerics)
    seconds = time.perf_counter() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    good = sum(row["status"] == "ok" for row in rows)
    return (
        f"{model} on {config}, {jobs} processes: {len(rows)} points ({good} ok) in {seconds:.1f} s, "
        f"{60 * len(rows) / seconds:,.0f} a minute, {cpu / len(rows):.2f} CPU s each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemm:512x512x512")
    parser.add_argument("--machine", default="npu_32x32")
    parser.add_argument("--jobs", default="2,1")
    parser.add_argument("--points", type=int, default=len(SIZES) * len(RATES))
    parser.add_argument("--no-numerics", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("MINISIM_CACHE", "off")
    if "," not in args.jobs:
        print(measure(args.model, args.machine, int(args.jobs), args.points, not args.no_numerics), flush=True)
        return
    for jobs in args.jobs.split(","):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--jobs", jobs], check=True)


if __name__ == "__main__":
    main()
