"""`matrix.model = "scalesim"` against what SCALE-Sim itself reported (benchmarks/fidelity/data/scalesim.csv)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "fidelity"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("fidelity_scalesim", FOLDER / "scalesim.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_the_function_of_the_array(benchmark: ModuleType) -> None:
    cases = benchmark.recorded()
    layers = {(name, gemm.layer) for name, gemm in benchmark.layers()}
    assert layers == {(case.network, case.layer) for case in cases}
    off = [case for case in cases if case.ours() != case.cycles]
    assert not off
    assert not sum(case.stall_cycles for case in cases)


def test_a_run_of_the_machine(benchmark: ModuleType) -> None:
    """One EXECUTE is the layer: of each dataflow on each array the layer with the most MACs."""
    chosen = {}
    for case in sorted(benchmark.recorded(), key=lambda case: case.macs):
        chosen[case.dataflow, case.rows, case.cols] = case
    assert len(chosen) == len(benchmark.DATAFLOWS) * len(benchmark.ARRAYS + benchmark.OTHER_ARRAYS)
    for case in chosen.values():
        assert case.in_a_run() == case.cycles


def test_the_networks_are_the_published_ones(benchmark: ModuleType) -> None:
    """Multiply-adds and weights of the papers: 724 M and 61 M for AlexNet, 1.81 G and 11.7 M for ResNet-18."""
    found = {}
    for name, gemm in benchmark.layers():
        macs, weights = found.get(name, (0, 0))
        found[name] = (macs + gemm.count * gemm.m * gemm.k * gemm.n, weights + gemm.count * gemm.k * gemm.n)
    assert found == {
        "alexnet": (724_406_816, 60_954_656),
        "resnet18": (1_814_073_344, 11_678_912),
    }
