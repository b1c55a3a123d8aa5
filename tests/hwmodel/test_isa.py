"""The instruction set on its own: types, the two on-chip memories, text and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minisim.errors import ScheduleError
from minisim.hwmodel import isa
from minisim.hwmodel.isa import NONE, Activation, DType, Opcode, Queue, Schedule

SRAM, ACCUMULATORS = 4096, 1024
TENSORS = {"x": DType.INT8, "w": DType.INT8, "b": DType.INT32, "y": DType.INT8, "sums": DType.INT32}
X, W, B, Y, SUMS = range(5)


def schedule(**last: Any) -> Schedule:
    """y = x w + b in two steps of 16 x 16 x 16 through `sums`, which lie behind the scratchpad; the last step changed.

    Each tensor is one tile.
    """
    tensors = np.zeros(5, isa.TENSOR_DTYPE)
    tensors["rows"], tensors["cols"], tensors["dtype"] = 16, 16, list(TENSORS.values())
    tiles = np.zeros(5, isa.TILE_DTYPE)
    tiles["tensor"], tiles["rows"], tiles["cols"], tiles["final"] = range(5), (16, 16, 1, 16, 16), 16, (0, 0, 0, 1, 2)
    matmuls = np.zeros(2, isa.MATMUL_DTYPE)
    for name in isa.MATMUL_OPERANDS:
        matmuls[name] = matmuls[f"{name}_sram"] = NONE
    for name, values in {
        "a": X, "b": W, "c": Y, "acc": SUMS, "a_sram": 0, "b_sram": 256, "acc_sram": SRAM, "c_sram": [NONE, 512],
        "a_pieces": NONE, "taps": 1, "m": 16, "k": 16, "n": 16, "step": [0, 1], "last": [0, 1], "dtype": DType.INT8,
    }.items():  # fmt: skip
        matmuls[name] = values
    for name, value in last.items():
        matmuls[name][1] = value
    stream = np.zeros(2, isa.STREAM_DTYPE)
    stream["opcode"], stream["queue"], stream["row"] = Opcode.EXECUTE, Queue.MATRIX, [0, 1]
    stream["sync"] = NONE
    return Schedule(
        stream=stream,
        transfers=np.zeros(0, isa.TRANSFER_DTYPE),
        matmuls=matmuls,
        vectors=np.zeros(0, isa.VECTOR_DTYPE),
        tiles=tiles,
        tensors=tensors,
        layers=np.zeros(1, isa.LAYER_DTYPE),
        tensor_names=tuple(TENSORS),
        layer_names=("layer",),
        layer_ops=("MatMul",),
        sram_bytes=SRAM,
        accumulator_bytes=ACCUMULATORS,
    )


def test_every_type_has_a_size() -> None:
    assert set(isa.ITEMSIZE) == set(isa.NUMPY_DTYPE) == set(DType)
    assert all(isa.NUMPY_DTYPE[dtype].itemsize == isa.ITEMSIZE[dtype] for dtype in DType)
    assert isa.item_sizes().tolist() == [4, 2, 1, 4, 2, 1, 2, 1, 1, 1]
    assert schedule().tile_bytes().tolist() == [256, 256, 64, 256, 1024]


# -- two memories, one space of addresses --------------------------------------------------------------


@pytest.mark.parametrize(
    "last",
    [
        {},
        {"c_sram": SRAM - 256},  # up to the end of the scratchpad
        {"c_sram": SRAM + ACCUMULATORS - 256},  # up to the end of all; what lies where is the compiler's rule
        {"step": 0, "acc_sram": NONE},  # the only step does not touch acc
    ],
)
def test_operands_lie_in_one_of_the_memories(last: dict[str, int]) -> None:
    schedule(**last).verify()


@pytest.mark.parametrize(
    ("last", "operand"),
    [
        ({"acc_sram": SRAM + 64}, "acc"),  # beyond the end
        ({"acc_sram": SRAM - 64}, "acc"),  # in both memories
        ({"acc_sram": NONE}, "acc"),
        ({"c_sram": SRAM + 32}, "c"),
        ({"c_sram": SRAM - 192}, "c"),
        ({"c_sram": NONE}, "c"),
        ({"bias": B, "bias_sram": NONE}, "bias"),
    ],
)
def test_others_are_refused(last: dict[str, int], operand: str) -> None:
    where = "is not aligned, or lies outside the SRAM and the accumulator memory"
    with pytest.raises(ScheduleError, match=f"operand {operand!r} {where}"):
        schedule(**last).verify()


def test_without_accumulator_memory_addresses_end_with_the_scratchpad() -> None:
    with pytest.raises(ScheduleError, match=r"operand 'acc' is not aligned, or lies outside the SRAM$"):
        schedule().replace(accumulator_bytes=0).verify()


def test_a_tile_of_acc_must_exist() -> None:
    with pytest.raises(ScheduleError, match="operand 'acc' refers to a tile that does not exist"):
        schedule(acc=5).verify()


# -- text ------------------------------------------------------------------------------------------------


def test_steps_through_acc_read_as_what_they_do() -> None:
    first, last = schedule(bias=B, bias_sram=768, activation=Activation.RELU, scale=0.125).lines()
    a, b = "x[0:16,0:16]@0x0", "w[0:16,0:16]@0x100"
    assert first.endswith(f"EXECUTE sums[0:16,0:16]@0x1000 = {a} x {b}")
    assert last.endswith(
        f"EXECUTE y[0:16,0:16]@0x200 = sums[0:16,0:16]@0x1000 + {a} x {b} + b[0:1,0:16]@0x300 | relu | scale 0.125"
    )
    assert schedule(last=0).describe(1) == f"EXECUTE sums[0:16,0:16]@0x1000 += {a} x {b}"
    assert schedule(step=0).describe(1) == f"EXECUTE y[0:16,0:16]@0x200 = {a} x {b}"
    assert schedule(acc=NONE).describe(1) == f"EXECUTE y[0:16,0:16]@0x200 += {a} x {b}"


# -- files -----------------------------------------------------------------------------------------------


def test_a_file_keeps_types_and_memories(tmp_path: Path) -> None:
    saved = schedule(scale=0.1)
    saved.save(tmp_path / "schedule")
    loaded = Schedule.load(tmp_path / "schedule")
    assert (loaded.accumulator_bytes, loaded.digest()) == (ACCUMULATORS, saved.digest())
    assert loaded.matmuls["scale"][1] == np.float32(0.1)
    assert saved.replace(accumulator_bytes=0).digest() != saved.digest()


def test_files_of_another_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        old.setattr(isa, "FORMAT_VERSION", 1)
        schedule().save(tmp_path / "schedule")
    with pytest.raises(ScheduleError, match="schedule format must be 10, not 1"):
        Schedule.load(tmp_path / "schedule")
