"""UniPC: a predictor through k evaluations and a corrector through k + 1, one evaluation a step."""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.catalogue.tableaux import adams
from integrator_analysis.methods.conjugation.conjugate import Conjugate

UNIPC = "arXiv 2302.04867"
BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "UniPC-2",
        Conjugate(base=adams(2, "log-SNR", "middle", (0, -1, -2)), parametrisation="x0"),
        ("vp",),
        "Predictor-corrector: predicts through two and corrects through three predictions of x_0, one evaluation a "
        "step (bh2, that is B(h) = e^h - 1).",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-2-bh1",
        Conjugate(base=adams(2, "log-SNR", "end", (0, -1, -2)), parametrisation="x0"),
        ("vp",),
        "UniPC-2 with B(h) = h in place of e^h - 1. Only where a polynomial has two nodes do the two differ; elsewhere "
        "B(h) cancels.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-3",
        Conjugate(base=adams(3, "log-SNR", "middle", (0, -1, -2, -3)), parametrisation="x0"),
        ("vp",),
        "Predictor-corrector: predicts through three and corrects through four predictions of x_0, one evaluation a "
        "step.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-eps-2",
        Conjugate(base=adams(2, "log-SNR", "middle", (0, -1, -2))),
        BOTH,
        "UniPC-2 on eps instead of x_0.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
)
