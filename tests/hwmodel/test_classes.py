"""What is found out once for all operations that cost the same, and what is summed a block of operations at a time."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from support.pairs import pair

from minisim.hwmodel import energy
from minisim.hwmodel.classes import class_costs
from minisim.hwmodel.cost import costs
from minisim.hwmodel.native import simulate_native
from minisim.reports import tables
from minisim.reports.run_record import RunRecord


@pytest.mark.parametrize("seed", [3, 8, 13, 17, 23, 26, 32, 42])
def test_costs_by_class_are_the_costs(seed: int) -> None:
    """Of drawn graphs on drawn machines: bursts, descriptors of rows and of planes, folds, compressed weights."""
    schedule, machine = pair(seed)
    expected, found = costs(schedule, machine), class_costs(schedule, machine).of_all()
    for field in fields(expected):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)


@pytest.mark.parametrize("seed", [3, 8, 13, 17, 23, 26, 32, 42])
def test_operations_of_a_class_spend_the_same(seed: int) -> None:
    """Each operation's energy is that of its class, whatever its epilogue, its memories and its prices."""
    schedule, machine = pair(seed)
    machine = machine.with_overrides(
        {"l2.bytes": 0, "energy.dma_descriptor": "3pJ", "energy.vector_relu": "7pJ", "energy.unpack": "5pJ"}
    )
    by_class = class_costs(schedule, machine)
    expected = energy.operation_energy(schedule, machine)
    found = energy.operation_energy(by_class.examples, machine, decoded=by_class.each.descriptors)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name][by_class.of], column, name)
    timeline = simulate_native(schedule, machine)
    cycles = np.zeros(len(schedule.layers), dtype=np.int64)
    cycles[:1] = timeline.cycles
    total = energy.breakdown(schedule, machine, cycles, timeline.cycles, timeline.answers).total
    assert energy.run_energy(schedule, machine, timeline.cycles, timeline.answers, by_class) == total


@pytest.mark.parametrize("seed", [8, 17, 27, 32])
def test_blocks_of_operations_add_up(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their size: also where a descriptor's transfers lie in two, and with what an L2 answered."""
    schedule, machine = pair(seed)
    machine = machine.replace("energy.dma_descriptor=3pJ")
    timeline = simulate_native(schedule, machine)
    cycles = np.zeros(len(schedule.layers), dtype=np.int64)
    cycles[:1] = timeline.cycles
    of_each = energy.operation_energy(schedule, machine, timeline.answers)
    moved = energy.accesses(schedule)
    for size in (1, 1 << 20):
        monkeypatch.setattr(energy, "BLOCK", size)
        found = energy.breakdown(schedule, machine, cycles, timeline.cycles, timeline.answers)
        for name, column in of_each.items():
            assert sum(found.parts[name]) == int(column.sum())
        by_class = class_costs(schedule, machine)
        assert energy.run_energy(schedule, machine, timeline.cycles, timeline.answers, by_class) == found.total
        record = RunRecord(schedule, timeline, machine, "m", "c", "native", 0, 0)
        total = tables.energy(record).iloc[-1]
        assert total["sram_read_bytes"] == moved.sram_read.sum()
        assert total["sram_write_bytes"] == moved.sram_write.sum()
