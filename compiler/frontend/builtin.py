"""Built-in shapes: one line to ask a machine a question, without a file.

A built-in is one function under `@builtin(usage)`. The usage is its documentation and its grammar:
``gemm:MxKxN`` takes three numbers, which are the function's arguments in that order. Fields are
separated by ``x`` or ``,`` (so no word has an x). A field of capitals is a dimension, from 1; a field of
small letters is an option (``stride``), from 0.

A built-in that is `typed` also takes the data type (``dtype``, a name of `dtypes.CODE`), and builds its model in it;
others are float32 models, which the machine converts as it does any.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from minisim.compiler.arguments import MAX_ELEMENTS
from minisim.compiler.dtypes import converted
from minisim.compiler.graph import Array, Graph, Shape
from minisim.compiler.transformers import FAMILIES
from minisim.compiler.values import Lazy, drawn_integers, drawn_normal, mapped
from minisim.compiler.zoo import NETWORKS
from minisim.errors import ModelError, did_you_mean, shown

SEED = 0

_SEPARATOR = re.compile("[x,]")


@dataclass(frozen=True)
class Builtin:
    """A built-in shape: `usage` is such as ``gemm:MxKxN``, `build` takes its numbers (and ``dtype``, if `typed`)."""

    usage: str
    build: Callable[..., Graph]
    typed: bool = False


BUILTINS: dict[str, Builtin] = {}


def builtin(usage: str, typed: bool = False) -> Callable[[Callable[..., Graph]], Callable[..., Graph]]:
    """Decorator: the function builds the shape of this usage."""
    name = usage.partition(":")[0]

    def add(build: Callable[..., Graph]) -> Callable[..., Graph]:
        if name in BUILTINS:
            raise ValueError(f"built-in {name!r} is registered twice")
        BUILTINS[name] = Builtin(usage, build, typed)
        return build

    return add


def load_builtin(spec: str, dtype: str = "float32") -> Graph:
    """Return the graph of a built-in shape; the same numbers and type give the same weights, always.

    Args:
        spec: such as ``gemm:512x512x512``.
        dtype: the type of the tensors, if the shape is built in any.

    Raises:
        ModelError: no built-in has that name, the numbers do not fit its usage, or a tensor would
            have more than `MAX_ELEMENTS` elements.
    """
    name, _, text = spec.partition(":")
    if name not in BUILTINS:
        usages = ", ".join(b.usage for b in BUILTINS.values())
        nearest = did_you_mean(name, [*BUILTINS, *NETWORKS, *FAMILIES]) or ";"
        raise ModelError(f"model {shown(spec)}: unknown built-in {shown(name)}{nearest} (built-in: {usages})")
    try:
        found = BUILTINS[name]
        return found.build(*_numbers(found.usage, text), **({"dtype": dtype} if found.typed else {}))
    except ModelError as e:
        raise type(e)(f"model {shown(spec)}: {e}") from None


@builtin("gemm:MxKxN", typed=True)
def gemm(m: int, k: int, n: int, dtype: str = "float32") -> Graph:
    """c (m, n) = a (m, k) @ b (k, n). In int8 the operands are uniform over all values, and c is requantised."""
    _check_sizes(a=(m, k), b=(k, n), c=(m, n))
    g = Graph("gemm")
    a = g.input("a", (m, k), dtype=dtype)
    if dtype == "int8":
        b = g.weight("b", Lazy((k, n), partial(drawn_integers, SEED, (k, n), -128, 128, "int8")), dtype)
        g.output(g.matmul(a, b, scale=RESULT_DEVIATION / (UNIFORM_INT8_VARIANCE * math.sqrt(k)), name="c"))
    else:
        drawn = Lazy((k, n), partial(drawn_normal, SEED, (k, n)))
        b = g.weight("b", drawn if dtype == "float32" else mapped(drawn, partial(converted, dtype=dtype)), dtype)
        g.output(g.matmul(a, b, name="c"))
    return g


@builtin("conv:NxHxWxC,KxRxS,stride,pad")
def conv(n: int, h: int, w: int, c: int, k: int, r: int, s: int, stride: int, pad: int) -> Graph:
    """y = convolution of n images of h x w pixels with c channels, with k filters of r x s taps, without bias."""
    _check_sizes(x=(n, h, w, c), filters=(r, s, c, k))
    g = Graph("conv")
    filters = g.weight("filters", Lazy((r, s, c, k), partial(drawn_normal, SEED, (r, s, c, k))))
    y = g.conv2d(g.input("x", (n, h, w, c)), filters, strides=stride, pads=pad, name="y")
    g.output(y)
    return g


UNIFORM_INT8_VARIANCE = (256**2 - 1) / 12
"""The variance of values uniform over [-128, 127], but for their mean of -1/2; that of a product of two is about its
square."""

RESULT_DEVIATION = 32
"""Standard deviation of int8 results: about one in 16,000 then lies beyond 127 and saturates."""


@builtin("softmax:RxC")
def softmax(r: int, c: int) -> Graph:
    """y (r, c) = softmax of each row of x (r, c)."""
    _check_sizes(x=(r, c))
    g = Graph("softmax")
    g.output(g.softmax(g.input("x", (r, c)), name="y"))
    return g


@builtin("layernorm:RxC")
def layernorm(r: int, c: int) -> Graph:
    """y (r, c) = each row of x (r, c) normalised, times a scale of the order 1, plus a bias."""
    _check_sizes(x=(r, c))
    g = Graph("layernorm")
    x = g.input("x", (r, c))
    scale = g.weight("scale", Lazy((c,), partial(_scales, c)))
    bias = g.weight("bias", Lazy((c,), partial(drawn_normal, SEED, (c,), skip=c)))
    g.output(g.layer_norm(x, scale, bias, name="y"))
    return g


@builtin("attention:HxSxD")
def attention(h: int, s: int, d: int) -> Graph:
    """y = softmax(q k^T / sqrt(d)) v, of h heads of s rows of d elements each; no projections, no mask."""
    _check_sizes(q=(h, s, d), scores=(h, s, s))
    g = Graph("attention")
    q, k, v = (g.input(name, (h, s, d)) for name in "qkv")
    scores = g.mul(g.matmul(q, k, transpose_b=True, name="scores"), 1 / math.sqrt(d), name="scaled")
    g.output(g.matmul(g.softmax(scores, name="softmax"), v, name="y"))
    return g


def _numbers(usage: str, text: str) -> list[int]:
    """The numbers of `text`, one for each field of `usage`, with the same separators between them."""
    form = usage.partition(":")[2]
    if _SEPARATOR.findall(text) != _SEPARATOR.findall(form):
        raise ModelError(f"must have the form {usage}")
    return [_number(field, word) for field, word in zip(_SEPARATOR.split(form), _SEPARATOR.split(text), strict=True)]


def _number(field: str, text: str) -> int:
    lowest = 1 if field.isupper() else 0
    # Ten digits hold MAX_ELEMENTS; without that bound int() would refuse a number of thousands in its own words.
    if re.fullmatch("[0-9]{1,10}", text) and lowest <= int(text) <= MAX_ELEMENTS:
        return int(text)
    raise ModelError(f"{field} must be a whole number from {lowest} to {MAX_ELEMENTS}, not {shown(text)}")


def _check_sizes(**shapes: Shape) -> None:
    for name, shape in shapes.items():
        if (size := math.prod(shape)) > MAX_ELEMENTS:
            raise ModelError(f"tensor {name!r} {shape} would have {size} elements; the most is {MAX_ELEMENTS}")


def _scales(count: int) -> Array:
    return 1 + drawn_normal(SEED, (count,))
