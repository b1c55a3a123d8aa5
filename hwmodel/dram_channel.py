"""One DRAM channel: its banks, and the controller in front of them.

A request waits in the channel's read or write queue, moves (one a cycle) to the queue of its bank, and is
served there first-ready: a column command to the open row before a precharge, but no more than four in a
row while an older request wants another row. Writes are held back until their queue is full, then drained.

The timing rules are JEDEC's, kept as the earliest cycles at which each kind of command may be given next.
Nothing here is an event of the simulation: `tick` is called for those cycles only in which something can
happen, and all numbers are integer cycles of the DRAM's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from minisim.hwmodel.dram_presets import DramPart

NEVER = 2**62
ROW_HITS = 4
"""Column commands to an open row after which an older request for another row may close it."""

Request = tuple[int, int, bool]
"""Row, sequence number, is a write."""


class Channel:
    """One channel of `part`; `next` is the next cycle at which a tick may do something."""

    def __init__(self, part: DramPart) -> None:
        self.part = part
        per_rank = part.groups * part.banks
        banks, ranks = part.ranks * per_rank, part.ranks
        self.next = NEVER
        self.reads: list[tuple[int, Request]] = []
        self.writes: list[tuple[int, Request]] = []
        self.flushing = False
        """No more requests will come: writes need not wait for company."""
        self.column_at = 0
        """When the last column command was given."""
        self._write_batch = min(part.write_batch, part.queue)  # more will not come together
        self._draining = 0
        self._waiting = 0
        self._queues: list[list[Request]] = [[] for _ in range(banks)]
        self._ready = [NEVER] * banks  # no bank's next command can be given before
        self._turns = [[*range(b + 1, banks), *range(b + 1)] for b in range(banks)]
        self._last = banks - 1
        self._rank = [b // per_rank for b in range(banks)]
        self._group = [b // part.banks for b in range(banks)]
        # The earliest cycle of the next command, by bank, group and rank.
        self._row = [-1] * banks
        self._hits = [0] * banks
        self._activate, self._precharge, self._column = [0] * banks, [0] * banks, [0] * banks
        groups = part.ranks * part.groups
        self._group_activate, self._group_read, self._group_write = [0] * groups, [0] * groups, [0] * groups
        self._rank_activate, self._rank_read, self._rank_write = [0] * ranks, [0] * ranks, [0] * ranks
        self._window: list[list[int]] = [[-NEVER] * 4 for _ in range(ranks)]  # the last four activates
        self._refresh_at, self._refresh_rank = part.tREFI // ranks, 0

    # -- requests ----------------------------------------------------------------------------------

    def accepts(self, write: bool) -> bool:
        return len(self.writes if write else self.reads) < self.part.queue

    def push(self, bank: int, row: int, number: int, write: bool, now: int) -> None:
        """Take a request; the caller has asked `accepts`."""
        (self.writes if write else self.reads).append((bank, (row, number, write)))
        self._waiting += 1
        self.next = min(self.next, now)

    def hold_columns(self, until: int) -> None:
        """No column command before `until`: the data bus belongs to an earlier transfer."""
        for table in (self._rank_read, self._rank_write):
            for rank, cycle in enumerate(table):
                table[rank] = max(cycle, until)

    def run(self, requests: Sequence[tuple[int, int, bool]], start: int, not_before: int) -> int:
        """Serve the bank, row and direction of each burst, in the order in which they are asked for.

        Args:
            start: cycle of the first request.
            not_before: earliest cycle of a column command (rows may be opened before).

        Returns:
            the cycle at which the data bus is free of the last one, its latency not counted.
        """
        self.flushing = False
        self.hold_columns(not_before)
        now, last, asked, unserved = start, start, 0, len(requests)
        while unserved:
            took = False  # writes, which may go on in the next cycle
            while asked < len(requests) and self.accepts(requests[asked][2]):
                bank, row, write = requests[asked]
                self.push(bank, row, asked, write, now)
                took |= write
                asked += 1
            if asked == len(requests):
                self.flushing = True
                self.next = now if self.writes else self.next
            if self.next <= now and (served := self.tick(now)):
                unserved -= len(served)
                last = now
            now = max(now + 1, min(self.next, now + 1 if took else NEVER))
        return last + self.part.burst_cycles

    # -- one cycle ---------------------------------------------------------------------------------

    def tick(self, now: int) -> list[Request]:
        """Do what cycle `now` allows; the requests whose column command was given."""
        if now >= self._refresh_at:
            self._refresh(now)
        served: list[Request] = []
        busy = False
        for _ in range(self.part.commands):
            if min(self._ready) > now or not self._issue(now, served):
                break
            busy = True
        if self._waiting:
            busy = self._move() or busy
        self.next = now + 1 if busy else min(self._ready)
        return served

    def _move(self) -> bool:
        """One request from the channel's queue to its bank's; whether one could move."""
        if not self._draining:
            enough = self.part.queue if self.reads else 1 if self.flushing else self._write_batch
            self._draining = len(self.writes) if len(self.writes) >= enough else 0
        queue = self.writes if self._draining else self.reads
        for i, (bank, request) in enumerate(queue):
            if len(self._queues[bank]) < self.part.bank_queue:
                self._queues[bank].append(request)
                self._ready[bank] = 0  # to be worked out
                del queue[i]
                self._waiting -= 1
                self._draining -= bool(self._draining)
                return True
        return False

    def _issue(self, now: int, served: list[Request]) -> bool:
        """Give the first command that is ready, the banks in turn; whether there was one."""
        ready = self._ready
        for bank in self._turns[self._last]:
            if ready[bank] <= now:
                ready[bank], kind, index = self._next_command(bank, now)
                if ready[bank] <= now:
                    break
        else:
            return False
        self._last = bank
        if kind == _ACTIVATE:
            self._give_activate(bank, self._queues[bank][0][0], now)
        elif kind == _PRECHARGE:
            self._row[bank] = -1
            self._activate[bank] = max(self._activate[bank], now + self.part.tRP)
        else:
            request = self._queues[bank].pop(index)
            self._give_column(bank, request[2], now)
            served.append(request)
        ready[bank] = now + 1 if self._queues[bank] else NEVER
        return True

    def _next_command(self, bank: int, now: int) -> tuple[int, int, int]:
        """Cycle, kind, and the request in the bank's queue that the next command is for."""
        queue, row = self._queues[bank], self._row[bank]
        rank, group = self._rank[bank], self._group[bank]
        if row < 0:
            at = max(self._activate[bank], self._group_activate[group], self._rank_activate[rank])
            return max(at, self._window[rank][0] + self.part.tFAW), _ACTIVATE, 0
        at, index = NEVER, 0
        column = self._column[bank]
        read = max(column, self._group_read[group], self._rank_read[rank], now)
        write = max(column, self._group_write[group], self._rank_write[rank], now)
        for i, request in enumerate(queue):
            if request[0] == row:
                possible = write if request[2] else read
                if possible < at:
                    at, index = possible, i
                    if at == now:
                        break
        if queue[0][0] != row and (at == NEVER or self._hits[bank] >= ROW_HITS):
            close = max(self._precharge[bank], now)
            if close <= at:
                return close, _PRECHARGE, 0
        return at, _COLUMN, index

    # -- commands ----------------------------------------------------------------------------------

    def _give_activate(self, bank: int, row: int, now: int) -> None:
        part, rank, group = self.part, self._rank[bank], self._group[bank]
        self._row[bank], self._hits[bank] = row, 0
        self._activate[bank] = now + part.tRAS + part.tRP
        self._column[bank] = now + part.tRCD
        self._precharge[bank] = now + part.tRAS
        self._group_activate[group] = now + part.tRRD_L
        self._rank_activate[rank] = now + part.tRRD_S
        window = self._window[rank]
        del window[0]
        window.append(now)

    def _give_column(self, bank: int, write: bool, now: int) -> None:
        part, rank, group = self.part, self._rank[bank], self._group[bank]
        self.column_at = now
        self._hits[bank] += 1
        burst = part.burst_cycles
        short, long = max(burst, part.tCCD_S), max(burst, part.tCCD_L)
        if write:
            after = now + part.CWL + burst  # the data is in
            close, group_read, rank_read = after + part.tWR, after + part.tWTR_L, after + part.tWTR_S
            group_write, rank_write = now + long, now + short
            other_read, other_write = after - part.CL + part.tRTRS, now + burst + part.tRTRS
        else:
            turn = now + part.CL + burst - part.CWL  # a write's data right behind this one's
            close, group_read, rank_read = now + part.tRTP, now + long, now + short
            group_write = rank_write = turn + part.tRPRE
            other_read, other_write = now + burst + part.tRTRS, turn + part.tRTRS
        self._precharge[bank] = max(self._precharge[bank], close)
        self._group_read[group] = max(self._group_read[group], group_read)
        self._group_write[group] = max(self._group_write[group], group_write)
        for r in range(part.ranks):
            at_read, at_write = (rank_read, rank_write) if r == rank else (other_read, other_write)
            self._rank_read[r] = max(self._rank_read[r], at_read)
            self._rank_write[r] = max(self._rank_write[r], at_write)

    def _refresh(self, now: int) -> None:
        """All refreshes that have come due: a rank closes its rows, then rests for tRFC; the ranks take turns."""
        part = self.part
        interval, per_rank = part.tREFI // part.ranks, part.groups * part.banks
        if (missed := (now - self._refresh_at) // interval - part.ranks) > 0:  # an idle time: the last ones count
            self._refresh_at += missed * interval
            self._refresh_rank = (self._refresh_rank + missed) % part.ranks
        while self._refresh_at <= now:
            start = self._refresh_at
            banks = range(self._refresh_rank * per_rank, (self._refresh_rank + 1) * per_rank)
            for bank in banks:
                closed = self._row[bank] < 0
                start = max(start, self._activate[bank] if closed else self._precharge[bank] + part.tRP)
            for bank in banks:
                self._row[bank] = -1
                self._activate[bank] = start + part.tRFC
            self._refresh_at += interval
            self._refresh_rank = (self._refresh_rank + 1) % part.ranks


_ACTIVATE, _PRECHARGE, _COLUMN = range(3)
