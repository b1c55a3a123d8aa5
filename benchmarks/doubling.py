"""Is a better machine ever slower? Random layers on random machines, before and after one resource is doubled.

    python benchmarks/doubling.py [--count 300] [--seed S] [--effort 1] [--only sram.bytes,vector.lanes] [--out DIR]

Matmuls, MLPs, convolutions and softmaxes of 1 to 4,096 a side (ragged, tall, flat, one row), on the presets and on
machines as tests/support/machines.py draws them, with SRAM from the least that compiles up, the DRAM ideal or banked.
Of each resource (`RESOURCES`; edges of tiles that are not written follow the array), in cycles:

    points   that have more of it to give, and compile on both machines
    slower   how many of them take longer with twice as much, and how many by more than 1 %
    hardware how many of those that are slower by more than 1 % are so with the schedule of the poorer machine as well,
             timed on the better one: its array takes longer to fill, or its memory is asked in another order
    worst    of the ratios after / before
    mean     of the ratios: what twice as much is worth

Below it the worst points, each as the command that runs it, and what to add for twice as much. MLPs are written to
`--out` as model files. Timing only. Ctrl-C ends it and shows what there is.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hypothesis
from support.machines import least_sram, machines, with_sram

import minisim as ms
from minisim.compiler.ops import OPERATORS
from minisim.compiler.pipeline import computed_graph
from minisim.errors import MinisimError

PRESETS = ("npu_32x32", "npu_32x32", "tpu_like_128x128", "tpu_like_128x128", "edge_8x8", "gemmini_16x16", "tpu_v3")
LARGEST, MOST = 4096, 100_000
LEAST, LARGEST_SRAM = 2**12, 2**26
"""Bytes of SRAM: from the least of convolutions and softmaxes, which fit their tiles to what there is. Those of matmuls
have a least."""

MLP = """import minisim as ms


def model() -> ms.Graph:
    graph = ms.Graph("mlp")
    y = graph.input("x", ({rows}, {width}))
    for i, shape in enumerate({shapes}):
        y = graph.relu(y @ graph.weight(f"w{{i}}", shape=shape))
    graph.output(y, "y")
    return graph
"""


def _twice(key: str) -> Callable[[ms.Machine], dict[str, str]]:
    return lambda machine: {key: str(2 * int(machine.flat()[key]))}


def _bandwidth(machine: ms.Machine) -> dict[str, str]:
    return {"dram.bandwidth": f"{float(2 * machine.dram.bandwidth):.0f}B/s"} if machine.dram.model == "ideal" else {}


def _channels(machine: ms.Machine) -> dict[str, str]:
    if machine.dram.model == "ideal":
        return {}
    return {"dram.override": f"channels={2 * machine.dram.part.channels}"}


def _rate(machine: ms.Machine) -> dict[str, str]:
    key = f"{machine.matrix.dtype}_rate"
    return {f"matrix.{key}": str(2 * getattr(machine.matrix, key))}


RESOURCES: Mapping[str, Callable[[ms.Machine], dict[str, str]]] = {
    "sram.bytes": lambda machine: {"sram.bytes": str(2 * machine.sram.bytes)},
    "dma.bytes_per_cycle": _twice("dma.bytes_per_cycle"),
    "dma.channels": _twice("dma.channels"),
    "dma.max_outstanding": _twice("dma.max_outstanding"),
    "dram.bandwidth": _bandwidth,
    "channels of the DRAM": _channels,
    "matrix.rows": _twice("matrix.rows"),
    "matrix.cols": _twice("matrix.cols"),
    "MACs per element": _rate,
    "vector.lanes": _twice("vector.lanes"),
    "cores.count": _twice("cores.count"),
}
"""By name, the keys of a machine with twice as much; none, where a machine has nothing of it."""


class Case(NamedTuple):
    """A model, by its text, on a machine, by a preset and what is changed of it."""

    model: str
    preset: str
    machine: ms.Machine

    @property
    def graph(self) -> ms.Graph:
        kind, _, numbers = self.model.partition(":")
        if kind != "mlp":
            return ms.load_model(self.model)
        rows, *widths = (int(x) for x in numbers.split("x"))
        graph = ms.Graph("mlp")
        y = graph.input("x", (rows, widths[0]))
        for i, shape in enumerate(pairwise(widths)):
            y = graph.relu(y @ graph.weight(f"w{i}", shape=shape))
        graph.output(y, "y")
        return graph

    def command(self, folder: Path) -> str:
        """What runs it; an MLP's file is written into `folder`."""
        model, (kind, _, numbers) = self.model, self.model.partition(":")
        if kind == "mlp":
            rows, *widths = (int(x) for x in numbers.split("x"))
            folder.mkdir(parents=True, exist_ok=True)
            model = str(folder / f"mlp_{numbers}.py")
            Path(model).write_text(MLP.format(rows=rows, width=widths[0], shapes=list(pairwise(widths))))
        usual, mine = ms.Machine.load(self.preset).flat(), self.machine.flat()
        keys = (key for key, value in mine.items() if value != usual[key] and key not in self._followed)
        sets = " ".join(f"--set {key}={_quoted(mine[key])}" for key in keys)
        return f"minisim run --no-numerics --config {self.preset} {model} {sets}"

    @property
    def _followed(self) -> set[str]:
        return {f"tile.{edge}" for edge in self.machine.tile.follows}


def _quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}'" if " " in text else text


def compiled(graph: ms.Graph, machine: ms.Machine, most: int) -> ms.Schedule | None:
    """None, where it does not compile, or takes too many operations to wait for."""
    try:
        return ms.compile_graph(graph, machine, numerics=False, max_operations=most)
    except MinisimError:
        return None


def cases(count: int, seed: int, effort: int, most: int) -> Iterator[Case]:
    """Points to be tried: more than `count`, for some do not compile, or take too many operations."""
    drawn, draw = _machines(10 * count, seed), random.Random(seed)
    for other in drawn:
        is_preset = draw.random() < 0.6
        preset = draw.choice(PRESETS)
        machine = ms.Machine.load(preset) if is_preset else other
        if is_preset and draw.random() < 0.4:
            kind = draw.choice(("ddr4-3200", "lpddr4-2400", "hbm2"))
            machine = machine.with_overrides({"dram.model": "banked", "dram.preset": kind})
        model = _model(draw)
        base = Case(model, preset if is_preset else "npu_32x32", machine)
        if _operations(base) > most:
            continue
        least = least_sram(base.graph, machine) if model.startswith(("gemm", "mlp")) else LEAST
        size = min(LARGEST_SRAM, int(least * 2 ** draw.uniform(0, 8))) // 64 * 64
        yield base._replace(machine=with_sram(machine, max(least, size)).with_overrides({"compiler.effort": effort}))


def _operations(case: Case) -> int:
    """Of the array and the vector unit, at least, on the usual tiles."""
    graph = computed_graph(case.graph, case.machine, numerics=False)
    if few := sum(OPERATORS[node.op].fewest(node, graph, case.machine) for node in graph.nodes):
        return few
    cuts = [OPERATORS[node.op].cut(node, graph, case.machine) for node in graph.nodes]
    return sum(cut.m_tiles * cut.k_tiles * cut.n_tiles for cut in cuts)


_CHOOSING = {"compiler.order": "auto", "compiler.keep_on_chip": True, "matrix.model": "pipelined"}
"""Of a machine whose compiler may choose; loop nests and SCALE-Sim's formulas are as they are."""


def _machines(count: int, seed: int) -> list[ms.Machine]:
    """Machines of the tests, whose compiler may choose the order."""
    found: list[ms.Machine] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(machines())
    def draw(machine: ms.Machine) -> None:
        found.append(machine.with_overrides(_CHOOSING))

    draw()
    random.Random(seed).shuffle(found)
    return found


def _model(draw: random.Random) -> str:
    def size(most: int = LARGEST) -> int:
        return min(most, int(2 ** draw.uniform(0, 12.01)))

    kind = draw.choice(("gemm", "gemm", "gemm", "mlp", "conv", "softmax"))
    if kind == "gemm":
        return f"gemm:{draw.choice((1, size(), size()))}x{size()}x{size()}"
    if kind == "mlp":
        return "mlp:" + "x".join(str(size()) for _ in range(draw.choice((4, 4, 5))))
    if kind == "softmax":
        return f"softmax:{size()}x{size()}"
    taps, edge = draw.choice((1, 1, 3, 3, 5, 7)), size(112)
    return f"conv:1x{edge}x{edge}x{size(512)},{size(512)}x{taps}x{taps},{draw.choice((1, 1, 2))},{taps // 2}"


class Doubled(NamedTuple):
    """A point: its cycles with twice as much of a resource over those without, of what is compiled for each, and of the
    schedule without on both (looked at only where the first one is above 1)."""

    ratio: float
    same: float
    case: Case
    keys: Mapping[str, str]

    @property
    def is_hardware(self) -> bool:
        """Whether it is slower, and no more so than the same schedule."""
        return self.ratio > 1.01 and self.ratio <= 1.01 * self.same

    def line(self, folder: Path) -> str:
        more = " ".join(f"--set {key}={_quoted(value)}" for key, value in self.keys.items())
        hardware = " (hardware)" * self.is_hardware
        return f"  {self.ratio:.3f}{hardware}  {self.case.command(folder)}\n         and with {more}"


def measure(case: Case, only: set[str], most: int) -> dict[str, Doubled]:
    """By resource; nothing, if the case does not compile."""
    graph, found = case.graph, {}
    schedule = compiled(graph, case.machine, most)
    if schedule is None:
        return {}
    before = ms.simulate(schedule, case.machine).cycles
    for name, twice in RESOURCES.items():
        keys = twice(case.machine) if name in only else {}
        try:
            machine = case.machine.replace(*(f"{key}={value}" for key, value in keys.items()))
        except MinisimError:  # there is no machine with so much
            continue
        if keys and (better := compiled(graph, machine, 4 * most)):
            ratio = ms.simulate(better, machine).cycles / before
            same = ms.simulate(schedule, machine).cycles / before if ratio > 1 else 1.0
            found[name] = Doubled(ratio, same, case, keys)
    return found


def show(found: Mapping[str, list[Doubled]], worst: int, folder: Path) -> None:
    print(f"{'twice the':<22}{'points':>8}{'slower':>8}{'> 1 %':>8}{'hardware':>10}{'worst':>8}{'mean':>8}")
    for name, points in found.items():
        if points:
            ratios = [each.ratio for each in points]
            slower, much = (sum(ratio > most for ratio in ratios) for most in (1, 1.01))
            hardware = sum(each.is_hardware for each in points)
            shares = f"{slower / len(points):>8.1%}{much / len(points):>8.1%}{hardware / len(points):>10.1%}"
            print(f"{name:<22}{len(points):>8}{shares}{max(ratios):>8.3f}{sum(ratios) / len(points):>8.3f}")
    for name, points in found.items():
        bad = sorted((each for each in points if each.ratio > 1), key=lambda each: -each.ratio)[:worst]
        if bad:
            print(f"\ntwice the {name}")
            print("\n".join(each.line(folder) for each in bad))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="of points")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--effort", type=int, default=1, help="compiler.effort")
    parser.add_argument("--most", type=int, default=MOST, help="operations of a point")
    parser.add_argument("--only", default=",".join(RESOURCES), help="resources")
    parser.add_argument("--worst", type=int, default=5, help="points of each resource that are shown")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where model files of MLPs are written")
    options = parser.parse_args()
    only, left = set(options.only.split(",")), options.count
    found: dict[str, list[Doubled]] = {name: [] for name in RESOURCES}
    with contextlib.suppress(KeyboardInterrupt):
        for case in cases(options.count, options.seed, options.effort, options.most):
            points = measure(case, only, options.most)
            for name, point in points.items():
                found[name].append(point)
            left -= bool(points)
            if not left:
                break
    show(found, options.worst, options.out)


if __name__ == "__main__":
    main()
