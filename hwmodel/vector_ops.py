"""The operations of the vector unit: one row each, and the only list of them.

From its rows follow, in Python, the codes and what is known of them (here), the cycles (`vector.py`) and the energy
(`energy.py`); in C++, through the header that `engine_cpp/generate_vector_ops.py` makes of this file when the engine
is built, the codes, names, operands and types, what the validator refuses and what a kernel calls. What an operation
computes is its definition in `engine_cpp/include/minisim/vector_definitions.hpp`, of the row's name in lower case.

So a new elementwise operation is a row here, its definition there, its operator in `compiler/ops/`, and its test
(docs/extending.md). This file imports nothing of minisim, because the engine's build reads it by itself.
"""

from __future__ import annotations

from enum import IntEnum

FLOATS = ("FP32", "BF16")
BOOLS = ("BOOL",)
NUMBERS = ("FP32", "BF16", "INT8", "INT32")


class VectorOp(IntEnum):
    """An operation of the vector unit, correctly rounded (engine_cpp/include/minisim/kernels.hpp).

    An elementwise one repeats a source with 1 row (or column) along it; a source may also be a number, an immediate
    of the operation. A reduction makes a column of its source, one element of each row, in an order that its
    definition fixes.

    Attributes:
        kinds: a letter for each source: x, of the operation's type, or c, a condition, which is BOOL.
        result: the kind of what it makes.
        is_reduction: whether it is a reduction.
        costs: the classes of its steps: of class c, `vector.c_cost` passes over the lanes; they add up.
        prices: of price p, `energy.vector_p` per element; they add up.
        types: the names of the `DType`s that x may be.
    """

    kinds: str
    result: str
    is_reduction: bool
    costs: tuple[str, ...]
    prices: tuple[str, ...]
    types: tuple[str, ...]

    def __new__(
        cls,
        code: int,
        kinds: str = "",  # as of here defaults for mypy alone, which takes VectorOp(code) for a call of this
        result: str = "",
        reduces: int = 0,
        costs: str = "",
        prices: str = "",
        types: tuple[str, ...] = (),
    ) -> VectorOp:
        op = int.__new__(cls, code)
        op._value_ = code
        op.kinds, op.result, op.is_reduction, op.types = kinds, result, bool(reduces), types
        op.costs, op.prices = tuple(costs.split()), tuple(prices.split())
        return op

    # fmt: off
    #           code kinds result reduces costs  prices  types
    RELU       =  0, "x",   "x", 0, "simple",  "relu",       NUMBERS
    SIGMOID    =  1, "x",   "x", 0, "sigmoid", "sigmoid",    FLOATS
    ADD        =  2, "xx",  "x", 0, "add",     "add",        FLOATS
    MUL        =  3, "xx",  "x", 0, "mul",     "mul",        FLOATS
    SUB        =  4, "xx",  "x", 0, "add",     "sub",        FLOATS
    DIV        =  5, "xx",  "x", 0, "div",     "div",        FLOATS
    MAX        =  6, "xx",  "x", 0, "simple",  "max",        FLOATS
    EXP        =  7, "x",   "x", 0, "exp",     "exp",        FLOATS
    SQRT       =  8, "x",   "x", 0, "sqrt",    "sqrt",       FLOATS
    REDUCE_SUM =  9, "x",   "x", 1, "add",     "reduce_sum", FLOATS
    REDUCE_MAX = 10, "x",   "x", 1, "simple",  "reduce_max", FLOATS
    TANH       = 11, "x",   "x", 0, "sigmoid", "sigmoid",    FLOATS
    # fmt: on

    @property
    def sources(self) -> int:
        """How many operands it has."""
        return len(self.kinds)


REDUCTIONS = frozenset(op for op in VectorOp if op.is_reduction)
