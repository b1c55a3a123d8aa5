"""ONNX's light models, with weights that tell channels apart, and a trained network: whole, against ONNX Runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend.onnx_light import draw_constants, light_models
from minisim.onnx_check import compare

OPENWAKEWORD = importlib.util.find_spec("openwakeword")


@pytest.mark.parametrize("name", ["light_squeezenet", "light_shufflenet"])
def test_a_light_model_is_what_onnxruntime_says(name: str) -> None:
    graph = ms.load_model(name)
    inputs = example_inputs(graph)
    result = ms.run(graph, "tpu_like_128x128", inputs=inputs, check=False)
    model = onnx.load(light_models()[name])
    draw_constants(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (output,), (expected,) = graph.outputs, session.run(None, inputs)
    assert compare(output, result.outputs[output], expected).first is None
    other = session.run(None, {key: x[:, ::-1] for key, x in inputs.items()})[0]  # other channels, other values
    assert np.abs(other - expected).max() > 1e-4 * np.abs(expected).max()


def test_drawn_weights_are_the_same_always_and_no_two_are_alike() -> None:
    models = [onnx.load(light_models()["light_squeezenet"]) for _ in range(2)]
    for model in models:
        draw_constants(model)
    first, second = ({x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer} for model in models)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    w = first["fire2/squeeze1x1_w_0"]
    assert len(np.unique(w)) > 0.99 * w.size and not any(n.op_type == "ConstantOfShape" for n in models[0].graph.node)


@pytest.mark.skipif(OPENWAKEWORD is None, reason="the model comes with openwakeword")
def test_a_trained_network_and_its_borders() -> None:
    assert OPENWAKEWORD is not None and OPENWAKEWORD.origin is not None
    path = Path(OPENWAKEWORD.origin).parent / "resources" / "models" / "embedding_model.onnx"
    check = ms.check_onnxruntime(path, "tpu_like_128x128", dims={"input_1": (1, 76, 32, 1)}, borders=True)
    assert not check.deviates and len(check.values) > 10
