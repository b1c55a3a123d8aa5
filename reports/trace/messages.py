"""Protobuf messages by the column: tables of numbers become as many messages, with no Python call for each of them.

A message is bytes of its own length, so a column of n messages is a matrix of n rows of bytes, and a mask that says
which of these are there. A field's tag stands in all rows; a number takes as many bytes as it needs; a message within
another is preceded by its length, which is the row's sum of the mask. The bytes that are there, row by row, are the
messages one behind the other.

Which number and type a field has is asked of perfetto's own descriptors, by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

BITS = 7
"""Of a number in each byte; the eighth says that another one follows."""

VARINT, FIXED64, LENGTH = 0, 1, 2
"""Wire types: what tells a reader where a field ends."""

FIXED = {"double": 1, "fixed64": 6}
"""The descriptors' codes of the types that are eight bytes."""

MESSAGE = 11
"""The descriptors' code of a message within a message."""


@dataclass(frozen=True)
class Bytes:
    """n rows of bytes, uint8 of shape (n, width); of each row those of the mask."""

    data: npt.NDArray[np.uint8]
    there: Mask

    def written(self) -> bytes:
        """All rows, one behind the other."""
        return self.data[self.there].tobytes()

    def lengths(self) -> npt.NDArray[np.int64]:
        """The bytes that each row has."""
        return np.asarray(self.there.sum(axis=1))

    def only(self, rows: Mask) -> Bytes:
        """Nothing of the other rows."""
        return Bytes(self.data, self.there & rows[:, None])


Value = Any
"""Of a field: a number, a column of n numbers, or of messages the Bytes."""


def joined(parts: Iterable[Bytes]) -> Bytes:
    """Row by row one behind the other."""
    parts = list(parts)
    return Bytes(np.concatenate([part.data for part in parts], axis=1),
                 np.concatenate([part.there for part in parts], axis=1))  # fmt: skip


def message(kind: Any, n: int, fields: Sequence[tuple[str, Value, Mask | None]]) -> Bytes:
    """n messages of a kind.

    Args:
        kind: perfetto's class of the message.
        fields: names, values, and which rows have the field; None: all do.
    """
    parts = []
    for name, value, rows in fields:
        part = _field(kind.DESCRIPTOR.fields_by_name[name], n, value)
        parts.append(part if rows is None else part.only(rows))
    return joined(parts)


def _field(descriptor: Any, n: int, value: Value) -> Bytes:
    """A field with its tag."""
    if descriptor.type == MESSAGE:
        return joined([_tag(descriptor, LENGTH, n), varint(value.lengths()), value])
    if descriptor.type in FIXED.values():
        fixed = np.float64 if descriptor.type == FIXED["double"] else np.uint64
        data = np.ascontiguousarray(np.broadcast_to(value, n), dtype=fixed).view(np.uint8).reshape(n, 8)
        return joined([_tag(descriptor, FIXED64, n), Bytes(data, np.ones((n, 8), dtype=bool))])
    return joined([_tag(descriptor, VARINT, n), varint(np.broadcast_to(value, n))])


def _tag(descriptor: Any, wire: int, n: int) -> Bytes:
    return varint(np.broadcast_to(descriptor.number << 3 | wire, n))


def varint(values: npt.NDArray[np.integer]) -> Bytes:
    """Numbers from 0 on, the low bits first, each in as few bytes as it needs."""
    rest = np.asarray(values, dtype=np.int64)
    width = max(1, -(-int(rest.max(initial=0)).bit_length() // BITS))
    shifted = rest[:, None] >> (BITS * np.arange(width))
    there = shifted > 0
    there[:, 0] = True
    more = np.zeros_like(there)
    more[:, :-1] = there[:, 1:]
    return Bytes(((shifted & 0x7F) | more << BITS).astype(np.uint8), there)
