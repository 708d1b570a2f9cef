"""DEIS: exponential Adams-Bashforth methods on eps, with polynomials in t or in rho = sigma/alpha."""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.catalogue.tableaux import adams
from integrator_analysis.methods.conjugation.conjugate import Conjugate

DEIS = "arXiv 2204.13902"
BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "DEIS-tAB1",
        Conjugate(base=adams(2, "t")),
        BOTH,
        "Exponential Adams-Bashforth method on eps, by the line in t through this evaluation and the one before. One "
        "evaluation a step. DEIS-tAB0 is DDIM.",
        f"{DEIS}, section 3.3",
    ),
    Scheme(
        "DEIS-tAB2",
        Conjugate(base=adams(3, "t")),
        BOTH,
        "Exponential Adams-Bashforth method on eps, by the parabola in t through the last three evaluations. One "
        "evaluation a step.",
        f"{DEIS}, section 3.3",
    ),
    Scheme(
        "DEIS-tAB3",
        Conjugate(base=adams(4, "t")),
        ("vp",),
        "Exponential Adams-Bashforth method on eps, by the cubic in t through the last four evaluations. One "
        "evaluation a step.",
        f"{DEIS}, section 3.3",
    ),
    Scheme(
        "DEIS-rhoAB2",
        Conjugate(base=adams(3, "rho")),
        BOTH,
        "DEIS-tAB2 with the parabola in rho = sigma/alpha, in which the weight of eps is constant on VP.",
        f"{DEIS}, section 3.3",
    ),
)
