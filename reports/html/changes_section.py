"""What if: other machines by what they gain, each with the command that runs the model on it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minisim.reports.html.folder import RunFolder
from minisim.reports.html.words import times, whole, width

WORTH = 1.01
"""Times as fast, from which a change is worth a line at once."""


@dataclass(frozen=True)
class Change:
    """One changed machine.

    Attributes:
        gain: how many times as fast, in words; "" if it was not simulated, and `reason` says why.
        width: of a bar, beside the one that gains most.
        worth: it gains at least 1 %.
    """

    name: str
    settings: str
    cycles: str
    gain: str
    width: str
    worth: bool
    reason: str
    command: str


def changes(run: RunFolder) -> list[Change]:
    """Those that were simulated by gain, then the others."""
    told = run.file["what_if"]
    ran = sorted((each for each in told if each[2]), key=lambda each: each[2])
    fastest = run.cycles / ran[0][2] if ran else 1.0
    ordered = (*ran, *(each for each in told if not each[2]))
    return [_change(run, name, settings, cycles, reason, fastest) for name, settings, cycles, reason in ordered]


def _change(run: RunFolder, name: str, settings: Mapping[str, str], cycles: int | None, reason: str,
            fastest: float) -> Change:  # fmt: skip
    texts = [f"{key}={value}" for key, value in settings.items()]
    command = command_with(run.file["command"], texts)
    if not cycles:
        return Change(name, " ".join(texts), "", "", "0%", False, reason, command)
    gain = run.cycles / cycles
    share = max(0.0, gain - 1) / (fastest - 1) if fastest > 1 else 0.0
    return Change(name, " ".join(texts), whole(cycles), times(gain), width(share), gain >= WORTH, "", command)


def command_with(command: Sequence[str], settings: Sequence[str]) -> str:
    """The command that runs the same on a changed machine, into a folder beside; of a run without one its options."""
    if not command:
        return " ".join(f"--set {shlex.quote(text)}" for text in settings)
    out = next((command[i + 1] for i, word in enumerate(command[:-1]) if word == "--out"), "out")
    beside = "-".join([out, *(text.replace("/", "_") for text in settings)])
    sets = [word for text in settings for word in ("--set", text)]
    return shlex.join([*command, *sets, "--out", beside])
