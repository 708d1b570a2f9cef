"""Exponential integrators that are not known by the name of a sampler: phi-function Runge-Kutta, anchored Adams."""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.catalogue.tableaux import HALF, adams
from integrator_analysis.methods.base_methods import Interpolatory, Stage
from integrator_analysis.methods.conjugation.conjugate import Conjugate

BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "ERK2",
        Conjugate(base=Interpolatory((Stage(HALF), Stage(through=(0, 1))), "log-SNR")),
        ("vp",),  # on psld the h**3 term of x is so small that float64 shows h**4 only, and nothing can be certified
        "Exponential Runge-Kutta of order two with exact phi functions, two evaluations a step. Not DPM-Solver-2, "
        "which simplifies its second weight.",
        "Hochbruck and Ostermann, Acta Numerica 2010, section 2.3",
    ),
    Scheme(
        "anchored-AB2",
        Conjugate(base=adams(2, "log-SNR"), parametrisation="anchor"),
        BOTH,
        "Two-step exponential Adams in log-SNR, in the frame of a Gaussian with the data's variance (the anchor).",
        "gDDIM's construction (arXiv 2206.05564) on the marginal covariance of Gaussian data",
    ),
)
