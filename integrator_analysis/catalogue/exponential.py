"""Exponential integrators: B = 0, a polynomial through several network outputs. DPM-Solver, DEIS, UniPC, EDM Heun.

Each is a base method on the ODE conjugated with B = 0: which output is interpolated (eps or x_0), in which variable,
and through which evaluations. Published coefficients are not typed in: they follow, and where a published
implementation differs from what follows, docs/peers.md says so.
"""

from __future__ import annotations

from fractions import Fraction

from integrator_analysis.base_methods import Interpolatory, RungeKutta, Stage
from integrator_analysis.catalogue.entry import Scheme
from integrator_analysis.conjugation import Ancestral, Conjugate

HALF, THIRD, TWO_THIRDS = Fraction(1, 2), Fraction(1, 3), Fraction(2, 3)

MIDPOINT_STEP = Interpolatory((Stage(HALF), Stage(through=(0, 1), rule="middle")), "log-SNR")
THIRD_ORDER_STEP = Interpolatory((Stage(THIRD), Stage(TWO_THIRDS, (0, 1)), Stage(through=(0, 2))), "log-SNR")
HEUN = RungeKutta(((), (Fraction(1),)), (HALF, HALF))
MIDPOINT = RungeKutta(((), (HALF,)), (Fraction(0), Fraction(1)))
RK4 = RungeKutta(
    ((), (HALF,), (Fraction(0), HALF), (Fraction(0), Fraction(0), Fraction(1))),
    (Fraction(1, 6), THIRD, THIRD, Fraction(1, 6)),
)


def adams(count: int, variable: str, rule: str = "integral", mend: tuple[int, ...] = ()) -> Interpolatory:
    """Exponential Adams-Bashforth through ``count`` evaluations, the newest first."""
    return Interpolatory((Stage(through=tuple(range(0, -count, -1)), rule=rule),), variable, mend)


DPM, DPMPP = "arXiv 2206.00927", "arXiv 2211.01095"
DEIS, UNIPC, EDM = "arXiv 2204.13902", "arXiv 2302.04867", "arXiv 2206.00364"
BOTH = ("vp", "psld")

SCHEMES = (
    Scheme(
        "gDDIM",
        Conjugate(parametrisation="eps-rotated"),
        ("psld",),
        "B = 0 in gDDIM's rotating frame of eps: exact for point data, which DDIM in the Cholesky frame is not. Takes "
        "a network trained for the Cholesky frame. On one block it is DDIM.",
        "arXiv 2206.05564, section 3",
    ),
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
        "Exponential Runge-Kutta of order three in log-SNR on eps, nodes 1/3 and 2/3.",
        f"{DPM}, algorithm 2",
    ),
    Scheme(
        "DPM-Solver++2S",
        Conjugate(base=MIDPOINT_STEP, parametrisation="x0"),
        BOTH,
        "DPM-Solver-2 on the prediction of x_0 instead of eps.",
        f"{DPMPP}, algorithm 1",
    ),
    Scheme(
        "DPM-Solver++2M",
        Conjugate(base=adams(2, "log-SNR", "middle"), parametrisation="x0"),
        BOTH,
        "Two-step method on the prediction of x_0 in log-SNR, extrapolated to the middle of the step.",
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
        "DDIM-eta",
        Ancestral(1.0),
        ("vp",),
        "DDIM with noise; eta = 1 is DDPM's ancestral sampling and the first-order SDE-DPM-Solver++.",
        "arXiv 2010.02502, equations 12 and 16",
    ),
    Scheme(
        "DPM-Solver++3M",
        Conjugate(base=adams(3, "log-SNR"), parametrisation="x0"),
        ("vp",),
        "Three-step exponential Adams method on the prediction of x_0 in log-SNR, the quadratic integrated exactly.",
        f"{DPMPP}, appendix",
    ),
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
    Scheme(
        "UniPC-2",
        Conjugate(base=adams(2, "log-SNR", "middle", (0, -1, -2)), parametrisation="x0"),
        ("vp",),
        "Predictor through two, corrector through three predictions of x_0, one evaluation a step (bh2, that is "
        "B(h) = e^h - 1).",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-2-bh1",
        Conjugate(base=adams(2, "log-SNR", "end", (0, -1, -2)), parametrisation="x0"),
        ("vp",),
        "UniPC-2 with B(h) = h. The two differ in polynomials of two nodes only; elsewhere B(h) cancels.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-3",
        Conjugate(base=adams(3, "log-SNR", "middle", (0, -1, -2, -3)), parametrisation="x0"),
        ("vp",),
        "Predictor through three, corrector through four predictions of x_0, one evaluation a step.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "UniPC-eps-2",
        Conjugate(base=adams(2, "log-SNR", "middle", (0, -1, -2))),
        BOTH,
        "UniPC-2 on eps instead of x_0.",
        f"{UNIPC}, algorithms 1 and 2",
    ),
    Scheme(
        "ERK2",
        Conjugate(base=Interpolatory((Stage(HALF), Stage(through=(0, 1))), "log-SNR")),
        ("vp",),  # on psld the h**3 term of x is so small that float64 shows h**4 only, and nothing can be certified
        "Exponential Runge-Kutta of order two with exact phi functions; DPM-Solver-2 simplifies its second weight.",
        "Hochbruck and Ostermann, Acta Numerica 2010, section 2.3",
    ),
    Scheme(
        "EDM-Heun",
        Conjugate(base=RungeKutta(HEUN.a, HEUN.b, "rho")),
        BOTH,
        "Heun in rho = sigma/alpha on z/alpha: the EDM sampler, which on the EDM process is Heun in t.",
        f"{EDM}, algorithm 1",
    ),
    Scheme(
        "anchored-DDIM",
        Conjugate(parametrisation="anchor"),
        BOTH,
        "DDIM in the frame of the data's own Gaussian (data anchor): exact in one step for Gaussian data, nothing to "
        "tune.",
        "gDDIM's construction (arXiv 2206.05564) on the marginal covariance of Gaussian data",
    ),
    Scheme(
        "anchored-AB2",
        Conjugate(base=adams(2, "log-SNR"), parametrisation="anchor"),
        BOTH,
        "Two-step exponential Adams in log-SNR in the frame of the data's own Gaussian.",
        "gDDIM's construction (arXiv 2206.05564) on the marginal covariance of Gaussian data",
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
