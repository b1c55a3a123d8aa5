"""Numbers as people read them: three digits and a prefix, never a number of ten digits."""

from __future__ import annotations

import math

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def scaled(value: float, unit: str = "") -> str:
    """Three digits, a prefix and the unit: ``9.34 ms``, ``12.8 M``. NaN, which is nothing, is a dash."""
    if math.isnan(value):
        return "–"
    if not value:
        return f"0\u00a0{unit}".strip()
    size = abs(float(f"{value:.3g}"))
    scale, prefix = next(((s, p) for s, p in PREFIXES if size >= s), PREFIXES[-1])
    return f"{_digits(value / scale)}\u00a0{prefix}{unit}".strip()


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    places = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{places}f}"


def of_bytes(value: float) -> str:
    """Bytes in decimal prefixes, as bandwidths have them."""
    return scaled(value, "B")


def whole(value: float) -> str:
    """All digits, in groups of three."""
    return "–" if math.isnan(value) else f"{round(value):,}"


def percent(share: float) -> str:
    """A share as per cent; small ones with a decimal."""
    if math.isnan(share):
        return "–"
    per_cent = 100 * share
    return f"{per_cent:.1f}\u00a0%" if abs(per_cent) < 9.95 else f"{per_cent:.0f}\u00a0%"


def times(ratio: float) -> str:
    """A ratio: ``1.34 ×``."""
    return "–" if math.isnan(ratio) else f"{ratio:.2f}\u00a0×" if ratio < 99.5 else f"{ratio:,.0f}\u00a0×"


def width(share: float) -> str:
    """A share as a CSS width."""
    return f"{100 * share:.2f}%"
