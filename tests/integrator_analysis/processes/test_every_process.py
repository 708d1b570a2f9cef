"""Every process against its own differential equations, integrated in 30 digits by mpmath, and against the literature.

The drifts and diffusions here are typed from the papers; the package derives Psi and Sigma from its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.special import damped_moment
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.codegen import kernel_source
from integrator_analysis.processes.equation import clock, elapsed
from torch_backend.source import module_from_source

Matrix = mpmath.matrix
FRACTIONS = [1e-5, 1e-2, 0.3, 0.9]
"""Of t_max. Every process is asked at 1e-5 t_max, where forms that cancel have lost most digits."""


@dataclass(frozen=True)
class OnPaper:
    """F(t), G(t) G(t)^T and Sigma(0) as a paper prints them."""

    name: str
    parameters: dict[str, float]
    drift: Callable[[mpf], Matrix]
    diffusion: Callable[[mpf], Matrix]
    start: Matrix

    def __str__(self) -> str:
        return self.name + "".join(f"-{k}={v}" for k, v in self.parameters.items())


def scalar(value: mpf) -> Matrix:
    return mpmath.matrix([[value]])


def linear_beta(time: mpf) -> mpf:
    return mpf("0.1") + mpf("19.9") * time


def vp(time: mpf) -> Matrix:
    return scalar(linear_beta(time))


def subvp(time: mpf) -> Matrix:
    integral = mpf("0.1") * time + mpf("19.9") * time**2 / 2
    return scalar(-linear_beta(time) * mpmath.expm1(-2 * integral))


def cosine_beta(time: mpf) -> mpf:
    angle = mpmath.pi / 2 / mpf("1.008")
    return 2 * angle * mpmath.tan(angle * (time + mpf("0.008")))


@cache
def growth(precision: int) -> mpf:
    """2 log(5000), once for each of the precisions, thousands of digits among them, that odefun asks at."""
    return 2 * mpmath.log(5000)


def ve(time: mpf) -> Matrix:
    rate = growth(mpmath.mp.prec)
    return scalar(rate * mpf("0.01") ** 2 * mpmath.exp(rate * time))


def psld(big_gamma: str, nu: str, mass: str) -> tuple[Callable[[mpf], Matrix], Callable[[mpf], Matrix], Matrix]:
    g, n, m = mpf(big_gamma), mpf(nu), mpf(mass)
    f, d = 4 * mpmath.matrix([[-g, 1 / m], [-1, -n]]), 8 * mpmath.diag([g, m * n])
    return lambda _: f, lambda _: d, mpmath.diag([0, mpf("0.04") * m])


def cld(mass: str) -> tuple[Callable[[mpf], Matrix], Callable[[mpf], Matrix], Matrix]:
    m = mpf(mass)
    f, d = 4 * mpmath.matrix([[0, 1 / m], [-1, -1 / m]]), mpmath.diag([0, 8])
    return lambda _: f, lambda _: d, mpmath.diag([0, mpf("0.04") * m])


ZERO = scalar(mpf(0))
with mpmath.workdps(50):
    PAPERS = [
        OnPaper("vp", {}, lambda time: -vp(time) / 2, vp, ZERO),
        OnPaper("subvp", {}, lambda time: -vp(time) / 2, subvp, ZERO),
        OnPaper("vp_cosine", {}, lambda u: scalar(-cosine_beta(u) / 2), lambda u: scalar(cosine_beta(u)), ZERO),
        OnPaper("ve", {}, lambda _: ZERO, ve, scalar(mpf("0.01") ** 2)),
        OnPaper("edm", {}, lambda _: ZERO, lambda time: scalar(2 * time), ZERO),
        OnPaper("flow", {}, lambda u: scalar(-1 / (1 - u)), lambda u: scalar(2 * u / (1 - u)), ZERO),
        OnPaper("psld", {}, *psld("0.01", "4.01", "0.25")),
        OnPaper("psld", {"M": 0.2500001}, *psld("0.01", "4.01", "0.2500001")),
        OnPaper("psld", {"M": 0.0625}, *psld("0.01", "4.01", "0.0625")),
        OnPaper("psld", {"M": 1.5}, *psld("0.01", "4.01", "1.5")),
        OnPaper("psld", {"Gamma": 2.0, "nu": 2.0, "M": 0.5}, *psld("2", "2", "0.5")),
        OnPaper("cld", {}, *cld("0.25")),
        OnPaper("cld", {"M": 0.249}, *cld("0.249")),
        OnPaper("cld", {"M": 0.5}, *cld("0.5")),
    ]


@cache
def solution(number: int) -> Callable[[mpf], list[mpf]]:
    """Psi and Sigma of ``PAPERS[number]`` at a time, by the Taylor method in 30 digits.

    It solves Psi' = F Psi, Sigma' = F Sigma + Sigma F^T + G G^T, and keeps the intervals that it has been through.
    """
    paper = PAPERS[number]
    k = paper.start.rows

    def slope(time: mpf, flat: list[mpf]) -> list[mpf]:
        psi, sigma = mpmath.matrix(k), mpmath.matrix(k)
        for n in range(k * k):
            psi[n // k, n % k], sigma[n // k, n % k] = flat[n], flat[k * k + n]
        f = paper.drift(time)
        return list(f * psi) + list(f * sigma + sigma * f.T + paper.diffusion(time))

    return mpmath.odefun(slope, 0, list(mpmath.eye(k)) + list(paper.start))


def integrated(paper: OnPaper, until: float) -> tuple[Matrix, Matrix]:
    """Psi and Sigma at ``until``."""
    k = paper.start.rows
    flat = solution(PAPERS.index(paper))(mpf(until))
    psi, sigma = mpmath.matrix(k), mpmath.matrix(k)
    for n in range(k * k):
        psi[n // k, n % k], sigma[n // k, n % k] = flat[n], flat[k * k + n]
    return psi, sigma


def distance(measured: np.ndarray, exact: Matrix, scale: Callable[[int, int], mpf]) -> float:
    k = exact.rows
    return max(float(abs(mpf(float(measured[i, j])) - exact[i, j]) / scale(i, j)) for i in range(k) for j in range(k))


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_mean_and_covariance_solve_their_equations(paper: OnPaper, fraction: float) -> None:
    """1e-12 of every entry near the data; later ones, some of which pass through 0, against the scale of their kind."""
    process = ia.process(paper.name, **paper.parameters)
    time = fraction * process.t_max
    with mpmath.workdps(30):
        psi, sigma = integrated(paper, time)
        near = fraction < 0.1

        def of_covariance(i: int, j: int) -> mpf:
            return abs(sigma[i, j]) if near else mpmath.sqrt(sigma[i, i] * sigma[j, j])

        def of_mean(i: int, j: int) -> mpf:
            return abs(psi[i, j]) if near else max(abs(entry) for entry in psi)

        assert distance(process.mean(time), psi, of_mean) < 1e-12
        assert distance(process.covariance(time), sigma, of_covariance) < 1e-12


@pytest.mark.parametrize("time", [1e-9, 1e-5, 0.2, 1.0])
def test_closed_forms_of_the_literature(time: float) -> None:
    with mpmath.workdps(40):
        u = mpf(time)
        b = mpf("0.1") * u + mpf("19.9") * u**2 / 2
        assert ia.process("subvp").covariance(time)[0, 0] == pytest.approx(float(mpmath.expm1(-b) ** 2), rel=1e-14)
        assert ia.process("ve").covariance(time)[0, 0] == pytest.approx(float((mpf("0.01") * 5000**u) ** 2), rel=1e-13)
        assert ia.process("edm").covariance(80 * time)[0, 0] == pytest.approx((80 * time) ** 2, rel=1e-15)
        assert ia.process("flow").mean(time)[0, 0] == 1 - time
        assert ia.process("flow").covariance(time)[0, 0] == pytest.approx(time**2, rel=1e-15)
        cosine = [mpmath.cos((v * mpf("0.9946") + mpf("0.008")) / mpf("1.008") * mpmath.pi / 2) ** 2 for v in (u, 0)]
        alpha_bar, process = cosine[0] / cosine[1], ia.process("vp_cosine")
        last = process.t_max * time
        assert process.mean(last)[0, 0] ** 2 == pytest.approx(float(alpha_bar), rel=1e-12)
        assert process.covariance(last)[0, 0] == pytest.approx(float(1 - alpha_bar), rel=1e-9)


LINEAR = np.linspace(1e-4, 0.02, 1000)
SHORT = (0.1, 0.25, 0.05, 0.5)


@pytest.mark.parametrize("betas", [None, SHORT], ids=["published", "given"])
def test_ddpm_is_the_cumulative_product(betas: tuple[float, ...] | None) -> None:
    process = ia.process("ddpm") if betas is None else ia.process("ddpm", betas=betas)
    table = LINEAR if betas is None else np.array(betas)
    alphas_cumprod = np.cumprod(1 - table)
    assert process.t_max == len(table)
    for k in range(0, len(table), max(1, len(table) // 20)):
        assert process.mean(k + 1)[0, 0] ** 2 == pytest.approx(alphas_cumprod[k], rel=1e-12)
        assert process.covariance(k + 1)[0, 0] == pytest.approx(1 - alphas_cumprod[k], rel=1e-11)
        between = alphas_cumprod[k - 1] ** 0.75 * alphas_cumprod[k] ** 0.25 if k else alphas_cumprod[0] ** 0.25
        assert process.mean(k + 0.25)[0, 0] ** 2 == pytest.approx(between, rel=1e-12)
    with mpmath.workdps(40):
        first = 1 - mpf(str(float(table[0])))
        exact = float(-mpmath.expm1(mpf(1e-5) * mpmath.log(first)))
    assert process.covariance(1e-5)[0, 0] == pytest.approx(exact, rel=1e-14)


def test_ddpm_accepts_any_row_of_numbers() -> None:
    from_array = ia.process("ddpm", betas=np.array(SHORT))
    assert from_array.covariance(3.5) == ia.process("ddpm", betas=list(SHORT)).covariance(3.5)
    assert ia.process("ddpm", steps=10).t_max == 10


@pytest.mark.parametrize("epsilon", [0.0, 1e-12, -1e-12, 1e-7, -1e-7])
@pytest.mark.parametrize("time", [1e-6, 1e-3, 0.2, 1.0])
def test_off_critical_tends_to_critical(epsilon: float, time: float) -> None:
    critical, off = ia.process("psld"), ia.process("psld", M=0.25 * (1 + epsilon))
    assert any(entry.has(damped_moment) for entry in off.kernel.covariance) == (epsilon != 0)
    bound = 1e-13 + 40 * abs(epsilon)  # b^2/M = 256 at t = 1 multiplies a change of M; measured at most 4
    np.testing.assert_allclose(off.mean(time), critical.mean(time), rtol=1e-3 * (epsilon != 0), atol=bound)
    np.testing.assert_allclose(off.covariance(time), critical.covariance(time), rtol=bound, atol=1e-15)


KERNELS = [
    *((name, {}) for name in ia.processes()),
    ("psld", {"M": 0.1}),
    ("psld", {"M": 2.0}),
    ("cld", {"M": 0.3}),
    ("ddpm", {"betas": SHORT}),
]


@pytest.mark.parametrize(("name", "parameters"), KERNELS, ids=str)
def test_generated_kernel_is_the_process(name: str, parameters: dict) -> None:
    """Mean, covariance and factor of the torch source on (0, t_max], t_max included; results have the shape of t."""
    process = ia.process(name, **parameters)
    kernel = module_from_source(kernel_source(process), f"kernel_{name}_{len(parameters)}")
    times = torch.tensor([[1e-6, 1e-3, 0.25], [0.7, 0.99, 1.0]], dtype=torch.float64) * process.t_max
    k = len(process.blocks)
    lower = [(i, j) for i in range(k) for j in range(i + 1)]
    mean, covariance, factor = kernel.mean(times), kernel.covariance(times), kernel.cholesky(times)
    for value in (*mean, *covariance, *factor):
        assert value.shape == times.shape
        assert value.isfinite().all()
    for index, time in np.ndenumerate(times.numpy()):
        psi, sigma = process.mean(float(time)), process.covariance(float(time))
        root = np.linalg.cholesky(sigma)
        size = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
        assert [m[index].item() for m in mean] == pytest.approx(psi[:, 0], rel=1e-12, abs=1e-14)
        for p, (i, j) in enumerate(lower):
            assert covariance[p][index].item() == pytest.approx(sigma[i, j], rel=1e-13, abs=1e-13 * size[i, j])
            assert factor[p][index].item() == pytest.approx(root[i, j], rel=1e-10, abs=1e-13 * np.sqrt(sigma[i, i]))
    prior = np.array(process.prior_covariance.subs(dict(process.parameters))).astype(float)
    np.testing.assert_allclose(kernel.PRIOR_STD, np.sqrt(np.diag(prior)), rtol=1e-15)


@pytest.mark.parametrize("name", list(ia.processes()))
def test_elapsed_keeps_its_digits(name: str) -> None:
    """clock(t) - clock(s) for a step of 1e-9 of the time, in float64 against 50 digits."""
    process = ia.process(name)
    start = 0.4 * process.t_max
    end = start * (1 + 1e-9)
    (value,) = function([elapsed(t, s)], (t, s), process.definitions, process.parameters)(end, start)
    with mpmath.workdps(50):
        at = function([clock(t)], (t,), process.definitions, process.parameters, "mpmath")
        exact = at(mpf(end))[0] - at(mpf(start))[0]
        assert float(value) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_drift_and_diffusion_are_those_of_the_paper(paper: OnPaper) -> None:
    """F and G G^T as numbers, near the data too: a time-dependent D must not cancel there."""
    process = ia.process(paper.name, **paper.parameters)
    entries = [*process.drift, *process.diffusion]
    rates = function(entries, (t,), process.definitions, process.parameters)
    for fraction in (1e-8, 1e-3, 0.5, 0.99):
        time = fraction * process.t_max
        exact = [*paper.drift(mpf(time)), *paper.diffusion(mpf(time))]
        assert [float(value) for value in rates(time)] == pytest.approx([float(e) for e in exact], rel=1e-12, abs=0)


def test_prior_network_and_times() -> None:
    published = {name: ia.process(name) for name in ia.processes()}
    ends = {name: (p.t_min, p.t_max) for name, p in published.items()}
    assert ends == {
        "vp": (1e-3, 1.0),
        "subvp": (1e-3, 1.0),
        "vp_cosine": (1e-3, 0.9946),
        "ddpm": (1.0, 1000.0),
        "ve": (1e-5, 1.0),
        "edm": (0.002, 80.0),
        "flow": (1e-3, 1.0),
        "psld": (1e-3, 1.0),
        "cld": (1e-3, 1.0),
    }
    assert {name for name, p in published.items() if p.stationary_covariance is None} == {"ve", "edm"}
    assert {name for name, p in published.items() if p.network != "eps"} == {"flow"}
    assert published["flow"].network == "velocity"
    for name, process in published.items():
        prior = np.array(process.prior_covariance.subs(dict(process.parameters))).astype(float)
        reached = process.covariance(process.t_max)
        assert reached == pytest.approx(prior, rel=1e-3, abs=1e-4), name
