"""The definitions of docs/reports.md, cycle by cycle and operation by operation: slow, and plain to read."""

from __future__ import annotations

from collections import Counter

from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports import RunRecord


def is_compute(record: RunRecord, op: int) -> bool:
    return int(record.schedule.stream["opcode"][op]) in (Opcode.EXECUTE, Opcode.VECTOR)


def layer_intervals(record: RunRecord) -> list[list[int]]:
    """The cycles of each layer: up to when one of its operations retires, one after the other; of layers that are
    walked together, as these come."""
    stream, end = record.schedule.stream, record.timeline.end
    of_layer: dict[int, list[int]] = {}
    for i in range(len(stream)):
        of_layer.setdefault(int(stream["layer"][i]), []).append(i)
    counted = [[i for i in ops if is_compute(record, i)] or ops for ops in of_layer.values()]
    together = record.schedule.layers["slice"]
    order = sorted((int(together[stream["layer"][i]]), int(end[i]), i) for ops in counted for i in ops)
    cycles: list[list[int]] = [[] for _ in record.schedule.layers]
    begin = 0
    for place, (_, retired, i) in enumerate(order):
        finish = record.timeline.cycles if place == len(order) - 1 else max(begin, retired)
        cycles[stream["layer"][i]] += range(begin, finish)
        begin = finish
    return cycles


def layer_cause(record: RunRecord, cycle: int) -> str:
    """What a cycle went to, as layers.csv counts it."""
    t = record.timeline
    computes = [i for i in range(len(record.schedule)) if is_compute(record, i)]
    if any(t.begin[i] <= cycle < t.done[i] for i in computes):
        return "compute"
    later = [i for i in computes if t.begin[i] > cycle]
    if later:
        op = min(later, key=lambda i: (t.begin[i], i))
        if cycle < t.issue[op]:
            return "control"
        if cycle >= t.start[op]:
            return "pipeline"
        waited_for = WAITED_FOR[t.waited_for[op]]
        return {"matrix": "dependency", "vector": "dependency"}.get(waited_for, waited_for)
    if any(cycle < t.end[i] for i in computes):
        return "pipeline"
    stores = record.schedule.stream["opcode"] == Opcode.STORE
    return "store" if any(cycle < end for end in t.end[stores]) else "load"


def unit_cycles(record: RunRecord, core: int, queue: Queue) -> Counter[str]:
    """What the cycles of a core's unit went to, as units.csv counts them; the simulation's loop, told again."""
    t, cost, spent, free = record.timeline, record.costs, Counter[str](), 0
    stream = record.schedule.stream
    ops = [i for i in range(len(stream)) if (stream["core"][i], stream["queue"][i]) == (core, queue)]
    for op in ops:
        ready = max(free, int(t.start[op]) + int(cost.setup[op]))
        for cycle in range(free, ready):
            if cycle < t.issue[op]:
                spent["idle"] += 1
            elif cycle < t.start[op]:
                spent[WAITED_FOR[t.waited_for[op]]] += 1
            else:
                spent["pipeline"] += 1
        alone = max(int(cost.busy[op]), int(cost.dram[op]))
        spent["busy"] += alone
        spent["dram"] += int(t.done[op]) - ready - alone
        free = int(t.done[op])
    spent["idle"] += t.cycles - free
    return +spent
