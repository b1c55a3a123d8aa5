"""Random ONNX models of all supported operators mean what ONNX Runtime says they mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from minisim.compiler.frontend import load_model
from minisim.compiler.ops import ONNX_IMPORTERS
from minisim.compiler.ops.reduce import REDUCTIONS

Shape = tuple[int, ...]
Draw = st.DataObject

NEWEST_OPSET = onnx.defs.onnx_opset_version()
DIMENSIONS = st.integers(1, 6)
FACTORS = st.sampled_from([0.0, 1.0, 0.5, -2.0])


class Builder:
    """An ONNX model in the making. Each method named after an operator adds one node of it, to operands
    it draws: values that are there, new inputs, initializers and Constant nodes."""

    def __init__(self, data: Draw) -> None:
        self.data = data
        self.opset: int = data.draw(st.integers(9, NEWEST_OPSET), label="opset")
        self.rng = np.random.default_rng(data.draw(st.integers(0, 999), label="seed"))
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, npt.NDArray[Any]] = {}
        self.inputs: dict[str, Shape] = {}
        self.shapes: dict[str, Shape] = {}  # of all that is computed, inputs included
        self.new_input(tuple(data.draw(st.lists(DIMENSIONS, min_size=1, max_size=3), label="first input")))

    # -- operands --------------------------------------------------------------------------------------

    def new_input(self, shape: Shape) -> str:
        name = f"onnx::in:{len(self.inputs)}"
        self.inputs[name] = self.shapes[name] = shape
        return name

    def constant(self, values: npt.NDArray[Any]) -> str:
        name = f"const.{len(self.initializers) + len(self.nodes)}"
        if self.data.draw(st.booleans(), label="as a Constant node"):
            self.nodes.append(make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(values)))
        else:
            self.initializers[name] = values
        return name

    def operand(self, shape: Shape) -> str:
        """A value of this shape: computed if there is one, else an input, or a constant."""
        match self.data.draw(st.sampled_from(["computed", "input", "constant"]), label="operand"):
            case "computed" if same := [n for n, s in self.shapes.items() if s == shape]:
                return self.data.draw(st.sampled_from(same))
            case "constant":
                return self.constant(self.rng.standard_normal(shape).astype(np.float32))
        return self.new_input(shape)

    def computed(self, ranks: tuple[int, ...] = (0, 1, 2, 3)) -> str:
        fitting = [n for n, s in self.shapes.items() if len(s) in ranks]
        if fitting:
            return self.data.draw(st.sampled_from(fitting))
        return self.new_input(tuple(self.draw(DIMENSIONS) for _ in range(max(ranks))))

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def node(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> None:
        output = f"out/{len(self.nodes)}"
        name = self.draw(st.sampled_from(["", f"{op}_{len(self.nodes)}"]))
        self.nodes.append(make_node(op, inputs, [output], name=name, **attributes))
        self.shapes[output] = shape

    # -- operators -------------------------------------------------------------------------------------

    def relu(self) -> None:
        x = self.computed()
        self.node("Relu", [x], self.shapes[x])

    def sigmoid(self) -> None:
        x = self.computed()
        self.node("Sigmoid", [x], self.shapes[x])

    def identity(self) -> None:
        x = self.computed()
        self.node("Identity", [x], self.shapes[x])

    def dropout(self) -> None:
        x = self.computed()
        self.node("Dropout", [x], self.shapes[x])

    def add(self) -> None:
        self.binary("Add")

    def mul(self) -> None:
        self.binary("Mul")

    def binary(self, op: str) -> None:
        """The other operand is of any rank; each dimension of either may be 1 where the other's is not."""
        x = self.computed()
        shape = self.shapes[x]
        other = tuple(
            self.draw(st.sampled_from([1, d] if d > 1 else [1, 2]))
            for d in shape[self.draw(st.integers(0, len(shape))) :]
        )
        if len(other) == len(shape) < 3 and self.draw(st.booleans()):
            other = (self.draw(st.integers(1, 3)), *other)
        operands = self.draw(st.permutations([x, self.operand(other)]))
        self.node(op, operands, np.broadcast_shapes(shape, other))

    def sub(self) -> None:
        self.binary("Sub")

    def max(self) -> None:
        self.binary("Max")

    def div(self) -> None:
        """By a constant from 1 to 2: what is nearly 0 would magnify the rounding errors of either side."""
        x = self.computed()
        shape = self.draw(st.sampled_from([self.shapes[x], (), (1,)]))
        divisor = self.constant(self.rng.uniform(1, 2, shape).astype(np.float32))
        self.node("Div", [x, divisor], np.broadcast_shapes(self.shapes[x], shape))

    def pow(self) -> None:
        x = self.bounded()
        exponent = self.constant(np.array(2, np.float32))
        self.node("Pow", [x, exponent], self.shapes[x])

    def bounded(self, ranks: tuple[int, ...] = (0, 1, 2, 3)) -> str:
        """A value between 0 and 1: what comes out of long chains may be too large for the function to come."""
        x = self.computed(ranks)
        self.node("Sigmoid", [x], self.shapes[x])
        return self.nodes[-1].output[0]

    def exp(self) -> None:
        x = self.bounded()
        self.node("Exp", [x], self.shapes[x])

    def sqrt(self) -> None:
        x = self.bounded()
        self.node("Sqrt", [x], self.shapes[x])

    def softmax(self) -> None:
        self.normalised("Softmax")

    def log_softmax(self) -> None:
        self.normalised("LogSoftmax")

    def normalised(self, op: str) -> None:
        """Along any axis; before opset 13 from any axis on, and the default is another."""
        x = self.bounded(ranks=(1, 2, 3))
        rank = len(self.shapes[x])
        default = -1 if self.opset >= 13 else 1
        axes = list(range(rank)) + [-1] * (self.opset >= 11)
        unsaid = default < rank and self.draw(st.booleans())
        attributes = {} if unsaid else {"axis": self.draw(st.sampled_from(axes))}
        self.node(op, [x], self.shapes[x], **attributes)

    def layer_norm(self) -> None:
        if self.opset < 17:
            self.relu()
            return
        x = self.bounded(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis = self.draw(st.integers(0, len(shape) - 1))
        inputs = [x] + [self.operand(shape[axis:]) for _ in range(self.draw(st.integers(1, 2)))]
        attributes: dict[str, int] = self.draw(
            st.sampled_from([{"axis": axis}, {"axis": axis - len(shape), "stash_type": 1}])
        )
        if axis == len(shape) - 1 and self.draw(st.booleans()):
            del attributes["axis"]
        self.node("LayerNormalization", inputs, shape, epsilon=0.5, **attributes)

    def rms_norm(self) -> None:
        if self.opset < 23:
            self.relu()
            return
        x = self.bounded(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis = self.draw(st.integers(0, len(shape) - 1))
        self.node("RMSNormalization", [x, self.operand(shape[axis:])], shape, axis=axis, epsilon=0.5)

    def reduction(self, op: str) -> None:
        """Over any axes, in any order, or all."""
        positive = op in ("ReduceLogSum", "ReduceL2")  # where what is near 0 would magnify the errors of either side
        x = self.bounded(ranks=(1, 2, 3)) if positive else self.computed(ranks=(1, 2, 3))
        shape, inputs, attributes = self.shapes[x], [x], {}
        rank, all_axes = len(shape), self.draw(st.integers(0, 4)) == 0
        chosen = self.draw(st.lists(st.integers(0, rank - 1), min_size=1, unique=True))
        chosen = list(range(rank)) if all_axes else chosen
        axes = [a - rank * (self.opset >= 11 and self.draw(st.booleans())) for a in chosen]
        if all_axes:
            pass  # without a word
        elif self.opset >= (13 if op == "ReduceSum" else 18):
            inputs.append(self.constant(np.array(self.draw(st.permutations(axes)), np.int64)))
        else:
            attributes["axes"] = self.draw(st.permutations(axes))
        keeps = self.draw(st.booleans())
        if not keeps or self.draw(st.booleans()):
            attributes["keepdims"] = int(keeps)
        kept = tuple(1 if i in chosen else d for i, d in enumerate(shape) if keeps or i not in chosen)
        self.node(op, inputs, kept, **attributes)

    def matmul(self) -> None:
        """Of any ranks: vectors, matrices, and batches of them that are broadcast against each other."""
        a = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[a]
        lead, k, n = shape[:-2], shape[-1], self.draw(DIMENSIONS)
        batch = self.draw(st.sampled_from([(), (), (1,), (2, *(1 for _ in lead)), lead]))
        other = self.draw(st.sampled_from([(k,), (*batch, k, n)]))
        inputs, shapes = [a, self.operand(other)], [shape, other]
        if self.draw(st.booleans()):
            inputs = [self.operand(shape), self.new_input(other)]  # two constants would be folded
        elif len(shape) > 1 and self.draw(st.booleans()):  # a on the right
            other = self.draw(st.sampled_from([shape[-2:-1], (*batch, n, shape[-2])]))
            inputs, shapes = [self.operand(other), a], [other, shape]
        self.node("MatMul", inputs, np.matmul(*(np.zeros(s) for s in shapes)).shape)

    def gemm(self) -> None:
        transpose_a, transpose_b = self.draw(st.booleans()), self.draw(st.booleans())
        a = self.computed(ranks=(2,))
        m, depth = self.shapes[a][::-1] if transpose_a else self.shapes[a]
        n = self.draw(DIMENSIONS)
        inputs = [a, self.operand((n, depth) if transpose_b else (depth, n))]
        if self.opset < 11 or self.draw(st.booleans()):
            inputs.append(self.operand(self.draw(st.sampled_from([(), (1,), (n,), (1, n), (m, 1), (1, 1), (m, n)]))))
        elif self.draw(st.booleans()):
            inputs.append("")
        defaults = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}
        wanted = {"transA": int(transpose_a), "transB": int(transpose_b)}
        wanted |= {"alpha": self.draw(FACTORS), "beta": self.draw(FACTORS)}
        attributes = {k: v for k, v in wanted.items() if v != defaults[k] or self.draw(st.booleans())}
        self.node("Gemm", inputs, (m, n), **attributes)

    def split(self) -> None:
        """Along any axis, in every way to say into what: sizes, or only how many outputs."""
        x = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis = self.draw(st.sampled_from([*range(len(shape))] + [-1] * (self.opset >= 11)))
        length = shape[axis]
        first = self.draw(st.integers(1, max(1, length - 1)))
        sizes = [first, length - first] if length > 1 else [1]
        inputs, attributes = [x], {"axis": axis}
        if self.opset >= 18 and len(sizes) == 2 and first - (length - first) in (0, 1) and self.draw(st.booleans()):
            attributes["num_outputs"] = 2
        elif len(set(sizes)) > 1 or self.opset >= 18 or self.draw(st.booleans()):
            if self.opset >= 13:
                inputs.append(self.constant(np.array(sizes, np.int64)))
            else:
                attributes["split"] = sizes
        outputs = [f"piece/{len(self.nodes)}.{i}" for i in range(len(sizes))]
        self.nodes.append(make_node("Split", inputs, outputs, **attributes))
        for output, size in zip(outputs, sizes, strict=True):
            self.shapes[output] = tuple(size if i == axis % len(shape) else d for i, d in enumerate(shape))

    def flatten(self) -> None:
        x = self.computed()
        shape = self.shapes[x]
        lowest = 0 if self.opset < 11 else -len(shape)
        axis = self.draw(st.integers(lowest, len(shape)))
        default = {} if axis == 1 and self.draw(st.booleans()) else {"axis": axis}
        self.node("Flatten", [x], (math.prod(shape[:axis]), math.prod(shape[axis:])), **default)

    def reshape(self) -> None:
        x = self.computed()
        shape = self.shapes[x]
        size = math.prod(shape)
        first = self.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        target = self.draw(st.sampled_from([(first, size // first), (size,), (1, first, size // first), shape]))
        wanted = [
            0 if i < len(shape) and shape[i] == d and self.draw(st.booleans()) else d for i, d in enumerate(target)
        ]
        if wanted and self.draw(st.booleans()):
            wanted[self.draw(st.integers(0, len(wanted) - 1))] = -1
        self.node("Reshape", [x, self.constant(np.array(wanted, np.int64))], tuple(target))

    def listed(self, values: Any, inputs: list[str], attribute: str, since: int) -> dict[str, Any]:
        """Numbers that were an attribute, and are an operand since some opset: appended to `inputs`, or returned."""
        if self.opset < since:
            return {attribute: list(values)}
        inputs.append(self.constant(np.array(list(values), np.int64)))
        return {}

    def transpose(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[x]
        perm = self.draw(st.permutations(range(len(shape))))
        reverses = perm == list(range(len(shape)))[::-1] and self.draw(st.booleans())
        self.node("Transpose", [x], tuple(shape[i] for i in perm), **({} if reverses else {"perm": perm}))

    def concat(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis, size = self.draw(st.integers(0, len(shape) - 1)), self.draw(DIMENSIONS)
        other = self.operand((*shape[:axis], size, *shape[axis + 1 :]))
        inputs = self.draw(st.sampled_from([[x], [x, other], [other, x, x]]))
        whole = sum(self.shapes.get(i, (*shape[:axis], size, *shape[axis + 1 :]))[axis] for i in inputs)
        written = axis - len(shape) * (self.opset >= 11 and self.draw(st.booleans()))
        self.node("Concat", inputs, (*shape[:axis], whole, *shape[axis + 1 :]), axis=written)

    def slice(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis = self.draw(st.integers(0, len(shape) - 1))
        d = shape[axis]
        step = self.draw(st.sampled_from([1, 1, 2, -1])) if self.opset >= 10 else 1
        start = self.draw(st.integers(0, d - 1)) if step > 0 else d - 1
        end = self.draw(st.integers(start + 1, d + 2)) if step > 0 else -d - 1
        inputs, given = [x], {}
        given |= self.listed([start - d * self.draw(st.booleans())], inputs, "starts", 10)
        given |= self.listed([end], inputs, "ends", 10)
        given |= self.listed([axis], inputs, "axes", 10)
        if self.opset >= 10 and (step != 1 or self.draw(st.booleans())):
            inputs.append(self.constant(np.array([step], np.int64)))
        size = len(range(d)[start:end:step])
        self.node("Slice", inputs, (*shape[:axis], size, *shape[axis + 1 :]), **given)

    def pad(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape, mode = self.shapes[x], self.draw(st.sampled_from(["constant", "edge", "reflect"]))
        most = [d - 1 if mode == "reflect" else 2 for d in shape]
        before, behind = ([self.draw(st.integers(0, m)) for m in most] for _ in range(2))
        inputs = [x]
        given = {"mode": mode, **self.listed(before + behind, inputs, "pads", 11)}
        if mode == "constant" and self.draw(st.booleans()):
            if self.opset >= 11:
                inputs.append(self.constant(np.array(-1.5, np.float32)))
            else:
                given["value"] = -1.5
        self.node("Pad", inputs, tuple(a + d + b for a, d, b in zip(before, shape, behind, strict=True)), **given)

    def expand(self) -> None:
        x = self.computed()
        shape = tuple(self.draw(DIMENSIONS) if d == 1 else self.draw(st.sampled_from([1, d])) for d in self.shapes[x])
        shape = (2, *shape) if len(shape) < 3 and self.draw(st.booleans()) else shape
        inputs = [x, self.constant(np.array(shape, np.int64))]
        self.node("Expand", inputs, np.broadcast_shapes(shape, self.shapes[x]))

    def tile(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        repeats = [self.draw(st.sampled_from([1, 1, 2, 3])) for _ in self.shapes[x]]
        inputs = [x, self.constant(np.array(repeats, np.int64))]
        self.node("Tile", inputs, tuple(a * b for a, b in zip(self.shapes[x], repeats, strict=True)))

    def gather(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape = self.shapes[x]
        axis = self.draw(st.integers(0, len(shape) - 1))
        lowest = 0 if self.opset < 11 else -shape[axis]
        of = self.draw(st.sampled_from([(), (1,), (4,), (2, 2)] if len(shape) < 3 else [(), (1,), (3,)]))
        count = math.prod(of)
        numbers = self.draw(st.lists(st.integers(lowest, shape[axis] - 1), min_size=count, max_size=count))
        inputs = [x, self.constant(np.array(numbers, np.int64).reshape(of))]
        self.node("Gather", inputs, (*shape[:axis], *of, *shape[axis + 1 :]), axis=axis)

    def squeeze(self) -> None:
        x = self.computed(ranks=(1, 2, 3))
        shape, inputs, given = self.shapes[x], [x], {}
        axes = [i for i, d in enumerate(shape) if d == 1]
        if len(axes) < 1:
            self.relu()
            return
        if self.draw(st.booleans()):
            axes = axes[:1]
            given = self.listed(axes, inputs, "axes", 13)
        self.node("Squeeze", inputs, tuple(d for i, d in enumerate(shape) if i not in axes), **given)

    def unsqueeze(self) -> None:
        x = self.computed(ranks=(0, 1, 2))
        shape, inputs = self.shapes[x], [x]
        axis = self.draw(st.integers(0, len(shape)))
        given = self.listed([axis], inputs, "axes", 13)
        self.node("Unsqueeze", inputs, (*shape[:axis], 1, *shape[axis:]), **given)

    def blocks(self, op: str) -> None:
        n, c, h, w = (self.draw(st.integers(1, 2)) for _ in range(4))
        deep, wide = (n, 4 * c, h, w), (n, c, 2 * h, 2 * w)
        given = {"blocksize": 2}
        if op == "DepthToSpace" and self.opset >= 11 and self.draw(st.booleans()):
            given["mode"] = self.draw(st.sampled_from(["DCR", "CRD"]))
        shape, found = (deep, wide) if op == "DepthToSpace" else (wide, deep)
        self.node(op, [self.new_input(shape)], found, **given)

    def batch_norm(self) -> None:
        x = self.computed(ranks=(2, 3))
        operands = [self.operand(self.shapes[x][1:2]) for _ in range(3)]
        var = self.constant(self.rng.uniform(0.5, 2, self.shapes[x][1:2]).astype(np.float32))
        given = self.draw(st.sampled_from([{}, {"epsilon": 0.01}, {"momentum": 0.5}]))
        self.node("BatchNormalization", [x, *operands, var], self.shapes[x], **given)

    # -- the model -------------------------------------------------------------------------------------

    def model(self) -> ModelProto:
        """All that is computed is an output, also what is an input under another name."""
        outputs = {name: shape for name, shape in self.shapes.items() if name not in self.inputs}
        graph = make_graph(
            self.nodes,
            "random",
            [make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.items()],
            [make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            [onnx.numpy_helper.from_array(values, name) for name, values in self.initializers.items()],
        )
        return make_model(graph, opset_imports=[make_opsetid("", self.opset)], ir_version=8)


MOVEMENTS = ("Concat", "Expand", "Gather", "Pad", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")

BUILD: dict[str, Callable[[Builder], None]] = {
    "Add": Builder.add,
    "BatchNormalization": Builder.batch_norm,
    "Div": Builder.div,
    "Dropout": Builder.dropout,
    "Exp": Builder.exp,
    "Flatten": Builder.flatten,
    "Gemm": Builder.gemm,
    "Identity": Builder.identity,
    "LogSoftmax": Builder.log_softmax,
    "LayerNormalization": Builder.layer_norm,
    "MatMul": Builder.matmul,
    "Max": Builder.max,
    "Mul": Builder.mul,
    "Pow": Builder.pow,
    "RMSNormalization": Builder.rms_norm,
    "Relu": Builder.relu,
    "Reshape": Builder.reshape,
    "Sigmoid": Builder.sigmoid,
    "Softmax": Builder.softmax,
    "Split": Builder.split,
    "Sqrt": Builder.sqrt,
    "Sub": Builder.sub,
    **{name: partial(Builder.reduction, op=name) for name in REDUCTIONS},
    **{name: partial(Builder.blocks, op=name) for name in ("DepthToSpace", "SpaceToDepth")},
    **{name: getattr(Builder, name.lower()) for name in MOVEMENTS},
}


RESIZED = ("Resize", "Upsample", "GroupNormalization", "InstanceNormalization")
MASKS = "minisim.compiler.ops.onnx_masks"
POOLING = "minisim.compiler.ops.onnx_pool"
ELEMENTWISE = "minisim.compiler.ops.onnx_elementwise"


ELSEWHERE = {
    "onnx_attention": "test_onnx_attention_nodes.py", "onnx_rotary": "test_onnx_attention_nodes.py",
    "onnx_causal_conv": "test_onnx_causal_conv.py", "onnx_linear_attention": "test_onnx_linear_attention.py",
    "onnx_cumulative": "test_onnx_indices.py", "onnx_indices": "test_onnx_indices.py",
    "onnx_recurrent": "test_onnx_recurrent.py", "quantization": "test_onnx_quantized.py",
    "onnx_ranking": "test_onnx_indices.py", "onnx_integers": "test_onnx_quantized.py",
    "onnx_integers_elementwise": "test_onnx_quantized.py", "onnx_integers_pool": "test_onnx_quantized.py",
    "onnx_recurrent_quantised": "test_onnx_quantized.py",
    "onnx_microsoft": "test_onnx_microsoft.py", "onnx_microsoft_attention": "test_onnx_microsoft.py",
    "onnx_matmul_nbits": "test_onnx_four_bits.py",
}  # fmt: skip
"""Of importers in a file of their own, where they are tested on shapes that are drawn or listed."""


def test_every_supported_operator_is_drawn() -> None:
    """But for convolutions (test_onnx_conv.py), Cast (test_onnx_types.py), CastLike (ONNX's node tests), Einsum
    (test_onnx_einsum.py), MeanVarianceNormalization (test_onnx_elementwise.py), poolings (test_onnx_pool.py), what is
    resized or normalised in groups (test_onnx_resize.py), masks (test_onnx_masks.py), the elementwise ones of
    test_onnx_elementwise.py, and what is several operators of the graph (`ELSEWHERE`)."""
    rest = set(ONNX_IMPORTERS) - set(BUILD)
    assert set(BUILD) <= set(ONNX_IMPORTERS)
    elsewhere = {"Cast", "CastLike", "Conv", "ConvTranspose", "Einsum", "MeanVarianceNormalization"}
    others = rest - {*elsewhere, *RESIZED}
    modules = {ONNX_IMPORTERS[name].build.__module__ for name in others}
    assert modules == {ELEMENTWISE, MASKS, POOLING, *(f"minisim.compiler.ops.{name}" for name in ELSEWHERE)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("random") / "m.onnx")


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_models(data: st.DataObject, path: str) -> None:
    builder = Builder(data)
    builder.relu()  # a graph has an operation
    for op in data.draw(st.lists(st.sampled_from(sorted(BUILD)), min_size=1, max_size=6), label="operators"):
        event(op)
        BUILD[op](builder)
    model = builder.model()
    onnx.save(model, path)
    onnx.checker.check_model(model, full_check=True)  # the test's own model is sound, shapes included
    graph = load_model(path)

    inputs = {n: builder.rng.standard_normal(s).astype(np.float32) for n, s in builder.inputs.items()}
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    results = dict(zip(names, session.run(names, inputs), strict=True))
    values = graph.evaluate(inputs)
    assert list(graph.outputs) == names
    for name, tensor in graph.outputs.items():
        assert graph.tensors[tensor].shape == builder.shapes[name]
        scale = max(1.0, float(np.abs(results[name]).max()))
        np.testing.assert_allclose(values[tensor] / scale, results[name] / scale, rtol=0, atol=1e-5)
