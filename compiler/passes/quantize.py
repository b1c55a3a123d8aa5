"""Quantisation: a float32 model for a machine that computes in int8.

Symmetric, after training: a float x is represented by the int8 value q nearest to x / s, with s = max |x| / 127. For
weights the maximum is that of their values; for all else it is taken from one evaluation of the model, in double
precision, on its example inputs (`example_inputs`). A matmul of such values,

    y = relu(A B + bias)  is  s_a s_b relu(A_q B_q + bias_q),  bias_q = round(bias / (s_a s_b)) in int32,

leaves the matrix unit as y_q = saturate(round(sums x s_a s_b / s_y)). Relu, maxima, views and movements keep the scale
of what they are given, and what is concatenated has one. (B. Jacob et al., CVPR 2018, have the scheme; theirs has zero
points, which are 0 here.) The filters of a grouped convolution have a scale each: its sums stay int32, and the vector
unit requantises them, with a factor for each column. So do all constant filters and matrices where the machine's
``compiler.weight_scales`` says so.

What integers do not have is computed in float32 by the vector unit, between a Rescale from int8 and one to int8: a
residual, sigmoid and its like, averages, softmax. `quantising.py` has the plan.

It comes after fusion, because a scale belongs to what leaves the matrix unit: behind the bias and the relu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import CastAttributes, EpilogueAttributes, MatMulAttributes
from minisim.compiler.dtypes import FLOATS8, HELD_AS, quantize
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.epilogue import BIAS
from minisim.compiler.quantising import Plan, is_float, multiplies, separated, without_clips
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.values import mapped
from minisim.errors import ModelError

LEVELS = 127
"""The levels of each sign: int8 without -128."""

Scale = float | npt.NDArray[np.float64]
"""What one unit stands for; of filters there may be one for each."""


@dataclass(frozen=True)
class Quantize:
    """Graph -> Graph. What is float32 becomes int8 where integers compute with it; what the model itself declares in
    another type stays.

    Args:
        numerics: whether anybody computes with the result. If not, nothing is evaluated, and all scales are 1: time
            does not depend on them.
        channels: whether each column of a constant matrix, and each filter, has a scale of its own.

    Raises:
        ModelError: a value is not finite; or rows are kept in fewer bits with scales of their own.
    """

    numerics: bool = True
    channels: bool = False
    name: str = "quantize"

    def apply(self, graph: Graph) -> Graph:
        _check_kept(graph)
        apart = separated(graph)
        values = apart.evaluate(example_inputs(graph)) if self.numerics else None
        return _Quantizer(without_clips(apart), values, self.channels).run()


def _check_kept(graph: Graph) -> None:
    """What a model keeps in fewer bits would have scales twice."""
    states = (tensor for tensor in graph.tensors.values() if tensor.held is not None)
    kept = [f"state {tensor.name!r}" for tensor in states if tensor.scales or tensor.dtype in FLOATS8]
    kept += [f"node {node.name!r}" for node in graph.nodes if node.op == "RowScales"]
    if kept:
        raise ModelError(
            f"model {graph.name!r}: {kept[0]} keeps floats in fewer bits (kv_type, heads); a machine that quantises "
            f"(matrix.dtype int8) keeps all states in int8, with one scale each"
        )


class _Quantizer:
    """One walk over the nodes; each finds its operands in the form that it reads, or has them converted before it."""

    def __init__(self, graph: Graph, values: Mapping[str, npt.NDArray[Any]] | None, channels: bool) -> None:
        self.graph = graph
        self.plan = Plan(graph, channels)
        self.result = graph.anew()
        self.result.inputs, self.result.outputs = list(graph.inputs), dict(graph.outputs)
        self.values = values
        self.names = {node.name for node in graph.nodes}
        self.scales: dict[str, float] = {}
        self.whole: dict[str, str] = {}  # of each tensor the name of its int8 form, as soon as it is there

    def run(self) -> Graph:
        for name in self.graph.inputs:
            self._given(name)
        for node in self.graph.nodes:
            if not is_float(node, self.graph):
                self._as_it_is(node)
            elif node.name not in self.plan.integer_nodes:
                self._float_node(node)
            elif multiplies(node):
                self._matmul(node)
            else:
                self._same_unit(node)
        return self.result

    # -- nodes ---------------------------------------------------------------------------------------

    def _as_it_is(self, node: Node) -> None:
        for name in (*node.present, *node.outputs):
            self._plain(name)
        self.result.nodes.append(node)

    def _float_node(self, node: Node) -> None:
        """In float32; what it makes is quantised at once if integers read it."""
        view = SEMANTICS[node.op].is_view
        inputs = tuple(name and (self._plain(name) if view else self._float(name, node)) for name in node.inputs)
        for name in node.outputs:
            self._plain(name)
        self.result.nodes.append(replace(node, inputs=inputs))
        for name in node.outputs:
            if name in self.plan.needed:
                self._whole(name)

    def _same_unit(self, node: Node) -> None:
        inputs = tuple(name and self._whole(name) for name in node.inputs)
        for name in node.outputs:
            self._quantised(name, name, self._scale(name))
        self.result.nodes.append(replace(node, inputs=inputs))

    def _matmul(self, node: Node) -> None:
        a, b = node.present[:2]
        by_channel = self.plan.by_channel(node)
        attributes = node.attributes_as(EpilogueAttributes)
        lies = isinstance(attributes, MatMulAttributes) and attributes.transpose_b  # channels are rows, then
        of_b: Scale = self._scale_of_channels(b, lies) if by_channel else self._scale(b)
        product = self._scale(a) * of_b
        inputs = [self._whole(a), self._channels(b, of_b, lies) if by_channel else self._whole(b)]
        if (bias := node.operand(BIAS)) is not None:
            inputs.append(self._bias(bias, product))
        scale = self._scale(node.output)
        factor = np.asarray(product / scale, np.float32)
        if not by_channel:
            self._quantised(node.output, node.output, scale)
            attributes = replace(attributes, scale=float(factor))
            self.result.nodes.append(replace(node, inputs=tuple(inputs), attributes=attributes))
            return
        sums = self._tensor(node.output, "sums", "int32")
        self.result.nodes.append(replace(node, name=sums, inputs=tuple(inputs), outputs=(sums,)))
        self._quantised(node.output, node.output, scale)
        self._rescale(sums, factor.reshape(1, -1), node.output, "int8")

    # -- tensors, in the forms that nodes read ---------------------------------------------------------

    def _given(self, name: str) -> None:
        """An input: int8 if integers read it."""
        if name in self.plan.whole:
            self._quantised(name, name, self._scale(name))
        else:
            self._plain(name)

    def _plain(self, name: str) -> str:
        """The tensor as it is; its name."""
        if name not in self.result.tensors:
            self.result.tensors[name] = replace(self.graph.tensors[name], graph=self.result)
        return name

    def _whole(self, name: str) -> str:
        """The int8 form of a tensor; one that a float operation made is quantised here."""
        if name in self.whole:
            return self.whole[name]
        tensor = self.graph.tensors[name]
        if tensor.is_weight:
            apart = any(name in node.present for node in self.graph.nodes if node.name not in self.plan.integer_nodes)
            return self._quantised(name, self._fresh(name, "int8") if apart else name, self._scale(name))
        found = self._quantised(name, self._fresh(name, "int8"), self._scale(name))
        self._rescale(name, np.float32(1 / self._scale(name)), found, "int8")
        return found

    def _float(self, name: str, reader: Node) -> str:
        """The float32 form of a tensor, for one node: of one that lies in memory as int8 it is made of that."""
        tensor = self.graph.tensors[name]
        if tensor.dtype != "float32" or tensor.is_weight or name not in self.plan.needed:
            return self._plain(name)
        found = self._tensor(name, "float", "float32")
        self._rescale(self._whole(name), np.float32(self._scale(name)), found, "float32")
        return found

    def _quantised(self, name: str, form: str, scale: float) -> str:
        tensor = self.graph.tensors[name]
        values = mapped(tensor.values, partial(quantize, scale=scale))
        window = tensor.window if form == name else None
        self.result.tensors[form] = replace(
            tensor, graph=self.result, name=form, values=values, dtype="int8", scale=scale, window=window
        )
        self.whole[name] = form
        return form

    def _channels(self, name: str, scale: Scale, lies: bool) -> str:
        """A weight with a scale for each column, or row if it `lies`, for one node."""
        tensor = self.graph.tensors[name]
        form = name if name not in self.result.tensors and name not in self.whole else self._fresh(name, "int8")
        values = mapped(tensor.values, partial(quantize, scale=np.reshape(scale, (-1, 1)) if lies else scale))
        self.result.tensors[form] = replace(tensor, graph=self.result, name=form, values=values, dtype="int8")
        return form

    def _bias(self, bias: str, scale: Scale) -> str:
        """A weight with the values of `bias` in units of `scale`; its name."""
        taken = {*self.result.tensors, *(self.graph.tensors.keys() - {bias})}
        name = next(n for i in range(len(taken) + 1) if (n := f"{bias}.{i}" if i else bias) not in taken)
        original = self.graph.tensors[bias]
        values = mapped(original.values, partial(_in_units, scale=scale))
        unit = scale if isinstance(scale, float) else None
        self.result.tensors[name] = replace(
            original, graph=self.result, name=name, values=values, dtype="int32", scale=unit, is_weight=True
        )
        return name

    def _tensor(self, like: str, what: str, dtype: str) -> str:
        """A new tensor of the shape of one of the graph's; its name."""
        name = self._fresh(like, what)
        of = replace(self.graph.tensors[like], graph=self.result, name=name, values=None, dtype=dtype, scale=None)
        self.result.tensors[name] = replace(of, is_weight=False, window=None)
        return name

    def _fresh(self, name: str, what: str) -> str:
        taken = {*self.result.tensors, *self.graph.tensors}
        names = (f"{name}/{what}{i or ''}" for i in range(len(taken) + 1))
        return next(n for n in names if n not in taken)

    def _rescale(self, source: str, factor: npt.NDArray[np.float32] | np.float32, target: str, dtype: str) -> None:
        weight = self.result.weight(self._fresh(target, "factor"), np.asarray(factor, np.float32))
        name = self._fresh(target, "requantised") if target in self.names else target  # of a convolution's own output
        self.result.nodes.append(Node("Rescale", name, (source, weight.name), (target,), CastAttributes(dtype)))

    # -- scales ----------------------------------------------------------------------------------------

    def _scale(self, name: str) -> float:
        """max |x| / 127 of all tensors that have one unit with this; 1 if all are 0, or nobody computes with them."""
        if name not in self.scales:
            alike = self.plan.alike(name)
            scale = max(self._largest(each) for each in alike) / LEVELS or 1.0
            self.scales.update(dict.fromkeys(alike, scale))
        return self.scales[name]

    def _largest(self, name: str) -> float:
        if self.values is None:
            return float(LEVELS)
        largest = float(np.abs(self.values[name]).max())
        if not np.isfinite(largest):
            raise ModelError(f"model {self.graph.name!r}: tensor {name!r} has values that int8 cannot scale: {largest}")
        return largest

    def _scale_of_channels(self, name: str, lies: bool) -> npt.NDArray[np.float64]:
        """The same of each column of a weight (k, channels); or of each row, if it `lies`."""
        if self.values is None:
            return np.ones(self.graph.tensors[name].shape[0 if lies else -1])
        self._largest(name)
        greatest = np.abs(self.values[name]).max(axis=1 if lies else 0)
        return np.where(greatest > 0, greatest / LEVELS, 1.0)


def _in_units(bias: npt.NDArray[Any], scale: Scale) -> npt.NDArray[np.int32]:
    """A bias in units of `scale`; beyond int32 it saturates."""
    limits = np.iinfo(HELD_AS["int32"])
    return (
        np.clip(np.rint(bias.reshape(-1).astype(np.float64) / scale), limits.min, limits.max)
        .astype(np.int32)
        .reshape(bias.shape)
    )
