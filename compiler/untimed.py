"""A machine without what says how fast it is: all that lowering and scheduling know of one.

What a layer becomes depends on how it is cut, which `tile` and `slice` decide by time, and behind them on sizes alone.
So what was made for one machine serves for all that differ in their bandwidths, latencies, clock or energy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from minisim.hwmodel.config import Machine

READ: dict[str, tuple[str, ...]] = {
    "sram": ("bytes",),
    "accumulator": ("bytes",),
    "matrix": ("dtype", "rows", "dataflow", "model"),
    "compiler": ("order", "keep_on_chip"),
    "dram": ("padding",),
    "cores": ("count",),
}
"""The keys that are kept beside all of `tile`: sizes, types, orders; of the array what says how high a producer's tiles
are (`tile_height`)."""


@lru_cache(maxsize=64)
def untimed(machine: Machine) -> Machine:
    """`machine` with all other keys as they are by default."""
    plain = Machine()
    sections: dict[str, Any] = {"tile": machine.tile}
    for name, keys in READ.items():
        mine = getattr(machine, name)
        sections[name] = getattr(plain, name).model_copy(update={key: getattr(mine, key) for key in keys})
    return plain.model_copy(update=sections)
