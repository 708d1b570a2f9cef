"""Classical methods on the equations as they stand: Euler, Heun, RK4, Euler-Maruyama; and EDM's, Heun in rho."""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.catalogue.tableaux import HEUN, RK4
from integrator_analysis.methods.base_methods import RungeKutta
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.euler import Euler, EulerMaruyama

EDM = "arXiv 2206.00364"
BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "Euler",
        Euler(),
        BOTH,
        "Explicit Euler on the probability-flow ODE. Not DDIM, which costs the same and is exact for constant eps.",
        "arXiv 2011.13456, section 4.3",
    ),
    Scheme(
        "EM",
        EulerMaruyama(),
        BOTH,
        "Euler-Maruyama on the reverse SDE, the stochastic baseline of every comparison.",
        "arXiv 2011.13456, section 4.1",
    ),
    Scheme(
        "EDM-Heun",
        Conjugate(base=RungeKutta(HEUN.a, HEUN.b, "rho")),
        BOTH,
        "Heun's method for z/alpha in rho = sigma/alpha: the deterministic sampler of EDM, two evaluations a step. On "
        "the EDM process it is Heun's method in t.",
        f"{EDM}, algorithm 1",
    ),
    Scheme(
        "Heun",
        Conjugate(base=HEUN, parametrisation="velocity"),
        BOTH,
        "Heun's method in t on the probability-flow ODE as it stands, two evaluations a step. Not EDM-Heun, whose "
        "steps are in rho.",
        "classical",
    ),
    Scheme(
        "RK4",
        Conjugate(base=RK4, parametrisation="velocity"),
        ("vp",),
        "The classical Runge-Kutta method in t on the probability-flow ODE as it stands, four evaluations a step.",
        "classical",
    ),
)
