"""DDIM and its relatives: one Euler step of the transformed ODE, in several frames of eps and for several B."""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.methods.conjugation.ancestral import Ancestral
from integrator_analysis.methods.conjugation.conjugate import Conjugate

BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "DDIM",
        Conjugate("0"),
        BOTH,
        "B = 0: linear drift exact, eps frozen over the step. On VP this is DDIM, exact for constant eps; on PSLD, "
        "with the Cholesky frame of eps, the exponential integrator that is DDIM's analogue.",
        "arXiv 2310.07894, section 3.1 (B = 0); arXiv 2010.02502, equation 12",
    ),
    Scheme(
        "lambda-DDIM-I",
        Conjugate("lambda*I", strength=0.5),
        BOTH,
        "B = lambda I. Order and cost of DDIM, another constant; lambda is to be tuned, 0.5 is only an example.",
        "arXiv 2310.07894, section 3.1",
    ),
    Scheme(
        "lambda-DDIM-II",
        Conjugate("lambda*ones", strength=0.5),
        BOTH,
        "B = lambda times the all-ones matrix, which couples position and momentum. On one block it is lambda-DDIM-I.",
        "arXiv 2310.07894, section 3.1",
    ),
    Scheme(
        "gDDIM",
        Conjugate(parametrisation="eps-rotated"),
        ("psld",),
        "B = 0 in gDDIM's rotating frame of eps: exact for point data, which DDIM in the Cholesky frame is not. Takes "
        "a network trained for the Cholesky frame. On one block it is DDIM.",
        "arXiv 2206.05564, section 3",
    ),
    Scheme(
        "DDIM-eta",
        Ancestral(1.0),
        ("vp",),
        "DDIM with noise; eta = 1 is DDPM's ancestral sampling and the first-order SDE-DPM-Solver++.",
        "arXiv 2010.02502, equations 12 and 16",
    ),
    Scheme(
        "anchored-DDIM",
        Conjugate(parametrisation="anchor"),
        BOTH,
        "DDIM in the frame of the data's own Gaussian (data anchor): exact in one step for Gaussian data, nothing to "
        "tune.",
        "gDDIM's construction (arXiv 2206.05564) on the marginal covariance of Gaussian data",
    ),
)
