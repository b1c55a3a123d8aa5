"""Compare two runs, machines or sweeps, whatever names them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from minisim.compiler.frontend import ModelLike
from minisim.errors import UsageError, did_you_mean, shown
from minisim.hwmodel.config import Machine, MachineLike, is_preset, presets
from minisim.run import Result, run

if TYPE_CHECKING:
    from minisim.reports.compare import Comparison
    from minisim.reports.compare_sweeps import SweepComparison
    from minisim.reports.side import Side

SUMMARY_FILE, SWEEP_FILE = "summary.csv", "sweep.csv"
"""What makes a folder that of a run, or of a sweep; either may be named itself."""

Compared: TypeAlias = "Result | MachineLike"


def compare(
    a: Compared, b: Compared, *, model: ModelLike | None = None, **options: Any
) -> Comparison | SweepComparison:
    """Compare `a` and `b`: where the cycles and the energy went.

    Args:
        a, b: each a Result, the folder of a run's reports or of a sweep's, or a machine: a Machine, the name of a
            preset, the path of a machine file, a mapping of keys. Two sweeps can be compared, or two of the others.
        model: what runs on sides that are machines; as the first argument of `run`.
        options: those of `run`, for these runs; without `numerics=True` they are timed alone.

    Raises:
        MinisimError: a side is none of these, its reports cannot be read, or a machine has no model.
    """
    kinds = kinds_of(a, b, model is not None)
    if kinds == ["sweep", "sweep"]:
        return compared_sweeps(a, b)
    from minisim.reports.compare import Comparison

    return Comparison(*(_side(side, kind, model, options) for side, kind in zip((a, b), kinds, strict=True)))


def kinds_of(a: Compared, b: Compared, with_model: bool) -> list[str]:
    """What the two sides are: result, run, sweep or machine each. Raises UsageError where these cannot be compared."""
    kinds = [_kind(side) for side in (a, b)]
    if kinds.count("sweep") == 1:
        raise UsageError(f"a sweep can be compared with a sweep, not with {shown(b if kinds[0] == 'sweep' else a)}")
    if "machine" in kinds and not with_model:
        machine = named(a if kinds[0] == "machine" else b)
        raise UsageError(f"{machine} is a machine: a comparison needs the model that runs on it (--model)")
    return kinds


def compared_sweeps(a: object, b: object) -> SweepComparison:
    """Two folders of sweeps, or two files sweep.csv."""
    from minisim.reports.compare_sweeps import Points, SweepComparison

    return SweepComparison(*(Points.read(_folder(side, SWEEP_FILE)) for side in (a, b)))


def read_run(side: object) -> Side:
    """A folder of a run's reports, or its summary.csv."""
    from minisim.reports.side import Side

    return Side.read(_folder(side, SUMMARY_FILE))


def _kind(side: Compared) -> str:
    if isinstance(side, Result):
        return "result"
    if not isinstance(side, str | PathLike) or is_preset(side):
        return "machine"
    path = Path(side)
    if path.name in (SUMMARY_FILE, SWEEP_FILE):
        return "run" if path.name == SUMMARY_FILE else "sweep"
    if not path.is_dir():
        if path.suffix != ".toml" and not path.exists():
            hint = did_you_mean(str(side), presets())
            raise UsageError(f"{shown(str(side))} is neither a folder of reports nor a machine file nor a preset{hint}")
        return "machine"
    found = [name for name in (SUMMARY_FILE, SWEEP_FILE) if (path / name).exists()]
    if len(found) == 2:
        raise UsageError(f"{path}: has a run and a sweep; name one: {path / SUMMARY_FILE} or {path / SWEEP_FILE}")
    if not found:
        raise UsageError(f"{path}: has neither {SUMMARY_FILE} of a run nor {SWEEP_FILE} of a sweep")
    return "run" if found == [SUMMARY_FILE] else "sweep"


def _folder(side: object, file: str) -> Path:
    """The folder of reports, of which a file may have been named."""
    path = Path(str(side))
    return path.parent if path.name == file else path


def _side(side: Any, kind: str, model: ModelLike | None, options: dict[str, Any]) -> Side:
    from minisim.reports.side import Side

    if kind == "run":
        return read_run(side)
    if kind == "result":
        return Side.of(side.record())
    assert model is not None
    machine = Machine.of(side)
    found = run(model, machine, **{"numerics": False, **options})
    return Side.of(found.record(), named(machine if side is None else side))


def named(machine: object) -> str:
    """A machine as the user named it; a Machine by its name."""
    if isinstance(machine, str | PathLike):
        return str(machine)
    return machine.name if isinstance(machine, Machine) else shown(machine)
