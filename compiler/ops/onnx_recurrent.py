"""How ONNX's RNN, GRU and LSTM enter the graph: unrolled, step by step, into matmuls and elementwise operations.

What x contributes to all gates of all steps of a direction is one matmul of steps x batch rows, with the bias. A step
adds to its rows those of the state, a matmul of `batch` rows, and all else in it is elementwise. Without an initial
state the first step has no such matmul: the state that it would read is nothing but zeros, whose terms are left out.

Where sequences are of different lengths, a step keeps the state of those that have ended, and their rows of Y are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ShapeError, UnsupportedError, shown

MOST_STEPS = 1 << 14
"""The steps that are unrolled: each takes about ten nodes of the graph."""

FUNCTIONS: dict[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0), "elu": (1.0,), "hardsigmoid": (0.2, 0.5), "leakyrelu": (0.01,), "relu": (),
    "scaledtanh": (1.0, 1.0), "sigmoid": (), "softplus": (), "softsign": (), "tanh": (), "thresholdedrelu": (1.0,),
}  # fmt: skip
"""The activations, with the alpha and the beta that they have if none is given."""

Function = tuple[str, tuple[float, ...]]
"""An activation, in lower case, with its numbers."""

State = tuple[Tensor | None, ...]
"""What a step hands to the next one, (batch, hidden) each: h, of an LSTM c, too. None is nothing but zeros."""

ATTRIBUTES = ("activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout")


@onnx_import("RNN", attributes=ATTRIBUTES, several_outputs=True)
def import_rnn(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    return Recurrence(context, node, gates=1, usual=("Tanh",)).outputs(_rnn_step)


@onnx_import("GRU", attributes=[*ATTRIBUTES, "linear_before_reset"], several_outputs=True)
def import_gru(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    whole = bool(node.attrs.get("linear_before_reset", 0))
    layer = Recurrence(context, node, gates=3, usual=("Sigmoid", "Tanh"), bias_of_state=whole)
    return layer.outputs(_gru_step_of_whole_products if whole else _gru_step)


@onnx_import("LSTM", attributes=[*ATTRIBUTES, "input_forget"], several_outputs=True)
def import_lstm(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    layer = Recurrence(context, node, gates=4, usual=("Sigmoid", "Tanh", "Tanh"), states=2)
    return layer.outputs(lstm_step)


def _rnn_step(of: Direction, x: Tensor, state: State) -> State:
    """h' = f(x W + h R + b)."""
    return (of.activated(0, of.plus_state(x, state[0], 0, 1), "h"),)


def _gru_step(of: Direction, x: Tensor, state: State) -> State:
    """z, r = f(x W + h R + b); k = g(x W + (r * h) R + b); h' = (1 - z) * k + z * h."""
    (h,) = state
    of_gates, of_candidate = of.columns(x, (2, 1))
    z, r = of.columns(of.activated(0, of.plus_state(of_gates, h, 0, 2), "gates"), (1, 1))
    reset = None if h is None else of.graph.mul(r, h, name=of.part("reset"))
    candidate = of.activated(1, of.plus_state(of_candidate, reset, 2, 3), "candidate")
    return (of.between(z, candidate, h),)


def _gru_step_of_whole_products(of: Direction, x: Tensor, state: State) -> State:
    """z, r = f(x W + h R + b); k = g(x W + r * (h R + b)); h' = (1 - z) * k + z * h."""
    (h,) = state
    of_gates, of_candidate = of.columns(x, (2, 1))
    if (from_state := of.from_state(h)) is not None:
        state_of_gates, state_of_candidate = of.columns(from_state, (2, 1))
        of_gates = of.graph.add(of_gates, state_of_gates, name=of.part("sums"))
    z, r = of.columns(of.activated(0, of_gates, "gates"), (1, 1))
    if from_state is not None:
        reset = of.graph.mul(r, state_of_candidate, name=of.part("reset"))
        of_candidate = of.graph.add(of_candidate, reset, name=of.part("sum"))
    return (of.between(z, of.activated(1, of_candidate, "candidate"), h),)


def lstm_step(of: Direction, x: Tensor, state: State) -> State:
    """i, o, f = f(x W + h R + b); k = g(x W + h R + b); c' = f * c + i * k; h' = o * h(c').

    With peepholes i and f have p * c in their sums, o has p * c'. With `input_forget` f is 1 - i."""
    graph, (h, c) = of.graph, state
    sums = of.plus_state(x, h, 0, 4)
    if of.peepholes:
        of_i, of_o, of_f, of_candidate = of.columns(sums, (1, 1, 1, 1))
        i = of.activated(0, of.peeped(of_i, 0, c), "i")
        f = None if of.layer.coupled or c is None else of.activated(0, of.peeped(of_f, 2, c), "f")
    else:
        of_gates, of_candidate = of.columns(sums, (3, 1))
        i, o, f = of.columns(of.activated(0, of_gates, "gates"), (1, 1, 1))
    candidate = of.activated(1, of_candidate, "candidate")
    new = graph.mul(i, candidate, name=of.part("new"))
    if c is None:
        cell = new
    else:
        kept = graph.sub(of.number(1.0), i, name=of.part("forget")) if of.layer.coupled else f
        assert kept is not None
        cell = graph.add(graph.mul(kept, c, name=of.part("kept")), new, name=of.part("c"))
    if of.peepholes:
        o = of.activated(0, of.peeped(of_o, 1, cell), "o")
    return graph.mul(o, of.activated(2, cell, "shown", clipped=False), name=of.part("h")), cell


class Recurrence:
    """One node of ONNX: its operands, with the steps first whatever its layout, and its outputs.

    Args:
        gates: how many gates have rows in W and R.
        usual: the activations, if the node names none.
        states: what a step hands on: h, or h and c.
        bias_of_state: whether the second half of B belongs to the products of the state, not to the sums.
    """

    def __init__(
        self,
        context: OnnxContext,
        node: OnnxNode,
        gates: int,
        usual: Sequence[str],
        states: int = 1,
        bias_of_state: bool = False,
    ) -> None:
        self.context, self.node, self.graph, self.gates = context, node, context.graph, gates
        self.states, self.bias_of_state = states, bias_of_state
        self.operands = (*node.inputs, *[""] * (8 - len(node.inputs)))
        self.batch_first = bool(node.attrs.get("layout", 0))
        self.coupled = bool(node.attrs.get("input_forget", 0))
        clip = node.attrs.get("clip")
        self.clip = None if clip is None else float(clip)
        x = context.value(self.operands[0])
        if len(x.shape) != 3:
            raise ShapeError(f"X must have three dimensions, not shape {x.shape}")
        self.x = self.graph.transpose(x, (1, 0, 2), name=self.part("steps_first")) if self.batch_first else x
        self.steps, self.batch, self.width = self.x.shape
        if self.steps > MOST_STEPS:
            raise UnsupportedError(f"up to {MOST_STEPS} steps are unrolled, not {self.steps}")
        self.ways = _ways(str(node.attrs.get("direction", "forward")))
        r = context.value(self.operands[2]).shape
        self.hidden = int(node.attrs.get("hidden_size", r[-1] if r else 0))
        self._check_operands()
        self.functions = _functions(node, usual, len(self.ways))
        self.lengths = self._lengths()
        self._numbers: dict[float, Tensor] = {}
        self._matrices: dict[tuple[int, int, int, int], tuple[Tensor, bool]] = {}

    def part(self, text: str) -> str:
        return self.graph.fresh_name(f"{self.node.name}/{text}")

    def number(self, value: float) -> Tensor:
        """One weight for all steps."""
        if value not in self._numbers:
            values = np.asarray(value, np.float32)
            self._numbers[value] = self.graph.weight(self.part("number"), values, self.x.dtype)
        return self._numbers[value]

    def matrix(self, place: int, way: int, begin: int, end: int) -> tuple[Tensor, bool]:
        """Gates `begin` to `end` of W or R, and whether they lie transposed: a constant does not, (k, n)."""
        rows = slice(begin * self.hidden, end * self.hidden)
        name = self.operands[place]
        if (constant := self.context.constant(name)) is not None:
            shape = (constant.shape[2], rows.stop - rows.start)
            return self.context.weight(name, Lazy(shape, partial(_laid_out, constant, way, rows))), False
        return self._rows_of(name, way, rows), True

    def product(self, x: Tensor, place: int, way: int, begin: int, end: int, name: str) -> Tensor:
        """x times gates `begin` to `end` of W or R: rows of x, (rows, end - begin times hidden)."""
        if (place, way, begin, end) not in self._matrices:
            self._matrices[place, way, begin, end] = self.matrix(place, way, begin, end)
        matrix, transposed = self._matrices[place, way, begin, end]
        return self.graph.matmul(x, matrix, transpose_b=transposed, name=name)

    def vector(self, place: int, way: int, begin: int, end: int) -> Tensor:
        """Pieces `begin` to `end` of B or P, of `hidden` numbers each."""
        rows = slice(begin * self.hidden, end * self.hidden)
        name = self.operands[place]
        if (constant := self.context.constant(name)) is not None:
            shape = (rows.stop - rows.start,)
            return self.context.weight(name, Lazy(shape, partial(_piece, constant, way, rows)))
        return self._rows_of(name, way, rows)

    def bias(self, way: int) -> Tensor | None:
        """What is added to the products of x: the sum of both halves of B, or the first one alone."""
        if not (name := self.operands[3]):
            return None
        if self.bias_of_state:
            return self.vector(3, way, 0, self.gates)
        if (constant := self.context.constant(name)) is not None:
            shape = (self.gates * self.hidden,)
            return self.context.weight(name, Lazy(shape, partial(_sum_of_halves, constant, way)))
        halves = (self.vector(3, way, at * self.gates, (at + 1) * self.gates) for at in range(2))
        return self.graph.add(*halves, name=self.part("bias"))

    def initial(self, way: int) -> State:
        """The state before the first step."""
        names = self.operands[5 : 5 + self.states]
        return tuple(self._of_batch(name, way) if name else None for name in names)

    def outputs(self, step: Callable[[Direction, Tensor, State], State]) -> tuple[Tensor, ...]:
        """Y, Y_h and Y_c, those that somebody wants; of others whatever there is."""
        rows: dict[tuple[int, int], Tensor | None] = {}
        final: list[State] = []
        for way, backward in enumerate(self.ways):
            direction = Direction(self, way)
            state = self.initial(way)
            inputs = direction.inputs()
            for at in reversed(range(self.steps)) if backward else range(self.steps):
                rows[at, way], state = direction.ahead(at, inputs[at], state, step)
            final.append(state)
        wanted = (*self.node.outputs, "", "", "")[: 1 + self.states]
        last = [self._last([state[i] for state in final], i) if wanted[1 + i] else None for i in range(self.states)]
        y = self._all_steps([rows[at, way] for at in range(self.steps) for way in range(len(self.ways))], wanted[0])
        found = [y, *last]
        there = next(x for x in found if x is not None)
        return tuple(there if x is None else x for x in found)

    def of_matrix(self, width: int) -> tuple[int, ...]:
        """The shape of W or R, of rows of so many elements."""
        return (len(self.ways), self.gates * self.hidden, width)

    # -- internals ---------------------------------------------------------------------------------

    def _check_operands(self) -> None:
        ways, hidden, gates = len(self.ways), self.hidden, self.gates
        if hidden < 1:
            raise ShapeError(f"hidden_size must be at least 1, not {hidden}")
        of_state = (self.batch, ways, hidden) if self.batch_first else (ways, self.batch, hidden)
        wanted = {
            1: ("W", self.of_matrix(self.width)),
            2: ("R", self.of_matrix(hidden)),
            3: ("B", (ways, 2 * gates * hidden)),
            5: ("initial_h", of_state),
            6: ("initial_c", of_state),
            7: ("P", (ways, 3 * hidden)),
        }
        for place, (what, shape) in wanted.items():
            if (name := self.operands[place]) and (given := self.context.value(name).shape) != shape:
                raise ShapeError(f"{what} must have shape {shape}, not {given}")

    def _lengths(self) -> Array | None:
        """The steps of each sequence; None if it is all of them."""
        if not (name := self.operands[4]):
            return None
        lengths = materialised(self.context.constant(name))
        if lengths is None:
            raise UnsupportedError("sequence_lens that are computed at run time are not supported")
        if lengths.shape != (self.batch,) or lengths.dtype.kind not in "iu":
            raise ShapeError(f"sequence_lens must be {self.batch} integers, not {lengths.dtype} of {lengths.shape}")
        if wrong := [int(n) for n in lengths if not 0 <= n <= self.steps]:
            raise ShapeError(f"a sequence must have from 0 to {self.steps} steps, not {wrong[0]}")
        return None if (lengths == self.steps).all() else lengths

    def _rows_of(self, name: str, way: int, rows: slice) -> Tensor:
        """Rows of one direction of an operand that is computed."""
        x = self.context.value(name)
        found = x
        if len(self.ways) > 1 or rows.stop - rows.start < x.shape[1]:
            starts, ends = (way, rows.start), (way + 1, rows.stop)
            found = self.graph.slice(x, starts, ends, (0, 1), name=self.part("rows"))
        return self.graph.reshape(found, found.shape[1:], name=self.part("of_direction"))

    def _of_batch(self, name: str, way: int) -> Tensor:
        """One direction of an initial state, (batch, hidden)."""
        x, axis = self.context.value(name), 1 if self.batch_first else 0
        if len(self.ways) > 1:
            x = self.graph.slice(x, (way,), (way + 1,), (axis,), name=self.part("of_direction"))
        return self.graph.reshape(x, (self.batch, self.hidden), name=self.part("state"))

    def _present(self, rows: Iterable[Tensor | None]) -> list[Tensor]:
        """With zeros, one weight for all, where there is nothing else."""
        shape = (self.batch, self.hidden)
        given = list(rows)
        if all(x is not None for x in given):
            return [x for x in given if x is not None]
        nothing = self.graph.weight(self.part("nothing"), np.zeros(shape, np.float32), self.x.dtype)
        return [nothing if x is None else x for x in given]

    def _all_steps(self, rows: Sequence[Tensor | None], wanted: str) -> Tensor | None:
        """Y: (steps, directions, batch, hidden), or with the batch first."""
        if not wanted:
            return None
        whole, name = (self.steps, len(self.ways), self.batch, self.hidden), self.node.name
        y = self._joined(self._present(rows), 0, "rows")
        if not self.batch_first:
            return self.graph.reshape(y, whole, name=name)
        return self.graph.transpose(self.graph.reshape(y, whole, name=self.part("steps")), (2, 0, 1, 3), name=name)

    def _last(self, states: Sequence[Tensor | None], place: int) -> Tensor:
        """Y_h or Y_c: (directions, batch, hidden), or with the batch first."""
        shape = (len(self.ways), self.batch, self.hidden)
        if self.batch_first:
            shape = (self.batch, len(self.ways), self.hidden)
        of_all = self._joined(self._present(states), 1 if self.batch_first else 0, "last")
        return self.graph.reshape(of_all, shape, name=self.part("last_c" if place else "last_h"))

    def _joined(self, parts: list[Tensor], axis: int, text: str) -> Tensor:
        return parts[0] if len(parts) == 1 else self.graph.concat(parts, axis, name=self.part(text))


@dataclass
class Direction:
    """One direction of a node, and the step of it that is written at the moment.

    Attributes:
        at: the number of the step.
    """

    layer: Recurrence
    way: int
    at: int = 0
    state_bias: Tensor | None = None
    peepholes: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        layer = self.layer
        if layer.bias_of_state and layer.operands[3]:
            self.state_bias = layer.vector(3, self.way, layer.gates, 2 * layer.gates)
        if layer.operands[7]:
            self.peepholes = tuple(layer.vector(7, self.way, i, i + 1) for i in range(3))

    @property
    def graph(self) -> Graph:
        return self.layer.graph

    def part(self, text: str) -> str:
        way = "" if len(self.layer.ways) == 1 else f"{'backward' if self.layer.ways[self.way] else 'forward'}/"
        return self.layer.part(f"{way}{self.at}/{text}")

    def number(self, value: float) -> Tensor:
        return self.layer.number(value)

    def inputs(self) -> tuple[Tensor, ...]:
        """For each step what x contributes to its gates: rows of one matmul of all steps."""
        layer, graph = self.layer, self.graph
        rows = graph.reshape(layer.x, (layer.steps * layer.batch, layer.width), name=layer.part("x"))
        found = layer.product(rows, 1, self.way, 0, layer.gates, layer.part("of_x"))
        if (bias := layer.bias(self.way)) is not None:
            found = graph.add(found, bias, name=layer.part("biased"))
        return (found,) if layer.steps == 1 else graph.split(found, layer.steps, axis=0, name=layer.part("steps"))

    def ahead(
        self, at: int, x: Tensor, state: State, step: Callable[[Direction, Tensor, State], State]
    ) -> tuple[Tensor | None, State]:
        """Step `at`: its rows of Y (None: zeros), and the state behind it."""
        self.at, lengths = at, self.layer.lengths
        if lengths is None or (lengths > at).all():
            after = step(self, x, state)
            return after[0], after
        if not (lengths > at).any():
            return None, state
        after = step(self, x, state)
        going = self.graph.weight(self.part("going"), (lengths > at)[:, None], "bool")
        shown_rows = self.graph.select(going, _there(after[0]), self.number(0.0), name=self.part("y"))
        kept = tuple(
            self.graph.select(going, _there(new), self.number(0.0) if old is None else old, name=self.part("kept"))
            for new, old in zip(after, state, strict=True)
        )
        return shown_rows, kept

    def columns(self, x: Tensor, gates: Sequence[int]) -> tuple[Tensor, ...]:
        """x by columns, so many gates at a time."""
        return self.graph.split(x, [count * self.layer.hidden for count in gates], name=self.part("of_gates"))

    def plus_state(self, x: Tensor, h: Tensor | None, begin: int, end: int) -> Tensor:
        """x + h R of gates `begin` to `end`."""
        if h is None:
            return x
        return self.graph.add(x, self._product(h, begin, end), name=self.part("sums"))

    def from_state(self, h: Tensor | None) -> Tensor | None:
        """h R + b of all gates; None if it is nothing but zeros."""
        if h is None:
            return self.state_bias
        found = self._product(h, 0, self.layer.gates)
        return found if self.state_bias is None else self.graph.add(found, self.state_bias, name=self.part("biased"))

    def between(self, z: Tensor, candidate: Tensor, h: Tensor | None) -> Tensor:
        """(1 - z) * candidate + z * h."""
        rest = self.graph.sub(self.number(1.0), z, name=self.part("rest"))
        if h is None:
            return self.graph.mul(rest, candidate, name=self.part("h"))
        new = self.graph.mul(rest, candidate, name=self.part("new"))
        return self.graph.add(new, self.graph.mul(z, h, name=self.part("kept")), name=self.part("h"))

    def peeped(self, x: Tensor, gate: int, c: Tensor | None) -> Tensor:
        """x + p * c."""
        if c is None:
            return x
        return self.graph.add(x, self.graph.mul(c, self.peepholes[gate], name=self.part("peephole")))

    def activated(self, which: int, x: Tensor, text: str, clipped: bool = True) -> Tensor:
        """Activation number `which` of this direction, of x within the clip: that of sums, not of the cell."""
        kind, numbers = self.layer.functions[self.way][which]
        if clipped and (clip := self.layer.clip) is not None:
            x = self.graph.clip(x, self.number(-clip), self.number(clip), name=self.part("clipped"))
        graph, name, given = self.graph, self.part(text), [self.number(value) for value in numbers]
        match kind:
            case "affine":
                return graph.add(graph.mul(x, given[0], name=self.part("scaled")), given[1], name=name)
            case "scaledtanh":
                inner = graph.mul(x, given[1], name=self.part("scaled"))
                return graph.mul(graph.tanh(inner, name=self.part("tanh")), given[0], name=name)
            case "hardsigmoid":
                return graph.hard_sigmoid(x, *given, name=name)
            case "elu" | "leakyrelu" | "thresholdedrelu":
                method = {"elu": graph.elu, "leakyrelu": graph.leaky_relu, "thresholdedrelu": graph.thresholded_relu}
                return method[kind](x, given[0], name=name)
        plain = {"relu": graph.relu, "sigmoid": graph.sigmoid, "tanh": graph.tanh,
                 "softplus": graph.softplus, "softsign": graph.softsign}  # fmt: skip
        return plain[kind](x, name=name)

    def _product(self, h: Tensor, begin: int, end: int) -> Tensor:
        return self.layer.product(h, 2, self.way, begin, end, self.part("of_state"))


def _there(x: Tensor | None) -> Tensor:
    assert x is not None  # a step leaves no state without values
    return x


def _ways(direction: str) -> tuple[bool, ...]:
    """For each direction whether it goes backward."""
    known = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if direction not in known:
        raise UnsupportedError(f"direction must be {', '.join(known)}, not {shown(direction)}")
    return known[direction]


def _functions(node: OnnxNode, usual: Sequence[str], ways: int) -> list[list[Function]]:
    """The activations of each direction. Those that take an alpha (or a beta) have the next one of the list."""
    raw = node.attrs.get("activations") or [*usual] * ways
    names = [each.decode() if isinstance(each, bytes) else str(each) for each in raw]
    if len(names) != len(usual) * ways:
        raise ShapeError(f"activations must be {len(usual) * ways} names, not {len(names)}")
    alphas, betas = (iter(node.attrs.get(f"activation_{each}") or ()) for each in ("alpha", "beta"))
    found: list[Function] = []
    for name in names:
        if (kind := name.lower()) not in FUNCTIONS:
            raise UnsupportedError(f"activation {shown(name)} is not supported, only {', '.join(FUNCTIONS)}")
        numbers = zip((alphas, betas), FUNCTIONS[kind], strict=False)
        found.append((kind, tuple(float(next(given, default)) for given, default in numbers)))
    if wrong := [kind for kind, numbers in found if not all(map(math.isfinite, numbers))]:
        raise ShapeError(f"the numbers of activation {wrong[0]} must be finite")
    return [found[at : at + len(usual)] for at in range(0, len(found), len(usual))]


def _laid_out(values: Array | Lazy, way: int, rows: slice) -> Array:
    return np.ascontiguousarray(_piece(values, way, rows).T)


def _piece(values: Array | Lazy, way: int, rows: slice) -> Array:
    found = materialised(values)
    assert found is not None
    return np.asarray(found[way, rows])


def _sum_of_halves(values: Array | Lazy, way: int) -> Array:
    both = _piece(values, way, slice(None))
    half = len(both) // 2
    return np.asarray(both[:half] + both[half:])
