"""Machines beside a given one: which keys make it larger, and the settings, as `--set` takes them, that do so."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from minisim.errors import ConfigError
from minisim.hwmodel.config import Machine, as_written, keys, parse_value
from minisim.hwmodel.effects import no_effect
from minisim.hwmodel.sections import LIES_ALONG

LARGER = {
    "dma.bytes_per_cycle": Fraction(2),
    "dram.bandwidth": Fraction(2),
    "dram.latency": Fraction(1, 2),
    "l2.bytes": Fraction(2),
    "l2.bytes_per_cycle": Fraction(2),
    "noc.bytes_per_cycle": Fraction(2),
    "noc.core_bytes_per_cycle": Fraction(2),
    "sram.bytes": Fraction(2),
    "accumulator.bytes": Fraction(2),
    "matrix.rows": Fraction(2),
    "matrix.cols": Fraction(2),
    "matrix.arrays": Fraction(2),
    "vector.lanes": Fraction(2),
    "control.queue_depth": Fraction(2),
    "dma.max_outstanding": Fraction(2),
    "dma.outstanding_bursts": Fraction(2),
    "cores.count": Fraction(2),
}
"""The keys of what hardware costs, and the factor that makes each one size better; below 1 where less is more."""

SIDE = {"matrix.rows": 0, "matrix.cols": 1, "matrix.arrays": 1}
"""The keys that make the array larger, and along which of its sides (`LIES_ALONG`); arrays lie side by side. An edge of
tiles that was written grows with it, or the array would stay empty; what was not written follows it anyway."""


def scaled(machine: Machine, key: str, factor: Fraction | None = None) -> dict[str, str]:
    """The settings that multiply a numeric key by `factor` (default: as LARGER has it).

    Empty if that changes nothing: the key is 0, or has no effect on this machine. Whether such a machine can be is for
    `with_settings` to say.
    """
    old = value_of(machine, key)
    if not old or no_effect(machine, key):
        return {}
    new = type(old)(old * (LARGER[key] if factor is None else factor))
    settings = {key: as_written(keys()[key], new)}
    if key in SIDE:
        matrix = machine.matrix.model_copy(update={key.partition(".")[2]: new})
        edge = LIES_ALONG[matrix.dataflow][SIDE[key]]
        if edge not in machine.tile.follows and getattr(machine.tile, edge) < matrix.edges[edge]:
            settings[f"tile.{edge}"] = str(matrix.edges[edge])
    return settings if new != old else {}


def with_settings(machine: Machine, settings: Mapping[str, str]) -> Machine:
    """The machine that `--set` with these would give.

    Raises:
        ConfigError: there is no such machine.
    """
    return machine.with_overrides({key: parse_value(text) for key, text in settings.items()})


def possible(machine: Machine, settings: Mapping[str, str]) -> bool:
    """Whether these settings make a machine, and another one."""
    try:
        return bool(settings) and with_settings(machine, settings) != machine
    except ConfigError:
        return False


def value_of(machine: Machine, dotted: str) -> int | Fraction:
    """The value of a numeric key, in base units."""
    section, key = dotted.split(".")
    value: int | Fraction = getattr(getattr(machine, section), key)
    return value
