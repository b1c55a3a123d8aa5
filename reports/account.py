"""The account: every cycle of the run belongs to one cause on its critical path (see `path.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from minisim.hwmodel.isa import Queue
from minisim.reports.cause import Cause
from minisim.reports.path import Path
from minisim.reports.run_record import RunRecord, once

Counts = npt.NDArray[np.int64]

GROUPS = {
    "computing": (Cause.COMPUTE, Cause.PADDING, Cause.ARRAY, Cause.VECTOR),
    "moving data": (
        Cause.LOAD_PORT,
        Cause.LOAD_DRAM,
        Cause.LOAD_REQUESTS,
        Cause.DRAM_LATENCY,
        Cause.DRAM_CONTENTION,
        Cause.L2,
        Cause.NOC,
        Cause.STORE,
    ),
    "waiting": (Cause.SRAM_SPACE, Cause.DEPENDENCY, Cause.CONTROL, Cause.SETUP),
    "ends of the run": (Cause.LAUNCH, Cause.START, Cause.TAIL),
}
"""The top of the tree; every cause is in one of them, those that only a gate knows in OTHERS."""

OTHERS = "waiting"

MEANING = {
    Cause.COMPUTE: "MACs, as if the array were full",
    Cause.PADDING: "blocks that leave PEs empty",
    Cause.ARRAY: "weights in, last sums out",
    Cause.VECTOR: "vector unit at work",
    Cause.LOAD_PORT: "loads, at the pace of the port",
    Cause.LOAD_DRAM: "loads, at the pace of the DRAM",
    Cause.LOAD_REQUESTS: "bursts wait for a slot or turn",
    Cause.DRAM_LATENCY: "loads on their way",
    Cause.DRAM_CONTENTION: "the DRAM served another",
    Cause.L2: "transfers, at the L2's pace",
    Cause.NOC: "transfers, at the network's pace",
    Cause.STORE: "stores that something waited for",
    Cause.SRAM_SPACE: "places in SRAM were still in use",
    Cause.DEPENDENCY: "waiting for a result",
    Cause.CONTROL: "dispatch, and loads it delayed",
    Cause.SETUP: "descriptors and start-up",
    Cause.START: "before the first computation",
    Cause.TAIL: "after the last computation",
    Cause.LAUNCH: "the host, before any dispatch",
}
"""In a few words; docs/reports.md has the definitions."""

FULL = 0.9
"""The share of the run in which the DRAM serves, from which it is called full."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive links of the path in one unit and one layer.

    Attributes:
        begin, end: cycles, [begin, end).
        op: the first operation; `ops` is how many there are.
        lane: the unit: core * 4 + queue; of several cores' DRAM, cores * 4.
        cause: the name of the one with the most cycles, `share` of the stretch.
    """

    begin: int
    end: int
    op: int
    ops: int
    lane: int
    layer: int
    cause: str
    share: float

    @property
    def cycles(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Account:
    """The critical path of a run and its sums.

    Attributes:
        path: its links; `Path.causes` are those of the account.
        by_layer: int64 of shape (layers, causes): cycles; the sum over all is the run's cycles (of a run without
            layers these are its launch, see `total`).
    """

    record: RunRecord
    path: Path
    by_layer: Counts

    @staticmethod
    @once
    def of(record: RunRecord) -> Account:
        """Raises ValueError if the record's timeline is not of its schedule and machine."""
        path = record.path
        layer = record.schedule.stream["layer"][path.op]
        useful = path.useful(record.schedule, record.machine)
        sums = np.zeros((len(record.schedule.layers), len(path.causes)), dtype=np.int64)
        np.add.at(sums, (layer, path.cause), path.end - path.begin)
        computing = sums[:, path.causes.index(Cause.COMPUTE)]
        padding = computing.copy()
        np.subtract.at(padding, layer, useful)
        sums[:, path.causes.index(Cause.PADDING)] = padding
        computing -= padding
        return Account(record, path, sums)

    def total(self) -> dict[str, int]:
        """Cycles of the run by the names of the causes."""
        whole = dict(zip(self.path.causes, self.by_layer.sum(axis=0).tolist(), strict=True))
        if not len(self.by_layer):  # nothing was computed: the launch is all there is
            whole[Cause.LAUNCH] = self.record.timeline.cycles
        return whole

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """GROUPS, with the causes that only gates know."""
        others = self.path.causes[len(Cause) :]
        return {group: (*causes, *(others if group == OTHERS else ())) for group, causes in GROUPS.items()}

    def group_cycles(self, layer: int) -> dict[str, int]:
        """Cycles of a layer by group."""
        cycles = dict(zip(self.path.causes, self.by_layer[layer].tolist(), strict=True))
        return {group: sum(cycles[cause] for cause in causes) for group, causes in self.groups.items()}

    def meaning(self, cause: str) -> str:
        """In a few words, for this run: who it was that the DRAM served instead; or the gate that names the cause."""
        if cause not in MEANING:
            gates = self.record.timeline.gates
            return next(gate.name for gate in gates if any(cause in term.causes for term in gate.terms))
        if cause != Cause.DRAM_CONTENTION:
            return MEANING[Cause(cause)]
        timeline = self.record.timeline
        full = "a full DRAM" if timeline.dram_busy >= FULL * timeline.cycles else "the DRAM"
        return f"{'reads, writes' if self.record.schedule.cores == 1 else 'the cores'} share {full}"

    def exposed_latency(self) -> dict[str, int]:
        """Cycles of the DRAM's latency that count for the cause which exposed them, by that cause.

        A load that starts late, for lack of a place or of its dispatch, exposes its latency: that is `sram_space` or
        `control`, not `dram_latency`; but half the latency makes it shorter all the same.
        """
        path, done = self.path, self.record.timeline.done
        of_load = self.record.schedule.stream["queue"][path.op] == Queue.LOAD
        late = of_load & (path.begin >= done[path.op])
        return {
            cause: int((path.end - path.begin)[late & path.of(cause)].sum())
            for cause in (Cause.SRAM_SPACE, Cause.CONTROL)
        }

    def table(self) -> pd.DataFrame:
        """A row per layer, then one for the run (`layer_id` is empty there)."""
        schedule, n = self.record.schedule, len(self.by_layer)
        cycles = np.vstack([self.by_layer, [*self.total().values()]])
        return pd.DataFrame({
            "layer_id": pd.array([*range(n), None], dtype="Int64"),
            "name": pd.Series([*schedule.layer_names, "total"], dtype="str"),
            "op": pd.Series([*schedule.layer_ops, ""], dtype="str"),
            "cycles_total": cycles.sum(axis=1),
            **{f"cycles_{name}": cycles[:, i] for i, name in enumerate(self.path.causes)},
        })  # fmt: skip

    def stretches(self) -> list[Stretch]:
        """The path in order of time, links of one unit and layer merged."""
        schedule, path = self.record.schedule, self.path
        lane, layer = schedule.lanes()[path.op], schedule.stream["layer"][path.op]
        if schedule.cores > 1:  # the path hops from core to core while the DRAM serves one after the other
            lane = np.where(path.of(Cause.DRAM_CONTENTION), schedule.cores * len(Queue), lane)
        changes = np.flatnonzero((np.diff(lane) != 0) | (np.diff(layer) != 0)) + 1
        edges = [0, *changes.tolist(), len(path.op)] if len(path.op) else [0]
        useful = path.useful(self.record.schedule, self.record.machine)
        return [self._stretch(a, b, useful, int(lane[a])) for a, b in pairwise(edges)]

    def _stretch(self, a: int, b: int, useful: Counts, lane: int) -> Stretch:
        path, stream = self.path, self.record.schedule.stream
        cycles = np.bincount(path.cause[a:b], weights=(path.end - path.begin)[a:b], minlength=len(path.causes))
        computed, computing = int(useful[a:b].sum()), path.causes.index(Cause.COMPUTE)
        cycles[path.causes.index(Cause.PADDING)] += cycles[computing] - computed
        cycles[computing] = computed
        begin, end, op = int(path.begin[a]), int(path.end[b - 1]), int(path.op[a])
        most = int(cycles.argmax())
        share = float(cycles[most]) / (end - begin)
        layer, ops = int(stream["layer"][op]), len(np.unique(path.op[a:b]))
        return Stretch(begin, end, op, ops, lane, layer, str(path.causes[most]), share)
