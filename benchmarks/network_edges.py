"""What choosing the edges of tiles (ADR 41) gives in networks with convolutions: cycles and compile time by effort.

    python benchmarks/network_edges.py [--networks lenet5,...] [--presets npu_32x32,...] [--sram 1MiB] [--effort 0,1]

Of each network, machine and SRAM the cycles at the first effort, those of the others over them, and the CPU seconds
that each compilation took. Nothing is remembered from one to the next.
"""

from __future__ import annotations

import argparse
import gc
import time

import minisim as ms
from minisim.compiler import scales
from minisim.compiler.passes import choose, context, edges_alone
from minisim.compiler.pipeline import compile_graph
from minisim.errors import CapacityError
from minisim.hwmodel.native import simulate_native

NETWORKS = "mobilenet_v2,efficientnet_lite0:size=112,resnet18:size=112,squeezenet1_1:size=128,lenet5"


def outcome(graph: ms.Graph, machine: ms.Machine) -> tuple[int | None, float]:
    """Cycles, or None if there is no room; and the CPU seconds of compiling."""
    for cache in (edges_alone.tried_alone, scales.with_edges, choose._best, context._soonest):
        cache.cache_clear()
    gc.collect()
    began = time.process_time()
    try:
        schedule = compile_graph(graph, machine, numerics=False)
    except CapacityError:
        return None, time.process_time() - began
    took = time.process_time() - began
    return int(simulate_native(schedule, machine).cycles), took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--presets", default="npu_32x32,tpu_like_128x128")
    parser.add_argument("--sram", default="64KiB,256KiB,1MiB")
    parser.add_argument("--effort", default="0,1")
    args = parser.parse_args()
    efforts = args.effort.split(",")
    print(f"{'network':28}{'preset':18}{'SRAM':>8}{'cycles':>14}  then over it, at effort {', '.join(efforts[1:])}")
    for network in args.networks.split(","):
        graph = ms.load_model(network)
        for preset in args.presets.split(","):
            for sram in args.sram.split(","):
                machine = ms.Machine.load(preset).replace(f"sram.bytes={sram}")
                found = [outcome(graph, machine.replace(f"compiler.effort={effort}")) for effort in efforts]
                first = found[0][0]
                others = [
                    "no room" if x is None else f"{x / first:.3f}" if first else f"{x:,} cycles" for x, _ in found[1:]
                ]
                seconds = " ".join(f"{took:.2f}" for _, took in found)
                told = f"{first:,}" if first else "no room"
                print(f"{network:28}{preset:18}{sram:>8}{told:>14}  {' '.join(others)}   in {seconds} s", flush=True)


if __name__ == "__main__":
    main()
