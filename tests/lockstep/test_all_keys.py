"""All mechanisms of the machine drawn together: whatever they make of each other, a run is a run.

The tests beside draw a mechanism with its own keys. Here each key that changes timing or the schedule takes
any of a few values, so that channels meet cores, banks meet bursts and blocks meet accumulators.
"""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.graphs import graphs
from support.oracle import bits
from support.pairs import BURSTS, KEYS
from support.typed import int8_graphs

import minisim as ms
from minisim.errors import CapacityError, UnsupportedError
from minisim.reports import Account, summary, units


@st.composite
def machines(draw: st.DrawFn) -> ms.Machine:
    chosen = {key: draw(st.sampled_from(values)) for key, values in (KEYS | BURSTS).items()}
    order = draw(st.sampled_from(["auto", "mnk", "blocked"]))
    keep = draw(st.booleans()) and order != "blocked"
    return ms.Machine().with_overrides({**chosen, "compiler.order": order, "compiler.keep_on_chip": keep})


@settings(deadline=None, max_examples=60)
@given(machines(), st.one_of(graphs(), int8_graphs()), st.sampled_from(["fp32", "bf16"]))
def test_any_machine_gives_the_bits_of_a_plain_one_and_accounts_for_every_cycle(
    machine: ms.Machine, graph: ms.Graph, dtype: str
) -> None:
    plain = ms.Machine().with_overrides({"matrix.dtype": dtype, "compiler.effort": 0})
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
