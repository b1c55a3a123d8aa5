"""What a Python prompt shows of a run: a few lines that say what it is, however large it is."""

from __future__ import annotations

import pytest

import minisim as ms
from minisim.hwmodel.config import Machine, presets
from minisim.run import run


@pytest.mark.parametrize("spec", ["gemm:8x8x8", "softmax:100x100"])
@pytest.mark.parametrize("numerics", [True, False])
def test_a_result_and_its_parts_are_three_lines_at_most(spec: str, numerics: bool) -> None:
    result = run(ms.load_model(spec), Machine(), numerics=numerics)
    for shown in (result, result.machine, result.times, result.schedule, result.graph, result.record()):
        lines = repr(shown).splitlines()
        assert len(lines) <= 3 and max(map(len, lines)) <= 120
    for shown in (result, result.times, result.record()):
        assert f"{result.cycles:,} cycles" in repr(shown)
    assert ("outputs not computed" in repr(result)) != numerics
    assert ("largest error" in repr(result)) == numerics


def test_a_result_with_many_outputs_is_still_three_lines() -> None:
    graph = ms.Graph("many")
    x = graph.input("x", (2, 2))
    for i in range(100):
        graph.output(graph.relu(x), f"output_{i}")
    lines = repr(run(graph, Machine())).splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", presets())
def test_a_machine_says_what_it_is(name: str) -> None:
    machine = Machine.load(name, ["dma.bytes_per_cycle=24", "cores.count=3", "matrix.arrays=2"])
    text, flat = repr(machine), machine.flat()
    assert text == str(machine) and len(text.splitlines()) == 3
    for part in (repr(machine.name), "3 cores", f"2 x {machine.matrix.rows}x{machine.matrix.cols}", "DMA 24 B/cycle",
                 machine.matrix.dataflow, machine.matrix.dtype, f"SRAM {flat['sram.bytes']}"):  # fmt: skip
        assert part in text
    assert ("banked" in text) == (machine.dram.model == "banked")
    assert "1 core at" in repr(Machine())
