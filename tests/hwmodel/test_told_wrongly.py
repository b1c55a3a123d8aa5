"""Small faults of the machine's model of which a user would hear wrong figures: each has its right one here.

Tests of single rules, where the tests beside take runs as a whole and let small faults pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support.machines import machine

import minisim as ms
from minisim.hwmodel.banked import BankedDram, Turn
from minisim.hwmodel.bursts import Descriptor
from minisim.hwmodel.cost import burst_rules
from minisim.hwmodel.energy import breakdown
from minisim.hwmodel.isa import Opcode, Role
from minisim.hwmodel.port import BurstPort, Step, cut


def int16_matmul(m: int, k: int, n: int) -> ms.Graph:
    g = ms.Graph("int16")
    x, w = g.input("x", (m, k), dtype="int16"), g.weight("w", np.ones((k, n), np.int8), "int8")
    g.output(g.relu(g.matmul(x, w, bias=g.weight("b", np.zeros(n, np.int32), "int32"), scale=0.01)))
    return g


def test_int16_macs_and_their_epilogue_have_prices_of_their_own() -> None:
    """MACs of int16 x int8; the bias is an int32 addition, not a float one, and every result is requantised."""
    prices = {"mac_int16": 3, "mac_int8": 1000, "mac_fp32": 10_000, "add_int32": 7, "requantize": 100}
    prices |= {"vector_add": 50_000, "vector_relu": 900}
    on = machine(**{f"energy__{key}": f"{fj}fJ" for key, fj in prices.items()})
    result = ms.run(int16_matmul(40, 70, 24), on, numerics=False)
    found = breakdown(result.schedule, on, [result.cycles] + [0] * (len(result.schedule.layers) - 1)).by_component()
    fused = len(result.schedule.layers) == 1
    assert fused and found["mac"] == 40 * 70 * 24 * 3
    assert found["epilogue"] == 40 * 24 * (7 + 100 + 900)


def moved(port: BurstPort, descriptor: Descriptor, served: tuple[int, int], on: ms.Machine) -> list[Step]:
    log: list[Step] = []
    port.move(cut(descriptor, (rules := burst_rules(on, load=True))), 0, served, rules.latency, log)
    return log


def test_a_burst_is_there_when_the_slow_dram_has_served_its_share_rounded_up() -> None:
    """40 bytes in bursts of 16, 16 and 8 that a DRAM serves in 7 cycles: 2.8, 5.6 and 7 are 3, 6 and 7."""
    on = machine(dma__max_burst_beats=1, dma__bytes_per_cycle=16, dram__latency="0ns")
    log = moved(BurstPort(burst_rules(on, load=True)), Descriptor(0, 40), (0, 7), on)
    assert [step.done for step in log] == [3, 6, 7]


@pytest.mark.parametrize(("dimensions", "burst_gap", "rest"), [(1, 0, 5), (1, 9, 9), (2, 0, 0), (2, 3, 3)])
def test_the_port_rests_between_rows_that_are_descriptors(dimensions: int, burst_gap: int, rest: int) -> None:
    """6 rows of one burst of 4 beats: with a descriptor for each `gap_cycles` lie between them, or the bursts' gap if
    that is longer; with one for all only the bursts' gap."""
    on = machine(
        dma__dimensions=dimensions, dma__gap_cycles=5, dma__burst_gap_cycles=burst_gap, dma__max_burst_beats=4,
        dma__setup_cycles=0, dram__latency="0ns",
    )  # fmt: skip
    rules = burst_rules(on, load=True)
    rows = cut(Descriptor(0, 64, 6, 256), rules)
    assert rows.through == 6 * 4 + 5 * rest
    log = moved(BurstPort(rules), Descriptor(0, 64, 6, 256), (0, 24), on)
    assert [step.begin for step in log] == [i * (4 + rest) for i in range(6)]
    in_a_run = ms.run(
        ms.load_model("gemm:6x256x16"), on.replace("tile.k=16", "dram.bandwidth=1000GB/s"), numerics=False
    )
    first = in_a_run.schedule.stream["opcode"].tolist().index(Opcode.LOAD)  # 6 rows of 64 B of A, 1 KiB apart
    assert in_a_run.times.done[first] - in_a_run.times.begin[first] == 6 * 4 + 5 * rest


class Recorder:
    """A memory that serves at once, and knows where it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def transfer(self, first: int, pitch: int, rows: int, width: int, write: bool, now: int, since: int) -> Turn:
        self.asked.append((first, rows, width))
        return Turn(now, now, now + 1)

    def lines(self, reads: Sequence[int], writes: Sequence[int], size: int, now: int, since: int) -> Turn:
        raise NotImplementedError


def test_a_banked_dram_is_asked_where_the_tile_lies() -> None:
    """The tiles of one band of A (3 x 4 KiB apart in columns of 16 floats) begin 64 bytes after each other."""
    on = machine(dram__model="banked", tile__m=8, tile__k=16, tile__n=16)
    schedule = ms.compile_graph(ms.load_model("gemm:8x64x16"), on)
    memory = Recorder()
    dram = BankedDram(schedule, on, lambda part, rate: memory)
    tiles = schedule.tiles[schedule.transfers["tile"]]
    roles = schedule.tensors["role"][tiles["tensor"]]
    loads = schedule.stream["opcode"] == Opcode.LOAD
    ops = [i for i in np.flatnonzero(loads).tolist() if roles[schedule.stream["row"][i]] == Role.INPUT]
    for now, op in enumerate(ops):
        dram.serve(op, now)
    columns = [int(tiles["col"][schedule.stream["row"][op]]) for op in ops]
    base = int(schedule.tensors["address"][tiles["tensor"][schedule.stream["row"][ops[0]]]])
    assert sorted(columns) == [0, 16, 32, 48]
    assert memory.asked == [(base + 4 * column, 8, 64) for column in columns]
