"""Pictures of a run, of a comparison and of a sweep, drawn with matplotlib (the extra `[plot]`).

Each function draws on the axes that it is given, or on new ones, and returns them: what a notebook shows, and what a
script saves by ``ax.figure.savefig("run.svg")``. Nothing here opens a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from minisim.errors import MissingExtraError, UsageError, did_you_mean, shortened, shown
from minisim.hwmodel.isa import Queue
from minisim.reports.account import Account
from minisim.reports.run_record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP = 20
"""Layers that are drawn."""

COLUMNS = 2000
"""Of a timeline: what lies closer than the run / COLUMNS is drawn as one, so that a long run takes no longer."""

COLOURS = {"computing": "#3b7d4f", "moving data": "#c44e52", "waiting": "#d9a441", "ends of the run": "#4c72b0"}
"""Of the account's groups. They differ in brightness as well, and each has its hatching."""

HATCHES = {"computing": "", "moving data": "//", "waiting": "..", "ends of the run": "xx"}

Cycles = npt.NDArray[np.int64]


def plot_run(record: RunRecord, what: str = "account", ax: Axes | None = None) -> Axes:
    """Draw "account" or "timeline"; `Result.plot` says what these are.

    Raises:
        UsageError: `what` is neither.
        MissingExtraError: the package matplotlib is not installed.
    """
    kinds = {"account": _account, "timeline": _timeline}
    if not isinstance(what, str) or what not in kinds:
        raise UsageError(f"plot: must be one of {', '.join(kinds)}, not {shown(what)}{did_you_mean(what, kinds)}")
    axes = new_axes(ax)
    kinds[what](record, axes)
    axes.set_title(_plain(f"{record.model} on {record.config}: {record.timeline.cycles:,} cycles"))
    return axes


def new_axes(ax: Axes | None) -> Axes:
    """`ax`, or axes of a new figure."""
    try:
        figure = import_module("matplotlib.figure")
    except ImportError:
        raise MissingExtraError.of("matplotlib", "plot", "a plot") from None
    if ax is not None:
        return ax
    made: Axes = figure.Figure(figsize=(9, 5), layout="constrained").subplots()
    return made


def _account(record: RunRecord, ax: Axes) -> None:
    """A bar per layer, the longest above; its parts are the groups of causes."""
    account = Account.of(record)
    names = [shortened(name, 32) for name in record.schedule.layer_names]
    groups = pd.DataFrame([account.group_cycles(layer) for layer in range(len(names))], columns=list(account.groups))
    order = np.argsort(-groups.sum(axis=1).to_numpy(), kind="stable")
    top, rest = groups.iloc[order[:TOP]], groups.iloc[order[TOP:]]
    places, left = np.arange(len(top)), np.zeros(len(top))
    for group in account.groups:
        width = top[group].to_numpy(dtype=float)
        ax.barh(places, width, left=left, label=group, color=COLOURS[group], hatch=HATCHES[group], edgecolor="white")
        left += width
    _rows(ax, [names[i] for i in order[:TOP].tolist()])
    others = f"; {len(rest)} more layers: {int(rest.to_numpy().sum()):,}" if len(rest) else ""
    ax.set_xlabel(f"cycles on the critical path{others}")
    ax.set_xlim(0, 1.02 * max(1, left.max(initial=0)))
    ax.legend(loc="lower right")


def _timeline(record: RunRecord, ax: Axes) -> None:
    """A row per unit of each core, and the DRAM: when each worked."""
    schedule, times = record.schedule, record.timeline
    rows = [(schedule.lane_name(lane), times.begin[ops], times.done[ops], lane % len(Queue))
            for lane, ops in enumerate(schedule.lane_ops())]  # fmt: skip
    served = np.flatnonzero(times.dram_end > times.dram_begin)
    rows.append(("dram", times.dram_begin[served], times.dram_end[served], len(Queue)))
    least = times.cycles / COLUMNS
    for place, (_, begin, end, colour) in enumerate(rows):
        spans = merged(begin, end, least)
        ax.broken_barh([(b, e - b) for b, e in spans], (place - 0.4, 0.8), facecolors=f"C{colour}")
    _rows(ax, [name for name, *_ in rows])
    ax.set_xlabel("cycle")
    ax.set_xlim(0, max(1, times.cycles))


def merged(begin: Cycles, end: Cycles, least: float) -> list[tuple[int, int]]:
    """The intervals [begin, end) in order, those less than `least` apart as one."""
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(end[order])
    if not len(begin):
        return []
    first = np.concatenate([[True], begin[1:] - end[:-1] > least])
    last = np.concatenate([first[1:], [True]])
    return list(zip(begin[first].tolist(), end[last].tolist(), strict=True))


def plot_waterfall(title: str, names: Sequence[str], changes: Sequence[int], a: int, ax: Axes | None = None) -> Axes:
    """From A's cycles to B's by cause, the largest changes first."""
    axes = new_axes(ax)
    order = sorted((i for i, n in enumerate(changes) if n), key=lambda i: -abs(changes[i]))
    titles, level, highest = ["A"], a, a
    axes.barh(0, a, color="#777777")
    for place, i in enumerate(order, 1):
        colour, hatch = (COLOURS["moving data"], "//") if changes[i] > 0 else (COLOURS["computing"], "")
        axes.barh(place, changes[i], left=level, color=colour, hatch=hatch, edgecolor="white")
        level += changes[i]
        highest = max(highest, level)
        titles.append(f"{names[i]} {changes[i]:+,}")
    axes.barh(len(titles), level, color="#777777")
    _rows(axes, [*titles, "B"])
    axes.set_xlabel("cycles")
    axes.set_xlim(0, 1.02 * max(1, highest))
    axes.set_title(_plain(title))
    return axes


def _rows(ax: Axes, titles: Sequence[str]) -> None:
    """The rows' titles, the first above."""
    ax.set_yticks(range(len(titles)), [_plain(title) for title in titles])
    ax.invert_yaxis()


def _plain(text: str) -> str:
    """As it is: matplotlib would take what stands between dollars for a formula."""
    return text.replace("$", r"\$")


def plot_lines(
    title: str,
    over: str,
    ticks: Sequence[str],
    metric: str,
    lines: Mapping[str, Sequence[tuple[int, float]]],
    ax: Axes | None = None,
) -> Axes:
    """Lines of (tick, value), with a label each: the column `metric` of a sweep over the values of a key."""
    axes = new_axes(ax)
    for label, points in lines.items():
        axes.plot([at for at, _ in points], [value for _, value in points], marker="o", label=_plain(label))
    axes.set_xticks(range(len(ticks)), [_plain(tick) for tick in ticks])
    axes.set_xlabel(over)
    axes.set_ylabel(metric)
    axes.set_ylim(bottom=0)
    axes.set_title(_plain(title))
    if any(lines):
        axes.legend()
    return axes
