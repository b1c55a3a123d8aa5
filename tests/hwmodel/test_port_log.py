"""What a port's log says held each burst: every word of it is an equation that the burst keeps."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from minisim.hwmodel.bursts import BurstRules, Descriptor
from minisim.hwmodel.port import BurstPort, Cut, Step, cut

RULES = st.builds(
    BurstRules,
    width=st.sampled_from([4, 16]),
    latency=st.just(0),  # the memory answers each transfer its own
    max_beats=st.sampled_from([1, 2, 16]),
    boundary=st.sampled_from([0, 64]),
    outstanding=st.sampled_from([0, 1, 2]),
    request_cycles=st.integers(0, 6),
    beat_cycles=st.integers(1, 2),
    burst_gap=st.integers(0, 2),
    gap=st.integers(0, 2),
    row_decode=st.sampled_from([0, 9]),
)
TRANSFERS = st.lists(
    st.tuples(
        st.builds(Descriptor, st.integers(0, 99), st.integers(1, 90), st.integers(1, 4), st.just(128)),
        st.integers(0, 30),  # cycles from one decoding to the next
        st.integers(0, 20),  # cycles that the DRAM lets it wait
        st.integers(1, 90),  # cycles that the DRAM takes
    ),
    min_size=1,
    max_size=6,
)
LATENCY = 17
SEEN = Counter[str]()


class Replay:
    """Transfers through one port, and the equations of all their bursts."""

    def __init__(self, rules: BurstRules) -> None:
        self.rules, self.port = rules, BurstPort(rules)
        self.steps: list[Step] = []
        self.rests: list[int] = []

    def move(self, bursts: Cut, due: int, waits: int, cycles: int) -> None:
        first = len(self.steps)
        begin = self.port.first_request(due) + waits
        self.port.move(bursts, due, (begin, begin + cycles), LATENCY, self.steps)
        slow = cycles * self.rules.width > bursts.size * self.rules.beat_cycles
        for b in range(first, len(self.steps)):
            passing, _, rest, later = bursts.bursts[b - first]
            step = self.steps[b]
            SEEN.update([step.raised_by, step.asked_by, step.begin_by, step.done_by])
            self.check_request(b, due + later)
            ready = self.steps[b - 1].done + self.rests[b - 1] if b else -1
            assert step.begin == max(ready, step.asked, begin)
            assert step.begin == {"bus": ready, "asked": step.asked, "dram": begin}[step.begin_by]
            served = self.served(bursts, first, b, begin, cycles) if slow else 0
            assert step.done == max(step.begin + passing, served)
            assert step.done == {"beats": step.begin + passing, "dram": served}[step.done_by]
            self.rests.append(rest)

    def check_request(self, b: int, decoded: int) -> None:
        step, rules = self.steps[b], self.rules
        paced = self.steps[b - 1].asked + rules.request_cycles if b else 0
        assert step.raised == max(paced, decoded) == {"pace": paced, "decoder": decoded}[step.raised_by]
        holds = rules.outstanding and b >= rules.outstanding
        answered = self.steps[b - rules.outstanding].done + LATENCY if holds else 0
        assert step.asked == max(step.raised, answered) == {"raised": step.raised, "slot": answered}[step.asked_by]

    def served(self, bursts: Cut, first: int, b: int, begin: int, cycles: int) -> int:
        """When the DRAM has served burst `b`: it serves the bytes of its run one after the other."""
        opener = b - self.steps[b].run
        since = begin if opener == first else self.steps[opener].asked
        size = sum(part for _, part, _, _ in bursts.bursts[opener - first : b - first + 1])
        return since + -(-size * cycles // bursts.size)


@settings(deadline=None, max_examples=300)
@given(RULES, TRANSFERS)
def check(rules: BurstRules, transfers: list[tuple[Descriptor, int, int, int]]) -> None:
    replay, due = Replay(rules), 0
    for descriptor, later, waits, cycles in transfers:
        due += later
        replay.move(cut(descriptor, rules), due, waits, cycles)


def test_every_word_of_the_log_is_an_equation() -> None:
    check()
    assert set(SEEN) == {"pace", "decoder", "slot", "raised", "bus", "asked", "dram", "beats"}
    assert min(SEEN.values()) > 50, SEEN
