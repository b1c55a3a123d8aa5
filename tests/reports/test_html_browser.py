"""Pages in a browser: they ask for nothing, draw what there is, and work by keyboard, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.browser import browser, opened

import minisim as ms
from minisim.cli import main
from minisim.reports import Told, WhatIf, write_reports
from minisim.reports.compare import Comparison
from minisim.reports.compare_sweeps import Points, SweepComparison
from minisim.reports.side import Side

HOSTILE = ("</script><script>document.title='taken'</script>", "<img src=x onerror=\"document.title='taken'\">",
           "'\"`${document.title='taken'}&amp;&#60;", "\u202e\u0000naïve 名前 \U0001f600" + "long" * 200)  # fmt: skip
"""Names that would do harm if a page took them for more than names."""


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    with browser() as found:
        yield found


def layers_of(names: tuple[str, ...]) -> ms.Graph:
    """A chain of layers with these names, and a branch around it."""
    graph = ms.Graph(names[0])
    start = x = graph.input("x", (48, 32))
    for i, name in enumerate(names):
        x = graph.relu(graph.matmul(x, graph.weight(f"w{i}", shape=(32, 32)), name=name))
    graph.output(graph.add(x, start), "y")
    return graph


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four hostile layers and the sum of both branches, with two machines beside it."""
    folder = tmp_path_factory.mktemp("run")
    result = ms.run(layers_of(HOSTILE), ms.Machine.load("edge_8x8").replace("compiler.effort=0"), numerics=False)
    changed = (WhatIf(HOSTILE[0], {"sram.bytes": "1MiB"}, result.cycles // 2),
               WhatIf("other", {"dram.latency": "1ns"}, None, HOSTILE[1]))  # fmt: skip
    write_reports(result.record(), folder, page=True, told=Told(["minisim", "run", HOSTILE[2]], changed))
    return folder


@pytest.fixture(scope="module")
def sweep_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    command = ["sweep", "gemm:64x64x64", "--no-numerics", "--jobs", "1", "--out", str(folder),
               "--param", "sram.bytes=512B,16KiB,32KiB,64KiB", "--param", "dma.channels=1,2",
               "--param", "matrix.rows=16,32", "--set", "compiler.effort=0"]  # fmt: skip
    for args in (command, ["report", str(folder)]):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
    return folder / "sweep.html"


def test_a_run(running: Any, run_folder: Path) -> None:
    with opened(running, run_folder / "report.html") as page:
        rows = page.locator("#layer-table tbody tr")
        count = rows.count()
        assert count == len(ms.run(layers_of(HOSTILE), "edge_8x8", numerics=False).schedule.layers)
        assert page.locator("#roofline-chart .dot").count() == 4
        assert page.locator("#layer-bars > li").count() == page.locator(".model .node").count() == count
        bars = page.evaluate("timeline.begin.length")
        assert bars == page.evaluate("timeline.firsts.at(-1)") > 40
        assert page.locator("#bandwidth-chart path").count() == 3 and page.locator("#occupancy-chart path").count() == 2
        assert page.locator(".changes > li").count() == 2

        # by its head the table is sorted, by the search and the operator it is cut down
        page.get_by_role("button", name="Cycles", exact=True).click()
        keys = rows.locator("td:nth-child(3)").evaluate_all("cells => cells.map(cell => Number(cell.dataset.key))")
        assert keys == sorted(keys, reverse=True) != sorted(keys)
        page.keyboard.press("/")
        page.keyboard.type("img src")
        assert page.locator("#layer-table tbody tr:visible").count() == 1
        assert page.locator("#found").inner_text() == f"1 of {count} rows"
        page.locator("#find").fill("")
        page.locator("#operator").select_option(index=1)
        assert 0 < page.locator("#layer-table tbody tr:visible").count() < count

        # one selection for all pictures
        page.locator("#layer-bars button").first.click()
        chosen = page.locator("#layer-bars .on").get_attribute("data-layer")
        for place in ("#layer-table", ".model", "#roofline-chart"):
            assert page.locator(f"{place} .on").get_attribute("data-layer") == chosen


def test_names_do_no_harm(running: Any, run_folder: Path) -> None:
    with opened(running, run_folder / "report.html") as page:
        assert page.title().endswith("on edge_8x8") and HOSTILE[0] in page.title()
        assert page.locator("script").count() == 2
        assert page.locator("img").count() == 0
        for name in HOSTILE[:3]:
            assert page.locator("#layer-table").get_by_text(name, exact=True).count() == 1
        page.locator("#timeline").scroll_into_view_if_needed()
        page.locator("#bars").hover(position={"x": 400, "y": 80})


def test_the_timeline_by_keyboard_and_pointer(running: Any, run_folder: Path) -> None:
    with opened(running, run_folder / "report.html") as page:

        def span() -> tuple[float, float]:
            found = page.evaluate("[timeline.from, timeline.to]")
            return found[0], found[1]

        whole = span()
        page.locator("#bars").focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        near = span()
        assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) / 1.6**2)
        page.keyboard.press("ArrowRight")
        assert span()[0] > near[0] and span()[1] - span()[0] == pytest.approx(near[1] - near[0])
        page.keyboard.press("0")
        assert span() == whole
        page.keyboard.press("ArrowDown")
        page.keyboard.press("n")
        assert "STORE" in page.locator("#tip").inner_text() and "cycles" in page.locator("#tip").inner_text()
        page.keyboard.press("Enter")
        assert page.locator("#layer-table .on").count() == 1
        page.get_by_role("button", name="Zoom in").click()
        box = page.locator("#bars").bounding_box()
        before = span()
        page.mouse.move(box["x"] + 600, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 500, box["y"] + 40)
        page.mouse.up()
        assert span()[0] > before[0]
        page.keyboard.down("Control")
        page.mouse.wheel(0, -300)
        page.keyboard.up("Control")
        page.wait_for_function("before => timeline.to - timeline.from < before", arg=0.6 * (before[1] - before[0]))
        drawn = page.evaluate("""() => {
            const { width, height } = timeline.canvas, pixels = timeline.pen.getImageData(0, 0, width, height).data;
            let count = 0;
            for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
            return count / (width * height);
        }""")
        assert drawn > 0.02


def test_tabs_and_points_by_keyboard(running: Any, run_folder: Path) -> None:
    with opened(running, run_folder / "report.html") as page:
        page.get_by_role("tab", name="Account").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#panel-busy").is_visible() and not page.locator("#panel-path").is_visible()
        page.locator("#roofline-chart .dot[tabindex='0']").focus()
        page.keyboard.press("ArrowRight")
        first = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert "MACs a cycle" in first
        page.keyboard.press("Enter")
        assert page.locator("#layer-table .on").count() == 1


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone(running: Any, run_folder: Path, sweep_page: Path, dark: bool) -> None:
    """Nothing is wider than the screen, and text stands out from what is behind it (WCAG's AA)."""
    for file in (run_folder / "report.html", sweep_page):
        with opened(running, file, width=360, height=740, dark=dark) as page:
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(20, 23, 26)") == dark
            for name in ("--ink", "--soft", "--accent", "--warn"):
                text = page.evaluate(COLOUR, name)
                assert contrast(text, page.evaluate(COLOUR, "--surface")) >= 4.5
                assert contrast(text, page.evaluate(COLOUR, "--raised")) >= 4.5
            page.locator("#theme").click()
            assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)") != dark


COLOUR = """name => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(${name})`;
    const found = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    return found;
}"""


def contrast(one: list[int], other: list[int]) -> float:
    """The contrast ratio of two colours, as WCAG defines it."""

    def luminance(colour: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_paper(running: Any, run_folder: Path) -> None:
    """In print all is light, open and whole."""
    with opened(running, run_folder / "report.html", dark=True) as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(COLOUR, "--surface") == [255, 255, 255]
        assert page.locator("#panel-busy").is_visible() and not page.locator("#find").is_visible()
        assert page.locator(".tall").evaluate("table => getComputedStyle(table).maxHeight") == "none"


def test_a_sweep(running: Any, sweep_page: Path) -> None:
    with opened(running, sweep_page) as page:
        ran = page.locator("#point-table td:text-is('ok')").count()
        rows = page.locator("#point-table tbody tr")
        assert 0 < ran < rows.count() == 16
        assert page.locator("#pareto-chart .dot").count() == ran
        over = rows.locator("td:nth-child(6)").evaluate_all("cells => cells.map(cell => Number(cell.dataset.key))")
        far = sum(ratio > 1.3 for ratio in over)
        assert 0 < far < ran and page.locator("#pareto-chart .hollow").count() == far
        assert page.locator("#lines-chart .dot").count() >= 4
        assert page.locator("#heat-table td").count() == 8
        page.get_by_role("button", name="energy", exact=True).click()
        assert page.locator("#second-name").inner_text() == "energy"
        page.locator("#metric").select_option("over")
        assert "×" in page.locator("#heat-table").inner_text()
        page.locator("#pareto-chart .dot[tabindex='0']").focus()
        page.keyboard.press("Enter")
        assert page.locator("#point").is_visible()
        assert page.locator("#point-keys tbody tr").count() > 100
        command = page.locator("#point-command").inner_text()
        options = "--set compiler.effort=0 --no-numerics --report --set sram"
        assert command.startswith(f"minisim run gemm:64x64x64 --config npu_32x32 {options}")
        page.keyboard.press("Escape")
        assert not page.locator("#point").is_visible()


def test_a_comparison(running: Any, run_folder: Path, tmp_path: Path) -> None:
    """Of the hostile model with itself on a faster machine: steps that add up, in bars within their room."""
    machine = ms.Machine.load("edge_8x8").replace("compiler.effort=0", "dma.bytes_per_cycle=32", "sram.bytes=16KiB")
    faster = ms.run(layers_of(HOSTILE), machine, numerics=False)
    Comparison(Side.read(run_folder, HOSTILE[0]), Side.of(faster.record(), HOSTILE[1])).write(tmp_path, True, ["x"])
    with opened(running, tmp_path / "compare.html", width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.locator("#layer-table tbody tr").count() == 5 and page.locator("script").count() == 2
        assert "dma.bytes_per_cycle" in page.locator("#keys").inner_text()
        for part in ("#cycles", "#energy"):
            ends = page.locator(f"{part} .end .num:nth-child(3)").all_inner_texts()
            assert len(ends) == 2 and page.locator(f"{part} .waterfall > li").count() > 3
            room = page.locator(f"{part} .waterfall li:first-child .bar").bounding_box()
            for bar in page.locator(f"{part} .waterfall i").all():
                box = bar.bounding_box()
                assert box["x"] >= room["x"] - 1 and box["x"] + box["width"] <= room["x"] + room["width"] + 1


@pytest.mark.parametrize("hostile", [True, False])
def test_a_comparison_of_two_sweeps(running: Any, sweep_page: Path, tmp_path: Path, hostile: bool) -> None:
    """A sweep and itself, or itself with a hostile value of which nobody knows the machine; on a phone, and not."""
    text = (sweep_page.parent / "sweep.csv").read_text()
    value = '"' + HOSTILE[1].replace('"', '""') + '"'
    (tmp_path / "sweep.csv").write_text(text.replace("64KiB,1,16", f"{value},1,16") if hostile else text)
    (tmp_path / "sweep.json").write_bytes((sweep_page.parent / "sweep.json").read_bytes())
    found = SweepComparison(Points.read(sweep_page.parent, HOSTILE[2]), Points.read(tmp_path))
    found.write(tmp_path / "c", page=True, command=["minisim", "compare", HOSTILE[0]])
    costs = ["energy"] if hostile else ["energy", "area"]
    assert sorted(set(found.fronts["against"])) == sorted(costs)
    with opened(running, tmp_path / "c" / "compare.html", width=360 if hostile else 1280) as page:
        assert page.title() == page.evaluate("document.title") != "taken"
        assert page.evaluate("document.documentElement.scrollWidth") == (360 if hostile else 1280)
        assert page.locator("[data-second='area']").is_disabled() == hostile
        for cost in costs:
            page.locator(f"[data-second='{cost}']").click()
            assert page.locator("#fronts-chart .dot").count() == len(found.ran(found.a)) + len(found.ran(found.b))
            on = int((found.fronts["against"] == cost).sum())
            assert page.locator("#fronts-chart .dot:not(.hollow)").count() == on > 2
        assert page.locator("#point-table tbody tr").count() == len(found.points)
        page.locator("#point-table thead button").nth(3).click()
        cells = page.locator("#point-table tbody td:nth-child(4)")
        keys = cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.key))")
        assert keys == sorted(keys, reverse=True) and len(set(keys)) > 2
        assert page.locator("#unmatched-table tbody tr").count() == len(found.unmatched) > 0
