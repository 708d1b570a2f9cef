"""The linear SDE of a forward process, dz = F z dt + G dw with F = beta(t) N and G G^T = beta(t) D, and its clock.

Knows matrices, parameters and the schedule. Solves nothing: noise.py and kernel.py do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import sympy

from integrator_analysis.algebra.symbols import t

__all__ = ["Equation", "assumptions", "clock", "elapsed", "rate", "unit_diffusion"]

rate = sympy.Function("beta")
"""The noise schedule beta(t), a factor of every entry of F and of G G^T."""

clock = sympy.Function("clock")
"""clock(t) = int_0^t beta."""

elapsed = sympy.Function("elapsed")
"""elapsed(t, s) = clock(t) - clock(s), with t - s as an exact factor."""

unit_diffusion = sympy.Function("unit_diffusion_xx")
"""D(t) of a process on one block where it depends on time: G G^T = beta(t) unit_diffusion_xx(t)."""


def assumptions(value: sympy.Expr) -> dict[str, bool]:
    """What a symbol that stands for ``value`` is assumed to be."""
    return {"positive": True} if value.is_positive else {"real": True}


@dataclass(frozen=True, kw_only=True)
class Equation:
    """The SDE z' = F z + G w' with F = beta(t) N and G G^T = beta(t) D, on the blocks of z, and Sigma(0).

    ``drift_per_unit`` (N) is a constant k x k matrix in the parameter symbols; ``diffusion_per_unit`` (D) another,
    or on one block a function of time through clock(t) = int_0^t beta (sub-VP: -expm1(-2 clock)).
    ``schedule`` is beta(t) as an expression in t, ``integrated`` its integral clock(t) in closed form; one of the two
    is enough. A clock stated as -c log f(t), f(0) = 1, may be infinite at t_max: the kernel is then written in f.
    ``initial_covariance`` is Sigma(0) (hybrid score matching: diag(0, gamma M) on phase space).
    ``stationary_covariance`` is the limit of Sigma for clock -> infinity, None where there is none.
    ``parameters`` gives every symbol its exact value, dependent ones (M at critical damping) included; where N is
    defective at these values, the derived forms are those of a double eigenvalue.
    Time t is forward diffusion time in [0, t_max].
    """

    name: str
    blocks: tuple[str, ...]
    drift_per_unit: sympy.Matrix
    diffusion_per_unit: sympy.Matrix
    schedule: sympy.Expr = None
    integrated: sympy.Expr | None = None
    initial_covariance: sympy.Matrix
    stationary_covariance: sympy.Matrix | None
    parameters: Mapping[sympy.Symbol, sympy.Expr]
    t_max: float

    _matrices: ClassVar[tuple[str, ...]] = (
        "drift_per_unit",
        "diffusion_per_unit",
        "initial_covariance",
        "stationary_covariance",
    )
    """The fields that are matrices, in the order in which their irrational numbers are named."""

    def __post_init__(self) -> None:
        if self.schedule is None and self.integrated is not None:
            object.__setattr__(self, "schedule", self.integrated.diff(t))
        self._name_irrationals()

    def _name_irrationals(self) -> None:
        """Make the matrices rational in parameters: sqrt(2) or exp(b0) in an entry becomes one of its own, number_1."""
        named: dict[sympy.Expr, sympy.Symbol] = {}
        taken = {symbol.name for symbol in self.parameters}
        free = (word for word in map("number_{}".format, count(1)) if word not in taken)

        def rational(e: sympy.Expr) -> sympy.Expr:
            irrational = isinstance(e, (sympy.Function, sympy.NumberSymbol)) or (e.is_Pow and not e.exp.is_Integer)
            if irrational and e.free_symbols <= set(self.parameters):
                if e not in named:
                    named[e] = sympy.Symbol(next(free), **assumptions(e.xreplace(dict(self.parameters))))
                return named[e]
            return e.func(*map(rational, e.args)) if e.args else e

        for name in self._matrices:
            matrix = getattr(self, name)
            if isinstance(matrix, sympy.MatrixBase) and (made := matrix.applyfunc(rational)) != matrix:
                object.__setattr__(self, name, made)
        if named:
            values = {symbol: e.xreplace(dict(self.parameters)) for e, symbol in named.items()}
            object.__setattr__(self, "parameters", {**self.parameters, **values})

    @property
    def logarithmic_clock(self) -> tuple[sympy.Expr, sympy.Expr] | None:
        """f(t) and c where the clock is stated as -c log f(t), infinite where f is 0; None where it is not."""
        if self.integrated is None:
            return None
        factor, rest = self.integrated.as_independent(sympy.log)
        return (rest.args[0], -factor) if isinstance(rest, sympy.log) else None

    @property
    def drift(self) -> sympy.Matrix:
        """F(t), k x k, in beta(t) and the parameters."""
        return rate(t) * self.drift_per_unit

    @property
    def diffusion(self) -> sympy.Matrix:
        """G(t) G(t)^T, k x k, in beta(t) and the parameters; where D depends on time, in the function that names D."""
        if self.diffusion_per_unit.has(clock):
            return rate(t) * sympy.Matrix([[unit_diffusion(t)]])
        return rate(t) * self.diffusion_per_unit

    @property
    def content(self) -> tuple[object, ...]:
        """All that a derivation reads of this equation, hashable: two equations alike in it have one kernel."""
        return (*self.form, *self.parameters.items())

    @property
    def form(self) -> tuple[object, ...]:
        """The same without the values of the parameters: what a formula in their symbols depends on."""
        matrices = [getattr(self, name) for name in self._matrices]
        return (
            *(self.name, self.blocks, self.schedule, self.integrated, self.t_max),
            *(None if m is None else m.as_immutable() for m in matrices),
        )
