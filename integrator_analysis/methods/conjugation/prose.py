"""A conjugation in sentences, for the derivation that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy

from integrator_analysis.methods.base_methods import Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.propagator import Propagator
from integrator_analysis.methods.conjugation.psi_weights import PsiWeights
from integrator_analysis.methods.conjugation.transformed_ode import TransformedODE
from integrator_analysis.parametrisation.parametrisation import VELOCITY

__all__ = ["describe"]

COUNTS = ("no", "one", "two", "three", "four", "five", "six")

CURVES = ("constant", "line", "parabola", "cubic")
"""Polynomials by their degree."""


def describe(
    B: str | sympy.MatrixBase,
    base: Interpolatory | RungeKutta,
    ode: TransformedODE,
    propagator: Propagator,
    psi: PsiWeights,
) -> tuple[str, ...]:
    """The account of a conjugate step, sentence by sentence; ``B`` as the user gave it."""
    method = _tableau(base) if isinstance(base, RungeKutta) else _stages(base)
    lines = [_transformation(B, ode), *_matrices(ode), *_states(base, ode), *method]
    if propagator.ordered:
        lines.append(
            "E(s, t) is the ordered exponential of B - L, solved numerically, since B - L does not commute with its "
            "integral or that integral is not known in closed form. So A is not the exponential of the integral, as "
            "which arXiv 2310.07894 writes it."
        )
    return (*lines, *_weights(ode, psi))


def _transformation(B: str | sympy.MatrixBase, ode: TransformedODE) -> str:
    """Which equation is solved, and what it becomes in zhat = A z."""
    par, conjugated = ode.parametrisation, any(ode.matrix)
    kappa = par.noise
    if kappa:
        kind = "reverse SDE" if kappa == 1 else f"SDE of strength kappa = {kappa} with the same marginals,"
        noise = "G dw" if kappa == 1 else "kappa G dw"
        return (
            f"In zhat = A z with A' = -A L, the {kind} dz = (L z + eta n) dt + {noise}, n the {par.name} prediction, "
            "has no linear part left. Its noise is that of the linear part, solved exactly: variance "
            f"sigma_s^2 (1 - exp(-{2 * kappa**2} H)), H the step in log-SNR."
        )
    equation = f"the probability-flow ODE z' = L z + eta n, n the {par.name} prediction,"
    if conjugated:
        return (
            f"Conjugation with B = {B}: in zhat = A z with A' = A (B - L), {equation} becomes "
            "zhat' = A B A^{-1} zhat + A eta n."
        )
    if any(par.drift):
        return f"In zhat = A z with A' = -A L, {equation} becomes zhat' = A eta n: its linear part is solved exactly."
    if par.name == VELOCITY:
        return "The probability-flow ODE z' = n as it stands: n is its right-hand side, and nothing is conjugated."
    return f"The probability-flow ODE z' = eta n, n the {par.name} prediction, has no linear part, so A = I."


def _matrices(ode: TransformedODE) -> Iterator[str]:
    par, conjugated = ode.parametrisation, any(ode.matrix)
    if par.name == VELOCITY:
        eta = "eta = "
    else:
        factor = (1 + par.noise**2) / 2
        eta = f"eta = -{'' if factor == 1 else f'({factor}) '}G G^T C_out = "
    values = [f"L = {par.drift.tolist()}"] if conjugated or any(par.drift) else []
    values += [f"{eta}{par.eta.tolist()}"] if conjugated or par.name != VELOCITY else []
    values += [f"B = {ode.matrix.tolist()}"] if conjugated else []
    if values:
        yield f"Here {_listed(values)}."


def _states(base: Interpolatory | RungeKutta, ode: TransformedODE) -> Iterator[str]:
    """What the states of a step are made of, back in z."""
    if isinstance(base, RungeKutta):
        if any(ode.matrix) or any(ode.parametrisation.drift):
            yield "Mapped back, what a stage at u adds to z is carried to a time s by E(s, u) = A_s^{-1} A_u."
        return
    if len(ode.flow.moments) == 1:
        yield (
            "Mapped back, a state is E(s, t) z + psi_0(s, t) n, with E(s, t) = A_s^{-1} A_t and "
            "psi_0(s, t) = -int_s^t E(s, u) eta(u) du."
        )
    else:
        measured = "" if ode.variable == "t" else f" in {ode.variable}"
        yield (
            "Mapped back, a state is E(s, t) z + sum_k psi_k(s, t) c_k, with E(s, t) = A_s^{-1} A_t, "
            "psi_k(s, t) = -int_s^t E(s, u) eta(u) x(u)^k du, and c_k the coefficient of x^k in the polynomial that "
            f"stands for n; x is the share of the way from t to s{measured}."
        )
    if any(ode.matrix):
        yield (
            "To this comes -int_s^t E(s, u) B z(u) du, integrated with the polynomial through the values of E B z at "
            "the times of the same evaluations."
        )


def _tableau(base: RungeKutta) -> Iterator[str]:
    yield f"Runge-Kutta tableau on zhat in {base.variable}, with stages at {_listed(base.c)} of the step."


def _stages(base: Interpolatory) -> Iterator[str]:
    if base.mend:
        mend = Stage(through=base.mend, rule=base.stages[-1].rule)
        yield (
            "First, the step before is corrected: its polynomial is replaced by the "
            f"{_polynomial(mend, base)}{_rule(mend, 'that step')}. This takes no evaluation of its own."
        )
    for stage in base.stages:
        place, whole = ("End", "the step") if stage.share == 1 else (f"State at {stage.share}", "this part of it")
        yield f"{place} of the step: {_polynomial(stage, base)}{_rule(stage, whole)}."
    if base.depth < 0:
        yield (
            "Evaluations of earlier steps are kept and not made again. The first steps have fewer of them, so their "
            "polynomials have fewer nodes, and the very first step has order one."
        )


def _polynomial(stage: Stage, base: Interpolatory) -> str:
    """The polynomial that stands for the network, by its degree and the evaluations that it passes."""
    degree = len(stage.through) - 1
    if degree == 0:
        return f"the evaluation {_places(stage, base)}, held constant"
    curve = CURVES[degree] if degree < len(CURVES) else f"polynomial of degree {degree}"
    past = sum(number < 0 for number in stage.through)
    if len(base.stages) == 1:
        nodes = f"this evaluation and the {'one' if past == 1 else COUNTS[past]} before"
    else:
        nodes = f"the evaluations {_places(stage, base)}"
    return f"{curve} in {base.variable} through {nodes}"


def _places(stage: Stage, base: Interpolatory) -> str:
    """Where in the step the evaluations of a stage lie."""
    shares = [0, *(earlier.share for earlier in base.stages)]
    here = [number for number in stage.through if number >= 0]
    places = [f"at {shares[number]} of the step" if number else "at the start" for number in here]
    past = len(stage.through) - len(here)
    if past:
        places.append("at the start of the step before" if past == 1 else f"at the starts of the {COUNTS[past]} before")
    return _listed(places)


def _rule(stage: Stage, whole: str) -> str:
    """How the polynomial is integrated, where not exactly."""
    always_curved = len(stage.through) > 2 and min(stage.through) >= 0
    if stage.rule == "integral" or len(stage.through) == 1 or always_curved:
        return ""
    simplified = {
        "middle": f"evaluated at the middle of {whole} and held constant over it",
        "end": "its slope integrated with the value of eta at the end",
    }[stage.rule]
    return f", {simplified}" if len(stage.through) == 2 else f"; where it is a line, {simplified}"


def _weights(ode: TransformedODE, psi: PsiWeights) -> Iterator[str]:
    """How the weights psi_k are computed."""
    par = ode.parametrisation
    if not psi.moments:
        return
    if psi.definitions and par.name == VELOCITY:
        yield "psi_k = -h/(k + 1), since there is nothing to propagate."
    elif psi.definitions and (psi.quadratures or par.power is None):
        yield (
            "psi_0 in closed form: R n solves the ODE for every constant n, so psi_0 = R_s - E(s, t) R_t. Nothing "
            "cancels, since the difference is written with the noise between s and t, which is a factor of it."
        )
    elif psi.definitions:
        yield (
            f"psi in closed form: m = {par.homogeneous} solves m' = L m, and eta = m d(rho^p)/dt with p = {par.power}."
        )
    for rule in psi.quadratures:
        which = "The other psi_k" if psi.definitions else "psi"
        yield f"{which} by Gauss-Legendre quadrature with {rule.nodes} nodes in {rule.rule}(u)."


def _listed(values: Sequence[object]) -> str:
    """The values as a list in words: a, b and c."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last
