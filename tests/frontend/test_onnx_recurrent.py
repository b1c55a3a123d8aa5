"""RNN, GRU and LSTM of ONNX, unrolled: what they mean is what ONNX Runtime computes; and whole, through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.compiler.graph import Graph
from minisim.errors import MinisimError

Array = npt.NDArray[Any]

STEPS, BATCH, WIDTH, HIDDEN = 5, 2, 3, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
OUTPUTS = ("Y", "Y_h", "Y_c")


def model(
    path: Path,
    op: str,
    *,
    operands: str = "WRBH",
    computed: str = "",
    lengths: Sequence[int] | None = None,
    wanted: Sequence[str] = OUTPUTS,
    **attributes: Any,
) -> tuple[Graph, dict[str, Array]]:
    """A node of one operator, and what to feed it.

    Args:
        operands: those that it has beside X; H is the initial state, P the peepholes.
        computed: those of them that are inputs of the model, beside X and H; the others are constants.
    """
    ways, batch_first = 1 + (attributes.get("direction") == "bidirectional"), attributes.get("layout", 0)
    rng, gates = np.random.default_rng(41), GATES[op]
    shapes = {
        "X": (BATCH, STEPS, WIDTH) if batch_first else (STEPS, BATCH, WIDTH),
        "W": (ways, gates * HIDDEN, WIDTH),
        "R": (ways, gates * HIDDEN, HIDDEN),
        "B": (ways, 2 * gates * HIDDEN),
        "H": (BATCH, ways, HIDDEN) if batch_first else (ways, BATCH, HIDDEN),
        "P": (ways, 3 * HIDDEN),
    }
    shapes["C"] = shapes["H"]
    values = {name: (rng.standard_normal(shape) / 2).astype(np.float32) for name, shape in shapes.items()}
    if lengths is not None:
        values["L"] = np.array(lengths, np.int32)
    chosen = {"X", *operands, *("C" if "H" in operands else ""), *("L" if lengths is not None else "")}
    places = ["X", "W", "R", "B", "L", "H", *(("C", "P") if op == "LSTM" else ())]
    inputs = [name if name in chosen else "" for name in places]
    outputs = [name if name in wanted else "" for name in OUTPUTS[: 3 if op == "LSTM" else 2]]
    fed = {name for name in inputs if name in {"X", "H", "C", *computed}}
    graph = make_graph(
        [make_node(op, inputs, outputs, name="layer", **{"hidden_size": HIDDEN} | attributes)],
        "g",
        [make_tensor_value_info(name, 1, values[name].shape) for name in inputs if name in fed],
        [make_tensor_value_info(name, 1, None) for name in outputs if name],
        [onnx.numpy_helper.from_array(values[name], name) for name in inputs if name and name not in fed],
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 14)], ir_version=8), path)
    return load_onnx(path), {name: values[name] for name in fed}


FORMS: list[dict[str, Any]] = [
    {},
    {"direction": "reverse"},
    {"direction": "bidirectional"},
    {"direction": "bidirectional", "operands": "WR", "wanted": ("Y_h", "Y_c")},
    {"direction": "bidirectional", "operands": "WRB", "computed": "WRB"},
    {"operands": "WRB", "computed": "WRB", "wanted": ("Y",)},
    {"direction": "bidirectional", "lengths": (3, 4)},
    {"direction": "reverse", "lengths": (2, 5), "operands": "WRB"},
    {"lengths": (5, 5)},
    {"direction": "bidirectional", "clip": 0.25},
    {"direction": "bidirectional", "alphas": True},
]
OWN: dict[str, list[dict[str, Any]]] = {
    "RNN": [{"activations": [name]} for name in ("Relu", "LeakyRelu", "HardSigmoid", "Elu", "Softsign", "Softplus")],
    "GRU": [
        {"linear_before_reset": 1},
        {"linear_before_reset": 1, "direction": "bidirectional", "operands": "WR"},
        {"linear_before_reset": 1, "direction": "reverse", "operands": "WRB", "computed": "WRB"},
    ],
    "LSTM": [
        {"operands": "WRBHP"},
        {"operands": "WRBP", "direction": "bidirectional", "computed": "P"},
        {"operands": "WRBHP", "input_forget": 1, "clip": 0.5},
        {"input_forget": 1, "direction": "bidirectional"},
    ],
}  # fmt: skip
CASES = [(op, form) for op in GATES for form in [*FORMS, *OWN[op]]]
ACTIVATIONS = {"RNN": ["Affine"], "GRU": ["HardSigmoid", "LeakyRelu"], "LSTM": ["HardSigmoid", "ScaledTanh", "Elu"]}


def completed(op: str, form: dict[str, Any]) -> dict[str, Any]:
    """With alphas and betas for activations of both directions, where the form asks for them."""
    if "alphas" not in form:
        return form
    rest = {name: value for name, value in form.items() if name != "alphas"}
    numbers = [0.25, 0.5, 0.75, 0.125, 0.375, 0.625]
    return rest | {"activations": 2 * ACTIVATIONS[op], "activation_alpha": numbers, "activation_beta": numbers[::-1]}


@pytest.mark.parametrize(("op", "form"), CASES, ids=lambda value: str(value))
def test_it_means_what_onnx_runtime_computes(op: str, form: dict[str, Any], tmp_path: Path) -> None:
    graph, fed = model(tmp_path / "m.onnx", op, **completed(op, form))
    found = graph.evaluate(fed, np.float64)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    names = [info.name for info in session.get_outputs()]
    for name, expected in zip(names, session.run(None, fed), strict=True):
        got = found[graph.outputs[name]]
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "form"),
    [
        ("RNN", {"direction": "bidirectional", "lengths": (3, 4)}),
        ("GRU", {"direction": "bidirectional"}),
        ("GRU", {"linear_before_reset": 1, "operands": "WRB", "computed": "WR"}),
        ("LSTM", {"operands": "WRBHP", "clip": 0.5}),
        ("LSTM", {"direction": "reverse", "wanted": ("Y_h",)}),
    ],
)
def test_the_engine_computes_it(op: str, form: dict[str, Any], tmp_path: Path) -> None:
    graph, fed = model(tmp_path / "m.onnx", op, **form)
    found = ms.run(graph, inputs=fed).outputs
    for name, values in found.items():
        np.testing.assert_allclose(values, graph.evaluate(fed)[graph.outputs[name]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", GATES)
def test_with_the_batch_first_it_is_the_same_turned(op: str, tmp_path: Path) -> None:
    """ONNX Runtime has no such layout."""
    turned, fed = model(tmp_path / "a.onnx", op, layout=1, direction="bidirectional")
    usual, _ = model(tmp_path / "b.onnx", op, direction="bidirectional")
    found = turned.evaluate(fed)
    expected = usual.evaluate({name: values.swapaxes(0, 1) for name, values in fed.items()})
    for name, of in usual.outputs.items():
        order = (2, 0, 1, 3) if name == "Y" else (1, 0, 2)
        np.testing.assert_array_equal(found[turned.outputs[name]], expected[of].transpose(order))


def test_what_x_contributes_is_one_matmul_of_all_steps(tmp_path: Path) -> None:
    graph, _ = model(tmp_path / "m.onnx", "LSTM", operands="WRB")
    shapes = [graph.tensors[node.output].shape for node in graph.nodes if node.op == "MatMul"]
    assert shapes == [(STEPS * BATCH, 4 * HIDDEN), *[(BATCH, 4 * HIDDEN)] * (STEPS - 1)]
    assert len({node.present[1] for node in graph.nodes if node.op == "MatMul"}) == 2  # R is one weight


@pytest.mark.parametrize(
    ("op", "form", "message"),
    [
        ("RNN", {"hidden_size": 5}, r"layer.*RNN.*W must have shape \(1, 5, 3\), not \(1, 4, 3\)"),
        ("LSTM", {"activations": ["Tanh"]}, "activations must be 3 names, not 1"),
        ("RNN", {"activations": ["Sine"]}, "activation 'Sine' is not supported, only affine, elu"),
        ("GRU", {"lengths": (3, 6)}, "a sequence must have from 0 to 5 steps, not 6"),
        ("GRU", {"lengths": (3,)}, "sequence_lens must be 2 integers"),
        ("GRU", {"input_forget": 1}, "input_forget"),
        ("LSTM", {"direction": "sideways"}, "sideways"),
        ("RNN", {"activations": ["Elu"], "activation_alpha": [float("nan")]}, "the numbers of activation elu must be"),
    ],
)
def test_what_does_not_fit_is_said(op: str, form: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match=message):
        model(tmp_path / "m.onnx", op, **form)


def test_lengths_are_constants(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model(path, "GRU", lengths=(3, 4))
    loaded = onnx.load(path)
    kept = [tensor for tensor in loaded.graph.initializer if tensor.name != "L"]
    del loaded.graph.initializer[:]
    loaded.graph.initializer.extend(kept)
    loaded.graph.input.append(make_tensor_value_info("L", onnx.TensorProto.INT32, (2,)))
    onnx.save(loaded, path)
    with pytest.raises(MinisimError, match="sequence_lens that are computed at run time are not supported"):
        load_onnx(path)


def test_more_steps_than_are_unrolled_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minisim.compiler.ops.onnx_recurrent.MOST_STEPS", STEPS - 1)
    with pytest.raises(MinisimError, match="up to 4 steps are unrolled, not 5"):
        model(tmp_path / "m.onnx", "RNN")
