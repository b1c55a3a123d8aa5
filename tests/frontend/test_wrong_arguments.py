"""A graph's methods, given what they do not take: a ModelError that names the line, and a graph that is as it was."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Graph, Tensor
from minisim.errors import MinisimError, ModelError, ShapeError

Build = Callable[[Graph, Tensor], object]


class Unfriendly:
    """An object whose own methods fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


WRONG: list[Any] = [7, 2.5, None, "", "text", b"bytes", [], [1], (), {}, {1: 2}, set(), True, 10**400, float("nan"),
                    object(), Unfriendly(), Unfriendly, len, np.ones(3), np.array(["a"]), np.float32(1), "\ud800",
                    [[1], [1, 2]], -1, 2**70, 1j, "x" * 10**5, [None], Graph("other").input("x", (4, 4))]  # fmt: skip


def graph() -> tuple[Graph, Tensor]:
    g = Graph("g")
    return g, g.input("x", (4, 4))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda g, x: Graph(7), "a model's name must be a text that is not empty, not 7"),
        (lambda g, x: Graph("\ud800"), "a model's name must be text that UTF-8 can encode, not '\\ud800'"),
        (lambda g, x: g.input(7, (4, 4)), "an input's name must be a text that is not empty, not 7"),
        (lambda g, x: g.input("", (4, 4)), "an input's name must be a text that is not empty, not ''"),
        (lambda g, x: g.input("y", 5), "tensor 'y': shape must be a sequence of integers, not 5"),
        (lambda g, x: g.input("y", "12"), "tensor 'y': shape must be a sequence of integers, not '12'"),
        (lambda g, x: g.input("y", (2.5, 1)), "tensor 'y': shape must be a sequence of integers, not (2.5, 1)"),
        (lambda g, x: g.input("y", (2**70,)), "tensor 'y': (1180591620717411303424,) would have 1180591620717411303424 "
                                             "elements; the most is 2147483648"),
        (lambda g, x: g.input("y", (2,), dtype=[]), f"tensor 'y': dtype must be {', '.join(CODE)}, not []"),
        (lambda g, x: g.input("y", (2,), Unfriendly()), None),
        (lambda g, x: g.weight([], [1.0]), "a weight's name must be a text that is not empty, not []"),
        (lambda g, x: g.weight("w", [10**400]), "tensor 'w': its data is not an array of numbers "
                                            "(int too large to convert to float)"),
        (lambda g, x: g.weight("w", None, "int8"), None),
        (lambda g, x: g.relu(x, name=7), "a node's name must be a text that is not empty, not 7"),
        (lambda g, x: g.matmul(x, x, scale="a"), "scale must be a number, not 'a'"),
        (lambda g, x: g.matmul(x, x, scale=10**400), None),
        (lambda g, x: g.reshape(x, "ab"), "the new shape must be a sequence of integers, not 'ab'"),
        (lambda g, x: g.reshape(x, (16.0,)), "the new shape must be a sequence of integers, not (16.0,)"),
        (lambda g, x: g.output(x, 7), "an output's name must be a text that is not empty, not 7"),
        (lambda g, x: g.output(7), "an operand must be a tensor of the graph, not int"),
        (lambda g, x: g.add_node("Addd", [x, x]), "there is no operation 'Addd'; did you mean 'Add'?"),
        (lambda g, x: g.add_node([], [x]), "there is no operation []"),
        (lambda g, x: g.add_node("Add", [x]), "node 'add' (Add of x (4, 4)): must have 2 operands, not 1"),
        (lambda g, x: g.add_node("Relu", [x, x]), "node 'relu' (Relu of x (4, 4), x (4, 4)): must have 1 "
                                                      "operands, not 2"),
        (lambda g, x: g.add_node("Relu", 7), "a node's operands must be a sequence of tensors, not 7"),
        (lambda g, x: g.add_node("Relu", "x"), "a node's operands must be a sequence of tensors, not 'x'"),
        (lambda g, x: g.add_node("Relu", [7]), "an operand must be a tensor of the graph, not int"),
        (lambda g, x: g.add_node("Relu", [x], 7), "node 'relu' (Relu of x (4, 4)): "
                                                     "attributes must be Attributes, not 7"),
        (lambda g, x: g.fresh_name([]), "a name must be a text that is not empty, not []"),
        (lambda g, x: x + "a", "an operand must be a tensor of the graph or a number, not 'a'"),
        (lambda g, x: x + Unfriendly(), None),
        (lambda g, x: x @ 3, "an operand must be a tensor of the graph, not int"),
        (lambda g, x: 3 @ x, "an operand must be a tensor of the graph, not int"),
        (lambda g, x: np.ones((4, 4)) @ x, "an operand must be a tensor of the graph, not ndarray"),
        (lambda g, x: np.ones(2) + x, "an operand must be a tensor of the graph or a number, not array([1., 1.])"),
        (lambda g, x: np.ones(2) / x, "an operand must be a tensor of the graph or a number, not array([1., 1.])"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_with_its_line(build: Build, expected: str | None) -> None:
    g, x = graph()
    before = list(g.lines()), list(g.tensors)
    with pytest.raises(ModelError) as caught:
        build(g, x)
    assert str(caught.value).startswith(f"{__file__}:")
    if expected is not None:
        assert str(caught.value).partition(": ")[2] == expected
    assert (list(g.lines()), list(g.tensors)) == before


def test_a_number_of_numpy_beside_an_operator_is_a_number() -> None:
    _, x = graph()
    assert isinstance(np.float32(2) * x, Tensor) and isinstance(1 - x, Tensor) and isinstance(np.float64(1) / x, Tensor)


def test_a_tensor_declared_twice_leaves_the_inputs_as_they_were() -> None:
    g, _ = graph()
    with pytest.raises(ModelError):
        g.input("x", (4, 4))
    assert g.inputs == ["x"]


def test_an_error_of_sizes_is_a_shape_error() -> None:
    g, x = graph()
    with pytest.raises(ShapeError):
        g.input("y", (2**20, 2**20))
    with pytest.raises(ShapeError):
        g.reshape(x, (1,) * 33)


METHODS = ("input", "weight", "matmul", "add", "mul", "sub", "div", "maximum", "exp", "sqrt", "reduce_sum",
           "reduce_max", "reduce_mean", "softmax", "layer_norm", "relu", "sigmoid", "reshape", "output")  # fmt: skip


def parameters(method: str) -> list[str]:
    return list(inspect.signature(getattr(Graph, method)).parameters)[1:]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize(("method", "parameter"), [(m, p) for m in METHODS for p in parameters(m)])
def test_any_object_as_any_argument(method: str, parameter: str) -> None:
    """Whatever is given for one argument, the others being right: it is taken, or refused with a MinisimError."""
    messages = []
    for value in WRONG:
        g, x = graph()
        y, row = g.input("y", (4, 4)), g.weight("row", np.ones(4))
        right = {"input": {"name": "i", "shape": (4, 4)}, "weight": {"name": "w", "data": [[1.0]]},
                 "reshape": {"x": x, "shape": (16,)}, "layer_norm": {"x": x, "scale": row}}.get(method)  # fmt: skip
        arguments = right or {k: v for k, v in {"a": x, "b": y, "x": x}.items() if k in parameters(method)}
        try:
            getattr(g, method)(**{**arguments, parameter: value})
        except MinisimError as e:
            messages.append(str(e))
    assert messages
    assert all(len(message) < 1000 for message in messages)
