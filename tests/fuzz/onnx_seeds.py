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
    )  # fmt: skip


def _info(name: str, shape: tuple[int | str, ...]) -> object:
    return make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _weight(name: str, shape: tuple[int, ...]) -> TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def _whole(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _model(
    nodes: list[NodeProto], weights: list[TensorProto] | None = None, opset: int = 17, function: bool = False
) -> ModelProto:
    output = make_tensor_value_info("y", TensorProto.FLOAT, ("?", "?"))
    graph = make_graph(nodes, "graph", [_info("x", (4, 6))], [output], weights or [])
    opsets = [make_opsetid("", opset)]
    functions = []
    if function:
        body = [make_node("Add", ["p", "p"], ["q"])]
        functions = [make_function("mine", "twice", ["p"], ["q"], body, opsets)]
        opsets = [*opsets, make_opsetid("mine", 1)]
    return make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
