"""Ragged rows and richer machines: neither may cost more. The figures of the issues that strangers filed, and 60 random
networks; `benchmarks/anomalies.py` tries any number."""

from __future__ import annotations

from itertools import islice

import pytest
from support.networks import Network, networks, with_more

import minisim as ms

TOLERANCE = 1.01
CASES = [*islice(networks(seed=1), 60)]


@pytest.mark.parametrize("network", CASES, ids=str)
def test_rows_as_they_are_take_no_longer_than_padded(network: Network) -> None:
    assert network.cycles() <= TOLERANCE * network.padded.cycles()


@pytest.mark.parametrize(("seed", "network"), [*enumerate(CASES, 1)], ids=str)
def test_more_hardware_is_not_slower(seed: int, network: Network) -> None:
    what, richer = with_more(network, seed)
    assert richer.cycles() <= TOLERANCE * network.cycles(), what


def cycles(model: str, preset: str = "npu_32x32", **fields: object) -> int:
    machine = ms.Machine.load(preset).with_overrides({key.replace("__", "."): x for key, x in fields.items()})
    return ms.run(ms.load_model(model), machine, numerics=False).cycles


def layers(rows: int, *widths: int, bias: bool = True, **fields: object) -> int:
    machine = ms.Machine().with_overrides({key.replace("__", "."): x for key, x in fields.items()})
    return Network(rows, widths, bias, residual=False, relu=False, machine=machine).cycles()


@pytest.mark.parametrize("rows", [1, 31, 127])
def test_ragged_rows_stream_weights_at_the_dma_port(rows: int) -> None:
    """All of w passes the port of 512 B/cycle once; the rest is latency, and the few rows of x and y."""
    bound = 4096 * 4096 * 4 / 512
    assert bound <= cycles(f"gemm:{rows}x4096x4096", "tpu_like_128x128") <= 1.08 * bound


def test_a_thin_last_row_of_tiles_is_no_pass_of_its_own() -> None:
    one, more, two = (cycles(f"gemm:{m}x4096x4096", "tpu_like_128x128") for m in (128, 129, 256))
    assert one <= more <= 1.01 * one < two


@pytest.mark.parametrize("sram", ["32KiB", "40KiB", "160KiB", "4MiB"])
def test_decode_streams_its_weights_whatever_the_sram(sram: str) -> None:
    bound = 768 * 3072 * 4 / 16
    assert bound <= cycles("gemm:1x768x3072", sram__bytes=sram) <= 1.01 * bound


@pytest.mark.parametrize("sram", ["384KiB", "1MiB", "4MiB"])
def test_a_bias_costs_what_its_bytes_cost(sram: str) -> None:
    fields = {"sram__bytes": sram, "dma__bytes_per_cycle": 32}
    assert layers(64, 4096, 4096, **fields) <= 1.01 * layers(64, 4096, 4096, bias=False, **fields)


def test_a_chain_of_layers_never_slows_down_with_more_sram() -> None:
    found = [
        layers(64, 1024, 4096, 4096, 1000, sram__bytes=sram, dma__bytes_per_cycle=32)
        for sram in ("192KiB", "256KiB", "384KiB", "512KiB", "1MiB", "8MiB", "16MiB")
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] <= 1.15 * found[-1]


def test_faster_lanes_do_not_send_the_work_of_two_cores_to_one() -> None:
    """The DRAM is 13 % busy: one core is not as good as two because neither would be limited by its lanes."""
    fields = {"sram__bytes": 65536, "cores__count": 2}
    slow, fast = (
        cycles("softmax:300x384", "tpu_like_128x128", vector__lanes=lanes, **fields) for lanes in (1024, 2048)
    )
    assert fast <= slow


def test_a_second_channel_does_not_send_the_work_of_two_cores_to_one() -> None:
    fields = {"sram__bytes": 32768, "cores__count": 2}
    one, two = (layers(256, 17, 300, 384, bias=False, dma__channels=channels, **fields) for channels in (1, 2))
    assert two <= one


def test_a_second_channel_helps_on_a_banked_dram() -> None:
    one, two = (
        cycles("gemm:32x100x512", "edge_8x8", dram__model="banked", dma__channels=channels) for channels in (1, 2)
    )
    assert two <= one
