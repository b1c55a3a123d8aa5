"""What ``minisim run --decode`` does: which model and which text it means, and its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from minisim.compiler.decoders import Decoder, OnnxDecoder, Text, TransformerDecoder
from minisim.compiler.frontend import check_file
from minisim.compiler.frontend.pasts import parse_states
from minisim.compiler.transformers import is_transformer, transformer
from minisim.decode import decode
from minisim.errors import UsageError, shown
from minisim.hwmodel.config import Machine
from minisim.options import Bindings
from minisim.progress import SlowProgress
from minisim.reports import print_decode, write_decode


def decoder_of(model: str, bindings: Bindings, states: Sequence[str], numerics: bool, memory_limit: int) -> Decoder:
    """The model that is decoded; `states` is the option --state, as typed."""
    if is_file(model):
        return file_decoder(model, bindings, states, numerics, memory_limit)
    typed = {"--state": states, "--dim": bindings.dims, "--shape": bindings.shapes, "--value": bindings.values}
    if given := [name for name, value in typed.items() if value]:
        raise UsageError(f"{given[0]}: goes with an ONNX file, not with {shown(model)}")
    return TransformerDecoder(transformer(model))


def file_decoder(
    model: str, bindings: Bindings, states: Sequence[str], numerics: bool, memory_limit: int
) -> OnnxDecoder:
    """The ONNX file, of which texts of any length are programs; arguments are those of `decoder_of`."""
    sizes, pasts, values = bindings.sizes(), parse_states(states), bindings.bound()
    check_file(Path(model))
    return OnnxDecoder(Path(model), pasts, sizes, values, numerics, memory_limit)


def text_of(
    model: str, prefill: int | None, tokens: int, batch: int | None, chunk: int | None, page: int | None
) -> Text:
    """The text that is decoded; without --prefill it begins as a transformer's name says."""
    if not is_file(model) and not is_transformer(model):
        kinds = "a transformer such as llama:7b, or an ONNX file with past inputs"
        raise UsageError(f"--decode: goes with {kinds}, not with {shown(model)}")
    if prefill is None and is_file(model):
        raise UsageError("--decode: of an ONNX file goes with --prefill, the tokens before those that are decoded")
    return Text(prefill or transformer(model).prefill, tokens, batch or 1, chunk or 0, page or 0)


def is_file(model: str) -> bool:
    """Whether the model is an ONNX file, by its name."""
    return Path(model).suffix.lower() == ".onnx"


def run_decode(
    model: Decoder,
    machine: Machine,
    text: Text,
    out: Path,
    *,
    numerics: bool,
    check: bool,
    max_operations: int,
    memory_limit: int,
    command: Sequence[str] = (),
    page: bool = False,
) -> None:
    """Decode, and report; with a `page` also as HTML, which tells the `command`."""
    with SlowProgress(Console(stderr=True), f"decoding {model.name}") as progress:
        found = decode(
            model,
            machine,
            text,
            numerics=numerics,
            check=check,
            max_operations=max_operations,
            memory_limit=memory_limit,
            progress=lambda done, total: progress.advance(f"decoding {model.name}", done, total),
        )
    paths = write_decode(found.steps, machine, out, model=model.name, command=command, page=page)
    console = Console()
    print_decode(model.name, found.steps, machine, console)
    if found.difference is not None:
        console.print(f"checked {found.difference.error_text()}, against numpy", highlight=False)
    console.print(f"reports: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)
