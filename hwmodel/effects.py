"""Keys that can have no effect on a machine: neither on cycles nor on energy, whatever the model.

One table has the rules. tests/hwmodel/test_effects.py holds it to what runs really do, both ways: a key that is told
changes nothing, and one that is not told can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from minisim.hwmodel.config import Machine, keys
from minisim.hwmodel.isa import ACCUMULATOR, DType


class Rule(NamedTuple):
    """`keys` have no effect where `holds`, for a reason that names the keys in `governing`."""

    keys: tuple[str, ...]
    holds: Callable[[Machine], bool]
    reason: str
    governing: tuple[str, ...]


def _memories(machine: Machine) -> list[int]:
    """Bytes of those that have a price by their size."""
    return [size for size in (machine.sram.bytes, machine.accumulator.bytes, machine.l2.bytes) if size]


def _prices_no_memory(above: int, below: int) -> Callable[[Machine], bool]:
    """Whether no memory has a size between these two, for which a price is interpolated (energy.py)."""
    return lambda machine: not any(above < size < below for size in _memories(machine))


def _has_no(dtype: str) -> Callable[[Machine], bool]:
    return lambda machine: not machine.matrix.rate(DType[dtype.upper()])


def _sees_no_rows(machine: Machine) -> bool:
    """Whether a transfer costs its bytes alone, wherever they lie in DRAM."""
    return machine.dram.model == "ideal" and not machine.dma.has_bursts and machine.dma.dimensions == 2


def _streams_k_step_by_step(machine: Machine) -> bool:
    """Whether the array takes one step of k after the other, and the rows of no tap are left empty."""
    return machine.matrix.dataflow == "os" and all(machine.matrix.rate(dtype) <= 1 for dtype in ACCUMULATOR)


_SCALESIM = (lambda machine: machine.matrix.model == "scalesim", "matrix.model is 'scalesim'", ("matrix.model",))
_INTEGERS = [a for a, sums in ACCUMULATOR.items() if sums == DType.INT32]
_SIZES = ("sram.bytes", "accumulator.bytes", "l2.bytes")

RULES = (
    Rule(("dram.preset", "dram.override"), lambda m: m.dram.model == "ideal", "dram.model is 'ideal'", ("dram.model",)),
    Rule(("dram.padding",), _sees_no_rows,
         "dram.model is 'ideal', and the DMA has neither bursts nor descriptors that ask where rows lie",
         ("dram.model", "dma.dimensions")),
    Rule(("dram.bandwidth",), lambda m: m.dram.model == "banked", "dram.model is 'banked'", ("dram.model",)),
    Rule(("dram.write_latency",), lambda m: m.l2.bytes > 0, "writes are through when the L2 has them", ("l2.bytes",)),
    Rule(("l2.line_bytes", "l2.ways", "l2.bytes_per_cycle", "l2.latency"), lambda m: not m.l2.bytes, "l2.bytes is 0",
         ("l2.bytes",)),
    Rule(("energy.noc_byte",), lambda m: not m.noc.limits, "the network has no limit",
         ("noc.bytes_per_cycle", "noc.core_bytes_per_cycle")),
    Rule(("matrix.overlap", "matrix.gap_cycles", "matrix.multiplier_latency", "matrix.adder_latency"), *_SCALESIM),
    Rule(("matrix.gap_cycles",), lambda m: m.matrix.overlap != "none", "matrix.overlap is not 'none'",
         ("matrix.overlap",)),
    Rule(("matrix.adder_latency",), lambda m: m.matrix.rows == 1 and m.matrix.dataflow != "os",
         "matrix.rows is 1: no sum passes an adder", ("matrix.rows",)),
    Rule(("matrix.packs_taps",), _streams_k_step_by_step,
         "matrix.dataflow is 'os', and no type has a rate above 1: k streams, step by step", ("matrix.dataflow",)),
    Rule(("sparsity.metadata_bits", "sparsity.prune"), lambda m: m.sparsity.numbers is None,
         "sparsity.pattern is 'none'", ("sparsity.pattern",)),
    Rule(("unpack.weights_per_cycle",), lambda m: m.unpack.by != "dma", "unpack.by is not 'dma'", ("unpack.by",)),
    Rule(("energy.unpack",), lambda m: m.unpack.by == "none", "unpack.by is 'none'", ("unpack.by",)),
    Rule(("vector.fma_cost", "energy.vector_fma"), lambda m: not m.vector.depthwise, "vector.depthwise is false",
         ("vector.depthwise",)),
    Rule(("vector.reduce_level_cycles",), lambda m: m.vector.lanes == 1, "vector.lanes is 1: there is no tree",
         ("vector.lanes",)),
    Rule(("sram.banks",), lambda m: not m.sram.bank_bytes_per_cycle, "sram.bank_bytes_per_cycle is 0",
         ("sram.bank_bytes_per_cycle",)),
    Rule(("accumulator.read_bytes_per_cycle", "accumulator.write_bytes_per_cycle"),
         lambda m: not m.accumulator.bytes, "accumulator.bytes is 0", ("accumulator.bytes",)),
    Rule(("compiler.block_m", "compiler.block_n"), lambda m: m.compiler.order != "blocked",
         "compiler.order is not 'blocked'", ("compiler.order",)),
    Rule(("compiler.slices",), lambda m: m.compiler.order != "auto", "compiler.order is not 'auto'",
         ("compiler.order",)),
    Rule(("compiler.slices",), lambda m: not m.compiler.keep_on_chip, "compiler.keep_on_chip is false",
         ("compiler.keep_on_chip",)),
    Rule(("compiler.weight_scales",), lambda m: m.dtype != DType.INT8,
         "float models are not quantised (matrix.dtype is not 'int8')", ("matrix.dtype",)),
    *(Rule((f"energy.mac_{dtype}",), _has_no(dtype), f"matrix.{dtype}_rate is 0", (f"matrix.{dtype}_rate",))
      for dtype in (a.name.lower() for a in ACCUMULATOR)),
    Rule(("matrix.fp32_rate", "energy.mac_fp32"), lambda m: m.dtype != DType.FP32,
         "float models are computed in another type (matrix.dtype)", ("matrix.dtype",)),
    Rule(("energy.requantize",), lambda m: not any(m.matrix.rate(a) for a in _INTEGERS),
         "matrix.int8_rate, matrix.uint8_rate and matrix.int16_rate are 0",
         ("matrix.int8_rate", "matrix.uint8_rate", "matrix.int16_rate")),
    Rule(("energy.sram_8kib",), _prices_no_memory(0, 2**15), "no memory has less than 32 KiB", _SIZES),
    Rule(("energy.sram_32kib",), _prices_no_memory(2**13, 2**20), "no memory lies between 8 KiB and 1 MiB", _SIZES),
    Rule(("energy.sram_1mib",), _prices_no_memory(2**15, 2**62), "no memory has more than 32 KiB", _SIZES),
)  # fmt: skip
"""For a key with several rules the first that holds is told."""


def no_effect(machine: Machine, key: str) -> Rule | None:
    """The rule by which `key` has no effect on `machine`; None: it may have one."""
    return next((rule for rule in RULES if key in rule.keys and rule.holds(machine)), None)


def notes(machines: Collection[Machine], asked: Iterable[str], in_file: Iterable[str] = ()) -> Iterator[str]:
    """A line for each reason why keys that the user gave have no effect on any of `machines`, which differ in `asked`.

    Args:
        asked: keys from the command line.
        in_file: keys of a machine file. One that has its default is not told if a key of its reason stands there too:
            then the file says itself what the matter is, as one that lists all keys does.
    """
    asked, in_file = list(dict.fromkeys(asked)), list(in_file)
    default = Machine().flat()
    told: dict[str, list[str]] = {}
    for key in dict.fromkeys([*asked, *in_file]):
        rules = [no_effect(machine, key) for machine in machines]
        if not all(rules) or not rules[0]:
            continue
        explained = any(governing in in_file for governing in rules[0].governing)
        if key in asked or not explained or any(m.flat()[key] != default[key] for m in machines):
            told.setdefault(" or ".join(dict.fromkeys(rule.reason for rule in rules if rule)), []).append(key)
    for reason, found in told.items():
        yield f"{', '.join(found)}: no effect on this machine, where {reason}"


assert all(key in keys() for rule in RULES for key in (*rule.keys, *rule.governing))
