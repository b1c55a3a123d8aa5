"""Lookups: which rows of its table each gather of a graph takes, for whoever times it or feeds it.

The engine takes the indices that it finds. Timing has no values: where each row lies is in the schedule (`moved` of its
tile, "Gathers" in isa.py), for given indices or for drawn ones. They are known where indices are inputs, weights, or
made of these by nodes that compute nothing; what is computed on the chip is drawn, each row as likely as any other.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.arguments import input_array
from minisim.compiler.dtypes import HELD_AS, converted
from minisim.compiler.graph import Graph, Node
from minisim.compiler.semantics import SEMANTICS
from minisim.errors import IndexRangeError, UsageError, one_line, printable
from minisim.hwmodel import isa

Array = npt.NDArray[Any]

LOOKUP = "Gather"
"""The operator that looks rows up: of operand 0, by operand 1."""

CARRIES = frozenset({"Transpose", "Concat", "Take"})
"""Operators, beside views, whose outputs have the values of their operands."""


def lookups(graph: Graph) -> list[Node]:
    """The nodes that look rows up at run time."""
    return [node for node in graph.nodes if node.op == LOOKUP]


def chosen_from(graph: Graph) -> dict[str, int]:
    """Of each input that says which rows are looked up, as it is or moved, how many there are: the fewest of all its
    tables."""
    makers, found = _makers(graph), dict[str, int]()
    for node in lookups(graph):
        table, indices = node.present
        rows, seen, waiting = graph.tensors[table].shape[0], set[str](), [indices]
        while waiting:
            name = waiting.pop()
            if name in graph.inputs:
                found[name] = min(rows, found.get(name, rows))
            elif name in makers and name not in seen:
                waiting.extend(makers[name].present)
            seen.add(name)
    return found


def indices_of(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The values of all buffers of indices that are known: by the name of the tensor that each lies in.

    Args:
        inputs: values of inputs.

    Raises:
        IndexRangeError: an index leads beyond its table.
    """
    makers, found = _makers(graph), dict[str, Array]()
    for node in lookups(graph):
        table, indices = node.present
        values = _value(indices, graph, makers, inputs)
        if values is None:
            continue
        check_range(values, graph.tensors[table].shape[0], f"node {printable(node.name)!r} (Gather): ")
        buffer = indices
        while buffer in makers and SEMANTICS[makers[buffer].op].is_view:
            (buffer,) = makers[buffer].present
        found[buffer] = values.reshape(-1)
    return found


def check_range(indices: Array, rows: int, where: str = "") -> None:
    """Raise an IndexRangeError, which begins with `where`, if a table of so many rows does not have them all."""
    wrong = np.flatnonzero((indices < -rows) | (indices >= rows))
    if len(wrong):
        at = np.unravel_index(int(wrong[0]), indices.shape)
        place = "" if not indices.shape else f" {[int(i) for i in at]}"
        raise IndexRangeError(f"{where}index{place} must lie in [-{rows}, {rows - 1}], not be {int(indices[at])}")


def with_rows(tiles: isa.Table, tensors: isa.Table, names: Sequence[str], indices: Mapping[str, Array]) -> isa.Table:
    """The tiles, told where the rows lie that are gathered: `moved` of each."""
    gathered = np.flatnonzero(tensors["indices"]).tolist()
    if not gathered:
        return tiles
    found = tiles.copy()
    for i in gathered:
        mine = np.flatnonzero((tiles["tensor"] == i) & (tiles["rows"] == 1))
        row = tiles["row"][mine].astype(np.int64)
        found["moved"][mine] = (_rows(tensors, i, names, indices)[row] - row) * int(tensors["pitch"][i])
    return found


def timed_with(schedule: isa.Schedule, graph: Graph, inputs: Mapping[str, Array]) -> isa.Schedule:
    """`schedule` of `graph` with the rows that these inputs ask for; itself if it looks none up.

    Raises:
        IndexRangeError: an index leads beyond its table.
    """
    if not np.any(schedule.tensors["indices"]):
        return schedule
    indices = indices_of(graph, inputs)
    tiles = with_rows(schedule.tiles, schedule.tensors, schedule.tensor_names, indices)
    return schedule.replace(tiles=tiles)


def with_indices(graph: Graph, inputs: Mapping[str, Array]) -> Graph:
    """`graph`, whose inputs that say which rows are looked up have these values: so what is tried out after a run asks
    for the same rows. Itself if there are none."""
    rows = chosen_from(graph)
    if not rows:
        return graph
    result = copy(graph)
    result.tensors = {name: replace(tensor, graph=result) for name, tensor in graph.tensors.items()}
    for name in rows:
        values = _integers(name, inputs[name], graph).astype(HELD_AS[graph.tensors[name].dtype])
        result.tensors[name] = replace(result.tensors[name], values=values)
    return result


def _rows(tensors: isa.Table, tensor: int, names: Sequence[str], indices: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    """Which row of its table each row of gathered ones is: as the indices say, or drawn."""
    of = tensors[tensor]
    count, choices = int(of["rows"]), int(of["choices"])
    buffer = names[int(tensors["storage"][tensor - int(of["indices"])])]
    if buffer in indices:
        return np.asarray(indices[buffer], dtype=np.int64) % choices
    return np.random.default_rng([0, zlib.crc32(buffer.encode())]).integers(0, choices, count)


def _makers(graph: Graph) -> dict[str, Node]:
    """The nodes that carry values on, by their outputs."""
    carries = (node for node in graph.nodes if SEMANTICS[node.op].is_view or node.op in CARRIES)
    return {name: node for node in carries for name in node.outputs}


def _integers(name: str, values: Array, graph: Graph) -> Array:
    """The values of an input or a weight, of its shape."""
    array = input_array(name, values, graph.tensors[name].shape)
    try:
        return converted(array, graph.tensors[name].dtype).astype(np.int64)
    except ValueError as e:
        raise UsageError(f"input {name!r} is {graph.tensors[name].dtype}: {one_line(e)}") from None


def _value(name: str, graph: Graph, makers: Mapping[str, Node], inputs: Mapping[str, Array]) -> Array | None:
    """The values of a tensor, if they are known."""
    waiting = [name]
    known: dict[str, Array] = {}
    while waiting:
        at = waiting[-1]
        if at in known:
            waiting.pop()
        elif at in graph.inputs or graph.tensors[at].is_weight:
            values = inputs.get(at) if at in graph.inputs else graph.tensors[at].data
            if values is None:
                return None
            known[at] = _integers(at, values, graph)
        elif at not in makers:
            return None
        elif missing := [each for each in makers[at].present if each not in known]:
            waiting += missing
        else:
            node = makers[at]
            found = SEMANTICS[node.op].evaluate([known[each] for each in node.present], node.attributes)
            known.update(zip(node.outputs, found, strict=True))
    return known[name]
