"""All ground-truth cases that the repo carries, replayed: one line per file and predictor, or every case.

    python benchmarks/fidelity [--cases] [--requests N]

The DRAM patterns are 65,536 requests and more; `--requests` replays only the first so many of each, which weighs their
beginnings more. Whole tables: arrays.py, scalesim.py, dma.py, dram.py, npu.py, gemmini.py, tpu.py and tpu_v1.py in this
folder.
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
import convolutions
import dma
import dram
import gemmini
import npu
import scalesim
import tpu


def printed_lines(main: Callable[[], None], *options: str) -> list[str]:
    """What a script prints: a line a case, then those that sum them up."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        sys.argv = [main.__module__, *options]
        main()
    return printed.getvalue().splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, help="of each DRAM pattern (all)")
    parser.add_argument("--cases", action="store_true", help="every case: truth, ours, error and the baselines")
    args = parser.parse_args()
    first = () if args.requests is None else ("--requests", str(args.requests))
    for title, script, options in (
        ("systolic arrays, cycles against RTL", arrays, ()),
        ("AlexNet and ResNet-18 in scalesim mode, cycles against SCALE-Sim itself", scalesim, ()),
        ("DMA reads, cycles against RTL", dma, ()),
        ("DRAM, bandwidth against DRAMsim3", dram, first),
        ("a whole small NPU, cycles against RTL", npu, ()),
        ("Gemmini, cycles of whole GEMMs against RTL", gemmini, ()),
        (
            "convolutions on NVDLA nv_small, then on machines of cgra4ml, cycles against RTL: no claim yet",
            convolutions,
            (),
        ),
        ("TPU v3, cycles of GEMMs against silicon: bf16 in HBM, then fp32", tpu, ()),
        ("TPU v3, cycles of softmax and layer norm against silicon: bf16 in HBM, then fp32", tpu, ("--rows",)),
    ):
        print(title)
        for line in printed_lines(script.main, *options):
            if args.cases or "mean error" in line:
                print(f"  {line.strip()}")


if __name__ == "__main__":
    main()
