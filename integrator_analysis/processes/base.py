"""What a forward diffusion process is: dz = F(t) z dt + G(t) dw on k blocks, its parameters and its prior.

Knows F, G G^T and parameters, and asks kernel.py for everything that follows from them. Knows no sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import sympy

from integrator_analysis.symbols import Definition, Definitions, InputError, t

if TYPE_CHECKING:
    from integrator_analysis.processes.kernel import Kernel

__all__ = ["Process", "ProcessFamily", "as_rational"]

rate = sympy.Function("beta")
"""The noise schedule beta(t): every entry of F and of G G^T is a constant times it."""


def as_float(value: object, name: str) -> float:
    """A finite number as a plain float; InputError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"parameter {name} = {value!r} is not a finite number; pass an int or a float")
    return float(value)


def as_rational(value: float | int, name: str) -> sympy.Rational:
    """The decimal that ``value`` prints as, exactly: 0.01 is 1/100. Raises InputError unless it is a finite number."""
    if isinstance(value, sympy.Rational):
        return value
    return sympy.Rational(str(as_float(value, name)))


@dataclass(frozen=True)
class Process:
    """A forward process z' = F z + G w' with F = beta(t) N and G G^T = beta(t) D, on the blocks of z.

    ``drift_per_unit`` (N) and ``diffusion_per_unit`` (D) are constant k x k matrices in the parameter symbols;
    ``schedule`` is beta(t) as an expression in t; ``initial_covariance`` is Sigma(0) (hybrid score matching:
    diag(0, gamma M) on phase space); ``stationary_covariance`` is that of the prior.
    ``parameters`` gives every symbol its exact value, dependent ones (M at critical damping) included;
    ``relations`` are the substitutions that make N defective at critical damping visible, empty otherwise.
    Time t is forward diffusion time in [0, t_max]; samplers stop at t_min > 0.
    """

    name: str
    title: str
    blocks: tuple[str, ...]
    drift_per_unit: sympy.Matrix
    diffusion_per_unit: sympy.Matrix
    schedule: sympy.Expr
    initial_covariance: sympy.Matrix
    stationary_covariance: sympy.Matrix
    parameters: Mapping[sympy.Symbol, sympy.Rational]
    t_max: float
    t_min: float
    source: str
    relations: Mapping[sympy.Symbol, sympy.Expr]

    @property
    def drift(self) -> sympy.Matrix:
        """F(t), k x k, in beta(t) and the parameters."""
        return rate(t) * self.drift_per_unit

    @property
    def diffusion(self) -> sympy.Matrix:
        """G(t) G(t)^T, k x k, in beta(t) and the parameters."""
        return rate(t) * self.diffusion_per_unit

    @cached_property
    def kernel(self) -> Kernel:
        """The perturbation kernel, derived from F, G G^T and Sigma(0)."""
        from integrator_analysis.processes.kernel import derive_kernel

        return derive_kernel(self)

    @cached_property
    def definitions(self) -> Definitions:
        """beta, its integral, and the kernel's mean, covariance and Cholesky factor, as named functions of time."""
        return Definitions({rate: Definition((t,), self.schedule)}).with_(self.kernel.definitions)

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
        from integrator_analysis.numeric import function

        entries = [*self.kernel.transition, *self.kernel.covariance]
        return function(entries, (t,), self.definitions, self.parameters)

    def _evaluate(self, time: float) -> np.ndarray:
        """(2, k, k): Psi and Sigma at ``time``."""
        if not 0 <= time <= self.t_max:
            raise InputError(f"time {time!r} is outside [0, {self.t_max}], the time interval of process {self.name}")
        k = len(self.blocks)
        return np.array([float(entry) for entry in self._kernel_values(float(time))]).reshape(2, k, k)


@dataclass(frozen=True)
class ProcessFamily:
    """A process with its published parameters: ``build(**parameters)`` makes one, for these or for others."""

    name: str
    summary: str
    defaults: Mapping[str, float]
    build: Callable[..., Process]

    def __call__(self, **parameters: float) -> Process:
        """The process for ``parameters`` on top of the published ones. Raises InputError for an unknown name."""
        for name in parameters:
            if name not in self.defaults:
                accepted = ", ".join(self.defaults)
                raise InputError(f"process {self.name} has no parameter {name!r}; accepted: {accepted}")
        values = {name: as_rational(parameters.get(name, value), name) for name, value in self.defaults.items()}
        return self.build(**values)
