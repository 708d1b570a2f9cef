"""Definitions: named functions of time, each with the body that it stands for.

A derivation is carried out with undefined functions (``beta(t)``, ``cholesky_xx(t)``). What they stand for is kept
beside it in a Definitions table and looked up only when a number or source code is wanted, so formulas stay as short as
on paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy
from sympy.core.function import AppliedUndef, UndefinedFunction

from integrator_analysis.algebra.symbols import h, s, t

__all__ = ["Definition", "Definitions"]


@dataclass(frozen=True)
class Definition:
    """What an undefined function stands for: ``body`` in terms of ``arguments`` and of other defined functions.

    Where ``integral``, it stands for the integral of ``body``, a function of u, over u from the second argument, a
    time, to the first; such a function has no closed form and is evaluated by quadrature in log u. With a
    ``generator`` M, a matrix in u, it stands for an entry of the ordered exponential E(s, t), dE(s, u)/du = E M(u),
    E(s, s) = I, and ``body`` is the number of the entry, row by row.
    """

    arguments: tuple[sympy.Symbol, ...]
    body: sympy.Expr
    integral: bool = False
    generator: sympy.ImmutableMatrix | None = None

    def __call__(self, *values: sympy.Expr) -> sympy.Expr:
        at = dict(zip(self.arguments, values, strict=True))
        if len(values) == 2 and values != (t, s):
            at[h] = values[0] - values[1]
        return self.body.xreplace(at)


@dataclass(frozen=True)
class Definitions(Mapping[UndefinedFunction, Definition]):
    """An ordered table function -> Definition; later entries may use earlier ones."""

    entries: Mapping[UndefinedFunction, Definition] = field(default_factory=dict)

    def __getitem__(self, function: UndefinedFunction) -> Definition:
        return self.entries[function]

    def __iter__(self) -> Iterator[UndefinedFunction]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def with_(self, more: Mapping[UndefinedFunction, Definition]) -> Definitions:
        """This table followed by ``more``."""
        return Definitions({**self.entries, **more})

    def resolve(self, expression: sympy.Expr) -> sympy.Expr:
        """``expression`` with every defined function replaced by its body, recursively, and h by t - s.

        Integrals and ordered exponentials stay what they are.
        """
        if expression not in self._resolved:
            closed = {f for f, d in self.entries.items() if not d.integral and d.generator is None}
            found = expression
            while calls := [c for c in found.atoms(AppliedUndef) if c.func in closed]:
                found = found.xreplace({c: self.entries[c.func](*c.args) for c in calls})
            self._resolved[expression] = found.xreplace({h: t - s})
        return self._resolved[expression]

    @cached_property
    def _resolved(self) -> dict[sympy.Expr, sympy.Expr]:
        """What has been resolved: expansions to growing orders ask for the same functions again."""
        return {}
