"""`sparsity.pattern` with `matrix.model = "scalesim"` against SCALE-Sim itself: GEMMs with N:M filters.

    python benchmarks/fidelity/sparsity.py [--itself] [--environment DIR]

Replays what SCALE-Sim 3.0.0 reported on small arrays (data/scalesim_sparse.csv; layer-wise N:M, weight-stationary, the
only dataflow for which it has sparsity) and prints the error of our cycles, as `scalesim.py` does of dense layers.
`--itself` runs SCALE-Sim on all cases, and writes the file anew: some minutes.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import matmul_cycles
from minisim.hwmodel.sparsity import kept

DATA = Path(__file__).parent / "data" / "scalesim_sparse.csv"


@dataclass(frozen=True)
class Case:
    """A GEMM with filters of `pattern`; `cycles` is what SCALE-Sim reported, less what it says were stalls."""

    m: int
    k: int
    n: int
    rows: int
    cols: int
    pattern: str
    cycles: int = -1

    def ours(self) -> int:
        """The number of the last cycle, counted from 0."""
        matrix = {"matrix.rows": self.rows, "matrix.cols": self.cols, "matrix.model": "scalesim"}
        machine = Machine().with_overrides({**matrix, "sparsity.pattern": self.pattern})
        values, block = (int(x) for x in self.pattern.split(":"))
        steps = int(kept(self.k, values, block))
        return int(matmul_cycles(self.m, self.k, self.n, 0, machine, kept=steps)[1]) - 1

    def dense(self) -> int:
        """The same as if no value were zero."""
        matrix = {"matrix.rows": self.rows, "matrix.cols": self.cols, "matrix.model": "scalesim"}
        return int(matmul_cycles(self.m, self.k, self.n, 0, Machine().with_overrides(matrix))[1]) - 1


CASES = [
    Case(m, k, n, rows, cols, pattern)
    for m, k, n in ((64, 128, 64), (50, 72, 40), (33, 147, 64), (16, 256, 96), (100, 30, 20))
    for rows, cols in ((16, 16), (32, 32), (8, 32))
    for pattern in ("1:2", "1:4", "2:4", "3:4", "2:8", "4:8")
]


def recorded() -> list[Case]:
    """The cases of the file."""
    numbers = {field.name for field in fields(Case) if field.type == "int"}
    with DATA.open() as file:
        return [Case(**{k: int(v) if k in numbers else v for k, v in row.items()}) for row in csv.DictReader(file)]


def run_scalesim(environment: Path) -> None:
    """Write the file anew."""
    import scalesim_itself

    with DATA.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Case)], lineterminator="\n")
        writer.writeheader()
        for case in CASES:
            size = (case.m, case.k, case.n, case.rows, case.cols)
            found = scalesim_itself.report(environment, *size, "ws", case.pattern)
            writer.writerow(asdict(case) | {"cycles": found["cycles"] - found["stall_cycles"]})
            file.flush()


def main() -> None:
    """Print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--itself", action="store_true", help="run SCALE-Sim")
    parser.add_argument("--environment", type=Path, default=Path("build/scalesim"), help="where it is installed")
    parser.add_argument("--cases", action="store_true", help="print every case")
    args = parser.parse_args()
    if args.itself:
        run_scalesim(args.environment)
    cases = recorded()
    for name, ours in (("ours", Case.ours), ("dense", Case.dense)):
        errors = [abs(ours(case) - case.cycles) / case.cycles for case in cases]
        mean, worst = 100 * sum(errors) / len(errors), 100 * max(errors)
        exact = sum(error == 0 for error in errors)
        print(f"  {name:<12} mean error {mean:5.1f}%, worst {worst:5.1f}%, {len(cases)} cases, {exact} of them exact")
    for case in cases if args.cases else ():
        print(f"  {case}: ours {case.ours()}, dense {case.dense()}")


if __name__ == "__main__":
    main()
