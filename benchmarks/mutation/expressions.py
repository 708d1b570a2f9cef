"""Mutants of the project's own modules: single changes of an expression in the body of a function.

Knows Python's syntax; runs nothing and judges nothing.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from changes import Mutant, replace_node

__all__ = ["KINDS", "Change", "changed_lines", "changes_of"]

COMMENT = re.compile(r"(^|\s+)# [^'\"]*$")
"""A comment without quotes: with some, the sign may stand in a text."""
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
KINDS = {
    "operator": "+ and -, * and /, ** to *",
    "comparison": "< and <=, == and !=, in and not in, is and is not",
    "connective": "and and or",
    "sign": "- or not left out",
    "constant": "an integer one larger, True and False",
    "branch": "a condition negated",
    "matrix": "factors of @ exchanged, .T left out",
}


@dataclass(frozen=True)
class Change:
    """One mutant of a module, with the changed lines before and after and the text of the function that they are in.

    ``occurrence`` counts the changes of the function that have the same kind and lines, from 0.
    """

    mutant: Mutant
    before: str
    after: str
    body: str
    occurrence: int = 0

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What tells the change from the others of its function: it survives edits of all other lines."""
        return (self.mutant.kind, self.before, self.after, self.occurrence)

    @property
    def key(self) -> str:
        """A hash of the change and its function, docstrings aside: a verdict holds for as long as it stays the same.

        Neither the module's path nor the rest of its text nor the function's name is part of it.
        """
        return hashlib.sha256("\n".join([*map(str, self.identity), self.body]).encode()).hexdigest()


def changes_of(source: str) -> list[Change]:
    """Every mutant that there is of a module's text."""
    found: list[Change] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for function, place in places(ast.parse(source)):
        for kind, node, after in alternatives(place):
            mutant = replace_node(source, kind, function.name, node, after)
            lines = changed_lines(source, mutant.source)
            same = (kind, function.name, *lines)
            found.append(Change(mutant, *lines, text_without_docstring(function), seen[same]))
            seen[same] += 1
    return found


def places(node: ast.AST, function: ast.FunctionDef | None = None) -> Iterator[tuple[ast.FunctionDef, ast.AST]]:
    """The nodes of function bodies, and the function each is in; not those of messages and other text."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise | ast.JoinedStr):
            continue
        if isinstance(child, ast.FunctionDef):
            yield from places(ast.Module(child.body, []), child)
            continue
        if function:
            yield function, child
        yield from places(child, function)


def alternatives(node: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """What is made of one node: the kind of change, the expression and the text that takes its place."""
    match node:
        case ast.BinOp(left, ast.MatMult(), right):
            yield "matrix", node, f"({ast.unparse(ast.BinOp(right, node.op, left))})"
        case ast.BinOp(left, op, right) if type(op) in SWAPS:
            yield "operator", node, f"({ast.unparse(ast.BinOp(left, SWAPS[type(op)](), right))})"
        case ast.Compare(left, [op], right) if type(op) in SWAPS:
            yield "comparison", node, f"({ast.unparse(ast.Compare(left, [SWAPS[type(op)]()], right))})"
        case ast.BoolOp(op, values):
            yield "connective", node, f"({ast.unparse(ast.BoolOp(SWAPS[type(op)](), values))})"
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield "sign", node, f"({ast.unparse(operand)})"
        case ast.Constant(bool(value)):
            yield "constant", node, repr(not value)
        case ast.Constant(int(value)):
            yield "constant", node, repr(value + 1)
        case ast.Attribute(value, "T"):
            yield "matrix", node, ast.unparse(value)
        case ast.If(test) | ast.IfExp(test) | ast.While(test) if not _is_negated_by_another_kind(test):
            yield "branch", test, f"(not ({ast.unparse(test)}))"


def _is_negated_by_another_kind(test: ast.expr) -> bool:
    """Whether another kind of change negates the condition."""
    match test:
        case ast.UnaryOp(ast.Not()) | ast.Compare(_, [ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()]):
            return True
        case ast.Compare(_, [ast.Is() | ast.IsNot()]):
            return True
    return False


def changed_lines(source: str, mutant: str) -> tuple[str, str]:
    """The lines in which the two differ, in one line each, comments aside."""
    old, new = source.splitlines(), mutant.splitlines()
    shorter = min(len(old), len(new))
    head = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    tail = next((n for n in range(shorter - head) if old[-1 - n] != new[-1 - n]), shorter - head)
    before, after = (lines[head : len(lines) - tail] for lines in (old, new))
    return join_lines(before), join_lines(after)


def join_lines(lines: Iterable[str]) -> str:
    """The lines in one, without the comments at their ends and with single spaces."""
    return " ".join(" ".join(COMMENT.sub("", line) for line in lines).split())


def text_without_docstring(function: ast.FunctionDef) -> str:
    """The code of a function alone: neither comments nor its docstring nor how its lines are broken."""
    body = function.body
    if len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return "\n".join([ast.unparse(function.args), *map(ast.unparse, body)])
