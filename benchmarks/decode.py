"""Tokens that are decoded, against the bytes that a token must read (docs/networks.md).

    python benchmarks/decode.py [--tokens 2] [--machine npu_32x32 ...] [--model gpt2:small ...]
    python benchmarks/decode.py --pages          a token behind caches in pages, for 1 to 16 sequences

The bound is weights and cache, each once, over the DRAM's bandwidth; or over the load port's, where that is less. Only
timed; seconds are of processor time, of each token but the first, for which edges of tiles are chosen.
"""

from __future__ import annotations

import argparse
import time

import minisim as ms
from minisim.compiler.decoders import TransformerDecoder
from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.transformers import transformer
from minisim.hwmodel.isa import Opcode, Role, Schedule
from minisim.hwmodel.native import simulate_native

MACHINES = ("npu_32x32", "tpu_like_128x128", "tpu_v3", "gemmini_16x16")
PREFILLED = {"gpt2:small": 512, "llama:7b": 2048}
"""Models, and the tokens before those that are decoded."""

PAGES, BATCHES = (0, 64, 16, 4), (1, 4, 16)


def moved(schedule: Schedule) -> int:
    """Bytes of weights and cache that are loaded, and of the cache that are stored."""
    stream, tiles = schedule.stream, schedule.transfers["tile"]
    roles = schedule.tensors["role"][schedule.tiles["tensor"]]
    found = 0
    for opcode, wanted in ((Opcode.LOAD, (Role.WEIGHT, Role.STATE)), (Opcode.STORE, (Role.STATE,))):
        of = {int(tile) for tile in tiles[stream["row"][stream["opcode"] == opcode]]}
        found += sum(int(schedule.tile_bytes()[tile]) for tile in of if roles[tile] in wanted)
    return found


def against_the_bound(model: str, machine: ms.Machine, past: int, tokens: int) -> None:
    """A line for a model on a machine: of the tokens together."""
    programs = TokenPrograms(TransformerDecoder(transformer(model)), machine, past + tokens)
    cycles, bytes_, operations, seconds = 0, 0, 0, []
    for token in range(tokens):
        begin = time.process_time()
        schedule = programs.schedule(past + token)
        cycles += simulate_native(schedule, machine).cycles
        seconds.append(time.process_time() - begin)
        bytes_ += moved(schedule)
        operations = len(schedule)
    dram, port = float(machine.memory_bytes_per_cycle), machine.dma.bytes_per_cycle
    rest = min(seconds[1:], default=seconds[0])
    print(f"{model:>11}{machine.name:>18}{operations:>12,}{cycles // tokens:>16,}{cycles * dram / bytes_:>9.3f}"
          f"{cycles * min(dram, port) / bytes_:>9.3f}{rest:>9.2f}", flush=True)  # fmt: skip


def in_pages(model: str, machine: ms.Machine, past: int) -> None:
    """A line for each number of sequences and size of a page."""
    for batch in BATCHES:
        for page in PAGES:
            programs = TokenPrograms(TransformerDecoder(transformer(model)), machine, past + 1, batch=batch, page=page)
            schedule = programs.schedule(past)
            cycles = simulate_native(schedule, machine).cycles
            print(f"{model:>11}{machine.name:>18}{batch:>7}{page or 'whole':>7}{len(schedule):>12,}{cycles:>16,}",
                  flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2)
    parser.add_argument("--machine", nargs="+", default=MACHINES)
    parser.add_argument("--model", nargs="+", default=tuple(PREFILLED), choices=tuple(PREFILLED))
    parser.add_argument("--pages", action="store_true")
    given = parser.parse_args()
    heads = ("model", "machine", *(("batch", "page", "operations", "cycles") if given.pages else
             ("operations", "cycles", "x DRAM", "x port", "seconds")))  # fmt: skip
    widths = (11, 18, 7, 7, 12, 16) if given.pages else (11, 18, 12, 16, 9, 9, 9)
    print("".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for model in given.model:
        for name in given.machine:
            machine, past = ms.Machine.load(name), PREFILLED[model]
            if given.pages:
                in_pages(model, machine, past)
            else:
                against_the_bound(model, machine, past, given.tokens)


if __name__ == "__main__":
    main()
