"""Constraints: expressions over the keys of a machine, such as ``matrix.rows * matrix.cols == 1024``, and over results.

They look like Python, of which they have numbers, texts, keys, arithmetic (+ - * / // %), comparisons, and, or, not,
min, max and abs; nothing else, and nothing is ever executed. Arithmetic is exact. Quantities are written as in a
machine file (``sram.bytes <= 256KiB``), and stand for the number in the key's base unit. Those that name a result
(``cycles <= 2e6``, `results`) can be told when a point has run, and then also how far it is from what was asked.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from minisim.errors import UsageError, did_you_mean, shortened
from minisim.hwmodel import units
from minisim.hwmodel.config import Machine, keys, near_key
from minisim.sweeps.results import ENERGIES, RESULTS, Measured

Value: TypeAlias = "int | Fraction | str | bool"
Lookup = Callable[[str], Value]
"""The value of a key at a point."""

MOST_CHARACTERS = 1_000
"""Of an expression: whatever is written in so many takes no notable time, or depth of recursion."""

_QUANTITY = re.compile(
    r"(?<![\w.'\"])(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s?((?:[kKMGT]i?)?B(?:/s)?|[kMGT]?Hz|[pnum]?s|[fpnum]?J|[num]?W|mm2)\b"
)
AREA = "mm2"
"""The unit of areas, which are plain numbers of it."""

_UNITS = (units.SIZE, units.RATE, units.FREQUENCY, units.TIME, ENERGIES, units.POWER)

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: Fraction(a) / b,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


@dataclass(frozen=True)
class Constraint:
    """An expression that is true of the points that are kept.

    Attributes:
        text: as typed.
        place: where it was typed, for messages.
        keys: those that it names.
        results: those that it names; without any it can be told before a point runs.
    """

    text: str
    place: str
    keys: frozenset[str]
    results: frozenset[str]
    tree: ast.expr

    @classmethod
    def parse(cls, text: str, place: str = "--where") -> Constraint:
        """Read an expression.

        Raises:
            UsageError: it is none.
        """
        where = f"{place} {shortened(text, 120)}"
        if len(text) > MOST_CHARACTERS:
            raise UsageError(f"{where}: a constraint may have {MOST_CHARACTERS:,} characters at most")
        try:
            tree = ast.parse(_in_base_units(text.strip()), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            rule = e.msg if isinstance(e, SyntaxError) else str(e)
            raise UsageError(f"{where}: is no expression such as matrix.rows * matrix.cols == 1024 ({rule})") from None
        named: set[str] = set()
        try:
            _check(tree, named)
        except (ValueError, RecursionError) as e:
            raise UsageError(f"{where}: {e if isinstance(e, ValueError) else 'is nested too deeply'}") from None
        if not named:
            raise UsageError(f"{where}: must name a key, such as sram.bytes")
        results = frozenset(named & RESULTS.keys())
        if results and isinstance(tree, ast.Name | ast.BinOp | ast.Call):  # of keys some are true or false
            raise UsageError(f"{where}: must compare something, such as cycles <= 2e6")
        if results == named and (plain := _without_unit(text, results)):
            example = RESULTS[plain].quantity.example  # type: ignore[union-attr]
            raise UsageError(f"{where}: {plain} must be compared with a quantity such as {example}")
        return cls(text.strip(), place, frozenset(named - results), results, tree)

    def holds(self, value_of: Lookup) -> bool:
        """Whether it is true at a point.

        Raises:
            UsageError: it cannot be told there: a division by zero, a text compared with a number.
        """
        try:
            found = _value(self.tree, value_of)
            if not isinstance(found, bool):
                raise TypeError(f"must compare something, and not be a number ({_shown(found)})")
        except (ZeroDivisionError, TypeError) as e:
            at = ", ".join(f"{name}={_shown(value_of(name))}" for name in sorted(self.keys | self.results))
            rule = "divides by zero" if isinstance(e, ZeroDivisionError) else _rule(e)
            raise UsageError(f"{self.place} {shortened(self.text, 120)}: {rule} (at {at})") from None
        return found

    def holds_on(self, machine: Machine, given: Mapping[str, Value] | None = None) -> bool:
        """Whether it is true of a machine; raises as `holds` does."""
        return self.holds(lambda key: (given or {}).get(key, _of(machine, key)))

    def violation(self, point: Measured) -> float:
        """How far a point that ran is from making it true: 0 if it is, else a share of what is compared, above 0.

        Raises:
            UsageError: as `holds` does.
        """

        def value_of(name: str) -> Value:
            return RESULTS[name].exact(point) if name in RESULTS else _of(point.machine, name)

        return 0.0 if self.holds(value_of) else max(_LEAST, _violation(self.tree, value_of))


def _without_unit(text: str, results: frozenset[str]) -> str | None:
    """A result that has a unit, of which no quantity stands in the text; None if there is none."""
    found = {match[2] for match in _QUANTITY.finditer(text)}
    plain = (name for name in sorted(results) if (unit := RESULTS[name].quantity) and not found & unit.scales.keys())
    return next(plain, None)


def _shown(value: Value) -> object:
    return f"{float(value):.6g}" if isinstance(value, Fraction) and value.denominator != 1 else value


def _rule(error: TypeError) -> str:
    text = str(error)
    return text if text.startswith("must") else "compares or reckons with values of different kinds"


def _of(machine: Machine, key: str) -> Value:
    """The value of a key on a machine, in base units."""
    found: Any = machine
    for part in key.split("."):
        found = getattr(found, part)
    value: Value = found
    return value


def _in_base_units(text: str) -> str:
    """`text` with plain numbers for quantities; energies are in fJ, as the keys hold them."""

    def number(match: re.Match[str]) -> str:
        if match[2] == AREA:
            return match[1]
        unit = next(unit for unit in _UNITS if match[2] in unit.scales)
        value = unit.parse(match[1] + match[2])
        return f"({value.numerator}/{value.denominator})" if value.denominator != 1 else str(value.numerator)

    quoted = re.split(r"('[^']*'|\"[^\"]*\")", text)
    return "".join(part if i % 2 else _QUANTITY.sub(number, part) for i, part in enumerate(quoted))


def _check(node: ast.expr, named: set[str]) -> None:
    """Refuse, with a ValueError, what no constraint has; gather the keys."""
    match node:
        case ast.Constant(value=bool() | str()):
            return
        case ast.Constant(value=int() | float()):
            _number(node)
            return
        case ast.Name() | ast.Attribute():
            named.add(_known_key(node))
            return
        case ast.BoolOp(values=operands):
            pass
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            operands = [operand]
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _ARITHMETIC:
            operands = [left, right]
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            operands = [left, *rest]
        case ast.Call(func=ast.Name(id=name), args=operands, keywords=[]) if name in _FUNCTIONS and operands:
            if name == "abs" and len(operands) != 1:
                raise ValueError("abs has one argument")
        case ast.Call(func=ast.Name(id=name)):
            near = did_you_mean(name, _FUNCTIONS)
            raise ValueError(f"there is no function {name!r}{near} (min, max and abs there are)")
        case _:
            raise ValueError(f"{shortened(ast.unparse(node), 40)!r} is nothing that a constraint may have: keys, "
                             "numbers, texts, + - * / // %, comparisons, and, or, not, min, max, abs")  # fmt: skip
    for operand in operands:
        _check(operand, named)


def _known_key(node: ast.expr) -> str:
    name = ast.unparse(node)
    if not re.fullmatch(r"\w+(\.\w+)*", name):
        raise ValueError(f"{shortened(name, 40)!r} is no key")
    if name in RESULTS:
        return name
    if "." not in name and (near := did_you_mean(name, RESULTS)):
        raise ValueError(f"{shortened(name, 40)!r} is neither a key nor a result{near}")
    if name not in keys():
        raise ValueError(f"unknown key {shortened(name, 40)!r}{near_key(name)}")
    return name


def _number(node: ast.Constant) -> int | Fraction:
    if isinstance(node.value, int):
        return node.value
    try:
        return Fraction(repr(node.value))
    except (ValueError, OverflowError):
        raise ValueError("a number is too large") from None


def _value(node: ast.expr, value_of: Lookup) -> Value:
    """The value of an expression that `_check` has passed."""
    found: Any
    match node:
        case ast.Constant(value=bool() | str()):
            found = node.value
        case ast.Constant():
            found = _number(node)
        case ast.Name() | ast.Attribute():
            found = value_of(ast.unparse(node))
        case ast.BoolOp(op=op, values=operands):
            together = all if isinstance(op, ast.And) else any
            found = together(_truth(operand, value_of) for operand in operands)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = not _truth(operand, value_of)
        case ast.UnaryOp(op=op, operand=operand):
            found = _SIGNS[type(op)](_value(operand, value_of))
        case ast.BinOp(op=op, left=left, right=right):
            sides = _value(left, value_of), _value(right, value_of)
            if any(isinstance(side, str | bool) for side in sides):
                raise TypeError("must reckon with numbers")
            found = _ARITHMETIC[type(op)](*sides)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            values = [_value(each, value_of) for each in (left, *rest)]
            found = all(_COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Call(func=ast.Name(id=name), args=operands):
            found = _FUNCTIONS[name](*(_value(each, value_of) for each in operands))
        case _:  # pragma: no cover
            raise AssertionError(ast.dump(node))
    checked: Value = found
    return checked


def _truth(node: ast.expr, value_of: Lookup) -> bool:
    found = _value(node, value_of)
    if not isinstance(found, bool):
        raise TypeError("must have comparisons on both sides of and, or, not")
    return found


_LEAST = 1e-9
"""Of a violation, where what is compared is equal, or nearly."""


def _violation(node: ast.expr, value_of: Lookup) -> float:
    """How far an expression that can be told is from being true."""
    match node:
        case ast.BoolOp(op=ast.And(), values=operands):
            return sum(_violation(each, value_of) for each in operands)
        case ast.BoolOp(values=operands):
            return min(_violation(each, value_of) for each in operands)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            values = [_value(each, value_of) for each in (left, *rest)]
            pairs = zip(ops, values, values[1:], strict=False)
            return sum(_apart(a, b) for op, a, b in pairs if not _COMPARISONS[type(op)](a, b))
    return 0.0 if _value(node, value_of) else 1.0


def _apart(a: Value, b: Value) -> float:
    """The distance of two numbers as a share of the larger one; of what is no number, or of equal ones, all of it."""
    if isinstance(a, str) or isinstance(b, str):
        return 1.0
    one, other = Fraction(a), Fraction(b)
    most = max(abs(one), abs(other))
    return float(abs(one - other) / most) if most else 1.0
