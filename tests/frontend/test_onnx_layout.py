"""Networks of NCHW images run NHWC inside: nothing is transposed between layers, and the values are ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from support.machines import searching_now_and_then

import minisim as ms

Array = np.ndarray


class Net:
    """An ONNX model in the making: a method of each layer returns the name of its output."""

    def __init__(self, shape: tuple[int, ...], opset: int = 17) -> None:
        self.shape, self.opset = shape, opset
        self.rng = np.random.default_rng(1)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op}{len(self.nodes)}.{i}" if outputs > 1 else f"{op}{len(self.nodes)}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values)
        return name

    def drawn(self, *shape: int, scale: float = 0.3, at: float = 0.0) -> str:
        return self.constant((at + scale * self.rng.standard_normal(shape)).astype(np.float32))

    def conv(self, x: str, channels: int, filters: int, kernel: int = 3, stride: int = 1, group: int = 1) -> str:
        w, pad = self.drawn(filters, channels // group, kernel, kernel), kernel // 2
        return self.node("Conv", x, w, group=group, strides=[stride] * 2, pads=[pad] * 4)

    def norm(self, x: str, channels: int) -> str:
        scale, bias, mean = (self.drawn(channels, at=at) for at in (1.0, 0.0, 0.0))
        var = self.constant(self.rng.uniform(0.5, 2.0, channels).astype(np.float32))
        return self.node("BatchNormalization", x, scale, bias, mean, var)

    def model(self, *outputs: str) -> bytes:
        values = [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        infos = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, self.shape)]
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", infos, ends, values)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def resnet(net: Net) -> str:
    """Two blocks with batch norms and a residual, the second one strided, with a projection."""
    x = net.node("Relu", net.norm(net.conv("x", 3, 8), 8))
    for channels, filters, stride in ((8, 8, 1), (8, 12, 2)):
        y = net.node("Relu", net.norm(net.conv(x, channels, filters, stride=stride), filters))
        y = net.norm(net.conv(y, filters, filters), filters)
        way = x if stride == 1 else net.norm(net.conv(x, channels, filters, 1, stride), filters)
        x = net.node("Relu", net.node("Add", y, way))
    return x


def resnet_head(net: Net) -> str:
    """... flattened, with all its pixels."""
    return net.node("Gemm", net.node("Flatten", resnet(net)), net.drawn(7, 12 * 4 * 3), net.drawn(7), transB=1)


def mobilenet(net: Net) -> str:
    """Expansion, depthwise convolution, squeeze and excite, projection."""
    x = net.node("HardSwish", net.norm(net.conv("x", 3, 8, stride=2), 8))
    y = net.node("HardSwish", net.norm(net.conv(x, 8, 16, 1), 16))
    y = net.node("HardSwish", net.norm(net.conv(y, 16, 16, 5, group=16), 16))
    y = net.node("Concat", *net.node("Split", y, net.constant([8, 8]), outputs=2, axis=1), axis=1)
    gate = net.node("Relu", net.conv(net.node("ReduceMean", y, axes=[2, 3]), 16, 4, 1))
    gate = net.node("HardSigmoid", net.conv(gate, 4, 16, 1), alpha=1 / 6)
    y = net.node("Mul", gate, y)
    return net.node("Add", x, net.norm(net.conv(y, 16, 8, 1), 8))


def mobilenet_head(net: Net) -> str:
    """... squeezed to one pixel, flattened and classified."""
    y = net.node("GlobalAveragePool", mobilenet(net))
    return net.node("Softmax", net.node("Gemm", net.node("Flatten", y), net.drawn(8, 5), net.drawn(5)))


def unet(net: Net) -> str:
    """Down, up (transposed and resized), and what was there before concatenated; at last a softmax of classes."""
    a = net.node("Relu", net.conv("x", 3, 8))
    b = net.node("Relu", net.conv(a, 8, 16, stride=2))
    up = net.node("ConvTranspose", b, net.drawn(16, 8, 2, 2), strides=[2, 2])
    up = net.node("Add", up, net.node("Resize", net.conv(b, 16, 8, 1), "", net.constant(np.float32([1, 1, 2, 2]))))
    y = net.node("Concat", net.node("Slice", up, *map(net.constant, ([0, 0], [8, 6], [2, 3]))), a, axis=1)
    y = net.node("Pad", net.node("Relu", y), net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect")
    return net.node("Softmax", net.node("Conv", y, net.drawn(4, 16, 3, 3)), axis=1)


def shufflenet(net: Net) -> str:
    """The channels split, a branch convolved, both concatenated and shuffled."""
    x = net.node("Relu", net.norm(net.conv("x", 3, 8), 8))
    for _ in range(2):
        left, right = net.node("Split", x, net.constant([4, 4]), outputs=2, axis=1)
        right = net.node("Relu", net.norm(net.conv(right, 4, 4, 1), 4))
        right = net.norm(net.conv(right, 4, 4, group=4), 4)
        x = net.node("Concat", left, net.node("Relu", net.conv(right, 4, 4, 1)), axis=1)
        x = net.node("Reshape", x, net.constant([0, 2, 4, 8, 6]))
        x = net.node("Reshape", net.node("Transpose", x, perm=[0, 2, 1, 3, 4]), net.constant([0, 8, 8, 6]))
    return net.conv(x, 8, 5, 1)


def densenet(net: Net) -> str:
    """Each layer reads all before it: batch norm, relu, convolution."""
    x, channels = net.conv("x", 3, 6), 6
    for _ in range(3):
        y = net.conv(net.node("Relu", net.norm(x, channels)), channels, 8, 1)
        x = net.node("Concat", x, net.conv(net.node("Relu", net.norm(y, 8)), 8, 4), axis=1)
        channels += 4
    return net.node("Relu", net.norm(x, channels))


def beside_the_input(net: Net) -> str:
    """The input is concatenated behind something smaller: it is turned once, for both of its readers."""
    return net.conv(net.node("Concat", net.node("Relu", net.conv("x", 3, 1)), "x", axis=1), 4, 8)


NETS: list[tuple[Callable[[Net], str], int]] = [
    (resnet, 2), (resnet_head, 1), (mobilenet, 2), (mobilenet_head, 1), (unet, 2), (shufflenet, 4), (densenet, 2),
    (beside_the_input, 2),
]  # fmt: skip
"""And how many transpositions are left: of the input, of an output that is an image, and those that are the network's
own: one for each shuffle of channels."""


def compare(folder: Path, net: Net, data: bytes) -> ms.Result:
    """A run, whose outputs are ONNX Runtime's."""
    (path := folder / "net.onnx").write_bytes(data)
    x = np.random.default_rng(2).standard_normal(net.shape).astype(np.float32)
    session = onnxruntime.InferenceSession(data)
    result = ms.run(str(path), searching_now_and_then(data), inputs={"x": x})
    for found, expected in zip(result.outputs.values(), session.run(None, {"x": x}), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    return result


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("build", "left"), NETS)
def test_nothing_else_is_transposed(tmp_path: Path, build: Callable[[Net], str], left: int, batch: int) -> None:
    net = Net((batch, 3, 8, 6))
    result = compare(tmp_path, net, net.model(build(net)))
    transposed = [node.name for node in result.graph.nodes if node.op == "Transpose"]
    assert len(transposed) == left, transposed


class Drawn(Net):
    """A chain of operators, each on one that was before it: of all of them only the last is an output."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=3, max_size=4))))
        self.data = data
        self.shapes = {"x": self.shape}

    def draw(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def step(self) -> None:
        x = self.data.draw(st.sampled_from(list(self.shapes)[-3:]))
        kind = self.data.draw(st.sampled_from([
            "transpose", "transpose", "reshape", "relu", "broadcast", "two", "concat", "split", "slice", "pad",
            "softmax", "reduce", "conv", "matmul",
        ]))  # fmt: skip
        shape = self.shapes[x]
        if x and shape:
            getattr(self, kind)(x, shape)

    def computed(self, shape: tuple[int, ...], op: str, *inputs: str, **attributes: Any) -> None:
        self.shapes[self.node(op, *inputs, **attributes)] = shape

    def transpose(self, x: str, shape: tuple[int, ...]) -> None:
        perm = self.data.draw(st.permutations(range(len(shape))))
        self.computed(tuple(shape[axis] for axis in perm), "Transpose", x, perm=perm)

    def reshape(self, x: str, shape: tuple[int, ...]) -> None:
        """Neighbours become one, an axis two, or an axis of one element comes or goes."""
        wanted, axis = list(shape), self.draw(0, len(shape) - 1)
        match self.draw(0, 3):
            case 0 if len(shape) > 1:
                axis %= len(shape) - 1
                wanted[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
            case 1 if shape[axis] % 2 == 0:
                wanted[axis : axis + 1] = self.data.draw(st.permutations([2, shape[axis] // 2]))
            case 2 if len(shape) < 5:
                wanted.insert(axis, 1)
            case _ if 1 in shape:
                wanted.remove(1)
        self.computed(tuple(wanted), "Reshape", x, self.constant(np.array(wanted, np.int64)))

    def relu(self, x: str, shape: tuple[int, ...]) -> None:
        self.computed(shape, "Relu", x)

    def constant_of(self, shape: tuple[int, ...]) -> str:
        return self.drawn(*(self.data.draw(st.sampled_from([1, size])) for size in shape[self.draw(0, len(shape)) :]))

    def broadcast(self, x: str, shape: tuple[int, ...]) -> None:
        operands = self.data.draw(st.permutations([x, self.constant_of(shape)]))
        self.computed(shape, self.data.draw(st.sampled_from(["Mul", "Sub"])), *operands)

    def two(self, x: str, shape: tuple[int, ...]) -> None:
        others = [name for name, other in self.shapes.items() if other == shape] + [x]
        other = self.data.draw(st.sampled_from(others))
        if self.data.draw(st.booleans()):
            axis = self.draw(0, len(shape) - 1)
            other = self.node("ReduceMax", other, axes=[axis])
            self.shapes = {other: (*shape[:axis], 1, *shape[axis + 1 :]), **self.shapes}
        self.computed(shape, "Add", x, other)

    def concat(self, x: str, shape: tuple[int, ...]) -> None:
        axis = self.draw(0, len(shape) - 1)
        other = self.data.draw(st.sampled_from([name for name, other in self.shapes.items() if other == shape]))
        more = self.drawn(*(2 if i == axis else size for i, size in enumerate(shape)))
        wanted = tuple(2 * size + 2 if i == axis else size for i, size in enumerate(shape))
        if np.prod(wanted) < 4000:
            self.computed(wanted, "Concat", x, other, more, axis=axis)

    def split(self, x: str, shape: tuple[int, ...]) -> None:
        axis = self.draw(0, len(shape) - 1)
        if shape[axis] > 1:
            sizes = [1, shape[axis] - 1]
            for name, size in zip(
                self.node("Split", x, self.constant(sizes), outputs=2, axis=axis), sizes, strict=True
            ):
                self.shapes[name] = (*shape[:axis], size, *shape[axis + 1 :])

    def slice(self, x: str, shape: tuple[int, ...]) -> None:
        axis = self.draw(-len(shape), -1)
        start, step = self.draw(0, shape[axis] - 1), self.draw(1, 2)
        at = [self.constant(np.array([value])) for value in (start, shape[axis], axis, step)]
        wanted = list(shape)
        wanted[axis] = len(range(start, shape[axis], step))
        self.computed(tuple(wanted), "Slice", x, *at)

    def pad(self, x: str, shape: tuple[int, ...]) -> None:
        pads = np.array([self.draw(0, 1) for _ in range(2 * len(shape))])
        wanted = tuple(int(size + a + b) for size, a, b in zip(shape, pads, pads[len(shape) :], strict=False))
        if np.prod(wanted) < 4000:
            self.computed(
                wanted, "Pad", x, self.constant(pads), mode=self.data.draw(st.sampled_from(["constant", "edge"]))
            )

    def softmax(self, x: str, shape: tuple[int, ...]) -> None:
        self.computed(shape, "Softmax", x, axis=self.draw(-len(shape), len(shape) - 1))

    def reduce(self, x: str, shape: tuple[int, ...]) -> None:
        axes = sorted({self.draw(0, len(shape) - 1), self.draw(0, len(shape) - 1)})
        keep = self.draw(0, 1)
        wanted = tuple(1 if i in axes else size for i, size in enumerate(shape) if keep or i not in axes)
        if wanted:
            self.computed(wanted, "ReduceMean", x, axes=axes, keepdims=keep)

    def conv(self, x: str, shape: tuple[int, ...]) -> None:
        if len(shape) in (3, 4):
            w = self.drawn(4, shape[1], *(1,) * (len(shape) - 2))
            self.computed((shape[0], 4, *shape[2:]), "Conv", x, w)

    def matmul(self, x: str, shape: tuple[int, ...]) -> None:
        self.computed((*shape[:-1], 3), "MatMul", x, self.drawn(shape[-1], 3))


@settings(max_examples=60)
@given(st.data())
def test_any_chain_means_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    net = Drawn(data)
    for _ in range(data.draw(st.integers(1, 9))):
        net.step()
    if not net.nodes:
        return
    names = list(net.shapes)
    found = net.model(*dict.fromkeys([names[-1], names[len(names) // 2 or 1]]))
    compare(tmp_path_factory.mktemp("m"), net, found)


def test_borders_between_layers_are_compared_in_the_models_order(tmp_path: Path) -> None:
    """The tensors are NHWC, the values of the model NCHW."""
    net = Net((2, 3, 8, 6))
    (path := tmp_path / "net.onnx").write_bytes(net.model(resnet(net)))
    found = ms.check_onnxruntime(path, borders=True)
    borders = [value for value in found.values if value.operation]
    assert len(borders) == 5 and not found.deviates
    assert {value.shape for value in borders} == {(2, 8, 8, 6), (2, 12, 4, 3)}
