"""Every model that needs no file on every machine that is shipped: that it runs, and how good its numbers are.

    python benchmarks/presets.py                        all of them, computed: networks and transformers as small copies
    python benchmarks/presets.py resnet18 llama:7b ...   some of them
    python benchmarks/presets.py --whole                 in their own sizes, timed alone; transformers: one layer
    python benchmarks/presets.py --preset tpu_v1         on some machines

A cell is the signal-to-noise ratio (dB) of the outputs against the float model in double precision: what the cast
costs, or the quantisation, which is calibrated on the very inputs that are computed; weights and inputs are drawn. With
--whole it is millions of cycles. What is refused is told below the table. The exit code is 1 if anything is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import minisim as ms
from minisim.compiler.transformers import TRANSFORMERS, Transformer
from minisim.compiler.zoo import NETWORKS
from minisim.hwmodel.config import presets

EXAMPLES = {path.name: str(path) for path in sorted(Path(__file__).parents[1].glob("examples/*.py"))}

SHAPES = {
    "gemm": ("gemm:64x64x64", "gemm:512x512x512"),
    "conv": ("conv:1x16x16x8,16x3x3,1,1", "conv:1x56x56x64,64x3x3,1,1"),
    "softmax": ("softmax:64x64", "softmax:512x512"),
    "layernorm": ("layernorm:64x64", "layernorm:512x512"),
    "attention": ("attention:2x64x32", "attention:12x128x64"),
}
"""Built-in shapes: a small one that is computed, and a larger one that is timed."""

LEAST = {"inception_v3": 96, "alexnet": 80}
"""The size of the images of a small copy, where it is not 32: the least for which some layers have something to do."""

OPERATIONS = 6_000_000
"""The most of one run: a 4x4 array takes a block of 4x4 MACs in each, and large networks are refused for it there."""


def specs(whole: bool) -> dict[str, str]:
    """By their names, what `ms.run` takes for all the models."""
    copies = {name: f"{name}:size={LEAST.get(name, 32)},width=0.125,classes=10" for name in NETWORKS}
    return {
        **EXAMPLES,
        **{name: sizes[whole] for name, sizes in SHAPES.items()},
        **{name: _transformer(model, whole) for name, model in TRANSFORMERS.items()},
        **({name: name for name in NETWORKS} if whole else copies),
    }


def _transformer(model: Transformer, whole: bool) -> str:
    """One layer of its own size; or a small copy of two, which has as many heads of keys for each of queries."""
    if whole:
        return f"{model.name},layers=1,prefill=128"
    vocab = 64 if model.vocab else 0
    kv_heads = max(1, 4 * model.kv_heads // model.heads)
    return f"{model.name},layers=2,hidden=64,heads=4,kv_heads={kv_heads},ffn=128,vocab={vocab},prefill=32"


def cell(spec: str, preset: str, whole: bool) -> str:
    """What the table says of one model on one machine.

    Raises:
        MinisimError: it does not run there.
    """
    result = ms.run(spec, preset, numerics=not whole, max_operations=OPERATIONS)
    return f"{result.cycles / 1e6:.2f}" if result.difference is None else f"{result.difference.sqnr_db:.0f}"


def table(names: Sequence[str], machines: Sequence[str], whole: bool) -> list[str]:
    """Print the table row by row; return what was refused."""
    known, refused = specs(whole), []
    wide = max(map(len, names))
    print(" " * wide, *(f"{machine:>16}" for machine in machines), f"{'s':>6}")
    for name in names:
        begun, cells = time.perf_counter(), []
        for machine in machines:
            try:
                cells.append(cell(known[name], machine, whole))
            except ms.MinisimError as e:
                cells.append("refused")
                refused.append(f"{name} on {machine}: {' '.join(str(e).split())}")
        print(f"{name:<{wide}}", *(f"{text:>16}" for text in cells), f"{time.perf_counter() - begun:>6.1f}", flush=True)
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models; all if none is named")
    parser.add_argument("--whole", action="store_true", help="models in their own sizes, timed alone")
    parser.add_argument("--preset", action="append", choices=presets(), help="a machine; all if none is named")
    args = parser.parse_args()
    known = specs(args.whole)
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"no model {unknown[0]} (there are {', '.join(known)})")
    refused = table(args.names or list(known), args.preset or presets(), args.whole)
    print(*refused, sep="\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
