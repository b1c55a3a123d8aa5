"""Pages: where the rows of a state that has them lie in DRAM, and which parts of a tile lie in which page.

A page is so many whole rows behind each other. The pages of all states whose pages are equally large share the places
that these states would take without pages, in a drawn order: as in a pool from which pages are taken as texts grow. The
draw depends on how many there are and on `SEED` alone, so every program of a decoding finds them in the same order.

Rows that are gathered (isa.py) are pages of one row each; where they lie is in `lookups.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa

SEED = 0
"""Of the draw of places."""

Column = npt.NDArray[np.int64]


def places_of_pages(tensors: isa.Table) -> dict[int, Column]:
    """Of each tensor with pages the address of each of these."""
    paged = np.flatnonzero((tensors["page"] > 0) & (tensors["indices"] == 0)).tolist()
    page_bytes = tensors["page"].astype(np.int64) * tensors["pitch"]
    count = -(-tensors["rows"].astype(np.int64) // np.maximum(tensors["page"], 1))
    own = {i: int(tensors["address"][i]) + page_bytes[i] * np.arange(count[i]) for i in paged}
    found: dict[int, Column] = {}
    for size in sorted({int(page_bytes[i]) for i in paged}):
        alike = [i for i in paged if page_bytes[i] == size]
        pool = np.random.default_rng(SEED).permutation(np.concatenate([own[i] for i in alike]))
        found.update(zip(alike, np.split(pool, np.cumsum([len(own[i]) for i in alike])[:-1]), strict=True))
    return found


def in_pages(tiles: isa.Table, tensors: isa.Table) -> isa.Table:
    """The tiles, told where their pages lie; behind them the parts of those that lie in several ("Pages" in isa.py)."""
    page = tensors["page"].astype(np.int64)[tiles["tensor"]]
    mine = np.flatnonzero(page)
    if not len(mine):
        return tiles
    begin, size = tiles["row"][mine].astype(np.int64), page[mine]
    end = begin + tiles["rows"][mine]
    count = (end - 1) // size - begin // size + 1
    owner = np.repeat(mine, count)
    part = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    size = np.repeat(size, count)
    number = np.repeat(begin, count) // size + part
    first = np.maximum(np.repeat(begin, count), number * size)
    table = tiles[owner]
    table["row"], table["rows"] = first, np.minimum(np.repeat(end, count), (number + 1) * size) - first
    table["part"], table["moved"] = part, _moved(tensors, table["tensor"], number)
    whole = np.repeat(count, count) == 1
    found = tiles.copy()
    found[owner[whole]] = table[whole]
    parts = table[~whole]
    parts["stack"] = len(tiles) + np.arange(len(parts)) - owner[~whole]
    return np.concatenate([found, parts])


def _moved(tensors: isa.Table, tensor: npt.NDArray[np.uint32], page: Column) -> Column:
    """How far each page lies from where it would lie without a draw."""
    found = np.zeros(len(page), dtype=np.int64)
    for i, places in places_of_pages(tensors).items():
        mine = tensor == i
        own = int(tensors["address"][i]) + page[mine] * int(tensors["page"][i]) * int(tensors["pitch"][i])
        found[mine] = places[page[mine]] - own
    return found
