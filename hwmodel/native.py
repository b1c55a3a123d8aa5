"""The event model in C++: the same Timeline as `simulate.py`, whose twin it is, many times faster.

`simulate.py` and its units are the definition, and where to extend the model: a new mechanism is written there
first, and until its twin is there a machine that has it is timed by SimPy alone (docs/adr/0019-native-timing.md).

Durations come from `cost.py` here as well, but once for each class of operations that cost the same (`classes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from minisim._engine import Engine, time_schedule
from minisim.hwmodel.bursts import BurstRules
from minisim.hwmodel.classes import ClassCosts, class_costs
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules
from minisim.hwmodel.dram_presets import DramPart
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import Answers, Timeline


@dataclass(frozen=True)
class TimingMachine:
    """What the event loop needs of a machine, beside the costs of operations.

    Attributes:
        launch, pace: cycles of control's launch, and from one command to the next.
        depth: descriptors that a queue holds.
        channels, in_flight, shared: of the DMA.
        load_bursts, store_bursts: the rules of bursts; None if there are none.
        store_handshake, gap, completion: cycles, of the DMA: beyond a burst's latency if it is a store's, between
            transfers, and from an arrival to its retirement.
        part: of a banked DRAM, of whose cycles `dram_cycles` take as long as `core_cycles` of the core's; else None.
        bytes, cycles: so many bytes an ideal DRAM moves in so many cycles.
        read_latency, write_latency: of the DRAM.
        l2_sets, l2_ways, l2_line, l2_width, l2_latency: of the L2, its line and the width of its port in bytes; no
            sets: there is none.
        noc_rate, noc_core_rate: bytes a cycle of the network, and of each core's link; 0: never binds.
    """

    launch: int
    pace: int
    depth: int
    channels: int
    in_flight: int
    shared: bool
    load_bursts: BurstRules | None
    store_bursts: BurstRules | None
    store_handshake: int
    gap: int
    completion: int
    part: DramPart | None
    dram_cycles: int
    core_cycles: int
    bytes: int
    cycles: int
    read_latency: int
    write_latency: int
    l2_sets: int
    l2_ways: int
    l2_line: int
    l2_width: int
    l2_latency: int
    noc_rate: int
    noc_core_rate: int

    @classmethod
    def of(cls, machine: Machine) -> TimingMachine:
        control, dma, l2, bandwidth = machine.control, machine.dma, machine.l2, machine.dram_bytes_per_cycle
        rate = machine.dram_cycles_per_cycle
        return cls(
            launch=control.launch_cycles,
            pace=control.issue_cycles,
            depth=control.queue_depth,
            channels=dma.channels,
            in_flight=dma.max_outstanding,
            shared=dma.shared,
            load_bursts=burst_rules(machine, load=True) if dma.has_bursts else None,
            store_bursts=burst_rules(machine, load=False) if dma.has_bursts else None,
            store_handshake=dma.store_burst_cycles,
            gap=dma.gap_cycles,
            completion=dma.completion_cycles,
            part=machine.dram.part if machine.dram.model == "banked" else None,
            dram_cycles=rate.numerator,
            core_cycles=rate.denominator,
            bytes=bandwidth.numerator,
            cycles=bandwidth.denominator,
            read_latency=machine.dram_latency_cycles,
            write_latency=machine.dram_write_latency_cycles,
            l2_sets=l2.sets,
            l2_ways=l2.ways,
            l2_line=l2.line_bytes,
            l2_width=l2.bytes_per_cycle,
            l2_latency=machine.l2_latency_cycles,
            noc_rate=machine.noc.bytes_per_cycle,
            noc_core_rate=machine.noc.core_bytes_per_cycle,
        )


def simulate_native(
    schedule: Schedule, machine: Machine, engine: Engine | None = None, by_class: ClassCosts | None = None
) -> Timeline:
    """Time `schedule`, which is for `machine`; an `engine` that has loaded it does each step in the same loop.

    Args:
        by_class: `class_costs` of both, if they are known.

    Raises:
        ScheduleHazard: the operations wait for each other in a circle, or the engine found a hazard.
        ScheduleError: a reference of the schedule leads nowhere.
    """
    by_class = by_class or class_costs(schedule, machine)
    numbers = TimingMachine.of(machine)
    found = time_schedule(schedule, numbers, by_class.costs, by_class.of, by_class.planes, engine)
    if found.pop("unretired"):
        simulate(schedule, machine)  # the definition says who waits for whom
        raise AssertionError("SimPy found no deadlock where the native event model did")
    launch = np.full(schedule.cores, machine.control.launch_cycles, dtype=np.int64)
    names = [each.name for each in fields(Answers)]
    answers = Answers(**{name: found.pop(name) for name in names}) if names[0] in found else None
    return Timeline(**found, answers=answers, launch=launch)
