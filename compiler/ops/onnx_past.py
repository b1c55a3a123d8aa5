"""The past of a decoder's keys or values: an input of ONNX's that is a state here, to which rows are appended (ADR 54).

ONNX has the rows of each head behind each other, (batch, heads, rows, columns), and every program makes all of them
anew. In the state a token is one row of all heads of all sequences, (rows, batch x heads x columns): so nothing that is
there is moved. Who multiplies by it reads its heads beside each other (`frontend/beside.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from minisim.compiler.graph import Tensor
from minisim.errors import ShapeError, UnsupportedError

READERS = frozenset({
    "Attention", "Concat", "Shape", "Size", "com.microsoft::GroupQueryAttention",
    "com.microsoft::MultiHeadAttention",
})  # fmt: skip
"""The operators that know what to do with a past: those that put rows behind it, and those that ask how long it is."""


@dataclass(frozen=True, eq=False, repr=False)
class Past(Tensor):
    """What ONNX sees of a state before rows are appended: (batch, heads, rows, columns). It is no tensor of the graph,
    which has the state by the same name; its `shape` may have 0 rows, or those of a buffer that is not full."""

    def with_rows(self, x: Tensor, name: str, buffered: bool = False) -> Tensor:
        """What is there with x (batch, heads, n, columns) behind it: a view of the state, by heads.

        Args:
            buffered: whether ONNX's operator writes them into a buffer that may be longer than what is in it.
        """
        graph, held = self.graph, self.held or 0
        if not buffered and self.shape[2] != held:
            raise UnsupportedError(f"the past {self.name!r} has always {self.shape[2]} rows, not {held}")
        if len(x.shape) != 4 or (*x.shape[:2], x.shape[3]) != (*self.shape[:2], self.shape[3]):
            raise ShapeError(f"the past {self.shape} must have the batch, heads and columns of {x.shape}")
        state = graph.tensors[self.name]
        if any(node.op == "Append" and node.present[0] == self.name for node in graph.nodes):
            raise UnsupportedError(f"rows are put behind the past {self.name!r} twice")
        batch, heads, n, columns = x.shape
        by_token = graph.transpose(x, (2, 0, 1, 3), name=graph.fresh_name(f"{name}/by_token"))
        new = graph.reshape(by_token, (n, state.shape[1]), name=graph.fresh_name(f"{name}/rows"))
        rows = graph.append_rows(state, new, name=graph.fresh_name(f"{name}/all"))
        apart = graph.reshape(rows, (held + n, batch, heads, columns), name=graph.fresh_name(f"{name}/heads"))
        return graph.transpose(apart, (1, 2, 0, 3), name=graph.fresh_name(name))
