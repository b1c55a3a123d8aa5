"""How far a run's outputs are from a plain evaluation of the same model, and what that is to be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

COMPARED_AT_ONCE = 2**18
"""Elements: the doubles of both sides then fit a cache."""


@dataclass(frozen=True)
class Difference:
    """What `difference` found. Two NaNs, or two equal infinities, do not differ.

    Attributes:
        largest: the largest absolute difference of an element; NaN or infinite where one side alone is.
        low, high: the least and the greatest finite value of all outputs; NaN if there is none.
        sqnr_db: the signal-to-noise ratio in decibels, 10 x log10(sum of expected^2 / sum of difference^2), of the
            output that has the lowest; inf if all are exact, -inf if one is nothing but noise.
        elements: of all outputs together.
        not_finite: so many of them are NaN or infinite.
    """

    largest: float
    low: float
    high: float
    sqnr_db: float
    elements: int
    not_finite: int = 0

    @property
    def exact(self) -> bool:
        """Whether no element differs."""
        return self.largest == 0

    def error_text(self) -> str:
        """The error in a few words: ``exact``, or ``largest error 3.1e-06, SQNR 128 dB``."""
        if self.exact:
            return "exact"
        if not math.isfinite(self.largest):
            return "NaN or infinite where that was not expected, or the other way round"
        return f"largest error {number(self.largest)}, SQNR {self.sqnr_db:.0f} dB"

    def range_text(self) -> str:
        """The outputs' range in a few words: ``in [-2.1, 3.4]``, and how many are no numbers."""
        finite = "" if math.isnan(self.low) else f"in [{number(self.low)}, {number(self.high)}]"
        if not self.not_finite:
            return finite or "no elements"
        odd = f"{self.not_finite:,} of {self.elements:,} NaN or infinite"
        return f"{finite}, {odd}" if finite else odd


def difference(outputs: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]) -> Difference:
    """Compare each output with what was expected of it, by name, in pieces of `COMPARED_AT_ONCE` elements.

    Integers of up to 53 bits are compared exactly, also with those that an output's type cannot hold.
    """
    largest, low, high, sqnr, not_finite = 0.0, math.inf, -math.inf, math.inf, 0
    for name, array in outputs.items():
        flat, truth = array.reshape(-1), np.asarray(expected[name]).reshape(-1)
        signal = noise = 0.0
        for first in range(0, array.size, COMPARED_AT_ONCE):
            a, b = (x[first : first + COMPARED_AT_ONCE].astype(np.float64) for x in (flat, truth))
            finite = np.isfinite(a)
            not_finite += int(a.size - np.count_nonzero(finite))
            low, high = float(np.min(a, initial=low, where=finite)), float(np.max(a, initial=high, where=finite))
            with np.errstate(invalid="ignore", over="ignore"):
                apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
                largest = float(np.max(apart, initial=largest))  # NaN is the greatest, and stays
                noise += float(np.sum(apart * apart))
                signal += float(np.sum(b * b, where=np.isfinite(b)))
        sqnr = min(sqnr, _decibels(signal, noise))
    none = low > high
    elements = sum(array.size for array in outputs.values())
    return Difference(largest, math.nan if none else low, math.nan if none else high, sqnr, elements, not_finite)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal and math.isfinite(noise) else -math.inf


def number(value: float) -> str:
    """A value in a few characters: whole numbers of up to nine digits as they are, others with three."""
    return f"{value + 0.0:,.0f}" if abs(value) < 1e9 and value.is_integer() else f"{value:.3g}"  # -0 is 0
