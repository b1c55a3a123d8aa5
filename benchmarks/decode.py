"""Tokens that are decoded, against the bytes that a token must read (docs/networks.md).

    python benchmarks/decode.py [--tokens 2] [--machine npu_32x32 ...] [--model gpt2:small ...]
    python benchmarks/decode.py --pages          a token behind caches in pages, for 1 to 16 sequences
    python benchmarks/decode.py --kv-types       a token behind caches of float, int8 and fp8, for 1 and 16 sequences
    python benchmarks/decode.py --kv-errors      the logits with such caches against those with floats, computed

The bound is weights and cache, each once, over the DRAM's bandwidth; or over the load port's, where that is less. Only
timed; seconds are of processor time, of each token but the first, for which edges of tiles are chosen.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import minisim as ms
from minisim.compiler.decoders import Text, TransformerDecoder
from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.transformers import KV_TYPES, transformer
from minisim.decode import decode
from minisim.hwmodel.isa import Opcode, Role, Schedule

MACHINES = ("npu_32x32", "tpu_like_128x128", "tpu_v3", "gemmini_16x16")
PREFILLED = {"gpt2:small": 512, "llama:7b": 2048}
"""Models, and the tokens before those that are decoded."""

PAGES, BATCHES = (0, 64, 16, 4), (1, 4, 16)

FEW, MANY = 1, 16
"""Sequences with which types of a cache are held against each other."""

COMPUTED = "gpt2:small,layers=4", "llama3:8b,layers=2,hidden=1024,heads=16,kv_heads=4,ffn=2816,vocab=4096"
"""Models whose values are computed, and the text: so many tokens at once, and so many one by one."""

TEXT = Text(120, 8)


def moved(schedule: Schedule, loaded: tuple[Role, ...] = (Role.WEIGHT, Role.STATE)) -> int:
    """Bytes of weights and cache that are loaded, and of the cache that are stored."""
    stream, tiles = schedule.stream, schedule.transfers["tile"]
    roles = schedule.tensors["role"][schedule.tensors["storage"][schedule.tiles["tensor"]]]
    found, sizes = 0, schedule.tile_bytes()
    for opcode, wanted in ((Opcode.LOAD, loaded), (Opcode.STORE, (Role.STATE,))):
        of = np.unique(tiles[stream["row"][stream["opcode"] == opcode]])
        found += int(sizes[of[np.isin(roles[of], wanted)]].sum())
    return found


def against_the_bound(model: str, machine: ms.Machine, past: int, tokens: int) -> None:
    """A line for a model on a machine: of the tokens together."""
    programs = TokenPrograms(TransformerDecoder(transformer(model)), machine, past + tokens)
    cycles, bytes_, operations, seconds = 0, 0, 0, []
    for token in range(tokens):
        begin = time.process_time()
        schedule, taken = programs.timed(past + token)
        cycles += taken
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
            schedule, cycles = programs.timed(past)
            print(f"{model:>11}{machine.name:>18}{batch:>7}{page or 'whole':>7}{len(schedule):>12,}{cycles:>16,}",
                  flush=True)  # fmt: skip


def of_types(model: str, machine: ms.Machine, past: int) -> None:
    """A line for each number of sequences and type of the cache."""
    hertz, dram = float(machine.clock.frequency), float(machine.memory_bytes_per_cycle)
    for batch in (FEW, MANY):
        floats = 0.0
        for kv_type in KV_TYPES:
            decoder = TransformerDecoder(transformer(f"{model},kv_type={kv_type}"))
            schedule, cycles = TokenPrograms(decoder, machine, past + 1, batch=batch).timed(past)
            rate = batch * hertz / cycles
            floats = floats or rate
            cache = moved(schedule, (Role.STATE,))
            print(f"{model:>11}{machine.name:>18}{batch:>7}{kv_type:>7}{len(schedule):>12,}{cycles:>16,}{rate:>10.2f}"
                  f"{rate / floats:>8.3f}{cache / 1e6:>10.2f}{cycles * dram / moved(schedule):>9.3f}",
                  flush=True)  # fmt: skip


def errors(model: str, machine: ms.Machine) -> None:
    """A line for each type: how far the logits of the decoded tokens are from those with a cache of floats."""
    truth = np.zeros(0)
    for kv_type in KV_TYPES:
        decoder = TransformerDecoder(transformer(f"{model},kv_type={kv_type}"))
        found = decode(decoder, machine, TEXT, check=False)
        logits = np.stack([each.ravel() for each in found.outputs[-TEXT.tokens :]]).astype(np.float64)
        truth = truth if len(truth) else logits
        apart = float(np.linalg.norm(logits - truth) / np.linalg.norm(truth))
        alike = int((logits.argmax(axis=1) == truth.argmax(axis=1)).sum())
        print(
            f"{model.split(',')[0]:>11}{machine.name:>18}{kv_type:>7}{apart:>12.2e}{alike:>6} of {len(logits)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2)
    parser.add_argument("--machine", nargs="+", default=MACHINES)
    parser.add_argument("--model", nargs="+", default=tuple(PREFILLED), choices=tuple(PREFILLED))
    for option in ("--pages", "--kv-types", "--kv-errors"):
        parser.add_argument(option, action="store_true")
    given = parser.parse_args()
    heads: tuple[tuple[str, int], ...] = (("model", 11), ("machine", 18))
    if given.kv_errors:
        heads += (("cache", 7), ("error", 12), ("same word", 11))
    elif given.kv_types:
        heads += (("batch", 7), ("cache", 7), ("operations", 12), ("cycles", 16), ("tokens/s", 10), ("x float", 8),
                  ("KV MB", 10), ("x DRAM", 9))  # fmt: skip
    elif given.pages:
        heads += (("batch", 7), ("page", 7), ("operations", 12), ("cycles", 16))
    else:
        heads += (("operations", 12), ("cycles", 16), ("x DRAM", 9), ("x port", 9), ("seconds", 9))
    print("".join(f"{head:>{width}}" for head, width in heads))
    for model in COMPUTED if given.kv_errors else given.model:
        for name in given.machine:
            machine = ms.Machine.load(name)
            if given.kv_errors:
                errors(model, machine)
            elif given.kv_types:
                of_types(model, machine, PREFILLED[model])
            elif given.pages:
                in_pages(model, machine, PREFILLED[model])
            else:
                against_the_bound(model, machine, PREFILLED[model], given.tokens)


if __name__ == "__main__":
    main()
