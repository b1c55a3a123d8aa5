"""Checks the columns `gate` and `holder` of a timeline: every equation on every row, whose it is, and which goes first.

Written against the table of `hwmodel/gates.py` and the docs, with nothing of the event model but the law of bursts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules, costs
from minisim.hwmodel.delays import delays
from minisim.hwmodel.descriptors import planes, tiles_of
from minisim.hwmodel.dma import Cuts
from minisim.hwmodel.gates import CODE, Point
from minisim.hwmodel.isa import NONE, Opcode, Queue, Schedule
from minisim.hwmodel.port import BurstPort, Bus
from minisim.hwmodel.timeline import Cycles, Timeline

Ops = npt.NDArray[np.int64]
NOBODY = -1
NEVER = -(2**40)
"""The cycle of a gate that does not apply."""

WAITS = (Queue.MATRIX, Queue.VECTOR, Queue.LOAD, Queue.STORE)
"""In the order of the gates' table."""


class Equations:
    """One run, and all its points and terms as columns."""

    def __init__(self, schedule: Schedule, machine: Machine, timeline: Timeline) -> None:
        self.schedule, self.machine, self.t = schedule, machine, timeline
        self.cost = costs(schedule, machine)
        self.delays = delays(self.cost, machine, timeline)
        self.rows = np.arange(len(schedule), dtype=np.int64)
        self.moves = schedule.stream["opcode"] <= Opcode.STORE
        self.bursts = self.moves & machine.dma.has_bursts
        self.cached = self.moves & (machine.l2.bytes > 0)
        self.serial = not machine.l2.bytes and machine.dram.channels == 1
        self.lane = schedule.lanes().astype(np.int64)
        self.core = schedule.stream["core"].astype(np.int64)
        self.first_plane = planes(schedule, self.cost.descriptors) > 0
        unit = np.where(self.moves & machine.dma.shared, self.core * len(Queue), self.lane)
        self.port = unit * 64 + timeline.channel  # that they pass one after the other: a DMA's, or a unit
        self.before_in_port = before(self.port, timeline.done)
        self.requested = self._requests()
        self.points = {
            "issue": timeline.issue,
            "start": timeline.start,
            "ready": self._ready(),
            "begin": np.where(self.moves, timeline.dram_begin, timeline.begin),
            "served": np.where(self.moves, timeline.dram_end, timeline.begin),
            "done": timeline.done,
            "end": timeline.end,
            "zero": np.zeros_like(timeline.end),
        }

    def check(self) -> None:
        """Raises AssertionError, with the gate and its first bad row."""
        self.check_points()
        for point in Point:
            self.check_equations(point)
        self.check_holders()
        self.check_preference()
        self.check_service()

    def check_points(self) -> None:
        """They are in order, and each operation's gates are gates of their points."""
        for one, other in zip(list(Point)[:-1], list(Point)[1:], strict=True):
            column, later = self.points[one.name.lower()], self.points[other.name.lower()]
            self.same(column <= later, f"{one.name} <= {other.name}")
        of = np.array([gate.point for gate in self.t.gates])
        for point in Point:
            self.same(of[self.t.gate[:, point]] == point, f"a gate of {point.name}")
        self.same((self.t.begin == self.points["begin"]) | self.bursts, "a transfer begins when the DRAM serves it")

    def check_equations(self, point: Point) -> None:
        """Point = origin of the holder + terms; but under bursts."""
        for code, gate in enumerate(self.t.gates):
            mine = self.rows[self.t.gate[:, point] == code]
            if code == CODE["bursts"] or code == CODE["requests"]:
                self.same(self.bursts[mine], "only transfers have bursts")
                continue
            holder = self.t.holder[mine, point].astype(np.int64)
            self.same(
                (holder == NONE) == (gate.origin == "zero"), f"{gate.name}: nobody holds the launch, and it alone"
            )
            base = self.points[gate.origin][np.where(holder == NONE, 0, holder)]
            of = holder if gate.of_holder else mine
            terms = (x.cycles if isinstance(x.cycles, int) else self.delays[x.cycles][of] for x in gate.terms)
            self.same(self.points[point.name.lower()][mine] == base + sum(terms), f"the equation of {gate.name}", mine)

    def check_holders(self) -> None:
        """Who the holder is: of every gate the operation that the table speaks of."""
        channel = before(self.lane * 64 + self.t.channel, self.rows)
        in_core, in_lane = before(self.core, self.rows), before(self.lane, self.rows)
        mine = ("issued", "setup", "ready", "service", "l2", "busy", "served", "noc", "bursts", "latency")
        expected = dict.fromkeys(mine, self.rows) | {
            "dispatch": in_core, "descriptor": in_core, "launch": in_core,
            "queue": earlier(self.lane, self.first_plane, self.machine.control.queue_depth),
            "first_stage": channel, "decoder": channel, "order": in_lane, "retire_order": in_lane,
            "unit": self.before_in_port, "requests": self.before_in_port,
            **{f"after_{queue.name.lower()}": self.waited(queue) for queue in WAITS},
        }  # fmt: skip
        for name, holders in expected.items():
            point, code = self.t.gates[CODE[name]].point, CODE[name]
            at = self.rows[self.t.gate[:, point] == code]
            found = self.t.holder[at, point].astype(np.int64)
            self.same(np.where(found == NONE, NOBODY, found) == holders[at], f"the holder of {name}", at)
        for name in ("dram", "l2_port", "place", "after_core"):
            point = self.t.gates[CODE[name]].point
            at = self.rows[self.t.gate[:, point] == CODE[name]]
            holder = self.t.holder[at, point].astype(np.int64)
            self.same(self.moves[holder] & (holder != at) | (name == "after_core"), f"the holder of {name}", at)
            if name == "place":
                last = np.append(self.first_plane | ~self.moves, True)[1:]  # of its descriptor
                self.same(last[holder] & (self.port[holder] == self.port[at]), "the holder of place", at)
            if name == "after_core":
                self.same(self.core[holder] != self.core[at], "the holder of after_core", at)

    def check_preference(self) -> None:
        """No gate is later than its point, and none that stands before the written one is met."""
        for point, candidates in self.candidates().items():
            column, met = self.points[point.name.lower()], np.zeros(len(self.rows), dtype=bool)
            for name, cycles in candidates:
                self.same(cycles <= column, f"{point.name}: {name} is no later")
                written = self.t.gate[:, point] == CODE[name]
                self.same(~written | (cycles == column), f"{point.name}: {name} is written, and can be")
                self.same(~(written & met), f"{point.name}: {name} is written, and one before it is met")
                met |= cycles == column

    def check_service(self) -> None:
        """What the memory answers is what its parts can: of an ideal DRAM all of it follows from costs."""
        d, answers = self.delays, self.t.answers
        self.same(
            (d["contention"] >= 0) & (d["crossing"] >= 0) & (d["service"] >= 0), "nothing takes less than no time"
        )
        if self.serial:
            self.same(d["contention"] == 0, "transfers that follow each other do not contend")
            if self.machine.dram.model == "ideal":
                self.same(d["service"] == self.cost.dram, "the DRAM serves at its bandwidth")
        if answers and not self.machine.l2.bytes:
            self.same(answers.latency == np.where(self.moves, self.cost.latency, 0), "latency is that of the costs")
            self.same(answers.read + answers.written == self.cost.bytes, "the DRAM moves what the DMA does")

    def candidates(self) -> dict[Point, list[tuple[str, Cycles]]]:
        """Of each point its gates in the order of the table, and when each opens: those that need no replay."""
        p, d = self.points, self.delays
        lane, core = before(self.lane, self.rows), before(self.core, self.rows)
        channel = before(self.lane * 64 + self.t.channel, self.rows)
        ahead = earlier(self.lane, self.first_plane, self.machine.control.queue_depth)
        first = self.first_plane | ~self.moves
        paced = np.where(core == NOBODY, d["launch"], p["issue"][core]) + d["pace"]
        stage = {
            "first_stage": at(p["ready"] + d["hold"], np.where(self.bursts, NOBODY, channel)),
            "decoder": at(p["start"] + d["setup"] + d["hold"], np.where(self.bursts, channel, NOBODY)),
        }
        several = self.machine.dma.channels > 1
        crossing = (d["crossing"] > 0) & ~self.bursts
        return {
            Point.ISSUE: [
                ("dispatch", np.where(first & (core != NOBODY), paced, NEVER)),
                ("launch", np.where(first & (core == NOBODY), paced, NEVER)),
                ("queue", at(p["start"], np.where(first, ahead, NOBODY))),
                ("descriptor", at(p["issue"], np.where(first, NOBODY, core))),
            ],
            Point.START: [
                *stage.items(),
                *((f"after_{q.name.lower()}", at(p["end"], self.waited(q))) for q in WAITS),
                ("after_core", self.synced()),
                ("order", at(p["start"], np.where(self.moves & several, lane, NOBODY))),
                ("issued", p["issue"]),
            ],
            Point.READY: [
                ("unit", at(p["done"], np.where(self.bursts, NOBODY, self.before_in_port))),
                ("setup", p["start"] + d["setup"]),
                ("requests", self.requested),
            ],
            Point.BEGIN: [
                ("ready", p["ready"]),
                ("dram", np.where(self.moves & self.serial, p["begin"], NEVER)),
                ("l2_port", np.where(self.cached, p["begin"], NEVER)),
            ],
            Point.SERVED: [
                ("l2", np.where(self.cached, p["begin"] + d["l2"], NEVER)),
                ("service", p["begin"] + d["contention"] + d["service"]),
            ],
            Point.DONE: [
                ("busy", np.where(self.bursts, NEVER, p["ready"] + d["busy"])),
                ("served", np.where(self.moves & ~self.bursts, p["served"] + d["lag"], NEVER)),
                ("noc", np.where(crossing, p["served"] + d["crossing"] + d["lag"], NEVER)),
            ],
            Point.END: [("latency", p["done"] + d["latency"]), ("retire_order", at(p["end"], lane))],
        }  # fmt: skip

    # -- parts -------------------------------------------------------------------------------------------

    def same(self, holds: npt.NDArray[np.bool_], what: str, rows: Ops | None = None) -> None:
        if bad := np.flatnonzero(~np.asarray(holds)).tolist():
            row = int((self.rows if rows is None else rows)[bad[0]])
            raise AssertionError(f"{what}: operation {row} ({self.schedule.describe(row)}), and {len(bad) - 1} more")

    def waited(self, queue: Queue) -> Ops:
        """The operation of that queue of its core whose retirement each waits for; NOBODY."""
        counts = self.schedule.stream["wait"][:, queue].astype(np.int64)
        found = np.full(len(self.rows), NOBODY)
        for core in range(self.schedule.cores):
            ops = self.schedule.lane_ops()[core * len(Queue) + queue]
            mine = (self.core == core) & (counts > 0)
            found[mine] = np.asarray(ops)[counts[mine] - 1]
        return found

    def synced(self) -> Cycles:
        """The last of the retirements on other cores that each waits for."""
        found, ops = np.full(len(self.rows), NEVER), self.schedule.lane_ops()
        for i in np.flatnonzero(self.schedule.stream["sync"] != NONE).tolist():
            ends = [int(self.t.end[ops[lane][count - 1]]) for lane, count in self.schedule.syncs_of(i) if count]
            found[i] = max(ends, default=NEVER)
        return found

    def _ready(self) -> Cycles:
        after_setup = self.t.start + self.cost.setup
        free = at(self.t.done, np.where(self.bursts, NOBODY, self.before_in_port))
        return np.maximum(np.maximum(after_setup, free), self.requested)

    def _requests(self) -> Cycles:
        """When the first request of each transfer goes out, by the law of bursts; also checks that law's other end."""
        found = np.full(len(self.rows), NEVER)
        if not self.machine.dma.has_bursts:
            return found
        tile = tiles_of(self.schedule)
        rules = [burst_rules(self.machine, load=load) for load in (True, False)]
        cuts = [Cuts(self.schedule, rule) for rule in rules]
        for mine in self._passing():
            bus = Bus(rules[0])
            ways = [BurstPort(rule, bus) for rule in rules]
            for i in mine:
                way = int(self.schedule.stream["opcode"][i] == Opcode.STORE)
                due = int(self.t.start[i] + self.cost.setup[i])
                served = (int(self.t.dram_begin[i]), int(self.t.dram_end[i] + self.delays["crossing"][i]))
                latency = int(self.delays["latency"][i]) - self.machine.dma.completion_cycles
                found[i] = ways[way].first_request(due)
                passed = ways[way].move(cuts[way].of(int(tile[i])), due, served, latency)
                assert passed == (self.t.begin[i], self.t.done[i]), f"the bursts of operation {i} pass in {passed}"
        return found

    def _passing(self) -> Iterator[list[int]]:
        for port in np.unique(self.port[self.moves]):
            mine = self.rows[self.moves & (self.port == port)]
            yield mine[np.argsort(self.t.done[mine], kind="stable")].tolist()


def at(column: Cycles, ops: Ops) -> Cycles:
    """The column's cycles at `ops`; NEVER where there is nobody."""
    return np.where(ops == NOBODY, NEVER, column[ops])


def before(group: Ops, order: Cycles) -> Ops:
    """Of each operation the one before it in its group, in this order; NOBODY."""
    found = np.full(len(group), NOBODY, dtype=np.int64)
    rows = np.lexsort((np.arange(len(group)), order, group))
    same = group[rows][1:] == group[rows][:-1]
    found[rows[1:][same]] = rows[:-1][same]
    return found


def earlier(group: Ops, counted: npt.NDArray[np.bool_], by: int) -> Ops:
    """Of each counted operation the one so many places before it among the counted of its group; NOBODY."""
    found = np.full(len(group), NOBODY, dtype=np.int64)
    for value in np.unique(group):
        mine = np.flatnonzero((group == value) & counted)
        found[mine[by:]] = mine[: max(0, len(mine) - by)]
    return found
