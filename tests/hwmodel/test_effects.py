"""Keys without effect: what is told of them is held to runs, both ways."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import machines

import minisim as ms
from minisim.compiler.blocked import blocked
from minisim.errors import MinisimError
from minisim.hwmodel.config import Machine, keys, presets
from minisim.hwmodel.effects import RULES, no_effect, notes
from minisim.hwmodel.energy import breakdown

OTHER: dict[str, list[Any]] = {
    "clock.frequency": ["700MHz"],
    "matrix.dataflow": ["os", "is", "ws"],
    "matrix.overlap": ["none", "drain", "full"],
    "matrix.model": ["scalesim", "pipelined"],
    "matrix.packs_taps": [False, True],
    "vector.depthwise": [False, True],
    "matrix.dtype": ["bf16", "int8", "fp32"],
    "sparsity.pattern": ["2:4", "1:8", "none"],
    "sparsity.prune": [True, False],
    "unpack.by": ["dma", "array", "none"],
    "sram.bytes": ["16KiB", "96KiB", "2MiB"],
    "accumulator.bytes": ["16KiB", "96KiB", "2MiB"],
    "dma.shared": [True, False],
    "dma.burst_boundary": ["64", "16"],
    "dram.model": ["banked", "ideal"],
    "dram.preset": ["hbm2", "lpddr4-2400"],
    "dram.override": ["CL=40 tRCD=60"],
    "dram.bandwidth": ["3GB/s"],
    "dram.latency": ["333ns"],
    "dram.write_latency": ["444ns", "latency"],
    "l2.bytes": ["16KiB", "96KiB", "0"],
    "l2.line_bytes": [32, 256],
    "l2.ways": [1, 2, 8],
    "l2.latency": ["333ns"],
    "dram.padding": ["tile", "row"],
    "compiler.order": ["mnk", "auto", "blocked"],
    "compiler.keep_on_chip": [False, True],
    "compiler.slices": [False, True],
    "compiler.weight_scales": ["channel"],
    "compiler.effort": [0],
    **{f"matrix.{dtype}_rate": ["1/3", "4"] for dtype in ("fp32", "bf16", "fp16", "int8", "uint8", "int16")},
    **{
        key: ["77mW"] if "leakage" in key or "idle" in key else ["77pJ"]
        for key in keys()
        if key.startswith("energy.") and key != "energy.sram_write_percent"
    },
    "energy.sram_write_percent": [57],
}
"""Other values for keys that are no plain numbers; of those 1, 2, 3 and 50 are tried."""


def values(key: str) -> list[Any]:
    return OTHER.get(key, [1, 2, 3, 50])


def typed_graph(dtype: str) -> ms.Graph:
    """A matmul of int8 weights, with all that an epilogue of integers has."""
    rng, g = np.random.default_rng(0), ms.Graph(dtype)
    w, b = rng.integers(-9, 9, (40, 40)).astype(np.int8), rng.integers(-9, 9, 40).astype(np.int32)
    x = g.input("x", (40, 40), dtype=dtype)
    g.output(g.relu(g.matmul(x, g.weight("w", w, "int8"), bias=g.weight("b", b, "int32"), scale=0.01)))
    return g


def float_graph() -> ms.Graph:
    """Every operation of the vector unit, and matmuls with and without an epilogue."""
    rng, g = np.random.default_rng(0), ms.Graph("floats")
    x, y = g.input("x", (40, 40)), g.input("y", (40, 40))
    w, b = g.weight("w", rng.standard_normal((40, 40))), g.weight("b", rng.standard_normal(40))
    one, zero = g.weight("one", np.ones(40)), g.weight("zero", np.zeros(40))
    z = g.softmax(g.layer_norm(g.relu(y), one, zero))
    g.output(g.exp(g.maximum(g.sub(g.sigmoid(x @ w + b), z), g.sqrt(g.sigmoid(y)))))
    g.output(g.log(g.cos(g.erf(g.sigmoid(y)))))
    g.output(g.div(g.mul(x, y), g.add(y, g.reduce_sum(x))))
    g.output(g.reduce_max(g.relu(y @ w)))
    return g


def conv_graph() -> ms.Graph:
    """A convolution of three channels, as a network begins; one of each channel by itself, and pooling."""
    g = ms.Graph("conv")
    y = g.conv2d(g.input("x", (1, 9, 9, 3)), g.weight("w", shape=(3, 3, 3, 8)), pads=1)
    g.output(g.conv2d(y, g.weight("each", shape=(3, 3, 1, 8)), pads=1, groups=8))
    g.output(g.max_pool(y, 3))
    return g


def chain_graph() -> ms.Graph:
    """Layers that pass each other more than a small SRAM has room for."""
    g = ms.Graph("chain")
    y = g.input("x", (1920, 8))
    for i in range(2):
        y = g.matmul(y, g.weight(f"w{i}", shape=(8, 8)))
    g.output(y)
    return g


def bfloat16_graph() -> ms.Graph:
    g = ms.Graph("bf16")
    g.output(g.input("x", (40, 40), dtype="bfloat16") @ g.weight("w", np.ones((40, 40)), "bfloat16"))
    return g


def float16_graph() -> ms.Graph:
    """The weights are sparse, in every pattern."""
    g = ms.Graph("fp16")
    g.output(g.input("x", (40, 40), dtype="float16") @ g.weight("w", np.eye(40), "float16"))
    return g


def int4_graph() -> ms.Graph:
    """Weights of 4 bits."""
    g = ms.Graph("int4")
    g.output(g.input("x", (40, 40)) @ g.weight("w", blocked(np.eye(40, dtype=np.uint8), np.ones((2, 40)), block=20)))
    return g


GRAPHS = [
    bfloat16_graph(),
    int4_graph(),
    typed_graph("int8"),
    typed_graph("uint8"),
    typed_graph("int16"),
    float16_graph(),
    chain_graph(),
    conv_graph(),
    float_graph(),
]
"""Those that compile soonest first: the first that differs is enough."""


@lru_cache(maxsize=512)
def outcome(machine: Machine, model: int) -> tuple[int, Any]:
    """Cycles and energy of a model, or what is said instead."""
    try:
        result = ms.run(GRAPHS[model], machine, numerics=False)
    except MinisimError as e:
        return 0, type(e)
    layers = [result.cycles] + [0] * (len(result.schedule.layers) - 1)
    energy = breakdown(result.schedule, machine, layers, answers=result.times.answers)
    return result.cycles, energy.by_component()


def same(machine: Machine, other: Machine) -> bool:
    """Whether all models have one outcome on both."""
    return all(outcome(machine, model) == outcome(other, model) for model in range(len(GRAPHS)))


def changed(machine: Machine, key: str, value: Any) -> Machine | None:
    try:
        return machine.with_overrides({key: value})
    except MinisimError:
        return None


TOLD = sorted({key for rule in RULES for key in rule.keys})
VALID = {key: [value for value in values(key) if changed(Machine(), key, value)] for key in TOLD}


@settings(max_examples=14, deadline=None)
@given(machines(), st.sampled_from(["ideal", "banked"]), st.sampled_from(["0", "1"]), st.data())
def test_keys_that_are_told_change_nothing(machine: Machine, dram: str, rate: str, data: st.DataObject) -> None:
    """All of them at once, each to any other value: where one is told, so is what it governs."""
    rates = {f"matrix.{dtype}_rate": rate for dtype in ("int8", "uint8", "int16")}
    machine = machine.with_overrides({"dram.model": dram, **rates})
    told = [key for key in TOLD if no_effect(machine, key)]
    other = machine.with_overrides({key: data.draw(st.sampled_from(VALID[key])) for key in told})
    assert told and same(other, machine)


SETTINGS: list[dict[str, Any]] = [
    {"sram.bytes": "16KiB", "accumulator.bytes": "64KiB", "matrix.overlap": "none", "sram.bank_bytes_per_cycle": 4,
     "dma.bytes_per_cycle": 4},
    {"sram.bytes": "2MiB", "dram.model": "banked", "compiler.order": "blocked", "compiler.keep_on_chip": False,
     "dma.max_burst_beats": 8, "dma.outstanding_bursts": 4},
    {"matrix.model": "scalesim", "tile.m": 16, "cores.count": 2},
    {"matrix.dataflow": "os", "matrix.rows": 8, "matrix.cols": 8, "tile.k": 32, "vector.lanes": 4, "dma.shared": True},
    {"matrix.dataflow": "is", "matrix.dtype": "bf16", "dma.dimensions": 1, "matrix.arrays": 2, "dma.channels": 2,
     "vector.add_cost": 2, "vector.mul_cost": 2},
    {"l2.bytes": "16KiB", "l2.ways": 4, "l2.bytes_per_cycle": 8, "noc.core_bytes_per_cycle": 12, "sram.bytes": "16KiB",
     "dram.write_latency": "90ns", "sparsity.pattern": "2:4"},
    {"matrix.dtype": "int8"},
    {"compiler.effort": 1},
]  # fmt: skip
"""Machines that have between them every mechanism; only the last one's compiler tries edges, which takes its time."""

WITHOUT_ITS_MODEL = {"name"}


@pytest.mark.parametrize("key", [key for key in keys() if key not in WITHOUT_ITS_MODEL])
def test_a_key_that_is_not_told_can_change_something(key: str) -> None:
    """On at least one of the machines on which it is not told; so no rule is missing that holds always."""
    plain = {"compiler.effort": 0}
    free = [m for m in (Machine().with_overrides(plain | each) for each in SETTINGS) if not no_effect(m, key)]
    assert free, "told on every machine"
    if key.startswith(("tile.max_", "tile.multiple_", "compiler.effort")):
        free.reverse()  # of the machines one minds them: the last
    for machine in free:
        for value in reversed(values(key)):  # the largest first, which are hidden by nothing
            other = changed(machine, key, value)
            if other is not None and other != machine and not same(machine, other):
                return
    pytest.fail(f"{key} changes nothing on {len(free)} machines")


PRESETS = [Machine.load(name).with_overrides({"compiler.effort": 0}) for name in presets()]


@pytest.mark.parametrize(("rule", "machine"), [(r, m) for r in RULES for m in PRESETS],
                         ids=lambda x: x.name if isinstance(x, Machine) else "+".join(x.keys))  # fmt: skip
def test_a_rule_says_what_is_so(rule: Any, machine: Machine) -> None:
    """On presets: where it holds, its keys change nothing."""
    if rule.holds(machine):
        for key in rule.keys:
            other = changed(machine, key, values(key)[0])
            assert other is not None and same(machine, other)


def test_a_preset_writes_no_key_without_effect_but_prices_and_what_it_cannot() -> None:
    """Prices of memories of all sizes stand in one table; and a chip says at which rate it has fp32 beside its type."""
    for name in presets():
        machine = Machine.load(name)
        dead = [key for key in machine.written_keys() if no_effect(machine, key)]
        assert all(key.startswith("energy.sram_") or key == "matrix.fp32_rate" for key in dead)


# -- what is told ---------------------------------------------------------------------------------------------------


def test_a_key_that_is_asked_for_is_told_with_its_reason() -> None:
    machine = Machine.load("npu_32x32", ["dram.preset=hbm2", "matrix.gap_cycles=0"])
    assert list(notes([machine], ["dram.preset", "matrix.gap_cycles", "sram.bytes"])) == [
        "dram.preset: no effect on this machine, where dram.model is 'ideal'",
        "matrix.gap_cycles: no effect on this machine, where matrix.overlap is not 'none'",
    ]
    assert not list(notes([machine.with_overrides({"dram.model": "banked"})], ["dram.preset"]))


def test_a_key_that_acts_on_one_machine_of_several_is_not_told() -> None:
    ideal, banked = Machine(), Machine().with_overrides({"dram.model": "banked"})
    assert not list(notes([ideal, banked], ["dram.preset"]))
    assert list(notes([ideal, ideal], ["dram.preset"]))


def test_a_file_that_lists_every_key_is_no_mistake() -> None:
    """The default of a key that its reason's key stands beside is not told; another value, or without that key, is."""
    listed = Machine.check({"dram": {"model": "ideal", "preset": "ddr4-3200"}})
    assert not list(notes([listed], [], listed.written_keys()))
    forgot = Machine.check({"dram": {"preset": "ddr4-3200"}})
    other = Machine.check({"dram": {"model": "ideal", "preset": "hbm2"}})
    for machine in (forgot, other):
        assert list(notes([machine], [], machine.written_keys())) == [
            "dram.preset: no effect on this machine, where dram.model is 'ideal'"
        ]
