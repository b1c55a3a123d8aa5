"""More of what a user would be told wrongly: truths without which a mutant of seed 20 survived (docs/mutation.md)."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from rich.console import Console
from support.golden import Golden

import minisim as ms
from minisim import sweep as sweep_module
from minisim.boundary import write_report
from minisim.compiler.geometry import step_sizes
from minisim.compiler.placement import tensor_table
from minisim.compiler.zoo import NETWORKS
from minisim.errors import CapacityError, UsageError
from minisim.reports import Account, print_account
from minisim.reports.hints import Hint
from minisim.reports.terminal import advice
from minisim.sweep import grid


def test_networks_are_made_of_these_layers(golden: Golden) -> None:
    """How many of each operator, with activations: one more or less is another network."""
    lines = []
    for name in sorted(NETWORKS):
        counts = Counter(node.title for node in ms.load_model(name).nodes)
        lines.append(f"{name}: " + ", ".join(f"{count} {title}" for title, count in sorted(counts.items())))
    golden.check("networks.txt", "\n".join(lines) + "\n")


def moved(graph: ms.Graph) -> list[int]:
    """Elements of each transposition that is more than a view, in their order."""
    return [int(np.prod(graph.tensors[node.output].shape)) for node in graph.nodes if node.op == "Transpose"]


@pytest.mark.parametrize("images", [1, 16])
def test_of_two_orders_that_in_which_less_is_moved_is_taken(images: int) -> None:
    """The sum of a convolution's image, which lies with its channels last, and of images that lie as the model says."""
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((4, 4, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "z"], ["sum"]),
             helper.make_node("Relu", ["sum"], ["out"])]  # fmt: skip
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
             for name, shape in (("x", (1, 4, 3, 3)), ("z", (images, 4, 3, 3)))]  # fmt: skip
    ends = [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, (images, 4, 3, 3))]
    made = helper.make_graph(nodes, "net", infos, ends, [onnx.numpy_helper.from_array(filters, "w")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    Path("net.onnx").write_bytes(model)
    graph = ms.load_model("net.onnx")
    image = 4 * 3 * 3
    assert sorted(moved(graph)) == ([image, image] if images == 16 else [image, image, image])
    inputs = {name: rng.standard_normal(graph.tensors[name].shape).astype(np.float32) for name in ("x", "z")}
    found = ms.run(graph, inputs=inputs).outputs["out"]
    expected = onnxruntime.InferenceSession(model).run(None, inputs)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_runs_of_k_are_candidates_from_two_taps_on() -> None:
    """Steps that cross from block to block: 128 of 2 taps are as many rows as an array has."""
    assert {size for size in step_sizes(512, 2, 128) if size not in step_sizes(512, 1, 128)} > {256}
    assert 128 in step_sizes(512, 2, 128)
    assert 128 not in step_sizes(512, 2, 100)


@pytest.mark.parametrize(("columns", "fits"), [(2**29, True), (2**30 - 16, True), (2**30, False)])
def test_a_row_of_a_tensor_may_take_up_to_four_gigabytes(columns: int, fits: bool) -> None:
    graph = ms.Graph()
    graph.output(graph.relu(graph.input("x", (1, columns))))
    if fits:
        assert tensor_table(graph, [], ms.Machine())["pitch"].tolist() == [4 * columns] * 2
    else:
        with pytest.raises(CapacityError, match=f"a row of {columns:,} elements|row of {columns:,}"):
            tensor_table(graph, [], ms.Machine())


def test_a_grid_may_have_as_many_points_as_the_message_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "MOST_POINTS", 4)
    two, more = ("tile.m", ["8", "16"]), ("tile.k", ["8", "16", "32"])
    assert len(grid(ms.Machine(), [two, ("tile.n", ["8", "16"])])) == 4
    with pytest.raises(UsageError, match="the grid would have 6 points; the most is 4"):
        grid(ms.Machine(), [two, more])


def test_a_hint_after_which_nothing_is_left_to_do_is_no_division_by_zero() -> None:
    assert (
        advice(Hint(1, "Less.", tries=({"tile.m": "8"},), then=0), 70)
        == "Less.\n--set tile.m=8: 0 cycles, 70.00 x as fast"
    )


def test_a_report_that_finds_no_room_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file may even be gone by then."""
    monkeypatch.chdir(tmp_path)

    def full(handle: int, *arguments: Any, **more: Any) -> Any:
        for path in tmp_path.glob("minisim-bug-*"):
            path.unlink()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minisim.boundary.os.fdopen", full)
    monkeypatch.setattr("minisim.boundary._folders", lambda: iter(["."]))
    assert write_report("text") is None


@pytest.fixture(scope="module")
def account() -> Account:
    machine = ms.Machine.load("npu_32x32").replace("dram.latency=13ns")
    return Account.of(ms.run("gemm:96x64x80", machine, numerics=False).record())


def printed(account: Account, width: int) -> list[str]:
    file = io.StringIO()
    print_account(account, [], Console(file=file, width=width))
    return file.getvalue().splitlines()


def test_a_tree_of_causes_has_as_many_lines_however_narrow_it_is(account: Account) -> None:
    def tree(width: int) -> list[str]:
        lines = printed(account, width)
        begin = next(i for i, line in enumerate(lines) if "all cycles" in line)
        return lines[begin : next(i for i, line in enumerate(lines) if "Critical path" in line)]

    assert len(tree(34)) == len(tree(80))
    assert all(len(line) <= 34 for line in tree(34))


def test_columns_of_the_longest_stretches_go_in_the_order_of_what_they_are_worth(account: Account) -> None:
    shown = []
    for width in range(130, 25, -1):
        (line,) = [line for line in printed(account, width) if line.strip().startswith("from cycle")]
        titles = [title for title in ("layer", "unit", "operations", "the first") if title in line]
        shown += [titles] if [titles] != shown[-1:] else []
    assert shown == [["layer", "unit", "operations", "the first"], ["layer", "unit", "operations"], ["layer", "unit"],
                     ["layer"], []]  # fmt: skip
