"""A conjugation in sentences, for the derivation that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy

from integrator_analysis.methods.base_methods import Interpolatory, RungeKutta
from integrator_analysis.methods.conjugation.propagator import Propagator
from integrator_analysis.methods.conjugation.psi_weights import PsiWeights
from integrator_analysis.methods.conjugation.transformed_ode import TransformedODE

__all__ = ["describe"]

RULE_TEXT = {
    "integral": "",
    "middle": "; of two, the value in the middle taken for all of the interval",
    "end": "; of two, the slope integrated against the propagator's value at the end",
}


def describe(
    B: str | sympy.MatrixBase,
    base: Interpolatory | RungeKutta,
    ode: TransformedODE,
    propagator: Propagator,
    psi: PsiWeights,
) -> tuple[str, ...]:
    """The account of a conjugate step, sentence by sentence; ``B`` as the user gave it."""
    lines = [*_transformation(B, ode), *(_tableau(base) if isinstance(base, RungeKutta) else _stages(base))]
    if propagator.ordered:
        lines.append(
            "B - L does not commute with its integral, or has none in closed form: E(s, t) is its ordered "
            "exponential, solved numerically. The exponential of the integral, as which arXiv 2310.07894 writes A, "
            "is not A here."
        )
    if psi.moments:
        lines.append(_weights(ode, psi))
    return tuple(lines)


def _transformation(B: str | sympy.MatrixBase, ode: TransformedODE) -> Iterator[str]:
    par = ode.parametrisation
    yield (
        f"Conjugation by A' = A (B - L) with B = {B}: the probability-flow ODE z' = L z + eta n, n the "
        f"{par.name} prediction, becomes zhat' = A B A^{{-1}} zhat + A eta n for zhat = A z."
    )
    yield (f"Here L = {par.drift.tolist()}, eta = -(1/2) G G^T C_out = {par.eta.tolist()}, B = {ode.matrix.tolist()}.")
    yield (
        "Mapped back, each state of the step is E(s, t) z plus the weights psi_k(s, t) = -int_s^t E(s, u) eta(u) "
        "x(u)^k du times the coefficients of the network's polynomial in x, the share of the way from t to s in "
        f"{ode.variable}; E(s, t) = A_s^{{-1}} A_t."
    )


def _tableau(base: RungeKutta) -> Iterator[str]:
    yield f"Runge-Kutta tableau on the transformed ODE in {base.variable}, nodes {_joined(base.c)}."


def _stages(base: Interpolatory) -> Iterator[str]:
    for stage in base.stages:
        yield (
            f"State at {stage.share} of the step: polynomial through evaluation(s) {_joined(stage.through)}"
            f"{RULE_TEXT[stage.rule]}."
        )
    if base.depth < 0:
        yield (
            "Evaluations -1, -2, ... are those of earlier steps; while there are fewer, the polynomial has "
            "fewer nodes, so the first step has order one. No extra evaluations."
        )
    if base.mend:
        yield f"Each step first mends the one before through evaluations {_joined(base.mend)}."


def _weights(ode: TransformedODE, psi: PsiWeights) -> str:
    par = ode.parametrisation
    if psi.quadratures:
        rule = psi.quadratures[0]
        return f"psi by Gauss-Legendre quadrature in {rule.rule}(u), {rule.nodes} nodes."
    if par.power is not None:
        return (
            f"psi in closed form, with m' = L m solved by m = {par.homogeneous} and eta = m d(rho^p)/dt, "
            f"p = {par.power}."
        )
    return (
        "psi in closed form: R_s - E(s, t) R_t, R n solving the ODE for every constant n; the difference "
        "is taken through the noise between s and t, which is a factor of it."
    )


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
