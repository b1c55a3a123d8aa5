"""The way back through the bursts of a run: what it costs grows with the bursts, not with their square."""

from __future__ import annotations

from typing import Any

import pytest

from minisim import Machine, compile_graph, load_model, simulate
from minisim.hwmodel.cost import costs
from minisim.reports.burst_path import Bursts
from minisim.reports.path import critical_path


class Counted(list[Any]):
    """A list that counts how often an item of it is read."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(key)


def reads_of(beats: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Bursts of a run bound by the DRAM, whose transfers are cut after so many beats, and reads of them on the path."""
    keys = ["dma.bytes_per_cycle=32", "dram.bandwidth=8GB/s", "dma.outstanding_bursts=1", "tile.m=128", "tile.k=128"]
    machine = Machine().replace(f"dma.max_burst_beats={beats}", *keys)
    schedule = compile_graph(load_model("gemm:256x512x64"), machine)
    made: list[int] = []

    def init(self: Bursts, *args: Any) -> None:
        original(self, *args)
        made.append(len(self._steps))
        self._steps = Counted(self._steps)

    original = Bursts.__init__
    monkeypatch.setattr(Bursts, "__init__", init)
    Counted.reads = 0
    critical_path(schedule, simulate(schedule, machine), machine, costs(schedule, machine))
    monkeypatch.setattr(Bursts, "__init__", original)
    return made[0], Counted.reads


def test_reads_of_bursts_grow_as_the_bursts_do(monkeypatch: pytest.MonkeyPatch) -> None:
    few, reads_of_few = reads_of(4, monkeypatch)
    many, reads_of_many = reads_of(1, monkeypatch)
    assert many >= 3 * few
    assert reads_of_few > few / 2, "the path comes by at the bursts of most transfers"
    assert reads_of_many <= 1.2 * many / few * reads_of_few
