"""Does padding help, or more hardware hurt? On random networks of the sizes that people type, neither should.

    python benchmarks/anomalies.py [--count 500] [--seed 1]

For each network: its cycles over those with its rows rounded up to whole tiles, and the cycles with more of one
resource over those without. Prints how many ratios are over 1.01, and the worst.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.networks import Network, networks, with_more

TOLERANCE = 1.01


def show(title: str, ratios: list[tuple[float, str]]) -> None:
    worse = sorted((pair for pair in ratios if pair[0] > TOLERANCE), reverse=True)
    worst = max(ratio for ratio, _ in ratios)
    print(f"{title}: {len(ratios)} networks, {len(worse)} over {TOLERANCE}, the worst {worst:.3f}")
    for ratio, text in worse:
        print(f"  {ratio:.3f}  {text}")


def padding_ratio(network: Network) -> tuple[float, str]:
    return network.cycles() / network.padded.cycles(), str(network)


def more_ratio(network: Network, seed: int) -> tuple[float, str]:
    what, richer = with_more(network, seed)
    return richer.cycles() / network.cycles(), f"{network}, {what}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="of networks")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other networks")
    args = parser.parse_args()
    cases = list(islice(networks(args.seed), args.count))
    show("rows as they are / rows padded", [padding_ratio(network) for network in cases])
    show("more of one resource / less", [more_ratio(network, args.seed + i) for i, network in enumerate(cases)])


if __name__ == "__main__":
    main()
