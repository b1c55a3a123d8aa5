"""Decoding: a prefill, then token after token, each a program of its own on the cache of those before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.decoders import Decoder, Text
from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.dtypes import HELD_AS
from minisim.compiler.frontend.pasts import Place
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT, check_numerics
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import compile_graph
from minisim.difference import Difference, difference
from minisim.errors import UsageError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType, Opcode, Role, Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.sparsity import moved_bytes
from minisim.lockstep import in_lockstep
from minisim.reports.decode import DECODE, PREFILL, Step
from minisim.runtime import Runtime

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Decoded:
    """What decoding gives.

    Attributes:
        steps: of each program what it took.
        outputs: with numerics, the (first) output of each.
        difference: of all of them from a plain numpy evaluation of the same program on the same cache, which is worst;
            None if they were not compared.
    """

    model: Decoder
    machine: Machine
    steps: tuple[Step, ...]
    outputs: tuple[Array, ...]
    difference: Difference | None


def decode(
    model: Decoder,
    machine: Machine,
    text: Text,
    *,
    numerics: bool = True,
    check: bool = True,
    max_operations: int = MAX_OPERATIONS,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Decoded:
    """Time `model` on a text; with numerics also compute, and with `check` compare each program's output with numpy.

    Each token comes as drawn values: nothing is sampled from the logits.

    Raises:
        MinisimError: a subclass of it for every mistake of the user's.
    """
    if numerics and machine.dtype == DType.INT8 and text.tokens:
        raise UsageError(
            "--decode: a machine that quantises finds its scales anew for each program, so tokens are only timed: "
            "--no-numerics"
        )
    places = tuple(text.places())
    model.graph(places[-1])  # what is wrong with the last token is told now
    if numerics:
        check_numerics(model.graph(Place(text.capacity, 0, text.capacity, text.batch)), machine, memory_limit)
    found = _Decoding(model, machine, text, max_operations, check)
    steps, outputs, apart = [], [], []
    for place in places:
        step, output, difference_ = found.step(place, numerics)
        steps.append(step)
        outputs += [] if output is None else [output]
        apart += [] if difference_ is None else [difference_]
        progress(len(steps), len(places))
    worst = max(apart, key=lambda each: math.inf if math.isnan(each.largest) else each.largest, default=None)
    return Decoded(model, machine, tuple(steps), tuple(outputs), worst)


class _Decoding:
    """The programs one after the other, and the cache between them."""

    def __init__(self, model: Decoder, machine: Machine, text: Text, max_operations: int, check: bool) -> None:
        self.model, self.machine, self.text = model, machine, text
        self.max_operations, self.check = max_operations, check
        self.programs = TokenPrograms(model, machine, text.capacity, max_operations, batch=text.batch, page=text.page)
        self.cache: dict[str, Array] = {}

    def step(self, place: Place, numerics: bool) -> tuple[Step, Array | None, Difference | None]:
        """The next program."""
        began = time.perf_counter()
        if place.past < self.text.prefill:
            graph = self.model.graph(place)
            schedule = compile_graph(graph, self.machine, max_operations=self.max_operations, numerics=numerics)
            cycles = 0 if numerics else simulate_native(schedule, self.machine).cycles
        else:
            schedule, cycles = self.programs.timed(place.past)
        output, apart = None, None
        if numerics:
            cycles, output, apart = self._computed(schedule, place)
        return self._step(schedule, place, cycles, time.perf_counter() - began), output, apart

    def _computed(self, schedule: Schedule, place: Place) -> tuple[int, Array, Difference | None]:
        """The cycles and the output of a program; the cache is then as it left it."""
        graph = self.model.graph(place)
        runtime = Runtime(graph, self.machine, schedule)
        values = self.model.inputs(graph, place)
        states = [name for name in graph.inputs if graph.tensors[name].held is not None]
        for name in states:
            held, tensor = self.cache.get(name), graph.tensors[name]
            values[name] = np.zeros(tensor.shape, HELD_AS[tensor.dtype] if held is None else held.dtype)
            if held is not None:
                values[name][: len(held)] = held
        for name, array in values.items():
            runtime.set(name, array)
        timeline = in_lockstep(schedule, self.machine, runtime.engine, [], "native")
        self.cache = {name: runtime.state(name) for name in states}
        outputs = runtime.outputs()
        first = next(iter(graph.outputs))
        return timeline.cycles, outputs[first], _compared(graph, values, outputs) if self.check else None

    def _step(self, schedule: Schedule, place: Place, cycles: int, wall: float) -> Step:
        traffic = Traffic.of(schedule)
        weights, needed = (int(traffic.loaded_once[role]) for role in (Role.WEIGHT, Role.STATE))
        read, written = traffic.moved[:, Role.STATE].tolist()
        return Step(
            phase=PREFILL if place.past < self.text.prefill else DECODE,
            position=place.past + place.tokens,
            tokens=place.tokens * place.batch,
            cycles=cycles,
            weight_bytes=weights,
            kv_read_bytes=read,
            kv_written_bytes=written,
            kv_transfers=int(traffic.transfers[:, Role.STATE].sum()),
            dram_bytes=int(traffic.moved.sum()),
            bound=(weights + needed + written) / float(self.machine.memory_bytes_per_cycle),
            operations=len(schedule),
            wall_s=wall,
            taken=self.model.taken(place),
            routing=self.model.routing,
        )


def _compared(graph: Graph, values: dict[str, Array], outputs: dict[str, Array]) -> Difference:
    """How far the outputs of a program are from those of plain numpy, on the same cache."""
    plain = graph.evaluate(values, outputs_only=True)
    return difference(outputs, {public: plain[name] for public, name in graph.outputs.items()})


class Traffic(NamedTuple):
    """What a program moves to and from DRAM, by role of the tensor, or of the one that it is a view of.

    Attributes:
        moved: bytes, int64 of shape (2, roles): loaded, and stored.
        transfers: how many, likewise.
        loaded_once: bytes of the tiles that are loaded, each counted once, int64 of shape (roles,).
    """

    moved: npt.NDArray[np.int64]
    transfers: npt.NDArray[np.int64]
    loaded_once: npt.NDArray[np.int64]

    @classmethod
    def of(cls, schedule: Schedule) -> Traffic:
        stream, tensors = schedule.stream, schedule.tensors
        moves = stream[stream["opcode"] <= Opcode.STORE]
        tile, stores = schedule.transfers["tile"][moves["row"]], moves["opcode"] == Opcode.STORE
        size, role = moved_bytes(schedule), tensors["role"][tensors["storage"][schedule.tiles["tensor"]]]
        moved, transfers = np.zeros((2, len(Role)), dtype=np.int64), np.zeros((2, len(Role)), dtype=np.int64)
        np.add.at(moved, (stores.astype(np.intp), role[tile]), size[tile])
        np.add.at(transfers, (stores.astype(np.intp), role[tile]), 1)
        once, loaded = np.zeros(len(Role), dtype=np.int64), np.unique(tile[~stores])
        np.add.at(once, role[loaded], size[loaded])
        return cls(moved, transfers, once)
