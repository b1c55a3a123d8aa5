"""Decoding: a transformer's prefill, then token after token, each a program of its own on the cache of those before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT, check_numerics
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import compile_graph
from minisim.compiler.transformers import Transformer, built
from minisim.errors import UsageError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType, Opcode, Role, Schedule
from minisim.hwmodel.native import simulate_native
from minisim.lockstep import in_lockstep
from minisim.reports.decode import DECODE, PREFILL, Step
from minisim.runtime import Runtime

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """What decoding gives: the steps, and with numerics the output after each of them."""

    model: Transformer
    machine: Machine
    steps: tuple[Step, ...]
    outputs: tuple[Array, ...]


def decode(
    model: Transformer,
    machine: Machine,
    prefill: int,
    tokens: int,
    *,
    numerics: bool = True,
    max_operations: int = MAX_OPERATIONS,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Decoded:
    """Time `model` on the first `prefill` tokens, and on so many more, one after the other; with numerics also compute.

    Each token comes as drawn values: nothing is sampled from the logits.

    Raises:
        MinisimError: a subclass of it for every mistake of the user's.
    """
    if numerics and machine.dtype == DType.INT8 and tokens:
        raise UsageError(
            "--decode: a machine that quantises finds its scales anew for each program, so tokens are only timed: "
            "--no-numerics"
        )
    built(model, 1, prefill + tokens - 1, prefill + tokens)  # what is wrong with the last token is told now
    found = _Decoding(model, machine, prefill, tokens, max_operations)
    if numerics:
        check_numerics(built(model, prefill + tokens), machine, memory_limit)
    steps, outputs = [], []
    for step, output in found.run(numerics):
        steps.append(step)
        outputs += [] if output is None else [output]
        progress(len(steps), tokens + 1)
    return Decoded(model, machine, tuple(steps), tuple(outputs))


class _Decoding:
    """The programs one after the other, and the cache between them."""

    def __init__(self, model: Transformer, machine: Machine, prefill: int, tokens: int, max_operations: int) -> None:
        self.model, self.machine, self.prefill, self.tokens = model, machine, prefill, tokens
        self.capacity, self.max_operations = prefill + tokens, max_operations
        self.cache: dict[str, npt.NDArray[np.generic]] = {}

    def run(self, numerics: bool) -> Iterator[tuple[Step, Array | None]]:
        values = example_inputs(built(self.model, self.capacity))["tokens"] if numerics else None
        programs = TokenPrograms(self.model, self.machine, self.capacity, self.max_operations)
        for past in (0, *range(self.prefill, self.capacity)):
            began = time.perf_counter()
            count = 1 if past else self.prefill
            graph = built(self.model, count, past, self.capacity)
            if past:
                schedule = programs.schedule(past)
            else:
                schedule = compile_graph(graph, self.machine, max_operations=self.max_operations, numerics=numerics)
            if values is None:
                cycles, output = simulate_native(schedule, self.machine).cycles, None
            else:
                cycles, output = self._computed(graph, schedule, values[past : past + count])
            yield self._step(schedule, past, count, cycles, time.perf_counter() - began), output

    def _computed(self, graph: Graph, schedule: Schedule, values: Array) -> tuple[int, Array]:
        """The cycles and the output of a program; the cache is then as it left it."""
        runtime = Runtime(graph, self.machine, schedule)
        runtime.set("tokens", values)
        states = [name for name in graph.inputs if graph.tensors[name].held is not None]
        for name in states:
            whole = np.zeros(graph.tensors[name].shape, np.float32)
            before = self.cache.get(name, whole[:0])
            whole[: len(before)] = before
            runtime.set(name, whole)
        timeline = in_lockstep(schedule, self.machine, runtime.engine, [], "native")
        self.cache = {name: runtime.state(name) for name in states}
        (output,) = runtime.outputs().values()
        return timeline.cycles, output

    def _step(self, schedule: Schedule, past: int, count: int, cycles: int, wall: float) -> Step:
        read, written = (_bytes_of(schedule, Role.STATE, opcode) for opcode in (Opcode.LOAD, Opcode.STORE))
        weights, needed = (_bytes_of(schedule, role, Opcode.LOAD, once=True) for role in (Role.WEIGHT, Role.STATE))
        return Step(
            phase=DECODE if past else PREFILL,
            position=past + count,
            tokens=count,
            cycles=cycles,
            weight_bytes=weights,
            kv_read_bytes=read,
            kv_written_bytes=written,
            dram_bytes=sum(
                _bytes_of(schedule, role, opcode) for role in Role for opcode in (Opcode.LOAD, Opcode.STORE)
            ),
            bound=(weights + needed + written) / float(self.machine.memory_bytes_per_cycle),
            operations=len(schedule),
            wall_s=wall,
        )


def _bytes_of(schedule: Schedule, role: Role, opcode: Opcode, once: bool = False) -> int:
    """The bytes that are loaded from, or stored into, tensors of a role; `once`: of each tile."""
    rows = schedule.stream["row"][schedule.stream["opcode"] == opcode]
    tiles = schedule.transfers["tile"][rows]
    tiles = tiles[schedule.tensors["role"][schedule.tiles["tensor"][tiles]] == role]
    return int(schedule.tile_bytes()[np.unique(tiles) if once else tiles].sum())
