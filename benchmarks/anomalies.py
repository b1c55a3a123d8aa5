"""Does padding help, or more hardware hurt? On random networks of the sizes that people type, neither should.

    python benchmarks/anomalies.py [--count 500] [--seed 0]

For each network: its cycles over those with its rows rounded up to whole tiles, and the cycles with more of one
resource over those without. Prints how many ratios are over 1.01, and the worst.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.networks import network, with_more

TOLERANCE = 1.01


def show(title: str, ratios: list[tuple[float, str]]) -> None:
    worse = sorted((pair for pair in ratios if pair[0] > TOLERANCE), reverse=True)
    worst = max(ratio for ratio, _ in ratios)
    print(f"{title}: {len(ratios)} networks, {len(worse)} over {TOLERANCE}, the worst {worst:.3f}")
    for ratio, text in worse:
        print(f"  {ratio:.3f}  {text}")


def ratios(seed: int) -> tuple[tuple[float, str], tuple[float, str]]:
    """Of the network of this seed: against its rows padded, and with more of something against without."""
    case = network(seed)
    what, richer = with_more(case, seed)
    cycles = case.cycles()
    return (cycles / case.padded.cycles(), str(case)), (richer.cycles() / cycles, f"{case}, {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="of networks")
    parser.add_argument("--seed", type=int, default=0, help="of the first network; 0 to 59 are in the test suite")
    args = parser.parse_args()
    padded, more = zip(*(ratios(args.seed + i) for i in range(args.count)), strict=True)
    show("rows as they are / rows padded", list(padded))
    show("more of one resource / less", list(more))


if __name__ == "__main__":
    main()
