"""Every coefficient of every committed module against formulas written out here, in 40 digits and to 1e-13 of itself.

pytest.approx adds an absolute tolerance of 1e-12 unless told not to, which hides everything at tiny steps: relative
errors are formed explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import mpmath
import pytest

import integrator_analysis as ia
from torch_backend import load

DIGITS = 40
TOLERANCE = 1e-13
STEPS = [(1.0, 0.9), (0.5, 0.5 - 1e-6), (0.1, 0.1 - 1e-9), (0.001 + 1e-6, 0.001), (1.0, 0.001)]
CONJUGATE = ("DDIM", "lambda-DDIM-I", "lambda-DDIM-II")
WORDS = {"NSE": "BA", "RSE": "BA", "NVV": "BAB", "RVV": "BAB", "NOBA": "OBA", "ROBA": "OBA"}
STRENGTH = "0.5"
Numbers = dict[str, mpmath.mpf]


def entry(kind: str, names: str, i: int, j: int) -> str:
    if kind == "linear":
        return f"decay_{names[i]}" if i == j else f"coupling_{names[i]}{names[j]}"
    return f"weight_{names[i]}{names[j]}"


def matrices(names: str, linear: mpmath.matrix, weight: mpmath.matrix) -> Numbers:
    out = {}
    for i in range(len(names)):
        for j in range(len(names)):
            out[entry("linear", names, i, j)] = linear[i, j]
            out[entry("weight", names, i, j)] = weight[i, j]
    return out


def one_step(process: Any, scheme: str, t: mpmath.mpf, s: mpmath.mpf) -> Numbers:
    """z <- z + h [-F z + c G G^T score] + sqrt(h) G xi: c = 1/2 without noise (Euler), 1 with it (Euler-Maruyama)."""
    h, c = t - s, {"Euler": mpmath.mpf("0.5"), "EM": mpmath.mpf(1)}[scheme]
    identity = mpmath.eye(len(process.names))
    out = matrices(process.names, identity - h * process.drift(t), h * c * process.diffusion(t) * process.c_out(t))
    if scheme == "EM":
        out |= {f"noise_{b}": mpmath.sqrt(h * process.diffusion(t)[i, i]) for i, b in enumerate(process.names)}
    return out


def conjugate_step(process: Any, scheme: str, t: mpmath.mpf, s: mpmath.mpf) -> Numbers:
    """E(s, t) (I - h B) and psi = -int_s^t E(s, u) eta(u) du, E = exp((t - s) B - (clock_t - clock_s) N).

    The integral in sqrt(u), where eta is smooth at 0, by mpmath's Gauss-Legendre rule.
    """
    k = len(process.names)
    family = {"DDIM": mpmath.zeros(k), "lambda-DDIM-I": mpmath.eye(k), "lambda-DDIM-II": mpmath.ones(k)}[scheme]
    b = mpmath.mpf(STRENGTH) * family

    def propagator(end: mpmath.mpf, start: mpmath.mpf) -> mpmath.matrix:
        exponent = (start - end) * b - (process.clock(start) - process.clock(end)) * process.drift_per_unit
        return exponential(exponent)

    @cache
    def integrand(root: mpmath.mpf) -> mpmath.matrix:
        return 2 * root * propagator(s, root**2) * process.eta(root**2)

    ends = [mpmath.sqrt(s), mpmath.sqrt(t)]
    weight = mpmath.matrix(k, k)
    for i in range(k):
        for j in range(k):
            weight[i, j] = -mpmath.quad(lambda r, i=i, j=j: integrand(r)[i, j], ends, method="gauss-legendre")
    return matrices(process.names, propagator(s, t) * (mpmath.eye(k) - (t - s) * b), weight)


def exponential(a: mpmath.matrix) -> mpmath.matrix:
    """exp of a 1 x 1 or 2 x 2 matrix by the series, after halving until it is small."""
    halvings = 6
    total = term = mpmath.eye(a.rows)
    for n in range(1, 40):
        term = term * a / (n * 2**halvings)
        total = total + term
    for _ in range(halvings):
        total = total * total
    return total


def splitting_step(process: Any, scheme: str, t: mpmath.mpf, s: mpmath.mpf) -> Numbers:
    """The sub-flows of arXiv 2310.07894: A and B are Euler steps of one block, twice the linear and score terms if O.

    O: x <- e^{-h beta Gamma/2} x + sqrt(1 - e^{-h beta Gamma}) xi, m likewise with nu and the variance M.
    """
    word, out = WORDS[scheme], {}
    beta, double = process.beta(t), 2 if "O" in word else 1
    mass = process.prior[1, 1]
    damping = [process.diffusion_per_unit[i, i] / process.prior[i, i] for i in range(2)]
    for n, letter in enumerate(word, start=1):
        h = (t - s) / word.count(letter)
        if letter == "O":
            for i, block in enumerate("xm"):
                out[f"decay_{block}_{n}"] = mpmath.exp(-h * beta * damping[i] / 2)
                spread = -mpmath.expm1(-h * beta * damping[i])
                out[f"noise_{block}_{n}"] = mpmath.sqrt(process.prior[i, i] * spread)
            continue
        i = "AB".index(letter)
        own, other = "xm"[i], "mx"[i]
        time = s if (scheme, n) == ("RVV", 3) else t
        out[f"decay_{own}_{n}"] = 1 + h * beta / 2 * double * damping[i]
        out[f"coupling_{own}{other}_{n}"] = h * beta / 2 * (1 if letter == "B" else -1 / mass)
        factor = h * beta / 2 * double * process.diffusion_per_unit[i, i] * process.c_out(time)
        out |= {f"weight_{own}{b}_{n}": factor[i, j] for j, b in enumerate("xm")}
    return out


def on_paper_coefficients(process: Any, scheme: str, t: float, s: float) -> Numbers:
    build = one_step if scheme in ("Euler", "EM") else splitting_step if scheme in WORDS else conjugate_step
    return build(process, scheme, mpmath.mpf(t), mpmath.mpf(s))


@pytest.fixture(scope="module")
def errors(on_paper: Callable) -> Callable[[str, float, float], tuple[Mapping[str, float], Mapping[str, float]]]:
    """(spec, t, s) -> relative errors of the committed module's coefficients by name, and their exact values."""

    @cache
    def compare(spec: str, t: float, s: float) -> tuple[Mapping[str, float], Mapping[str, float]]:
        module = load(spec).module
        measured = dict(zip(module.COEFFICIENTS, module.coefficients(t, s).tolist(), strict=True))
        with mpmath.workdps(DIGITS):
            name, scheme = spec.split("/")
            exact = on_paper_coefficients(on_paper(name), scheme, t, s)
            tabulated = {n: v for n, v in exact.items() if v not in (0, 1)}
            assert set(tabulated) == set(measured)
            relative = {n: float(abs(measured[n] - v) / abs(v)) for n, v in tabulated.items()}
            return relative, {n: float(v) for n, v in tabulated.items()}

    return compare


def off_diagonal(name: str) -> bool:
    """Whether it weighs a block with the other block's eps: small numbers, from quantities that nearly cancel."""
    return name.startswith(("weight_xm", "weight_mx"))


ON_PAPER = [spec for spec in ia.catalogue() if spec.split("/")[1] in ("Euler", "EM", *CONJUGATE, *WORDS)]
"""The specs whose coefficients are written out in this file; those of other base methods are in test_exponential.py."""


@pytest.mark.parametrize("spec", ON_PAPER)
@pytest.mark.parametrize(("t", "s"), STEPS)
def test_every_coefficient_is_its_formula(errors: Callable, spec: str, t: float, s: float) -> None:
    """To 1e-13 of itself; the off-diagonal weights of phase space to 1e-13 of the update's largest weight."""
    relative, exact = errors(spec, t, s)
    for name, error in relative.items():
        if off_diagonal(name):
            suffix = name.removeprefix(name[:9])
            largest = max(abs(v) for n, v in exact.items() if n.startswith("weight") and n.endswith(suffix))
            error *= abs(exact[name]) / largest
        assert error <= TOLERANCE, (name, exact[name])


@pytest.mark.parametrize("spec", ["psld/Euler", "psld/EM", "psld/RVV", "psld/ROBA"])
@pytest.mark.parametrize("t", [0.001 + 1e-6, 0.1, 0.5])
def test_the_off_diagonal_weights_of_splittings_too(errors: Callable, spec: str, t: float) -> None:
    relative, _ = errors(spec, t, t - 1e-6)
    assert max(relative.values()) <= TOLERANCE


def test_the_off_diagonal_weights_of_splittings_at_the_prior(errors: Callable) -> None:
    """Where Sigma_xm is e^-16."""
    relative, _ = errors("psld/Euler", 1.0, 0.9)
    assert max(relative.values()) <= TOLERANCE


@pytest.mark.parametrize(("t", "s"), [(0.5, 0.5 - 1e-6), (0.1, 0.1 - 1e-9), (0.001 + 1e-6, 0.001)])
def test_the_off_diagonal_weights_of_conjugations_at_tiny_steps(errors: Callable, t: float, s: float) -> None:
    relative, _ = errors("psld/DDIM", t, s)
    assert max(relative.values()) <= TOLERANCE
