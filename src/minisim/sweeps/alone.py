"""How a point of a sweep is run alone: the words of `minisim run` that give its row once more."""

from __future__ import annotations

from typing import Any

from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.hwmodel.units import format_size
from minisim.sweeps.plan import Plan
from minisim.sweeps.specification import Model, Specification


def alone(plan: Plan) -> dict[str, Any]:
    """For the page of a sweep: of each model and machine, by what its rows call it, how it was typed; and the options
    of all points. What varies is added to them with --set."""
    return {
        "models": {label: _model(model) for label, model in plan.typed.items()},
        "configs": {base.label: source for base, source in zip(plan.bases, plan.specification.configs, strict=True)},
        "options": _options(plan.specification),
    }


def _model(model: Model) -> list[str]:
    typed = zip(("--dim", "--shape", "--value"), model.bindings(), strict=True)
    return [model.model, *(word for option, texts in typed for text in texts for word in (option, text))]


def _options(asked: Specification) -> list[str]:
    """Those that say what the sweep says; a key that is a parameter, too, has the parameter's value."""
    found = [word for key, value in asked.set.items() if key not in asked.param for word in ("--set", f"{key}={value}")]
    if asked.mapping:
        found += ["--mapping", asked.mapping]
    if not asked.numerics:
        found += ["--no-numerics"]
    elif asked.seed:
        found += ["--seed", str(asked.seed)]
    if asked.max_operations != MAX_OPERATIONS:
        found += ["--max-operations", str(asked.max_operations)]
    if asked.memory_limit != MEMORY_LIMIT:
        found += ["--memory-limit", format_size(asked.memory_limit)]
    return found
