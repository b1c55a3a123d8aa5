"""Convolutions on two engines whose RTL was simulated: NVDLA nv_small, and five machines of cgra4ml.

    python benchmarks/fidelity/convolutions.py

Machines like theirs (machines/*.toml), compiled by our compiler, with whatever mechanisms there are today; beside it
MACs / peak, and the roofline of our own schedule. No claim is made of these rows yet: they say where the model stands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that this folder runs as it is

from systems import Case, print_table, rows

import minisim as ms

MACHINES = Path(__file__).parent / "machines"


@dataclass(frozen=True)
class Convolution(Case):
    """A row of the data: the shape of a layer, int8, without bias; `peak_macs` of the engine as it is."""

    x: tuple[int, int, int, int]
    filters: tuple[int, int, int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    scale: float | None
    peak_macs: int

    @cached_property
    def result(self) -> ms.Result:
        graph = ms.Graph(self.name)
        x, w = graph.input("x", self.x, dtype="int8"), graph.weight("w", shape=self.filters, dtype="int8")
        y = graph.conv2d(x, w, strides=self.strides, dilations=self.dilations, pads=self.pads, scale=self.scale)
        graph.output(y, "y")
        return ms.run(graph, self.machine, numerics=False)

    @property
    def peak(self) -> float:
        return self.result.record().work.macs / self.peak_macs


def nvdla() -> Iterator[Convolution]:
    base = ms.Machine.load(MACHINES / "nvdla_nv_small.toml")
    for row in rows("conv_nvdla.csv"):
        x = {name: int(value or 0) for name, value in row.items() if name not in ("config", "net")}
        machine = base.replace(f"dram.latency={x['ar_latency']}ns", f"dma.outstanding_bursts={x['ar_queue']}")
        yield Convolution(
            f"nvdla {_shape(x, x['KH'], x['KW'])}",
            machine,
            "",
            x["cycles"],
            (x["N"], x["H"], x["W"], x["Cin"]),
            (x["KH"], x["KW"], x["Cin"], x["Cout"]),
            (x["stride_y"], x["stride_x"]),
            (x["dil_y"], x["dil_x"]),
            (x["pad_top"], x["pad_left"], x["pad_bottom"], x["pad_right"]),
            2**-6,
            x["atomic_c"] * x["atomic_k"],
        )


def cgra4ml() -> Iterator[Convolution]:
    base = ms.Machine.load(MACHINES / "cgra4ml.toml")
    for row in rows("conv_cgra4ml.csv"):
        x = {name: int(value or 0) for name, value in row.items() if name not in ("machine", "net")}
        size, width = x["K"], x["axi_bits"] // 8
        machine = base.replace(
            f"matrix.rows={x['rows']}",
            f"matrix.cols={x['cols'] // size}",
            f"matrix.int8_rate={size}",
            f"dma.bytes_per_cycle={width}",
            f"dma.max_burst_beats={x['max_burst']}",
            f"dma.outstanding_bursts={x['ar_queue']}",
            f"dram.bandwidth={3 * width}GB/s",
            f"dram.latency={x['ar_latency']}ns",
        )
        yield Convolution(
            f"cgra4ml {x['rows']}x{x['cols']} {_shape(x, size, size)}",
            machine,
            "",
            x["cycles"],
            (x["N"], x["H"], x["W"], x["Cin"]),
            (size, size, x["Cin"], x["Cout"]),
            (1, 1),
            (1, 1),
            (x["pad"],) * 4,
            None,
            x["rows"] * x["cols"],
        )


def _shape(x: dict[str, int], lines: int, columns: int) -> str:
    return f"{x['H']}x{x['W']}x{x['Cin']},{x['Cout']}x{lines}x{columns}"


def main() -> None:
    for cases in (nvdla, cgra4ml):
        print_table(list(cases()))


if __name__ == "__main__":
    main()
