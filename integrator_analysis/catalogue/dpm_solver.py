"""DPM-Solver and DPM-Solver++: exponential integrators in log-SNR, on eps or on the prediction of x_0.

The linear part of the equation is solved exactly, the network output replaced by a polynomial in log-SNR. Published
coefficients are not typed in: they follow, and where a published implementation differs, docs/peers.md says so.
"""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.catalogue.tableaux import MIDPOINT_STEP, THIRD_ORDER_STEP, adams
from integrator_analysis.methods.conjugation.conjugate import Conjugate

DPM = "arXiv 2206.00927"
DPMPP = "arXiv 2211.01095"
BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "DPM-Solver-2",
        Conjugate(base=MIDPOINT_STEP),
        BOTH,
        "Exponential midpoint rule in log-SNR on eps: two evaluations a step, the second in the middle.",
        f"{DPM}, algorithm 1",
    ),
    Scheme(
        "DPM-Solver-3",
        Conjugate(base=THIRD_ORDER_STEP),
        BOTH,
        "Exponential Runge-Kutta of order three in log-SNR on eps: three evaluations a step, at 0, 1/3 and 2/3.",
        f"{DPM}, algorithm 2",
    ),
    Scheme(
        "DPM-Solver++2S",
        Conjugate(base=MIDPOINT_STEP, parametrisation="x0"),
        BOTH,
        "DPM-Solver-2 on the prediction of x_0 instead of eps: two evaluations a step.",
        f"{DPMPP}, algorithm 1",
    ),
    Scheme(
        "DPM-Solver++2M",
        Conjugate(base=adams(2, "log-SNR", "middle"), parametrisation="x0"),
        BOTH,
        "Two-step method on the prediction of x_0: the line in log-SNR through this evaluation and the one before, "
        "taken at the middle of the step. One evaluation a step.",
        f"{DPMPP}, algorithm 2",
    ),
    Scheme(
        "SDE-DPM-Solver++2M",
        Conjugate(base=adams(2, "log-SNR", "middle"), parametrisation="x0", noise=1.0),
        ("vp",),
        "DPM-Solver++2M for the reverse SDE: its linear part and its noise solved exactly.",
        f"{DPMPP}, section 4.4 and appendix",
    ),
    Scheme(
        "DPM-Solver++3M",
        Conjugate(base=adams(3, "log-SNR"), parametrisation="x0"),
        ("vp",),
        "Three-step exponential Adams method on the prediction of x_0: the parabola in log-SNR through three "
        "evaluations, integrated exactly. One evaluation a step.",
        f"{DPMPP}, appendix",
    ),
)
