"""minisim beside ZigZag: ResNet-18 on a 32x32 array of int8 with 2 MiB of SRAM and a DRAM of 64 bits a cycle.

    python benchmarks/peer_zigzag.py [--environment DIR]

zigzag-dse 3.9.1 (MIT) is installed from PyPI into an environment of its own. It takes the topology, the machine
`tpu_like` and the mapping that come with it, and looks for the least latency. Both are run as whole processes, one
after the other. They do not say the same:

- ZigZag searches the loops of each layer and gives cycles by formulas. Each layer's operands come from DRAM and its
  result goes there; additions and pooling are left out. Beside the SRAM each processing element holds 128 weights.
- minisim schedules the whole network and times each operation of its DMA, array and vector unit, additions and pooling
  included (of int8 additions are computed in fp32, between conversions). All lies in SRAM, weights too.

minisim is run in three ways: the same 21 layers, each alone, from DRAM to DRAM, on an array whose rows take the
channels of one tap at a time, as in ZigZag's mapping; the whole network on it; and with rows that take several taps at
once, as its own machines do. Peak is MACs / (rows x columns).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from peer_scalesim import environment_python, measured

PACKAGES = ("zigzag-dse==3.9.1", "onnx==1.17.0", "six==1.17.0")  # onnx 1.20 lacks what it imports; six it does not name

THEIRS = """
import json, sys
from pathlib import Path
import zigzag
from zigzag.api import get_hardware_performance_zigzag
inputs = Path(zigzag.__file__).parent / "inputs"
_, cycles, found = get_hardware_performance_zigzag(
    str(inputs / "workload/resnet18.onnx"), str(inputs / "hardware/tpu_like.yaml"),
    str(inputs / "mapping/tpu_like.yaml"), opt="latency", dump_folder=sys.argv[1], loma_show_progress_bar=False)
total, layers = found[0][0], [layer for layer, _ in found[0][1]]
dram = [levels[-1].data for layer in layers for levels in layer.memory_word_access.values()]
words = sum(sum(accesses.values()) for accesses in dram)
print(json.dumps({"cycles": cycles, "peak": total.ideal_cycle, "bytes": 8 * words}))
"""
"""The outermost level of each operand is the DRAM, of words of 64 bits."""

OURS = """
import json, sys
import minisim as ms
machine = ms.Machine.load("npu_32x32", json.loads(sys.argv[1]))
result = ms.run("resnet18", machine, numerics=False)
macs, moved = int(result.schedule.layers["macs"].sum()), result.record().dram_moved
found = {"cycles": result.cycles, "peak": macs / machine.matrix.elements, "bytes": int(sum(x.sum() for x in moved))}
print(json.dumps(found))
"""

OURS_ALONE = """
import json, sys
import minisim as ms
from minisim.compiler.passes.choose import alone
from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.pipeline import computed_graph, machine_passes
machine = ms.Machine.load("npu_32x32", json.loads(sys.argv[1]))
graph = computed_graph(ms.load_model("resnet18"), machine, numerics=False)
cycles = macs = moved = 0
for node in graph.nodes:
    if node.op not in ("Conv", "MatMul"):
        continue
    ir = alone(node, graph)
    for _, step in machine_passes(machine, 10**7):
        ir = step.apply(ir)
    schedule = Dispatch(machine).apply(ir)
    cycles += ms.simulate(schedule, machine).cycles
    macs += int(schedule.layers["macs"].sum())
    moved += int(schedule.tile_bytes()[schedule.transfers["tile"]].sum())
print(json.dumps({"cycles": cycles, "peak": macs / machine.matrix.elements, "bytes": moved}))
"""

MACHINE = [
    "matrix.dtype=int8",
    "sram.bytes=2MiB",
    "dma.bytes_per_cycle=8",
    "dma.shared=true",
    "dram.bandwidth=8GB/s",
    "dram.latency=1ns",
]
"""One port of 64 bits for loads and stores, and a latency of one cycle, as ZigZag's."""

BY_TAPS = "matrix.packs_taps=false"
WAYS = {
    "minisim, layer by layer": (OURS_ALONE, [*MACHINE, BY_TAPS]),
    "minisim, the whole network": (OURS, [*MACHINE, BY_TAPS]),
    "minisim, and taps packed": (OURS, MACHINE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path("build/zigzag"))
    args = parser.parse_args()
    python = environment_python(args.environment.absolute(), PACKAGES)
    print(f"{'ResNet-18':<31}{'cycles':>11}{'/ peak':>8}{'DRAM MB':>9}{'wall s':>8}{'CPU s':>8}")
    with tempfile.TemporaryDirectory() as folder:
        commands = {"ZigZag 3.9.1": [str(python), "-c", THEIRS, folder]}
        commands |= {name: [sys.executable, "-c", code, json.dumps(keys)] for name, (code, keys) in WAYS.items()}
        for name, command in commands.items():
            run = measured(command)
            found = json.loads(run.output.splitlines()[-1])
            cycles, moved = found["cycles"], found["bytes"] / 1e6
            row = f"{name:<31}{cycles:>11,.0f}{cycles / found['peak']:>8.2f}{moved:>9.1f}"
            print(f"{row}{run.wall:>8.1f}{run.cpu:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
