"""Rows of floats as a quantised cache keeps them, as methods: `Graph` has them from here (ADR 78)."""

from __future__ import annotations

from minisim.compiler.arguments import integers
from minisim.compiler.attributes import RowScalesAttributes
from minisim.compiler.graph_methods import GraphMethods, T


class StateMethods(GraphMethods[T]):
    """What `Graph` inherits."""

    def quantize_rows(self, x: T, heads: int = 1, *, name: str | None = None) -> tuple[T, T]:
        """x (n, heads x columns) as int8 of that shape, and its scales, float32 (n, heads).

        Of each row each of `heads` equal runs of columns has a scale of its own. To the bit, in float32:
        ``s = max |x| / 127``, ``q = x / s``, rounded to whole numbers, ties to even, and saturated. Zeros have the
        scale 0 and become 0; a run that holds a NaN or an infinity has a scale that is none, which makes NaN of all
        of it (`dequantize_rows`).
        """
        (heads,) = integers("heads", (heads,))
        scales = self.add_node("RowScales", [x], RowScalesAttributes(heads), name=_part(name, "scales"))
        return self.add_node("QuantizeRows", [x, scales], name=_part(name, "quantized")), scales

    def dequantize_rows(self, q: T, scales: T, *, name: str | None = None) -> T:
        """What `quantize_rows` returned as floats: ``q s``, in float32, rounded to the type of the machine."""
        return self.add_node("DequantizeRows", [q, scales], name=name)


def _part(name: str | None, part: str) -> str | None:
    """The name of one of the operations that make up the one called `name`."""
    return name and f"{name}/{part}"
