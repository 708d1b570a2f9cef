"""Lines of Python: assignments, calls, lists and returns that fit the line width.

Knows text and printed expressions; knows no sampler.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sympy

from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.codegen.lower.calls import is_called
from integrator_analysis.codegen.printer import SourcePrinter

__all__ = [
    "PAIR",
    "WIDTH",
    "Expressions",
    "Helpers",
    "SourceFunction",
    "Tail",
    "assignment_lines",
    "bracketed_lines",
    "end_arguments",
    "fetch_lines",
    "joined_names",
    "return_lines",
    "stacked_lines",
    "unpacking_target",
]

WIDTH = 112

PAIR = "t: Tensor, s: Tensor, h: Tensor"
"""The arguments of a function of two times. h is t - s, which is known better than by subtraction where t is a node."""

Expressions = Sequence[sympy.Expr]


@dataclass(frozen=True)
class SourceFunction:
    """A function of the generated module: its signature, its docstring and its body, line by line."""

    signature: str
    docstring: str
    lines: tuple[str, ...]
    result: str = "tuple[Tensor, ...]"

    @property
    def docstring_lines(self) -> list[str]:
        """The docstring between its quotes, broken at the line width."""
        lines = textwrap.wrap(f'"""{self.docstring}"""', WIDTH)
        return lines if len(lines) == 1 else [*textwrap.wrap(f'"""{self.docstring}', WIDTH), '"""']


class Tail(NamedTuple):
    """The last arguments of every function that computes coefficients: as it declares and as it passes them.

    They hold what a caller may set in every step, the data's variance or the entries of B; "" where there is nothing.
    """

    declared: str = ""
    passed: str = ""


Helpers = Mapping[str, Sequence[sympy.Function]]
"""Functions of the generated module by name, each with the functions of time that it returns the values of."""


def fetch_lines(helpers: Helpers, expressions: Expressions, times: Sequence[sympy.Symbol], tail: Tail) -> list[str]:
    """Lines that unpack ``helper(time)`` into f_time, for each time at which the expressions call one of its f."""
    lines = []
    for time in times:
        for helper, functions in helpers.items():
            if any(is_called(f, time, expressions) for f in functions):
                names = [f"{f}_{time}" if is_called(f, time, expressions) else "_" for f in functions]
                lines.append(f"{unpacking_target(names)} = {helper}({time}{tail.passed})")
    return lines


def assignment_lines(name: str, expression: sympy.Expr, printer: SourcePrinter) -> list[str]:
    """name = expression, a long sum with one term a line; no line for an expression that is the name itself."""
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
    """The arguments of a function of two times: both, and the first less the second."""
    start, end = pair
    return f"{start}, {end}, {h if (start, end) == (t, s) else f'{start} - {end}'}"


def return_lines(values: Sequence[str]) -> list[str]:
    """return a, b; a tuple, of one value too."""
    single = f"return ({values[0]},)" if len(values) == 1 else f"return {', '.join(values)}"
    return bracketed_lines(values, "return (", ")", single)


def stacked_lines(values: Sequence[str]) -> list[str]:
    """return the values, tensors of t's shape or numbers, along the last dimension of one tensor."""
    return bracketed_lines(values, "return _stack(t, [", "])", f"return _stack(t, [{', '.join(values)}])")


def bracketed_lines(values: Sequence[str], opening: str, closing: str, single: str) -> list[str]:
    """``single`` if it fits a line, else one value a line between brackets."""
    if len(single) <= WIDTH:
        return [single]
    return [opening, *(f"    {value}," for value in values), closing]


def joined_names(functions: Sequence[sympy.Function]) -> str:
    """f, g, h: for a docstring."""
    return ", ".join(map(str, functions))


def unpacking_target(names: Iterable[str]) -> str:
    """What a tuple is unpacked to: "a, b", or "(a,)" for a tuple of one."""
    names = list(names)
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)
