"""More of what a user would be told wrongly: truths without which a mutant of seed 20 survived (docs/mutation.md)."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import helper
from rich.console import Console
from support.golden import Golden

import minisim as ms
from minisim import cli
from minisim._engine import panel_cycles
from minisim.boundary import write_report
from minisim.compiler.attributes import ConvAttributes, InterleaveAttributes
from minisim.compiler.geometry import step_sizes
from minisim.compiler.panels import Budget, Pace, choose
from minisim.compiler.passes.edges_search import is_cut_alike
from minisim.compiler.placement import tensor_table
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.zoo import NETWORKS
from minisim.errors import CapacityError, ShapeError, UsageError
from minisim.hwmodel.array import drain_cycles
from minisim.hwmodel.classes import class_costs
from minisim.hwmodel.cost import result_sizes
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.recurrence import _sharing
from minisim.reports import Account, print_account, print_summary, write_reports
from minisim.reports.attribution import _tail
from minisim.reports.hints import Hint, array_fill
from minisim.reports.terminal import advice
from minisim.reports.trace.slices import _service_rows
from minisim.sweeps import grid as grid_module
from minisim.sweeps.grid import grid


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_networks_are_made_of_these_layers(golden: Golden) -> None:
    """How many of each operator, with activations: one more or less is another network."""
    lines = []
    for name in [*sorted(NETWORKS), "resnext50:width=0.3"]:
        graph = ms.load_model(name)
        counts = Counter(node.title for node in graph.nodes)
        groups = sorted({node.attributes.groups for node in graph.nodes if isinstance(node.attributes, ConvAttributes)})
        lines.append(
            f"{name}: groups {groups}, " + ", ".join(f"{count} {title}" for title, count in sorted(counts.items()))
        )
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
    monkeypatch.setattr(grid_module, "MOST_POINTS", 4)
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


@pytest.mark.parametrize("latency", [1, 3])
def test_the_last_sum_falls_through_the_adders_of_all_rows_but_the_first(latency: int) -> None:
    machine = ms.Machine().replace("matrix.dataflow=ws", f"matrix.adder_latency={latency}", "matrix.rows=8")
    assert drain_cycles(machine) == 7 * latency + machine.matrix.cols - 1 + machine.matrix.multiplier_latency
    assert drain_cycles(machine.replace("matrix.model=scalesim")) == 0


def test_steps_that_leave_sums_write_no_result() -> None:
    schedule = ms.compile_graph("gemm:32x96x32", ms.Machine().replace("tile.k=32", "compiler.effort=0"))
    matmuls = schedule.matmuls
    assert result_sizes(schedule, matmuls).tolist() == [4 if last else 0 for last in matmuls["last"]]
    assert sorted(matmuls["last"].tolist()) == [0, 0, 1]


def test_not_a_number_becomes_the_integer_0() -> None:
    graph = ms.Graph()
    graph.output(graph.cast(graph.input("x", (1, 5)), "int8"), "y")
    x = np.array([[np.nan, np.inf, -np.inf, -1.9, 200.0]], np.float32)
    assert ms.run(graph, inputs={"x": x}).outputs["y"].tolist() == [[0, 127, -128, -1, 127]]
    (node,) = graph.nodes
    assert SEMANTICS[node.op].evaluate([x], node.attributes)[0].tolist() == [[0, 127, -128, -1, 127]]


def test_only_what_others_do_not_cut_for_it_is_cut_alike() -> None:
    graph = ms.Graph()
    y = graph.relu(graph.conv2d(graph.input("x", (1, 6, 6, 4)), graph.weight("w", shape=(3, 3, 4, 8)), name="conv"))
    y = graph.softmax(graph.matmul(graph.reshape(y, (-1, 8)), graph.weight("v", shape=(8, 8)), name="matmul"))
    graph.output(y)
    assert {node.op for node in graph.nodes if not SEMANTICS[node.op].is_view and is_cut_alike(node, graph)} == {"Conv"}


def test_a_second_output_that_its_importer_does_not_make_is_refused() -> None:
    """Where MaxPool's largest elements lie, for example."""
    nodes = [helper.make_node("MaxPool", ["x"], ["y", "at"], "both", kernel_shape=[1])]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 3))
    ends = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
            helper.make_tensor_value_info("at", onnx.TensorProto.INT64, None)]  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "net", [x], ends), opset_imports=opsets, ir_version=8)
    Path("two.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ms.MinisimError, match="only the first of its 2 outputs is supported, but 'at' is used"):
        ms.load_model("two.onnx")


def test_what_is_packed_fills_the_rows_only_where_k_lies_along_them() -> None:
    """Of four times as many int8 values of k a weight-stationary array takes four to a row; others stream them."""
    block = {"m": 32, "k": 32, "n": 32}
    machine = ms.Machine().replace("matrix.dtype=int8", "matrix.int8_rate=4", "matrix.rows=32", "matrix.cols=32")
    fills = {
        flow: array_fill(block, machine.replace(f"matrix.dataflow={flow}"), machine.dtype) for flow in ("ws", "os")
    }
    assert fills["os"][0] == 1.0 and not any("fills" in reason for reason in fills["os"][1])
    assert fills["ws"][0] == 0.25
    assert fills["ws"][1][0] == "k fills 32 of 128 rows x 4 steps of k"


def test_images_that_are_interleaved_must_have_their_shapes() -> None:
    attributes = InterleaveAttributes((5, 4), (2, 2))
    images = [(1, 3, 2, 3), (1, 3, 2, 3), (1, 2, 2, 3), (1, 2, 2, 3)]
    assert SEMANTICS["Interleave"].infer(images, attributes) == ((1, 5, 4, 3),)
    with pytest.raises(ShapeError, match=r"from line 1 and column 0 on must have the shape \(1, 2, 2, 3\), not \(1, 3"):
        SEMANTICS["Interleave"].infer([*images[:2], (1, 3, 2, 3), images[3]], attributes)


@pytest.mark.parametrize("layers", [10, 11, 12])
def test_layers_beyond_the_first_ten_are_summed(layers: int) -> None:
    graph = ms.Graph()
    x = graph.input("x", (16, 16))
    for i in range(layers):
        x = graph.softmax(x, name=f"s{i}")
    graph.output(x)
    record, file = ms.run(graph, ms.Machine().replace("compiler.slices=false"), numerics=False).record(), io.StringIO()
    print_summary(record, Console(file=file, width=100))
    assert (f"{layers - 10} more layers" in file.getvalue()) == (layers > 10)


def test_a_dump_says_what_windows_are_read() -> None:
    schedule = ms.compile_graph("conv:1x6x6x4,8x3x3,1,1")
    lines = [line for line in schedule.lines() if line.startswith("window ")]
    assert len(lines) == len(schedule.windows) > 1
    assert lines[0].startswith("window 0: ") and " rows of " in lines[0]


def test_a_schedule_of_another_model_is_refused_behind_a_piece_of_a_tensor_too() -> None:
    def pieces(columns: int) -> ms.Graph:
        graph = ms.Graph("pieces")
        left, right = graph.split(graph.input("x", (4, 8)), 2, axis=1)
        y = graph.matmul(graph.add(left, right), graph.weight("w", np.ones((4, columns), np.float32)))
        graph.output(y, "y")
        return graph

    with pytest.raises(UsageError, match="the schedule is not of 'pieces'"):
        ms.Runtime(pieces(5), schedule=ms.compile_graph(pieces(6)))


@pytest.mark.parametrize(("strides", "dilations"), [((1, 0), (1, 1)), ((0, 1), (1, 1)), ((1, 1), (2, 0))])
def test_no_step_of_a_kernel_is_zero(strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    graph = ms.Graph()
    x, w = graph.input("x", (1, 6, 6, 4)), graph.weight("w", shape=(3, 3, 4, 8))
    with pytest.raises(ShapeError, match=r"(strides|dilations) must be from 1 to 1048576, not \("):
        graph.conv2d(x, w, strides=strides, dilations=dilations)


def test_a_load_that_ends_last_has_the_cycles_behind_all_others() -> None:
    record = ms.run("gemm:32x32x32", numerics=False).record()
    stream, timeline = record.schedule.stream, record.timeline
    end = timeline.end.copy()
    (load, *_) = np.flatnonzero(stream["opcode"] == Opcode.LOAD)
    end[load] = timeline.cycles + 50
    computes = np.flatnonzero(stream["opcode"] >= Opcode.EXECUTE)
    tail = {cause: (begin.tolist(), after.tolist())
            for cause, begin, after in _tail(record.schedule, replace(timeline, end=end), computes)}  # fmt: skip
    assert tail["load"] == ([timeline.cycles], [timeline.cycles + 50])
    assert tail["store"][1] == [timeline.cycles]


def test_where_folders_have_no_locks_reports_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("minisim.reports.write.fcntl.flock", none)
    paths = write_reports(ms.run("gemm:8x8x8", numerics=False).record(), tmp_path / "out")
    assert paths and all(path.exists() for path in paths)


@pytest.mark.parametrize(("indices", "op"), [((2,), "Split"), ((-1,), "Split"), ((3, 1), "Take"), ((1, 2, 2), "Take")])
def test_one_row_that_is_gathered_is_a_view_and_several_are_moved(indices: tuple[int, ...], op: str) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=0)
    i = onnx.numpy_helper.from_array(np.array(indices), "i")
    (x,) = (helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (4, 6)),)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (len(indices), 6))
    model = helper.make_model(helper.make_graph([node], "net", [x], [y], [i]), ir_version=8)
    Path("gather.onnx").write_bytes(model.SerializeToString())
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    graph = ms.load_model("gather.onnx")
    assert op in {node.op for node in graph.nodes}
    assert (ms.run(graph, inputs={"x": values}).outputs["y"] == values[list(indices)]).all()


def test_transfers_that_the_memory_serves_at_a_time_are_in_rows_of_their_own() -> None:
    machine = ms.Machine().replace("cores.count=3", "dram.model=banked", "l2.bytes=32KiB", "sram.bytes=32KiB")
    record = ms.run("gemm:96x96x96", machine, numerics=False).record()
    rows, t = _service_rows(record, single=True), record.timeline
    for moves in rows:
        assert (t.dram_end[moves][:-1] <= t.dram_begin[moves][1:]).all()
    assert len(rows) > 1
    assert sum(map(len, rows)) == int((record.schedule.stream["opcode"] <= Opcode.STORE).sum())


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_cores_that_move_data_in_a_layer_share_the_dram(cores: int) -> None:
    machine = ms.Machine().replace(f"cores.count={cores}", "compiler.effort=0", "dram.bandwidth=999GB/s")
    schedule = ms.compile_graph("gemm:384x256x384", machine)
    used = len(set(schedule.stream["core"].tolist()))
    assert used == cores
    assert _sharing(schedule).tolist() == [used]


def test_a_report_for_which_the_folder_has_no_room_is_written_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    opened = os.fdopen

    def full(handle: int, *arguments: Any, **more: Any) -> Any:
        if list((tmp_path / "full").iterdir()):
            raise OSError(28, "No space left on device")
        return opened(handle, *arguments, **more)

    monkeypatch.setattr("minisim.boundary.os.fdopen", full)
    monkeypatch.setattr("minisim.boundary._folders", lambda: iter([str(tmp_path / "full"), str(tmp_path)]))
    path = write_report("text")
    assert path is not None and path.parent == tmp_path and path.read_text() == "text"


@pytest.mark.parametrize("timing", ["native", "simpy"])
def test_the_slow_timing_core_has_its_progress_shown(timing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run = cli.run

    def noted(*arguments: Any, observers: list[Any], **more: Any) -> ms.Result:
        seen.append(len(observers))
        return run(*arguments, observers=observers, **more)

    monkeypatch.setattr(cli, "run", noted)
    assert CliRunner().invoke(cli.main, ["run", "gemm:8x8x8", "--timing", timing]).exit_code == 0
    assert seen == [timing == "simpy"]


def test_panels_are_told_by_what_they_are_made_of() -> None:
    pace = Pace(32, 0.06, 0.06, 0.04, 200)
    plan = choose(8, 8, 8, Budget(2**17, 4096, 4096, 4096, 0, 4096), pace)
    with pytest.raises(UsageError, match=r"^panels must be rows of m0, m1, n0, n1, not "):
        panel_cycles(np.ascontiguousarray(plan.panels.rows[:, :3]), plan.budget, 8, 1000, pace)


@pytest.mark.parametrize("column", range(6))
def test_no_operation_takes_less_than_no_time(column: int) -> None:
    machine = ms.Machine()
    schedule = ms.compile_graph("gemm:8x8x8", machine)
    by_class = class_costs(schedule, machine)
    name = ("setup", "busy", "hold", "latency", "lag", "dram")[column]
    each = replace(by_class.each, **{name: np.full_like(by_class.each.setup, -1)})
    with pytest.raises(UsageError, match="an operation must take time"):
        simulate_native(schedule, machine, by_class=replace(by_class, each=each))
