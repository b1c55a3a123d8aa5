"""Mutants: the small faults that are put into the sources one at a time, and a sample of them.

The operators are cosmic-ray's, on parso's syntax tree; one is added that swaps words (min and max). Of theirs those are
taken that a tired programmer could have written: a neighbouring number, the other sign, a boundary, a condition turned
round. That makes a harder score than all of them would: `a ** b` in place of `a + b` is caught by any test.

Left out is what cannot be told wrong, because nothing runs differently: type annotations, `strict=True` of zip and
`frozen=True` of dataclasses (checks of the code on itself), decorators that only save time or only forbid, and how much
is done at once, where the result is the same in other pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

FOLDERS = ("compiler", "hwmodel", "reports", "src")
"""What is mutated, and scored apart."""

SWAPS = {"min": "max", "any": "all", "argmin": "argmax", "minimum": "maximum", "ceil": "floor", "cumsum": "cumprod"}
SWAPS |= {new: old for old, new in SWAPS.items()}

PAIRS = (
    "Binary Add Sub", "Binary Sub Add", "Binary Mul Add", "Binary Mul FloorDiv", "Binary Div Mul",
    "Binary FloorDiv Mul", "Binary Mod FloorDiv", "Binary Pow Mul", "Binary BitOr BitAnd", "Binary BitAnd BitOr",
    "Binary LShift RShift", "Binary RShift LShift",
    "Comparison Eq NotEq", "Comparison NotEq Eq", "Comparison Is IsNot", "Comparison IsNot Is",
    "Comparison Lt LtE", "Comparison LtE Lt", "Comparison Gt GtE", "Comparison GtE Gt",
    "Comparison Lt GtE", "Comparison LtE Gt", "Comparison Gt LtE", "Comparison GtE Lt",
    "Unary USub UAdd", "Unary Delete Not", "Unary Delete Invert",
)  # fmt: skip
"""Kind, from, to: of the operators that replace an operator."""

OTHERS = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "RemoveDecorator",
    "ZeroIterationForLoop",
)  # fmt: skip

ONLY_SAVE_TIME_OR_FORBID = ("lru_cache", "cache", "abstractmethod", "override")
CHECKS_ON_ITSELF = ("strict", "frozen")
AT_ONCE = ("COMPARED_AT_ONCE", "BATCH", "PIECE")
"""Constants that say how much is done at once."""


class SwapWord(Operator):
    """min for max, any for all, ..., where they are called."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "name" and node.value in SWAPS and (following := node.get_next_leaf()) and following == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name(SWAPS[node.value], node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> Sequence[Any]:
        return ()


class ForgetException(Operator):
    """Another exception's name for one that is caught, if it is a plain name (cosmic-ray's own wants all to be)."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        outer = node.parent
        while outer is not None and outer.type in ("atom", "testlist_comp"):
            outer = outer.parent
        caught = node.type == "name" and outer is not None and outer.type == "except_clause"
        if caught and node.get_previous_leaf() != "as":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name("NotImplementedError", node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> Sequence[Any]:
        return ()


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        path: of the file, from the root of the repository.
        operator, occurrence: cosmic-ray's name of the kind, and which of its places in the file.
        line: where, from 1.
        defines: if the line runs when its module is imported, and not when a function is called: the name that it
            gives a value (of a constant, a field, a function with this default); "" if it gives none. Else None.
        place: the text of the line, and which of the equal ones it is: the same when lines come and go elsewhere.
    """

    path: str
    operator: str
    occurrence: int
    line: int
    defines: str | None
    place: str

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]

    def apply(self, source: str) -> str:
        """`source` with the fault."""
        code = mutate_code(source, _operators()[self.operator], self.occurrence)
        assert code is not None
        return str(code)

    def diff(self, source: str) -> tuple[str, str]:
        """What changes: the lines before, and after (stripped; '' if they are gone)."""
        before, after = source.splitlines(), self.apply(source).splitlines()
        start = next(i for i, pair in enumerate(zip([*before, None], [*after, None], strict=False)) if len({*pair}) > 1)
        end = 0
        while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
            end += 1
        old, new = (lines[start : len(lines) - end] for lines in (before, after))
        return " ".join(x.strip() for x in old), " ".join(x.strip() for x in new)


def looks_the_same(before: str, after: str) -> bool:
    """Whether a line that prints is mutated in a way that no screen shows: a padding below 0 is none, as 0 is."""
    pairs = zip(before.split(), after.replace("( -1", "(-1").split(), strict=False)
    changed = [(old.strip("(),"), new.strip("(),")) for old, new in pairs if old != new]
    return "adding" in before and changed == [("0", "-1")]


def _operators() -> dict[str, Operator]:
    provider = OperatorProvider()
    names = [f"Replace{kind}Operator_{old}_{new}" for kind, old, new in (pair.split() for pair in PAIRS)]
    found = {name: provider[name]() for name in (*names, *OTHERS)}
    return {**found, "SwapWord": SwapWord(), "ExceptionReplacer": ForgetException()}


def find(path: str, source: str) -> list[Mutant]:
    """All mutants of a file."""
    lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
    found: list[Mutant] = []
    seen = dict.fromkeys(lines, 0)
    nth = {}  # of each line, how many equal ones come before it
    for i, text in enumerate(lines, 1):
        nth[i], seen[text] = seen[text], seen[text] + 1
    for name, operator in _operators().items():
        places = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (node, (line, column)) in enumerate(places):
            if _means_something(name, node):
                place = f"{lines[line - 1].strip()}#{nth[line]}:{column}"
                found.append(Mutant(path, name, occurrence, line, _defines(node), place))
    return found


def _means_something(operator: str, node: Any) -> bool:
    """See the module's docstring."""
    if node.type == "if_stmt" and node.children[1].get_code().strip() == "TYPE_CHECKING":
        return False
    if operator == "RemoveDecorator":
        return not any(word in node.get_code() for word in ONLY_SAVE_TIME_OR_FORBID)
    inner = node
    while (outer := inner.parent) is not None:
        if outer.type == "expr_stmt" and outer.children[0].get_code().strip() in AT_ONCE:
            return False
        if outer.type in ("tfpdef", "annassign", "param", "funcdef", "lambdef") and _is_annotation(inner, outer):
            return False
        if outer.type == "argument" and outer.children[0].get_code().strip() in CHECKS_ON_ITSELF:
            return False
        if outer.type == "if_stmt" and outer.children[1].get_code().strip() == "TYPE_CHECKING":
            return False
        inner = outer
    return True


def _is_annotation(inner: Any, outer: Any) -> bool:
    if outer.type == "annassign":  # : annotation = value
        return inner is outer.children[1]
    if outer.type == "funcdef":
        return inner is outer.annotation
    return outer.type == "tfpdef"


def _defines(node: Any) -> str | None:
    """The name that a node outside all bodies of functions (in a default or a decorator, too) has a part in."""
    inner, name = node, ""
    while (outer := inner.parent) is not None:
        if outer.type in ("funcdef", "lambdef") and inner is outer.children[-1]:
            return None
        if not name and outer.type == "expr_stmt":
            name = outer.children[0].get_last_leaf().value
        elif not name and outer.type in ("funcdef", "classdef"):
            name = outer.name.value
        elif not name and outer.type == "decorated":
            name = outer.children[-1].name.value
        inner = outer
    return name


def sample(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` of them: one for each place that is drawn, so that no kind weighs more for having more variants.

    The draw is by a hash of the seed and the place's text. So a change elsewhere leaves the rest of a sample as it was.
    """

    def rank(*parts: object) -> str:
        return hashlib.sha256("\n".join(map(str, (seed, *parts))).encode()).hexdigest()

    best: dict[tuple[str, str], Mutant] = {}
    for mutant in mutants:
        key = mutant.path, mutant.place
        if key not in best or rank(*key, mutant.operator, mutant.occurrence) < rank(
            *key, best[key].operator, best[key].occurrence
        ):
            best[key] = mutant
    return [best[key] for key in sorted(best, key=lambda key: rank(*key))[:count]]


def sources(root: Path, folders: Sequence[str] = FOLDERS) -> dict[str, str]:
    """The Python files of these folders: text by path from the root."""
    paths = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in paths}
