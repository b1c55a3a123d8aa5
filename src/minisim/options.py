"""Options of the commands: those that several have, and those that say one thing together."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from minisim import completion
from minisim.compiler.arguments import Array
from minisim.compiler.frontend.bound import parse_values
from minisim.compiler.frontend.dims import Dims, parse_dims, parse_shapes
from minisim.compiler.graph import MOST_IN_A_PAGE
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.transformers import KV_TYPES
from minisim.errors import UsageError, did_you_mean, shown
from minisim.hwmodel.units import SIZE, format_size

F = TypeVar("F", bound=Callable[..., Any])


class Bindings(NamedTuple):
    """What a model file leaves open, as typed: --dim, --shape and --value."""

    dims: tuple[str, ...]
    shapes: tuple[str, ...]
    values: tuple[str, ...]

    def sizes(self) -> Dims:
        """Dimensions by name, and whole shapes, as `load_model` takes them."""
        sizes, whole = parse_dims(self.dims), parse_shapes(self.shapes)
        if both := sizes.keys() & whole.keys():
            raise UsageError(f"--shape: {shown(min(both))} is bound by --dim already")
        return {**sizes, **whole}

    def bound(self) -> dict[str, Array]:
        """The inputs that are known when the model is read."""
        return parse_values(self.values)


class Tokens(NamedTuple):
    """How much of which text goes through a model of tokens, and on which states."""

    prefill: int | None
    decode: int | None
    batch: int | None
    chunk: int | None
    window: int | None
    kv_page: int | None
    kv_type: str | None
    states: tuple[str, ...]


class Size(click.ParamType[int]):
    """A number of bytes as machine files write it: 4GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(SIZE.parse(value))
        except ValueError as e:
            self.fail(str(e), param, ctx)


class KvType(click.ParamType[str]):
    """What a transformer's cache keeps, by name."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in KV_TYPES:
            near = did_you_mean(value, KV_TYPES)
            raise UsageError(f"--kv-type: must be one of {', '.join(KV_TYPES)}, not {shown(value)}{near}")
        return str(value)


def together(name: str, kind: type[Bindings] | type[Tokens], *options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Options whose values a command gets as one argument, `name`; they are called as the fields of `kind`."""

    def add(command: F) -> Any:
        @wraps(command)
        def gathered(**given: Any) -> Any:
            fields = {field: given.pop(field) for field in kind._fields}
            return command(**given, **{name: kind(**fields)})

        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return add


def machine_options(command: F) -> F:
    """--config and --set, as `source` and `overrides`."""
    config = click.option(
        "--config",
        "source",
        default="npu_32x32",
        show_default=True,
        metavar="FILE|PRESET",
        shell_complete=completion.machines,
        help="The machine: a TOML file, or the name of a preset.",
    )
    override = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=completion.settings,
        help="Change one key, such as sram.bytes=128KiB. May be repeated.",
    )
    return config(override(command))


tokens = together(
    "tokens",
    Tokens,
    click.option(
        "--prefill",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="Tokens of a transformer such as llama:7b, or of an ONNX file of tokens.",
    ),
    click.option(
        "--decode",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="Then decode so many tokens, one by one, on a cache; writes decode.csv alone.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        metavar="SEQUENCES",
        help="With --decode, or --prefill of a file: so many sequences together.",
    ),
    click.option(
        "--chunk",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="With --decode: the prefill in programs of so many tokens.",
    ),
    click.option(
        "--window",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="A transformer's token sees so many at most, itself the last.",
    ),
    click.option(
        "--kv-page",
        type=click.IntRange(min=1, max=MOST_IN_A_PAGE),
        metavar="TOKENS",
        help="With --decode: the cache lies in pages of so many tokens, each anywhere in DRAM.",
    ),
    click.option(
        "--kv-type",
        type=KvType(),
        metavar="TYPE",
        help="With --decode: what a transformer's cache keeps: float, int8 (a scale for each token and head) or fp8.",
    ),
    click.option(
        "--state",
        "states",
        multiple=True,
        metavar="PAST=PRESENT",
        help="With --decode: an ONNX file's input of past rows, and the output of all rows, if they are "
        "not called past_key_values.0.key and present.0.key.",
    ),
)
bindings = together(
    "bindings",
    Bindings,
    click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=SIZE",
        help="Bind a dimension that an ONNX file leaves open, or a parameter of model(): seq=128. May be repeated.",
    ),
    click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="INPUT=SIZExSIZE",
        help="Bind all dimensions of an ONNX file's input: x=1x3x224x224. May be repeated.",
    ),
    click.option(
        "--value",
        "values",
        multiple=True,
        metavar="INPUT=NUMBER,NUMBER",
        help="Bind an ONNX file's input that is a shape, axes, pads or indices: shape=3,4.",
    ),
)
out = click.option(
    "--out",
    default="out",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the CSV files.",
)
no_numerics = click.option("--no-numerics", is_flag=True, help="Time only: do not compute the values.")
no_check = click.option("--no-check", is_flag=True, help="Compute the values, but do not compare them with numpy.")
check = click.option(
    "--check",
    "against",
    type=click.Choice(["onnxruntime", "torch"]),
    help="Also compare with ONNX Runtime, or with torch; exit code 3 if they deviate.",
)
check_borders = click.option(
    "--check-borders", is_flag=True, help="With --check: what passes between fused operations, too."
)
report_page = click.option(
    "--report", "report_page", is_flag=True, help="Also write an HTML page, one file that any browser shows."
)
jobs = click.option("--jobs", type=click.IntRange(min=1), help="Processes to work in.  [default: one per CPU]")


def params(command: F) -> F:
    """--param, --link and --where, as `params`, `links` and `where`."""
    param = click.option(
        "--param",
        "params",
        multiple=True,
        metavar="KEY=VALUE,VALUE,...",
        help="A dimension of the grid, such as sram.bytes=64KiB,128KiB, or a range: sram.bytes=64KiB:4MiB:x2, "
        "matrix.rows=8:32:+8. May be repeated.",
    )
    link = click.option("--link", "links", multiple=True, metavar="KEY,KEY", help="Parameters that vary together.")
    where = click.option(
        "--where",
        multiple=True,
        metavar="EXPRESSION",
        help="Keep the points for which it is true: 'matrix.rows * matrix.cols == 1024'; a search takes results, too: "
        "'energy <= 5mJ'. May be repeated.",
    )
    return param(link(where(command)))


ledger = click.option(
    "--ledger",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What is known of points, for several sweeps.  [default: ledger.sqlite in --out]",
)
cluster = click.option("--cluster", metavar="ADDRESS", help="Compute on the workers of this dask scheduler.")
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the inputs that are drawn.",
)
mapping = click.option(
    "--mapping", "mapping_file", metavar="FILE", help="Edges of tiles by layer, as explain --mapping --out writes them."
)
max_operations = click.option(
    "--max-operations",
    default=MAX_OPERATIONS,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Refuse a model that takes more operations.",
)
memory_limit = click.option(
    "--memory-limit",
    default=format_size(MEMORY_LIMIT),
    show_default=True,
    metavar="SIZE",
    type=Size(),
    help="Refuse a model whose values take more of this computer's memory.",
)
