"""The tables of a run, as DataFrames with stable names, order and dtypes (docs/reports.md is their schema).

Counts, cycles and bytes are int64, ratios and picojoules float64, names strings. A ratio whose denominator is zero
is NaN, which is an empty field in the CSV. Picojoules are the floats nearest to whole femtojoules, and the CSV has
these (`write.write_csv`), so that there the sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from minisim.hwmodel.config import Machine
from minisim.hwmodel.energy import accesses, blocks
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports.attribution import LAYER_CAUSES, layer_cycles, layer_stalls, unit_cycles
from minisim.reports.run_record import RunRecord, Work, once

Counts = npt.NDArray[np.int64]

L2_COUNTERS = ("l2_hits", "l2_misses", "l2_write_backs", "l2_dirty")
"""Lines of an L2, as its counters call them; 0 without one."""

STALLS = (*WAITED_FOR[1:], "pipeline", "dram")
"""The causes of units.csv, in the order of its columns."""


def summary(record: RunRecord) -> pd.DataFrame:
    """One row: what the run took and what bound it."""
    schedule, machine, work = record.schedule, record.machine, record.work
    cycles, table, counts = record.timeline.cycles, schedule.layers, schedule.counts()
    bound = work.bound(machine)
    found, answers = record.difference, record.timeline.answers
    read, written = (
        (int(answers.read.sum()), int(answers.written.sum())) if answers else (work.read_bytes, work.write_bytes)
    )
    asked, eliminated = int(table["loads"].sum()), int(table["loads_eliminated"].sum())
    row = {
        "model": record.model,
        "config": record.config,
        "timing": record.timing,
        "cycles_total": cycles,
        "time_us": float(cycles / machine.clock.frequency * 1_000_000),
        "macs": work.macs,
        "util_matrix_pct": ratio(100 * work.pe_cycles, cycles * elements(machine)),
        "util_dma_pct": ratio(100 * record.timeline.dram_busy, cycles),
        "uops": int(table["uops"].sum()),
        "loads": counts[Opcode.LOAD],
        "loads_eliminated": eliminated,
        "load_reuse_pct": ratio(100 * eliminated, asked),
        "executes": counts[Opcode.EXECUTE],
        "stores": counts[Opcode.STORE],
        "vector_ops": counts[Opcode.VECTOR],
        "dram_read_bytes": read,
        "dram_write_bytes": written,
        "sram_peak_bytes": int(table["sram_peak"].max(initial=0)),
        "sram_bytes": machine.sram.bytes,
        "sram_final_live_bytes": schedule.sram_final_live_bytes,
        "energy_uj": record.energy_fj / 10**9,
        "output_sha256": record.output_sha256,
        "max_abs_error": math.nan if found is None else found.largest,
        "wall_compile_s": float(record.wall_compile_s),
        "wall_simulate_s": float(record.wall_simulate_s),
        "roofline_cycles": math.ceil(bound.cycles),
        "bound_by": bound.bound_by if bound.cycles else "",
        "cycles_over_roofline": ratio(cycles, math.ceil(bound.cycles)),
        "dtype": record.dtypes,
        "accumulator_bytes": machine.accumulator.bytes,
        "output_min": math.nan if found is None else found.low,
        "output_max": math.nan if found is None else found.high,
        "sqnr_db": math.nan if found is None else found.sqnr_db,
        **{name: record.timeline.counters.get(name, 0) for name in L2_COUNTERS},
    }
    return pd.DataFrame([row])


@once
def layers(record: RunRecord) -> pd.DataFrame:
    """A row per layer: its cycles by cause (see attribution.py), work, traffic and bound."""
    schedule, machine, cost = record.schedule, record.machine, record.costs
    opcode, n = schedule.stream["opcode"], len(schedule.layers)

    def total(values: Counts, *codes: Opcode) -> Counts:
        return _layer_sums(record, np.where(np.isin(opcode, codes), values, 0))

    cycles, stalls = layer_cycles(schedule, record.timeline), layer_stalls(schedule, record.timeline)
    macs = schedule.layers["macs"].astype(np.int64)
    reads, writes = (_layer_sums(record, column) for column in record.dram_moved)
    moved = total(cost.bytes, Opcode.LOAD), total(cost.bytes, Opcode.STORE)
    vectors = total(cost.busy, Opcode.VECTOR)
    array, pe_cycles = machine.matrix.elements, np.array(record.pe_cycles, dtype=np.float64)
    columns = (macs.tolist(), record.pe_cycles, *(x.tolist() for x in (vectors, *moved, reads + writes)))
    work = [Work(*row) for row in zip(*columns, strict=True)]
    bounds = [w.bound(machine) for w in work]
    return pd.DataFrame({
        "layer_id": np.arange(n, dtype=np.int64),
        "name": _texts(schedule.layer_names),
        "op": _texts(schedule.layer_ops),
        "cycles_total": cycles,
        "cycles_compute": cycles - sum(stalls.values()),
        **{f"cycles_stall_{cause}": stalls[cause] for cause in LAYER_CAUSES},
        "util_overall_pct": _ratios(100.0 * pe_cycles, cycles * elements(machine)),
        "util_mapping_pct": _ratios(100.0 * pe_cycles, total(cost.busy, Opcode.EXECUTE) * array),
        "macs": macs,
        "dram_read_bytes": reads,
        "dram_write_bytes": writes,
        "sram_peak_bytes": schedule.layers["sram_peak"].astype(np.int64),
        "intensity_mac_per_byte": _ratios(macs, reads + writes),
        "bound_by": _texts([bound.bound_by if bound.cycles else "" for bound in bounds]),
        "energy_pj": _picojoules(record.energy.by_layer()),
    })  # fmt: skip


def energy(record: RunRecord) -> pd.DataFrame:
    """A row per layer and one for the run: its bytes to and from the SRAM, and its energy by component."""
    schedule, (reads, writes) = record.schedule, _sram_bytes(record.schedule)
    parts, whole = record.energy.parts, record.energy.by_component()
    return pd.DataFrame({
        "layer_id": pd.array([*range(len(schedule.layers)), None], dtype="Int64"),
        "name": _texts([*schedule.layer_names, "total"]),
        "op": _texts([*schedule.layer_ops, ""]),
        "sram_read_bytes": np.append(reads, reads.sum()),
        "sram_write_bytes": np.append(writes, writes.sum()),
        **{f"{name}_pj": _picojoules([*parts[name], whole[name]]) for name in parts},
        "energy_pj": _picojoules([*record.energy.by_layer(), record.energy.total]),
    })  # fmt: skip


def _sram_bytes(schedule: Schedule) -> tuple[Counts, Counts]:
    """Bytes of each layer that operations read from, and write to, memories on chip."""
    reads, writes = np.zeros((2, len(schedule.layers)), dtype=np.int64)
    for mine in blocks(schedule):
        block = schedule.replace(stream=schedule.stream[mine])
        moved = accesses(block)
        np.add.at(reads, block.stream["layer"], moved.sram_read)
        np.add.at(writes, block.stream["layer"], moved.sram_write)
    return reads, writes


@once
def units(record: RunRecord) -> pd.DataFrame:
    """A row per unit of each core, of the network, the L2 if there are, and the DRAM.

    Every cycle of the run is busy, stalled by a cause, or idle. The network is busy while data cross it, or the busiest
    core's link if only links have a limit.
    """
    schedule, cycles, operations = record.schedule, record.timeline.cycles, record.schedule.counts()
    rows = [
        (schedule.lane_name(lane), len(ops), unit_cycles(schedule, record.timeline, record.costs, lane))
        for lane, ops in enumerate(schedule.lane_ops())
    ]
    transfers = operations[Opcode.LOAD] + operations[Opcode.STORE]
    shared = {**_network(record), "dram": record.timeline.dram_busy}
    rows += [(name, transfers, {**dict.fromkeys(STALLS, 0), "busy": busy}) for name, busy in shared.items()]
    return pd.DataFrame([
        {
            "unit": name,
            "operations": count,
            "cycles_busy": spent["busy"],
            **{f"cycles_stall_{cause}": spent[cause] for cause in STALLS},
            "cycles_idle": cycles - sum(spent.values()),
            "busy_pct": ratio(100 * spent["busy"], cycles),
        }
        for name, count, spent in rows
    ])  # fmt: skip


def _network(record: RunRecord) -> dict[str, int]:
    """Busy cycles of what lies between the cores and the DRAM."""
    noc, l2, moved = record.machine.noc, record.machine.l2, record.costs.bytes
    found = {}
    if noc.limits:
        cores = record.schedule.stream["core"]
        links = np.zeros(record.schedule.cores, dtype=np.int64)
        np.add.at(links, cores, -(-moved // noc.core_bytes_per_cycle) if noc.core_bytes_per_cycle else 0)
        found["noc"] = int((-(-moved // noc.bytes_per_cycle)).sum() if noc.bytes_per_cycle else links.max())
    if l2.bytes:
        found["l2"] = int((-(-moved // l2.bytes_per_cycle)).sum())
    return found


def timeline(record: RunRecord) -> pd.DataFrame:
    """A row per operation, in program order: about 60 bytes of memory each, names as categories."""
    stream, t = record.schedule.stream, record.timeline
    codes, names = pd.factorize(np.array(record.schedule.layer_names, dtype=object))
    return pd.DataFrame({
        "op": np.arange(len(stream), dtype=np.int64),
        "queue": _category(stream["queue"], [queue.name.lower() for queue in Queue]),
        "layer": _category(codes[stream["layer"]], list(names)),
        "opcode": _category(stream["opcode"], [opcode.name for opcode in Opcode]),
        "issue": t.issue,
        "start": t.start,
        "begin": t.begin,
        "done": t.done,
        "end": t.end,
        "waited_for": _category(t.waited_for, WAITED_FOR),
        "bytes": record.costs.bytes,
        "core": stream["core"].astype(np.int64),
    })  # fmt: skip


def elements(machine: Machine) -> int:
    """Processing elements of all arrays of all cores: multiply-accumulates per cycle."""
    return machine.matrix.elements * machine.cores.count


def ratio(part: int | Fraction, whole: int | Fraction) -> float:
    """part / whole, NaN where there is no whole."""
    return float(Fraction(part) / Fraction(whole)) if whole else math.nan


def _ratios(part: npt.NDArray[np.number], whole: Counts) -> npt.NDArray[np.float64]:
    undefined = np.full(len(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole != 0))


def _layer_sums(record: RunRecord, values: Counts) -> Counts:
    """The sum over each layer's operations."""
    sums = np.zeros(len(record.schedule.layers), dtype=np.int64)
    np.add.at(sums, record.schedule.stream["layer"], values)
    return sums


def _picojoules(femtojoules: Iterable[int]) -> pd.Series[Any]:
    return pd.Series([fj / 1000 for fj in femtojoules], dtype="float64")


def _texts(values: Sequence[str]) -> pd.Series[str]:
    return pd.Series(list(values), dtype="str")


def _category(codes: npt.NDArray[np.integer], names: Sequence[str]) -> pd.Categorical[str]:
    return pd.Categorical.from_codes(codes, pd.Index(list(names), dtype="str"))
