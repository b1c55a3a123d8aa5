"""Banks of the SRAM: the formula against a count of words, bank by bank, and where it binds in the units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.hwmodel.array import block_cycles
from minisim.hwmodel.banks import bank_cycles, matmul_bank_cycles, walk_bytes
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs, matmul_cycles
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.sections import Sram

WORDS = st.sampled_from([4, 8, 12, 16, 64])


def sram(banks: int, word: int) -> Sram:
    return Sram(banks=banks, bank_bytes_per_cycle=word)


@given(st.integers(1, 20), WORDS, st.integers(1, 200))
def test_a_walk_takes_as_long_as_its_busiest_bank(banks: int, word: int, words: int) -> None:
    """Over a whole period of the pattern, the count is exact. The stride is at least a word, so each element is one."""
    stride = max(4 * words, word)
    period = banks * word // math.gcd(stride, banks * word)
    places = np.arange(period, dtype=np.int64) * stride // word % banks
    busiest = int(np.bincount(places).max())
    assert bank_cycles(walk_bytes(period, stride, 4, sram(banks, word)), sram(banks, word)) in (busiest, busiest - 1)
    if math.gcd(stride, banks * word) % word == 0:
        assert bank_cycles(walk_bytes(period, stride, 4, sram(banks, word)), sram(banks, word)) == busiest


@given(st.integers(1, 64), st.integers(1, 300), st.integers(1, 10_000))
def test_whole_words_conflict_by_the_greatest_common_divisor(banks: int, stride: int, elements: int) -> None:
    word = 8
    taken = walk_bytes(elements, stride * word, 4, sram(banks, word))
    assert bank_cycles(taken, sram(banks, word)) == math.ceil(elements * math.gcd(stride, banks) / banks)


@given(st.integers(1, 64), WORDS, st.integers(1, 10_000))
def test_a_row_uses_all_of_the_bandwidth(banks: int, word: int, elements: int) -> None:
    taken = walk_bytes(elements, 4, 4, sram(banks, word))
    assert bank_cycles(taken, sram(banks, word)) == math.ceil(4 * elements / (banks * word))


def test_banks_without_a_width_never_bind() -> None:
    assert bank_cycles(walk_bytes(10**6, 4096, 4, Sram()), Sram()) == 0
    assert Sram().bank_bytes_per_cycle == 0


# -- in the array ------------------------------------------------------------------------------------------------

M, K, N = 24, 40, 20
"""On 8 rows and 16 columns: strides of 96, 160 and 80 bytes on 16 banks of 4 (64 bytes): gcd 32, 32, 16."""

CONFLICTS = {24: 32, 40: 32, 20: 16}


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize(
    ("dataflow", "passes", "a_by_rows", "b_by_rows"),
    [("ws", (2, 1, 5), 0, 0), ("is", (1, 2, 5), 1, 1), ("os", (2, 3, 1), 1, 0)],
)
def test_what_the_array_walks_against_its_rows_conflicts(
    dataflow: str, passes: tuple[int, int, int], a_by_rows: int, b_by_rows: int, transposed: tuple[int, int]
) -> None:
    """`a_by_rows`: whether A must be stored transposed for the array to take it by rows."""
    there = machine(
        matrix__rows=8, matrix__cols=16, matrix__dataflow=dataflow, sram__banks=16, sram__bank_bytes_per_cycle=4
    )
    a, b, c = passes
    a_each = 4 if transposed[0] == a_by_rows else CONFLICTS[M if transposed[0] else K]
    b_each = 4 if transposed[1] == b_by_rows else CONFLICTS[K if transposed[1] else N]
    taken = M * K * a * a_each + K * N * b * b_each + M * N * (2 * c - 1) * 4
    assert matmul_bank_cycles(M, K, N, 0, *transposed, there) == math.ceil(taken / 64)
    setup, busy, hold = matmul_cycles(M, K, N, 0, there, a_transposed=transposed[0], b_transposed=transposed[1])
    alone = block_cycles(M, K, N, there)
    assert busy == max(alone[1], math.ceil(taken / 64))
    assert (setup, busy - hold) == (alone[0], alone[1] - alone[2])


def test_a_vector_of_one_element_is_no_walk() -> None:
    there = machine(matrix__dataflow="os", sram__banks=16, sram__bank_bytes_per_cycle=4)
    taken = 4 * (1 * 64 + 64 * 32 + 1 * 32)
    assert matmul_bank_cycles(1, 64, 32, 0, 0, 0, there) == taken // 64


@pytest.mark.parametrize(("banks", "slower"), [(16, True), (17, False)])
def test_a_transposed_weight_is_slow_on_as_many_banks_as_its_rows_have_words(banks: int, slower: bool) -> None:
    """The known remedy: a number of banks that has no divisor in common with the pitch."""
    there = machine(sram__banks=banks, sram__bank_bytes_per_cycle=64)
    cycles = []
    for transpose in (False, True):
        graph = ms.Graph()
        w = graph.weight("w", np.ones((128, 128), np.float32))
        graph.output(graph.matmul(graph.input("x", (128, 128)), w, transpose_b=transpose), "y")
        cycles.append(ms.run(graph, there).times.cycles)
    assert (cycles[1] > 1.2 * cycles[0]) == slower


# -- in the vector unit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [1, 2, 4, 64])
def test_the_vector_unit_takes_sources_and_target_from_the_banks(word: int) -> None:
    graph = ms.Graph()
    graph.output(graph.input("x", (32, 32)) + graph.input("z", (32, 1)), "y")
    there = machine(sram__banks=8, sram__bank_bytes_per_cycle=word)
    schedule = ms.compile_graph(graph, there)
    busy = costs(schedule, there).busy[schedule.stream["opcode"] == Opcode.VECTOR]
    moved = 4 * (32 * 32 + 32 + 32 * 32)
    assert busy.tolist() == [max(32 * 32 // Machine().vector.lanes, math.ceil(moved / (8 * word)))]
