"""Outputs that are known as a model is read, shapes: they are outputs as others, and no operation stands for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import minisim as ms
from minisim.cli import main

SHAPE = helper.make_node("Shape", ["x"], ["s"])
SIZE = helper.make_node("Size", ["x"], ["n"])
RELU = helper.make_node("Relu", ["x"], ["y"])


def saved(folder: Path, nodes: Sequence[onnx.NodeProto]) -> str:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    types = {"s": (TensorProto.INT64, [2]), "n": (TensorProto.INT64, []), "y": (TensorProto.FLOAT, [2, 3])}
    outputs = [helper.make_tensor_value_info(node.output[0], *types[node.output[0]]) for node in nodes]
    graph = helper.make_graph(list(nodes), "g", [x], outputs)
    path = str(folder / "m.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_a_model_of_nothing_else_costs_its_launch(tmp_path: Path) -> None:
    result = ms.run(saved(tmp_path, [SHAPE, SIZE]), ms.Machine().replace("control.launch_cycles=70"))
    assert result.cycles == 70 and len(result.schedule) == 0
    assert result.outputs["s"].tolist() == [2, 3] and result.outputs["n"].tolist() == 6
    assert result.outputs["s"].dtype == np.int64 and result.difference is None  # from nothing else


def test_beside_others_they_are_not_compared(tmp_path: Path) -> None:
    result = ms.run(saved(tmp_path, [SHAPE, RELU]))
    assert list(result.outputs) == ["y", "s"] and len(result.schedule) == 3
    assert result.difference is not None and result.difference.largest == 0
    assert result.record().given == ("s int64[2]",)


@pytest.mark.parametrize("nodes", [[SHAPE], [SHAPE, RELU]])
@pytest.mark.parametrize("more", [["--check", "onnxruntime"], ["--no-numerics"]])
def test_the_command_says_so(
    nodes: list[onnx.NodeProto], more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as e:
        main(["run", saved(tmp_path, nodes), "--out", str(tmp_path / "out"), *more])
    text = " ".join(capsys.readouterr().out.split())
    assert not e.value.code
    assert "constants s int64[2]: known as the model is read, nothing computes them" in text
    assert ("all values are within tolerance" in text) == (more[0] == "--check")
