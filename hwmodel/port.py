"""A channel's port under bursts: its requests, its slots and its data bus, carried from transfer to transfer.

It is the law of `bursts.py`, one transfer at a time, in plain integers and outside SimPy: one call a transfer,
whatever its bursts. All times are those of the DRAM's end of the wire: what a port calls done arrives, or is
answered, `latency` later. So a transfer without limits is busy for its beats, as it is without bursts, and

    request_i = max(request_(i-1) + request_cycles, due_i, done_(i - outstanding) + latency)
    done_i    = max(request_i, free_(i-1)) + beats_i x beat_cycles, but no sooner than the DRAM has served its bytes

where `latency` is that of the transfer of burst i - outstanding, and due_i is when the transfer's
descriptor was decoded (that of the row, where each row has one).

The DRAM says from when to when it serves a transfer as a whole. Within that, each burst takes a share in
proportion to its bytes, after its request and in order.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from minisim.hwmodel.bursts import BurstRules, Descriptor


class Cut(NamedTuple):
    """A transfer's bursts.

    Attributes:
        bursts: of each: cycles that its beats take, bytes, cycles that the port then rests, and cycles after the
            first descriptor's decoding at which its own is decoded.
        through: cycles that the port is held if nothing else is in the way.
        size: bytes of all.
        rest: cycles that the port rests at the end, counted by the last burst, and not part of the transfer.
    """

    bursts: tuple[tuple[int, int, int, int], ...]
    through: int
    size: int
    rest: int


def cut(descriptor: Descriptor, rules: BurstRules) -> Cut:
    """The bursts of a transfer under `rules`."""
    split = list(rules.split(descriptor))
    rest, between_rows = max(rules.gap, rules.burst_gap), max(rules.row_gap, rules.burst_gap)
    bursts = []
    for i, (beats, size, realign, row) in enumerate(split):
        last = i + 1 == len(split)
        gap = rest if last else between_rows if split[i + 1].row > row else rules.burst_gap
        bursts.append((beats * rules.beat_cycles, size, realign + gap, row * rules.row_decode))
    through = sum(passing + gap for passing, _, gap, _ in bursts) - rest
    return Cut(tuple(bursts), through, sum(burst.size for burst in split), rest)


class Step(NamedTuple):
    """One burst as it went, for whoever wants to know why; cycles at the DRAM's end of the wire.

    Attributes:
        raised: the DMA had its request ready; asked: a slot was free for it, and it went out.
        begin, done: its data on the bus; done may be the DRAM's doing.
        run: how many bursts of the transfer, just before it, the DRAM served with it without a break.
        raised_by: what held it back: "pace", of the request before; or "decoder".
        asked_by: "slot", which an earlier burst had; or "raised".
        begin_by: "bus", which passed the burst before, or rested; "asked"; or "dram", which was not there yet.
        done_by: "beats", or "dram".
    """

    raised: int
    asked: int
    begin: int
    done: int
    run: int
    raised_by: str
    asked_by: str
    begin_by: str
    done_by: str


class Bus:
    """What the two directions of a channel share, if they do: requests, slots and data, as far as they are spoken for.

    Attributes:
        asked: when the last request went out.
        free: when the data bus has passed all that has been asked for, and rested.
        answered: when each of the slots is free.
    """

    def __init__(self, rules: BurstRules) -> None:
        self.asked = -rules.request_cycles
        self.free = -1  # before the first cycle: it holds nobody back
        self.answered: deque[int] = deque([0] * rules.outstanding, maxlen=rules.outstanding)


class BurstPort:
    """One channel of one direction.

    Args:
        rules: all of bursts; what lies between descriptors is the DMA's, but for `gap`, and latency the memory's.
        bus: that of the channel's other direction, if both share one.
    """

    def __init__(self, rules: BurstRules, bus: Bus | None = None) -> None:
        self._rules = rules
        self._bus = bus or Bus(rules)
        self._plain = not (rules.outstanding or rules.request_cycles or rules.row_decode)
        """Nothing but data passing can hold a burst back."""

    def first_request(self, due: int) -> int:
        """When the first request of the next transfer goes out, if its descriptor is decoded at `due`."""
        bus = self._bus
        asked = max(bus.asked + self._rules.request_cycles, due)
        return max(asked, bus.answered[0]) if bus.answered else asked

    def move(
        self, cut: Cut, due: int, served: tuple[int, int], latency: int, log: list[Step] | None = None
    ) -> tuple[int, int]:
        """Move the next transfer.

        Args:
            due: as in `first_request`.
            served: the cycles from and to which the DRAM serves it; the first is at or after its first request.
            latency: cycles from a burst's data at the DRAM's end to its answer, which frees its slot.
            log: takes a Step for each burst.

        Returns:
            the cycles from and to which its data pass.
        """
        cycles, bus, rules = served[1] - served[0], self._bus, self._rules
        begin = max(self.first_request(due), bus.free, served[0])
        # if not slow, each burst is served at least as fast as its beats pass
        slow = cycles * rules.width > cut.size * rules.beat_cycles
        if self._plain and not slow and log is None:
            bus.asked, done = due, begin + cut.through
            bus.free = done + cut.rest
        else:
            done = self._burst_by_burst(cut, due, served[0], cycles if slow else 0, latency, log)
        return begin, done

    def _burst_by_burst(self, cut: Cut, due: int, begin: int, cycles: int, latency: int, log: list[Step] | None) -> int:
        """Of `move`; `cycles` that the DRAM takes, or 0 if it is faster than the port."""
        pace, slots = self._rules.request_cycles, self._bus.answered
        asked, bus, size, served = self._bus.asked, self._bus.free, cut.size, begin * cut.size
        free, run = max(bus, begin), -1
        done = free
        for passing, part, rest, later in cut.bursts:
            paced = raised = asked + pace
            if raised < due + later:
                raised = due + later
            asked = slots[0] if slots and slots[0] > raised else raised
            starts = asked if asked > free else free
            done = starts + passing
            if cycles:  # served is in cycles / size
                run += 1
                if served < asked * size:
                    served, run = asked * size, 0
                served += part * cycles
                done = max(done, -(-served // size))
            if slots:
                slots.append(done + latency)
            if log is not None:
                raised_by = "pace" if raised == paced else "decoder"
                begin_by = "bus" if starts == bus else "asked" if starts == asked else "dram"
                done_by = "beats" if done == starts + passing else "dram"
                asked_by = "raised" if asked == raised else "slot"
                log.append(Step(raised, asked, starts, done, run, raised_by, asked_by, begin_by, done_by))
            bus = free = done + rest
        self._bus.asked, self._bus.free = asked, free
        return free - cut.rest
