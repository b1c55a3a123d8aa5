"""`matrix.model = "scalesim"` against SCALE-Sim itself, on the layers of AlexNet and ResNet-18.

    python benchmarks/fidelity/scalesim.py [--itself] [--environment DIR]

Replays what SCALE-Sim 3.0.0 reported (data/scalesim.csv) and prints, for each layer as a GEMM (networks.py), its
cycles and ours: of the array's function (hwmodel/cost.py) and of a run of the whole machine. SCALE-Sim reports the
number of its last cycle, counted from 0: ours less one. `--itself` first runs SCALE-Sim, in an environment of its
own, on the cases that the file lacks: the shortest first, for a long one takes minutes (and AlexNet's fc6 some 5 GB).
It may be stopped at any time, and several may run at once.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from networks import NETWORKS, Gemm

from minisim.compiler.frontend import load_model
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import matmul_cycles
from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.simulate import simulate

DATA = Path(__file__).parent / "data" / "scalesim.csv"
ARRAYS = [(128, 64)]
"""On these `--itself` runs all layers, and first."""
OTHER_ARRAYS = [(128, 128), (32, 32), (16, 64)]
"""On these those of at most SHORT cycles."""
SHORT = 67_000
DATAFLOWS = ["ws", "os", "is"]


@dataclass(frozen=True)
class Case:
    """A layer on an array; `cycles` and `stall_cycles` are what SCALE-Sim reported."""

    network: str
    layer: str
    m: int
    k: int
    n: int
    rows: int
    cols: int
    dataflow: str
    cycles: int = -1
    stall_cycles: int = -1

    @property
    def machine(self) -> Machine:
        """A machine with the array, whose SRAM holds the layer as one tile."""
        matrix = {"rows": self.rows, "cols": self.cols, "dataflow": self.dataflow, "model": "scalesim"}
        keys = {f"matrix.{key}": value for key, value in matrix.items()}
        return Machine().with_overrides({**keys, "sram.bytes": "1GiB"})

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n

    def ours(self) -> int:
        """Cycles of one block that is the whole layer."""
        _, busy, _ = matmul_cycles(self.m, self.k, self.n, 0, self.machine)
        return int(busy) - 1

    def in_a_run(self) -> int:
        """Cycles for which the matrix unit is busy in a run of the layer, which is one EXECUTE."""
        schedule = compile_graph(load_model(f"gemm:{self.m}x{self.k}x{self.n}"), self.machine)
        assert (schedule.stream["opcode"] == Opcode.EXECUTE).sum() == 1
        return simulate(schedule, self.machine).busy(schedule, Queue.MATRIX) - 1


def layers() -> Iterator[tuple[str, Gemm]]:
    for network, layers_of in NETWORKS.items():
        yield from ((network, gemm) for gemm in layers_of())


def wanted() -> list[Case]:
    """The layers on the arrays with every dataflow, the shortest first."""
    cases = [
        Case(network, gemm.layer, gemm.m, gemm.k, gemm.n, *array, dataflow)
        for (network, gemm), array, dataflow in itertools.product(layers(), ARRAYS + OTHER_ARRAYS, DATAFLOWS)
    ]
    chosen = [case for case in cases if (case.rows, case.cols) in ARRAYS or case.ours() <= SHORT]
    return sorted(chosen, key=lambda case: ((case.rows, case.cols) not in ARRAYS, case.ours()))


def recorded() -> list[Case]:
    """The cases of the file, in its order."""
    if not DATA.exists():
        return []
    numbers = {field.name for field in fields(Case) if field.type == "int"}
    with DATA.open() as file:
        rows = csv.DictReader(file)
        return [Case(**{k: int(v) if k in numbers else v for k, v in row.items()}) for row in rows]


def run_scalesim(environment: Path) -> None:
    """Append to the file what SCALE-Sim reports of the cases that are not in it."""
    import scalesim_itself

    for case in wanted():
        key = astuple(case)[:-2]
        if key in {astuple(case)[:-2] for case in recorded()}:  # asked anew each time: several may run at once
            continue
        found = scalesim_itself.report(environment, *key[2:])
        new = not DATA.exists()
        with DATA.open("a") as file:
            rows = csv.writer(file, lineterminator="\n")
            if new:
                rows.writerow(field.name for field in fields(Case))
            rows.writerow([*key, found["cycles"], found["stall_cycles"]])
        print(*key, found, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--itself", action="store_true", help="run SCALE-Sim on what the file lacks")
    parser.add_argument("--environment", type=Path, default=Path("build/scalesim"), help="SCALE-Sim's; made if need be")
    args = parser.parse_args()
    if args.itself:
        run_scalesim(args.environment)
    print(f"{'layer':<24} {'m x k x n':>16} {'array':>8} {'SCALE-Sim':>10} {'ours':>10} {'in a run':>10} {'off by':>7}")
    cases, off = recorded(), 0
    for case in cases:
        ours, ran = case.ours(), case.in_a_run()
        error = max(abs(x - case.cycles) for x in (ours, ran))
        off = max(off, error)
        print(
            f"{case.network + ' ' + case.layer:<24} {f'{case.m}x{case.k}x{case.n}':>16} "
            f"{f'{case.dataflow} {case.rows}x{case.cols}':>8} {case.cycles:>10} {ours:>10} "
            f"{ran:>10} {error:>7}"
        )
    errors = [abs(case.ours() / case.cycles - 1) for case in cases]
    macs = [abs(case.macs / (case.rows * case.cols) / case.cycles - 1) for case in cases]
    print(f"ours         mean error {sum(errors) / len(errors):6.1%}, off by {off} cycles at most, {len(cases)} cases, "
          f"all of them also in a run; {sum(c.stall_cycles for c in cases)} stall cycles reported")  # fmt: skip
    print(f"MACs / PEs   mean error {sum(macs) / len(macs):6.1%}, worst {max(macs):6.1%}, {len(cases)} cases")


if __name__ == "__main__":
    main()
