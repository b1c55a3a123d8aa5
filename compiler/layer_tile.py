"""Tiles of whole layers: what SCALE-Sim's formulas are of (`matrix.model = "scalesim"`).

They give a layer's cycles as so many folds of the array, each of which streams one dimension of the layer from end to
end. So the tile of a matmul is the whole layer, however long, but for edges that the machine file writes. Where the
scratchpad cannot hold it, it is cut at borders of folds, which leaves their number, and the sum of their cycles, as
they are. The streamed dimension is never cut for that: that it does not fit is for the scheduler to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minisim.compiler.tiling import tile_height
from minisim.hwmodel.config import Machine

Edges = dict[str, int]


def matmul_edges(sizes: Mapping[str, int], machine: Machine, needed: Callable[[Edges], int]) -> Edges:
    """The edges m, k, n of the tiles of a matmul of these `sizes`, in elements.

    Args:
        needed: bytes of scratchpad that an operation on a tile of such edges takes.
    """
    edges = {edge: min(getattr(machine.tile, edge), size) for edge, size in sizes.items()}
    if machine.matrix.model != "scalesim":
        return edges | {"m": tile_height(sizes["m"], machine)}
    edges |= {edge: sizes[edge] for edge in machine.tile.follows}
    folds = {edge: fold for edge, fold in machine.matrix.edges.items() if edge in machine.tile.follows}
    while needed(edges) > machine.sram.bytes:
        longest = max(folds, key=lambda edge: -(-edges[edge] // folds[edge]), default=None)
        if longest is None or edges[longest] <= folds[longest]:
            break
        half = -(-edges[longest] // (2 * folds[longest]))
        edges[longest] = half * folds[longest]
    return edges
