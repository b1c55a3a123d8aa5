"""One direction of a DMA with all it may have: channels, bursts, and descriptors of several planes.

`unit.DmaUnit` is what is left of it with one channel of its own, without bursts and with a tile a descriptor (a
test holds them to each other); it takes fewer events.

Descriptors leave the queue in order, each to the channel that has been ready for one longest: its decoder is free,
and fewer than `max_outstanding` of its descriptors are in flight. Then, on the channel:

    decode   `setup` cycles; then the decoder is free, but without bursts not before the port has taken the transfer
    port     transfers in order, each at its first request: DRAM and port (`BurstPort`, or `busy` and the DRAM)
    landing  `latency` after the port is done; then the descriptor's place is free

Transfers retire when they and all before them in the queue have landed. The planes of a 3-D descriptor follow each
other on its channel without decoding.

If both directions share their channels (`dma.shared`), each decodes its own descriptors, but the port and the places
in flight are of both: the port takes transfers in the order in which they were decoded, and a place goes to the
direction that has waited for one longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from simpy import Event, Timeout

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import BurstRules, Descriptor, Rectangles
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules, rectangles
from minisim.hwmodel.descriptors import planes, tiles_of
from minisim.hwmodel.dram import Dram
from minisim.hwmodel.isa import Queue
from minisim.hwmodel.port import BurstPort, Bus, Cut, cut
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.hwmodel.unit import DmaUnit, Unit

if TYPE_CHECKING:
    from minisim.hwmodel.simulate import Run

_OUTSTANDING = WAITED_FOR.index("outstanding")


def dma_units(run: Run, core: int, schedule: isa.Schedule, machine: Machine, dram: Dram) -> tuple[Unit, Unit]:
    """The units for loads and for stores of the DMA of `core`."""
    dma, depth = machine.dma, machine.control.queue_depth
    if dma.channels == 1 and not dma.has_bursts and dma.dimensions < 3 and not dma.shared:
        load, store = (
            DmaUnit(run, core, queue, depth, dma.max_outstanding, dram) for queue in (Queue.LOAD, Queue.STORE)
        )
        return load, store
    return full_units(run, core, schedule, machine, dram)


def full_units(run: Run, core: int, schedule: isa.Schedule, machine: Machine, dram: Dram) -> tuple[Dma, Dma]:
    """The same, with all that a DMA may have."""
    engine = Engine(machine)
    stores = engine if machine.dma.shared else Engine(machine)
    load_rules, store_rules = (burst_rules(machine, load) for load in (True, False))
    return (
        Dma(run, core, Queue.LOAD, schedule, machine, dram, engine, load_rules),
        Dma(run, core, Queue.STORE, schedule, machine, dram, stores, store_rules),
    )


class Cuts:
    """How the tiles of a schedule are cut into bursts; tiles that are cut alike share it."""

    def __init__(self, tiles: Rectangles, rules: BurstRules) -> None:
        self._rules = rules
        period = rules.period
        columns = (tiles.address % period, tiles.row_bytes, tiles.rows, tiles.pitch)
        self._tiles: list[tuple[int, ...]] = list(zip(*(column.tolist() for column in columns), strict=True))
        self._found: dict[tuple[int, ...], Cut] = {}

    def of(self, tile: int) -> Cut:
        key = self._tiles[tile]
        if key not in self._found:
            self._found[key] = cut(Descriptor(*key), self._rules)
        return self._found[key]


class Port:
    """What the transfers of a channel pass one after the other: of one direction, or of both."""

    def __init__(self, rules: BurstRules) -> None:
        self.bus = Bus(rules)
        self.free_at = 0  # without bursts
        self.in_flight = 0  # descriptors
        self.decoded: deque[Decoded] = deque()  # in the order in which the port takes them


class Engine:
    """The ports of one direction, or those that both share."""

    def __init__(self, machine: Machine) -> None:
        rules = burst_rules(machine, load=True)  # a bus that is idle has none of either direction
        self.ports = [Port(rules) for _ in range(machine.dma.channels)]
        self.units: list[Dma] = []
        self.waiting: list[Dma] = []
        """Directions whose next descriptor waits for a place in flight, the one that has waited longest first."""


class Channel:
    """A direction's way to a port: its decoder, and its rules for bursts."""

    def __init__(self, number: int, port: Port, bursts: BurstPort | None) -> None:
        self.number = number
        self.port = port
        self.bursts = bursts
        self.planes = 0  # of the descriptor decoded last, that have not started


class Decoded(NamedTuple):
    """A transfer that waits for its port."""

    unit: Dma
    op: int
    due: int  # when its descriptor was decoded
    channel: Channel


class Dma(Unit):
    """One direction."""

    def __init__(
        self,
        run: Run,
        core: int,
        queue: Queue,
        schedule: isa.Schedule,
        machine: Machine,
        dram: Dram,
        engine: Engine,
        rules: BurstRules,
    ) -> None:
        super().__init__(run, core, queue, machine.control.queue_depth, machine.dma.max_outstanding)
        self._dram, self._engine, self._shared = dram, engine, machine.dma.shared
        engine.units.append(self)
        self._planes: list[int] = planes(schedule, run.costs.descriptors).tolist()
        self._tile: list[int] = tiles_of(schedule).tolist()
        self._cuts: Cuts | None = None
        if machine.dma.has_bursts:
            self._cuts = Cuts(rectangles(schedule), rules)
        self._idle = [
            Channel(i, port, BurstPort(rules, port.bus) if self._cuts else None) for i, port in enumerate(engine.ports)
        ]
        """Channels whose decoder is free, the one that has been so longest first."""
        self._several = machine.dma.channels > 1
        self._changed: Event | None = None
        self._unretired: deque[int] = deque()
        self._arrived: set[int] = set()
        self._started = -1  # the last descriptor's last operation
        self._last = self._idle[0]  # and its channel

    # -- descriptors -------------------------------------------------------------------------------------

    def _work(self) -> Generator[Event, None, None]:
        run, queue = self.run_state, self.queue
        own = self.core * len(Queue)  # the first lane of this core
        while True:
            while not len(queue):
                yield queue.changed()
            op = queue.head()
            while not self._idle or self._last.planes:  # a queue starts in order: the last descriptor's planes go first
                yield self._change()
            for other, counts in run.waits:
                if run.scoreboard.retired[own + other] < counts[op]:
                    run.waited_for[op] = other + 1
                    yield run.scoreboard.reached(own + other, counts[op])
            if run.sync[op] != isa.NONE:
                yield from self._other_cores(op)
            while (channel := self._with_room()) is None or self._behind():
                run.waited_for[op] = _OUTSTANDING
                if self not in self._engine.waiting:
                    self._engine.waiting.append(self)
                yield self._change()
            queue.pop()
            before, self._started = self._started, op + self._planes[op] - 1
            if self._several and not run.waited_for[op] and before >= 0 and run.issue[op] < run.start[before]:
                run.waited_for[op] = run.waited_for[before]  # it stood behind that one, not behind its channel
            self._idle.remove(channel)
            channel.port.in_flight += 1
            if self in self._engine.waiting:
                self._engine.waiting.remove(self)
                self._wake()  # whoever stood behind it
            channel.planes, self._last = self._planes[op], channel
            self._unretired.extend(range(op, op + self._planes[op]))
            self._start(op, channel)

    def _with_room(self) -> Channel | None:
        return next((channel for channel in self._idle if channel.port.in_flight < self.max_outstanding), None)

    def _behind(self) -> bool:
        """The other direction has waited for a place longer, and will take one in this cycle."""
        first = next(iter(self._engine.waiting), self)
        return first is not self and first._with_room() is not None

    def _start(self, op: int, channel: Channel) -> None:
        now = int(self.env.now)
        run = self.run_state
        run.channel[op] = channel.number
        channel.planes -= 1
        run.started(op, now)
        if self._several and not channel.planes:
            self._wake()  # the next descriptor, on another channel
        due = now + self.run_state.setup[op]
        if self._shared:
            self._at(due, self._ask, op, channel)
        else:
            self._line_up(op, due, channel)
        if channel.bursts:
            self._at(due + self.run_state.hold[op], self._decoder_free, op, channel, now_too=not channel.planes)

    def _decoder_free(self, op: int, channel: Channel) -> None:
        """`op`, decoded last on the channel, has left the decoder."""
        if channel.planes:
            self._start(op + 1, channel)
        else:
            self._idle.append(channel)
            self._wake()

    # -- port --------------------------------------------------------------------------------------------

    def _ask(self, op: int, channel: Channel) -> None:
        """Of a port that both directions share: from now on `op` has its place in the line."""
        self._line_up(op, int(self.env.now), channel)

    def _line_up(self, op: int, due: int, channel: Channel) -> None:
        line = channel.port.decoded
        line.append(Decoded(self, op, due, channel))
        if len(line) == 1:
            self._take_next(channel, due)

    def _take_next(self, channel: Channel, due: int) -> None:
        """The first transfer in the line goes to the port, when that comes to it."""
        op = channel.port.decoded[0].op
        ready = channel.bursts.first_request(due) if channel.bursts else max(due, channel.port.free_at)
        self._at(ready, self._take, op, channel)

    def _take(self, op: int, channel: Channel) -> None:
        run, now, port = self.run_state, int(self.env.now), channel.port
        due = port.decoded.popleft().due
        served = self._dram.serve(op, now)
        if channel.bursts and self._cuts:
            begin, done = channel.bursts.move(self._cuts.of(self._tile[op]), due, served)
        else:
            begin, done = served[0], max(served[1] + self.run_state.lag[op], now + run.busy[op])
            port.free_at = done
        run.begin[op], run.done[op] = begin, done
        run.dram_begin[op], run.dram_end[op] = served
        self._at(done + self.run_state.latency[op], self._land, op, channel)
        if port.decoded:
            following = port.decoded[0]
            following.unit._take_next(following.channel, following.due)
        if not channel.bursts:
            self._at(now + self.run_state.hold[op], self._decoder_free, op, channel, now_too=not channel.planes)

    def _land(self, op: int, channel: Channel) -> None:
        self._arrived.add(op)
        while self._unretired and self._unretired[0] in self._arrived:
            first = self._unretired.popleft()
            self._arrived.remove(first)
            self.run_state.retired(first, int(self.env.now), self.lane)
        if self._last_plane(op):
            channel.port.in_flight -= 1
            self._wake()

    def _last_plane(self, op: int) -> bool:
        return op + 1 == len(self._planes) or self._planes[op + 1] != 0

    # -- events ------------------------------------------------------------------------------------------

    def _at(
        self, cycle: int, then: Callable[[int, Channel], None], op: int, channel: Channel, now_too: bool = True
    ) -> None:
        """Call `then` at `cycle`; at once if that is now and `now_too` (planes would call each other without end)."""
        delay = cycle - int(self.env.now)
        if not delay and now_too:
            then(op, channel)
            return
        event = Timeout(self.env, delay)
        event.callbacks.append(lambda _: then(op, channel))

    def _change(self) -> Event:
        """An event that succeeds when a decoder or a place in flight becomes free, or all planes have started."""
        self._changed = Event(self.env)
        return self._changed

    def _wake(self) -> None:
        for unit in self._engine.units:
            if unit._changed is not None:
                unit._changed.succeed()
                unit._changed = None
