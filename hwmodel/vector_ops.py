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

FLOATS = ("FP32", "BF16", "FP16")
INTEGERS = ("INT8", "UINT8", "INT16", "INT32")
BOOLS = ("BOOL",)
NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, *BOOLS)
FLOATS8 = ("FP8E4M3", "FP8E5M2")
STORED = (*ALL, *FLOATS8)


class VectorOp(IntEnum):
    """An operation of the vector unit, correctly rounded (engine_cpp/include/minisim/kernels.hpp).

    An elementwise one repeats a source with 1 row (or column) along it; a source may also be a number, an immediate
    of the operation. A reduction makes a column of its source, one element of each row, in an order that its
    definition fixes. A move leaves the bits of its source, of whatever type, at another place: COPY as an elementwise
    operation does (its source may also be nothing but a number), TRANSPOSE with rows and columns exchanged.
    A fold takes an operand of several rows for each of its result, put together from windows, and folds them into one,
    in their order (isa.py, Folds). A conversion makes values of the type of its own tile: CAST as ONNX's, RESCALE times
    a factor; QUANTIZE, DEQUANTIZE and REQUANTIZE of a scale and a zero point (`integers.hpp` of the engine).

    Attributes:
        kinds: a letter for each source: x, of the operation's type; c, a condition, which is BOOL; m, of the
            operation's type, and moved, not computed with; w, of the operation's type, in windows; f, FP32, whatever
            the operation's type.
        result: the kind of what it makes: x, c, or t, of any type.
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
        op.costs, op.prices = tuple(costs.split()), tuple((prices or costs).split())
        return op

    # fmt: off
    #                 code kinds result reduces costs                                 prices ("": as costs)  types
    RELU             =  0, "x",   "x", 0, "simple",                                  "relu",                 NUMBERS
    SIGMOID          =  1, "x",   "x", 0, "sigmoid",                                 "",                     FLOATS
    ADD              =  2, "xx",  "x", 0, "add",                                     "",                     NUMBERS
    MUL              =  3, "xx",  "x", 0, "mul",                                     "",                     NUMBERS
    SUB              =  4, "xx",  "x", 0, "add",                                     "sub",                  NUMBERS
    DIV              =  5, "xx",  "x", 0, "div",                                     "",                     NUMBERS
    MAX              =  6, "xx",  "x", 0, "simple",                                  "max",                  NUMBERS
    EXP              =  7, "x",   "x", 0, "exp",                                     "",                     FLOATS
    SQRT             =  8, "x",   "x", 0, "sqrt",                                    "",                     FLOATS
    REDUCE_SUM       =  9, "x",   "x", 1, "add",                                     "reduce_sum",           NUMBERS
    REDUCE_MAX       = 10, "x",   "x", 1, "simple",                                  "reduce_max",           NUMBERS
    TANH             = 11, "x",   "x", 0, "sigmoid",                                 "",                     FLOATS
    SINH             = 12, "x",   "x", 0, "exp",                                     "",                     FLOATS
    COSH             = 13, "x",   "x", 0, "exp",                                     "",                     FLOATS
    LOG              = 14, "x",   "x", 0, "log",                                     "",                     FLOATS
    ASINH            = 15, "x",   "x", 0, "log",                                     "",                     FLOATS
    ACOSH            = 16, "x",   "x", 0, "log",                                     "",                     FLOATS
    ATANH            = 17, "x",   "x", 0, "log",                                     "",                     FLOATS
    SOFTPLUS         = 18, "x",   "x", 0, "exp log",                                 "",                     FLOATS
    ERF              = 19, "x",   "x", 0, "erf",                                     "",                     FLOATS
    SIN              = 20, "x",   "x", 0, "trig",                                    "",                     FLOATS
    COS              = 21, "x",   "x", 0, "trig",                                    "",                     FLOATS
    TAN              = 22, "x",   "x", 0, "trig",                                    "",                     FLOATS
    ASIN             = 23, "x",   "x", 0, "trig",                                    "",                     FLOATS
    ACOS             = 24, "x",   "x", 0, "trig",                                    "",                     FLOATS
    ATAN             = 25, "x",   "x", 0, "trig",                                    "",                     FLOATS
    POW              = 26, "xx",  "x", 0, "log mul exp",                             "",                     NUMBERS
    NEG              = 27, "x",   "x", 0, "simple",                                  "max",                  NUMBERS
    ABS              = 28, "x",   "x", 0, "simple",                                  "max",                  NUMBERS
    SIGN             = 29, "x",   "x", 0, "simple",                                  "max",                  NUMBERS
    FLOOR            = 30, "x",   "x", 0, "simple",                                  "max",                  FLOATS
    CEIL             = 31, "x",   "x", 0, "simple",                                  "max",                  FLOATS
    ROUND            = 32, "x",   "x", 0, "simple",                                  "max",                  FLOATS
    RECIPROCAL       = 33, "x",   "x", 0, "div",                                     "",                     FLOATS
    MIN              = 34, "xx",  "x", 0, "simple",                                  "max",                  NUMBERS
    CLIP             = 35, "xxx", "x", 0, "simple simple",                           "max max",              NUMBERS
    SILU             = 36, "x",   "x", 0, "sigmoid mul",                             "",                     FLOATS
    MISH             = 37, "x",   "x", 0, "exp log sigmoid mul",                     "",                     FLOATS
    GELU             = 38, "x",   "x", 0, "mul mul erf add mul",                     "",                     FLOATS
    GELU_TANH        = 39, "x",   "x", 0, "mul mul mul add mul sigmoid mul add mul", "",                     FLOATS
    HARD_SIGMOID     = 40, "xxx", "x", 0, "mul add simple simple",                   "mul add max max",      FLOATS
    HARD_SWISH       = 41, "x",   "x", 0, "mul add simple simple mul",               "mul add max max mul",  FLOATS
    SOFTSIGN         = 42, "x",   "x", 0, "simple add div",                          "max add div",          FLOATS
    LEAKY_RELU       = 43, "xx",  "x", 0, "mul simple",                              "mul max",              FLOATS
    THRESHOLDED_RELU = 44, "xx",  "x", 0, "simple",                                  "max",                  FLOATS
    ELU              = 45, "xx",  "x", 0, "exp add mul simple",                      "exp sub mul max",      FLOATS
    SELU             = 46, "xxx", "x", 0, "exp mul add simple mul",                  "exp mul sub max mul",  FLOATS
    CELU             = 47, "xx",  "x", 0, "div exp add mul simple",                  "div exp sub mul max",  FLOATS
    EQUAL            = 48, "xx",  "c", 0, "simple",                                  "max",                  ALL
    LESS             = 49, "xx",  "c", 0, "simple",                                  "max",                  NUMBERS
    LESS_OR_EQUAL    = 50, "xx",  "c", 0, "simple",                                  "max",                  NUMBERS
    IS_NAN           = 51, "x",   "c", 0, "simple",                                  "max",                  FLOATS
    IS_INF           = 52, "x",   "c", 0, "simple",                                  "max",                  FLOATS
    LOGICAL_NOT      = 53, "x",   "x", 0, "simple",                                  "max",                  BOOLS
    LOGICAL_AND      = 54, "xx",  "x", 0, "simple",                                  "max",                  BOOLS
    LOGICAL_OR       = 55, "xx",  "x", 0, "simple",                                  "max",                  BOOLS
    LOGICAL_XOR      = 56, "xx",  "x", 0, "simple",                                  "max",                  BOOLS
    SELECT           = 57, "cxx", "x", 0, "simple",                                  "max",                  ALL
    COPY             = 58, "m",   "x", 0, "simple",                                  "max",                  STORED
    TRANSPOSE        = 59, "m",   "x", 0, "simple",                                  "max",                  STORED
    FOLD_MAX         = 60, "w",   "x", 0, "simple",                                  "reduce_max",           NUMBERS
    FOLD_SUM         = 61, "w",   "x", 0, "add",                                     "reduce_sum",           FLOATS
    FOLD_FMA         = 62, "wxx", "x", 0, "fma",                                     "",                     FLOATS
    CAST             = 63, "x",   "t", 0, "simple",                                  "max",                  STORED
    RESCALE          = 64, "xf",  "t", 0, "mul simple",                              "mul max",              NUMBERS
    QUANTIZE         = 65, "xff", "t", 0, "div simple add simple",                   "div max add max",      NUMBERS
    DEQUANTIZE       = 66, "xff", "t", 0, "add mul simple",                          "sub mul max",          NUMBERS
    REQUANTIZE       = 67, "xff", "t", 0, "mul simple add simple",                   "mul max add max",      NUMBERS
    MULTIPLY_ADD     = 68, "xxx", "x", 0, "mul add",                                 "",                     FLOATS
    CAST_BEYOND      = 69, "x",   "t", 0, "simple",                                  "max",                  FLOATS
    # fmt: on

    @property
    def sources(self) -> int:
        """How many operands it has."""
        return len(self.kinds)

    @property
    def is_move(self) -> bool:
        """Whether it moves elements, and computes nothing."""
        return self.kinds == "m"

    @property
    def is_elementwise(self) -> bool:
        """Whether it computes each element of its result, of a type that its sources fix, of the same elements of
        these."""
        return not (self.is_reduction or self.is_move or self.is_fold or self.is_conversion)

    @property
    def is_fold(self) -> bool:
        """Whether its first source is put together from windows."""
        return self.kinds[0] == "w"

    @property
    def is_conversion(self) -> bool:
        """Whether what it makes may be of another type than what it is made of."""
        return self.result == "t"


REDUCTIONS = frozenset(op for op in VectorOp if op.is_reduction)
FOLDS = frozenset(op for op in VectorOp if op.is_fold)
