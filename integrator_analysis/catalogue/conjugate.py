"""Conjugate integrators: one Euler step of the ODE transformed by A' = A (B - L), for three choices of B."""

from __future__ import annotations

from integrator_analysis.catalogue.entry import Scheme
from integrator_analysis.conjugation import Conjugate

SCHEMES = (
    Scheme(
        "DDIM",
        Conjugate("0"),
        ("vp", "psld"),
        "B = 0: linear drift exact, eps frozen over the step. On VP this is DDIM, exact for constant eps; on PSLD, "
        "with the Cholesky frame of eps, the exponential integrator that is DDIM's analogue.",
        "arXiv 2310.07894, section 3.1 (B = 0); arXiv 2010.02502, equation 12",
    ),
    Scheme(
        "lambda-DDIM-I",
        Conjugate("lambda*I", strength=0.5),
        ("vp", "psld"),
        "B = lambda I. Order and cost of DDIM, another constant; lambda is to be tuned, 0.5 is only an example.",
        "arXiv 2310.07894, section 3.1",
    ),
    Scheme(
        "lambda-DDIM-II",
        Conjugate("lambda*ones", strength=0.5),
        ("vp", "psld"),
        "B = lambda times the all-ones matrix, which couples position and momentum. On one block it is lambda-DDIM-I.",
        "arXiv 2310.07894, section 3.1",
    ),
)
