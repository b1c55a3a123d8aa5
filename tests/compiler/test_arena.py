"""The allocator, against one that keeps a clock for every 64 bytes; and how many steps it takes."""

from __future__ import annotations

import random

import pytest

from minisim.compiler.scheduling.arena import ZERO, Arena

ALIGNMENT = 64


class Bytes:
    """Of each 64 bytes: whether they are free, and which operations must retire before they are written."""

    def __init__(self, size: int, base: int) -> None:
        self.base = base
        self.free = [True] * (size // ALIGNMENT)
        self.clock = [list(ZERO) for _ in self.free]

    def cells(self, address: int, size: int) -> range:
        return range((address - self.base) // ALIGNMENT, (address - self.base + size) // ALIGNMENT)

    def longest_run(self) -> int:
        longest = run = 0
        for free in self.free:
            run = run + 1 if free else 0
            longest = max(longest, run)
        return longest * ALIGNMENT


@pytest.mark.parametrize("seed", range(20))
def test_places_are_disjoint_and_their_clocks_name_all_who_used_them(seed: int) -> None:
    draw = random.Random(seed)
    base = draw.choice((0, 4096))
    cells = draw.choice((1, 7, 64, 1024))
    arena, known = Arena(cells * ALIGNMENT, base), Bytes(cells * ALIGNMENT, base)
    sizes = [ALIGNMENT * draw.choice((1, 2, 3, 16, 64)) for _ in range(draw.randint(1, 4))]
    used: list[tuple[int, int]] = []
    failed = 0
    for moment in range(1, 600):
        if used and draw.random() < 0.48:
            address, size = used.pop(draw.randrange(len(used)))
            clock = [draw.randint(0, moment) for _ in ZERO]
            arena.free(address, size, clock)
            for cell in known.cells(address, size):
                known.free[cell], known.clock[cell] = True, clock
        else:
            size = draw.choice(sizes)
            found = arena.allocate(size, small=draw.random() < 0.3)
            if found is None:
                failed += 1
                assert known.longest_run() < size
            else:
                address, clock = found
                cells_taken = known.cells(address, size)
                assert all(known.free[cell] for cell in cells_taken)
                waits = [max(counts) for counts in zip(*(known.clock[cell] for cell in cells_taken), strict=True)]
                assert all(got >= needed for got, needed in zip(clock, waits, strict=True))
                for cell in cells_taken:
                    known.free[cell] = False
                used.append((address, size))
        assert arena.free_bytes == ALIGNMENT * sum(known.free)
        assert arena.used_bytes == sum(size for _, size in used)
    for address, size in used:
        arena.free(address, size, [1, 2, 3, 4])
    arena.merge()
    assert arena.allocate(cells * ALIGNMENT) is not None


def test_tiles_of_one_size_take_turns_in_the_longest_free_place() -> None:
    arena = Arena(256)
    taken = [arena.allocate(64) for _ in range(4)]
    assert taken == [(64 * i, ZERO) for i in range(4)]
    for count, address in enumerate((128, 0, 192, 64), 1):
        arena.free(address, 64, [count, 0, 0, 0])
    assert [arena.allocate(64) for _ in range(4)] == [
        (address, [count, 0, 0, 0]) for count, address in enumerate((128, 0, 192, 64), 1)
    ]


def test_memory_never_used_comes_before_a_place_of_ones_own_size() -> None:
    """So loads run ahead as far as there is memory."""
    arena = Arena(256)
    arena.allocate(64)
    arena.free(0, 64, [1, 0, 0, 0])
    assert arena.allocate(64) == (64, ZERO)


def test_small_tiles_take_the_upper_end_of_memory_never_used() -> None:
    arena = Arena(1024)
    assert arena.allocate(64, small=True) == (960, ZERO)
    assert arena.allocate(512) == (0, ZERO)
    assert arena.allocate(64, small=True) == (896, ZERO)


def test_a_small_tile_does_not_break_up_the_place_of_a_large_one() -> None:
    """Though that has been free for longer."""
    arena = Arena(576)
    for address, size in ((0, 512), (512, 64)):
        assert arena.allocate(size) == (address, ZERO)
    arena.free(0, 512, [1, 0, 0, 0])
    arena.free(512, 64, [2, 0, 0, 0])
    assert arena.allocate(64) == (512, [2, 0, 0, 0])
    arena.free(512, 64, [3, 0, 0, 0])
    assert arena.allocate(64) == (512, [3, 0, 0, 0])
    assert arena.allocate(64) == (0, [1, 0, 0, 0])  # there is no other
    assert arena.allocate(448) == (64, [1, 0, 0, 0])


def test_a_size_that_is_needed_gets_the_places_that_nobody_needs_any_more() -> None:
    """Else all tiles of that size follow each other in one place, and each waits for the one before it."""
    arena = Arena(1024)
    addresses = [arena.allocate(size) for size in (512, 256, 256)]
    assert None not in addresses
    arena.free(512, 256, [1, 0, 0, 0])
    arena.free(768, 256, [2, 0, 0, 0])
    places = []
    for count in range(3, 13):
        arena.free(0, 512, [count, 0, 0, 0])
        found = arena.allocate(512)
        assert found is not None
        places.append(found)
        if found[0] == 512:
            break
    assert places[-1] == (512, [2, 0, 0, 0])  # the run of both, and its clock names both


def test_what_is_left_of_a_place_keeps_its_age_and_its_clock() -> None:
    arena = Arena(512)
    arena.allocate(512)
    arena.free(0, 512, [7, 0, 0, 0])
    assert arena.allocate(128) == (0, [7, 0, 0, 0])
    assert arena.allocate(384) == (128, [7, 0, 0, 0])
    assert arena.allocate(64) is None


def test_steps_do_not_grow_with_the_number_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places looked at, per call, with a hundred and with ten thousand free places of two sizes between used ones."""
    looked_at = {}
    for count in (100, 10_000):
        arena = Arena(count * 256)
        taken = [arena.allocate(size) for _ in range(count) for size in (64, 128, 64)]
        for i, found in enumerate(taken):
            assert found is not None
            if i % 3 != 2:
                arena.free(found[0], (64, 128)[i % 3], [i, 0, 0, 0])
        calls = 0
        window = Arena._window

        def counted(self: Arena, address: int, size: int, window=window) -> tuple[int, int]:  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            return window(self, address, size)

        monkeypatch.setattr(Arena, "_window", counted)
        for _ in range(count // 4):
            assert arena.allocate(192) is not None
        looked_at[count] = calls / (count // 4)
        monkeypatch.undo()
    assert looked_at[10_000] <= 1.1 * looked_at[100] + 1


def test_a_run_of_just_the_size_is_found_behind_any_number_of_short_ones() -> None:
    arena = Arena(64 * 202)
    addresses = [found[0] for _ in range(200) if (found := arena.allocate(64))]
    assert arena.allocate(128) == (64 * 200, ZERO)
    for address in addresses[:100:2]:  # holes between used places, all free for longer than the run to come
        arena.free(address, 64, [1, 0, 0, 0])
    arena.free(64 * 200, 128, [2, 0, 0, 0])
    taken = arena.allocate(64)
    assert taken is not None
    arena.free(addresses[101], 64, [3, 0, 0, 0])
    arena.free(addresses[102], 64, [4, 0, 0, 0])
    arena.free(addresses[103], 64, [5, 0, 0, 0])
    assert arena.allocate(192) == (addresses[101], [5, 0, 0, 0])


def test_memory_that_was_used_is_not_as_new_when_it_is_one_place_again() -> None:
    arena = Arena(256)
    arena.allocate(256)
    arena.free(0, 256, [3, 0, 0, 0])
    arena.merge()
    assert arena.allocate(64, small=True) == (0, [3, 0, 0, 0])  # else it would take the upper end
