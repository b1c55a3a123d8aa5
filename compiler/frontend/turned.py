"""Tensors that are others with their axes in another order, and how they are made when somebody needs them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from minisim.compiler.attributes import Attributes, ReshapeAttributes, TransposeAttributes
from minisim.compiler.frontend.axis_orders import Perm, Reshaping, keeps_order, order_for
from minisim.compiler.graph import Graph, Node, Shape, Tensor, Window, view_2d
from minisim.compiler.nodes import Operand, outcome
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.values import reordered


class Turned(NamedTuple):
    """What a tensor is: axis i of it is axis perm[i] of `source`."""

    source: str
    perm: Perm


class Layout:
    """The graph being rewritten, and of each of its tensors which other one it is, with the axes in another order.

    A tensor that is `turned` is made when somebody needs it as it is.

    Attributes:
        turned: what tensors are, by name.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.turned: dict[str, Turned] = {}
        self._flat: dict[str, tuple[Turned, Reshaping]] = {}  # reshaped, but not without a transposition before
        self._made: dict[tuple[str, Perm], str] = {}

    # -- what the rules ask --------------------------------------------------------------------------

    def shape(self, name: str) -> Shape:
        """The shape that the model gives it."""
        return self.graph.tensors[name].shape

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def of(self, name: str) -> Turned:
        """What the tensor is; by itself it is itself."""
        if name in self._flat:
            (source, _), reshaping = self._flat.pop(name)
            arranged = source
            if not keeps_order(self.shape(source), reshaping.arrangement):
                arranged = self._transposed(source, reshaping.arrangement)
            self.set(name, self.reshaped(arranged, reshaping.shape), reshaping.perm)
        return self.turned.get(name, Turned(name, tuple(range(len(self.shape(name))))))

    def is_turned(self, name: str) -> bool:
        source, perm = self.of(name)
        return source != name or perm != tuple(range(len(perm)))

    def flat(self, name: str) -> tuple[Turned, Reshaping] | None:
        """The transposition and the reshape that it is, if it is one of those."""
        return self._flat.get(name)

    def cheapest(self, names: Iterable[str], rank: int) -> Perm:
        """The order of axes in which the least must be moved to have all of these tensors; their own only if each other
        costs more. Axis i of the model's is axis perm[i] then."""
        names = list(names)
        known = [self.of(name).perm for name in names if self.is_turned(name)]
        candidates = [perm for perm in known if len(perm) == rank]
        return min([*candidates, tuple(range(rank))], key=lambda perm: sum(self._cost(name, perm) for name in names))

    def laid(self, name: str, perm: Perm) -> Tensor:
        """The tensor in this order: axis i of `name` is axis perm[i] of it; one of fewer axes has ones before them."""
        source, order = self._way(name, perm)
        return self.tensor(self._transposed(source, order))

    def made(self, name: str) -> str:
        """The tensor to read instead of `name`: it, once it is made; or one that is the same."""
        if not self.is_turned(name):
            return name
        source, perm = self.of(name)
        return self._transposed(source, perm, name)

    def made_for_output(self, name: str) -> str:
        """As `made`; but an output is computed, even if it is an input as it was."""
        found = self.made(name)
        if found not in self.graph.inputs and not self.tensor(found).is_weight:
            return found
        x = self.tensor(found)
        return self.graph.take(x, [None] * len(x.shape), kind="Copy", name=self.graph.fresh_name(f"{name}/copy")).name

    # -- what they do --------------------------------------------------------------------------------

    def set(self, name: str, source: str, perm: Perm) -> None:
        """`name` is `source`, turned; nothing is computed."""
        self.turned[name] = Turned(source, perm)

    def set_reshaped(self, name: str, turned: Turned, reshaping: Reshaping) -> None:
        """`name` is `turned`, reshaped; if that takes a transposition, it may be that nobody needs it."""
        self._flat[name] = turned, reshaping
        if keeps_order(self.shape(turned.source), reshaping.arrangement):
            self.of(name)

    def keep(self, node: Node) -> None:
        """Append the node as it is, on operands that are made for it."""
        inputs = tuple(None if name is None else self.made(name) for name in node.inputs)
        self._append(replace(node, inputs=inputs))

    def fresh(self, name: str) -> str:
        """The name of what is computed instead of the tensor `name`."""
        return self.graph.fresh_name(f"{name}/turned")

    def reshaped(self, source: str, shape: Sequence[int]) -> str:
        """`source` under another shape: of a weight its values, else a view."""
        x = self.tensor(source)
        if x.shape == tuple(shape):
            return source
        if x.is_weight:
            values = reordered(x.values, shape, range(len(shape)))
            return self.graph.weight(self.graph.fresh_name(f"{x.name}.reshaped"), values, x.dtype).name
        return self.graph.reshape(x, shape, name=self.graph.fresh_name(f"{source}/reshaped")).name

    # -- internals -----------------------------------------------------------------------------------

    def _way(self, name: str, perm: Perm) -> tuple[str, Perm]:
        """What is to be transposed so that axis i of `name` is axis perm[i], and how; axes of one element are added in
        front."""
        source, own = self.of(name)
        if lead := len(perm) - len(own):
            source = self.reshaped(source, (*(1,) * lead, *self.shape(source)))
        return source, order_for(perm, own)

    def _cost(self, name: str, perm: Perm) -> int:
        """The elements that are moved to have `name` in this order."""
        source, own = self.of(name)
        shape, order = self.shape(source), order_for(perm, own)
        free = keeps_order((*(1,) * (len(perm) - len(own)), *shape), order) or self.tensor(source).is_weight
        return 0 if free or (source, order) in self._made else math.prod(shape)

    def _transposed(self, source: str, order: Perm, name: str | None = None) -> str:
        """`source` with its axes in this order, made now if it has not been; called `name`."""
        if order == tuple(range(len(order))):
            return source
        if (source, order) not in self._made:
            self._made[source, order] = self._transpose(self.tensor(source), order, name)
        return self._made[source, order]

    def _transpose(self, x: Tensor, order: Perm, name: str | None) -> str:
        wanted = tuple(x.shape[axis] for axis in order)
        if x.is_weight:
            values = reordered(x.values, x.shape, order)
            return self.graph.weight(self.graph.fresh_name(f"{x.name}.turned"), values, x.dtype).name
        if name is None:
            return self.graph.transpose(x, order, name=self.fresh(x.name)).name
        whole_rows = x.window is None or view_2d(wanted) == view_2d(x.shape)
        attributes: Attributes = TransposeAttributes(order)
        op = "Transpose"
        if keeps_order(x.shape, order) and whole_rows:
            op, attributes = "Reshape", ReshapeAttributes(wanted)
        node = self.graph.fresh_name(f"{name}/{op.lower()}")
        self._append(Node(op, node, (x.name,), (name,), attributes))
        return name

    def _append(self, node: Node) -> None:
        """Append a node whose outputs are known. A window of another tensor may be one of a new one, or none."""
        tensors, operator = self.graph.tensors, SEMANTICS[node.op]
        windows: list[Window | None] = [None] * len(node.outputs)
        if operator.is_view:
            operands = [Operand(x.name, x.shape, x.dtype, x.window) for x in (tensors[name] for name in node.present)]
            found = outcome(operator, operands, node.attributes)
            windows = [each.window for each in found]
        for name, window in zip(node.outputs, windows, strict=True):
            tensors[name] = replace(tensors[name], window=window)
        self.graph.nodes.append(node)
