"""The symbols every module shares, the one error for bad input, and definitions: named functions with a body.

Knows names and substitution only. A derivation is carried out with undefined functions (``beta(t)``,
``cholesky_xx(t)``); what they stand for is kept beside it as a Definitions table and looked up only when a number or
source code is wanted. So formulas stay as short as on paper.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import sympy
from sympy.core.function import AppliedUndef, UndefinedFunction

__all__ = ["NUMBER", "PAST", "Definition", "Definitions", "InputError", "did_you_mean", "h", "s", "t", "u"]

t = sympy.Symbol("t", positive=True)
"""Forward diffusion time at which a step starts."""
s = sympy.Symbol("s", positive=True)
"""Forward diffusion time at which a step ends, s = t - h < t."""
h = sympy.Symbol("h", positive=True)
"""The step size t - s, a symbol of its own: t - s is subtracted once, or known better than by subtraction. In the body
of a function of two times it is the first less the second."""
u = sympy.Symbol("u", positive=True)
"""A time between s and t, the variable of integration of a weight."""

PAST = sympy.symbols("p1:6", positive=True)
"""Times at which earlier steps started, newest first: ... > p2 > p1 > t."""


NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
"""A decimal number in text, as a regular expression."""


class InputError(ValueError):
    """Unusable input: one sentence that says what was wrong, where, and what would be accepted."""


def did_you_mean(name: str, known: Iterable[str], what: str) -> InputError:
    """The error for an unknown name, with the nearest known ones."""
    known = sorted(known)
    lower = list(dict.fromkeys(candidate.lower() for candidate in known))
    matches = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    near = [candidate for match in matches for candidate in known if candidate.lower() == match]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {what} {name!r}; {hint}")


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
        closed = {f for f, d in self.entries.items() if not d.integral and d.generator is None}
        while calls := [c for c in expression.atoms(AppliedUndef) if c.func in closed]:
            expression = expression.xreplace({c: self.entries[c.func](*c.args) for c in calls})
        return expression.xreplace({h: t - s})
