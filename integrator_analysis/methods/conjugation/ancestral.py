"""DDIM with noise (eta), which for eta = 1 is DDPM's ancestral sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy

from integrator_analysis.algebra.special import expm1
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.inputs import InputError, as_rational
from integrator_analysis.methods.base_methods import Interpolatory
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.parametrisation.signal_to_noise import log_snr, slope_of
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Output, Term, advance
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Ancestral"]


@dataclass(frozen=True)
class Ancestral:
    """DDIM with eta: x_s = alpha_s x_0 + sigma_s [r eps + sqrt(1 - r**2) xi], 1 - r**2 = eta**2 (1 - e**(-2 H)).

    H is the step in log-SNR; x_0 and eps as predicted at t. The noise leaves the marginals of data at a point as they
    are, whatever the step; as h -> 0 it is the SDE of strength kappa = eta. eta = 1 is DDPM's ancestral sampling and
    the exact step of the reverse SDE with x_0 frozen. Source: arXiv 2010.02502, equations 12 and 16.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.eta <= 1:
            raise InputError(f"eta = {self.eta}; accepted: 0 < eta <= 1 (eta = 0 is DDIM)")

    def lower(self, process: Process) -> StepProgram:
        """The step program on a process of one block. Raises InputError on others."""
        eta = as_rational(self.eta, "eta")
        ddim = Conjugate(base=Interpolatory(variable="log-SNR"), parametrisation="x0").lower(process)
        par, flow = ddim.parametrisation, ddim.flows[0]
        lost = -(eta**2) * expm1(-2 * advance(t, s))
        root = sympy.sqrt(1 - eta**2 + eta**2 * sympy.exp(-2 * advance(t, s)))  # 1 - lost, where lost is nearly 1
        slope = slope_of(log_snr)
        alpha = par.eta[0, 0] / slope(t)  # eta = alpha lambda' for the prediction of x_0
        carried, weight = (m[0].func(t, s) for m in (flow.entries, flow.moments[0]))
        spread = sympy.sqrt(-process.diffusion[0, 0].xreplace({t: s}) / (2 * slope(s)) * lost)
        terms = (
            Term(carried * root, Block("x")),
            Term(weight + carried * lost / (1 + root) * alpha, Output("eps_0", "x")),
            Term(spread, Noise("xi_x")),
        )
        return replace(
            ddim,
            parametrisation=par.noisy(eta),
            statements=(Evaluate("eps_0", t), Combine((("x", terms),), "DDIM step with noise")),
            account=(
                "x_0 and eps = (x - alpha_t x_0) / sigma_t are predicted at t. Then eps is mixed with fresh noise xi, "
                "so that its variance stays one: x <- alpha_s x_0 + sigma_s [r eps + sqrt(1 - r^2) xi]. Here "
                f"1 - r^2 = eta^2 (1 - exp(-2 H)), H is the step in log-SNR, and eta = {eta}.",
                "As h -> 0 the step becomes that of dz = [F z - (1 + eta^2)/2 G G^T s] dt + eta G dw, which has the "
                "process's marginals.",
            ),
        )
