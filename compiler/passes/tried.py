"""What is tried is scheduled once: for a machine that differs in its speed alone, it is only timed anew.

Points of a sweep are often such machines, and the compiler tries much the same for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from minisim.compiler.graph import Graph
from minisim.compiler.kept import Kept
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.untimed import untimed
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule


def scheduled(tiled: TiledGraph, machine: Machine) -> Schedule:
    """The schedule of a tiled graph before dispatch, to be timed and not to be run: it may be one of other numbers.

    Raises:
        CapacityError: the SRAM, or the accumulator memory, is too small for one operation's operands.
    """
    key = _content(tiled.graph), tuple(tiled.tilings.items()), tiled.slices, untimed(machine)
    found = _KEPT.get(key)
    if found is None:
        found = Allocate(machine, in_place=True).apply(Lower(machine).apply(tiled))
        _KEPT.put(key, found)
    return found


_KEPT: Kept[Hashable, Schedule] = Kept(room=1 << 26, most=1 << 22)


def _content(graph: Graph) -> bytes:
    """A hash of all that operations are made of, but values."""
    found = hashlib.sha256()
    for line in graph.lines():
        found.update(f"{line}\n".encode(errors="surrogatepass"))
    for tensor in graph.tensors.values():
        stored = tensor.kept, tensor.packed, tensor.held, tensor.page
        about = number_of(tensor) is not None, tensor.slab, tensor.window, *stored
        found.update(repr(about).encode(errors="surrogatepass"))
    return found.digest()
