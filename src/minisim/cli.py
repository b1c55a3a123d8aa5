"""The command line: ``minisim run``, ``explain``, ``sweep``, ``compare``, ``report``, ``models`` and ``config``.

A user's mistake is one clear message on standard error and exit code 2, never a traceback. The other exit codes: 1, a
schedule hazard; 3, outputs that deviate from ONNX Runtime's (--check); 70, a bug in minisim, with a report to file; 71,
out of memory; 130, interrupted; 143 and 129, told to end; 141, nobody reads the output any more.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from minisim import __version__, options
from minisim.boundary import report, users_line, write_report
from minisim.commands import check_folder, keep_arguments, tell_without_effect, typed_command
from minisim.compare_command import compare_command
from minisim.compiler.dtypes import NAME
from minisim.compiler.example_inputs import example_inputs, index_inputs
from minisim.compiler.frontend import load_model, torch_model
from minisim.compiler.graph import Graph
from minisim.compiler.lookups import lookups
from minisim.compiler.mapping import Edges, mapping_text, read_mapping
from minisim.compiler.ops.move import movements
from minisim.compiler.passes.base import IR
from minisim.compiler.passes.pack import is_blocked, stored
from minisim.compiler.pipeline import computed_graph, dump_to
from minisim.compiler.quantising import in_floats
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.transformers import is_transformer
from minisim.completion import VARIABLE, completion_command, models
from minisim.errors import (
    InternalError,
    MinisimError,
    MissingExtraError,
    ModelError,
    ScheduleHazard,
    UsageError,
    described,
    printable,
    shown,
)
from minisim.hwmodel import reference
from minisim.hwmodel.config import Machine, keys, presets
from minisim.hwmodel.isa import DType
from minisim.hwmodel.timing import TIMING_CORES
from minisim.onnx_check import OnnxCheck, check_onnxruntime
from minisim.options import Bindings, Tokens
from minisim.progress import SlowProgress
from minisim.report_command import report_command, told_what_ifs
from minisim.run import run
from minisim.search_command import search_command
from minisim.stopped import stops_told
from minisim.streams import ReaderGone, safe_streams
from minisim.sweep_command import sweep_command
from minisim.torch_check import compared

F = TypeVar("F", bound=Callable[..., Any])


class _Main(click.Group):
    """The group of commands, inside the command line's boundary."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if VARIABLE in os.environ:  # a shell asks what it may propose: click answers, in bytes
            return super().main(*args, **kwargs)
        with told(), stops_told(), safe_streams():
            return super().main(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        keep_arguments(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with told(ctx), stops_told():
            return super().invoke(ctx)


HAZARD, MISTAKE, DEVIATES, BUG, READER_GONE = 1, 2, 3, 70, 141
"""Exit codes: the schedule is wrong; the user's mistake (click's is the same); outputs that are not ONNX Runtime's;
sysexits' EX_SOFTWARE; and what a program has that dies of SIGPIPE."""


@contextmanager
def told(ctx: click.Context | None = None) -> Iterator[None]:
    """The command line's boundary: whatever leaves it is a message on standard error and an exit code."""
    try:
        yield
    except ReaderGone:
        sys.exit(READER_GONE)
    except ScheduleHazard as e:  # not the user's mistake: the compiler's, or of a schedule made by hand
        _tell("schedule hazard", e)
        sys.exit(HAZARD)
    except MinisimError as e:
        _tell("error", e)
        sys.exit(MISTAKE)
    except (click.ClickException, click.exceptions.Exit, click.Abort, MemoryError):
        raise
    except Exception as e:
        if where := users_line(e):  # of a model's own class, say
            _tell("error", ModelError(f"{where}: {described(e)}"))
            sys.exit(MISTAKE)
        machine = ctx.find_root().obj if ctx else None
        command = shlex.join(["minisim", *sys.argv[1:]])
        text = e.report if isinstance(e, InternalError) else report(e, command, machine)
        path = write_report(text)
        what = str(e) if isinstance(e, InternalError) else f"this is a bug in minisim: {described(e)}"
        _tell("internal error", what, f"please file it with {path}" if path else text)
        sys.exit(BUG)


def _tell(kind: str, *messages: object) -> None:
    """Write messages to standard error; a line that continues the one above is indented, and has no prefix."""
    for message in messages:
        for line in _text(message).splitlines() or [type(message).__name__]:
            text = printable(line)
            click.echo(text if text.startswith("  ") else f"minisim: {kind}: {text}", err=True)


def _text(message: object) -> str:
    try:
        return str(message)
    except Exception:  # a subclass of a model's own
        return type(message).__name__


def _load_machine(source: str, overrides: Sequence[str]) -> Machine:
    """The machine of a command; a report of a bug will have it."""
    machine = Machine.load(source, overrides)
    click.get_current_context().find_root().obj = machine
    return machine


def _asked_machine(source: str, overrides: Sequence[str]) -> Machine:
    """The machine of a command that has one; what of it has no effect is told."""
    machine = _load_machine(source, overrides)
    tell_without_effect(source, overrides, [machine])
    return machine


def _as_computed(graph: Graph, machine: Machine) -> list[str]:
    """What of a model that the machine quantises is not quantised, and how its weights of 4 bits lie in DRAM."""
    quantises = machine.dtype == DType.INT8
    if not (quantises or is_blocked(graph)):
        return []
    computed = computed_graph(graph, machine, numerics=False)
    return [*(in_floats(computed) if quantises else ()), *stored(graph, machine, computed)]


def _read_mapping(path: str | None) -> dict[str, Edges]:
    return read_mapping(path) if path else {}


WORTH_PROCESSES_S = 0.5
"""Seconds that one simulation takes, from which on several are worth starting processes for."""


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minisim")
def main() -> None:
    """How fast would this model run on that accelerator, and why?"""


@main.command("run")
@click.argument("model", shell_complete=models)
@options.machine_options
@options.tokens
@options.bindings
@options.out
@click.option(
    "--timing",
    type=click.Choice(TIMING_CORES),
    default="native",
    show_default=True,
    help="The timing core; SimPy's is the definition, with the same cycles.",
)
@options.no_numerics
@options.no_check
@options.check
@options.check_borders
@options.mapping
@click.option("--dump-ir", metavar="DIR", type=click.Path(path_type=Path), help="Write every level of the compiler.")
@click.option("--timeline", "with_timeline", is_flag=True, help="Also write timeline.csv, a row per operation.")
@click.option("--trace", is_flag=True, help="Also write timeline.csv and a Perfetto trace.")
@options.report_page
@options.max_operations
@options.memory_limit
@options.seed
@click.option("--what-if/--no-what-if", default=True, show_default=True, help='Simulate what "What to try" names.')
def run_command(
    model: str,
    source: str,
    overrides: tuple[str, ...],
    tokens: Tokens,
    bindings: Bindings,
    out: Path,
    timing: str,
    no_numerics: bool,
    no_check: bool,
    against: str | None,
    check_borders: bool,
    mapping_file: str | None,
    dump_ir: Path | None,
    with_timeline: bool,
    trace: bool,
    report_page: bool,
    max_operations: int,
    memory_limit: int,
    seed: int,
    what_if: bool,
) -> None:
    """Time MODEL on a machine, compute it in lockstep, and report.

    MODEL is a Python file that defines model(), an ONNX file, a network such as resnet50 or a transformer such as
    llama:7b (see minisim models), or a built-in shape such as gemm:512x512x512.
    """
    from minisim.reports import Told, atomic_bytes, load_protos, make_folder, print_summary, write_reports
    from minisim.reports.hints import MOST_HINTS, hints
    from minisim.what_if import measured

    if trace:
        load_protos()  # what is missing is said before the run
    _check_numerics(model, against, check_borders, no_numerics, seed)
    if tokens.window is not None:
        model = _of_tokens("--window", model, f",window={tokens.window}")
    if tokens.kv_type is not None and tokens.decode is not None:
        model = _of_tokens("--kv-type", model, f",kv_type={tokens.kv_type}")
    if tokens.decode is not None:
        others = {"--check": against, "--dump-ir": dump_ir, "--timeline": with_timeline, "--trace": trace,
                  "--mapping": mapping_file, "--timing simpy": timing == "simpy", "--seed": seed}  # fmt: skip
        if given := [name for name, value in others.items() if value]:
            raise UsageError(f"--decode: runs many programs, so it does not go with {given[0]}")
        how: dict[str, Any] = {"numerics": not no_numerics, "check": not no_check, "max_operations": max_operations}
        _decode(model, source, overrides, tokens, bindings, out, memory_limit=memory_limit, page=report_page, **how)
        return
    numerics, check = not no_numerics, not no_check
    mapping = _read_mapping(mapping_file)
    _check_tokens(model, tokens, against)
    machine = _asked_machine(source, overrides)
    graph, comparison = _read(model, machine, tokens, bindings, numerics, memory_limit, against, check_borders)
    if seed and no_numerics and not lookups(graph):  # else time depends on the rows that are drawn
        raise UsageError("--seed: draws other inputs, and goes without --no-numerics")
    check_folder("--out", out)
    if dump_ir:
        check_folder("--dump-ir", dump_ir)
        make_folder(dump_ir)
    dump = dump_to(dump_ir, write=atomic_bytes) if dump_ir else None
    with SlowProgress(Console(stderr=True), f"compiling {graph.name}") as progress:

        def on_stage(number: int, name: str, ir: IR) -> None:
            if dump:
                dump(number, name, ir)
            progress.on_stage(number, name, ir)

        result = run(
            graph,
            machine,
            inputs=(index_inputs if no_numerics else example_inputs)(graph, seed) if seed else None,
            timing=timing,
            numerics=numerics,
            check=check,
            observers=[progress] if timing == "simpy" else [],
            on_stage=on_stage,
            max_operations=max_operations,
            memory_limit=memory_limit,
            mapping=mapping,
        )
        every = hints(result.record())
        found = measured(result, every, MOST_HINTS) if what_if else every[:MOST_HINTS]
        changed = told_what_ifs(result, found, report_page and what_if, progress)
    for line in _as_computed(graph, machine):
        click.echo(f"minisim: note: {line}", err=True)
    record = result.record()
    written = write_reports(
        record, out, trace=trace, with_timeline=with_timeline, page=report_page, told=Told(typed_command(), changed)
    )
    console = Console()
    print_summary(record, console, found)
    console.print(f"reports: {', '.join(str(path) for path in written)}", soft_wrap=True, highlight=False)
    if comparison:
        compared_with = comparison(result.outputs)
        for line in compared_with.lines():
            console.print(printable(line), soft_wrap=True, highlight=False, markup=False)
        if compared_with.deviates:
            sys.exit(DEVIATES)


def _check_numerics(model: str, against: str | None, check_borders: bool, no_numerics: bool, seed: int) -> None:
    """Say which options of what is computed do not go together."""
    if seed and against:
        raise UsageError(
            f"--seed: draws other inputs, and goes without {'--no-numerics' if no_numerics else '--check'}"
        )
    if against:
        _check_checkable(model, against, no_numerics)
    if check_borders and against != "onnxruntime":
        raise UsageError("--check-borders: goes with --check onnxruntime")


def _decode(
    model: str,
    source: str,
    overrides: Sequence[str],
    tokens: Tokens,
    bindings: Bindings,
    out: Path,
    *,
    numerics: bool,
    memory_limit: int,
    **how: Any,
) -> None:
    """A prefill and tokens behind it, instead of one program; `how` are arguments of `run_decode`."""
    from minisim.decode_command import decoder_of, run_decode, text_of

    assert tokens.decode is not None
    text = text_of(model, tokens.prefill, tokens.decode, tokens.batch, tokens.chunk, tokens.kv_page)
    machine = _asked_machine(source, overrides)
    check_folder("--out", out)
    decoder = decoder_of(model, bindings, tokens.states, numerics, memory_limit)
    run_decode(
        decoder, machine, text, out, numerics=numerics, memory_limit=memory_limit, command=typed_command(), **how
    )


def _check_tokens(model: str, tokens: Tokens, against: str | None) -> None:
    """Say which options of tokens go with --decode, or with --prefill of a file, alone."""
    from minisim.decode_command import is_file

    of_file = tokens.prefill is not None and is_file(model)
    alone = {"--chunk": tokens.chunk, "--kv-page": tokens.kv_page, "--kv-type": tokens.kv_type}
    for option, value in {**alone, "--batch": tokens.batch, "--state": tokens.states}.items():
        if value and (option in alone or not of_file):
            raise UsageError(f"{option}: goes with --decode{'' if option in alone else ', or --prefill of a file'}")
    if of_file and against:
        raise UsageError("--check: does not go with --prefill of a file")


Comparison = Callable[[Mapping[str, Any]], OnnxCheck]
"""Of a run's outputs with those of ONNX Runtime or torch."""


def _read(
    model: str,
    machine: Machine,
    tokens: Tokens,
    bindings: Bindings,
    numerics: bool,
    memory_limit: int,
    against: str | None,
    check_borders: bool,
) -> tuple[Graph, Comparison | None]:
    """The graph that is run, and with what its outputs are compared."""
    if tokens.prefill is not None:
        from minisim.decode_command import file_decoder, is_file

        if is_file(model):
            decoder = file_decoder(model, bindings, tokens.states, numerics, memory_limit)
            return decoder.whole(tokens.prefill, tokens.batch or 1), None
        model = _of_tokens("--prefill", model, f",prefill={tokens.prefill}")
    sizes, bound = bindings.sizes(), bindings.bound()
    if against == "torch":
        module, left = torch_model(model, sizes)
        graph = module.graph(left, bound, memory_limit=memory_limit)
        return graph, lambda outputs: compared(module, graph, machine, example_inputs(graph), outputs)
    graph = load_model(model, NAME[machine.dtype], sizes, values=bound, numerics=numerics, memory_limit=memory_limit)
    if not against:
        return graph, None
    return graph, lambda outputs: check_onnxruntime(
        model, machine, dims=sizes, values=bound, borders=check_borders, outputs=outputs
    )


def _of_tokens(option: str, model: str, more: str) -> str:
    """The transformer that a user names, with more parameters."""
    if not is_transformer(model):
        raise UsageError(f"{option}: goes with a transformer such as llama:7b, not with {shown(model)}")
    return f"{model}{more}"


def _check_checkable(model: str, against: str, no_numerics: bool) -> None:
    """Say before the run, not after it, what a check lacks."""
    if no_numerics:
        raise UsageError("--check: needs values to compare, so not --no-numerics")
    if against == "onnxruntime" and Path(model).suffix.lower() != ".onnx":
        raise UsageError(f"--check onnxruntime: needs an ONNX file, not {shown(model)}")
    if find_spec(against) is None:
        raise MissingExtraError.of(against, against, f"--check {against}")


@main.command("explain")
@click.argument("model", required=False, shell_complete=models)
@options.machine_options
@options.bindings
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path),
              help="Also write account.csv there, and with --mapping mapping.toml.")  # fmt: skip
@click.option("--mapping", "mapping_file", metavar="[FILE.toml]", is_flag=False, flag_value="",
              help="Also say which tiles each layer has, and what else was tried; a file gives some.")  # fmt: skip
@click.option("--what-if/--no-what-if", default=True, show_default=True, help="Simulate other machines, too.")
@options.jobs
@options.max_operations
@options.memory_limit
def explain_command(
    model: str | None,
    source: str,
    overrides: tuple[str, ...],
    bindings: Bindings,
    out: Path | None,
    mapping_file: str | None,
    what_if: bool,
    jobs: int | None,
    max_operations: int,
    memory_limit: int,
) -> None:
    """Say where every cycle of MODEL went, and what another machine would gain."""
    from minisim.compiler.passes.edges import choices
    from minisim.mapping_told import print_mapping
    from minisim.reports import Account, print_account, write_account
    from minisim.what_if import what_ifs

    if model is None and mapping_file and not mapping_file.endswith(".toml"):
        model, mapping_file = mapping_file, ""  # what stands behind --mapping is no file, but the model
    if model is None:
        raise click.MissingParameter(param_type="argument", param_hint="MODEL")
    mapping = _read_mapping(mapping_file)
    machine = _asked_machine(source, overrides)
    sizes, bound = bindings.sizes(), bindings.bound()
    graph = load_model(model, NAME[machine.dtype], sizes, values=bound, numerics=False, memory_limit=memory_limit)
    if out:
        check_folder("--out", out)
    tiled: list[TiledGraph] = []
    with SlowProgress(Console(stderr=True), f"compiling {graph.name}") as progress:

        def on_stage(number: int, name: str, ir: IR) -> None:
            if isinstance(ir, TiledGraph):
                tiled[:] = [ir]
            progress.on_stage(number, name, ir)

        result = run(
            graph,
            machine,
            numerics=False,
            on_stage=on_stage,
            max_operations=max_operations,
            mapping=mapping,
        )
        quick = result.wall_compile_s + result.wall_simulate_s < WORTH_PROCESSES_S
        others = what_ifs(
            result,
            jobs=jobs or (1 if quick else None),
            progress=lambda done, total: progress.advance("simulating other machines", done, total),
            max_operations=max_operations,
        ) if what_if else []  # fmt: skip
    account = Account.of(result.record())
    chosen = choices(tiled[0], machine) if mapping_file is not None else []
    text = mapping_text({choice.layer: choice.edges for choice in chosen}) if mapping_file is not None else None
    paths = write_account(account, out, text) if out else []
    console = Console()
    print_account(account, others, console)
    if mapping_file is not None:
        print_mapping(chosen, list(mapping), console)
    for line in (*movements(graph), *_as_computed(graph, machine)):
        console.print(f"  {printable(line)}", soft_wrap=True, highlight=False, markup=False)
    if paths:
        console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)


main.add_command(compare_command)
main.add_command(search_command)
main.add_command(sweep_command)
main.add_command(completion_command)
main.add_command(report_command)


@main.command("models")
def models_command() -> None:
    """The networks that need no file, as in minisim run resnet50."""
    from minisim.models import print_models

    print_models(Console())


@main.group("config")
def config_group() -> None:
    """Show and check machine files."""


@config_group.command("list")
def config_list() -> None:
    """The presets that ship with minisim."""
    for name in presets():
        machine = Machine.load(name)
        side_by_side = f"{machine.matrix.arrays} x " if machine.matrix.arrays > 1 else ""
        array = f"{side_by_side}{machine.matrix.rows}x{machine.matrix.cols} {machine.matrix.dtype}"
        sram, bandwidth = machine.flat()["sram.bytes"], machine.flat()["dram.bandwidth"]
        click.echo(f"{name:<20} {array:<18} SRAM {sram:<8} DRAM {bandwidth}")


@config_group.command("show")
@click.argument("source", default="npu_32x32", metavar="FILE|PRESET")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key. May be repeated.")
@click.option("--commented", is_flag=True, help="With meaning, unit and range of each key: a file to start from.")
@click.option("--keys", "describe", is_flag=True, help="List every key with its meaning instead.")
def config_show(source: str, overrides: tuple[str, ...], commented: bool, describe: bool) -> None:
    """The complete machine, defaults included, as a machine file."""
    machine = _load_machine(source, overrides)
    if not describe:
        click.echo(reference.commented(machine) if commented else machine.to_toml(), nl=False)
        return
    values = machine.flat()
    for key, field in keys().items():
        click.echo(f"{key:<24} {values[key]!s:<12} {field.description}")


@config_group.command("check")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
def config_check(sources: tuple[str, ...]) -> None:
    """Check machine files; every mistake of all of them is listed."""
    mistakes: list[str] = []
    for source in sources:
        try:
            machine = Machine.load(source)
        except MinisimError as e:
            mistakes += str(e).splitlines()
        else:
            click.echo(f"{source}: ok")
            tell_without_effect(source, [], [machine], place=f"{source}: ")
    if mistakes:
        _tell("error", *mistakes)
        sys.exit(MISTAKE)


if __name__ == "__main__":
    main()
