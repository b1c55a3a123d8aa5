"""A transformer's block as exporters write it: heads by reshapes and transposes, batched matmuls, a mask, norms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms

HEADS, WIDTH, HIDDEN = 4, 48, 96


def block(path: Path) -> str:
    """x (batch, length, WIDTH), mask (batch, 1, 1, length) -> y, of x's shape."""
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in {
            **dict.fromkeys(("wq", "wk", "wv", "wo"), (WIDTH, WIDTH)),
            **dict.fromkeys(("s1", "b1", "s2", "b2"), (WIDTH,)),
            "up": (WIDTH, HIDDEN),
            "bu": (HIDDEN,),
            "down": (HIDDEN, WIDTH),
        }.items()
    }
    split = np.array([0, 0, HEADS, WIDTH // HEADS])
    constants = {"split": split, "join": np.array([0, 0, WIDTH]), "root": np.float32((WIDTH // HEADS) ** 0.5)}
    nodes = []
    for each, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            make_node("MatMul", ["x", f"w{each}"], [f"{each}_flat"]),
            make_node("Reshape", [f"{each}_flat", "split"], [f"{each}_heads"]),
            make_node("Transpose", [f"{each}_heads"], [each], perm=perm),
        ]
    nodes += [
        make_node("MatMul", ["q", "k"], ["scores"]),
        make_node("Div", ["scores", "root"], ["scaled"]),
        make_node("Add", ["scaled", "mask"], ["masked"]),
        make_node("Softmax", ["masked"], ["weights"], axis=-1),
        make_node("MatMul", ["weights", "v"], ["context"]),
        make_node("Transpose", ["context"], ["side_by_side"], perm=[0, 2, 1, 3]),
        make_node("Reshape", ["side_by_side", "join"], ["joined"]),
        make_node("MatMul", ["joined", "wo"], ["attended"]),
        make_node("Add", ["x", "attended"], ["first"]),
        make_node("LayerNormalization", ["first", "s1", "b1"], ["h"]),
        make_node("MatMul", ["h", "up"], ["u"]),
        make_node("Add", ["u", "bu"], ["biased"]),
        make_node("Gelu", ["biased"], ["active"]),
        make_node("MatMul", ["active", "down"], ["d"]),
        make_node("Add", ["h", "d"], ["second"]),
        make_node("LayerNormalization", ["second", "s2", "b2"], ["y"]),
    ]
    graph = make_graph(
        nodes,
        "block",
        [
            make_tensor_value_info("x", TensorProto.FLOAT, ("batch", "length", WIDTH)),
            make_tensor_value_info("mask", TensorProto.FLOAT, ("batch", 1, 1, "length")),
        ],
        [make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**weights, **constants}.items()],
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=9), path)
    return str(path)


@pytest.mark.parametrize("preset", ["npu_32x32", "edge_8x8"])
@pytest.mark.parametrize("cores", [1, 3])
def test_a_transformer_block_is_onnxruntime_s(preset: str, cores: int, tmp_path: Path) -> None:
    path, dims = block(tmp_path / "m.onnx"), {"batch": 2, "length": 20}
    mask = np.where(np.arange(20) < np.array([[20], [13]]), 0, -1e9).astype(np.float32).reshape(2, 1, 1, 20)
    on = ms.Machine.load(preset).with_overrides({"cores.count": cores})
    found = ms.check_onnxruntime(path, on, dims=dims, inputs={"mask": mask}, borders=True)
    assert not found.deviates, "\n".join(found.lines())
    assert len(found.values) > 15
