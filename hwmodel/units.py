"""Quantities with units, as they are written in a machine file: ``256KiB``, ``25.6GB/s``, ``60ns``, ``1GHz``,
``4.6pJ``, ``50mW``.

They are parsed exactly (no float on the way) into integers or fractions of the base unit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from minisim.errors import did_you_mean

# So many digits at most that neither int() nor the power of ten takes notable time.
_NUMBER = re.compile(r"\s*([+-]?[0-9][0-9_]{0,39}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?)\s*([A-Za-z/]*)\s*")

_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True, eq=False)
class Unit:
    """A kind of quantity: its scales and how it is told to a user.

    Attributes:
        what: "a size", for messages.
        example: a well-formed value, for messages.
        scales: multiplier of each accepted suffix, in the base unit.
        bare: whether a number without a suffix is accepted (as the base unit).
        base: the base unit's name in the plural, for messages.
    """

    what: str
    example: str
    scales: dict[str, Fraction]
    bare: bool = False
    base: str = "base units"

    def parse(self, value: object) -> Fraction:
        """Return `value` in the base unit.

        Raises:
            ValueError: with the rule that it breaks, and the nearest unit if there is one.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
            raise ValueError(f"must be {self.what} such as {self.example!r}")
        if not isinstance(value, str):
            if not self.bare or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError(f"must be {self.what} such as {self.example!r}")
            return Fraction(value)
        return self._read(value)

    @lru_cache(maxsize=4096)  # noqa: B019  # units are few and stay; a machine is read again with each key that changes
    def _read(self, value: str) -> Fraction:
        match = _NUMBER.fullmatch(value)
        if match is None or (match[2] == "" and not self.bare):
            raise ValueError(f"must be {self.what} such as {self.example!r}")
        if match[2] and match[2] not in self.scales:
            raise ValueError(f"must be {self.what} in {', '.join(self.scales)}", self._near(match[2]))
        return Fraction(match[1].replace("_", "")) * self.scales.get(match[2], Fraction(1))

    def _near(self, suffix: str) -> str:
        """Units are told apart by their capitals too, which is what users get wrong."""
        same = [scale for scale in self.scales if scale.lower() == suffix.lower()]
        return f"; did you mean {same[0]!r}?" if same else did_you_mean(suffix, self.scales)


def _scaled(suffix: str, prefixes: dict[str, int]) -> dict[str, Fraction]:
    return {prefix + suffix: Fraction(scale) for prefix, scale in prefixes.items()}


SIZE = Unit("a size", "256KiB", {**_scaled("B", _BINARY), **_scaled("B", _DECIMAL)}, bare=True)
RATE = Unit("a rate", "25.6GB/s", {**_scaled("B/s", _BINARY), **_scaled("B/s", _DECIMAL)})
FREQUENCY = Unit("a frequency", "1GHz", _scaled("Hz", _DECIMAL))
TIME = Unit("a time", "60ns", {"ps": Fraction(1, 10**12), "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6),
                               "ms": Fraction(1, 10**3), "s": Fraction(1)})  # fmt: skip
ENERGY = Unit("an energy", "4.6pJ", {"fJ": Fraction(1), "pJ": Fraction(10**3), "nJ": Fraction(10**6)},
              base="femtojoules")  # fmt: skip
POWER = Unit("a power", "50mW", {"nW": Fraction(1, 10**9), "uW": Fraction(1, 10**6), "mW": Fraction(1, 10**3),
                                 "W": Fraction(1)})  # fmt: skip


def format_size(size: int) -> str:
    """The shortest exact form: 262144 -> ``256KiB``, 1000 -> ``1000``."""
    for suffix, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % scale == 0:
            return f"{size // scale}{suffix}"
    return str(size)


def format_exact(value: Fraction) -> str:
    """All decimals of a fraction that has an end: 128/5 -> ``25.6``.

    Raises:
        ValueError: it has none (1/3).
    """
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
        if digits > 200:  # more than the units and 40 typed decimals can make
            raise ValueError(f"{value} has no end as a decimal")
    whole = f"{abs(value.numerator * 10**digits // value.denominator):0{digits + 1}d}"
    sign = "-" if value < 0 else ""
    return sign + (f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole)
