"""One direction of a DMA: its channels, their decoders and ports, bursts, and descriptors of several planes.

Descriptors leave the queue in order, each to the channel that has been ready for one longest (of several, the one of
the lowest number): its decoder is free, and fewer than `max_outstanding` of its descriptors are in flight. Then, on
the channel:

    decode   `setup` cycles; then the decoder is free, but without bursts not before the port has taken the transfer
    port     transfers in order, each at its first request: memory and port (`BurstPort`, or `busy` and the memory)
    landing  the memory's latency after the port is done; then the descriptor's place is free

Transfers retire when they and all before them in the queue have landed. The planes of a 3-D descriptor follow each
other on its channel without decoding.

If both directions share their channels (`dma.shared`), each decodes its own descriptors, but the port and the places
in flight are of both: the port takes transfers in the order in which they were decoded, and a place goes to the
direction that has waited for one longer; of one cycle, whichever comes first in program order.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import NamedTuple

from simpy import Event

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import BurstRules, Descriptor
from minisim.hwmodel.clock import FOREVER, FREE, PLACE, SERVE, START
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules, rectangles
from minisim.hwmodel.descriptors import tiles_of
from minisim.hwmodel.gates import CODE, Point
from minisim.hwmodel.isa import Queue
from minisim.hwmodel.packing import by_dma
from minisim.hwmodel.port import BurstPort, Bus, Cut, cut
from minisim.hwmodel.state import State
from minisim.hwmodel.unit import Unit

_FIRST_STAGE, _DECODER, _PLACE, _ORDER, _ISSUED = (
    CODE[name] for name in ("first_stage", "decoder", "place", "order", "issued")
)
_UNIT, _REQUESTS, _SERVICE, _SERVED, _NOC, _BURSTS, _RETIRE_ORDER = (
    CODE[name] for name in ("unit", "requests", "service", "served", "noc", "bursts", "retire_order")
)


def dma_units(
    state: State, core: int, schedule: isa.Schedule, machine: Machine, arbiter: MemoryArbiter
) -> tuple[DmaUnit, DmaUnit]:
    """The units for loads and for stores of the DMA of `core`."""
    loads = Ports(machine)
    stores = loads if machine.dma.shared else Ports(machine)
    units = (
        DmaUnit(state, core, Queue.LOAD, schedule, machine, arbiter, loads),
        DmaUnit(state, core, Queue.STORE, schedule, machine, arbiter, stores),
    )
    for ports in {id(loads): loads, id(stores): stores}.values():
        ports.units = [unit for unit in units if unit.ports is ports]
    return units


class Cuts:
    """How the tiles of a schedule are cut into bursts; tiles that are cut alike share it."""

    def __init__(self, schedule: isa.Schedule, rules: BurstRules) -> None:
        self._rules = rules.unpacking(), rules
        tiles, period = rectangles(schedule), rules.period
        plain = ~by_dma(schedule.tensors)[schedule.tiles["tensor"]]
        columns = (plain, tiles.address % period, tiles.row_bytes, tiles.rows, tiles.pitch)
        self._tiles: list[tuple[int, ...]] = list(zip(*(column.tolist() for column in columns), strict=True))
        self._found: dict[tuple[int, ...], Cut] = {}

    def of(self, tile: int) -> Cut:
        key = self._tiles[tile]
        if key not in self._found:
            plain, *where = key
            self._found[key] = cut(Descriptor(*where), self._rules[plain])
        return self._found[key]


class Decoded(NamedTuple):
    """A transfer that waits for its port. They are in the order in which the port takes them."""

    due: int  # when its descriptor was decoded
    op: int
    channel: DmaChannel


class Port:
    """What the transfers of a channel pass one after the other: of one direction, or of both."""

    def __init__(self, number: int, rules: BurstRules, most: int) -> None:
        """`most`: places in flight."""
        self.number = number
        self.bus = Bus(rules)
        self.free = 0  # without bursts
        self.last = -1  # the transfer that it took last
        self.line: deque[Decoded] = deque()
        self.begun = 0
        """Descriptors that have had a place in flight."""
        self._most = most
        self._landings: list[tuple[int, int]] = []
        """Cycle and last operation of each that has landed or will, in this order, as far as that is known."""

    def lands(self, op: int, cycle: int) -> None:
        """The last transfer of a descriptor will land. One that hits a cache may overtake another."""
        insort(self._landings, (cycle, op))

    def place(self) -> tuple[int, int]:
        """Cycle and operation of the landing that frees the place of the next descriptor: (-1, -1) if one was never
        taken, (FOREVER, -1) if none is known to land. It is final when the cycle has come."""
        out = self.begun - self._most
        if out < 0:
            return -1, -1
        return self._landings[out] if out < len(self._landings) else (FOREVER, -1)


class Ports:
    """The ports of one direction, or those that both share."""

    def __init__(self, machine: Machine) -> None:
        rules = burst_rules(machine, load=True)  # a bus that is idle has none of either direction
        most = machine.dma.max_outstanding
        self.ports = [Port(number, rules, most) for number in range(machine.dma.channels)]
        self.units: list[DmaUnit] = []
        self._wanting: dict[DmaUnit, int] = {}
        """If both directions share the ports: since when each has waited for a place."""

    def want(self, unit: DmaUnit, now: int) -> None:
        """The first descriptor of `unit` may start, but for a place in flight: it gets one in the phase PLACE."""
        self._wanting.setdefault(unit, now)
        unit.state.call(now, PLACE, self._give)

    def _give(self, event: Event) -> None:
        for unit, _ in sorted(self._wanting.items(), key=lambda item: (item[1], item[0].queue[0])):
            now = unit.state.now
            if channel := unit.with_room(now):
                del self._wanting[unit]
                unit.begin(channel, now)
                unit.wake(now)
            else:
                unit.look_for_place()


class MemoryArbiter:
    """The way to the memory: the transfers that ask in one round of SERVE are served in program order."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rounds: dict[int, list[Port]] = {}

    def ask(self, port: Port, cycle: int, now: int) -> None:
        """The first transfer in the port's line asks at `cycle`."""
        if cycle in self._rounds:
            self._rounds[cycle].append(port)
            return
        self._rounds[cycle] = [port]
        self._state.call(cycle, SERVE, self._serve)

    def _serve(self, event: Event) -> None:
        now = self._state.now
        asking = self._rounds.pop(now)
        if len(asking) > 1:
            asking.sort(key=lambda port: port.line[0].op)
        for port in asking:
            port.line[0].channel.unit.take(port, now)


class DmaChannel:
    """A direction's way to a port: its decoder, and its rules for bursts."""

    def __init__(self, unit: DmaUnit, port: Port, bursts: BurstPort | None) -> None:
        self.unit = unit
        self.port = port
        self.bursts = bursts
        self.last = -1  # the operation that was decoded last
        self.planes = 0  # of its descriptor, that have not started

    def next_plane(self, event: Event) -> None:
        """The decoder is free of the plane before."""
        self.unit.next_plane(self, self.unit.state.now)


class DmaUnit(Unit):
    """One direction."""

    def __init__(
        self,
        state: State,
        core: int,
        queue: Queue,
        schedule: isa.Schedule,
        machine: Machine,
        arbiter: MemoryArbiter,
        ports: Ports,
    ) -> None:
        super().__init__(state, core, queue, machine.control.queue_depth)
        self.ports = ports
        self._arbiter = arbiter
        self._shared, self._several = machine.dma.shared, machine.dma.channels > 1
        self._gap, self._completion = machine.dma.gap_cycles, machine.dma.completion_cycles
        self._handshake = machine.dma.store_burst_cycles if queue == Queue.STORE else 0
        self._tile: list[int] = []
        self._cuts: Cuts | None = None
        rules = burst_rules(machine, load=queue == Queue.LOAD)
        if machine.dma.has_bursts:
            self._tile = tiles_of(schedule).tolist()
            self._cuts = Cuts(schedule, rules)
        self._idle: list[tuple[int, int, DmaChannel]] = [
            (0, port.number, DmaChannel(self, port, BurstPort(rules, port.bus) if self._cuts else None))
            for port in ports.ports
        ]
        """Channels whose decoder is free, or known to be: since when, number, channel; the next descriptor's first."""
        self._latest = self._idle[0][2]  # the channel of the last descriptor
        self._looks_at = FOREVER
        self._wants_place = False  # a landing may let the first descriptor start
        self._before = -1  # the operation that started last
        self._place = 0  # of the first operation of the lane whose retirement is not known
        self._arrivals: dict[int, int] = {}
        """When each transfer behind that place arrives, as far as that is known."""
        self._retires = 0  # the one before that place

    # -- descriptors -------------------------------------------------------------------------------------

    def wake(self, cycle: int) -> None:
        """Look in the phase START of `cycle`, or of this one if that is past."""
        cycle = max(cycle, self.state.now)
        if cycle < self._looks_at:
            self._looks_at = cycle
            self.state.call(cycle, START, self._look)

    def _look(self, event: Event) -> None:
        self._looks_at = FOREVER
        self.look(self.state.now)

    def look(self, now: int) -> None:
        """Start what may start now. Whatever may not is looked at again when it may, as soon as that is known."""
        while self.queue:
            op = self.queue[0]
            # A queue starts in order: the last descriptor's planes go first.
            if not self._idle or self._latest.planes:
                return
            earliest = max(self.waits_until(op), self.state.issue[op], self._idle[0][0])
            if earliest > now:
                if earliest < FOREVER:
                    self.wake(earliest)
                return
            if self._shared:
                self._wants_place = True
                self.ports.want(self, now)
                return
            channel = self.with_room(now)
            self._wants_place = channel is None
            if channel is None:
                self.look_for_place()
                return
            self.begin(channel, now)

    def with_room(self, now: int) -> DmaChannel | None:
        """The channel for the next descriptor."""
        for since, _, channel in self._idle:
            if since <= now and channel.port.place()[0] <= now:
                return channel
        return None

    def look_for_place(self) -> None:
        """If the first descriptor wants a place in flight, look when the next is known to be free."""
        if self._wants_place and self._idle:
            free = min(max(since, channel.port.place()[0]) for since, _, channel in self._idle)
            if free < FOREVER:
                self.wake(free)

    def begin(self, channel: DmaChannel, now: int) -> None:
        """The first descriptor starts on `channel`."""
        state, op = self.state, self.queue[0]
        place = next(i for i, item in enumerate(self._idle) if item[2] is channel) if self._several else 0
        since = self._idle.pop(place)[0]
        gate, holder = self._gate(op, channel, since, now)
        channel.port.begun += 1
        channel.planes, self._latest = state.planes[op], channel
        self._started(op, channel, now)
        self.leave_queue(op, now, gate, holder)
        self.control.started(self)

    def _gate(self, op: int, channel: DmaChannel, since: int, now: int) -> tuple[int, int]:
        if channel.last >= 0 and since == now:
            return (_DECODER if channel.bursts else _FIRST_STAGE), channel.last
        if found := self.awaited(op, now):
            return found
        cycle, holder = channel.port.place()
        if cycle == now:
            return _PLACE, holder
        if self._several and self._before >= 0 and self.state.start[self._before] == now:
            return _ORDER, self._before
        return _ISSUED, op

    def _started(self, op: int, channel: DmaChannel, now: int) -> None:
        state = self.state
        self._before = channel.last = op
        state.channel[op] = channel.port.number
        channel.planes -= 1
        due = now + state.setup[op]
        entry = Decoded(due, op, channel)
        if self._shared and due > now:
            state.call(due, FREE, lambda _: self._line_up(entry, due))
        else:
            self._line_up(entry, now)
        if channel.bursts:
            self._decoder_free(channel, due + state.hold[op])

    def _decoder_free(self, channel: DmaChannel, cycle: int) -> None:
        """The decoder of `channel` is free at `cycle`: for the next plane, or another descriptor."""
        if channel.planes:
            self.state.call(cycle, FREE, channel.next_plane)
        else:
            insort(self._idle, (cycle, channel.port.number, channel))  # of one cycle, the lowest number first

    def next_plane(self, channel: DmaChannel, now: int) -> None:
        op, gate = channel.last + 1, _DECODER if channel.bursts else _FIRST_STAGE
        self.state.started(op, now, gate, channel.last)
        self._started(op, channel, now)
        if not channel.planes:
            self.wake(now)  # for the next descriptor, on whatever channel

    # -- port --------------------------------------------------------------------------------------------

    def _line_up(self, entry: Decoded, now: int) -> None:
        """The transfer is decoded, or will be with nothing in between: it has its place in the port's line."""
        port = entry.channel.port
        if not port.line:
            port.line.append(entry)
            self._ask(port, now)
        elif port.line[-1] < entry:
            port.line.append(entry)
        else:  # one of the other direction was decoded in the same cycle
            insort(port.line, entry)

    def _ask(self, port: Port, now: int) -> None:
        """The first transfer in the line asks the DRAM when its port comes to it."""
        first = port.line[0]
        bursts = first.channel.bursts
        ready = bursts.first_request(first.due) if bursts else max(first.due, port.free)
        self._arbiter.ask(port, ready, now)

    def take(self, port: Port, now: int) -> None:
        """The port takes the first transfer in its line: the memory serves it, and it passes."""
        state = self.state
        due, op, channel = port.line.popleft()
        served = state.memory.serve(op, now)
        there = served.end + served.crossing
        if channel.bursts and self._cuts:
            begin, done = channel.bursts.move(
                self._cuts.of(self._tile[op]), due, (served.begin, there), served.latency + self._handshake
            )
            state.opened(Point.DONE, op, _BURSTS, op)
            if due != now:
                state.opened(Point.READY, op, _REQUESTS, port.last)
        else:
            begin, done = served.begin, now + state.busy[op]
            if there + state.lag[op] > done:
                done = there + state.lag[op]
                state.opened(Point.DONE, op, _NOC if served.crossing else _SERVED, op)
            if port.last >= 0 and port.free == now:
                state.opened(Point.READY, op, _UNIT, port.last)
            port.free = done
        if served.begin != now:
            state.opened(Point.BEGIN, op, served.waited, served.behind)
        if served.by != _SERVICE:
            state.opened(Point.SERVED, op, served.by, op)
        if state.answers:
            state.latency[op] = self._arrival(served.latency)
            state.answered(op, served)
        state.begin[op], state.done[op] = begin, done
        state.dram_begin[op], state.dram_end[op] = served.begin, served.end
        port.last = op
        self._lands(op, port, done + state.latency[op])
        if port.line:
            self._ask(port, now)
        if not channel.bursts:
            self._decoder_free(channel, now + state.hold[op])
            if not self._several and not self._shared:
                self.look(now)  # at once: nothing else can make a difference
            elif self.queue and not channel.planes:
                self.wake(now + state.hold[op])

    def _arrival(self, latency: int) -> int:
        """Cycles from DONE until the data have arrived, or a write is known to be through.

        A memory that answers all alike has the latency that `costs` has already.
        """
        if self._cuts:
            return latency + self._handshake + self._completion
        return max(latency - self._gap, 0) + self._completion  # part of it passes while the port rests

    def _lands(self, op: int, port: Port, cycle: int) -> None:
        """`op` arrives at `cycle`, and retires with all that it keeps waiting; if it is the last of its descriptor, a
        place in flight is free then."""
        state, ops = self.state, self.state.lane_ops[self.lane]
        self._arrivals[op] = cycle
        while self._place < len(ops) and (first := ops[self._place]) in self._arrivals:
            arrives = self._arrivals.pop(first)
            if arrives >= self._retires:
                self._retires = arrives
            else:
                state.opened(Point.END, first, _RETIRE_ORDER, ops[self._place - 1])
            self._place += 1
            state.retires(first, self._retires, self.lane)
        if op + 1 == len(state.planes) or state.planes[op + 1]:
            port.lands(op, cycle)
            for unit in self.ports.units:
                unit.look_for_place()
