"""Networks of the zoo as ONNX models are the same networks: to the bit here, within tolerance of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support.zoo_onnx import zoo_onnx

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.onnx_check import compare

SPECS = ("lenet5", "unet:size=32,width=0.125", "yolov3_tiny:size=64,width=0.125", "densenet121:size=32,width=0.125",
         "mobilenet_v3_small:size=48,width=0.125", "resnext50:size=32,width=0.125")  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_a_network_written_as_onnx_is_the_same_network(spec: str, tmp_path: Path) -> None:
    graph = ms.load_model(spec)
    path = tmp_path / "network.onnx"
    path.write_bytes(zoo_onnx(graph).SerializeToString())
    inputs = example_inputs(graph)
    turned = {name: np.moveaxis(x, -1, 1) for name, x in inputs.items()}
    own, read = graph.evaluate(inputs, outputs_only=True), ms.load_model(path).evaluate(turned, outputs_only=True)
    theirs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(list(own), turned)
    for (name, y), expected in zip(own.items(), theirs, strict=True):
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1) if y.ndim == 4 else y, read[name])
        assert compare(name, read[name], expected).first is None
