"""SCALE-Sim's topology files: a layer a line, convolutions or GEMMs.

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
    Layer, M, N, K,

Layers are independent there: a file says nothing of what passes from one to the next, and the sizes do not fit each
other (padding is a part of a layer's input, pooling is left out). So each is an operator with an input, weights and an
output of its own, named after it, and they are computed one after the other; nothing passes between them.

As SCALE-Sim does, an output whose last step does not fit is one longer: the input is padded with zeros there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from minisim.compiler.arguments import MAX_ELEMENTS
from minisim.compiler.graph import Graph
from minisim.errors import ModelError, shown

MOST_BYTES = 2**20
"""A file that is longer is no topology."""

MOST = 2**20
"""The most that a number may be."""

CONVOLUTION = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
GEMM = ("M", "N", "K")


class _Line(NamedTuple):
    """A line that is not empty: its number in the file, and its cells, without the empty one behind the last comma."""

    number: int
    cells: list[str]


def load_topology(path: Path) -> Graph:
    """The layers of the topology file at `path`.

    Raises:
        ModelError: the file cannot be read, or is no topology; the message names line and column.
    """
    lines = list(_lines(path))
    if len(lines) < 2:
        raise ModelError(f"model {str(path)!r}: a topology has a line of headings, and at least one layer")
    heads = [" ".join(cell.split()).lower() for cell in lines[0].cells]
    columns, add = (GEMM, _add_gemm) if heads[1:4] == ["m", "n", "k"] else (CONVOLUTION, _add_convolution)
    if len(heads) < 1 + len(columns):
        expected = " or ".join(", ".join(("Layer", *each)) for each in (CONVOLUTION, GEMM))
        raise ModelError(f"model {str(path)!r}, line {lines[0].number}: the headings must be {expected}")
    graph = Graph(path.stem or "topology")
    for line in lines[1:]:
        try:
            _add_layer(graph, line, columns, add, heads)
        except ModelError as e:
            raise ModelError(f"model {str(path)!r}, line {line.number}{e}") from None
    return graph


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as e:
        raise ModelError(f"model {str(path)!r}: cannot be read ({e.strerror})") from None
    if len(data) > MOST_BYTES:
        raise ModelError(f"model {str(path)!r}: a topology has at most {MOST_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data[: e.start].count(b"\n") + 1
        raise ModelError(f"model {str(path)!r}, line {line}: is no text in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        for cells in reader:
            found = [cell.strip() for cell in cells]
            while found and not found[-1]:
                found.pop()
            if found:
                yield _Line(reader.line_num, found)
    except csv.Error as e:
        raise ModelError(f"model {str(path)!r}, line {reader.line_num}: {e}") from None


Add = Callable[[Graph, str, Sequence[int]], None]
"""Adds a layer of this name and these numbers; its message goes on behind the number of the line."""


def _add_layer(graph: Graph, line: _Line, columns: Sequence[str], add: Add, heads: Sequence[str]) -> None:
    name, *cells = line.cells
    if not name:
        raise ModelError(", column 1: a layer must have a name")
    if len(cells) < len(columns):
        raise ModelError(f": layer {shown(name)} must have {1 + len(columns)} columns, not {1 + len(cells)}")
    numbers = [_number(cell, i + 2, column) for i, (cell, column) in enumerate(zip(cells, columns, strict=False))]
    for i, cell in enumerate(cells[len(columns) :], len(columns) + 2):
        n, _, m = cell.partition(":")  # sparsity: n of m weights
        if n != m:
            head = f", {heads[i - 1]}" if i <= len(heads) else ""
            raise ModelError(f", column {i}{head}: only dense layers are supported (4:4), not {shown(cell)}")
    add(graph, _free(graph, name), numbers)


def _number(cell: str, place: int, column: str) -> int:
    text = cell[:-2] if cell.endswith(".0") else cell
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise ModelError(f", column {place}, {column}: must be a whole number from 1 to {MOST}, not {shown(cell)}")
    return int(text)


def _free(graph: Graph, name: str) -> str:
    """The layer's name, with a number if another layer has it."""
    names = (name if i == 1 else f"{name}_{i}" for i in range(1, len(graph.nodes) + 2))
    return next(each for each in names if f"{each}.x" not in graph.tensors)


def _add_gemm(graph: Graph, name: str, numbers: Sequence[int]) -> None:
    m, n, k = numbers
    _check_sizes(name, (m, k), (k, n), (m, n))
    product = graph.matmul(graph.input(f"{name}.x", (m, k)), graph.weight(f"{name}.w", shape=(k, n)), name=name)
    graph.output(product, f"{name}.y")


def _add_convolution(graph: Graph, name: str, numbers: Sequence[int]) -> None:
    height, width, r, s, channels, filters, stride = numbers
    if r > height or s > width:
        raise ModelError(f": layer {shown(name)}: filters of {r} x {s} do not fit into {height} x {width} pixels")
    lines, columns = -(-(height - r) // stride) + 1, -(-(width - s) // stride) + 1
    _check_sizes(name, (height, width, channels), (r, s, channels, filters), (lines, columns, filters))
    beyond = (0, 0, (lines - 1) * stride + r - height, (columns - 1) * stride + s - width)
    x = graph.input(f"{name}.x", (1, height, width, channels))
    w = graph.weight(f"{name}.w", shape=(r, s, channels, filters))
    graph.output(graph.conv2d(x, w, strides=stride, pads=beyond, name=name), f"{name}.y")


def _check_sizes(name: str, *shapes: tuple[int, ...]) -> None:
    for shape in shapes:
        size = 1
        for edge in shape:
            size *= edge
        if size > MAX_ELEMENTS:
            text = " x ".join(map(str, shape))
            raise ModelError(f": layer {shown(name)}: a tensor of {text} has more than {MAX_ELEMENTS:,} elements")
