"""The model's graph: a box per layer with its share of the time. Of large models chains share boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minisim.reports.html.account_section import layer_cause
from minisim.reports.html.causes import Palette
from minisim.reports.html.folder import RunFolder
from minisim.reports.html.layout import layout
from minisim.reports.html.words import percent, whole

MOST = 240
"""Boxes. Of a larger model neighbours in a chain share a box; what is beyond that even then is left out, and said."""

COLUMN, LEVEL, BOX, HEIGHT = 196, 54, 180, 36
"""Pixels: from box to box, across and down, and of a box."""

LETTERS = 24
"""Of a layer's name in its box."""


@dataclass(frozen=True)
class Box:
    """A layer, or several of a chain: `layer` is the first of them."""

    layer: int
    x: float
    y: float
    style: str
    filled: float
    name: str
    share: str
    title: str


@dataclass(frozen=True)
class Drawing:
    """All boxes and lines, in pixels."""

    boxes: list[Box]
    lines: list[str]
    wide: float
    high: float
    left_out: int
    folded: bool


def graph(run: RunFolder) -> Drawing:
    """The drawing of a run's layers."""
    members, edges = _folded(len(run.layers), [(a, b) for a, b in run.file["edges"]])
    left_out = sum(map(len, members[MOST:]))
    edges = [(a, b) for a, b in edges if a < MOST and b < MOST]
    folded = any(len(group) > 1 for group in members)
    members = members[:MOST]
    drawn = layout(len(members), edges)
    cycles, palette = run.layer_cycles(), Palette.of(run.file)
    sums = [sum(cycles[i] for i in group) for group in members]
    longest = max(sums, default=0) or 1
    boxes = [
        _box(run, palette, group, total, longest, at) for group, total, at in zip(members, sums, drawn.at, strict=True)
    ]
    lines = [_line(way) for way in drawn.ways]
    return Drawing(boxes, lines, drawn.columns * COLUMN, max(1, drawn.levels) * LEVEL, left_out, folded)


def _folded(layers: int, edges: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Groups of layers, each of which is a box, and edges between groups: neighbours in chains are joined if there are
    too many, so that long chains have boxes of few layers, and few boxes are made of many."""
    if layers <= MOST:
        return [[i] for i in range(layers)], list(edges)
    writes, reads = [0] * layers, [0] * layers
    for a, b in edges:
        writes[a] += 1
        reads[b] += 1
    only = {a: b for a, b in edges if writes[a] == 1 and reads[b] == 1}
    size = -(-layers // MOST) + 1
    group_of = list(range(layers))
    counts = [1] * layers
    for a in sorted(only):
        first = group_of[a]
        if counts[first] < size:
            group_of[only[a]] = first
            counts[first] += 1
    firsts = sorted(set(group_of))
    number = {first: i for i, first in enumerate(firsts)}
    members: list[list[int]] = [[] for _ in firsts]
    for layer, first in enumerate(group_of):
        members[number[first]].append(layer)
    between = {(number[group_of[a]], number[group_of[b]]) for a, b in edges}
    return members, sorted((a, b) for a, b in between if a != b)


def _box(run: RunFolder, palette: Palette, group: Sequence[int], cycles: int, longest: int,
         at: tuple[float, int]) -> Box:  # fmt: skip
    most = max(group, key=lambda i: sum(column[i] for column in run.account.values()))
    first = run.layers[group[0]]
    name = first["name"] if len(group) == 1 else f"{first['name']} +{len(group) - 1}"
    cause = layer_cause(run, most)
    share = percent(cycles / run.cycles) if run.cycles else "–"
    title = f"{name} ({first['op']}): {whole(cycles)} cycles, {share}" + (f", mostly {cause}" if cause else "")
    column, level = at
    return Box(group[0], column * COLUMN + (COLUMN - BOX) / 2, level * LEVEL + 4, palette.style(cause) if cause else "",
               round(BOX * cycles / longest, 1), _short(name), share, title)  # fmt: skip


def _short(name: str) -> str:
    """The end of a long name says more than its beginning, which others have as well."""
    return name if len(name) <= LETTERS else f"{name[:7]}…{name[-(LETTERS - 8) :]}"


def _line(way: Sequence[tuple[float, int]]) -> str:
    """The path of an edge: from below its first box to above its last one, through its places."""
    points = [((column + 0.5) * COLUMN, level * LEVEL) for column, level in way]
    x, y = points[0]
    path, y = f"M{x:g},{y + 4 + HEIGHT:g}", y + 4 + HEIGHT
    for i, (to_x, to_y) in enumerate(points[1:], 1):
        last = i == len(points) - 1
        end = to_y + 4
        half = (y + end) / 2
        path += f"C{x:g},{half:g} {to_x:g},{half:g} {to_x:g},{end:g}"
        if not last:
            path += f"V{end + HEIGHT:g}"
            end += HEIGHT
        x, y = to_x, end
    return path
