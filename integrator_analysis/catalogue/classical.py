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
        "Heun in rho = sigma/alpha on z/alpha: the EDM sampler, which on the EDM process is Heun in t.",
        f"{EDM}, algorithm 1",
    ),
    Scheme(
        "Heun",
        Conjugate(base=HEUN, parametrisation="velocity"),
        BOTH,
        "Heun on the probability-flow ODE in t as it stands, nothing conjugated.",
        "classical",
    ),
    Scheme(
        "RK4",
        Conjugate(base=RK4, parametrisation="velocity"),
        ("vp",),
        "The classical Runge-Kutta method on the probability-flow ODE in t as it stands.",
        "classical",
    ),
)
