"""How good the schedules of convolutions are: DRAM traffic and cycles of the layers of classic networks.

    python benchmarks/conv_layers.py [--sample N] [--seed S] [--machine npu_32x32] [--sram 256KiB] [--jobs 2]

Each distinct convolution of ResNet-50, MobileNet v2 and VGG-16 (batch 1, 224 x 224 pixels, fp32), alone on a machine,
timing only. Columns:

    traffic      bytes to and from DRAM
    /least       over each tensor once
    /bound       over the larger of that and Chen et al.'s bound
    /oracle      over the best of an exhaustive search (conv_oracle.py)
    cycles
    /roofline    over the roofline of what must move: the traffic of the oracle through ports and DRAM, and the
                 passes of the array through the layer as a whole
    /floor       over what no schedule with that traffic is below on this machine, whose loads take their time
                 (`floor`): what is left of /roofline / /floor is the machine's, not the schedule's

Depthwise convolutions (one column of the array each) are listed apart.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from conv_networks import Layer, layers
from conv_oracle import Traffic, compulsory, least_traffic, lower_bound

import minisim as ms
from minisim.errors import CapacityError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.array import block_cycles

MACHINES = ("npu_32x32", "tpu_like_128x128")
SRAM = ("64KiB", "128KiB", "256KiB", "512KiB", "1MiB", "2MiB", "4MiB")
ITEM = 4
YARDSTICKS = ("oracle", "roofline", "floor")
AIM = 1.15


class Case(NamedTuple):
    layer: Layer
    machine: str
    sram: str


class Measured(NamedTuple):
    """Of a case: bytes moved, over the three yardsticks; cycles, over the roofline; what it took to find out."""

    bytes: int
    least: float
    bound: float
    oracle: float
    cycles: int
    roofline: float
    bound_by: str
    floor: float
    held_by: str
    seconds: float


def model(layer: Layer) -> ms.Graph:
    graph = ms.Graph(str(layer))
    x = graph.input("x", (1, layer.size, layer.size, layer.channels))
    shape = (layer.kernel, layer.kernel, layer.channels // layer.groups, layer.filters)
    w = graph.weight("filters", shape=shape)
    y = graph.conv2d(x, w, strides=layer.stride, pads=layer.pad, groups=layer.groups, name="y")
    graph.output(y)
    return graph


def must_take(layer: Layer, moved: Traffic, machine: ms.Machine) -> dict[str, float]:
    """Cycles that each unit takes at least if the layer moves so many elements."""
    bounds = cost.roofline(layer.macs, 0, moved.read * ITEM, moved.written * ITEM, machine)
    passes = int(np.max(block_cycles(layer.output**2, layer.depth, layer.filters, machine, isa.DType.FP32)[1]))
    matrix = max(float(bounds.matrix), passes if layer.groups == 1 else 0)
    return {
        "matrix": matrix,
        "load": float(bounds.load_port),
        "store": float(bounds.store_port),
        "dram": float(bounds.dram),
    }


def floor(layer: Layer, moved: Traffic, machine: ms.Machine) -> dict[str, float]:
    """The same with what a unit must wait for before its first and behind its last work, and one more bound: places.

    A first tile must come before the array works at all, a last sum leaves it by its drain, and a store ends later than
    its data pass. And a byte has a place in SRAM from the start of its load to the end of the operation that reads it,
    or of the store; so in this time no more bytes pass than there is room for (Little's law).
    """
    cycles = must_take(layer, moved, machine)
    there, stored = cost.latency_cycles(machine, load=True), cost.latency_cycles(machine, load=False)
    drain, decode = cost.drain_cycles(machine), machine.dma.setup_cycles
    kept = moved.read * (decode + there + drain) + moved.written * (drain + decode + stored)
    return {
        "matrix": decode + there + min(layer.depth, machine.matrix.rows) + cycles["matrix"] + drain + decode + stored,
        "load": decode + cycles["load"] + there + drain + decode + stored,
        "store": decode + there + drain + decode + cycles["store"] + stored,
        "dram": decode + cycles["dram"] + stored,
        "places": kept * ITEM / machine.sram.bytes,
    }


def measure(case: Case) -> Measured | str:
    """The figures, or why there are none."""
    layer = case.layer
    machine = ms.Machine.load(case.machine).replace(f"sram.bytes={case.sram}")
    began = time.perf_counter()
    try:
        result = ms.run(model(layer), machine, numerics=False)
    except CapacityError as e:
        return str(e)
    seconds = time.perf_counter() - began
    tiles, opcode = result.schedule.tile_bytes(), result.schedule.stream["opcode"]
    moves = result.schedule.transfers["tile"][result.schedule.stream["row"][opcode <= isa.Opcode.STORE]]
    moved, sram = int(tiles[moves].sum()), machine.sram.bytes // ITEM
    found = least_traffic(layer, sram) if layer.groups == 1 else compulsory(layer)
    if found is None:
        return "no tiling fits"
    over = [moved / ITEM / x for x in (compulsory(layer).total, lower_bound(layer, sram), found.total)]
    bounds = []
    for bound in (must_take(layer, found, machine), floor(layer, found, machine)):
        by = max(bound, key=bound.__getitem__)
        bounds += [result.cycles / bound[by], by]
    return Measured(moved, *over, result.cycles, *bounds, seconds)


def cases(machines: Iterable[str], srams: Iterable[str], depthwise: bool) -> list[Case]:
    mine = [layer for layer in layers() if (layer.groups > 1) == depthwise]
    return [Case(layer, machine, sram) for machine in machines for sram in srams for layer in mine]


def table(chosen: Sequence[Case], jobs: int) -> dict[Case, Measured]:
    """Print a row for each, measured in so many processes, and return the figures of those that have any."""
    heads = (
        ("sram", 7),
        ("traffic", 11),
        ("/least", 7),
        ("/bound", 7),
        ("/oracle", 7),
        ("cycles", 11),
        ("/roofline", 16),
        ("/floor", 14),
    )
    print(f"{'layer':<46} " + " ".join(f"{head:>{width}}" for head, width in heads))
    found, last = {}, ""
    with ProcessPoolExecutor(jobs) as pool:
        measured = pool.map(measure, chosen)
        for case, one in zip(chosen, measured, strict=True):
            if case.machine != last:
                print(f"on {case.machine}")
                last = case.machine
            name = f"{case.layer.network} {case.layer}"
            if isinstance(one, str):
                print(f"{name:<46} {case.sram:>7} {one[:70]}")
                continue
            found[case] = one
            print(f"{name:<46} {case.sram:>7} {one.bytes:11,} {one.least:7.2f} {one.bound:7.2f} {one.oracle:7.2f} "
                  f"{one.cycles:11,} {one.roofline:9.2f} {one.bound_by:<6} {one.floor:7.2f} {one.held_by:<6} "
                  f"{one.seconds:5.1f} s", flush=True)  # fmt: skip
    return found


def kind(layer: Layer) -> str:
    if layer.kernel > 1:
        return "3x3, 7x7"
    return "1x1" if layer.stride == 1 else "1x1, strided"


def summary(found: Mapping[Case, Measured]) -> None:
    """By machine and kind of layer, and by machine and SRAM: geometric means, and how many are within 1.15."""
    print(f"\n{'':<32}{'cases':>6}" + "".join(f"{'/' + name:>10}{'<= 1.15':>9}" for name in YARDSTICKS))
    kinds = sorted({(case.machine, kind(case.layer)) for case in found})
    for machine, what in kinds:
        mine = [x for case, x in found.items() if (case.machine, kind(case.layer)) == (machine, what)]
        _mean(f"{machine} {what}", mine)
    for machine in sorted({case.machine for case in found}):
        for sram in SRAM:
            mine = [x for case, x in found.items() if (case.machine, case.sram) == (machine, sram)]
            _mean(f"{machine} {sram}", mine)
    _mean("all", list(found.values()))


def _mean(name: str, found: Sequence[Measured]) -> None:
    if not found:
        return
    of = {what: np.array([getattr(one, what) for one in found]) for what in YARDSTICKS}
    row = "".join(f"{np.exp(np.log(x).mean()):10.3f}{(x <= AIM).mean():9.0%}" for x in of.values())
    print(f"{name:<32}{len(found):>6}{row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many cases, drawn; default: all, with the depthwise ones apart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--machine", nargs="+", default=MACHINES)
    parser.add_argument("--sram", nargs="+", default=SRAM)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="layers whose name has this text")
    args = parser.parse_args()
    chosen = [
        case
        for case in cases(args.machine, args.sram, depthwise=False)
        if args.only in f"{case.layer.network} {case.layer}"
    ]
    if args.sample:
        random.Random(args.seed).shuffle(chosen)
        chosen = sorted(chosen[: args.sample], key=lambda case: MACHINES.index(case.machine))
    found = table(chosen, args.jobs)
    if found:
        summary(found)
    if not args.sample and not args.only:
        print("\ndepthwise, on the array; the oracle is each tensor once")
        table(cases(args.machine, args.sram, depthwise=True), args.jobs)


if __name__ == "__main__":
    main()
