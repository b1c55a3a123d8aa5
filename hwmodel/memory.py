"""A machine's memory, put together from its parts."""

from __future__ import annotations

from minisim.hwmodel.banked import BankedDram
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.dram import Dram, IdealDram, Memory
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.l2 import L2
from minisim.hwmodel.noc import Noc


def memory_of(schedule: Schedule, machine: Machine, costs: Costs) -> Memory:
    """What the transfers of `schedule` ask: the network, the L2 behind it, the DRAM behind that."""
    sizes = costs.bytes.tolist()
    dram: Dram
    if machine.dram.model == "ideal":
        dram = IdealDram(schedule, machine, costs.dram.tolist(), sizes)
    else:
        dram = BankedDram(schedule, machine)
    memory: Memory = L2(dram, schedule, machine) if machine.l2.bytes else dram
    return Noc(memory, schedule, machine, sizes) if machine.noc.limits else memory
