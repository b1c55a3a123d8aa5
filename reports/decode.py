"""Decoding in a table: decode.csv, a row for each program, and on the terminal prefill and tokens apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from minisim.hwmodel.config import Machine
from minisim.reports.columns import Column, fitting, table_of
from minisim.reports.html import DECODE_PAGE, write_pages
from minisim.reports.run_file.header import write_header
from minisim.reports.write import output_set, write_csv

FILE, EXPERTS, HEADER = "decode.csv", "experts.csv", "decode.json"

SHOWN = 8
"""Tokens that the terminal shows, the first and the last of them."""

PREFILL, DECODE = "prefill", "decode"
"""The phases."""


Taken = tuple[int, int, int, tuple[int, ...]]
"""The position of a token, its sequence, a layer, and the experts that it takes there."""


@dataclass(frozen=True)
class Step:
    """One program: the prefill, or a token.

    Attributes:
        position: the number of its last token, from 1; `tokens`: how many it has.
        weight_bytes: of all weights that it reads, each once.
        kv_read_bytes, kv_written_bytes: of the cache; `kv_transfers`: loads and stores of it.
        dram_bytes: all that is loaded and stored, whatever it is.
        bound: cycles in which the DRAM moves the weights and the cache's bytes, and nothing else.
        operations: of its schedule.
        wall_s: seconds that it took to compile and simulate.
        taken: of a model with experts, which ones: position, sequence, layer, and numbers of experts, of each token.
        routing: and by what they were drawn.
    """

    phase: str
    position: int
    tokens: int
    cycles: int
    weight_bytes: int
    kv_read_bytes: int
    kv_written_bytes: int
    kv_transfers: int
    dram_bytes: int
    bound: float
    operations: int
    wall_s: float
    taken: tuple[Taken, ...] = ()
    routing: str = ""

    @property
    def experts(self) -> int:
        """The experts that are read, each layer's for itself."""
        return len({(layer, number) for _, _, layer, numbers in self.taken for number in numbers})


def decode_table(steps: Sequence[Step], machine: Machine) -> pd.DataFrame:
    """A row for each program; docs/reports.md explains the columns."""
    hertz = float(machine.clock.frequency)
    return pd.DataFrame(
        [
            {
                "phase": step.phase,
                "position": step.position,
                "tokens": step.tokens,
                "cycles": step.cycles,
                "time_us": step.cycles / hertz * 1e6,
                "tokens_per_s": step.tokens * hertz / step.cycles,
                "weight_bytes": step.weight_bytes,
                "kv_read_bytes": step.kv_read_bytes,
                "kv_written_bytes": step.kv_written_bytes,
                "kv_transfers": step.kv_transfers,
                "dram_bytes": step.dram_bytes,
                "bound_cycles": step.bound,
                "cycles_over_bound": step.cycles / step.bound,
                "operations": step.operations,
                "experts_read": step.experts,
                "routing": step.routing,
                "wall_s": step.wall_s,
            }
            for step in steps
        ]
    )


def write_decode(
    steps: Sequence[Step],
    machine: Machine,
    out: str | Path,
    *,
    model: str = "",
    command: Sequence[str] = (),
    page: bool = False,
) -> list[Path]:
    """Write decode.csv into the folder `out`, decode.json with what its page needs beside it, and of a model with
    experts experts.csv, a row for a token in a layer.

    Args:
        model, command: what was decoded, and by which words typed.
        page: also decode.html.

    Returns:
        the paths of decode.csv and, if it was asked for, the page.
    """
    taken = [row for step in steps for row in step.taken]
    with output_set(out, last=FILE, optional=[EXPERTS, DECODE_PAGE]) as folder:
        write_csv(decode_table(steps, machine), folder / FILE)
        write_header(folder / HEADER, model=model, machine=machine, command=command)
        if taken:
            write_csv(_experts_table(taken), folder / EXPERTS)
        if page:
            write_pages(folder, own=True)
    return [Path(out) / name for name in (FILE, DECODE_PAGE)[: 1 + page]]


def _experts_table(taken: Iterable[Taken]) -> pd.DataFrame:
    rows = [(position, sequence, layer, " ".join(map(str, numbers))) for position, sequence, layer, numbers in taken]
    return pd.DataFrame(rows, columns=["position", "sequence", "layer", "experts"])


def print_decode(name: str, steps: Sequence[Step], machine: Machine, console: Console) -> None:
    """Print what the prefill took, some of the tokens, and all of them together."""
    table = decode_table(steps, machine)
    decoded = table[table["phase"] == DECODE]
    console.print(f"\n{name} on {machine.name}", highlight=False)
    half = SHOWN // 2
    shown = table if len(table) <= SHOWN + 1 else pd.concat([table.iloc[: 1 + half], table.iloc[-half:]])
    columns = [
        Column("", shown["phase"].tolist(), left=True),
        Column("token", [f"{x:,}" for x in shown["position"]]),
        Column("cycles", [f"{x:,}" for x in shown["cycles"]]),
        Column("ms", [f"{x / 1e3:,.3f}" for x in shown["time_us"]]),
        Column("tokens/s", [f"{x:,.2f}" for x in shown["tokens_per_s"]]),
        Column("weights MB", [f"{x / 1e6:,.2f}" for x in shown["weight_bytes"]], drop=1),
        Column("KV MB", [f"{(a + b) / 1e6:,.3f}" for a, b in
                         zip(shown["kv_read_bytes"], shown["kv_written_bytes"], strict=True)], drop=2),
        Column("x bound", [f"{x:.3f}" for x in shown["cycles_over_bound"]]),
    ]  # fmt: skip
    console.print(table_of(fitting(columns, console.width)), highlight=False)
    if len(decoded):
        cycles, count = int(decoded["cycles"].sum()), int(decoded["tokens"].sum())
        rate = count * float(machine.clock.frequency) / cycles
        over = cycles / float(decoded["bound_cycles"].sum())
        console.print(
            f"{count} tokens decoded in {cycles:,} cycles: {rate:,.2f} tokens/s, {over:.3f} x what weights and cache "
            "take of the DRAM",
            highlight=False,
        )
    console.print(f"took {table['wall_s'].sum():.1f} s", highlight=False)
