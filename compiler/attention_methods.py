"""What attention takes beside matmuls and softmax, as methods: `Graph` has them from here. Heads lie beside each other
(ADR 47)."""

from __future__ import annotations

from minisim.compiler.arguments import flag
from minisim.compiler.attributes import MatMulAttributes
from minisim.compiler.graph_methods import GraphMethods, T


class AttentionMethods(GraphMethods[T]):
    """What `Graph` inherits."""

    def matmul_of_heads(
        self,
        a: T,
        b: T,
        *,
        a_heads: int = 0,
        b_heads: int = 0,
        joins: bool = False,
        transpose_b: bool = False,
        name: str | None = None,
    ) -> T:
        """Products of matrices that lie beside each other, as the heads of attention do; nothing is moved for that.

        Of an operand with `a_heads` (or `b_heads`), (rows, heads x columns), matrix h is its h-th run of columns; one
        without has its matrices behind each other, (heads, rows, columns). Where b has fewer, each is multiplied by as
        many of a that follow each other (grouped queries).

        Args:
            joins: the products lie beside each other, too: (m, heads x n) instead of (heads, m, n).
        """
        attributes = MatMulAttributes(
            transpose_b=flag("transpose_b", transpose_b), a_heads=a_heads, b_heads=b_heads, joins=flag("joins", joins)
        )
        return self.add_node("MatMul", [a, b], attributes, name)
