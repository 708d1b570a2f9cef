"""Conjugate integrators: map z by A with A' = A (B - L), take a step of a base method there, map back.

Knows what a user may ask for; the parts of a step are derived in the files beside this one. Source: arXiv 2310.07894,
section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.base_methods import EULER, Interpolatory, RungeKutta
from integrator_analysis.methods.conjugation.b_matrix import FAMILY_NAMES, UNUSABLE, is_family
from integrator_analysis.methods.conjugation.propagator import advance_definitions, propagator_of
from integrator_analysis.methods.conjugation.prose import describe
from integrator_analysis.methods.conjugation.psi_weights import psi_weights
from integrator_analysis.methods.conjugation.stages import StageBuilder, moments_needed, statements_of
from integrator_analysis.methods.conjugation.transformed_ode import transform
from integrator_analysis.processes import Process
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Conjugate"]


@dataclass(frozen=True)
class Conjugate:
    """A base method on the ODE transformed with B: the name of a family or a k x k matrix that may hold t.

    Families are "0", "lambda*I", "lambda*ones", "lambda*diag(a, b)" with numbers a, b, one per block, and "table": a
    matrix for every step, which samplers are given with the times and analyses have from ``example``.

    ``strength`` is lambda; ``parametrisation`` says which network output the base method sees, whatever the network
    itself returns. ``noise`` is kappa: 0 is the probability-flow ODE, 1 the reverse SDE, whose linear part and noise
    are then solved exactly (needs log-SNR as the variable). Raises InputError for a B, a parametrisation or a
    combination that is not known.
    """

    B: str | sympy.ImmutableMatrix = "0"
    strength: float = 0.0
    base: Interpolatory | RungeKutta = EULER
    parametrisation: str = "eps"
    noise: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.B, sympy.MatrixBase):
            if self.B.free_symbols - {t}:
                raise InputError(
                    f"B = {self.B.tolist()} holds other symbols than t; accepted: numbers and "
                    "integrator_analysis.t, which is positive"
                )
            if self.B.has(*UNUSABLE):
                raise InputError(f"B = {self.B.tolist()} is not finite and real; functions of t that are, are accepted")
        elif not is_family(self.B):
            raise InputError(f"B = {self.B!r} is not a known family; accepted: {FAMILY_NAMES}, a sympy matrix in t")
        if not isinstance(self.base, Interpolatory | RungeKutta):
            raise InputError(f"base = {self.base!r} is not a base method; accepted: an Interpolatory or a RungeKutta")
        history = isinstance(self.base, Interpolatory) and self.base.depth < 0
        if self.B != "0" and (history or self.base.variable != "t"):
            raise InputError(
                f"B = {self.B} needs a one-step method in t; a method in {self.base.variable} that reads "
                f"{'earlier' if history else 'no earlier'} steps takes B = 0"
            )

        if self.noise and (
            self.base.variable != "log-SNR" or self.B != "0" or not isinstance(self.base, Interpolatory)
        ):
            raise InputError(f"noise = {self.noise} needs B = 0 and polynomials in log-SNR")
        if self.noise and (len(self.base.stages) > 1 or self.base.mend):  # type: ignore[union-attr]
            raise InputError(f"noise = {self.noise} needs a method of one stage without a corrector")

    def lower(self, process: Process) -> StepProgram:
        """The step program. Raises InputError for a B, a prediction or noise that the process does not have."""
        base = self.base
        ode = transform(
            process, self.B, self.strength, self.parametrisation, self.noise, base.variable, moments_needed(base)
        )
        propagator = propagator_of(ode)
        psi = psi_weights(ode, propagator)
        builder = StageBuilder(ode, propagator, psi)
        statements = statements_of(base, builder)
        history = -base.depth if isinstance(base, Interpolatory) else 0
        mends = isinstance(base, Interpolatory) and base.mend
        return StepProgram(
            process=process,
            parametrisation=ode.parametrisation,
            statements=tuple(statements),
            definitions=ode.definitions.with_(
                {**propagator.definitions, **advance_definitions(ode), **psi.definitions}
            ),
            parameters=ode.parameters,
            flows=(ode.flow,),
            quadratures=psi.quadratures,
            account=describe(self.B, base, ode, propagator, psi),
            variable=ode.flow.variable,
            nodes=tuple(builder.nodes.values()),
            interpolations=tuple(builder.interpolations),
            history=history,
            kept="eps_0" if history else "",
            cycle=2 if mends else 0,
        )
