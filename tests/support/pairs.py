"""Random pairs of a schedule and a machine that draw every key of the event model, and more edges than people do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from minisim import Graph, Machine, compile_graph
from minisim.compiler.blocked import blocked
from minisim.compiler.graph import Tensor
from minisim.errors import MinisimError
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.timeline import Answers, Timeline

KEYS: dict[str, list[object]] = {
    "cores.count": [1, 1, 2, 3, 5],
    **{f"tile.{axis}": [4, 8, 16, 32] for axis in "mkn"},
    "matrix.rows": [1, 4, 8, 32],
    "matrix.cols": [1, 4, 8, 32],
    "matrix.arrays": [1, 2, 3],
    "matrix.dataflow": ["ws", "os", "is"],
    "matrix.overlap": ["full", "drain", "none"],
    "sram.bytes": ["16KiB", "64KiB"],
    "sram.banks": [1, 4, 16],
    "sram.bank_bytes_per_cycle": [0, 4],
    "accumulator.bytes": ["0", "8KiB", "64KiB"],
    "vector.lanes": [1, 8, 32],
    "dma.bytes_per_cycle": [4, 16, 64],
    "dma.setup_cycles": [0, 1, 8, 20],
    "dma.channels": [1, 1, 2, 4],
    "dma.dimensions": [1, 2, 3],
    "dma.shared": [False, False, True],
    "dma.max_outstanding": [1, 2, 16],
    "dma.beat_cycles": [1, 2],
    "dma.gap_cycles": [0, 2],
    "dma.completion_cycles": [0, 2],
    "dram.model": ["ideal", "banked"],
    "dram.preset": ["ddr4-3200", "lpddr4-2400", "hbm2", "lpddr5-6400"],
    "dram.bandwidth": ["3.2GB/s", "25.6GB/s", "400GB/s"],
    "dram.latency": ["0ns", "60ns"],
    "dram.write_latency": ["latency", "latency", "0ns", "90ns"],
    "l2.bytes": ["0", "0", "8KiB", "64KiB"],
    "l2.line_bytes": [16, 64, 256],
    "l2.ways": [1, 4, 16],
    "l2.bytes_per_cycle": [4, 64],
    "l2.latency": ["0ns", "15ns"],
    "noc.bytes_per_cycle": [0, 0, 8, 40],
    "noc.core_bytes_per_cycle": [0, 0, 5, 32],
    "dram.padding": ["row", "tile"],
    "clock.frequency": ["1GHz", "700MHz", "1.7GHz"],
    "control.issue_cycles": [1, 2, 4],
    "control.queue_depth": [1, 2, 16],
    "control.launch_cycles": [0, 100],
    "sparsity.pattern": ["none", "none", "2:4", "1:2", "3:7"],  # the weights are zeros, so they have it
    "sparsity.metadata_bits": [0, 0, 5],
    "unpack.by": ["dma", "array"],
    "unpack.weights_per_cycle": [0, 1, 5, 24],
}

BURSTS: dict[str, list[object]] = {
    "dma.max_burst_beats": [0, 4, 16],
    "dma.burst_boundary": ["0", "64", "4KiB"],
    "dma.outstanding_bursts": [0, 1, 4],
    "dma.request_cycles": [0, 1, 3],
    "dma.burst_gap_cycles": [0, 1],
    "dma.store_burst_beats": [0, 1, 4],
    "dma.store_burst_cycles": [0, 3],
}


def pair(seed: int) -> tuple[Schedule, Machine]:
    """The schedule and the machine of this seed. The compiler searches in one of four: that takes most of the time."""
    draw = random.Random(seed)
    while True:
        keys = {key: draw.choice(values) for key, values in KEYS.items()}
        if draw.random() < 0.5:
            keys |= {key: draw.choice(values) for key, values in BURSTS.items()}
        order = draw.choice(["auto", "mnk", "blocked"])
        try:
            keys |= {"compiler.order": order, "compiler.keep_on_chip": False, "compiler.effort": int(seed % 4 == 0)}
            machine = Machine().with_overrides(keys)
            return compile_graph(_graph(draw), machine), machine
        except MinisimError:  # no memory for it, or a type that there is not
            continue


def without_operations(timeline: Timeline) -> Timeline:
    """The timeline of a run of nothing."""
    columns = {name: getattr(timeline, name)[:0] for name in _names(Timeline, "gates", "answers", "counters")}
    return replace(timeline, **columns, answers=None, counters={"dram_busy": 0})


def differing(one: Timeline, other: Timeline) -> list[str]:
    """The names of the columns and counters that are not equal."""
    found = [name for name in _names(Timeline, "gates", "answers", "counters") if not _same(one, other, name)]
    found += ["counters"] * (dict(one.counters) != dict(other.counters))
    if one.answers is None or other.answers is None:
        return found + ["answers"] * (one.answers is not other.answers)
    return found + [name for name in _names(Answers) if not _same(one.answers, other.answers, name)]


TIMED = ("clock.", "control.", "dma.", "dram.", "l2.", "noc.")
"""Keys of these sections change when things happen, and not what a schedule says."""


def shrunk(machine: Machine, differs: Callable[[Machine], bool]) -> list[str]:
    """Of the keys of TIMED that are not as usual those that a difference takes, as `--set` takes them: each is set
    back, and stays so where `differs` says that there is still one."""
    usual = Machine().flat()
    for key in [key for key, value in machine.flat().items() if key.startswith(TIMED) and value != usual[key]]:
        try:
            plainer = machine.with_overrides({key: usual[key]})
        except MinisimError:  # another key needs it
            continue
        if differs(plainer):
            machine = plainer
    return [f"{key}={value}" for key, value in machine.flat().items() if key.startswith(TIMED) and value != usual[key]]


def _names(of: type[Timeline] | type[Answers], *without: str) -> list[str]:
    return [field.name for field in fields(of) if field.name not in without]


def _same(one: object, other: object, name: str) -> bool:
    return np.array_equal(getattr(one, name), getattr(other, name))


def _graph(draw: random.Random) -> Graph:
    g = Graph("random")
    y = g.input("x", (draw.choice([1, 2, 5, 16, 33, 64, 100]), width := draw.choice([1, 3, 8, 32, 50, 96])))
    for i in range(draw.randint(1, 4)):
        kind = draw.random()
        if kind < 0.6:
            before, width = width, draw.choice([1, 4, 16, 17, 32, 64, 100])
            if draw.random() < 0.4:
                y = _of_four_bits(g, y, f"w{i}", before, width, draw)
            else:
                y = y @ g.weight(f"w{i}", np.broadcast_to(np.float32(0), (before, width)))
            if draw.random() < 0.5:
                y = y + g.weight(f"b{i}", np.zeros(width, dtype=np.float32))
        elif kind < 0.75:
            y = g.softmax(y)
        else:
            y = g.sigmoid(y) if kind < 0.9 else y + y
    if draw.random() < 0.25:  # rows of what was computed, or of a weight, drawn or computed
        count, rows = draw.choice([1, 3, 20, 70]), draw.choice([1, 40])
        table = y if draw.random() < 0.5 else g.weight("table", np.zeros((rows, width), np.float32))
        ids = g.input("ids", (count,), dtype="int32")
        y = g.gather(table, ids if draw.random() < 0.7 else g.relu(ids))
    g.output(y, "y")
    return g


def _of_four_bits(g: Graph, x: Tensor, name: str, before: int, width: int, draw: random.Random) -> Tensor:
    """A product with weights of 4 bits, in blocks as users have them and others."""
    block, across = draw.choice([2, 5, 16, 32, 128]), draw.random() < 0.5
    zeros, scales = (np.zeros((-(-before // block), width), np.uint8) for _ in range(2))
    q, of = np.zeros((before, width), np.uint8), draw.choice(["float16", "float32"])
    w = blocked(q, scales.astype(of), zeros if draw.random() < 0.5 else None, block=block, across=across)
    return g.matmul(x, g.weight(name, w), transpose_b=across)
