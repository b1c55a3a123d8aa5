"""One direction of a DMA with all it may have: channels, bursts, and descriptors of several planes.

`unit.DmaUnit` is what is left of it with one channel, without bursts and with a tile a descriptor (a test holds
them to each other); it takes fewer events.

Descriptors leave the queue in order, each to the channel that has been ready for one longest: its decoder is free,
and fewer than `max_outstanding` of its descriptors are in flight. Then, on the channel:

    decode   `setup` cycles; then the decoder is free, but without bursts not before the port has taken the transfer
    port     transfers in order, each at its first request: DRAM and port (`BurstPort`, or `busy` and the DRAM)
    landing  `latency` after the port is done; then the descriptor's place is free

Transfers retire when they and all before them in the queue have landed. The planes of a 3-D descriptor follow each
other on its channel without decoding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from simpy import Event, Timeout

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import BurstRules, Descriptor, Rectangles
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules, rectangles
from minisim.hwmodel.descriptors import planes, tiles_of
from minisim.hwmodel.dram import Dram
from minisim.hwmodel.isa import Queue
from minisim.hwmodel.port import BurstPort, Cut, cut
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.hwmodel.unit import DmaUnit, Unit

if TYPE_CHECKING:
    from minisim.hwmodel.simulate import Run

_OUTSTANDING = WAITED_FOR.index("outstanding")


def dma_unit(run: Run, core: int, queue: Queue, schedule: isa.Schedule, machine: Machine, dram: Dram) -> Unit:
    """The unit for one direction of the DMA of `core`."""
    dma, depth = machine.dma, machine.control.queue_depth
    if dma.channels == 1 and not dma.has_bursts and dma.dimensions < 3:
        return DmaUnit(run, core, queue, depth, dma.max_outstanding, dram)
    return Dma(run, core, queue, schedule, machine, dram)


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


class Channel:
    """One port of a direction and what is in flight there."""

    def __init__(self, number: int, port: BurstPort | None) -> None:
        self.number = number
        self.port = port
        self.free_at = 0  # the port without bursts
        self.in_flight = 0  # descriptors
        self.planes = 0  # of the descriptor decoded last, that have not started
        self.decoded: deque[tuple[int, int]] = deque()  # operation, and when its descriptor was decoded


class Dma(Unit):
    """One direction."""

    def __init__(self, run: Run, core: int, queue: Queue, schedule: isa.Schedule, machine: Machine, dram: Dram) -> None:
        super().__init__(run, core, queue, machine.control.queue_depth, machine.dma.max_outstanding)
        self._dram = dram
        self._planes: list[int] = planes(schedule, run.costs.descriptors).tolist()
        self._tile: list[int] = tiles_of(schedule).tolist()
        self._cuts: Cuts | None = None
        rules = burst_rules(machine, load=queue == Queue.LOAD)
        if machine.dma.has_bursts:
            self._cuts = Cuts(rectangles(schedule), rules)
        ports = [BurstPort(rules) if self._cuts else None for _ in range(machine.dma.channels)]
        self._idle = [Channel(i, port) for i, port in enumerate(ports)]
        """Channels whose decoder is free, the one that has been so longest first."""
        self._several = machine.dma.channels > 1
        self._changed: Event | None = None
        self._unretired: deque[int] = deque()
        self._arrived: set[int] = set()
        self._started = -1  # the last descriptor's first operation

    # -- descriptors -------------------------------------------------------------------------------------

    def _work(self) -> Generator[Event, None, None]:
        run, queue = self.run_state, self.queue
        own = self.core * len(Queue)  # the first lane of this core
        while True:
            while not len(queue):
                yield queue.changed()
            op = queue.head()
            while not self._idle:
                yield self._change()
            for other, counts in run.waits:
                if run.scoreboard.retired[own + other] < counts[op]:
                    run.waited_for[op] = other + 1
                    yield run.scoreboard.reached(own + other, counts[op])
            if run.sync[op] != isa.NONE:
                yield from self._other_cores(op)
            while (channel := self._with_room()) is None:
                run.waited_for[op] = _OUTSTANDING
                yield self._change()
            queue.pop()
            before, self._started = self._started, op
            if self._several and not run.waited_for[op] and before >= 0 and run.issue[op] < run.start[before]:
                run.waited_for[op] = run.waited_for[before]  # it stood behind that one, not behind its channel
            self._idle.remove(channel)
            channel.in_flight += 1
            channel.planes = self._planes[op]
            self._unretired.extend(range(op, op + self._planes[op]))
            self._start(op, channel)

    def _with_room(self) -> Channel | None:
        return next((channel for channel in self._idle if channel.in_flight < self.max_outstanding), None)

    def _start(self, op: int, channel: Channel) -> None:
        now = int(self.env.now)
        run = self.run_state
        run.channel[op] = channel.number
        channel.planes -= 1
        run.started(op, now)
        due = now + self.run_state.setup[op]
        channel.decoded.append((op, due))
        if len(channel.decoded) == 1:
            self._take_next(channel)
        if channel.port:
            self._at(due + self.run_state.hold[op], self._decoder_free, op, channel, now_too=not channel.planes)

    def _decoder_free(self, op: int, channel: Channel) -> None:
        """`op`, decoded last on the channel, has left the decoder."""
        if channel.planes:
            self._start(op + 1, channel)
        else:
            self._idle.append(channel)
            self._wake()

    # -- port --------------------------------------------------------------------------------------------

    def _take_next(self, channel: Channel) -> None:
        """The transfer decoded first goes to the port, when that comes to it."""
        op, due = channel.decoded[0]
        ready = channel.port.first_request(due) if channel.port else max(due, channel.free_at)
        self._at(ready, self._take, op, channel)

    def _take(self, op: int, channel: Channel) -> None:
        run, now = self.run_state, int(self.env.now)
        _, due = channel.decoded.popleft()
        served = self._dram.serve(op, now)
        if channel.port and self._cuts:
            begin, done = channel.port.move(self._cuts.of(self._tile[op]), due, served)
        else:
            begin, done = served[0], max(served[1] + self.run_state.lag[op], now + run.busy[op])
            channel.free_at = done
        run.begin[op], run.done[op] = begin, done
        run.dram_begin[op], run.dram_end[op] = served
        self._at(done + self.run_state.latency[op], self._land, op, channel)
        if channel.decoded:
            self._take_next(channel)
        if not channel.port:
            self._at(now + self.run_state.hold[op], self._decoder_free, op, channel, now_too=not channel.planes)

    def _land(self, op: int, channel: Channel) -> None:
        self._arrived.add(op)
        while self._unretired and self._unretired[0] in self._arrived:
            first = self._unretired.popleft()
            self._arrived.remove(first)
            self.run_state.retired(first, int(self.env.now), self.lane)
        if self._last_plane(op):
            channel.in_flight -= 1
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
        """An event that succeeds when a decoder or a place in flight becomes free."""
        self._changed = Event(self.env)
        return self._changed

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.succeed()
            self._changed = None
