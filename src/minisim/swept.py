"""A sweep from Python: a model on every machine of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minisim.compiler.dtypes import NAME
from minisim.compiler.frontend import ModelLike, as_graph
from minisim.errors import UsageError, shown, truth
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.config import keys as machine_keys
from minisim.sweep import grid, parse_param
from minisim.sweep import sweep as sweep_points

if TYPE_CHECKING:
    from minisim.reports.sweep_frame import Sweep


def sweep(
    model: ModelLike,
    machine: MachineLike = None,
    *params: str,
    numerics: bool = False,
    jobs: int = 1,
    **keys: Sequence[object],
) -> Sweep:
    """Time `model` on every machine that differs from `machine` in the values of some keys.

    Args:
        model, machine: as for `run`.
        params: keys with their values, as `--param` takes them: ``ms.sweep("resnet18", "edge_8x8",
            "sram.bytes=64KiB,256KiB")``.
        keys: the same by name, with _ for the dot: ``sram_bytes=["64KiB", "256KiB"], vector_lanes=[8, 16]``.
        numerics: also compute.
        jobs: processes. A script that asks for several has its own work below ``if __name__ == "__main__":``, as
            Python's processes need.

    Raises:
        MinisimError: a key or a value is none, or the model cannot be read. What one point cannot do is its status.
    """
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise UsageError(f"jobs must be a whole number from 1 on, not {shown(jobs)}")
    machine, numerics = Machine.of(machine), truth("numerics", numerics)
    found = [parse_param(_typed(text)) for text in params]
    names = {key.replace(".", "_"): key for key in machine_keys()}
    found += [parse_param(f"{names.get(name, name)}={_joined(name, values)}") for name, values in keys.items()]
    if not found:
        raise UsageError("a sweep needs a parameter, such as sram_bytes=['64KiB', '256KiB']")
    varies = any(name == "matrix.dtype" for name, _ in found)  # then one float model for all types
    graph = as_graph(model, "float32" if varies else NAME[machine.dtype], numerics)
    rows = sweep_points(graph, grid(machine, found), numerics=numerics, jobs=jobs)
    from minisim.reports.sweep_frame import Sweep

    return Sweep(graph.name, rows)


def _typed(text: object) -> str:
    if not isinstance(text, str):
        raise UsageError(f"a parameter must be a text such as 'sram.bytes=64KiB,256KiB', not {shown(text)}")
    return text


def _joined(name: str, values: object) -> str:
    """Values as they would be typed."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise UsageError(f"{name}: must be a list of values, such as ['64KiB', '256KiB'], not {shown(values)}")
    return ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
