"""How exact the DMA's burst model is, against the RTL of verilog-axi's read DMA.

    python benchmarks/fidelity/dma.py [--data FILE.csv] [--all]

Prints truth, prediction and error of `cycles_to_last_data`: of the burst law (hwmodel/bursts.py, descriptors back
to back), of the machine (the event model, running a schedule with a load for each descriptor), and of the usual
'latency + bytes / width'. No constant is fitted: those below are read off `axi_dma_rd.v`. What the rows and columns
are: data/README.md.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import BurstRules, Descriptor, replay
from minisim.hwmodel.config import Machine
from minisim.hwmodel.simulate import simulate

DATA = Path(__file__).parent / "data" / "dma_read_rtl.csv"

FIRST_REQUEST = 2
"""Cycles from a descriptor's acceptance to its first request: state START, then the request's register."""
TO_OUTPUT = 2
"""Cycles from the bus to the output: the output register and its FIFO."""
BOUNDARY = 4096
REQUEST_CYCLES = 2
"""A request is raised only in a cycle in which none is on the wires. (No row of data/ depends on it.)"""
IN_FLIGHT = 2
"""One descriptor has the data path, one waits for it in the command register."""
DECODE_CYCLES = 3
"""Acceptance, command register, data path: from one descriptor to the next."""
COMPLETION_CYCLES = 1
"""From the last beat to the cycle in which the data path is idle, and the command register can be emptied into it."""
GAP = 1
"""The data path's state IDLE between descriptors."""
SMALLEST = min(isa.ITEMSIZE, key=isa.ITEMSIZE.__getitem__)
RAM_LATENCY, RAM_BURST_GAP = 2, 1
"""Of verilog-axi's own RAM (mode 0)."""


@dataclass(frozen=True)
class Case:
    """A row: descriptors, the DMA's rules, and the RTL's cycles to the last data."""

    descriptors: list[Descriptor]
    rules: BurstRules
    truth: int

    @classmethod
    def of(cls, row: dict[str, str]) -> Case:
        r = {key: int(value) for key, value in row.items()}
        own_ram = r["mode"] == 0
        rules = BurstRules(
            width=r["data_width"] // 8,
            latency=RAM_LATENCY if own_ram else r["mem_latency"],
            max_beats=r["max_burst_len"],
            boundary=BOUNDARY,
            outstanding=0 if own_ram else r["outstanding"],
            request_cycles=REQUEST_CYCLES,
            burst_gap=RAM_BURST_GAP if own_ram else 0,
            in_flight=IN_FLIGHT,
            decode_cycles=DECODE_CYCLES,
            gap=GAP,
        )
        addresses = [r["addr"] + i * r["stride"] for i in range(r["ndesc"])]
        return cls([Descriptor(address, r["len_bytes"]) for address in addresses], rules, r["cycles_to_last_data"])

    def law(self) -> int:
        return FIRST_REQUEST + replay(self.descriptors, self.rules)[-1] + TO_OUTPUT

    def naive(self) -> int:
        """Latency + bytes / width, between the same ends."""
        size = sum(d.row_bytes for d in self.descriptors)
        return FIRST_REQUEST + self.rules.latency + math.ceil(size / self.rules.width) + TO_OUTPUT

    def machine(self) -> int | None:
        """Through a schedule of loads, a descriptor a tile; None if no data type is small enough for the size."""
        if any(d.row_bytes % isa.ITEMSIZE[SMALLEST] for d in self.descriptors):
            return None
        machine = Machine.check(
            {
                "dma": {
                    "bytes_per_cycle": self.rules.width,
                    "setup_cycles": DECODE_CYCLES,
                    "completion_cycles": COMPLETION_CYCLES,
                    "max_outstanding": IN_FLIGHT,
                    "max_burst_beats": self.rules.max_beats,
                    "burst_boundary": BOUNDARY,
                    "outstanding_bursts": self.rules.outstanding,
                    "request_cycles": REQUEST_CYCLES,
                    "burst_gap_cycles": self.rules.burst_gap,
                    "gap_cycles": GAP,
                },
                "dram": {"bandwidth": "1000TB/s", "latency": f"{self.rules.latency}ns"},
            }
        )
        first_request = machine.control.issue_cycles + DECODE_CYCLES
        last_data = simulate(loads(self.descriptors), machine).cycles - COMPLETION_CYCLES
        return FIRST_REQUEST + last_data - first_request + TO_OUTPUT


def loads(descriptors: list[Descriptor]) -> isa.Schedule:
    """A schedule that loads a tile for each descriptor, of the smallest type that there is."""
    n = len(descriptors)
    tensors = np.zeros(n, isa.TENSOR_DTYPE)
    tensors["address"] = [d.address for d in descriptors]
    tensors["pitch"] = [d.pitch for d in descriptors]
    tensors["dtype"] = SMALLEST
    size = isa.ITEMSIZE[SMALLEST]
    return isa.Schedule(
        stream=np.array(
            [(isa.Opcode.LOAD, isa.Queue.LOAD, 0, 0, i, (0,) * 4, isa.NONE) for i in range(n)], isa.STREAM_DTYPE
        ),
        transfers=np.array([(i, 0, 0, isa.NONE, isa.NONE) for i in range(n)], isa.TRANSFER_DTYPE),
        matmuls=np.zeros(0, isa.MATMUL_DTYPE),
        vectors=np.zeros(0, isa.VECTOR_DTYPE),
        tiles=np.array(
            [(i, 0, 0, d.rows, d.row_bytes // size, 0, 0, 0, 0) for i, d in enumerate(descriptors)], isa.TILE_DTYPE
        ),
        tensors=tensors,
        layers=np.zeros(1, isa.LAYER_DTYPE),
        tensor_names=tuple(f"x{i}" for i in range(n)),
        layer_names=("loads",),
        layer_ops=("Load",),
        sram_bytes=2**31,
    )


def cases(path: Path = DATA) -> Iterator[Case]:
    with path.open(newline="", encoding="utf-8") as f:
        yield from map(Case.of, csv.DictReader(f))


def error(predicted: int, truth: int) -> float:
    return predicted / truth - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a file of the same columns")
    parser.add_argument("--all", action="store_true", help="every row, not only those with several descriptors")
    options = parser.parse_args()
    print(f"{'width':>5} {'latency':>7} {'slots':>5} {'addr':>5} {'bytes':>6} {'desc':>4} {'truth':>7}", end="")
    print(f" {'law':>7} {'error':>7} {'machine':>7} {'error':>7} {'naive':>7} {'error':>7}")
    errors: dict[str, list[float]] = {"law": [], "machine": [], "naive": []}
    for case in cases(options.data):
        found = {"law": case.law(), "machine": case.machine(), "naive": case.naive()}
        rules, first, count = case.rules, case.descriptors[0], len(case.descriptors)
        text = f"{rules.width:>5} {rules.latency:>7} {rules.outstanding:>5} {first.address:>5} {first.row_bytes:>6}"
        text += f" {count:>4} {case.truth:>7}"
        for name, cycles in found.items():
            if cycles is None:
                text += f" {'-':>7} {'-':>7}"
                continue
            errors[name].append(abs(error(cycles, case.truth)))
            text += f" {cycles:>7} {100 * error(cycles, case.truth):>6.1f}%"
        if options.all or count > 1:
            print(text)
    for name, of in errors.items():
        exact = sum(e == 0 for e in of)
        print(f"{name:>8}: {len(of)} rows, mean error {100 * statistics.fmean(of):.2f} %, ", end="")
        print(f"worst {100 * max(of):.2f} %, exact in {exact}")


if __name__ == "__main__":
    main()
