"""The values of a parameter, as typed: ``64KiB,128KiB``, ``64KiB:4MiB:x2``, ``8:32:+8``, or these with commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from pydantic import BeforeValidator

from minisim.errors import UsageError, shortened
from minisim.hwmodel.config import as_written, keys, near_key, parse_value

MOST_VALUES = 100_000
"""The most values of a range: more would be more points than a sweep may have."""

EXAMPLES = "64KiB:4MiB:x2 or 8:32:+8"

NO_NUMBERS = "the key has no numbers, of which there are ranges: list its values with commas"

_RANGE = re.compile(r"([^:]+):([^:]+):([x+])([^:]*)")
_TYPED_MOST = 120


def parse_param(text: str, option: str = "--param") -> tuple[str, list[str]]:
    """``sram.bytes=64KiB,1MiB:4MiB:x2`` -> the key, and the values as a machine file writes them.

    Raises:
        UsageError: it is not of that form, or a range is none.
    """
    key, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(",")]
    if not equals or not key.strip() or not all(parts):
        raise UsageError(f"{option} {text}: must be KEY=VALUE,VALUE,..., such as sram.bytes=64KiB,128KiB")
    return key.strip(), expanded(key.strip(), parts, option)


def expanded(key: str, parts: list[str], option: str) -> list[str]:
    """The values of `key`, each range by its values.

    Raises:
        UsageError: a range is none that the key can have.
    """
    found: list[str] = []
    for part in parts:
        try:
            found += _values(key, part)
        except ValueError as e:
            raise UsageError(f"{option} {key}={shortened(part, _TYPED_MOST)}: {e}") from None
    return found


def numeric(key: str, text: str) -> int | Fraction:
    """A value of a key as a number in the key's base unit.

    Raises:
        ValueError: the key has no numbers, or the text is none of its values.
    """
    field = keys().get(key)
    if field is None:
        raise ValueError(f"unknown key{near_key(key)}")
    value = parse_value(text)
    try:
        for reader in field.metadata:
            if isinstance(reader, BeforeValidator):
                parse: Callable[[Any], Any] = reader.func  # type: ignore[assignment]  # ours have one argument
                value = parse(value)
    except ValueError as e:
        rule, *hint = e.args
        raise ValueError(f"{rule}, not {shortened(text)!r}{''.join(hint)}") from None
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise ValueError(f"{shortened(text)!r} is no whole number" if field.annotation is int else NO_NUMBERS)
    return value


def _values(key: str, part: str) -> Iterator[str]:
    """The values of one part between commas; what is no range is a value as it is."""
    match = _RANGE.fullmatch(part)
    if match is None:
        yield part
        return
    first, last = (numeric(key, text.strip()) for text in match.group(1, 2))
    if first > last:
        raise ValueError(f"a range must not end before it begins (such as {EXAMPLES})")
    step = _factor(match[4]) if match[3] == "x" else numeric(key, match[4].strip())
    if match[3] == "x" and (step <= 1 or first <= 0):
        raise ValueError(f"a range that is multiplied must begin above 0 and grow: {EXAMPLES}")
    if step <= 0:
        raise ValueError(f"a range must grow: {EXAMPLES}")
    value, count, field = Fraction(first), 0, keys()[key]
    while value <= last:
        if (count := count + 1) > MOST_VALUES:
            raise ValueError(f"a range may have {MOST_VALUES:,} values at most")
        yield as_written(field, _as_of(first, value))
        value = value * step if match[3] == "x" else value + step


def _factor(text: str) -> Fraction:
    try:
        return Fraction(text.strip()) if len(text) <= 40 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"a range is multiplied by a number, not {shortened(text)!r} (such as {EXAMPLES})") from None


def _as_of(first: int | Fraction, value: Fraction) -> int | Fraction:
    """`value` in the type of the key's values.

    Raises:
        ValueError: the key has whole numbers, and it is none.
    """
    if not isinstance(first, int):
        return value
    if value.denominator != 1:
        raise ValueError(f"its values must be whole numbers, which {float(value):g} is not")
    return value.numerator
