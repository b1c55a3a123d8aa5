"""Columns of whole numbers as short texts: variable-length numbers, deflated, in base64.

A page unpacks them with what every browser has (`DecompressionStream`), Python with `unpacked`.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]

LEVEL = 9
"""Of deflate: a column is packed once, and read as often as somebody opens the page."""

BITS = 7
"""Of a number in each byte; the eighth says that another byte follows."""


def steps(values: npt.NDArray[np.integer]) -> Column:
    """Each number's difference from the one before it, the first one's from 0."""
    x = np.asarray(values, dtype=np.int64)
    return np.asarray(x - np.append(0, x[:-1])[: len(x)])


def packed(values: npt.NDArray[np.integer]) -> str:
    """Numbers of any sign: each is doubled, a negative one made odd (0, -1, 1, -2 become 0, 1, 2, 3)."""
    x = np.asarray(values, dtype=np.int64)
    return base64.b64encode(zlib.compress(_varints((x << 1) ^ (x >> 63)), LEVEL)).decode("ascii")


def unpacked(text: str) -> Column:
    """What was given to `packed`."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    last = np.flatnonzero(data < 1 << BITS)
    first = np.append(0, last[:-1] + 1)[: len(last)]
    found = np.zeros(len(last), dtype=np.int64)
    for i in range(int((last - first).max(initial=-1)) + 1):
        there = first + i <= last
        found[there] |= (data[first[there] + i].astype(np.int64) & 0x7F) << (BITS * i)
    return np.asarray((found >> 1) ^ -(found & 1))


def _varints(values: Column) -> bytes:
    """Numbers from 0 on, the low bits first."""
    rest = values.view(np.uint64)
    lengths = np.ones(len(rest), dtype=np.int64)
    for i in range(1, 10):
        lengths += rest >> np.uint64(BITS * i) != 0
    at = np.cumsum(lengths) - lengths
    data = np.zeros(int(lengths.sum()), dtype=np.uint8)
    for i in range(int(lengths.max(initial=0))):
        there = lengths > i
        more = np.where(lengths[there] > i + 1, 1 << BITS, 0).astype(np.uint8)
        data[at[there] + i] = ((rest[there] >> np.uint64(BITS * i)) & np.uint64(0x7F)).astype(np.uint8) | more
    return data.tobytes()
