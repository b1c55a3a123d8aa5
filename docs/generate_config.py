"""Write docs/config.md, the reference of all keys of a machine file, from the field descriptions.

python docs/generate_config.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from minisim.hwmodel.config import Machine, keys
from minisim.hwmodel.reference import range_of

HEAD = """\
# The machine file

<!-- Written by docs/generate_config.py from the fields in hwmodel/sections.py. Do not edit. -->

A machine is a TOML file. Every key may be left out: the defaults are those of the preset `npu_32x32`.
`minisim config show` prints a complete machine, with `--commented` as a file to start from that says of each key what
stands here; `minisim config check FILE` checks one, `--set KEY=VALUE` changes one key of any command, and
`minisim sweep --param KEY=VALUE,VALUE` tries several. A key that has no effect on the machine at hand is told.

- A size is a number of bytes, or a text with its unit: `"256KiB"` (1024s), `"256kB"` (1000s).
- A rate, a frequency and a time are texts with their unit: `"25.6GB/s"`, `"400MHz"`, `"60ns"`. They are
  exact: no rounding happens before they become whole cycles, upwards.
- An energy and a power are texts too: `"4.6pJ"`, `"50mW"`. An energy is a whole number of femtojoules.
- [H] is M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9:
  45 nm at 0.9 V.
- An edge of `[tile]` that is not written follows the array, whatever other keys say of it (`config show` has the
  number in force, as a comment):

  | `matrix.dataflow` | along the rows | along the columns | streamed |
  |---|---|---|---|
  | `"ws"` | `k` = rows x packed | `n` = arrays x cols | `m` |
  | `"os"` | `m` = rows | `n` = arrays x cols | `k` |
  | `"is"` | `k` = rows x packed | `m` = arrays x cols | `n` |

  The streamed edge is the longer side of the arrays, max(rows, arrays x cols): so long a stream hides the shifting in
  of what stays in the array. `packed` is the rate of `matrix.dtype` where that is above 1. Under
  `matrix.model = "scalesim"` a matmul's edges that are not written are those of its layer, however long; where the
  SRAM cannot hold it, it is cut at borders of folds, which leaves the sum of their cycles as it is.
- Unknown keys are refused, and all mistakes of a file are reported at once.
"""


def page() -> str:
    """The text of docs/config.md."""
    parts = [HEAD]
    section = None
    for key, field in keys().items():
        if (found := key.rpartition(".")[0]) != section:
            section = found
            parts.append(_table_head(section))
        parts.append(_row(key.rpartition(".")[2], field))
    return "\n".join(parts) + "\n"


def _table_head(section: str) -> str:
    title = f"`[{section}]`" if section else "At the top"
    return f"\n## {title}\n\n| key | default | range | meaning |\n|---|---|---|---|"


def _row(name: str, field: Any) -> str:
    return f"| `{name}` | `{_default(field)}` | {_range(field)} | {field.description} |"


def _default(field: Any) -> str:
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f'"{field.default}"' if isinstance(field.default, str) else str(field.default)


def _range(field: Any) -> str:
    text = range_of(field)
    values = re.findall(r'"[^"]*"|true|false', text)
    return ", ".join(f"`{value}`" for value in values) or text


if __name__ == "__main__":
    assert Machine() == Machine.load("npu_32x32")  # what the page says of the defaults
    (Path(__file__).parent / "config.md").write_text(page(), encoding="utf-8")
