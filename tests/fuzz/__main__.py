"""``make fuzz N=100000``: a hunt of any length. ``--kind onnx --seed 7 -n 1`` repeats one input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.hunt import Failure, hunt
from fuzz.inputs import KINDS

FAILURES = Path("fuzz-failures")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("-n", type=int, default=10_000, help="inputs, over all kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the first input of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: all")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    kinds = arguments.kind or KINDS
    tasks = [(kinds[i % len(kinds)], arguments.seed + i // len(kinds)) for i in range(arguments.n)]
    shown = 0

    def progress(done: int, failures: list[Failure]) -> None:
        nonlocal shown
        for failure in failures[shown:]:
            say(f"{failure}\n  saved in {failure.save(FAILURES)}")
        shown = len(failures)
        if done % 500 == 0 or done == len(tasks):
            say(f"{done} inputs, {shown} failures")

    return 1 if hunt(tasks, arguments.jobs, progress) else 0


if __name__ == "__main__":
    sys.exit(main())
