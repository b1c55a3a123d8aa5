"""The causes that a cycle of a run may have."""

from __future__ import annotations

from enum import IntEnum

from minisim.hwmodel.isa import Queue


class Cause(IntEnum):
    """What a cycle of the run went to, in the order of the columns of account.csv."""

    COMPUTE = 0
    PADDING = 1
    ARRAY = 2
    VECTOR = 3
    LOAD_PORT = 4
    LOAD_DRAM = 5
    LOAD_REQUESTS = 6
    DRAM_LATENCY = 7
    DRAM_CONTENTION = 8
    STORE = 9
    SRAM_SPACE = 10
    DEPENDENCY = 11
    CONTROL = 12
    SETUP = 13
    START = 14
    TAIL = 15
    LAUNCH = 16


LATENCY_OF = {Queue.LOAD: Cause.DRAM_LATENCY, Queue.STORE: Cause.STORE, Queue.MATRIX: Cause.ARRAY,
              Queue.VECTOR: Cause.VECTOR}  # fmt: skip
BUSY_OF = {Queue.LOAD: Cause.LOAD_PORT, Queue.STORE: Cause.STORE, Queue.MATRIX: Cause.COMPUTE,
           Queue.VECTOR: Cause.VECTOR}  # fmt: skip
DRAM_OF = {Queue.LOAD: Cause.LOAD_DRAM, Queue.STORE: Cause.STORE}
REQUESTS_OF = {Queue.LOAD: Cause.LOAD_REQUESTS, Queue.STORE: Cause.STORE}
