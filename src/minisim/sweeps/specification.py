"""What a sweep is asked: a file, sweep.toml, or the options of a command that say the same.

    models = ["resnet50", "bert:base,layers=6"]     # as `minisim run` takes them; or tables: model, dim, shape, value
    configs = ["npu_32x32", "edge_8x8"]             # machines that the parameters change
    effort = 0                                      # compiler.effort; a list is a parameter
    numerics = false                                # time only
    where = ["matrix.rows * matrix.cols == 1024"]   # which points are kept
    link = [["dma.bytes_per_cycle", "dram.bandwidth"]]  # keys that vary together

    [set]                                           # keys that are the same for all points
    "dram.latency" = "80ns"

    [param]                                         # keys that vary, the last one fastest
    "sram.bytes" = "64KiB:8MiB:x2"
    "matrix.rows" = [8, 16, 32]

Further keys: mapping (a file of `minisim explain --mapping --out`), seed (of drawn inputs), max_operations,
memory_limit. A file is looked for where the sweep's file lies.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_validator

from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.errors import UsageError, did_you_mean, shortened, shown
from minisim.hwmodel.units import SIZE
from minisim.options import Bindings
from minisim.sweeps.constraints import Constraint
from minisim.sweeps.ranges import expanded

MOST_CHARACTERS = 10**6
"""Of a file: more is another one."""

EFFORT = "compiler.effort"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _name(value: object) -> str:
    """A text, also one that stands for bytes of a file's name, which pydantic's are not."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    return value


Name = Annotated[str, PlainValidator(_name)]


class Model(_Table):
    """A model, and what it leaves open, as the options of `minisim run` bind it."""

    model: Name = Field(description="a text that names a model")
    dim: dict[str, int] = Field(default={}, description="a table of dimensions and sizes")
    shape: dict[str, str] = Field(default={}, description="a table of inputs and shapes such as '1x3x224x224'")
    value: dict[str, str] = Field(default={}, description="a table of inputs and numbers such as '3,4'")

    def bindings(self) -> Bindings:
        """What is bound, as typed on a command line."""
        options = (tuple(f"{k}={v}" for k, v in each.items()) for each in (self.dim, self.shape, self.value))
        return Bindings(*options)


class Specification(_Table):
    """A sweep. Values of parameters are texts, as a machine file has them; ranges are their values."""

    models: tuple[Model, ...] = Field(min_length=1, description="a list of models: texts, or tables with the key model")
    configs: tuple[Name, ...] = Field(
        default=("npu_32x32",), min_length=1, description="a list of machine files or presets"
    )
    set: dict[str, str] = Field(default={}, description="a table of keys and values")
    param: dict[str, tuple[str, ...]] = Field(default={}, description="a table of keys and lists of values, or ranges")
    link: tuple[tuple[str, ...], ...] = Field(default=(), description="a list of lists of parameters")
    where: tuple[str, ...] = Field(default=(), description="a list of expressions")
    mapping: Name | None = Field(default=None, description="a text that names a file")
    numerics: bool = Field(default=True, description="true or false")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="a whole number from 0 to 4294967295")
    max_operations: int = Field(default=MAX_OPERATIONS, ge=1, description="a whole number above 0")
    memory_limit: int = Field(default=MEMORY_LIMIT, ge=0, description="a size such as '4GiB'")
    place: str = Field(default="--param", exclude=False, description="where it was written, for messages")

    @field_validator("models", mode="before")
    @classmethod
    def _models(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list | tuple):
            return value
        return tuple({"model": each} if isinstance(each, str) else each for each in value)

    @field_validator("configs", "where", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else _tuple(value)

    @field_validator("link", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        one = value and all(isinstance(each, str) for each in value)
        return (tuple(value),) if one else tuple(_tuple(each) for each in value)

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return int(SIZE.parse(value)) if isinstance(value, str) else value

    @field_validator("set", mode="before")
    @classmethod
    def _set(cls, value: Any) -> Any:
        return {key: _text(each) for key, each in _flattened(value)} if isinstance(value, Mapping) else value

    @field_validator("param", mode="before")
    @classmethod
    def _param(cls, value: Any) -> Any:
        return {key: _values(each) for key, each in _flattened(value)} if isinstance(value, Mapping) else value

    # -- reading -------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path) -> Specification:
        """Read a file.

        Raises:
            UsageError: with every mistake of the file.
        """
        try:
            if path.is_dir():
                raise UsageError(f"{path}: must be a file, not a folder")
            with path.open(encoding="utf-8") as file:
                text = file.read(MOST_CHARACTERS + 1)
        except FileNotFoundError:
            near = did_you_mean(path.name, (each.name for each in path.parent.glob("*.toml")))
            raise UsageError(f"{path}: there is no such file{near}") from None
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"{path}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from None
        if len(text) > MOST_CHARACTERS:
            raise UsageError(f"{path}: is too long for a sweep")
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as e:
            raise UsageError(f"{path}: not valid TOML: {e}") from None
        return cls.check(data, str(path)).located(path.parent)

    @classmethod
    def check(cls, data: Mapping[str, Any], place: str) -> Specification:
        """Validate what a file says.

        Raises:
            UsageError: with every mistake.
        """
        if "place" in data:  # ours, for messages
            raise UsageError(f"{place}: place: unknown key")
        data = dict(data)
        effort = data.pop("effort", None)
        try:
            found = cls.model_validate({**data, "place": place})
        except ValidationError as e:
            raise UsageError(mistakes(e, place)) from None
        return found._with_effort(effort).expanded()

    def _with_effort(self, effort: Any) -> Specification:
        if effort is None:
            return self
        if EFFORT in self.set or EFFORT in self.param:
            raise UsageError(f"{self.place}: effort: given twice, also as {EFFORT}")
        efforts = effort if isinstance(effort, list) and effort else [effort]
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in efforts):
            raise UsageError(f"{self.place}: effort: must be a whole number, or a list of them, not {shown(effort)}")
        if isinstance(effort, list):
            return self.model_copy(update={"param": {EFFORT: tuple(map(str, efforts)), **self.param}})
        return self.model_copy(update={"set": {**self.set, EFFORT: str(effort)}})

    def expanded(self) -> Specification:
        """The same with the values of ranges, and constraints that were read.

        Raises:
            UsageError: a range or a constraint is none, or a key is given twice.
        """
        option = self.place if self.place == "--param" else f"{self.place}: param:"
        param = {}
        for key, values in self.param.items():
            if not values or not all(values):
                raise UsageError(f"{option} {key}: must have values, none of them empty")
            param[key] = tuple(expanded(key, list(values), option))
        if (both := sorted(self.set.keys() & param.keys())) and self.place != "--param":
            raise UsageError(f"{self.place}: set: {both[0]} is a parameter, too")
        self.constraints()
        return self.model_copy(update={"param": param})

    def located(self, folder: Path) -> Specification:
        """The same with the whole paths of the files that lie below `folder`."""

        def found(name: str) -> str:
            try:
                return str((folder / name).resolve()) if (folder / name).is_file() else name
            except (OSError, ValueError):
                return name

        models = tuple(each.model_copy(update={"model": found(each.model)}) for each in self.models)
        mapping = self.mapping and str((folder / self.mapping).resolve())
        return self.model_copy(
            update={"models": models, "configs": tuple(map(found, self.configs)), "mapping": mapping}
        )

    # -- as it is used ---------------------------------------------------------------------------------------------

    @property
    def overrides(self) -> list[str]:
        """What is the same for all points, as --set has it."""
        return [f"{key}={value}" for key, value in self.set.items()]

    def constraints(self, on_results: bool = False) -> list[Constraint]:
        """Those on machines, by which points are kept; or those on results. Raises as `Constraint.parse` does."""
        place = "--where" if self.place == "--param" else f"{self.place}: where:"
        found = [Constraint.parse(text, place) for text in self.where]
        return [constraint for constraint in found if bool(constraint.results) == on_results]

    def text(self) -> str:
        """As it lies in a ledger."""
        return json.dumps(self.model_dump())

    @classmethod
    def of_text(cls, text: str) -> Specification:
        """What `text` wrote.

        Raises:
            ValueError: it did not.
        """
        return cls.model_validate(_tuples(json.loads(text)))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _tuples(value: Any) -> Any:
    """`value` with tuples for lists, which JSON has instead."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(each) for key, each in value.items()} if isinstance(value, dict) else value


def _flattened(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots are tables in TOML, unless they stand in quotes: either is a key."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: Any) -> Any:
    """A value of a machine's key as it is typed in a command; what is none stays what it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _values(value: Any) -> Any:
    """The values of a parameter: a list, or a text as --param has it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(map(_text, value if isinstance(value, list | tuple) else [value]))


def mistakes(e: ValidationError, place: str) -> str:
    """A line for each mistake of what was asked in this place."""
    errors = e.errors()
    inner = {part for each in errors for part in each["loc"][:-1]}  # what is left of a list is none of its own
    told = [each for each in errors if each["type"] != "too_short" or each["loc"][-1] not in inner]
    return "\n".join(dict.fromkeys(f"{place}: {_mistake(each)}" for each in told))


def _mistake(error: Any) -> str:
    """A mistake of a file in a line: key, rule, value, nearest valid name."""
    location: Sequence[int | str] = error["loc"]
    table: type[_Table] = Model if location[0] == "models" and len(location) > 2 else Specification
    name = next((str(part) for part in reversed(location) if isinstance(part, str)), "")
    path = ".".join(str(part) for part in location)
    if location[0] in ("set", "param"):
        name, path = str(location[0]), ".".join(str(part) for part in location[:2])
    if error["type"] == "extra_forbidden":
        return f"{shortened(path)}: unknown key{_near(name, table)}"
    if error["type"] == "missing":
        return f"{path}: must be given, {table.model_fields[name].description}"
    field = table.model_fields.get(name)
    rule = field.description if field else "a table with the key model"
    return f"{shortened(path)}: must be {rule}, not {shown(error['input'])}"


def _near(name: str, table: type[_Table]) -> str:
    known = {"model": "models", "config": "configs", "params": "param", "constraints": "where", "linked": "link"}
    if table is Specification and name in known:
        return f"; did you mean {known[name]!r}?"
    return did_you_mean(name, [*(each for each in table.model_fields if each != "place"), "effort"])
