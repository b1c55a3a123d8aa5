"""Models of PyTorch: networks of four kinds against torch itself, saved programs, and what is refused by name.

With the extra [torch]: make torch-cases.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from frontend.conftest import Write
from support.machines import machine

import minisim as ms
from minisim.cli import main
from minisim.compiler.frontend import load_model
from minisim.errors import ModelError, UnsupportedError

torch: Any = pytest.importorskip("torch", reason="needs the extra [torch]: make torch-cases")
pytest.importorskip("onnxscript", reason="needs the extra [torch]: make torch-cases")
nets: Any = pytest.importorskip("support.torch_nets")

MACHINE = machine()

CASES = {
    "resnet": (lambda: nets.ResNet(), lambda: torch.randn(1, 3, 32, 32)),
    "gpt": (lambda: nets.GPT(), lambda: torch.randint(0, 50, (1, 12))),
    "vit": (lambda: nets.ViT(), lambda: (torch.randn(2, 3, 32, 32),)),
    "lstm": (lambda: nets.Tagger(), lambda: {"x": torch.randn(2, 5, 8)}),
}


def made(name: str) -> tuple[Any, Any]:
    """A network and its example inputs, the same each time."""
    torch.manual_seed(7)
    return tuple(make() for make in CASES[name])


@pytest.fixture
def model(write: Write) -> Callable[[str], str]:
    """Write a file that makes a case's network."""

    def write_model(name: str) -> str:
        write("m.py", f"""
            from frontend.test_torch import made

            def model():
                return made({name!r})
            """)  # fmt: skip
        return "m.py"

    return write_model


@pytest.mark.parametrize("name", CASES)
def test_networks_against_torch(name: str, model: Callable[[str], str]) -> None:
    found = ms.check_torch(model(name), MACHINE)
    assert not found.deviates, list(found.lines())
    assert [value.largest < 1e-5 for value in found.values] == [True] * (2 if name == "lstm" else 1)
    assert next(iter(found.lines())).startswith(f"against PyTorch {torch.__version__}: all values are within tolerance")


def test_layers_are_called_by_the_modules() -> None:
    graph = ms.from_torch(*made("gpt"))
    assert graph.name == "GPT"
    names = {node.name for node in graph.nodes}
    assert {"wte", "h.0.ln1", "h.0.attn.qkv", "h.0.attn.proj", "h.0.mlp.0", "h.0.mlp.2", "ln_f", "head"} <= names
    assert any(name.startswith("h.0.attn.sdpa") for name in names)
    convolutions = {node.name for node in ms.from_torch(*made("resnet")).nodes}
    assert {"stem/nhwc/conv", "layer2.conv1/nhwc", "layer2.down/nhwc", "fc"} <= {
        name.replace("/matmul", "") for name in convolutions
    }


def test_a_run_computes_with_the_example_and_binds_ids() -> None:
    module, ids = made("gpt")
    graph = ms.from_torch(module, ids)
    assert not graph.inputs and np.array_equal(graph.bound["ids"], ids.numpy())
    module, x = made("resnet")
    graph = ms.from_torch(module, x)
    assert np.array_equal(graph.tensors["x"].data, x.numpy())
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    (output,) = ms.run(graph, MACHINE).outputs.values()
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)


def test_timing_alone_needs_no_values() -> None:
    module, x = made("resnet")
    cycles = ms.run(ms.from_torch(module, x), MACHINE).cycles
    graph = ms.from_torch(module, x, numerics=False)
    assert graph.tensors["x"].values is None
    assert ms.run(graph, MACHINE, numerics=False).cycles == cycles


def save(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own LSTM
        program = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=sizes)
        torch.export.save(program, "m.pt2")


def test_a_saved_program_whose_dimensions_are_open(folder: Path) -> None:
    module, ids = made("gpt")
    sizes = {"ids": {1: torch.export.Dim("tokens", min=2, max=64)}}
    save(module, (ids,), {}, sizes)
    assert load_model("m.pt2").bound["ids"].shape == (1, 12)
    assert not ms.check_torch("m.pt2", MACHINE).deviates
    with pytest.raises(ModelError, match=r"model 'm.pt2': no dimension 'tokens' to bind"):
        load_model("m.pt2", dims={"tokens": 5})
    others = {"ids": [3, 1, 4, 1, 5]}
    assert load_model("m.pt2", values=others).bound["ids"].tolist() == [others["ids"]]
    assert not ms.check_torch("m.pt2", MACHINE, values=others).deviates


def test_a_saved_program_of_another_length(folder: Path) -> None:
    module, x = made("lstm")
    sizes = {"x": {0: torch.export.Dim("batch")}}
    save(module, (), x, sizes)
    with pytest.raises(ModelError, match="no dimension 'batch' to bind") as caught:
        load_model("m.pt2", dims={"batch": 5})
    (name,) = str(caught.value).split("open are '")[1].split("'")[:1]
    assert load_model("m.pt2").tensors["x"].shape == (2, 5, 8)
    graph = load_model("m.pt2", dims={name: 5})
    assert graph.tensors["x"].shape == (5, 5, 8) and graph.tensors["x"].values is None
    assert not ms.check_torch("m.pt2", MACHINE, dims={name: 5}).deviates


def line_of(network: Any, text: str) -> str:
    """The line of a class's source that has `text`."""
    lines, first = inspect.getsourcelines(network)
    return f"torch_nets.py:{first + next(i for i, line in enumerate(lines) if text in line)}"


def test_what_torch_cannot_trace() -> None:
    line = line_of(nets.Decides, "if x.sum()")
    with pytest.raises(UnsupportedError, match=rf"^Decides: torch.export cannot trace it at {line}: GuardOnData"):
        ms.from_torch(nets.Decides(), torch.randn(4, 4))
    with pytest.raises(UnsupportedError, match=r"^Linear: torch.export cannot trace it.*: RuntimeError: .*3.*4"):
        ms.from_torch(torch.nn.Linear(4, 4), torch.randn(3, 3))


def test_what_torch_cannot_export() -> None:
    line = line_of(nets.Decomposed, "qr")
    expected = rf"^Within: torch has no way to ONNX for aten.linalg_qr.default of module 'head' at {line}: "
    with pytest.raises(UnsupportedError, match=expected):
        ms.from_torch(nets.Within(nets.Decomposed()), torch.randn(4, 4))


def test_what_minisim_has_not() -> None:
    line = line_of(nets.Determinant, "det(")
    with pytest.raises(UnsupportedError, match=rf"^here: not supported:\n  node 'head' at {line} \(Det\)\n"):
        ms.from_torch(nets.Within(nets.Determinant()), torch.randn(4, 4), name="here")


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (3, (), "int: must be a torch.nn.Module, not 3"),
        ("net", [], "str: must be a torch.nn.Module, not 'net'"),
    ],
)
def test_what_is_no_module(module: object, inputs: object, expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        ms.from_torch(module, inputs)
    assert str(caught.value) == expected


def test_damaged_programs(write: Write) -> None:
    write("m.pt2", "no archive")
    with pytest.raises(
        ModelError, match=rf"^model 'm.pt2': torch {torch.__version__.partition('+')[0]}.* cannot read it"
    ):
        load_model("m.pt2")
    with pytest.raises(ModelError, match="model 'gemm:8x8x8': must be of PyTorch"):
        ms.check_torch("gemm:8x8x8")


def test_the_command(model: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["run", model("gpt"), "--no-what-if", "--set", "compiler.effort=0", "--check", "torch"]
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 0 and "all values are within tolerance" in found.output, found.output
    assert "minisim" not in found.stderr  # nothing of what torch has to say
    from minisim.compiler.frontend.torch_module import TorchModel

    def wrong(self: TorchModel, inputs: object) -> dict[str, Any]:
        return {name: values + 1 for name, values in outputs(self, inputs).items()}

    outputs: Any = TorchModel.outputs
    monkeypatch.setattr(TorchModel, "outputs", wrong)
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 3 and "1 of 1 values deviate" in found.output


def test_the_example() -> None:
    example = str(Path(__file__).parents[2] / "examples" / "torch_encoder.py")
    found = ms.check_torch(example, MACHINE, dims={"batch": 2})
    assert [value.shape for value in found.values] == [(2, 10)] and not found.deviates
