"""The page of a sweep: the front and its knee; lines and heat maps over the parameters; every point."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from minisim.hwmodel.config import keys
from minisim.hwmodel.variants import LARGER
from minisim.reports.html.page import page
from minisim.reports.html.pareto import front, knee
from minisim.reports.html.sweep_folder import SweepFolder, SweepPoint, in_order, value_of
from minisim.reports.html.tables_section import Cell, Line
from minisim.reports.html.words import of_bytes, percent, scaled, times, whole
from minisim.reports.run_file.header import keys_of

SCRIPTS = ("sweep.js", "heat.js")

FAR = 1.3
"""Times its bound from which a point is hollow: its schedule is the limit, not the machine."""

WORSE = 1.01
"""Times as long with more hardware, from which a pair of points is told."""

MOST = 2_000
"""Points that the page shows, the fastest; sweep.csv has all."""

Pieces = tuple[tuple[str, bool], ...]


def sweep_page(sweep: SweepFolder) -> str:
    """The page as HTML."""
    ran = sorted((p for p in sweep.points if p.ok), key=lambda p: p.cycles)
    others = [p for p in sweep.points if not p.ok]
    shown = sorted((ran + others)[:MOST], key=lambda p: p.index)
    fronts = {model: _front([p for p in ran if p.model == model]) for model in sweep.models}
    models = ", ".join(sweep.models) or "no model"
    return page(
        "sweep.html",
        SCRIPTS,
        _data(sweep, shown, fronts),
        title=f"Sweep of {models}",
        models=models,
        params=sweep.varied,
        count=(len(sweep.points), len(ran)),
        sentences=[tuple(_sentence(model, fronts[model], len(sweep.models) > 1)) for model in sweep.models],
        warnings=list(_warnings(ran, sweep.params))[:5],
        failures=_failures(others),
        heads=_heads(sweep),
        lines=[_line(sweep, p) for p in shown],
        left_out=len(sweep.points) - len(shown),
        second="area" if any(not math.isnan(p.area) for p in ran) else "energy",
        command=shlex.join(sweep.file.get("command", ())),
    )


def _front(points: Sequence[SweepPoint]) -> dict[str, Any]:
    """By the second cost, the indices of the front's points and of its knee (-1: none), cheapest hardware first."""
    found: dict[str, Any] = {}
    for name in ("area", "energy"):
        costs = [(p.area if name == "area" else p.joules, p.seconds) for p in points]
        best = front(costs)
        at = knee([costs[i] for i in best])
        found[name] = {"front": [points[i] for i in best], "knee": None if at is None else points[best[at]]}
    return found


def _sentence(model: str, fronts: dict[str, Any], several: bool) -> Iterator[tuple[str, bool]]:
    """The fastest point, and the knee beside it."""
    which = "area" if fronts["area"]["front"] else "energy"
    points: list[SweepPoint] = fronts[which]["front"]
    if not points:
        yield "No point ran.", True
        return
    fastest = points[-1]
    yield f"{f'{model}: ' if several else ''}{scaled(fastest.seconds, 's')} at best", True
    yield f" with {fastest.told()}", False
    best: SweepPoint | None = fronts[which]["knee"]
    if best is None or best is fastest:
        yield f"; the front of time against {which} has no knee.", False
        return
    share = best.area / fastest.area if which == "area" else best.joules / fastest.joules
    differs = [name for name, value in best.params.items() if value != fastest.params[name]]
    yield ". The knee is ", False
    yield ", ".join(f"{name} = {best.params[name]}" for name in differs), True
    yield f"{', the rest alike' if len(differs) < len(best.params) else ''}: ", False
    yield f"{scaled(best.seconds, 's')}, {times(best.seconds / fastest.seconds)} the time for ", False
    yield f"{percent(share)} of the {which}", True
    yield ".", False


def _warnings(ran: Sequence[SweepPoint], params: Sequence[str]) -> Iterator[str]:
    """Where more hardware takes longer: of each parameter how often, and the worst pair."""
    for key in params:
        if key not in LARGER:
            continue
        rest = [name for name in params if name != key]
        lines: dict[tuple[str, ...], list[SweepPoint]] = {}
        for point in ran:
            lines.setdefault((point.model, *(point.params[name] for name in rest)), []).append(point)
        sign = 1 if LARGER[key] > 1 else -1
        worse = []
        for line in lines.values():
            ordered = sorted(line, key=lambda p: sign * value_of(p.params[key]))
            worse += [(b.cycles / a.cycles, a, b) for a, b in pairwise(ordered) if b.cycles > WORSE * a.cycles]
        if worse:
            ratio, a, b = max(worse, key=lambda each: each[0])
            beside = ", ".join(f"{name} = {a.params[name]}" for name in rest)
            yield (f"Not monotone: in {len(worse)} steps a better {key} takes longer; most from {a.params[key]} to "
                   f"{b.params[key]}: {times(ratio)} the cycles{f' ({beside})' if beside else ''}.")  # fmt: skip


def _failures(others: Sequence[SweepPoint]) -> list[tuple[int, str]]:
    """Reasons, each with how many points have it."""
    counts: dict[str, int] = {}
    for point in others:
        text = f"{point.row['status']}: {point.row['reason']}"
        counts[text] = counts.get(text, 0) + 1
    return [(n, text) for text, n in sorted(counts.items(), key=lambda item: -item[1])]


def _heads(sweep: SweepFolder) -> list[tuple[str, str]]:
    return [*((name, "n" if name in sweep.numeric else "") for name in sweep.params), ("Cycles", "n"), ("Time", "n"),
            ("× bound", "n"), ("Bound by", ""), ("DRAM", "n"), ("Energy", "n"), ("Area proxy", "n"),
            ("Status", "")]  # fmt: skip


def _line(sweep: SweepFolder, p: SweepPoint) -> Line:
    moved = sum(float(p.row.get(name) or "nan") for name in ("dram_read_bytes", "dram_write_bytes"))
    area = f"{p.area:.3g} mm²" if not math.isnan(p.area) else "–"
    params = [Cell(text, value_of(text) if name in sweep.numeric else text) for name, text in p.params.items()]
    return Line(p.index, [
        *params, _cell(whole(p.cycles), p.cycles), _cell(scaled(p.seconds, "s"), p.seconds),
        _cell(times(p.over), p.over), Cell(p.row.get("bound_by") or "", p.row.get("bound_by") or ""),
        _cell(of_bytes(moved), moved), _cell(scaled(p.joules, "J"), p.joules), _cell(area, p.area),
        Cell(p.row["status"], p.row["status"])])  # fmt: skip


def _cell(text: str, key: float) -> Cell:
    return Cell(text, -1.0 if math.isnan(key) else float(f"{key:.9g}"))


def _data(sweep: SweepFolder, shown: Sequence[SweepPoint], fronts: dict[str, Any]) -> dict[str, Any]:
    """Columns of the points, values of parameters as indices into their lists."""
    values = {name: in_order([p.params[name] for p in sweep.points]) for name in sweep.params}
    at = {name: {value: i for i, value in enumerate(listed)} for name, listed in values.items()}
    base = next((p.machine for p in shown if p.machine), None)
    flat = keys_of(base) if base else {}
    commands = [_command(sweep.file.get("runs", {}), p) for p in shown]
    distinct = list(dict.fromkeys(commands))
    return {
        "kind": "sweep",
        "index": [p.index for p in shown],
        "model": [p.model for p in shown],
        "params": [{"name": name, "values": values[name], "numbers": [_or_none(value_of(v)) for v in values[name]],
                    "at": [at[name][p.params[name]] for p in shown]} for name in sweep.params],
        "varied": sweep.varied,
        "metrics": {
            "time": [_or_none(p.seconds) for p in shown],
            "cycles": [_or_none(p.cycles) for p in shown],
            "energy": [_or_none(p.joules) for p in shown],
            "area": [_or_none(p.area) for p in shown],
            "over": [_or_none(p.over) for p in shown],
            "bound": [_or_none(_bound_s(p)) for p in shown],
        },
        "status": [p.row["status"] for p in shown],
        "reason": [p.row["reason"] for p in shown],
        "far": FAR,
        "fronts": {model: {name: {"front": [p.index for p in each["front"]],
                                  "knee": each["knee"].index if each["knee"] else -1}
                           for name, each in both.items()} for model, both in fronts.items()},
        "keys": flat,
        "meanings": {key: str(field.description or "") for key, field in keys().items() if key in flat},
        "changed": [_differences(flat, p) for p in shown],
        "commands": distinct,
        "command": [distinct.index(text) for text in commands],
    }  # fmt: skip


def _bound_s(p: SweepPoint) -> float:
    """The least time that the roofline allows."""
    return p.seconds / p.over if p.over and not math.isnan(p.over) else math.nan


def _differences(flat: dict[str, str], p: SweepPoint) -> dict[str, str]:
    """Keys that follow from the point's parameters, which are told anyway."""
    own = keys_of(p.machine) if p.machine else {}
    return {key: value for key, value in own.items() if flat.get(key) != value and key not in p.params}


def _command(runs: Mapping[str, Any], p: SweepPoint) -> str:
    """The command that runs this point alone, without the keys that vary; `runs` says how it was typed."""
    models, configs = runs.get("models", {}), runs.get("configs", {})
    model = p.params.get("model") or p.model or next(iter(models), "MODEL")
    config = p.params.get("config") or (next(iter(configs)) if len(configs) == 1 else p.row.get("config") or "CONFIG")
    words = [*models.get(model, [model]), "--config", configs.get(config, config), *runs.get("options", ())]
    return shlex.join(["minisim", "run", *words, "--report"])


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
