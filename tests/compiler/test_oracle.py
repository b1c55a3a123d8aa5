"""The oracle of benchmarks/oracle.py against one that walks the loops."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SPEC = importlib.util.spec_from_file_location("gemm_oracle", FOLDER / "oracle.py")
assert SPEC is not None and SPEC.loader is not None
oracle = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(oracle)


def blocks(size: int, edge: int) -> list[int]:
    return [min(edge, size - begin) for begin in range(0, size, edge)]


def walked(m: int, k: int, n: int, sram: int) -> int:
    """Count each element as the loops of the three nests meet it."""
    found = []
    for rows, cols in itertools.product(range(1, max(m, k) + 1), range(1, max(k, n) + 1)):
        if rows * cols + rows + cols > sram:
            continue
        if rows <= m and cols <= n:  # sums stay
            found.append(sum(k * (i + j) + i * j for i in blocks(m, rows) for j in blocks(n, cols)))
        if rows <= k and cols <= n:  # weights stay
            sums = sum((m * j) * (1 if first else 2) for first, _, j in steps(k, rows, n, cols))
            found.append(sum(i * j + m * i for i in blocks(k, rows) for j in blocks(n, cols)) + sums)
        if rows <= m and cols <= k:  # inputs stay
            sums = sum((j * n) * (1 if first else 2) for first, _, j in steps(k, cols, m, rows))
            found.append(sum(i * j + j * n for i in blocks(m, rows) for j in blocks(k, cols)) + sums)
    return min(found)


def steps(k: int, step: int, across: int, edge: int) -> list[tuple[bool, int, int]]:
    return [(i == 0, each, j) for i, each in enumerate(blocks(k, step)) for j in blocks(across, edge)]


@pytest.mark.parametrize("sram", [3, 8, 20, 45, 200])
@pytest.mark.parametrize("shape", [(6, 6, 6), (9, 2, 5), (1, 7, 8), (7, 5, 1), (3, 11, 4), (1, 1, 1)])
def test_it_is_what_the_loops_move(shape: tuple[int, int, int], sram: int) -> None:
    assert oracle.least_traffic(*shape, sram) == walked(*shape, sram)


def test_the_bound_lies_below() -> None:
    """Where an operand fits, 2 MNK / sqrt(S) + MN would lie above: 3.107 M elements, of which 2.114 M do."""
    assert oracle.least_traffic(8192, 128, 128, 17_000) == oracle.compulsory(8192, 128, 128) == 2_113_536
    for shape, sram in itertools.product(oracle.SHAPES, oracle.SRAM):
        assert oracle.bound(*shape, sram) <= oracle.least_traffic(*shape, sram)
