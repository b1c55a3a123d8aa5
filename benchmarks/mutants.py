"""Break correct schedules in thousands of ways, and see who notices.

    python benchmarks/mutants.py --count 5000 [--windows]

Prints how many mutants of each kind were caught, by what, and how many were harmless (ran without a hazard,
with the same bits, and with no two conflicting accesses overlapping, by a check that knows nothing of the
engine's). Those in the column WRONG are listed: they are bugs of the hazard tracker. There should be none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.mutants import MUTATIONS, WINDOWS, Tally, cases, mutants


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="of mutants")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other mutants")
    parser.add_argument(
        "--windows", action="store_true", help="only faults of gathered operands, of convolutions and folds"
    )
    args = parser.parse_args()
    tally, kinds = Tally(), WINDOWS if args.windows else tuple(MUTATIONS)
    chosen = [case for case in cases() if len(case.schedule.convolutions) or not args.windows]
    for mutant in mutants(chosen, args.count, args.seed, kinds):
        tally.add(mutant)
    print("\n".join([*tally.lines(), "", *tally.wrong]))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
