"""What a forward diffusion process is: dz = F(t) z dt + G(t) dw on k blocks, its parameters and its prior.

Knows F, G G^T and parameters, and asks kernel.py for everything that follows from them. Knows no sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.special import Table
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError, require
from integrator_analysis.processes.equation import MATRICES, assumptions, clock, rate, unit_diffusion

if TYPE_CHECKING:
    from integrator_analysis.processes.kernel import Kernel

__all__ = ["Process"]

KERNELS = 64
"""How many derived kernels are kept, the newest: a scan over a parameter makes a process for every value."""

_KERNELS: dict[tuple[object, ...], Kernel] = {}


@dataclass(frozen=True, kw_only=True)
class Process:
    """A forward process z' = F z + G w' with F = beta(t) N and G G^T = beta(t) D, on the blocks of z.

    ``drift_per_unit`` (N) is a constant k x k matrix in the parameter symbols; ``diffusion_per_unit`` (D) another,
    or on one block a function of time through clock(t) = int_0^t beta (sub-VP: -expm1(-2 clock)).
    ``schedule`` is beta(t) as an expression in t, ``integrated`` its integral clock(t) in closed form; one of the two
    is enough. A clock stated as -c log f(t), f(0) = 1, may be infinite at t_max: the kernel is then written in f.
    ``initial_covariance`` is Sigma(0) (hybrid score matching: diag(0, gamma M) on phase space).
    ``stationary_covariance`` is the limit of Sigma for clock -> infinity, None where there is none;
    ``prior_covariance`` that of the prior, from which samplers start at t_max: the stationary one unless given.
    ``parameters`` gives every symbol its exact value, dependent ones (M at critical damping) included; where N is
    defective at these values, the derived forms are those of a double eigenvalue.
    ``network`` is what networks trained on this process return: "eps" or "velocity".
    Time t is forward diffusion time in [0, t_max]; samplers stop at t_min > 0.
    """

    name: str
    title: str
    blocks: tuple[str, ...]
    drift_per_unit: sympy.Matrix
    diffusion_per_unit: sympy.Matrix
    schedule: sympy.Expr = None
    initial_covariance: sympy.Matrix
    stationary_covariance: sympy.Matrix | None
    parameters: Mapping[sympy.Symbol, sympy.Expr]
    t_max: float
    t_min: float
    source: str
    integrated: sympy.Expr | None = None
    prior_covariance: sympy.Matrix = None
    network: str = "eps"

    def __post_init__(self) -> None:
        if self.schedule is None and self.integrated is not None:
            object.__setattr__(self, "schedule", self.integrated.diff(t))
        if self.prior_covariance is None:
            object.__setattr__(self, "prior_covariance", self.stationary_covariance)
        self._name_irrationals()
        require(0 < self.t_min < self.t_max, self.name, "0 < t_min < t_max", t_min=self.t_min, t_max=self.t_max)

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

        for name in MATRICES:
            matrix = getattr(self, name)
            if isinstance(matrix, sympy.MatrixBase) and (made := matrix.applyfunc(rational)) != matrix:
                object.__setattr__(self, name, made)
        if named:
            values = {symbol: e.xreplace(dict(self.parameters)) for e, symbol in named.items()}
            object.__setattr__(self, "parameters", {**self.parameters, **values})

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

    @cached_property
    def content(self) -> tuple[object, ...]:
        """All that a derivation reads of this process, hashable: two processes alike in it have one kernel."""
        matrices = (self.drift_per_unit, self.diffusion_per_unit, self.initial_covariance)
        limits = (self.stationary_covariance, self.prior_covariance)
        return (
            *(self.name, self.blocks, self.schedule, self.integrated, self.t_max, self.t_min, self.network),
            *(m.as_immutable() for m in matrices),
            *(None if m is None else m.as_immutable() for m in limits),
            *self.parameters.items(),
        )

    @cached_property
    def kernel(self) -> Kernel:
        """The perturbation kernel, derived from F, G G^T and Sigma(0); once in a session for processes alike."""
        from integrator_analysis.processes.kernel import derive_kernel

        if self.content not in _KERNELS:
            _KERNELS[self.content] = derive_kernel(self)
            for old in list(_KERNELS)[:-KERNELS]:
                del _KERNELS[old]
        return _KERNELS[self.content]

    @cached_property
    def definitions(self) -> Definitions:
        """beta, its integral, and the kernel's mean, covariance and Cholesky factor, as named functions of time."""
        return Definitions({rate: Definition((t,), self.schedule)}).with_(self.kernel.definitions)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of numbers that the schedule is made of, for generated source."""
        return tuple(sorted(self.definitions[clock].body.atoms(Table), key=str))

    @property
    def symbolic_covariance(self) -> sympy.Matrix:
        """Sigma(t) in the parameters and the clock int_0^t beta, k x k."""
        return self.kernel.covariance

    def mean(self, time: float) -> np.ndarray:
        """Psi(time), float64 k x k: E[z_t | x_0] = Psi(t) (x_0, 0)."""
        return self._evaluate(time)[0]

    def covariance(self, time: float) -> np.ndarray:
        """Sigma(time), float64 k x k: the covariance of z_t given x_0, momentum marginalised."""
        return self._evaluate(time)[1]

    @cached_property
    def _kernel_values(self) -> Callable[[float], list[float]]:
        from integrator_analysis.algebra.numeric import function

        entries = [entry for matrix in self.kernel.in_time for entry in matrix]
        return function(entries, (t,), self.definitions, self.parameters)

    def _evaluate(self, time: float) -> np.ndarray:
        """(2, k, k): Psi and Sigma at ``time``."""
        if not 0 <= time <= self.t_max:
            raise InputError(f"time {time!r} is outside [0, {self.t_max}], the time interval of process {self.name}")
        k = len(self.blocks)
        return np.array([float(entry) for entry in self._kernel_values(float(time))]).reshape(2, k, k)
