"""Loop and Scan of ONNX, unrolled: held to ONNX Runtime; and If."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(61)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, kind: int = FLOAT, shape: tuple[int, ...] | None = None) -> Any:
    return make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: list[NodeProto], fed: dict[str, Array], constants: dict[str, Array], *outputs: str) -> Path:
    graph = make_graph(
        nodes,
        "g",
        [info(name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for name, x in fed.items()],
        [info(name) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()],
    )
    path.write_bytes(make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8).SerializeToString())
    return path


def held(path: Path, fed: dict[str, Array], *, engine: bool = False) -> None:
    graph = load_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run([*graph.outputs, *graph.given], fed)
    values = graph.evaluate(fed)
    result = ms.run(graph, inputs=fed).outputs if engine else {}
    for name, wanted in zip([*graph.outputs, *graph.given], expected, strict=True):
        if name in graph.outputs:
            assert values[graph.outputs[name]].shape == wanted.shape
            np.testing.assert_allclose(values[graph.outputs[name]], wanted, rtol=1e-6)
        if engine:
            np.testing.assert_allclose(result[name], wanted, rtol=1e-6)


X = RNG.standard_normal((2, 3)).astype(np.float32)


def body(nodes: list[NodeProto], rows: bool = True) -> onnx.GraphProto:
    """Of one state, s, and what each trip leaves, r; `go` says whether there is another one."""
    outputs = [info("go", BOOL), info("next"), *([info("r")] if rows else [])]
    return make_graph(nodes, "body", [info("i", INT64, ()), info("going", BOOL, ()), info("s", FLOAT, (2, 3))], outputs)


DOUBLED = [
    make_node("Identity", ["going"], ["go"]),
    make_node("Cast", ["i"], ["step"], to=FLOAT),
    make_node("Add", ["s", "step"], ["t"]),
    make_node("Mul", ["t", "factor"], ["next"]),
    make_node("Relu", ["t"], ["r"]),
]
UNTIL = [make_node("Less", ["i", "last"], ["go"]), *DOUBLED[1:]]


@pytest.mark.parametrize(
    ("nodes", "trips", "condition"),
    [(DOUBLED, 3, None), (DOUBLED, 1, True), (UNTIL, 7, None), (UNTIL, None, True)],
)
def test_a_loop_is_its_trips(nodes: list[NodeProto], trips: int | None, condition: Any, tmp_path: Path) -> None:
    constants: dict[str, Any] = {"factor": np.float32(0.5), "last": np.int64(3)}
    constants |= {} if trips is None else {"n": np.int64(trips)}
    constants |= {} if condition is None else {"c": np.bool_(condition)}
    inputs = ["n" if trips else "", "c" if condition is not None else "", "x"]
    node = make_node("Loop", inputs, ["y", "rows"], name="loop", body=body(nodes))
    path = save(tmp_path / "m.onnx", [node], {"x": X}, constants, "y", "rows")
    held(path, {"x": X}, engine=trips == 3)


def test_a_loop_of_no_trips_is_its_state(tmp_path: Path) -> None:
    constants = {"factor": np.float32(0.5), "n": np.int64(0)}
    loop = make_node("Loop", ["n", "", "x"], ["s1"], body=body(DOUBLED, rows=False))
    path = save(tmp_path / "m.onnx", [loop, make_node("Relu", ["s1"], ["y"])], {"x": X}, constants, "y")
    held(path, {"x": X})


def test_a_constant_state_becomes_a_computed_one_and_back(tmp_path: Path) -> None:
    """What a name was in one trip it is not in the next one."""
    nodes = [make_node("Identity", ["going"], ["go"]), make_node("Add", ["s", "x"], ["next"]),
             make_node("Neg", ["s"], ["r"])]  # fmt: skip
    loop = make_node("Loop", ["n", "", "zero"], ["y", "rows"], body=body(nodes))
    constants = {"n": np.int64(3), "zero": np.ones((2, 3), np.float32)}
    held(save(tmp_path / "m.onnx", [loop], {"x": X}, constants, "y", "rows"), {"x": X})


@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize(("axis", "out"), [(0, 0), (1, 0), (1, 2), (-1, -1)])
def test_a_scan_walks_along_an_axis(backward: int, axis: int, out: int, tmp_path: Path) -> None:
    whole = RNG.standard_normal((3, 4, 3)).astype(np.float32)
    state = RNG.standard_normal(np.delete(whole.shape, axis)).astype(np.float32)
    inner = make_graph(
        [make_node("Add", ["s", "e"], ["next"]), make_node("Mul", ["next", "e"], ["r"])],
        "body", [info("s", FLOAT, state.shape), info("e", FLOAT, state.shape)],
        [info("next", FLOAT, state.shape), info("r", FLOAT, state.shape)],
    )  # fmt: skip
    ways = {"scan_input_directions": [backward], "scan_output_directions": [backward]}
    node = make_node("Scan", ["x", "w"], ["y", "rows"], body=inner, num_scan_inputs=1, scan_input_axes=[axis],
                     scan_output_axes=[out], **ways)  # fmt: skip
    fed = {"x": state, "w": whole}
    path = save(tmp_path / "m.onnx", [node], fed, {}, "y", "rows")
    graph = load_onnx(path)
    found = graph.evaluate(fed)
    total, rows = state.astype(np.float64), []
    for i in range(whole.shape[axis])[:: -1 if backward else 1]:
        total = total + whole.take(i, axis)
        rows.append(total * whole.take(i, axis))
    np.testing.assert_allclose(found[graph.outputs["y"]], total, rtol=1e-6)
    expected = np.stack(rows[::-1] if backward else rows, out)
    np.testing.assert_allclose(found[graph.outputs["rows"]], expected, rtol=1e-6)


def loop_of(nodes: list[NodeProto], *inputs: str) -> Callable[[], NodeProto]:
    return lambda: make_node("Loop", [*inputs], ["y", "rows"], name="loop", body=body(nodes))


BRANCHES = {
    f"{which}_branch": make_graph([make_node(op, ["x"], [which])], which, [], [info(which)])
    for which, op in (("then", "Relu"), ("else", "Neg"))
}
ENDLESS: dict[str, Any] = {"factor": np.float32(0.5), "c": np.bool_(True)}


@pytest.mark.parametrize(
    ("made", "constants", "message"),
    [
        (loop_of(DOUBLED, "m", "", "x"), {"factor": np.float32(1)}, "a number of trips that is computed at run time"),
        (loop_of(DOUBLED, "n", "q", "x"), {"n": np.int64(3), "factor": np.float32(1)}, "a number of trips that is"),
        (loop_of(DOUBLED, "", "c", "x"), ENDLESS, "up to 5 trips are unrolled, not more"),
        (loop_of([make_node("Less", ["k", "zero"], ["go"]), *DOUBLED[1:]], "n", "", "x"),
         {"n": np.int64(3), "factor": np.float32(1), "zero": np.float32(0)}, "a condition that is computed"),
        (loop_of([*DOUBLED[:-1], make_node("Det", ["t"], ["r"])], "n", "", "x"),
         {"n": np.int64(3), "factor": np.float32(1)}, r"node 'loop/0/.*' .Det."),
        (lambda: make_node("If", ["q"], ["y"], name="if", **BRANCHES), {}, "node 'if' .If.: a condition that is"),
    ],
)  # fmt: skip
def test_what_depends_on_data_is_refused(
    made: Callable[[], NodeProto],
    constants: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("minisim.compiler.frontend.onnx_bodies.MOST_TRIPS", 5)
    fed = {"x": X, "m": np.array(3, np.int32), "q": np.array(True), "k": np.array(1, np.float32)}
    nodes = [made()]
    path = save(tmp_path / "m.onnx", nodes, fed, constants, "y")
    with pytest.raises(MinisimError, match=message):
        load_onnx(path)


def test_trips_of_loops_in_loops_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a file of a few hundred bytes is computed for hours."""

    def loop(inner: list[NodeProto], of: str, name: str) -> onnx.GraphProto:
        infos = [info(f"i{name}", TensorProto.INT64, ()), info(f"c{name}", TensorProto.BOOL, ()), info(f"v{name}")]
        nodes = [*inner, make_node("Identity", [f"c{name}"], [f"go{name}"]), make_node("Identity", [of], [f"o{name}"])]
        return make_graph(nodes, name, infos, [info(f"go{name}", TensorProto.BOOL, ()), info(f"o{name}")])

    def saved(trips: int) -> Path:
        inside = make_node("Loop", ["n", "", "vb"], ["inner"], "inside", body=loop([], "va", "a"))
        outside = make_node("Loop", ["n", "", "x"], ["y"], "outside", body=loop([inside], "inner", "b"))
        fed, constants = {"x": np.ones(2, np.float32)}, {"n": np.array(trips, np.int64)}
        return save(tmp_path / "m.onnx", [outside], fed, constants, "y")

    monkeypatch.setattr("minisim.compiler.frontend.onnx_bodies.MOST_BODIES", 20)
    load_onnx(saved(4))  # 4 trips of 4 and one more
    with pytest.raises(MinisimError, match="up to 20 trips of all loops are unrolled, not more"):
        load_onnx(saved(5))
