"""Baselines: black-box integrators of the probability-flow ODE and of the reverse SDE."""

from __future__ import annotations

from integrator_analysis.base_methods import Euler, EulerMaruyama
from integrator_analysis.catalogue.entry import Scheme

SCHEMES = (
    Scheme(
        "Euler",
        Euler(),
        ("vp", "psld"),
        "Explicit Euler on the probability-flow ODE. Not DDIM, which costs the same and is exact for constant eps.",
        "arXiv 2011.13456, section 4.3",
    ),
    Scheme(
        "EM",
        EulerMaruyama(),
        ("vp", "psld"),
        "Euler-Maruyama on the reverse SDE, the stochastic baseline of every comparison.",
        "arXiv 2011.13456, section 4.1",
    ),
)
