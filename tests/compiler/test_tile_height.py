"""Which height tiles have: `tile.m`, unless a thin last row of them would be a pass of its own through the array."""

from __future__ import annotations

import pytest
from support.machines import machine

from minisim.compiler.tiling import AMPLE, AMPLE_SUMS, tile_height

ROOMY = 32 * 32 * 4 * 64


@pytest.mark.parametrize(
    ("rows", "height"),
    [
        (1, 1),
        (31, 31),
        (32, 32),
        (33, 33),  # one pass instead of two
        (47, 47),
        (48, 32),  # half a pass is not thin
        (64, 64 // 2),
        (65, 33),  # dealt out to both
        (32 * 30 + 1, 32),  # 31 of 992 rows are not worth it
    ],
)
def test_a_thin_last_row_joins_the_others(rows: int, height: int) -> None:
    assert tile_height(rows, machine(sram__bytes=ROOMY)) == height


@pytest.mark.parametrize(
    "fields",
    [
        {"matrix__dataflow": "os"},
        {"matrix__model": "scalesim", "tile__m": 32},
        {"compiler__order": "mnk"},
        {"compiler__order": "blocked", "compiler__keep_on_chip": False},
        {"cores__count": 2},  # the thin row may be the second core's
        {"sram__bytes": AMPLE * 33 * 32 * 4 - 64},
        {"accumulator__bytes": AMPLE_SUMS * 33 * 32 * 4 - 64},
    ],
)
def test_where_it_does_not(fields: dict[str, object]) -> None:
    assert tile_height(33, machine(**{"sram__bytes": ROOMY, **fields})) == 32


def test_just_room_enough() -> None:
    sizes = {"sram__bytes": AMPLE * 33 * 32 * 4, "accumulator__bytes": AMPLE_SUMS * 33 * 32 * 4}
    assert tile_height(33, machine(**sizes)) == 33
