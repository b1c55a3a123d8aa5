"""Values that are not there before somebody computes with them: timing alone needs their shape."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import HELD_AS, converted

Array = npt.NDArray[Any]


class Lazy:
    """An array by its recipe.

    The array is made when it is first asked for, and kept. A copy in another process (`pickle`) makes its own.

    Args:
        shape: the shape of the array.
        recipe: makes it: always the same values. A function of a module, or a `partial` of one, so that it can be
            pickled.
    """

    def __init__(self, shape: tuple[int, ...], recipe: Callable[[], Array]) -> None:
        self.shape = shape
        self.recipe = recipe
        self._array: Array | None = None

    def __repr__(self) -> str:
        return f"Lazy({self.shape}, {self.recipe})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    def array(self) -> Array:
        if self._array is None:
            made = np.asarray(self.recipe())
            if made.shape != self.shape:
                raise ValueError(f"the recipe of an array of shape {self.shape} made one of {made.shape}")
            self._array = made
        return self._array


class Precise(Lazy):
    """float32 values that are rounded from double precision; what is computed of them takes that, and is rounded once.

    Args:
        recipe: makes the values in double precision.
    """

    def __init__(self, shape: tuple[int, ...], recipe: Callable[[], Array]) -> None:
        super().__init__(shape, partial(_rounded, recipe))
        self.in_double = recipe


def _rounded(recipe: Callable[[], Array]) -> Array:
    with np.errstate(over="ignore"):
        return recipe().astype(np.float32)


Values = Array | Lazy | None
"""What a tensor has: values, the way to them, or none."""


def materialised(values: Values) -> Array | None:
    return values.array() if isinstance(values, Lazy) else values


def exact(values: Array | Lazy) -> Array:
    """The values in double precision, before they are rounded if they are `Precise`."""
    if isinstance(values, Precise):
        return values.in_double()
    found = materialised(values)
    assert found is not None
    return found.astype(np.float64)


def mapped(values: Values, function: Callable[[Array], Array]) -> Values:
    """`function`, which keeps the shape, of `values`: at once of an array, later of what is not there yet."""
    if isinstance(values, Lazy):
        return Lazy(values.shape, partial(_applied, function, values))
    return None if values is None else function(values)


def _applied(function: Callable[[Array], Array], values: Lazy) -> Array:
    return function(values.array())


def arranged(values: Values, shape: tuple[int, int], order: Array) -> Array | Lazy:
    """`values` as a matrix of this shape, its rows in this order; later, if they are not there yet."""
    if isinstance(values, Lazy):
        return Lazy(shape, partial(_arranged, values, shape, order))
    assert values is not None
    return np.ascontiguousarray(values.reshape(shape)[order])


def _arranged(values: Lazy, shape: tuple[int, int], order: Array) -> Array:
    return np.asarray(arranged(values.array(), shape, order))


def rows_of(values: Values, which: Array) -> Array | Lazy:
    """These rows of a matrix; later, if they are not there yet."""
    if isinstance(values, Lazy):
        return Lazy((len(which), *values.shape[1:]), partial(_rows_of, values, which))
    assert values is not None
    return np.ascontiguousarray(values[which])


def _rows_of(values: Lazy, which: Array) -> Array:
    return np.asarray(rows_of(values.array(), which))


def reordered(values: Values, shape: Sequence[int], order: Sequence[int]) -> Array | Lazy:
    """`values`, reshaped to `shape`, with the axes in this order; later, if they are not there yet."""
    shape, order = tuple(shape), tuple(order)
    wanted = tuple(shape[axis] for axis in order)
    if isinstance(values, Precise):
        return Precise(wanted, partial(_reordered, values.in_double, shape, order))
    if isinstance(values, Lazy):
        return Lazy(wanted, partial(_reordered, values.array, shape, order))
    assert values is not None
    return np.ascontiguousarray(values.reshape(shape).transpose(order))


def _reordered(values: Callable[[], Array], shape: tuple[int, ...], order: tuple[int, ...]) -> Array:
    return np.asarray(reordered(values(), shape, order))


def scaled(values: Array | Lazy, factor: float, transposed: bool = False) -> Array | Lazy:
    """`values` times `factor` in float32, of a matrix transposed if wanted; later, if they are not there yet."""
    if isinstance(values, Lazy):
        return Lazy(values.shape[::-1] if transposed else values.shape, partial(_scaled, values, factor, transposed))
    return np.asarray(np.float32(factor) * (values.T if transposed else values))


def _scaled(values: Lazy, factor: float, transposed: bool) -> Array:
    return np.asarray(scaled(values.array(), factor, transposed))


DRAWN_AT_ONCE = 2**22
"""The elements that are drawn at a time: a fraction of a second, after which a Ctrl-C is heard."""


def drawn_normal(seed: int | list[int], shape: tuple[int, ...], skip: int = 0, scale: float = 0.1) -> Array:
    """float32 values, normal with deviation `scale`; the first `skip` of the generator's are left to others."""
    rng = np.random.default_rng(seed)
    rng.standard_normal(skip, dtype=np.float32)
    values = np.empty(shape, dtype=np.float32)
    flat = values.reshape(-1)
    for begin in range(0, flat.size, DRAWN_AT_ONCE):
        part = flat[begin : begin + DRAWN_AT_ONCE]
        rng.standard_normal(dtype=np.float32, out=part)
        part *= np.float32(scale)
    return values


def drawn_integers(seed: int | list[int], shape: tuple[int, ...], low: int, high: int, dtype: str) -> Array:
    """Integers uniform from `low` to `high` - 1.

    Drawn in parts they are the values that one call would draw: DRAWN_AT_ONCE is a multiple of 4, and a call uses up
    whole 32-bit words.
    """
    rng = np.random.default_rng(seed)
    values = np.empty(shape, dtype=dtype)
    flat = values.reshape(-1)
    for begin in range(0, flat.size, DRAWN_AT_ONCE):
        part = flat[begin : begin + DRAWN_AT_ONCE]
        part[:] = rng.integers(low, high, part.size, dtype=values.dtype)
    return values


def example_values(name: str, shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Floats normal of the order 0.1, int8, uint8 and int16 uniform over all their values, int32 uniform over +-1000,
    bool one or the other.

    They depend on the seed, the name, the shape and the type alone.
    """
    seeds = [seed, zlib.crc32(name.encode())]
    match dtype:
        case "int8":
            return drawn_integers(seeds, shape, -128, 128, dtype)
        case "uint8":
            return drawn_integers(seeds, shape, 0, 256, dtype)
        case "int16":
            return drawn_integers(seeds, shape, -(2**15), 2**15, dtype)
        case "int32":
            return drawn_integers(seeds, shape, -1000, 1001, dtype)
        case "bool":
            return drawn_integers(seeds, shape, 0, 2, dtype)
    rng, values = np.random.default_rng(seeds), np.empty(shape, dtype=HELD_AS[dtype])
    flat = values.reshape(-1)
    for begin in range(0, flat.size, DRAWN_AT_ONCE):  # drawn in double precision, and rounded
        part = flat[begin : begin + DRAWN_AT_ONCE]
        part[:] = converted(0.1 * rng.standard_normal(part.size), dtype)
    return values


def example_rows(name: str, shape: tuple[int, ...], rows: int, seed: int = 0) -> Array:
    """Indices of a table of so many rows, int32, uniform over all of these."""
    return drawn_integers([seed, zlib.crc32(name.encode())], shape, 0, rows, "int32")
