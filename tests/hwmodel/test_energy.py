"""The energy: closed forms, exact sums, the engine's own counters, and prices that only ever raise it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import example, gemm, graphs
from support.machines import machine, machines_for
from support.typed import int8_graphs

from minisim import Graph, load_model
from minisim.compiler.attributes import NO_ATTRIBUTES, CastAttributes
from minisim.compiler.ops import OPERATORS
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel.config import Machine, keys, presets
from minisim.hwmodel.energy import (
    COMPONENTS,
    Breakdown,
    accesses,
    breakdown,
    leakage_energy,
    leakage_watts,
    operation_energy,
    sram_prices,
)
from minisim.hwmodel.isa import NONE, Activation, Opcode, Schedule, VectorOp
from minisim.hwmodel.sections import Matrix
from minisim.hwmodel.simulate import simulate
from minisim.runtime import Runtime, example_inputs

PRICES = [key for key in keys() if key.startswith("energy.")]

FREE = {key: 0 if key.endswith("percent") else "0nW" if "leakage" in key or "idle" in key else "0pJ" for key in PRICES}
"""All prices zero."""


def energy_of(schedule: Schedule, on: Machine, cycles: int | None = None) -> Breakdown:
    """Of a run whose cycles (default: the simulation's) all are the first layer's."""
    spent = np.zeros(len(schedule.layers), np.int64)
    spent[:1] = simulate(schedule, on).cycles if cycles is None else cycles  # a model of views alone has no layer
    return breakdown(schedule, on, spent)


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    """Any section [energy]."""
    femto = st.integers(0, 10**7).map("{}fJ".format)
    nano = st.integers(0, 10**9).map("{}nW".format)
    percent = st.integers(0, 400)
    return {
        key: draw(percent if key.endswith("percent") else nano if "nW" in str(FREE[key]) else femto) for key in PRICES
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, Machine]:
    """In all types: float models on a machine of fp32 or bf16 (which needs no more memory), and int8 models."""
    with_a_layer = graphs().filter(lambda g: any(node.op != "Reshape" for node in g.nodes))
    graph = draw(st.one_of(with_a_layer, int8_graphs()))
    dtype = draw(st.sampled_from(["fp32", "fp32", "bf16"]))
    return graph, draw(machines_for(graph)).with_overrides({**draw(prices()), "matrix.dtype": dtype})


# -- sums ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_layers_and_components_add_up_exactly(case: tuple[Graph, Machine], rng: Any) -> None:
    graph, on = case
    schedule = compile_graph(graph, on)
    cycles = [rng.randrange(10**6) for _ in schedule.layers]
    found = breakdown(schedule, on, cycles)
    assert tuple(found.parts) == COMPONENTS
    assert sum(found.by_layer()) == sum(found.by_component().values()) == found.total
    by_operation = sum(int(column.sum()) for column in operation_energy(schedule, on).values())
    assert found.total == by_operation + math.floor(
        sum(cycles) * leakage_watts(on) * 10**15 / on.clock.frequency
    )  # not a float on the way
    assert all(fj >= 0 for layers in found.parts.values() for fj in layers)


def test_sums_beyond_64_bits_are_exact() -> None:
    dear = machine(energy__mac_fp32="10nJ")
    schedule = compile_graph(gemm(32, 64, 32), dear)
    huge = schedule.matmuls.copy()
    for edge in ("m", "k", "n"):
        huge[edge] = 9000
    found = energy_of(schedule.replace(matmuls=huge, stream=np.repeat(schedule.stream, 3)), dear, 0)
    assert found.by_component()["mac"] == 6 * 9000**3 * 10**7 > 2**63


# -- counts ----------------------------------------------------------------------------------------------------


def engine_stats(graph: Graph, on: Machine, schedule: Schedule) -> Any:
    runtime = Runtime(graph, on, schedule)
    for name, array in example_inputs(graph).items():
        runtime.set(name, array)
    runtime.engine.run()
    return runtime.engine.stats


def check_counters(graph: Graph, on: Machine) -> None:
    schedule = compile_graph(graph, on)
    stats, moved = engine_stats(graph, on, schedule), accesses(schedule)
    for name in ("sram_read", "sram_write", "dram_read", "dram_write"):
        assert getattr(moved, name).sum() == getattr(stats, f"{name}_bytes"), name


@settings(max_examples=60, deadline=None)
@given(cases())
def test_bytes_are_what_the_engine_counts(case: tuple[Graph, Machine]) -> None:
    check_counters(*case)


@pytest.mark.parametrize("name", ["mlp", "residual_block"])
@pytest.mark.parametrize("config", presets())
def test_bytes_are_what_the_engine_counts_on_examples(name: str, config: str) -> None:
    check_counters(example(name), Machine.load(config))


# -- closed forms ----------------------------------------------------------------------------------------------


def test_one_gemm_in_closed_form() -> None:
    """64 x 96 x 32 on tiles of 32 in ample SRAM: 2 x 1 tiles of C, 3 steps each, everything loaded once."""
    on = machine(sram__bytes="1MiB")
    found = energy_of(compile_graph(load_model("gemm:64x96x32"), on), on, 5000).by_component()
    tile, executes, loads, stores = 32 * 32 * 4, 6, 2 * 3 + 3, 2
    reads = executes * 2 + (executes - 2) + stores  # A and B; C but for first steps; stored tiles
    writes = executes + loads
    assert found == {
        "mac": 64 * 96 * 32 * 4_600,
        "epilogue": 0,
        "noc": 0,
        "l2": 0,
        "vector": 0,
        "sram_read": reads * tile * 12_500,
        "sram_write": writes * tile * 12_500,
        "dma": (loads + stores) * (70_000 + tile * 1_000),
        "dram": (loads + stores) * tile * 32_000,
        "leakage": 5000 * (32 * 32 * 50 + 20_000 + 30_000),  # 1 mW for a cycle of 1 ns is 1000 fJ
    }


def test_an_epilogue_is_priced_per_element() -> None:
    """Bias and relu, once for each element of C, whatever the steps."""
    on = machine(energy__vector_add="7fJ", energy__vector_relu="100fJ")
    found = energy_of(compile_graph(gemm(40, 100, 50), on), on).by_component()
    assert (found["epilogue"], found["vector"]) == (40 * 50 * 107, 0)


@pytest.mark.parametrize("op", [op for op in VectorOp if not op.is_fold])
def test_vector_operations_are_priced_by_their_steps(op: VectorOp) -> None:
    graph = Graph("one")
    types = ["bool" if kind == "c" or "BOOL" in op.types else "float32" for kind in op.kinds]
    inputs = [graph.input(f"x{i}", (40, 33), dtype=dtype) for i, dtype in enumerate(types)]
    if op.is_move:
        graph.output(graph.transpose(*inputs) if op is VectorOp.TRANSPOSE else graph.concat(inputs), "y")
    else:
        name = next(name for name, operator in OPERATORS.items() if getattr(operator, "code", None) == op)
        to = "float8_e5m2" if op is VectorOp.CAST_BEYOND else "int8"
        attributes = CastAttributes(to) if op.is_conversion else NO_ATTRIBUTES
        graph.output(graph.add_node(name, inputs, attributes), "y")
    on = Machine().with_overrides({**FREE, **{f"energy.vector_{price}": "11fJ" for price in op.prices}})
    found = energy_of(compile_graph(graph, on), on)
    expected = {**dict.fromkeys(COMPONENTS, 0), "vector": 40 * 33 * 11 * len(op.prices)}
    assert found.by_component() == expected


def test_a_fold_is_priced_by_its_taps() -> None:
    """9 taps for each of 5 x 4 x 33 elements, padding or not; the division is an operation of its own."""
    graph = Graph("folds")
    x = graph.input("x", (1, 5, 4, 33))
    graph.output(graph.max_pool(x, 3, strides=1, pads=1), "y")
    graph.output(graph.average_pool(x, 3, strides=1, pads=1, count_pad=True), "z")
    prices = {"energy.vector_reduce_max": "11fJ", "energy.vector_reduce_sum": "13fJ", "energy.vector_div": "7fJ"}
    on = Machine().with_overrides({**FREE, **prices})
    found = energy_of(compile_graph(graph, on), on).by_component()
    assert found == {**dict.fromkeys(COMPONENTS, 0), "vector": 5 * 4 * 33 * (9 * 11 + 9 * 13 + 7)}


def test_integers_are_added_at_the_price_of_integers() -> None:
    """Of an addition and a product of int8: 40 x 33 of each."""
    graph = Graph("integers")
    x = graph.input("x", (40, 33), dtype="int8")
    graph.output(graph.mul(graph.add(x, x), x))
    prices = {"energy.add_int32": "7fJ", "energy.vector_add": "100fJ", "energy.vector_mul": "11fJ"}
    on = Machine().with_overrides({**FREE, **prices})
    assert energy_of(compile_graph(graph, on), on).by_component()["vector"] == 40 * 33 * (7 + 11)


def test_every_type_and_activation_has_a_price() -> None:
    """A new code needs a key: nothing is priced at zero because it was forgotten."""
    names = [f"vector_{op.name.lower()}" for op in Activation if op is not Activation.NONE]
    macs = [f"mac_{dtype}" for dtype in get_args(Matrix.model_fields["dtype"].annotation)]
    assert {f"energy.{name}" for name in (*names, *macs)} <= set(PRICES)


def test_operations_pay_for_what_they_do_alone() -> None:
    on = machine()
    schedule = compile_graph(gemm(64, 64, 64), on)
    opcode, columns = schedule.stream["opcode"], operation_energy(schedule, on)
    assert not columns["dram"][opcode > Opcode.STORE].any()
    assert not columns["mac"][opcode != Opcode.EXECUTE].any()
    assert (columns["sram_write"][opcode == Opcode.STORE] == 0).all()
    assert (columns["sram_read"][opcode == Opcode.LOAD] == 0).all()
    assert (schedule.matmuls["bias"] == NONE).any()  # an operand that is not there costs nothing


# -- the SRAM's size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fj"),
    [("8KiB", 1250), ("32KiB", 2500), ("1MiB", 12500), ("16KiB", round(1250 * 2**0.5)), ("2KiB", 625),
     ("16MiB", 50000), ("256KiB", round(2500 * 5**0.6))],
)  # fmt: skip
def test_sram_prices_meet_the_table(size: str, fj: int) -> None:
    assert sram_prices(machine(sram__bytes=size)) == (fj, fj)


def test_a_larger_sram_costs_no_less_per_byte() -> None:
    found = [sram_prices(machine(sram__bytes=64 * size))[0] for size in range(1, 40_000, 37)]
    assert found == sorted(found)


def test_writes_have_their_own_price() -> None:
    assert sram_prices(machine(sram__bytes="32KiB", energy__sram_write_percent=150)) == (2500, 3750)
    on = machine(sram__bytes="32KiB", energy__sram_write_percent=150)
    schedule = compile_graph(gemm(32, 64, 32), on)
    found, moved = energy_of(schedule, on).by_component(), accesses(schedule)
    assert found["sram_read"] == moved.sram_read.sum() * 2500
    assert found["sram_write"] == moved.sram_write.sum() * 3750


@pytest.mark.parametrize("point", ["sram_8kib", "sram_32kib", "sram_1mib"])
def test_a_point_of_the_table_may_be_zero(point: str) -> None:
    for size in ("64", "8KiB", "12KiB", "32KiB", "256KiB", "1MiB", "2GiB"):
        on = machine(sram__bytes=size)
        assert 0 <= sram_prices(on.with_overrides({f"energy.{point}": "0pJ"}))[0] <= sram_prices(on)[0]


# -- leakage ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(0, 10**6), st.sampled_from(["1GHz", "940MHz", "3GHz"]))
def test_leakage_is_power_times_time(cycles: list[int], micro: int, clock: str) -> None:
    on = Machine().with_overrides({**FREE, "energy.dram_idle": f"{micro}uW", "clock.frequency": clock})
    seconds = Fraction(sum(cycles)) / on.clock.frequency
    assert sum(leakage_energy(cycles, on)) == math.floor(Fraction(micro, 10**6) * seconds * 10**15)
    for stretch, fj in zip(cycles, leakage_energy(cycles, on), strict=True):
        assert abs(fj - Fraction(micro, 10**6) * stretch / on.clock.frequency * 10**15) < 1


def test_leakage_grows_with_array_and_sram() -> None:
    on = machine(matrix__rows=8, matrix__cols=4, sram__bytes="512KiB")
    assert leakage_watts(on) == Fraction(32 * 5, 10**5) + Fraction(1, 100) + Fraction(3, 100)


def test_cycles_are_needed_for_every_layer() -> None:
    on = machine()
    with pytest.raises(ValueError, match=r"one entry for each of the 1 layers, not shape \(2,\)"):
        breakdown(compile_graph(gemm(8, 8, 8), on), on, [1, 2])


# -- prices ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(PRICES), st.data())
def test_a_higher_price_never_gives_less(case: tuple[Graph, Machine], key: str, data: st.DataObject) -> None:
    graph, on = case
    other = on.with_overrides({key: data.draw(prices())[key]})
    name = key.partition(".")[2]
    low, high = sorted((on, other), key=lambda m: getattr(m.energy, name))
    schedule = compile_graph(graph, on)
    less, more = (energy_of(schedule, m, 1000).parts for m in (low, high))
    assert all(a <= b for part in COMPONENTS for a, b in zip(less[part], more[part], strict=True))


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(PRICES))
def test_a_price_of_zero_leaves_exactly_the_others(case: tuple[Graph, Machine], key: str) -> None:
    graph, on = case
    schedule = compile_graph(graph, on)
    free = Machine.check(on.with_overrides({key: FREE[key]}).model_dump(mode="json"))
    before, after = energy_of(schedule, on, 1000), energy_of(schedule, free, 1000)
    touched = {
        "mac": {"mac"}, "vector": {"vector", "epilogue"}, "sram": {"sram_read", "sram_write"}, "dma": {"dma"},
        "noc": {"noc"}, "dram": {"dram"}, "pe": {"leakage"}, "add": {"epilogue"}, "requantize": {"epilogue"},
        "unpack": {"mac", "dma"},
    }[key.removeprefix("energy.").partition("_")[0]]  # fmt: skip
    if "leakage" in key or "idle" in key:
        touched = {"leakage"}
    for part in set(COMPONENTS) - touched:
        assert before.parts[part] == after.parts[part]
    assert after.total <= before.total


def test_without_prices_there_is_no_energy() -> None:
    on = Machine().with_overrides(FREE)
    assert energy_of(compile_graph(gemm(40, 40, 40), on), on).total == 0


@pytest.mark.parametrize("config", presets())
def test_no_price_changes_cycles(config: str) -> None:
    on = Machine.load(config)
    graph = gemm(64, 64, 64)
    schedule = compile_graph(graph, on)
    free = on.with_overrides(FREE)
    assert compile_graph(graph, free).digest() == schedule.digest()
    assert simulate(schedule, free).cycles == simulate(schedule, on).cycles


def test_the_default_prices_are_horowitzs() -> None:
    """ISSCC 2014, fig. 1.1.9, in pJ: fp32 multiply 3.7 and add 0.9; 64 bits of 8 KB, 32 KB and 1 MB: 10, 20, 100."""
    price = Machine().energy
    assert price.mac_fp32 == price.vector_mul + price.vector_add == int((Decimal("3.7") + Decimal("0.9")) * 1000)
    assert [8 * p for p in (price.sram_8kib, price.sram_32kib, price.sram_1mib)] == [10_000, 20_000, 100_000]
