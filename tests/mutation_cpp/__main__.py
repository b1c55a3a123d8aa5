"""Put small faults into the C++ engine, one at a time, and see whether its tests notice.

    make mutation-cpp                                    # 100 faults
    make mutation-cpp N=20 SEED=2 FILES="engine_cpp/src/tracker.cpp"
    make mutation-cpp CHANGED=main                       # in the files that differ from a branch

Prints each fault's fate, then the score of each file, then the survivors. docs/mutation.md says what counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

if __package__ in (None, ""):  # run as a folder: `python tests/mutation_cpp`
    sys.path.insert(0, str(Path(__file__).parents[1]))
    __package__ = "mutation_cpp"

from .mutants import Mutant, drawn, equivalents, sources
from .workshop import Workshop


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="files or folders below engine_cpp; all if none")
    parser.add_argument("-n", "--count", type=int, default=100, help="faults that count")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other faults")
    parser.add_argument("--changed", metavar="BRANCH", help="only files that differ from it")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    known = equivalents()
    workshop = Workshop()
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    survivors: list[Mutant] = []
    draw = drawn(sources(args.files, args.changed), args.seed)
    began, counted, mutant = time.monotonic(), 0, next(draw, None)
    while mutant and counted < args.count:
        fate = "equivalent" if mutant.key in known else workshop.verdict(mutant)
        fates[mutant.file][fate] += 1
        if fate not in ("invalid", "same", "equivalent"):
            counted += 1
            first, *rest = str(mutant).split("\n")
            print(f"{counted:4} {time.monotonic() - began:6.0f} s  {fate:12} {first}", flush=True)
            if fate == "survived":
                survivors.append(mutant)
                print("\n".join(rest), flush=True)
        try:
            mutant = draw.send(fate != "invalid")
        except StopIteration:
            mutant = None
    report(fates, survivors)
    return 0


def report(fates: dict[str, Counter[str]], survivors: list[Mutant]) -> None:
    total: Counter[str] = Counter()
    print(f"\n{'file':50} {'faults':>7} {'caught':>7} {'equivalent':>11}")
    for file, fate in sorted(fates.items()):
        print_row(file, fate)
        total += fate
    print_row("all", total)
    print("\nsurvivors:" if survivors else "\nno survivors")
    for mutant in survivors:
        print(mutant)


def print_row(name: str, fate: Counter[str]) -> None:
    caught = sum(n for what, n in fate.items() if what.startswith(("c++", "python")))
    if faults := caught + fate["survived"]:
        share = f"{100 * caught / faults:6.0f}%"
        print(f"{name:50} {faults:7} {share:>7} {fate['same'] + fate['equivalent']:11}")


if __name__ == "__main__":
    sys.exit(main())
