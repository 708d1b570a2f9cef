"""Elementary differentials of the unknown field: what the terms of a local error are made of, and their symbols.

Knows trees and names; computes no coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import sympy

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.analysis.expansion.jets import Index
from integrator_analysis.analysis.expansion.step import OBSERVABLE
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential

__all__ = ["Derivative"]

Field = Callable[[Sequence[mpmath.mpf], mpmath.mpf], Sequence[mpmath.mpf]]


@dataclass(frozen=True)
class Derivative:
    """A derivative of the observable f, ``index`` times by each of ``blocks``: what a weak error is a sum of."""

    index: Index
    blocks: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.symbol)

    @property
    def symbol(self) -> sympy.Symbol:
        return _derivative(_letters(self.index, self.blocks), OBSERVABLE)

    def latex(self, name: Callable[[str], str]) -> str:
        """LaTeX; ``name`` gives that of a symbol."""
        return name(str(self))

    @property
    def degree(self) -> tuple[int, int]:
        """For sorting: the order of the derivative."""
        return sum(self.index), 0

    @property
    def linear(self) -> bool:
        """Whether it is there for a field that is linear in the state; the observable is any."""
        return True


Differential = ElementaryDifferential | Derivative

Sum = Mapping[Differential, PackedElement]


def differential_symbol(blocks: Sequence[str], kind: str, label: Any) -> sympy.Expr:
    """The symbol that stands for a jet generator in readable results."""
    if kind == "reciprocal":
        return 1 / label
    if kind == "reciprocal slope":
        return 1 / _derivative("t", label)
    if kind == "reciprocal value":
        return 1 / sympy.Symbol(label)
    if kind == "parameter":
        return label
    if kind == "function":
        name, order = label
        return _derivative("t" * order, name)
    if kind == "unknown":
        component, index = label
        return _derivative(_letters(index, (*blocks, "t")), component)
    return sympy.Symbol(str(label))


def _letters(index: Sequence[int], variables: Sequence[str]) -> str:
    return "".join(v * i for v, i in zip(variables, index, strict=True))


def _derivative(variables: str, name: str) -> sympy.Symbol:
    return sympy.Symbol(f"d_{variables} {name}" if variables else name)


def symbol_of(name: str) -> sympy.Symbol:
    """The symbol of a function of t; slope_f is the derivative of f."""
    return _derivative("t", name.removeprefix("slope_")) if name.startswith("slope_") else sympy.Symbol(name)
