"""What a forward diffusion process is: its linear SDE, the kernel that follows from it, a prior and a network's output.

Puts equation.py and kernel.py together, and evaluates means and covariances. Knows no sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.special import Table
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError, require
from integrator_analysis.processes.equation import Equation, clock, rate
from integrator_analysis.processes.kernel import Kernel, kernel_of

__all__ = ["Process"]


@dataclass(frozen=True, kw_only=True)
class Process(Equation):
    """A forward process: its equation, with the fields of `Equation`, its prior, and what its networks return.

    ``title`` says in words what the process is, ``source`` where it was published.
    Samplers start at t_max, from a Gaussian prior of covariance ``prior_covariance`` (the stationary one unless given),
    and stop at ``t_min`` > 0.
    ``network`` is what networks trained on this process return: "eps" or "velocity". ``grids`` are the names of the
    default time grids, for schemes of order one and for those of higher order.
    """

    title: str
    t_min: float
    source: str
    prior_covariance: sympy.Matrix = None
    network: str = "eps"
    grids: tuple[str, str] = ("log-SNR", "log-SNR")

    _matrices: ClassVar[tuple[str, ...]] = (*Equation._matrices, "prior_covariance")

    def __post_init__(self) -> None:
        if self.prior_covariance is None:
            object.__setattr__(self, "prior_covariance", self.stationary_covariance)
        super().__post_init__()
        require(0 < self.t_min < self.t_max, self.name, "0 < t_min < t_max", t_min=self.t_min, t_max=self.t_max)

    @property
    def content(self) -> tuple[object, ...]:
        """All that a derivation reads of this process, hashable."""
        return (*super().content, self.t_min, self.network)

    @cached_property
    def kernel(self) -> Kernel:
        """The perturbation kernel, derived from F, G G^T and Sigma(0)."""
        return kernel_of(self)

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

    def grid_for(self, order: int) -> str:
        """The name of the default time grid for schemes of this order."""
        return self.grids[order > 1]

    def mean(self, time: float) -> np.ndarray:
        """Psi(time), float64 k x k: E[z_t | x_0] = Psi(t) (x_0, 0)."""
        return self._evaluate(time)[0]

    def covariance(self, time: float) -> np.ndarray:
        """Sigma(time), float64 k x k: the covariance of z_t given x_0, momentum marginalised."""
        return self._evaluate(time)[1]

    @cached_property
    def _kernel_values(self) -> Callable[[float], list[float]]:
        entries = [entry for matrix in self.kernel.in_time for entry in matrix]
        return function(entries, (t,), self.definitions, self.parameters)

    def _evaluate(self, time: float) -> np.ndarray:
        """(2, k, k): Psi and Sigma at ``time``."""
        if not 0 <= time <= self.t_max:
            raise InputError(f"time {time!r} is outside [0, {self.t_max}], the time interval of process {self.name}")
        k = len(self.blocks)
        return np.array([float(entry) for entry in self._kernel_values(float(time))]).reshape(2, k, k)
