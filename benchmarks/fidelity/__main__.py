"""All ground-truth cases that the repo carries, replayed, with one line per file and predictor.

    python benchmarks/fidelity [--requests N]

The DRAM patterns are 65,536 requests and more; `--requests` replays only the first so many of each, which weighs their
beginnings more. Whole tables: arrays.py, scalesim.py, dma.py, dram.py, npu.py, gemmini.py and tpu.py in this folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that this folder runs as it is

import arrays
import dma
import dram
import gemmini
import npu
import scalesim
import tpu


def closing_lines(main: Callable[[], None], *options: str) -> list[str]:
    """The lines with which a script sums its table up."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        sys.argv = [main.__module__, *options]
        main()
    return [line for line in printed.getvalue().splitlines() if "mean error" in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, help="of each DRAM pattern (all)")
    requests = parser.parse_args().requests
    first = () if requests is None else ("--requests", str(requests))
    for title, script, options in (
        ("systolic arrays, cycles against RTL", arrays, ()),
        ("AlexNet and ResNet-18 in scalesim mode, cycles against SCALE-Sim itself", scalesim, ()),
        ("DMA reads, cycles against RTL", dma, ()),
        ("DRAM, bandwidth against DRAMsim3", dram, first),
        ("a whole small NPU, cycles against RTL", npu, ()),
        ("Gemmini, cycles of whole GEMMs against RTL", gemmini, ()),
        ("TPU v3, cycles of GEMMs against silicon: bf16 in HBM, then fp32", tpu, ()),
    ):
        print(title)
        for line in closing_lines(script.main, *options):
            print(f"  {line.strip()}")


if __name__ == "__main__":
    main()
