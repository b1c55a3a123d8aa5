"""Where tensors lie in DRAM: one behind the other, their rows padded as the machine pads them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np

from minisim.compiler.graph import Graph, Tensor, view_2d
from minisim.compiler.semantics import SEMANTICS
from minisim.errors import CapacityError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.packing import Packed


class Own(NamedTuple):
    """A tensor of the program's own, no value of the graph: scratch between operations, partial sums, or the buffer of
    the graph's tensor `view_of` in rows of another length, of which the first `used` columns are cut up (0: all); or
    rows of that tensor, as a table of so many `choices`, by the program's tensor number `indices` (0: no such ones).

    Attributes:
        of, more: its name is that of the graph's tensor that it belongs to, or of a node, and more; and a number, if
            that is taken.
    """

    of: str
    more: str
    rows: int
    cols: int
    dtype: isa.DType
    sums: bool = False
    view_of: str = ""
    used: int = 0
    indices: int = 0
    choices: int = 0


def tensor_table(graph: Graph, own: Sequence[Own], machine: Machine) -> isa.Table:
    """Place all tensors in DRAM, one after the other: those of the graph, then the program's own.

    Their rows are padded as `dram.padding` says (docs/adr/0013-dram-rows.md); the padding is never read or written.
    Tensors that a Reshape joins share one unpadded buffer. A window has no row: its tiles are the other tensor's.
    """
    index = {tensor.name: i for i, tensor in enumerate(placed(graph))}
    storage = {name: name for name in index}
    for node in graph.nodes:
        if SEMANTICS[node.op].is_view:
            for name in storage.keys() & set(node.outputs):
                storage[name] = storage[node.present[0]]
    viewed = {root for name, root in storage.items() if name != root}
    viewed |= {storage[each.view_of] for each in own if each.view_of}
    outputs = {buffer_of(graph.tensors[name]) for name in graph.outputs.values()}
    table = np.zeros(len(index) + len(own), dtype=isa.TENSOR_DTYPE)
    address = 0
    for tensor in placed(graph):
        name = tensor.name
        row, root = table[index[name]], storage[name]
        row["role"], row["storage"] = _role(graph, name, outputs), index[root]
        if tensor.kept:
            row["keeps"], row["block"], row["metadata_bits"], row["across"] = tensor.kept
        if tensor.packed:
            padded = _set_blocks(row, tensor, tensor.packed, machine)
        else:
            padded = _set_form(row, *view_2d(tensor.shape), tensor.code, None if root in viewed else machine)
        if tensor.page:
            row["page"] = tensor.page
            padded = isa.align(max(padded, -(-tensor.shape[0] // tensor.page) * tensor.page * int(row["pitch"])))
        row["address"] = address if root == name else table[index[root]]["address"]
        address += padded if root == name else 0
    for i, each in enumerate(own, len(index)):
        row = table[i]
        if each.view_of:
            root = table[index[storage[each.view_of]]]
            row["role"], row["storage"], row["address"] = isa.Role.INTERMEDIATE, root["storage"], root["address"]
            _set_form(row, each.rows, each.cols, each.dtype, None)
            if each.indices:
                row["page"], row["indices"], row["choices"] = 1, i - each.indices, each.choices
            continue
        row["role"], row["storage"], row["address"] = isa.Role.INTERMEDIATE, i, address
        address += _set_form(row, each.rows, each.cols, each.dtype, machine)
    return table


def _set_form(row: np.void, rows: int, cols: int, dtype: isa.DType, machine: Machine | None) -> int:
    """Set size, type and pitch of a tensor, padded as `machine` pads (None: packed); return its bytes."""
    padded_rows, pitch = rows, cols * isa.ITEMSIZE[dtype]
    if machine and machine.dram.padding == "tile":
        padded_rows = max(-(-rows // t) * t for t in (machine.tile.m, machine.tile.k))
        padded_cols = max(-(-cols // t) * t for t in (machine.tile.k, machine.tile.n))
        pitch = isa.align(isa.ITEMSIZE[dtype] * padded_cols)
    elif machine and pitch > isa.ALIGNMENT:
        pitch = isa.align(pitch)
    row["rows"], row["cols"], row["pitch"], row["dtype"] = rows, cols, _checked_pitch(pitch, cols), dtype
    return isa.align(padded_rows * pitch)


def _set_blocks(row: np.void, tensor: Tensor, packed: Packed, machine: Machine) -> int:
    """The same of a packed weight: its rows are of blocks, padded as rows of a dense one, but to no tiles."""
    rows, cols = view_2d(tensor.shape)
    down, right = packed.blocks(rows, cols)
    pitch = right * packed.block_bytes
    if machine.dram.padding == "tile" or pitch > isa.ALIGNMENT:
        pitch = isa.align(pitch)
    packed.put(row)
    row["rows"], row["cols"], row["pitch"], row["dtype"] = rows, cols, _checked_pitch(pitch, cols), tensor.code
    return isa.align(down * pitch)


def _checked_pitch(pitch: int, cols: int) -> int:
    if pitch >= 2**32:  # its column of the table has 32 bits
        raise CapacityError(
            f"a tensor's row of {cols:,} elements takes {pitch:,} bytes in DRAM; the most is {2**32 - 1:,}"
        )
    return pitch


def placed(graph: Graph) -> list[Tensor]:
    """The tensors that have a place of their own in memory: all but windows."""
    return [tensor for tensor in graph.tensors.values() if tensor.window is None]


def buffer_of(tensor: Tensor) -> str:
    """The name of the tensor in whose place `tensor` lies."""
    return tensor.name if tensor.window is None else tensor.window.tensor


def _role(graph: Graph, name: str, outputs: Set[str]) -> isa.Role:
    """What the tensor is. An output that is also read is an output: its tiles must reach DRAM.

    Args:
        outputs: the tensors that are outputs, or that have one as a window.
    """
    if graph.tensors[name].is_weight:
        return isa.Role.WEIGHT
    if graph.tensors[name].held is not None:
        return isa.Role.STATE
    if name in graph.inputs:
        return isa.Role.INPUT
    return isa.Role.OUTPUT if name in outputs else isa.Role.INTERMEDIATE
