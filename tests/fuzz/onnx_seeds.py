"""Valid ONNX models, small, of everything that the importer knows: what mutation starts from."""

from __future__ import annotations

import functools

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.helper import make_function, make_graph, make_model, make_node, make_opsetid, make_tensor_value_info


@functools.cache
def onnx_seeds() -> tuple[ModelProto, ...]:
    w, row, square = (_weight(n, s) for n, s in (("w", (6, 5)), ("row", (5,)), ("square", (6, 6))))
    shape = numpy_helper.from_array(np.array([2, 12]), "shape")
    axes = numpy_helper.from_array(np.array([-1]), "axes")
    two = numpy_helper.from_array(np.float32(2), "two")
    inner = make_graph([make_node("Relu", ["x"], ["z"])], "inner", [], [_info("z", (4, 6))])
    outside = _weight("w", (6, 5))
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": "120"}.items():
        outside.external_data.add(key=key, value=value)
    return (
        _model([make_node("MatMul", ["x", "w"], ["h"]), make_node("Add", ["h", "row"], ["a"]),
                make_node("Relu", ["a"], ["y"])], [w, row]),
        _model([make_node("Gemm", ["x", "w", "row"], ["y"], alpha=0.5, beta=2.0)], [w, row]),
        _model([make_node("Gemm", ["x", "square"], ["h"], transB=1), make_node("Sigmoid", ["h"], ["y"])], [square]),
        _model([make_node("LayerNormalization", ["x", "s", "s"], ["h"], epsilon=1e-5, axis=-1),
                make_node("Softmax", ["h"], ["y"], axis=-1)], [_weight("s", (6,))]),
        _model([make_node("ReduceSum", ["x", "axes"], ["h"], keepdims=1), make_node("Div", ["x", "h"], ["d"]),
                make_node("ReduceMax", ["d"], ["y"], axes=[1], keepdims=0)], [axes], opset=13),
        _model([make_node("Reshape", ["x", "shape"], ["h"]), make_node("Flatten", ["h"], ["f"], axis=1),
                make_node("Exp", ["f"], ["e"]), make_node("Sqrt", ["e"], ["y"])], [shape]),
        _model([make_node("Pow", ["x", "two"], ["p"]), make_node("Max", ["p", "x"], ["m"]),
                make_node("Mul", ["m", "two"], ["u"]), make_node("Sub", ["u", "x"], ["s"]),
                make_node("Identity", ["s"], ["y"])], [two]),
        _model([make_node("Constant", [], ["c"], value=_weight("", (5, 6))),
                make_node("Transpose", ["c"], ["t"], perm=[1, 0]), make_node("MatMul", ["x", "t"], ["y"])]),
        _model([make_node("Constant", [], ["n"], value_ints=[4]), make_node("Concat", ["n", "six"], ["s"], axis=0),
                make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.ones(1, np.float32))),
                make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT), make_node("Add", ["x", "f"], ["y"])],
               [numpy_helper.from_array(np.array([6]), "six")]),
        _model([make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.array(True))),
                make_node("If", ["b"], ["h"], then_branch=inner, else_branch=inner), make_node("Relu", ["h"], ["y"])]),
        _model([make_node("twice", ["x"], ["y"], domain="mine")], function=True),
        _model([make_node("MatMul", ["x", "w"], ["y"])], [outside]),
        _model([make_node("Range", ["a", "b", "c"], ["r"]), make_node("Expand", ["r", "e"], ["f"]),
                make_node("Add", ["x", "f"], ["y"])],
               [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in zip("abc", (0, 6, 1), strict=True)]
               + [numpy_helper.from_array(np.array([4, 6]), "e")]),
        _model([make_node("Reshape", ["x", "heads"], ["h"]), make_node("Transpose", ["h"], ["k"], perm=[0, 2, 1]),
                make_node("MatMul", ["h", "k"], ["s"]), make_node("Softmax", ["s"], ["p"], axis=1),
                make_node("MatMul", ["p", "h"], ["y"])], [_whole("heads", 2, 4, 3)]),
        _model([make_node("Slice", ["x", "one", "five", "one"], ["s"]), make_node("Pad", ["s", "pads"], ["p"]),
                make_node("Concat", ["p", "x"], ["c"], axis=1), make_node("Gather", ["c", "rows"], ["g"], axis=0),
                make_node("Tile", ["g", "times"], ["y"])],
               [_whole("one", 1), _whole("five", 5), _whole("pads", 0, 1, 0, 2), _whole("rows", 3, 0, 0),
                _whole("times", 2, 1)]),
        _model([make_node("Shape", ["x"], ["s"]), make_node("ConstantOfShape", ["s"], ["z"]),
                make_node("Add", ["x", "z"], ["a"]), make_node("Unsqueeze", ["a", "zero"], ["u"]),
                make_node("Expand", ["u", "many"], ["e"]), make_node("ReduceMean", ["e"], ["m"], axes=[0, 1]),
                make_node("Squeeze", ["m"], ["y"])], [_whole("zero", 0), _whole("many", 3, 4, 6)]),
        _model([make_node("Dropout", ["x"], ["h"]), make_node("Softmax", ["h"], ["y"])], opset=12),
        *_networks(),
    )  # fmt: skip


def _networks() -> tuple[ModelProto, ...]:
    """Pieces of networks of images, (1, 4, 8, 8)."""
    norm = [_weight(name, (8,)) for name in ("scale", "shift", "mean")] + [_positive("variance", 8)]
    filters, point = _weight("filters", (8, 4, 3, 3)), _weight("point", (8, 8, 1, 1))
    return (
        _model([make_node("Conv", ["x", "filters"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
                make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
                make_node("Relu", ["n"], ["r"]), make_node("MaxPool", ["r"], ["y"], kernel_shape=[3, 3], ceil_mode=1)],
               [filters, *norm], shape=IMAGE),
        _model([make_node("Conv", ["x", "filters"], ["c"], auto_pad="SAME_UPPER", dilations=[2, 1]),
                make_node("Conv", ["c", "point", "scale"], ["d"]), make_node("Add", ["d", "c"], ["a"]),
                make_node("GlobalAveragePool", ["a"], ["g"]), make_node("Flatten", ["g"], ["f"]),
                make_node("Gemm", ["f", "w", "row"], ["h"]), make_node("Softmax", ["h"], ["y"])],
               [filters, point, _weight("scale", (8,)), _weight("w", (8, 5)), _weight("row", (5,))], shape=IMAGE),
        _model([make_node("Conv", ["x", "each"], ["c"], group=4, pads=[1, 1, 1, 1]),
                make_node("Clip", ["c", "low", "high"], ["k"]), make_node("GlobalAveragePool", ["k"], ["g"]),
                make_node("Conv", ["g", "gate"], ["e"]), make_node("HardSigmoid", ["e"], ["s"]),
                make_node("Mul", ["k", "s"], ["m"]), make_node("HardSwish", ["m"], ["y"])],
               [_weight("each", (4, 1, 3, 3)), _weight("gate", (4, 4, 1, 1)), _scalar("low", 0), _scalar("high", 6)],
               shape=IMAGE),
        _model([make_node("ConvTranspose", ["x", "up"], ["u"], strides=[2, 2], output_padding=[1, 1]),
                make_node("Resize", ["x", "", "", "sizes"], ["r"], mode="linear"),
                make_node("Conv", ["r", "four"], ["f"], kernel_shape=[1, 1]),
                make_node("Concat", ["u", "f"], ["y"], axis=1)],
               [_weight("up", (4, 2, 3, 3)), _whole("sizes", 1, 4, 18, 18), _weight("four", (3, 4, 1, 1))],
               shape=IMAGE),
        _model([make_node("InstanceNormalization", ["x", "four", "four"], ["i"]),
                make_node("LRN", ["i"], ["l"], size=3),
                make_node("AveragePool", ["l"], ["a"], kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1),
                make_node("PRelu", ["a", "slope"], ["p"]), make_node("LpPool", ["p"], ["y"], kernel_shape=[2, 2])],
               [_weight("four", (4,)), _weight("slope", (4, 1, 1))], shape=IMAGE, opset=18),
        _model([make_node("Reshape", ["x", "groups"], ["g"]),
                make_node("Transpose", ["g"], ["t"], perm=[0, 2, 1, 3, 4]),
                make_node("Reshape", ["t", "back"], ["b"]), make_node("Split", ["b", "halves"], ["p", "q"], axis=1),
                make_node("Pad", ["p", "pads"], ["d"], mode="reflect"),
                make_node("DepthToSpace", ["q"], ["s"], blocksize=1),
                make_node("ReduceMean", ["d"], ["m"], axes=[2, 3]),
                make_node("Add", ["s", "m"], ["y"])],
               [_whole("groups", 1, 2, 2, 8, 8), _whole("back", 1, 4, 8, 8), _whole("halves", 2, 2),
                _whole("pads", 0, 0, 1, 1, 0, 0, 1, 1)], shape=IMAGE),
        _model([make_node("Hardmax", ["x"], ["h"]), make_node("Trilu", ["h"], ["t"]),
                make_node("ReduceProd", ["t"], ["y"], keepdims=1)], shape=IMAGE),
    )  # fmt: skip


IMAGE = (1, 4, 8, 8)


def _scalar(name: str, value: float) -> TensorProto:
    return numpy_helper.from_array(np.float32(value), name)


def _positive(name: str, size: int) -> TensorProto:
    return numpy_helper.from_array(np.linspace(0.5, 2, size, dtype=np.float32), name)


def _info(name: str, shape: tuple[int | str, ...]) -> object:
    return make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _weight(name: str, shape: tuple[int, ...]) -> TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def _whole(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _model(
    nodes: list[NodeProto],
    weights: list[TensorProto] | None = None,
    opset: int = 17,
    function: bool = False,
    shape: tuple[int, ...] = (4, 6),
) -> ModelProto:
    output = make_tensor_value_info("y", TensorProto.FLOAT, ("?",) * len(shape))
    graph = make_graph(nodes, "graph", [_info("x", shape)], [output], weights or [])
    opsets = [make_opsetid("", opset)]
    functions = []
    if function:
        body = [make_node("Add", ["p", "p"], ["q"])]
        functions = [make_function("mine", "twice", ["p"], ["q"], body, opsets)]
        opsets = [*opsets, make_opsetid("mine", 1)]
    return make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
