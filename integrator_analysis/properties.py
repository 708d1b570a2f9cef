"""What one step program says: order, errors, stability, coefficients. Every value is computed when first asked for.

Knows the readings of a step program; prints no source and measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from integrator_analysis.analysis.accuracy.cached_error import local_error_facts, local_error_from_facts
from integrator_analysis.analysis.accuracy.cost import BUDGET
from integrator_analysis.analysis.accuracy.global_error import (
    GlobalError,
    Observable,
    global_error,
    weak_global_error,
)
from integrator_analysis.analysis.accuracy.local_error import LocalError, derive_local_error, linear_order
from integrator_analysis.analysis.accuracy.modified import ModifiedODE, ModifiedSDE, modified_equation
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.analysis.accuracy.walk_order import WalkOrder, derive_first_steps
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.gaussian import GaussianError, gaussian_error
from integrator_analysis.analysis.stability.stability import Stability
from integrator_analysis.cache import find, key_of
from integrator_analysis.codegen import module_name
from integrator_analysis.language.spec import Spec
from integrator_analysis.program.network_program import NetworkProgram, in_network_outputs
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Properties"]


class Properties:
    """The properties of one scheme on one process, each computed when it is first asked for, and kept.

    What an earlier derivation of the same spec found is read from the cache (cache.py); the method is then lowered only
    if the program is asked for. ``budget`` is how many seconds a derivation may be expected to take.
    """

    def __init__(self, spec: Spec, budget: float = BUDGET) -> None:
        self.spec = spec.text
        self.process = spec.process
        self.scheme = spec.scheme
        self.budget = budget
        self._record = find(key_of(spec.process, spec.scheme.method))
        self.references: dict[Any, Any] = {}
        """Reference solutions and derived numbers that every verification of this scheme compares with."""
        if not self._record.facts:
            _ = self.program  # a spec that cannot be lowered is refused now, not when a property is asked for

    @cached_property
    def program(self) -> StepProgram:
        """The step program, as derived."""
        return self.scheme.method.lower(self.process)

    @cached_property
    def network_program(self) -> NetworkProgram:
        """The same step in the network's own outputs, with named coefficients: what is printed and tabulated."""
        return in_network_outputs(self.program)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}: order {self.order}, {self.nfe_per_step} evaluations per step>"

    @property
    def name(self) -> str:
        """The spec as a Python module name."""
        return module_name(self.spec)

    @property
    def nfe_per_step(self) -> int:
        """Network evaluations in one step, as executed."""
        return int(self._fact("nfe_per_step", lambda: self.program.nfe_per_step))

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return bool(self._fact("stochastic", lambda: self.program.stochastic))

    @cached_property
    def local_error(self) -> LocalError:
        """The local error for an unknown smooth score: the leading terms, and the next ones when asked for.

        Raises InputError where it is expected to exceed the budget.
        """
        record = self._record
        if "exponents" in record.facts:
            return local_error_from_facts(record.facts, record.keep, lambda: self.program)
        program = self.program
        error = derive_local_error(program, budget=self.budget)
        record.keep(nfe_per_step=program.nfe_per_step, stochastic=program.stochastic, **local_error_facts(error))
        return local_error_from_facts(record.facts, record.keep, lambda: program, error)

    def _fact(self, name: str, compute: Callable[[], Any]) -> Any:
        """The fact from the cache, or as it is computed now."""
        return self._record.facts[name] if name in self._record.facts else compute()

    @property
    def order(self) -> int:
        """Order for a general smooth score; weak order if stochastic."""
        return self.local_error.order

    @cached_property
    def walk_order(self) -> WalkOrder:
        """The order of a whole walk for each start, beside that of a step.

        >>> import integrator_analysis as ia
        >>> order = ia.derive("vp/DEIS-tAB3").walk_order
        >>> order.step, order.first_steps, order.plain, order.graded
        (4, (1, 2, 3), 2, 4)
        """
        order = self.order  # a record holds the local error, if anything
        if "first_steps" not in self._record.facts:
            self._record.keep(first_steps=derive_first_steps(self.program, self.budget), mends=bool(self.program.cycle))
        facts = self._record.facts
        return WalkOrder(order, tuple(facts["first_steps"]), facts["mends"])

    @cached_property
    def linear_order(self) -> int:
        """Order for a score that is linear in the state, that of Gaussian data; weak order if stochastic."""
        return linear_order(self.program, budget=self.budget)

    @cached_property
    def modified_equation(self) -> ModifiedODE | ModifiedSDE:
        """The equation that uniform steps of size h solve one order better."""
        return modified_equation(self.local_error)

    @cached_property
    def table(self) -> CoefficientTable:
        """The coefficients as a function of (t, s), evaluated from the symbols and not from generated source."""
        return CoefficientTable(self.network_program)

    def coefficients(self, times: Sequence[float]) -> np.ndarray:
        """float64 (len(times) - 1, coefficients) for a decreasing grid of forward diffusion times."""
        return self.table.on_grid(times)

    @cached_property
    def stability(self) -> Stability:
        """Amplification, regions and limits, transient growth, second moments, stable steps: see docs/stability.md."""
        return Stability(self.network_program)

    @property
    def spectral_radius(self) -> float:
        """Of one step of t_max/10 from t_max/2, for a position score with the eigenvalue -2: one number to compare."""
        if "spectral_radius" not in self._record.facts:
            whole = self.process.t_max
            radius = self.stability.radius(whole / 10, -2.0, whole / 2)
            if not self._record.facts:  # a record holds the local error, if anything
                _ = self.local_error
            self._record.keep(spectral_radius=radius)
        return float(self._record.facts["spectral_radius"])

    def gaussian_error(
        self, times: Sequence[float], mean: Any, covariance: Any, lower_order_final: bool = False
    ) -> GaussianError:
        """The exact error in mean and covariance on Gaussian data after the steps of ``times``, without sampling.

        Times that end in 0 end with a step to no noise; see ``analysis.gaussian.gaussian_error``.
        """
        return gaussian_error(self.network_program, times, mean, covariance, lower_order_final)

    def global_error(
        self,
        problem: MixtureProblem,
        z: np.ndarray,
        grid: str = "uniform",
        interval: tuple[float, float] | None = None,
    ) -> GlobalError:
        """The predicted error of the trajectories from z (points, blocks) at the end: constant / n**order for n steps.

        ``interval`` is (start, end) in forward diffusion time, (t_max, t_min) if None. Raises InputError for a
        stochastic scheme and for predictor-correctors; see analysis.global_error.
        """
        return global_error(self.local_error, problem, z, grid, interval)

    def weak_global_error(
        self,
        mean: float,
        variance: float,
        observable: Observable,
        grid: str = "uniform",
        interval: tuple[float, float] | None = None,
        nodes: int = 6,
    ) -> GlobalError:
        """The predicted error in E f of a stochastic scheme at the end, for data N(mean, variance) in one direction."""
        return weak_global_error(self.local_error, mean, variance, observable, grid, interval, nodes)
