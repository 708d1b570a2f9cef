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
        "The linear drift is solved exactly, with eps held constant over the step (B = 0). On VP this is DDIM, exact "
        "for constant eps; on PSLD it is DDIM's analogue in the Cholesky frame of eps.",
        "arXiv 2310.07894, section 3.1 (B = 0); arXiv 2010.02502, equation 12",
    ),
    Scheme(
        "lambda-DDIM-I",
        Conjugate("lambda*I", strength=0.5),
        BOTH,
        "DDIM conjugated with B = lambda I: order and cost of DDIM, with another error constant. lambda is to be "
        "tuned; 0.5 is only an example.",
        "arXiv 2310.07894, section 3.1",
    ),
    Scheme(
        "lambda-DDIM-II",
        Conjugate("lambda*ones", strength=0.5),
        BOTH,
        "DDIM conjugated with B = lambda times the all-ones matrix, which couples position and momentum. On one block "
        "it is lambda-DDIM-I.",
        "arXiv 2310.07894, section 3.1",
    ),
    Scheme(
        "gDDIM",
        Conjugate(parametrisation="eps-rotated"),
        ("psld",),
        "DDIM in gDDIM's rotating frame of eps: exact for data at a point, which DDIM in the Cholesky frame is not. It "
        "takes a network trained for the Cholesky frame. On one block it is DDIM.",
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
        "DDIM in the frame of a Gaussian with the data's variance (the anchor): exact in one step for such Gaussian "
        "data, with nothing to tune.",
        "gDDIM's construction (arXiv 2206.05564) on the marginal covariance of Gaussian data",
    ),
)
