// The docstrings of minisim._engine, kept apart so that bindings.cpp shows its structure.
#pragma once

namespace minisim::doc {

constexpr const char* kModule =
    R"(What the machine computes: memories, units and the hazard tracker, in C++.

An `Engine` executes a `Schedule` on a real SRAM and real DRAM tensors, driven event by event by a
timing model (`replay`) or on its own (`run`). Numbers are exact: each output of a matrix operation
is one chain of fused multiply-adds, k ascending; of int8, an exact sum. Every access is checked while it happens: an
operation that reads what is not there yet, or not there any more, raises
`minisim.errors.ScheduleHazard`, even if the numbers would have come out right.

A whole program by hand:

>>> import numpy as np
>>> from minisim._engine import (
...     Engine, EngineConfig, SchedExecute, SchedLoad, SchedStore, Tile)
>>> engine = Engine(EngineConfig(sram_bytes=64 * 1024))
>>> x, w, y = (engine.add_tensor(2, 2, role) for role in (0, 1, 3))
>>> engine.set_tensor(x, np.array([[1, 2], [3, 4]], dtype=np.float32))
>>> engine.set_tensor(w, np.eye(2, dtype=np.float32))
>>> a = Tile(tensor=x, row=0, col=0, rows=2, cols=2, sram=0x000)
>>> b = Tile(tensor=w, row=0, col=0, rows=2, cols=2, sram=0x040)
>>> c = Tile(tensor=y, row=0, col=0, rows=2, cols=2, sram=0x080)
>>> for op in SchedLoad(a), SchedLoad(b), SchedExecute(a, b, c), SchedStore(c):
...     engine.dispatch(op)
>>> engine.tensor(y).tolist()
[[1.0, 2.0], [3.0, 4.0]]
>>> engine.stats.macs
8
)";

constexpr const char* kConfig =
    R"(The engine's half of a machine.

Args:
    sram_bytes: size of a core's SRAM, from 1 to 2**32 bytes.
    accumulator_bytes: size of an accumulator memory of its own, whose addresses follow the SRAM's;
        both together have at most 2**32 bytes.
    kernel: "auto" or "fast" for the fastest that this processor runs, "reference" for the scalar
        definition, or any of `kernels()`. All give the same bits.
    check_hazards: without it a schedule is executed on trust: reads that come too early go
        unnoticed, but for the NaN that they find.
    cores: from 1 to 64, each with an SRAM of its own; all share the DRAM. Operations built by hand
        are core 0's.

An unknown kernel is refused when an `Engine` is made.
)";

constexpr const char* kEngine =
    R"(Executes operations on a real SRAM and real DRAM tensors.

Either `load` a compiled schedule and `replay` or `run` it, or `add_tensor` and `dispatch`
operations built by hand. SRAM, intermediates and outputs start out full of NaN (integers, which
have none, of -1: there it is the check of hazards that finds what was never written). Methods may be
called from any thread: each call is one turn at the engine, from its checks to its result, and others
wait for theirs. They release the GIL while they wait and work. A call that raises leaves the engine as
it was, but for `replay`, `finish`, `run` and `dispatch` where the program itself is at fault.

Args:
    config: an `EngineConfig`.

Raises:
    UsageError: the kernel is unknown, or a memory's size is out of range.
)";

constexpr const char* kLoad =
    R"(Make a schedule's tables the engine's program, with fresh memories.

The arrays must have the dtypes of `minisim.hwmodel.isa`, one dimension and no gaps. They are copied,
so that nothing can change after it has been checked. `syncs` may be left out if no operation waits for another core,
`pieces` and `windows` if no operand is made of pieces, `convolutions` if it is not to be checked what those mean.

Raises:
    ScheduleError: a row breaks a rule of the instruction set; the message names table, row, field,
        value and rule. The engine keeps what it had.
)";

constexpr const char* kLoadSchedule =
    R"(`load` with the tables of a `minisim.hwmodel.isa.Schedule`.)";

constexpr const char* kSetTensor =
    R"(Give a tensor its content, an array of shape (rows, cols) with any strides.

Its dtype must be float32 for a tensor of FP32 or BF16 (rounded to the nearest, ties to even; a NaN
becomes 0x7FC0), int8 for INT8, int32 for INT32. Of a tensor of the role STATE its first rows may be
given alone: what then reads another one, before the program has written it, is a hazard.

Raises:
    UsageError: no such tensor, another dtype or shape, or operations are in flight.
)";

constexpr const char* kTensor =
    R"(A tensor's content as a new array of shape (rows, cols): float32, int8 or int32, as set.

Raises:
    UsageError: no such tensor.
)";

constexpr const char* kTensorView =
    R"(A tensor's content in place: a read-only array of shape (rows, cols).

Its dtype is float32, int8 or int32; of BF16, uint16: the bit patterns. Its rows are a pitch apart. It shows the memory as it is, also while
another thread makes the engine write there, and keeps it alive, also when the engine is gone or has
loaded another schedule.

Raises:
    UsageError: no such tensor.
)";

constexpr const char* kReplay =
    R"(Perform events in order of time; may be called with one batch after another.

Args:
    events: uint32[n], 2 * op when operation `op` starts and 2 * op + 1 when it retires.
    cycles: int64[n], when. Only used in messages.

An operation's accesses are checked when it starts, and its work is done when it retires.

Raises:
    ScheduleHazard: an operation met data that is not, or not yet, what the program says.
    ScheduleError: an event is impossible: no such operation, or not its queue's next one.
    UsageError: the arrays are not of these dtypes, or not of one length.

After a hazard or an impossible event, the engine refuses to go on until `reset`. No other failure can
come in the middle: all memory has been asked for when the program was loaded.
)";

constexpr const char* kFinish =
    R"(Confirm that the program is done and its outputs are complete; to be called after the last event.

Args:
    cycle: when it ended. Only used in messages.

Raises:
    ScheduleError: operations have not retired.
    ScheduleHazard: part of an output tensor was never stored, or is a partial sum.
)";

constexpr const char* kRun =
    R"(Perform the whole program in order, one operation at a time.

Operation `i` starts and retires at cycle `i`.

Raises:
    ScheduleHazard: as in `replay` and `finish`.
    UsageError: part of the program has been performed already.
)";

constexpr const char* kReset =
    R"(Back to the start: all is forgotten but the content of inputs and weights. The rows of a state are to
be given anew.

Of a hand-built program, only its tensors remain.
)";

constexpr const char* kAddTensor =
    R"(Add a tensor to a hand-built program; returns its index.

Args:
    rows, cols: its shape, in elements. Rows are padded to 64 bytes.
    role: a `minisim.hwmodel.isa.Role`. Inputs and weights may only be written by `set_tensor`.
    dtype: a `minisim.hwmodel.isa.DType`; FP32 if not given.

Raises:
    UsageError: a schedule has been loaded.
    ScheduleError: the shape, the role or the dtype is impossible.
)";

constexpr const char* kDispatch =
    R"(Start and retire one hand-built operation.

A SchedLoad, SchedStore, SchedExecute or SchedVector goes through the same checks as a compiled
operation; its cycle is its index.

Raises:
    ScheduleError: the operation breaks a rule of the instruction set; nothing happened.
    ScheduleHazard: it met data that is not what it names.
    UsageError: a schedule has been loaded.
)";

constexpr const char* kTile =
    R"(A rectangle of a tensor, and where it lies (or will lie) in SRAM.

Args:
    tensor: index of the tensor.
    row, col, rows, cols: the rectangle, in elements.
    sram: byte address, a multiple of `ALIGNMENT`; from the SRAM's size on, in the accumulator
        memory. In SRAM a tile is packed.
)";

constexpr const char* kSchedLoad =
    R"(Copy a tile from DRAM to SRAM.

Args:
    tile: what, and where to.
    version: of the content: a number below the final one for a spilled partial sum; None for the
        complete tile.
)";

constexpr const char* kSchedStore =
    R"(Copy a tile from SRAM to DRAM.

Args:
    tile: what, and where from.
    version: of the content, as for `SchedLoad`.
)";

constexpr const char* kSchedExecute =
    R"(One step of a matrix product in SRAM: c (+)= a x b.

Args:
    a, b, c: tiles of shape (m, k), (k, n) and (m, n).
    step, steps: this is step `step` of the `steps` that c takes. Step 0 clears c; the last applies
        the epilogue.
    bias: a tile of shape (1, n), added to every row.
    residual: a tile of shape (m, n), added after the bias.
    activation: a `minisim.hwmodel.isa.Activation`, applied last.
    a_transposed, b_transposed: the tile of A is stored (k, m), that of B (n, k).
    acc: a tile of another tensor, of c's shape, that holds the sums between steps (FP32, or INT32
        for INT8); the last step alone writes c. None: the sums live in c.
    scale: of the requantisation, where the result is INT8: positive. Otherwise 0.

The operation is of a's data type; `minisim.hwmodel.isa` says what the others may be.
)";

constexpr const char* kSchedVector =
    R"(An operation of the vector unit.

Args:
    op: a `minisim.hwmodel.isa.VectorOp`.
    dst: the target; of a reduction, a column.
    src0, src1, src2: as many sources as the operation has: each a tile of dst's shape (one with 1 row or 1 column is
        repeated along it), or a number. A reduction's src0 is a tile of any number of columns.

All are of one data type; on INT8 and INT32 there is RELU alone.
)";

constexpr const char* kStats =
    R"(How much work has been done since the last load or reset.

Counts of retired operations (loads, stores, executes, vectors), multiply-adds (macs), bytes moved
(dram_read_bytes ... sram_write_bytes; accumulator_read_bytes and accumulator_write_bytes are the
part of the SRAM's that the accumulator memory has), and the highest end of a range that was written
in each memory (sram_peak_bytes, accumulator_peak_bytes). An element counts with the size of its type.
)";

constexpr const char* kMatmul =
    R"(a x b as the matrix unit defines it, in one chain for the whole k: a float32 array.

Args:
    a, b: float32 arrays of shape (m, k) and (k, n); (k, m) and (n, k) where transposed.
    kernel: one of `kernels()`, "auto" or "fast".
    bias: float32 of n elements, or None.
    residual: float32 of shape (m, n), or None.
    activation: a `minisim.hwmodel.isa.Activation`.

Raises:
    UsageError: a wrong dtype or shape, or an unknown kernel or activation.
)";

constexpr const char* kSigmoid =
    R"(1 / (1 + exp(-x)) of each element, correctly rounded; float32 in and out.

Raises:
    UsageError: another dtype, or an unknown kernel.
)";

constexpr const char* kExp =
    R"(exp(x) of each element, correctly rounded; float32 in and out.

Raises:
    UsageError: another dtype, or an unknown kernel.
)";

constexpr const char* kRelu =
    R"(x where x > 0 or x is NaN, else +0, of each element; float32 in and out.

Raises:
    UsageError: another dtype, or an unknown kernel.
)";

constexpr const char* kVector =
    R"(An elementwise operation of the vector unit on float32 arrays of one shape.

Args:
    op: a `minisim.hwmodel.isa.VectorOp`.
    sources: as many arrays as it has sources. A condition is false where it is 0.

Raises:
    UsageError: another dtype, arrays of several shapes, or not as many of them; a reduction; an unknown kernel.
)";

constexpr const char* kKernels =
    R"(The kernels that this processor can run: the reference first, the fastest last.)";

constexpr const char* kLayout =
    R"(The layout of every table in C++: {table: {"itemsize": bytes, field: offset, ...}}.)";

}  // namespace minisim::doc
