"""What if the machine were another? Each change is a machine, compiled for and simulated, never an estimate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.errors import ConfigError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType
from minisim.hwmodel.variants import LARGER, scaled, with_settings
from minisim.reports.explain import WhatIf
from minisim.reports.hints import NEAR, SPEED_KEYS, Hint
from minisim.reports.run_record import RunRecord
from minisim.run import Result
from minisim.sweeps.grid import Point
from minisim.sweeps.rows import Progress, point_rows

NAMES = {
    "dma.bytes_per_cycle": "twice the DMA width",
    "dram.bandwidth": "twice the DRAM bandwidth",
    "dram.latency": "half the DRAM latency",
    "l2.bytes": "twice the L2",
    "l2.bytes_per_cycle": "twice the L2's port",
    "noc.bytes_per_cycle": "twice the network",
    "noc.core_bytes_per_cycle": "twice each core's link",
    "sram.bytes": "twice the SRAM",
    "accumulator.bytes": "twice the accumulator memory",
    "matrix.rows": "twice the array's rows",
    "matrix.cols": "twice the array's columns",
    "matrix.arrays": "twice the arrays",
    "vector.lanes": "twice the vector lanes",
    "control.queue_depth": "queues twice as deep",
    "dma.max_outstanding": "twice the transfers in flight",
    "dma.outstanding_bursts": "twice the bursts in flight",
    "cores.count": "twice the cores",
}
"""What the changes of `variants.LARGER` are called."""

NARROWER = {DType.FP32: ("bf16", "int8"), DType.BF16: ("int8",)}
"""The types that a float model may be computed in instead."""

WORTH = 0.01
"""The share of the run's cycles that a change has to save to be a hint, or a part of a pair."""

PAIRED = 3
"""How many of the best changes are tried in pairs."""

MOST_OPERATIONS = 20_000
"""Operations that are simulated beside a run to measure its hints, all together."""

SLOW_COMPILE_S = 2.0
"""A model that took longer to compile is not compiled again for hints."""

PAGE_S = 30.0
"""Seconds that a page's what-ifs may take, all together."""

SURE = 0.75
"""The part of the time that is left which is planned for at once: another machine may take longer to compile for."""

QUICK_S = 1.0
"""What takes no longer in this process is not worth starting others for."""


def changes(record: RunRecord) -> dict[str, dict[str, str]]:
    """The settings of each single change, as `--set` takes them. What can change nothing for this run is left out."""
    machine, work = record.machine, record.work
    found = {}
    for key in LARGER:
        idle = (key.startswith(("matrix.", "accumulator.")) and not work.macs) or (
            key == "vector.lanes" and not work.vector_cycles
        )
        settings = {} if idle else scaled(machine, key)
        if settings:
            found[NAMES[key]] = settings
    if set(record.layer_dtypes) == {machine.dtype}:
        for dtype in NARROWER.get(machine.dtype, ()):
            if machine.matrix.rate(DType[dtype.upper()]):
                found[f"{dtype} instead of {machine.matrix.dtype}"] = {"matrix.dtype": dtype}
    if machine.compiler.order != "auto":
        found["the compiler's own order"] = {"compiler.order": "auto"}
    elif len(record.schedule.layers) > 1:
        kept = machine.compiler.keep_on_chip
        name = "nothing kept on chip" if kept else "intermediates kept on chip"
        found[name] = {"compiler.keep_on_chip": "false" if kept else "true"}
    return found


def what_ifs(
    result: Result,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    max_operations: int = MAX_OPERATIONS,
) -> list[WhatIf]:
    """Time the model of a run on every changed machine; then on those with two of the changes that helped most.

    Args:
        jobs: processes; default: one per CPU. 1 works in this process.
        max_operations: the most that each may take, as for `compile_graph`.
    """
    record = result.record()
    single = _tried(result, changes(record), jobs, max_operations, progress)
    return [*single, *_tried(result, dict(_pairs(record, single)), jobs, max_operations, progress)]


def what_ifs_of(result: Result, found: Sequence[Hint]) -> list[WhatIf]:
    """What hints try first, each change once: with the cycles of those that were measured."""
    told: dict[frozenset[tuple[str, str]], WhatIf] = {}
    for hint in found:
        if hint.tries:
            settings = hint.tries[0]
            why = "" if hint.then is not None else "not simulated"
            new = WhatIf(_name(result.machine, settings), settings, hint.then, why)
            told.setdefault(frozenset(settings.items()), new)
    return list(told.values())


def what_ifs_within(
    result: Result,
    found: Sequence[Hint],
    *,
    seconds: float = PAGE_S,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> list[WhatIf]:
    """What hints try, measured already or not, then other single changes: as many as `seconds` allow.

    How long one takes is found out by those before it; those for which no time is left have no cycles, and say why.
    """
    record = result.record()
    measured = [w for w in what_ifs_of(result, found) if w.cycles is not None]
    settings = [w.settings for w in measured]
    left = {_name(record.machine, each): each for hint in found for each in hint.tries} | changes(record)
    left = {name: each for name, each in left.items() if each not in settings}
    jobs = jobs or os.cpu_count() or 1
    names, each_s = list(left), max(result.wall_compile_s, 1e-6)
    tried: list[WhatIf] = []
    began = time.perf_counter()
    while len(tried) < len(names):
        spent = time.perf_counter() - began
        fit = int(SURE * (seconds - spent) / each_s) if tried else int(seconds > 2 * each_s)
        if fit < 1:
            break
        now = {name: left[name] for name in names[len(tried) : len(tried) + fit]}
        tried += _tried(result, now, jobs if each_s * len(now) > QUICK_S else 1, MAX_OPERATIONS)
        each_s = (time.perf_counter() - began - spent) / len(now) / (jobs if len(tried) == 1 else 1)
        if progress:
            progress(len(tried), len(names))
    return [*measured, *tried, *(_not_simulated(name, left[name], each_s) for name in names[len(tried) :])]


def _not_simulated(name: str, settings: Mapping[str, str], each_s: float) -> WhatIf:
    return WhatIf(name, settings, None, f"not simulated: no time was left (about {max(1, round(each_s))} s)")


def _name(machine: Machine, settings: Mapping[str, str]) -> str:
    """What a change is called: by the key that it scales, as NAMES does, or as it is typed."""
    key = next(iter(settings), "")
    if key in NAMES and scaled(machine, key) == dict(settings):
        return NAMES[key]
    if key in NAMES and scaled(machine, key, LARGER[key] ** 2) == dict(settings):
        return NAMES[key].replace("twice", "four times").replace("half", "a quarter of")
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


def _pairs(record: RunRecord, single: Sequence[WhatIf]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Two changes at once: of the best, and of the units that set the bound together."""
    least = (1 - WORTH) * record.timeline.cycles
    gain = sorted((w for w in single if w.cycles is not None and w.cycles <= least), key=lambda w: w.cycles or 0)
    bound = record.work.bound(record.machine)
    limiting = {NAMES[SPEED_KEYS[unit]] for unit, n in bound.by_unit().items() if n and n >= NEAR * bound.cycles}
    together = [w for w in single if w.name in limiting]
    pairs = [*combinations(gain[:PAIRED], 2), *combinations(together, 2)]
    for one, other in {frozenset((a.name, b.name)): (a, b) for a, b in pairs}.values():
        if not one.settings.keys() & other.settings.keys():
            yield f"{one.name}, {other.name}", {**one.settings, **other.settings}


def _tried(
    result: Result,
    named: Mapping[str, Mapping[str, str]],
    jobs: int | None,
    max_operations: int,
    progress: Progress | None = None,
) -> list[WhatIf]:
    """Compile for each change and simulate it, in order."""
    refused: dict[str, WhatIf] = {}
    points: dict[str, Point] = {}
    for name, settings in named.items():
        try:
            points[name] = Point(len(points), settings, with_settings(result.machine, settings))
        except ConfigError as e:
            refused[name] = WhatIf(name, settings, None, "no machine has that: " + str(e).splitlines()[0])
    found = list(points.values())
    rows = (
        point_rows(
            result.graph,
            found,
            numerics=False,
            jobs=jobs,
            progress=progress,
            max_operations=max_operations,
            mapping=result.mapping,
        )
        if found
        else []
    )
    ran = {
        name: WhatIf(name, named[name], row.get("cycles_total"), f"{row['status']}: {row['reason']}")
        for name, row in zip(points, rows, strict=True)
    }
    return [(ran | refused)[name] for name in named]


def measured(result: Result, found: Sequence[Hint], most: int) -> list[Hint]:
    """The first `most` hints that are worth it: each with the best of its tries, and the cycles of a run with that.

    A hint whose tries all save less than WORTH is dropped; one that `stands` is told without settings. Tries of large
    runs are not measured: those beyond MOST_OPERATIONS operations, or that take long to compile.
    """
    left = MOST_OPERATIONS if result.wall_compile_s <= SLOW_COMPILE_S else 0
    cycles: dict[frozenset[tuple[str, str]], int | None] = {}
    kept: list[Hint] = []
    for hint in found:
        if len(kept) == most:
            break
        new = {str(i): each for i, each in enumerate(hint.tries) if frozenset(each.items()) not in cycles}
        if not hint.tries or len(new) * len(result.schedule) > left:
            kept.append(hint)
            continue
        left -= len(new) * len(result.schedule)
        cycles |= {frozenset(w.settings.items()): w.cycles for w in _tried(result, new, 1, MOST_OPERATIONS)}
        ran = [(n, i) for i, each in enumerate(hint.tries) if (n := cycles[frozenset(each.items())]) is not None]
        then, best = min(ran, default=(result.cycles, 0))
        if then <= (1 - WORTH) * result.cycles:
            kept.append(replace(hint, tries=(hint.tries[best],), then=then))
        elif hint.stands:
            kept.append(replace(hint, tries=()))
    return kept
