"""Operators on whole rows: their values, their traffic, how close they come to the bound, and when they are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.machines import machine
from support.oracle import bits, evaluate

import minisim as ms
from minisim.compiler.frontend import load_model
from minisim.compiler.ops.row_strips import WIDE_TILES
from minisim.errors import CapacityError, ModelError, ShapeError
from minisim.hwmodel.cost import costs, roofline
from minisim.hwmodel.isa import NONE, Opcode, VectorOp

INF, NAN = np.inf, np.nan
Build = Callable[[ms.Graph, ms.Tensor], ms.Tensor]


def one(shape: tuple[int, ...], build: Build) -> ms.Graph:
    graph = ms.Graph("one")
    graph.output(build(graph, graph.input("x", shape)), "y")
    return graph


def layer_norm(graph: ms.Graph, x: ms.Tensor) -> ms.Tensor:
    rng = np.random.default_rng(0)
    return graph.layer_norm(x, *(graph.weight(name, rng.standard_normal(x.shape[-1])) for name in ("scale", "bias")))


OPERATORS: dict[str, Build] = {
    "softmax": ms.Graph.softmax,
    "layer_norm": layer_norm,
    "layer_norm without scale": ms.Graph.layer_norm,
    "reduce_sum": ms.Graph.reduce_sum,
    "reduce_max": ms.Graph.reduce_max,
    "reduce_mean": ms.Graph.reduce_mean,
}
SHAPES = [(300,), (1, 1), (40, 1), (33, 100), (2, 35, 65)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_values_are_those_of_float64_and_bits_those_of_the_definition(name: str, shape: tuple[int, ...]) -> None:
    graph = one(shape, OPERATORS[name])
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32) * 4 + 3
    result = ms.run(graph, inputs={"x": x})
    exact = graph.evaluate({"x": x})[graph.outputs["y"]]
    np.testing.assert_allclose(result.outputs["y"], exact, rtol=2e-6, atol=2e-6 * float(np.abs(exact).max()))
    np.testing.assert_array_equal(bits(result.outputs["y"]), bits(evaluate(graph, {"x": x})["y"]))


def test_softmax_of_large_and_of_special_values() -> None:
    x = np.array([[3e38, 3e38, -3e38], [INF, 1, 2], [-INF, -INF, -INF], [NAN, 1, 2], [-INF, 0, 0]], np.float32)
    y = ms.run(one(x.shape, ms.Graph.softmax), inputs={"x": x}).outputs["y"]
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0], [NAN] * 3, [NAN] * 3, [NAN] * 3, [0, 0.5, 0.5]])


def test_operators_of_a_tensor_with_numbers_on_either_side() -> None:
    graph = ms.Graph()
    x = graph.input("x", (2, 3))
    graph.output(1.0 / (2.0 - x / 4.0) - graph.maximum(x, 0.0), "y")
    values = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(
        ms.run(graph, inputs={"x": values}).outputs["y"], 1 / (2 - values / 4) - np.maximum(values, 0), rtol=1e-6
    )


# -- traffic and time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_in_sram", [WIDE_TILES, 3 * WIDE_TILES, 100 * WIDE_TILES])
@pytest.mark.parametrize("spec", ["softmax:67x512", "layernorm:67x512"])
def test_dram_is_read_once_and_written_once(spec: str, rows_in_sram: int) -> None:
    graph = load_model(spec)
    schedule = ms.compile_graph(graph, machine(sram__bytes=rows_in_sram * 2048))
    cost, opcode = costs(schedule, machine()), schedule.stream["opcode"]
    sizes = [int(np.prod(tensor.shape)) for name, tensor in graph.tensors.items() if name != "y"]
    sources = sum(size for size in sizes if size > 1)  # a number is part of the operation
    assert cost.bytes[opcode == Opcode.LOAD].sum() == 4 * sources
    assert cost.bytes[opcode == Opcode.STORE].sum() == 4 * 67 * 512


@pytest.mark.parametrize("spec", ["softmax:256x512", "layernorm:256x512"])
@pytest.mark.parametrize("lanes", [8, 32, 256])
def test_transfers_run_beside_the_lanes(spec: str, lanes: int) -> None:
    on = machine(vector__lanes=lanes)
    graph = load_model(spec)
    result = ms.run(graph, on, numerics=False)
    schedule = result.schedule
    cost, opcode = costs(schedule, on), schedule.stream["opcode"]
    read, write = (int(cost.bytes[opcode == op].sum()) for op in (Opcode.LOAD, Opcode.STORE))
    bound = roofline(0, int(cost.busy[opcode == Opcode.VECTOR].sum()), read, write, on).cycles
    assert bound <= result.times.cycles < 1.3 * bound


def test_two_strips_take_turns_so_that_latency_is_hidden() -> None:
    """Each operation reads the result of the one before the last: its latency passes behind the other strip's."""
    on = machine(vector__latency_cycles=100, dma__bytes_per_cycle=4096, dram__bandwidth="4000GB/s")
    result = ms.run(one((256, 512), ms.Graph.softmax), on, numerics=False)
    vectors = result.schedule.stream["opcode"] == Opcode.VECTOR
    busy = int(costs(result.schedule, on).busy[vectors].sum())
    assert vectors.sum() * 100 > 0.3 * busy  # what it would come to, if nothing hid it
    assert result.times.cycles < 1.15 * busy


def test_a_reduction_is_charged_by_its_source() -> None:
    on = machine(vector__lanes=16, vector__add_cost=3)
    schedule = ms.compile_graph(one((8, 100), ms.Graph.reduce_sum), on)
    assert schedule.vectors["op"].tolist() == [VectorOp.REDUCE_SUM]
    found = costs(schedule, on)
    i = int(np.argmax(schedule.stream["opcode"] == Opcode.VECTOR))
    assert (found.busy[i], found.latency[i]) == (8 * 7 * 3, 8 + 4)  # ceil(100 / 16), log2(16) levels


@pytest.mark.parametrize(
    ("shape", "fields", "rows"),
    [
        ((100, 32), {}, 34),  # a row is one tile wide: the strips are those of its neighbours, see `tile_height`
        ((100, 512), {}, 8 * 12 * 32 // 512),  # 8 times start-up and latency, on 32 lanes
        (
            (100, 384),
            {"vector__lanes": 1},
            1,
        ),  # a row is enough; the next takes 1024 bytes, 8 times 8 cycles of 16 bytes
        ((100, 384), {"vector__lanes": 1, "dma__setup_cycles": 80}, 7),  # ceil(8 * 80 * 16 / 1536)
        ((100, 512), {"vector__lanes": 4096}, 12),  # all that 10 of fit the SRAM
        ((3, 512), {"vector__lanes": 4096}, 3),
    ],
)
def test_strips_are_as_large_as_is_worth_it(shape: tuple[int, int], fields: dict[str, object], rows: int) -> None:
    schedule = ms.compile_graph(one(shape, ms.Graph.softmax), machine(**fields))
    assert schedule.vectors["rows"].max() == rows


# -- what does not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["softmax:4x512", "layernorm:4x512"])
def test_rows_that_do_not_fit_are_worked_on_in_parts(spec: str) -> None:
    """Of three rows of 2048 bytes as a whole, though most goes to DRAM and back; with less in parts, down to three of
    32 elements."""
    graph, whole = load_model(spec), ms.run(load_model(spec)).outputs["y"].tobytes()
    for size, parts in ((3 * 2048, False), (3 * 2048 - 64, True), (3 * 128, True)):
        result = ms.run(graph, machine(sram__bytes=size))
        assert result.outputs["y"].tobytes() == whole
        assert (result.schedule.vectors["acc"] != NONE).any() == parts
    with pytest.raises(CapacityError, match="layer 'y' needs at least"):
        ms.compile_graph(graph, machine(sram__bytes=2 * 128))


def test_shapes_that_are_refused() -> None:
    graph = ms.Graph()
    x, scalar = graph.input("x", (2, 3)), graph.input("s", ())
    for build in (graph.softmax, graph.layer_norm, graph.reduce_mean):
        with pytest.raises(ShapeError, match="a scalar has no axis to"):
            build(scalar)
    with pytest.raises(ShapeError, match=r"scale must have the 3 elements of the last axis, not shape \(2,\)"):
        graph.layer_norm(x, graph.weight("w", np.ones(2)))
    with pytest.raises(ModelError, match="layer_norm takes a bias only with a scale"):
        graph.layer_norm(x, bias=graph.weight("b", np.ones(3)))


# -- scratch tiles -----------------------------------------------------------------------------------------------


def test_a_scratch_tensor_makes_way_for_a_name_of_the_model() -> None:
    graph = ms.Graph()
    taken = graph.relu(graph.input("x", (4, 5)), name="y/max")
    graph.output(graph.softmax(taken, name="y"))
    schedule = ms.compile_graph(graph, machine())
    assert schedule.tensor_names.count("y/max") == 1
    assert "y/max1" in schedule.tensor_names
    assert ms.run(graph).max_abs_error < 1e-6
