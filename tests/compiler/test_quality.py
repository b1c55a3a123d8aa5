"""Are the schedules as good as docs/schedules.md says? The issue's sweep, and the figures of its table."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

import minisim as ms

EXAMPLES = Path(__file__).parents[2] / "examples"
SRAM = ["16KiB", "32KiB", "64KiB", "128KiB", "256KiB", "512KiB", "1MiB"]
PORTS = [16, 64, 256]  # bytes per cycle; a 32x32 tile loads in 8, 2 and 1/2 executes
ANOMALY = 1.01  # the choice of panels is by an estimate
MODELS = [str(EXAMPLES / "mlp.py"), "gemm:512x512x512"]


def machine(sram: str, port: int) -> ms.Machine:
    settings = {"sram.bytes": sram, "dma.bytes_per_cycle": port, "dram.bandwidth": f"{1.6 * port:g}GB/s"}
    return ms.Machine().with_overrides(settings)


def traffic(schedule: ms.Schedule) -> int:
    return int(schedule.tile_bytes()[schedule.transfers["tile"]].sum())


@pytest.mark.parametrize("model", MODELS)
def test_more_bandwidth_is_never_slower_and_more_sram_never_moves_more(model: str) -> None:
    graph = ms.load_model(model)
    runs = {
        (sram, port): ms.run(graph, machine(sram, port), numerics=False)
        for sram, port in itertools.product(SRAM, PORTS)
    }
    for sram in SRAM:
        for slow, fast in itertools.pairwise(PORTS):
            assert runs[sram, fast].cycles <= ANOMALY * runs[sram, slow].cycles, (sram, slow, fast)
    for port in PORTS:
        for small, large in itertools.pairwise(SRAM):
            assert traffic(runs[large, port].schedule) <= traffic(runs[small, port].schedule), (port, small, large)


@pytest.mark.parametrize(
    ("sram", "most_traffic"), [("128KiB", 1.27), ("256KiB", 1.14), ("512KiB", 1.14), ("1MiB", 1.14)]
)
@pytest.mark.parametrize("port", [128, 512])
def test_traffic_and_cycles_of_a_gemm_come_near_their_bounds(sram: str, most_traffic: float, port: int) -> None:
    size = 512
    usual = machine(sram, port).replace("compiler.effort=0")  # more of it gives bytes for cycles
    result = ms.run(ms.load_model(f"gemm:{size}x{size}x{size}"), usual, numerics=False)
    elements = result.machine.sram.bytes / 4
    bound = 4 * (2 * size**3 / math.sqrt(elements) + size**2)
    assert traffic(result.schedule) <= most_traffic * bound
    assert result.cycles <= 1.03 * size**3 / (32 * 32)  # the matrix unit's bound


@pytest.mark.parametrize("sram", ["704B", "256B"])
def test_a_point_that_does_not_fit_says_what_it_needs(sram: str) -> None:
    """Three tiles of 8 x 8: smaller ones are not made to find room."""
    with pytest.raises(ms.MinisimError, match="needs at least 768 bytes"):
        ms.compile_graph(ms.load_model("gemm:512x512x512"), machine(sram, 16).replace("compiler.effort=0"))
