"""The causes that a cycle of a run may have."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from minisim.hwmodel.gates import Gate


class Cause(StrEnum):
    """What a cycle of the run went to, in the order of the columns of account.csv.

    These are the causes that the account has words for. A gate may name others (`causes_of`).
    """

    COMPUTE = "compute"
    PADDING = "padding"
    ARRAY = "array"
    VECTOR = "vector"
    LOAD_PORT = "load_port"
    LOAD_DRAM = "load_dram"
    LOAD_REQUESTS = "load_requests"
    DRAM_LATENCY = "dram_latency"
    DRAM_CONTENTION = "dram_contention"
    L2 = "l2"
    NOC = "noc"
    STORE = "store"
    SRAM_SPACE = "sram_space"
    DEPENDENCY = "dependency"
    CONTROL = "control"
    SETUP = "setup"
    START = "start"
    TAIL = "tail"
    LAUNCH = "launch"


def causes_of(gates: Sequence[Gate]) -> tuple[str, ...]:
    """All causes of an account, by code: those of `Cause`, then others that `gates` name, in the gates' order."""
    named = [cause for gate in gates for term in gate.terms for cause in term.causes]
    return tuple(dict.fromkeys([*Cause, *named]))
