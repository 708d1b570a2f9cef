"""What the terms of a local error are made of: differentials of the unknown field or of f, and their symbols.

A strong error is a sum of elementary differentials (expansion.trees), a weak error one of derivatives of an observable
f. Knows trees and names; computes no coefficient.
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

__all__ = ["Derivative", "Differential", "Field", "Sum", "differential_symbol", "symbol_of"]

Field = Callable[[Sequence[mpmath.mpf], mpmath.mpf], Sequence[mpmath.mpf]]
"""(z, time) -> the components of the field, in mpmath."""


@dataclass(frozen=True)
class Derivative:
    """A derivative of the observable f, ``index`` times by each of ``blocks``: what a weak error is a sum of."""

    index: Index
    blocks: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.symbol)

    @property
    def symbol(self) -> sympy.Symbol:
        """The symbol d_xm f, by its blocks."""
        return _derivative_symbol(_letters(self.index, self.blocks), OBSERVABLE)

    def latex(self, name: Callable[[str], str]) -> str:
        """Return LaTeX; ``name`` gives that of a symbol."""
        return name(str(self))

    @property
    def degree(self) -> tuple[int, int]:
        """The order of the derivative, by which terms are sorted; the second number is for trees alone."""
        return sum(self.index), 0

    @property
    def linear(self) -> bool:
        """Whether it occurs for a field that is linear in the state: always, because f is any observable."""
        return True


Differential = ElementaryDifferential | Derivative

Sum = Mapping[Differential, PackedElement]
"""A sum of differentials: each with its coefficient, an element of a ring of jets."""


def differential_symbol(blocks: Sequence[str], kind: str, label: Any) -> sympy.Expr:
    """Return the symbol that stands for a generator of a JetRing in results that people read."""
    if kind == "reciprocal":
        return 1 / label
    if kind == "reciprocal slope":
        return 1 / _derivative_symbol("t", label)
    if kind == "reciprocal value":
        return 1 / sympy.Symbol(label)
    if kind == "parameter":
        return label
    if kind == "function":
        name, order = label
        return _derivative_symbol("t" * order, name)
    if kind == "unknown":
        component, index = label
        return _derivative_symbol(_letters(index, (*blocks, "t")), component)
    return sympy.Symbol(str(label))


def _letters(index: Sequence[int], variables: Sequence[str]) -> str:
    return "".join(v * i for v, i in zip(variables, index, strict=True))


def _derivative_symbol(variables: str, name: str) -> sympy.Symbol:
    return sympy.Symbol(f"d_{variables} {name}" if variables else name)


def symbol_of(name: str) -> sympy.Symbol:
    """Return the symbol of a function of t by its name; slope_f is the derivative of f, d_t f."""
    return _derivative_symbol("t", name.removeprefix("slope_")) if name.startswith("slope_") else sympy.Symbol(name)
