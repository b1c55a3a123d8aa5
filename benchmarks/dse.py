"""A design-space exploration: 1,000 machines, how many points a minute, how much memory, and what is saved.

    python benchmarks/dse.py [--count 1000] [--models resnet50,MINILM] [--effort 0,1] [--jobs 2]

The grid is 8 sizes of the SRAM (64 KiB to 8 MiB) by 5 bandwidths (with a port to match) by 25 arrays (16 x 16 to
256 x 256); `--count` takes so many of its points, evenly spread over runs of neighbours, as the whole grid has. Each
sweep has a new ledger, and no cache of decisions from before (MINISIM_CACHE is a new folder); then it is asked again,
when all is known, and once more with one size of the SRAM more, when most is.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINILM = "bert:base,layers=6,hidden=384,ffn=1536,prefill=128"
PARAMS = [
    ("sram.bytes", "64KiB:8MiB:x2"),
    ("matrix.rows", "16:256:x2"),
    ("matrix.cols", "16:256:x2"),
    ("dram.bandwidth", "6.4GB/s:102.4GB/s:x2"),
    ("dma.bytes_per_cycle", "8:128:x2"),
]
LINK = ("dram.bandwidth", "dma.bytes_per_cycle")


def measure(model: str, effort: int, count: int, jobs: int, folder: Path) -> None:
    """Sweep, in this process and its workers; print a line for each of three sweeps."""
    import minisim as ms
    from minisim.compiler.frontend import load_model
    from minisim.sweeps.driver import explored
    from minisim.sweeps.grid import constrained
    from minisim.sweeps.identity import digest, key_of
    from minisim.sweeps.ledger import Ledger
    from minisim.sweeps.ranges import expanded
    from minisim.sweeps.work import How, Outcome, Task

    graph = load_model(model, numerics=False)
    how = How(False, 10**8, 2**32, {})
    base = ms.Machine().replace(f"compiler.effort={effort}")

    def tasks(sizes: str) -> list[Task]:
        asked = [(key, expanded(key, [sizes if key == "sram.bytes" else values], "")) for key, values in PARAMS]
        points = constrained(base, asked, [LINK]).points
        runs = [points[i : i + 5] for i in range(0, len(points), 5)]  # neighbours: the same but for the bandwidth
        step = max(1, len(points) // count)
        chosen = [point for run in runs[::step] for point in run][:count]
        return [Task(key_of(digest(graph), point.machine, how.counts()), "m", point.machine) for point in chosen]

    name = "MiniLM" if model == MINILM else model
    with Ledger(folder / "ledger.sqlite") as ledger:
        for what, sizes in (("anew", PARAMS[0][1]), ("again", PARAMS[0][1]), ("a size more", "64KiB:16MiB:x2")):
            began = time.perf_counter()
            came: list[tuple[Outcome, bool]] = []
            asked = tasks(sizes)
            explored(asked, {"m": graph}, how, jobs=jobs, ledger=ledger, watch=lambda o, k: came.append((o, k)))  # noqa: B023
            took = time.perf_counter() - began
            new = [outcome for outcome, known in came if not known]
            statuses = {status: sum(o.status == status for o, _ in came) for status in ("ok", "infeasible", "failed")}
            shared = sum(outcome.shared for outcome in new) / len(new) if new else 0
            told = ", ".join(f"{count} {status}" for status, count in statuses.items() if count)
            print(
                f"{name}, effort {effort}, {what}: {len(came)} points ({told}) in {took:.1f} s, "
                f"{60 * len(came) / took:,.0f} a minute; {len(came) - len(new)} known, of the others {shared:.0%} "
                f"with a shared schedule; driver {mebibytes(resource.RUSAGE_SELF):.0f} MiB, a worker up to "
                f"{mebibytes(resource.RUSAGE_CHILDREN):.0f} MiB",
                flush=True,
            )


def mebibytes(who: int) -> float:
    """The most memory that this process, or one of its children, had."""
    return resource.getrusage(who).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--models", default=f"resnet50;{MINILM}", help="separated by semicolons")
    parser.add_argument("--effort", default="0,1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        measure(args.models, int(args.effort), args.count, args.jobs, args.folder)
        return
    for effort in args.effort.split(","):
        for model in args.models.split(";"):  # each in a process of its own, whose memory is its own
            with tempfile.TemporaryDirectory() as folder:
                argv = [sys.executable, __file__, "--folder", folder, "--models", model, "--effort", effort]
                argv += ["--count", str(args.count), "--jobs", str(args.jobs)]
                subprocess.run(argv, check=True, env={**os.environ, "MINISIM_CACHE": f"{folder}/decisions"})


if __name__ == "__main__":
    main()
