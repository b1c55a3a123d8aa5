"""The native event model against SimPy's on random schedules and machines: every column of every operation.

    python benchmarks/twin.py --count 10000 --seed 0

Prints what differs, the seed with it (`tests/support/pairs.py` makes the pair again) and the keys that it takes, and
how fast each was. Of every tenth pair it makes the account as well: its causes must add up to the run, layer by layer
and in all.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.pairs import differing, pair, shrunk

from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.timing import TIMING_CORES, simulate
from minisim.reports import Account, RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first pair")
    args = parser.parse_args()
    operations = accounts = wrong = 0
    seconds = dict.fromkeys(TIMING_CORES, 0.0)
    drawn = {"banked": 0, "cores": 0, "channels": 0, "bursts": 0, "L2": 0, "network": 0}
    for seed in range(args.seed, args.seed + args.count):
        schedule, machine = pair(seed)
        found = {}
        for timing in TIMING_CORES:
            began = time.process_time()
            found[timing] = simulate(schedule, machine, timing=timing)
            seconds[timing] += time.process_time() - began
        operations += len(schedule)
        drawn["banked"] += machine.dram.model == "banked"
        drawn["cores"] += schedule.cores > 1
        drawn["channels"] += machine.dma.channels > 1
        drawn["bursts"] += machine.dma.has_bursts
        drawn["L2"] += machine.l2.bytes > 0
        drawn["network"] += machine.noc.limits
        one, other = found.values()
        if differ := differing(one, other):
            wrong += 1
            keys = shrunk(machine, lambda plainer, schedule=schedule: bool(apart(schedule, plainer)))
            print(f"pair({seed}): {', '.join(differ)} differ; it takes {', '.join(keys) or 'no key'}")
        if seed % 10 == 0:
            accounts += 1
            if not adds_up(RunRecord(schedule, one, machine, "pair", str(seed), "native", 0.0, 0.0)):
                wrong += 1
                print(f"pair({seed}): its account does not add up")
    print(f"{args.count:,} pairs, {operations:,} operations, {accounts:,} accounts: {wrong} wrong; of them " +
          ", ".join(f"{name} {count:,}" for name, count in drawn.items()))  # fmt: skip
    print(", ".join(f"{timing} {operations / seconds[timing] / 1e3:,.0f} k operations/s" for timing in TIMING_CORES))


def apart(schedule: Schedule, machine: Machine) -> list[str]:
    """The columns in which the event models differ."""
    one, other = (simulate(schedule, machine, timing=timing) for timing in TIMING_CORES)
    return differing(one, other)


def adds_up(record: RunRecord) -> bool:
    """Whether every cycle of the run has one cause, and no cause has a cycle too many."""
    table = Account.of(record).table()
    layers, total = table.iloc[:-1], table.iloc[-1]
    causes = [name for name in table.columns if name.startswith("cycles_") and name != "cycles_total"]
    sums = (layers["cycles_total"].sum(), total[causes].sum(), layers[causes].to_numpy().sum())
    return all(each == record.timeline.cycles for each in sums) and bool((table[causes] >= 0).all(axis=None))


if __name__ == "__main__":
    main()
