"""All mechanisms of the machine drawn together: whatever they make of each other, a run is a run.

The tests beside draw a mechanism with its own keys. Here each key that changes timing or the schedule takes
any of a few values, so that channels meet cores, banks meet bursts and blocks meet accumulators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.graphs import graphs
from support.oracle import bits
from support.typed import int8_graphs

import minisim as ms
from minisim.errors import CapacityError, UnsupportedError
from minisim.reports import Account, summary, units

KEYS: dict[str, list[Any]] = {
    "cores.count": [1, 2, 3, 5],
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
    "dma.channels": [1, 2, 4],
    "dma.dimensions": [1, 2, 3],
    "dma.shared": [False, True],
    "dma.max_outstanding": [1, 2, 16],
    "dma.max_burst_beats": [0, 4, 16],
    "dma.burst_boundary": ["0", "64"],
    "dma.outstanding_bursts": [0, 1, 4],
    "dma.request_cycles": [0, 1, 3],
    "dma.beat_cycles": [1, 2],
    "dma.burst_gap_cycles": [0, 1],
    "dma.gap_cycles": [0, 2],
    "dma.completion_cycles": [0, 2],
    "dma.store_burst_beats": [0, 1, 4],
    "dma.store_burst_cycles": [0, 3],
    "dram.model": ["ideal", "banked"],
    "dram.preset": ["ddr4-3200", "hbm2", "lpddr5-6400"],
    "dram.latency": ["0ns", "60ns"],
    "dram.padding": ["row", "tile"],
    "control.queue_depth": [1, 2, 16],
    "control.launch_cycles": [0, 100],
}


@st.composite
def machines(draw: st.DrawFn) -> ms.Machine:
    chosen = {key: draw(st.sampled_from(values)) for key, values in KEYS.items()}
    order = draw(st.sampled_from(["auto", "mnk", "blocked"]))
    keep = draw(st.booleans()) and order != "blocked"
    return ms.Machine().with_overrides({**chosen, "compiler.order": order, "compiler.keep_on_chip": keep})


@settings(deadline=None, max_examples=100)
@given(machines(), st.one_of(graphs(), int8_graphs()), st.sampled_from(["fp32", "bf16"]))
def test_any_machine_gives_the_bits_of_a_plain_one_and_accounts_for_every_cycle(
    machine: ms.Machine, graph: ms.Graph, dtype: str
) -> None:
    plain = ms.Machine().with_overrides({"matrix.dtype": dtype})
    try:
        found, expected = ms.run(graph, machine.with_overrides({"matrix.dtype": dtype})), ms.run(graph, plain)
    except (CapacityError, UnsupportedError):
        assume(False)
    for name, values in expected.outputs.items():
        if values.dtype == np.float32:
            np.testing.assert_array_equal(bits(found.outputs[name]), bits(values))
        else:
            np.testing.assert_array_equal(found.outputs[name], values)
    record = found.record()
    record.timeline.verify(record.schedule)
    assert sum(Account.of(record).total().values()) == found.cycles
    table = units(record)
    assert (table.filter(regex="^cycles_").sum(axis=1) == found.cycles).all()
    assert summary(record)["cycles_total"].iloc[0] == found.cycles
