"""Pictures of the pages for docs/images: a run of resnet50, a sweep, and comparisons of runs and of sweeps.

    python benchmarks/screenshots.py            # runs them, takes the pictures, says how large pages and pictures are
    python benchmarks/screenshots.py --timing   # how long 100,000 bars take to draw, and zoomed in

Needs Chromium, and the packages playwright and Pillow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
IMAGES = ROOT / "docs" / "images"

COLOURS = 200
"""Of a picture: flat colours need no more."""

DESKTOP, PHONE = (1120, 900), (360, 740)

RUN = ("run", "resnet50", "--no-numerics", "--report")
SWEEP = ("sweep", "resnet50", "--no-numerics", "--report", "--set", "compiler.effort=0", "--param",
         "sram.bytes=64KiB,128KiB,256KiB,512KiB,1MiB,2MiB", "--param", "dram.bandwidth=12.8GB/s,25.6GB/s,51.2GB/s",
         "--param", "dma.bytes_per_cycle=16,32,64")  # fmt: skip

BEFORE, AFTER = ("sweeps/before", "sweeps/after")
SWEEPS = [
    ("sweep", "mobilenet_v2:size=96", "--no-numerics", "--set", "compiler.effort=0",
     "--set", f"dma.channels={channels}",
     "--param", "sram.bytes=64KiB,128KiB,256KiB,512KiB,1MiB", "--param", "dram.bandwidth=12.8GB/s,25.6GB/s,51.2GB/s",
     "--out", folder) for folder, channels in ((BEFORE, 1), (AFTER, 2))
]  # fmt: skip
COMPARE_SWEEPS = ("compare", BEFORE, AFTER, "--report", "--out", "sweeps")

COMPARE = ("compare", "npu_32x32", "--change", "sram.bytes=1MiB", "--model", "resnet50", "--report")

PICTURES = {
    "run-desktop": ("report.html", DESKTOP, "", False),
    "run-phone": ("report.html", PHONE, "", False),
    "run-dark": ("report.html", DESKTOP, "#roofline", True),
    "run-timeline": ("report.html", DESKTOP, "#timeline", False),
    "sweep-desktop": ("sweep.html", DESKTOP, "", False),
    "sweep-phone": ("sweep.html", PHONE, "", False),
    "compare-desktop": ("compare.html", DESKTOP, "", False),
    "compare-sweeps-desktop": ("sweeps/compare.html", DESKTOP, "", False),
}
"""Of each picture the page, the window, the part that is scrolled to, and whether it is dark."""


def main() -> None:
    """Take the pictures, or the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timing", action="store_true")
    parser.add_argument("--folder", type=Path, help="of results that are there already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        if not given.folder:
            for command in (RUN,) if given.timing else (RUN, SWEEP, COMPARE):
                minisim(*command, "--out", ".", folder=folder)
            for command in () if given.timing else (*SWEEPS, COMPARE_SWEEPS):
                minisim(*command, folder=folder)
        from support.browser import browser

        with browser() as running:
            if given.timing:
                print_timing(running, folder / "report.html")
            else:
                take_all(running, folder)


def minisim(*command: str, folder: Path) -> None:
    """Run a command there."""
    subprocess.run([sys.executable, "-m", "minisim", *command], check=True, cwd=folder)


def take_all(running: Any, folder: Path) -> None:
    """Each of PICTURES, with few colours."""
    from PIL import Image
    from support.browser import opened

    IMAGES.mkdir(exist_ok=True)
    for name, (file, (width, height), part, dark) in PICTURES.items():
        path = IMAGES / f"{name}.png"
        with opened(running, folder / file, width, height, dark) as page:
            page.set_viewport_size({"width": width, "height": 2 * height if height > width else height + 500})
            if part:
                page.locator(part).evaluate("section => section.scrollIntoView()")
            page.wait_for_timeout(300)
            page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    for file in ("report.html", "sweep.html"):
        print(f"{file}: {(folder / file).stat().st_size:,} bytes")


def print_timing(running: Any, file: Path) -> None:
    """Milliseconds to open the page, to draw all bars, and to zoom; medians of 20."""
    from support.browser import opened

    began = time.perf_counter()
    with opened(running, file, *DESKTOP) as page:
        print(f"opened and drawn in {time.perf_counter() - began:.2f} s; {file.stat().st_size:,} bytes")
        print(f"{page.evaluate('timeline.begin.length'):,} bars in {page.evaluate('timeline.rows.length')} rows")
        for what, act in (
            ("all of them", "timeline.draw()"),
            ("zoomed in by 2, and again", "timeline.zoom(2)"),
            ("moved", "timeline.move(0.1)"),
        ):
            page.evaluate("timeline.whole()")
            times = page.evaluate(f"""async () => {{
                const found = [], frames = [];
                for (let i = 0; i < 20; i++) {{
                    const began = performance.now();
                    {act};
                    found.push(performance.now() - began);
                    await new Promise(requestAnimationFrame);
                    frames.push(performance.now() - began);
                }}
                return [found, frames];
            }}""")
            drawn, frames = map(sorted, times)
            print(f"{what}: {drawn[10]:.1f} ms (the first {times[0][0]:.1f}), to the next frame {frames[10]:.1f} ms")


if __name__ == "__main__":
    main()
