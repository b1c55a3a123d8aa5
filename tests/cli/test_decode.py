"""--decode and --prefill of files: what the command makes of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from support.decoders import Decoder


def test_a_file_is_decoded(minisim: Any, folder: Path) -> None:
    Decoder("Concat", 1, names=("cache.{}.{}", "next.{}.{}")).save(folder / "m.onnx")
    states = [part for kind in ("key", "value") for part in ("--state", f"cache.0.{kind}=next.0.{kind}")]
    options = ["m.onnx", "--prefill", "3", "--decode", "1", "--batch", "2", "--chunk", "2", "--kv-page", "2", *states]
    text = minisim("run", *options, "--value", "input_ids=1,2,3,4,5,6,7,8").stdout
    assert "checked largest error" in text and "2 tokens decoded in" in text
    with (folder / "out/decode.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["phase"], row["position"], row["tokens"]) for row in rows] == [
        ("prefill", "2", "4"), ("prefill", "3", "2"), ("decode", "4", "2")]  # fmt: skip
    assert int(rows[-1]["kv_transfers"]) > int(rows[0]["kv_transfers"]) > 0
    assert "checked" not in minisim("run", *options, "--no-check").stdout
    text = minisim("run", *options, "--dim", "batch=2", code=2).stderr
    assert "dimension 'batch' is not bound: --batch and --prefill say its size" in text
    text = minisim("run", *options, "--value", "input_ids=1,2,3", code=2).stderr
    assert "input_ids must be 2 x 4 numbers, not 3" in text
    for page in ("0", "65536"):
        assert f"{page} is not in the range 1<=x<=65535" in minisim("run", *options, "--kv-page", page, code=2).stderr
    text = minisim("run", *options[:5], code=2).stderr
    assert "is no decoder with a cache: no input past_key_values.0.key with an output present.0.key" in text


def test_a_file_is_run_on_tokens(minisim: Any, folder: Path) -> None:
    Decoder("repeated", 1, cached=False).save(folder / "m.onnx")
    assert "checked" in minisim("run", "m.onnx", "--prefill", "3", "--batch", "2", "--no-what-if").stdout
    assert (folder / "out/summary.csv").is_file()
