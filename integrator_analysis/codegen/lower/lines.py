"""Lines of Python: assignments, calls, lists and returns that fit the line width.

Knows text and printed expressions; knows no sampler.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definitions
from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.codegen.printer import SourcePrinter

__all__ = ["SourceFunction"]

WIDTH = 112

PAIR = "t: float, s: float, h: float"
"""The arguments of a function of two times. h is t - s, which is known better than by subtraction where t is a node."""

Expressions = Sequence[sympy.Expr]


@dataclass(frozen=True)
class SourceFunction:
    """A function of the generated module: its signature, its docstring and its body, line by line."""

    signature: str
    docstring: str
    lines: tuple[str, ...]
    result: str = "tuple[float, ...]"


class Tail(NamedTuple):
    """What is appended to the arguments of every function that computes coefficients: declared, and passed on."""

    declared: str = ""
    passed: str = ""


def needed_functions(expressions: Iterable[sympy.Expr], definitions: Definitions, arity: int) -> list[sympy.Function]:
    """The defined functions of ``arity`` arguments that the expressions use, directly or not, in table order."""
    used: set[sympy.Function] = set()
    pending = {c.func for e in expressions for c in e.atoms(AppliedUndef)}
    while pending:
        f = pending.pop()
        if f in definitions and f not in used:
            used.add(f)
            if definitions[f].integral:  # computes its own functions of time
                continue
            pending |= {c.func for c in definitions[f].body.atoms(AppliedUndef)} - used
    return [f for f in definitions if f in used and len(definitions[f].arguments) == arity]


def is_called(f: sympy.Function, time: sympy.Symbol | None, expressions: Iterable[sympy.Expr]) -> bool:
    """Whether an expression calls f directly, at ``time`` or anywhere."""
    calls = (c for e in expressions for c in _calls_in(e) if c.func == f)
    return any(time is None or c.args == (time,) for c in calls)


@lru_cache(maxsize=1024)
def _calls_in(expression: sympy.Expr) -> frozenset[AppliedUndef]:
    """The calls of named functions in an expression, kept: one function after the other is looked for in them."""
    return frozenset(expression.atoms(AppliedUndef))


def one_time_function(
    chain: Sequence[sympy.Function], returned: Sequence[sympy.Function], definitions: Definitions, tail: Tail
) -> SourceFunction:
    printer = SourcePrinter("math", (t,), tail=tail.passed)
    lines = [line for f in chain for line in assignment_lines(str(f), definitions[f].body, printer)]
    return SourceFunction(
        f"_at(t: float{tail.declared})",
        f"{joined_names(returned)} at time t.",
        (*lines, *return_lines([str(f) for f in returned])),
    )


def fetch_lines(
    shared: Sequence[sympy.Function], expressions: Expressions, times: Sequence[sympy.Symbol], tail: Tail
) -> list[str]:
    """Lines that unpack ``_at(time)`` into f_time, for the times at which the expressions need any."""
    lines = []
    for time in times:
        if any(is_called(f, time, expressions) for f in shared):
            names = [f"{f}_{time}" if is_called(f, time, expressions) else "_" for f in shared]
            lines.append(f"{unpacking_target(names)} = _at({time}{tail.passed})")
    return lines


def assignment_lines(name: str, expression: sympy.Expr, printer: SourcePrinter) -> list[str]:
    """name = expression, a long sum with one term a line; nothing for a name that is its own value."""
    source = printer.doprint(expression)
    if source == name:
        return []
    line = f"{name} = {source}"
    if len(line) <= WIDTH or not expression.is_Add:
        return [line]
    terms = printer.terms(expression)
    rest = [f"    - {term[1:]}" if term.startswith("-") else f"    + {term}" for term in terms[1:]]
    return [f"{name} = (", f"    {terms[0]}", *rest, ")"]


def end_arguments(pair: Sequence[sympy.Expr]) -> str:
    """Two times as arguments, and the first less the second."""
    start, end = pair
    return f"{start}, {end}, {h if (start, end) == (t, s) else f'{start} - {end}'}"


def return_lines(values: Sequence[str]) -> list[str]:
    single = f"return ({values[0]},)" if len(values) == 1 else f"return {', '.join(values)}"
    return bracketed_lines(values, "return (", ")", single)


def bracketed_lines(values: Sequence[str], opening: str, closing: str, single: str) -> list[str]:
    """``single`` if it fits a line, else one value a line between brackets."""
    if len(single) <= WIDTH:
        return [single]
    return [opening, *(f"    {value}," for value in values), closing]


def joined_names(functions: Sequence[sympy.Function]) -> str:
    return ", ".join(map(str, functions))


def unpacking_target(names: Iterable[str]) -> str:
    names = list(names)
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)
