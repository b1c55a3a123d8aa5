"""Nodes of ONNX that have a graph inside: If of a known condition, Loop and Scan of a known number of trips.

What is inside stands in their place: of an If one branch, of a loop its body, once for each trip.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from minisim.compiler.arguments import checked_axes
from minisim.compiler.frontend.onnx_constants import Constant, initializer
from minisim.compiler.frontend.onnx_nodes import library, plain_nodes
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.memory import Budget
from minisim.compiler.ops.base import OnnxNode
from minisim.errors import ModelError, ShapeError, UnsupportedError

MOST_TRIPS = 1 << 12
"""The trips of a loop that are unrolled."""

MOST_BODIES = 1 << 14
"""The bodies of a file that are put in place, in all: those of loops in loops multiply."""

Value = Constant | Tensor | None
"""What a value of the file is; None if it is lost."""

WITH_BODIES = ("If", "Loop", "Scan")


class Bodies(ABC):
    """What the import of a file has from here; the attributes are its own."""

    graph: Graph
    _folder: Path
    _budget: Budget
    _numerics: bool
    _constants: dict[str, Constant]
    _tensors: dict[str, Tensor]
    _lost: set[str]
    _of_bound: set[str]
    _wide: set[str]
    _used: set[str]
    _bodies: int = 0

    @abstractmethod
    def _add_node(self, proto: onnx.NodeProto, node: OnnxNode) -> None:
        """Import a node, or note why not."""

    @abstractmethod
    def value(self, name: str) -> Tensor:
        """The graph's tensor for a value."""

    def _inline(self, node: OnnxNode) -> None:
        """Put what is inside in the place of the node.

        Raises:
            UnsupportedError: how often it is to be computed is not known.
        """
        {"If": self._choose, "Loop": self._unroll_loop, "Scan": self._unroll_scan}[node.op_type](node)

    def _choose(self, node: OnnxNode) -> None:
        """An If whose condition is known is the one branch."""
        if not node.inputs or (condition := self._known(node.inputs[0])) is None:
            raise UnsupportedError("a condition that is computed at run time is not supported")
        body: onnx.GraphProto = node.attrs["then_branch" if condition else "else_branch"]
        found = self._add_body(body, [], "")
        for outer, value in zip(node.outputs, found, strict=False):
            self._define(outer, value)

    def _unroll_loop(self, node: OnnxNode) -> None:
        trips, condition, *names = (*node.inputs, "", "") if len(node.inputs) < 2 else node.inputs
        most, goes_on = self._known(trips), self._known(condition)
        if (trips and most is None) or (condition and goes_on is None):
            raise UnsupportedError("a number of trips that is computed at run time is not supported")
        body: onnx.GraphProto = node.attrs["body"]
        state, rows, at = [self._value(name) for name in names], list[list[Value]](), 0
        going = condition == "" or bool(goes_on)
        while going and (most is None or at < most):
            if at == MOST_TRIPS:
                raise UnsupportedError(f"up to {MOST_TRIPS} trips are unrolled, not more")
            fixed = [Constant(np.dtype(np.int64), np.array(at, np.int64)), Constant(np.dtype(bool), np.array(True))]
            goes, *found = self._add_body(body, [*fixed, *state], f"{node.name}/{at}/")
            if goes is not None and not isinstance(goes, Constant):
                raise UnsupportedError("a condition that is computed at run time is not supported")
            if goes is None or any(value is None for value in found):
                self._lost.update(node.outputs)
                return
            going = bool(goes.array().reshape(-1)[0])
            state, at = found[: len(names)], at + 1
            rows.append(found[len(names) :])
        stacked = [self._stacked(list(each), 0, f"{node.name}/rows") for each in zip(*rows, strict=True)]
        missing = len(node.outputs) - len(state) - len(stacked)
        if missing > 0:
            raise UnsupportedError("a loop of no trips has no rows")
        for outer, value in zip(node.outputs, [*state, *stacked], strict=False):
            self._define(outer, value)

    def _unroll_scan(self, node: OnnxNode) -> None:
        body: onnx.GraphProto = node.attrs["body"]
        count = int(node.attrs["num_scan_inputs"])
        if len(node.inputs) != len(body.input) or not 0 < count <= len(node.inputs):
            raise UnsupportedError("a Scan is supported as opset 9 and later ones have it, with a value for each input")
        states = len(node.inputs) - count
        columns = [
            self._pieces(name, axis, backward)
            for name, axis, backward in zip(
                node.inputs[states:], *self._ways(node, "scan_input", count), strict=True
            )
        ]  # fmt: skip
        if len({len(each) for each in columns}) > 1:
            raise ShapeError("what is scanned must be of one length")
        state, rows = [self._value(name) for name in node.inputs[:states]], list[list[Value]]()
        for at, pieces in enumerate(zip(*columns, strict=True)):
            found = self._add_body(body, [*state, *pieces], f"{node.name}/{at}/")
            if any(value is None for value in found):
                self._lost.update(node.outputs)
                return
            state = found[:states]
            rows.append(found[states:])
        axes, ways = self._ways(node, "scan_output", len(body.output) - states)
        stacked = [
            self._stacked(list(each)[::-1] if backward else list(each), axis, f"{node.name}/rows")
            for each, axis, backward in zip(zip(*rows, strict=True), axes, ways, strict=True)
        ]
        for outer, value in zip(node.outputs, [*state, *stacked], strict=False):
            self._define(outer, value)

    # -- values --------------------------------------------------------------------------------------

    def _known(self, name: str) -> int | None:
        """The one number that a value is, if it is a constant."""
        constant = self._constants.get(name)
        if constant is None or math.prod(constant.shape) != 1:
            return None
        return int(constant.array().reshape(-1)[0])

    def _value(self, name: str) -> Value:
        if name in self._lost:
            return None
        if name in self._constants:
            return self._constants[name]
        if name not in self._tensors:
            raise ModelError(f"operand {name!r} is missing")
        return self._tensors[name]

    def _define(self, name: str, value: Value) -> None:
        if isinstance(value, Constant):
            self._constants[name] = value
        elif value is not None:
            self._tensors[name] = value
        else:
            self._lost.add(name)

    def _add_body(self, body: onnx.GraphProto, given: Sequence[Value], prefix: str) -> list[Value]:
        """Import what is inside, of these inputs, and return its outputs.

        Raises:
            UnsupportedError: an input of it is an int64 that is computed.
        """
        self._bodies += 1
        if self._bodies > MOST_BODIES:
            raise UnsupportedError(f"up to {MOST_BODIES} trips of all loops are unrolled, not more")
        for name in _defined(body):  # what it was in another trip
            for held in (self._constants, self._tensors):
                held.pop(name, None)
            for names in (self._lost, self._of_bound, self._wide):
                names.discard(name)
        if len(given) != len(body.input):
            raise ModelError(f"its body must have {len(given)} inputs, not {len(body.input)}")
        for info, value in zip(body.input, given, strict=True):
            self._define(info.name, value)
        self._used |= {name for inner in body.node for name in inner.input} | {info.name for info in body.output}
        with library("its initializers cannot be read"):
            for tensor in body.initializer:
                self._constants[tensor.name] = initializer(tensor, self._folder, self._budget, self._numerics)
        for proto, inner in zip(body.node, plain_nodes(body), strict=True):
            self._add_node(proto, replace(inner, name=prefix + inner.name))
        return [self._value(info.name) for info in body.output]

    def _ways(self, node: OnnxNode, what: str, count: int) -> tuple[list[int], list[bool]]:
        """The axis of each, and whether it is walked backward."""
        axes = [int(axis) for axis in node.attrs.get(f"{what}_axes", [0] * count)]
        ways = [bool(way) for way in node.attrs.get(f"{what}_directions", [0] * count)]
        if not len(axes) == len(ways) == count:
            raise ShapeError(f"{what}_axes and {what}_directions must be {count} numbers")
        return axes, ways

    def _pieces(self, name: str, axis: int, backward: bool) -> list[Value]:
        """What each trip gets of a value that is scanned, in the order of the trips."""
        whole = self._value(name)
        if whole is None:
            raise UnsupportedError("what it scans is not supported")
        (axis,) = checked_axes(whole.shape, axis) or (0,)
        count = whole.shape[axis]
        if count > MOST_TRIPS:
            raise UnsupportedError(f"up to {MOST_TRIPS} trips are unrolled, not {count}")
        pieces: list[Value]
        if isinstance(whole, Constant):
            array = whole.array()
            pieces = [Constant(whole.dtype, array.take(i, axis)) for i in range(count)]
        else:
            shape = (*whole.shape[:axis], *whole.shape[axis + 1 :])
            cut = [whole] if count == 1 else self.graph.split(whole, count, axis=axis)
            pieces = [self.graph.reshape(each, shape) for each in cut]
        return pieces[::-1] if backward else pieces

    def _stacked(self, rows: list[Value], axis: int, name: str) -> Value:
        """The rows as one value, along a new axis."""
        if any(row is None for row in rows):
            return None
        if all(isinstance(row, Constant) for row in rows):
            array = np.stack([row.array() for row in rows if isinstance(row, Constant)], axis)
            return Constant(array.dtype, array)
        tensors = [self._as_tensor(row, name) for row in rows if row is not None]
        (axis,) = checked_axes((1, *tensors[0].shape), axis)
        shape = (*tensors[0].shape[:axis], 1, *tensors[0].shape[axis:])
        apart = [self.graph.reshape(x, shape) for x in tensors]
        return apart[0] if len(apart) == 1 else self.graph.concat(apart, axis, name=self.graph.fresh_name(name))

    def _as_tensor(self, value: Constant | Tensor, name: str) -> Tensor:
        if isinstance(value, Tensor):
            return value
        name = self.graph.fresh_name(name)
        self._constants[name] = value
        return self.value(name)


def _defined(body: onnx.GraphProto) -> Iterator[str]:
    """The names of all values that a graph defines, and those inside its nodes."""
    yield from (info.name for info in body.input)
    yield from (tensor.name for tensor in body.initializer)
    for node in body.node:
        yield from node.output
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _defined(attribute.g)
