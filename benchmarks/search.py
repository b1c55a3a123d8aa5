"""How much of the front a search finds with a part of the evaluations, against the whole grid.

    python benchmarks/search.py [--model gemm:256x256x256] [--objectives cycles,area] [--seeds 20] [--share 0.1]

Computes every point of a grid (5 sizes of the SRAM by 5 x 5 arrays by 4 bandwidths by 2 queues), then searches it with
so many seeds, and prints the share of the enumerated front's hypervolume (of the logarithms, from the worst point of
the grid) against the evaluations: the median, the least and the most of the seeds; beside it as many points by chance.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Sequence

import minisim as ms
from minisim.sweeps.grid import grid
from minisim.sweeps.plan import Entry
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.results import RESULTS, Measured, check_tokens, costs, objectives_of, tokens_of
from minisim.sweeps.rows import point_rows
from minisim.sweeps.search import Search, beats
from minisim.sweeps.work import Task

PARAMS = ["sram.bytes=32KiB:512KiB:x2", "matrix.rows=8:128:x2", "matrix.cols=8:128:x2",
          "dram.bandwidth=6.4GB/s:51.2GB/s:x2", "control.queue_depth=2,8"]  # fmt: skip


def hypervolume(points: Sequence[Sequence[float]], corner: Sequence[float]) -> float:
    """The volume of what the points beat below a corner."""
    front = sorted({tuple(p) for p in points if not any(beats(q, p) for q in points)})
    if len(corner) == 1:
        return max(0.0, corner[0] - front[0][0]) if front else 0.0
    volume, bounds = 0.0, sorted({p[-1] for p in front})
    for i, low in enumerate(bounds):  # slices along the last objective
        high = bounds[i + 1] if i + 1 < len(bounds) else corner[-1]
        volume += max(0.0, high - low) * hypervolume([p[:-1] for p in front if p[-1] <= low], corner[:-1])
    return volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemm:256x256x256")
    parser.add_argument("--objectives", default="cycles,area")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--jobs", type=int)
    args = parser.parse_args()
    names = objectives_of(args.objectives.split(","))
    graph = ms.load_model(args.model, numerics=False)
    points = grid(ms.Machine().replace("compiler.effort=0"), [parse_param(text) for text in PARAMS])
    rows = point_rows(graph, points, numerics=False, jobs=args.jobs)
    tokens = tokens_of(args.model)
    check_tokens(names, "--objectives", args.model, tokens)

    def logarithms(values: Sequence[float]) -> tuple[float, ...]:
        return costs([math.log(value) for value in values], names) if values else ()

    by_place = {
        point.index: logarithms([RESULTS[name].of(Measured(row, point.machine, tokens)) for name in names])
        for row, point in zip(rows, points, strict=True)
        if row["status"] == "ok"
    }
    values = list(by_place.values())
    corner = [max(column) for column in zip(*values, strict=True)]
    whole, count = hypervolume(values, corner), round(args.share * len(points))
    front = {value for value in values if not any(beats(other, value) for other in values)}
    print(
        f"{args.model}: {len(points)} points, {len(values)} ok, {len(front)} of them on the front of {', '.join(names)}"
    )
    entries = [Entry("m", "c", p.params, Task(str(p.index), "", p.machine)) for p in points]
    outcomes = {entry.task.key: row for entry, row in zip(entries, rows, strict=True)}
    steps = sorted({round(count * part / 8) for part in range(2, 13)})
    curves: dict[str, list[list[float]]] = {"search": [], "by chance": []}
    for seed in range(args.seeds):
        search = Search(entries, names, seed, tokens=tokens)
        search.run(steps[-1], lambda asked: [outcomes[entry.task.key] for entry in asked])
        found = [logarithms(each.values) for each in search.found]
        order = random.Random(seed).sample(range(len(points)), steps[-1])
        chance = [by_place.get(i, ()) for i in order]
        for what, came in (("search", found), ("by chance", chance)):
            curves[what].append([hypervolume([v for v in came[:step] if v], corner) / whole for step in steps])
    print(f"share of the hypervolume, {args.seeds} seeds: median (least to most)")
    print(f"{'evaluations':>12} {'of the grid':>12}   {'search':<24} by chance")
    for i, step in enumerate(steps):
        told = []
        for what in curves:
            column = [curve[i] for curve in curves[what]]
            told.append(f"{statistics.median(column):.3f} ({min(column):.3f} to {max(column):.3f})")
        print(f"{step:>12} {step / len(points):>11.1%}   {told[0]:<24} {told[1]}", flush=True)


if __name__ == "__main__":
    main()
