"""Room: where the operands of one operation do not fit into SRAM on tiles that fill the array, smaller ones do.

An operation of a strided convolution reads several whole tiles of its input, and on an array of 256 x 256 each has
65,536 elements. So what can't be compiled is compiled once more, on tiles with edges half as long, or a quarter and so
on. Where there is room nothing changes, at any effort.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from minisim.compiler.mapping import ALL
from minisim.compiler.scales import Scale, with_edges
from minisim.compiler.tiling import chooses
from minisim.errors import CapacityError, NoRoomError
from minisim.hwmodel.config import Machine

LEAST_EDGE = 8
"""No edge is made shorter than that: what a memory so small takes is mostly the DMA engine's setup."""

Made = TypeVar("Made")


def with_room(machine: Machine, mapping: Collection[str], make: Callable[[Machine], Made]) -> Made:
    """What `make` makes for `machine`; or, if it finds no room there, for the machine of tiles small enough.

    Args:
        mapping: the layers whose edges are given; `ALL` of them may be.

    Raises:
        NoRoomError: there is no room on the smallest tiles either.
    """
    on, part = machine, 1.0
    refused: NoRoomError | None = None
    while True:
        try:
            return make(on)
        except NoRoomError as e:
            refused = e
        except CapacityError:  # more operations than are allowed: it is room that is wanting, larger tiles have none
            if refused is None:
                raise
            raise refused from None
        times = refused.needed / refused.room
        while times > 1:  # a tile with half the edges has a quarter of the bytes
            part, times = part / 2, times / 4
        smaller = with_edges(machine, _parts(machine, part))
        if ALL in mapping or not chooses(machine) or smaller.tile == on.tile:
            raise refused
        on = smaller


def _parts(machine: Machine, part: float) -> Scale:
    """Its edges in these parts, none shorter than `LEAST_EDGE` that was longer."""
    m, k, n = (max(part, min(1.0, LEAST_EDGE / edge)) for edge in (machine.tile.m, machine.tile.k, machine.tile.n))
    return m, k, n
