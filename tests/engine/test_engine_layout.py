"""Both sides of the language border mean the same bytes, the same codes and the same stub."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path

import numpy as np
import pytest

import minisim
from minisim import _engine
from minisim.hwmodel import isa

SHARED = sorted(set(isa.TABLES) - {"layers"})  # layers are for reports: the engine has no use for them


def test_tables():
    assert sorted(_engine.layout()) == SHARED


@pytest.mark.parametrize("table", SHARED)
def test_layout(table):
    dtype = isa.TABLES[table]
    assert dtype.fields is not None
    expected = {name: field[1] for name, field in dtype.fields.items()}
    assert _engine.layout()[table] == {"itemsize": dtype.itemsize, **expected}


def test_constants():
    assert (_engine.ALIGNMENT, _engine.NONE) == (isa.ALIGNMENT, isa.NONE)
    assert _engine.TILE_M == _engine.TILE_K == _engine.TILE_N == 32


def test_stub_names_what_the_module_has():
    stub = ast.parse(Path(minisim.__file__).with_name("_engine.pyi").read_text())
    public = {
        node.name if isinstance(node, ast.ClassDef | ast.FunctionDef) else node.target.id
        for node in stub.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name))
    }
    assert {n for n in public if not n.startswith("_")} == {n for n in dir(_engine) if not n.startswith("_")}
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            members = {f.name for f in node.body if isinstance(f, ast.FunctionDef)} - {"__init__"}
            found = {n for n in vars(getattr(_engine, node.name)) if not n.startswith("_")}
            assert members == found, node.name


def test_everything_public_has_a_docstring():
    for name in (n for n in dir(_engine) if not n.startswith("_")):
        thing = getattr(_engine, name)
        members = vars(thing) if isinstance(thing, type) else {}
        methods = {n: m for n, m in members.items() if callable(m) and not n.startswith("_")}
        for label, documented in {name: thing, **methods}.items():
            if callable(documented):  # pybind11 puts the signature first, with an arrow
                lines = (documented.__doc__ or "").splitlines()
                assert [line for line in lines if line.strip() and "->" not in line], label


def test_worked_example():
    results = doctest.testmod(_engine)
    assert results.attempted >= 10
    assert results.failed == 0


def test_reprs_are_the_calls_that_make_them():
    tile = _engine.Tile(1, 2, 3, 4, 5, sram=0x40)
    for thing in (
        tile,
        _engine.SchedLoad(tile),
        _engine.SchedStore(tile, version=3),
        _engine.SchedExecute(tile, tile, tile, step=1, steps=2, bias=tile, activation=isa.Activation.RELU),
        _engine.SchedVector(isa.VectorOp.ADD, tile, tile, tile),
        _engine.EngineConfig(1024, kernel="reference", check_hazards=False),
        _engine.Engine(_engine.EngineConfig(64)),
    ):
        assert repr(eval(repr(thing), vars(_engine).copy())) == repr(thing)
    number = _engine.SchedVector(isa.VectorOp.MUL, tile, tile, 1 / 3)
    assert repr(number).endswith("src1=0.333333343, src2=None)")  # nine digits tell every float
    assert repr(_engine.Engine(_engine.EngineConfig(64)).stats).startswith("EngineStats(loads=0, stores=0,")


def test_dtypes_of_other_shape_are_refused():
    engine = _engine.Engine(_engine.EngineConfig(1024))
    tables = {name: np.zeros(0, isa.TABLES[name]) for name in SHARED}
    tables["tiles"] = np.zeros(0, [(n, "i4") for n in isa.TILE_DTYPE.names])
    with pytest.raises(minisim.errors.ScheduleError, match="table 'tiles' must be a packed column of dtype"):
        engine.load(**tables)
