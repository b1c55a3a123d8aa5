"""Interpolation along an axis, as ONNX's Resize defines it: which elements an output is made of, and how much of each.

Where an output lies between the elements of the axis is its coordinate; a kernel says how much each neighbour counts.
All is computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """An axis that is resized.

    Attributes:
        size, resized: its elements, and those of the output.
        scale: how many of the output there are for one; `resized` is rounded down.
        region: the part of the axis that is resized, from 0 to 1 (`tf_crop_and_resize` alone).
    """

    size: int
    resized: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)

    def coordinates(self, mode: str) -> Numbers:
        """Where each element of the output lies on the axis."""
        i, length = np.arange(self.resized, dtype=np.float64), self.scale * self.size
        match mode:
            case "asymmetric":
                return i / self.scale
            case "align_corners":
                return i * (self.size - 1) / (length - 1) if length != 1 else 0 * i
            case "tf_half_pixel_for_nn":
                return (i + 0.5) / self.scale
            case "tf_crop_and_resize":
                start, end = (each * (self.size - 1) for each in self.region)
                return start + i * (end - start) / (length - 1) if self.resized > 1 else 0 * i + (start + end) / 2
            case "pytorch_half_pixel" if self.resized == 1:
                return 0 * i
            case "half_pixel_symmetric":
                return self.size / 2 * (1 - self.resized / length) + (i + 0.5) / self.scale - 0.5
        return (i + 0.5) / self.scale - 0.5

    def outside(self, mode: str) -> npt.NDArray[np.bool_]:
        """Which elements of the output lie outside of the axis, and have a value of their own."""
        at = self.coordinates(mode)
        return ((at < 0) | (at > self.size - 1)) & (mode == "tf_crop_and_resize")


COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
               "tf_half_pixel_for_nn", "tf_crop_and_resize")  # fmt: skip

ROUNDINGS: dict[str, Callable[[Numbers], Numbers]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""What makes an element of a coordinate."""


def nearest(axis: Axis, mode: str, rounding: str) -> list[int | None]:
    """The element that each one of the output is; None: none."""
    found = np.clip(ROUNDINGS[rounding](axis.coordinates(mode)), 0, axis.size - 1).astype(int).tolist()
    return [None if out else at for at, out in zip(found, axis.outside(mode), strict=True)]


def linear(x: Numbers) -> Numbers:
    """How much an element counts at this distance: one at 0, nothing from 1 on."""
    return np.asarray(np.clip(1 - np.abs(x), 0, 1))


def cubic(x: Numbers, a: float) -> Numbers:
    """Keys' kernel with the slope `a`: nothing from 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0)))


def weights(
    axis: Axis, mode: str, kernel: Callable[[Numbers], Numbers], reach: int, *, antialias: bool, exclude: bool
) -> Numbers:
    """How much of each element (column) each one of the output (row) has; rows of what lies outside are 0.

    Args:
        kernel: how much an element counts, by its distance; nothing from `reach` on.
        antialias: of an axis that becomes shorter the kernel is as much wider, and its sum is 1.
        exclude: whether elements that would lie beyond the ends do not count, and the sum is 1; else they are as the
            last ones.
    """
    scale = min(axis.scale, 1.0) if antialias else 1.0
    matrix = np.zeros((axis.resized, axis.size))
    before = -(math.floor(-reach / scale) + 1)
    for row, (at, out) in enumerate(zip(axis.coordinates(mode), axis.outside(mode), strict=True)):
        base = math.ceil(at) - 1  # the last element before
        elements = np.arange(base - before, base + before + 2)
        counts = kernel((elements - at) * scale)
        if exclude:
            counts = np.where((elements < 0) | (elements >= axis.size), 0, counts)
        if antialias or exclude:
            counts = counts / counts.sum()
        if not out:
            np.add.at(matrix[row], np.clip(elements, 0, axis.size - 1), counts)
    return matrix
