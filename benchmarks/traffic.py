"""How good the schedules are: DRAM traffic against an exhaustive oracle, cycles against the roofline.

    python benchmarks/traffic.py [--model gemm:512x512x512]

The oracle is that of `oracle.py`: the least traffic of all uniform tilings, of any edges. The roofline is that of the
traffic the run really has (hwmodel/cost.py). Columns: DMA port widths at which loading a 32x32 tile takes the given
multiple of one execute (32 cycles); the DRAM is 1.6 times as fast as a port, as on npu_32x32.
"""

from __future__ import annotations

import argparse

from oracle import least_traffic

import minisim as ms
from minisim.reports import summary

SRAM = ["16KiB", "32KiB", "64KiB", "128KiB", "256KiB", "512KiB", "1MiB"]
PORTS = {512: "1/4", 128: "1", 64: "2", 16: "8"}
"""DMA bytes per cycle, and the load time of a tile in executes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemm:512x512x512", help="a gemm:MxKxN")
    parser.add_argument("--latency", default="60ns", help="of the DRAM")
    model = parser.parse_args()
    graph = ms.load_model(model.model)
    m, k = graph.tensors["a"].shape
    n = graph.tensors["b"].shape[1]
    print(f"{model.model}: traffic / oracle, cycles / roofline (and what sets it)")
    print(f"{'SRAM':>8} " + "".join(f"{f'load = {x} execute':>28}" for x in PORTS.values()))
    for sram in SRAM:
        cells = []
        for port in PORTS:
            settings = {
                "sram.bytes": sram,
                "dma.bytes_per_cycle": port,
                "dram.bandwidth": f"{1.6 * port:g}GB/s",
                "dram.latency": model.latency,
                "compiler.effort": 0,  # it is panels that are looked at
            }
            machine = ms.Machine().with_overrides(settings)
            row = summary(ms.run(graph, machine, numerics=False).record()).iloc[0]
            traffic = row["dram_read_bytes"] + row["dram_write_bytes"]
            ratio = traffic / (4 * least_traffic(m, k, n, machine.sram.bytes // 4))
            cells.append(f"{ratio:.3f}  {row['cycles_over_roofline']:.3f} ({row['bound_by']})")
        print(f"{sram:>8} " + "".join(f"{cell:>28}" for cell in cells))


if __name__ == "__main__":
    main()
