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
        "Exponential Adams method on eps, linear in t. DEIS-tAB0 is DDIM.",
        f"{DEIS}, section 3.3",
    ),
    Scheme("DEIS-tAB2", Conjugate(base=adams(3, "t")), BOTH, "The same, quadratic in t.", f"{DEIS}, section 3.3"),
    Scheme("DEIS-tAB3", Conjugate(base=adams(4, "t")), ("vp",), "The same, cubic in t.", f"{DEIS}, section 3.3"),
    Scheme(
        "DEIS-rhoAB2",
        Conjugate(base=adams(3, "rho")),
        BOTH,
        "Exponential Adams method on eps, quadratic in rho = sigma/alpha, where the weight of eps is constant on VP.",
        f"{DEIS}, section 3.3",
    ),
)
