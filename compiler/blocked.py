"""Weights as a model of 4 bits has them: whole numbers in blocks of k, with a scale and perhaps a zero point each.

To a graph they are floats, like all weights: (q - zero) x scale. Whoever does something to them (a factor that is
folded, rows in another order) makes floats of them that are in blocks no longer; so what is still `Blocked` when the
pass `pack` looks can be stored in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minisim.compiler.dtypes import CODE, HELD_AS, converted, round_bfloat16
from minisim.compiler.values import Array, Lazy
from minisim.errors import ShapeError
from minisim.hwmodel.isa import ITEMSIZE
from minisim.hwmodel.packing import MIDDLE, Packed


class Parts(NamedTuple):
    """The numbers of a weight of k x n, k down the rows.

    Attributes:
        q: uint8 (k, n), from 0 to 15.
        scales: (blocks, n), as numpy has their type.
        zeros: uint8 (blocks, n), from 0 to 15, if there are any.
    """

    q: Array
    scales: Array
    zeros: Array | None


class Form(NamedTuple):
    """What is known of a blocked weight before its numbers.

    Attributes:
        block: weights of a column that share a scale.
        scales: the name of the scales' type.
        zeros: whether each block has a zero point.
        across: whether k runs across the columns of the tensor instead of down its rows.
    """

    block: int
    scales: str
    zeros: bool
    across: bool

    def packed(self, by: str) -> Packed:
        """How it lies in memory if `by` unpacks it."""
        code = CODE[self.scales]
        return Packed(self.block, int(code), ITEMSIZE[code], self.zeros, self.across, by)


class Blocked(Lazy):
    """The floats of a blocked weight; and its blocks, as they lie in memory.

    Args:
        shape: (k, n), or (n, k) if k runs across.
        recipe: makes the parts, always the same.
        dtype: of the floats: float32, float16 or bfloat16.
    """

    def __init__(self, shape: tuple[int, int], recipe: Callable[[], Parts], form: Form, dtype: str = "float32") -> None:
        super().__init__(shape, partial(_floats, recipe, form, dtype))
        self.parts, self.form, self.dtype = recipe, form, dtype

    def as_type(self, dtype: str) -> Blocked:
        """The same blocks, as floats of another type."""
        return Blocked(self.shape, self.parts, self.form, dtype)  # type: ignore[arg-type]

    def turned(self) -> Blocked:
        """Its transpose: the same blocks along the other axis."""
        form = self.form._replace(across=not self.form.across)
        return Blocked(self.shape[::-1], self.parts, form, self.dtype)  # type: ignore[arg-type]

    def blocks(self) -> Array:
        """Its bytes: rows of blocks, uint8."""
        parts, form = self.parts(), self.form
        k, n = parts.q.shape
        count = len(parts.scales)
        filled = np.zeros((count * form.block, n), np.uint8)
        filled[:k] = parts.q
        q: Array = filled.reshape(count, form.block, n)
        if form.block % 2:
            q = np.concatenate([q, np.zeros((count, 1, n), np.uint8)], axis=1)
        fields = [(q[:, 0::2] | q[:, 1::2] << 4).transpose(0, 2, 1), _bytes_of(parts.scales, form.scales)]
        if form.zeros:
            assert parts.zeros is not None
            fields.append(parts.zeros[..., np.newaxis])
        found = np.concatenate(fields, axis=2)  # (count, n, bytes of a block)
        return np.ascontiguousarray(found.transpose(1, 0, 2) if form.across else found).reshape(
            n if form.across else count, -1
        )


def blocked(
    q: Array, scales: Array, zeros: Array | None = None, *, block: int, across: bool = False, dtype: str = "float32"
) -> Blocked:
    """The weight of these `Parts`, whose scales are float16, or float32 if they are anything else: a value for
    `Graph.weight`."""
    held = scales if scales.dtype == np.float16 else np.asarray(scales, np.float32)
    parts = Parts(np.asarray(q, np.uint8), held, None if zeros is None else np.asarray(zeros, np.uint8))
    count, (k, n) = -(-q.shape[0] // block), q.shape
    if scales.shape != (count, n) or (zeros is not None and zeros.shape != (count, n)):
        raise ShapeError(f"weights of {k} x {n} in blocks of {block} have ({count}, {n}) scales and zero points")
    form = Form(block, held.dtype.name, zeros is not None, across)
    return Blocked((n, k) if across else (k, n), partial(_given, parts), form, dtype)


def _given(parts: Parts) -> Parts:
    return parts


def _floats(recipe: Callable[[], Parts], form: Form, dtype: str) -> Array:
    """(q - zero) x scale: a whole number, times the scale in float32, rounded there; then to `dtype`."""
    parts = recipe()
    of_row = np.arange(len(parts.q)) // form.block
    zero: Any = np.int16(MIDDLE) if parts.zeros is None else parts.zeros.astype(np.int16)[of_row]
    with np.errstate(all="ignore"):
        found = (parts.q.astype(np.int16) - zero).astype(np.float32) * parts.scales.astype(np.float32)[of_row]
        found = converted(found, dtype)
    return np.ascontiguousarray(found.T if form.across else found)


def _bytes_of(scales: Array, dtype: str) -> Array:
    """The bytes of each, behind each other in a last axis."""
    if dtype == "bfloat16":
        held = (round_bfloat16(scales.astype(np.float32)).view(np.uint32) >> 16).astype(np.uint16)
    else:
        held = scales.astype(HELD_AS[dtype])
    held = np.ascontiguousarray(held)
    return held.view(np.uint8).reshape(*held.shape, held.dtype.itemsize)


def in_blocks(weight: Callable[[], Array], block: int) -> Parts:
    """The parts of floats (k, n) in the symmetric blocks of 4 bits nearest to them: the largest magnitude of a block
    is 7 or -7 times its scale, which is float16."""
    floats = weight()
    k, n = floats.shape
    count = -(-k // block)
    filled = np.zeros((count * block, n), np.float32)
    filled[:k] = floats
    blocks = filled.reshape(count, block, n)
    scales = (np.abs(blocks).max(axis=1) / 7).astype(np.float16)
    steps = np.where(scales == 0, np.float32(1), scales.astype(np.float32))
    q = np.clip(np.rint(blocks / steps[:, np.newaxis]), -MIDDLE, MIDDLE - 1) + MIDDLE
    return Parts(q.astype(np.uint8).reshape(-1, n)[:k], scales, None)
