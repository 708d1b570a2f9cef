"""Every exponential integrator's printed coefficients against its own definition, evaluated in mpmath.

The oracle is the process on paper (conftest.py), the ODE z' = L z + eta n of a prediction n, and the methods as a table
of stages or a tableau typed in from their papers. The weight of an evaluation is -int_s^t E(s, u) eta(u) l_j(u) du, its
Lagrange polynomial integrated as it stands; no moment, no phi function and no catalogue entry of the package is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.catalogue import classical, ddim, deis, dpm_solver, exponential, unipc
from torch_backend import load

DIGITS = 40
Matrix = mpmath.matrix
Number = mpmath.mpf
Numbers = dict[str, Number]


# the ODE of each prediction
class Ode:
    """z' = L z + eta n with its propagator, E' = L E: n is eps in some frame, x_0 or the velocity."""

    def __init__(self, process: Any, prediction: str) -> None:
        self.process, self.prediction, self.k = process, prediction, len(process.names)
        self.angles: dict[Number, Number] = {mpmath.mpf(1): mpmath.mpf(0)}
        self.flow = cache(lambda end, start: self.propagator(end, start) * self.eta(start))
        """E(end, u) eta(u), asked for at the same u for every weight of a step."""

    # the kernel
    def transition(self, time: Number) -> Matrix:
        return self.process.exponential(self.process.clock(time))

    def signal(self, time: Number) -> Matrix:
        return self.transition(time)[:, 0]

    def ratio(self, time: Number) -> Number:
        """(Psi^T Sigma^{-1} Psi)^{-1/2}."""
        psi = self.signal(time)
        return 1 / mpmath.sqrt((psi.T * self.process.covariance(time) ** -1 * psi)[0])

    # frames on phase space
    def marginal_factor(self, time: Number) -> Matrix:
        """The lower Cholesky factor of Sigma, with an anchor of that for data of variance 1/4."""
        share = mpmath.mpf(1) / 4 if self.prediction == "anchor" else 0
        psi = self.signal(time)
        return mpmath.cholesky(self.process.covariance(time) + share * psi * psi.T)

    def turning(self, time: Number) -> Number:
        """The rate of the angle that makes K Rot a solution of R' = (F + G G^T S^{-1}/2) R: lower parts cancel."""
        factor = self.marginal_factor(time)
        inverse = factor**-1
        drift, diffusion = self.process.drift(time), self.process.diffusion(time)
        return (inverse * drift * factor + inverse * diffusion * inverse.T / 2)[0, 1]

    def angle(self, time: Number) -> Number:
        """From 0 at time 1, by Gauss-Legendre quadrature in log u from the nearest time that is known already."""
        if time not in self.angles:
            near = min(self.angles, key=lambda known: abs(mpmath.log(known / time)))
            width = mpmath.log(time / near)
            cuts = [mpmath.log(near) + width * n / 8 for n in range(9)] if abs(width) > 1 else [0, 0]
            cuts[0], cuts[-1] = mpmath.log(near), mpmath.log(time)
            grown = mpmath.quad(lambda w: mpmath.exp(w) * self.turning(mpmath.exp(w)), cuts, method="gauss-legendre")
            self.angles[time] = self.angles[near] + grown
        return self.angles[time]

    def frame(self, time: Number) -> Matrix:
        if self.k == 1:
            return self.marginal_factor(time)
        cos, sin = mpmath.cos(self.angle(time)), mpmath.sin(self.angle(time))
        return self.marginal_factor(time) * mpmath.matrix([[cos, sin], [-sin, cos]])

    # the ODE
    def linear(self, time: Number) -> Matrix:
        drift, diffusion = self.process.drift(time), self.process.diffusion(time)
        match self.prediction:
            case "velocity":
                return mpmath.zeros(self.k)
            case "x0":
                return drift + diffusion * self.process.covariance(time) ** -1 / 2
            case "x0-noisy":
                return drift + diffusion * self.process.covariance(time) ** -1
        return drift

    def eta(self, time: Number) -> Matrix:
        diffusion = self.process.diffusion(time)
        match self.prediction:
            case "velocity":
                return mpmath.eye(self.k)
            case "eps":
                return self.process.eta(time)
            case "x0":
                return -diffusion * self.process.covariance(time) ** -1 * self.transition(time) / 2
            case "x0-noisy":
                return -diffusion * self.process.covariance(time) ** -1 * self.transition(time)
        return diffusion * self.frame(time).T ** -1 / 2

    def propagator(self, end: Number, start: Number) -> Matrix:
        """E(end, start)."""
        match self.prediction:
            case "velocity":
                return mpmath.eye(self.k)
            case "x0":
                return self.frame(end) * self.frame(start) ** -1
            case "x0-noisy":  # sigma**2 / alpha
                ratio = [self.process.covariance(time) * self.transition(time) ** -1 for time in (end, start)]
                return ratio[0] * ratio[1] ** -1
        return self.process.exponential(self.process.clock(end) - self.process.clock(start))

    def from_eps(self, time: Number) -> tuple[Matrix | None, Matrix]:
        """(skip, scale): n = skip z + scale eps, from Tweedie's formula and the frames."""
        match self.prediction:
            case "eps":
                return None, mpmath.eye(self.k)
            case "velocity":
                return self.process.drift(time), self.process.eta(time)
            case "x0" | "x0-noisy":
                inverse = self.transition(time) ** -1
                return inverse, -inverse * self.process.factor(time)
        return None, self.frame(time).T * self.process.factor(time).T ** -1

    def integral(self, end: Number, start: Number, shape: Callable[[Number], Number] | None = None) -> Matrix:
        """-int_end^start E(end, u) eta(u) shape(u) du, a matrix; in sqrt(u), where all are smooth at 0."""
        if shape is None and self.prediction in ("x0", "eps-rotated", "anchor"):
            steady = self.transition if self.prediction == "x0" else self.frame  # of n constant: z = P n, z = R n
            return steady(end) - self.propagator(end, start) * steady(start)

        @cache
        def integrand(root: Number) -> Matrix:
            u = root**2
            return 2 * root * (1 if shape is None else shape(u)) * self.flow(end, u)

        ends = [mpmath.sqrt(end), mpmath.sqrt(start)]
        out = mpmath.matrix(self.k, self.k)
        for i in range(self.k):
            for j in range(self.k):
                out[i, j] = -mpmath.quad(lambda r, i=i, j=j: integrand(r)[i, j], ends, method="gauss-legendre")
        return out


# the methods
HALF, THIRD = Fraction(1, 2), Fraction(1, 3)


@dataclass(frozen=True)
class Polynomial:
    """Stages (share of the step, evaluations, rule) in a variable; ``mend`` are the corrector's evaluations."""

    prediction: str
    variable: str
    stages: tuple[tuple[Fraction, tuple[int, ...], str], ...]
    mend: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tableau:
    """d(E z)/dv by an explicit Runge-Kutta method in a variable v."""

    prediction: str
    variable: str
    rows: tuple[tuple[Fraction, ...], ...]
    """a, then b."""


def several(count: int, prediction: str, variable: str, rule: str = "integral", mend: int = 0) -> Polynomial:
    through = tuple(-j for j in range(count))
    return Polynomial(prediction, variable, ((Fraction(1), through, rule),), tuple(-j for j in range(mend)))


ONE = (Fraction(1), (0,), "integral")
TWO_STAGES = ((HALF, (0,), "integral"), (Fraction(1), (0, 1), "middle"))
METHODS: Mapping[str, Polynomial | Tableau] = {
    "gDDIM": several(1, "eps-rotated", "t"),
    "DPM-Solver-2": Polynomial("eps", "log-SNR", TWO_STAGES),
    "DPM-Solver-3": Polynomial(
        "eps",
        "log-SNR",
        ((THIRD, (0,), "integral"), (2 * THIRD, (0, 1), "integral"), (Fraction(1), (0, 2), "integral")),
    ),
    "DPM-Solver++2S": Polynomial("x0", "log-SNR", TWO_STAGES),
    "DPM-Solver++2M": several(2, "x0", "log-SNR", "middle"),
    "SDE-DPM-Solver++2M": several(2, "x0-noisy", "log-SNR", "middle"),
    "DPM-Solver++3M": several(3, "x0", "log-SNR"),
    "DEIS-tAB1": several(2, "eps", "t"),
    "DEIS-tAB2": several(3, "eps", "t"),
    "DEIS-tAB3": several(4, "eps", "t"),
    "DEIS-rhoAB2": several(3, "eps", "rho"),
    "UniPC-2": several(2, "x0", "log-SNR", "middle", 3),
    "UniPC-2-bh1": several(2, "x0", "log-SNR", "end", 3),
    "UniPC-3": several(3, "x0", "log-SNR", "middle", 4),
    "UniPC-eps-2": several(2, "eps", "log-SNR", "middle", 3),
    "ERK2": Polynomial("eps", "log-SNR", ((HALF, (0,), "integral"), (Fraction(1), (0, 1), "integral"))),
    "EDM-Heun": Tableau("eps", "rho", ((), (Fraction(1),), (HALF, HALF))),
    "anchored-DDIM": several(1, "anchor", "t"),
    "anchored-AB2": several(2, "anchor", "log-SNR"),
    "Heun": Tableau("velocity", "t", ((), (Fraction(1),), (HALF, HALF))),
    "RK4": Tableau(
        "velocity",
        "t",
        (
            (),
            (HALF,),
            (Fraction(0), HALF),
            (Fraction(0), Fraction(0), Fraction(1)),
            (Fraction(1, 6), THIRD, THIRD, Fraction(1, 6)),
        ),
    ),
}  # fmt: skip


@dataclass
class Step:
    """The named coefficients of one step, collected from its matrices; ``many``: whether updates are numbered."""

    names: str
    many: bool
    found: Numbers = field(default_factory=dict)
    updates: list[tuple[Matrix | None, Mapping[str, Matrix]]] = field(default_factory=list)
    conversions: list[tuple[Matrix | None, Matrix]] = field(default_factory=list)
    times: list[Number] = field(default_factory=list)
    unit: Number = field(default_factory=lambda: mpmath.mpf(1))
    """The size of the outputs that weights are made for, per unit of eps."""

    def update(self, decay: Matrix | None, weights: Mapping[str, Matrix]) -> None:
        """z <- decay z + sum of weights[evaluation] n. No decay: what is added to z."""
        self.updates.append((decay, weights))
        suffix = f"_{len(self.updates)}" if self.many else ""
        for i, row in enumerate(self.names):
            for j, column in enumerate(self.names):
                if decay is not None:
                    self.found[f"decay_{row}{suffix}" if i == j else f"coupling_{row}{column}{suffix}"] = decay[i, j]
                for name in weights:
                    label = f"_{name}" if len(weights) > 1 else ""
                    self.found[f"weight_{row}{column}{label}{suffix}"] = weights[name][i, j]

    def conversion(self, skip: Matrix | None, scale: Matrix) -> None:
        number = len(self.conversions)
        self.conversions.append((skip, scale))
        for i, row in enumerate(self.names):
            for j, column in enumerate(self.names):
                if skip is not None:
                    self.found[f"skip_{row}{column}_{number}"] = skip[i, j]
                self.found[f"scale_{row}{column}_{number}"] = scale[i, j]


class Oracle:
    """One method on one process, a step at a time."""

    def __init__(self, process: Any, method: Polynomial | Tableau) -> None:
        self.ode, self.method = Ode(process, method.prediction), method
        self.folded = False
        self.place = cache(self._place)

    def _place(self, time: Number) -> Number:
        """The variable at a time."""
        match self.method.variable:
            case "t":
                return time
            case "rho":
                return self.ode.ratio(time)
        return -mpmath.log(self.ode.ratio(time))

    def slope(self, time: Number) -> Number:
        return mpmath.diff(self.place, time, h=mpmath.mpf(10) ** -12 * time)

    def between(self, start: Number, end: Number, share: Fraction) -> Number:
        """The time at a share of the way."""
        if share == 1:
            return end
        goal = self.place(start) + mpmath.mpf(share.numerator) / share.denominator * (
            self.place(end) - self.place(start)
        )
        return mpmath.findroot(lambda u: self.place(u) - goal, (start, end), solver="anderson", tol=1e-60)

    def weights(self, start: Number, end: Number, times: Sequence[Number], shares: Sequence[Any], rule: str) -> list:
        """Of the evaluations at ``times``, whose positions are ``shares`` of the way from start to end."""
        if len(times) == 1:
            return [self.ode.integral(end, start)]
        first, whole = self.place(start), self.place(end) - self.place(start)

        def basis(j: int, x: Number) -> Number:
            return mpmath.fprod((x - other) / (shares[j] - other) for m, other in enumerate(shares) if m != j)

        def at(u: Number) -> Number:
            return (self.place(u) - first) / whole

        if rule == "integral" or len(times) > 2:
            return [self.ode.integral(end, start, lambda u, j=j: basis(j, at(u))) for j in range(len(times))]
        whole_weight = self.ode.integral(end, start)
        if rule == "middle":
            return [basis(j, mpmath.mpf(1) / 2) * whole_weight for j in range(2)]
        slope = self.ode.eta(end) * whole / self.slope(end) / 2  # of x: int x dv = (v_end - v_start)/2
        return [basis(j, 0) * whole_weight + (basis(j, 1) - basis(j, 0)) * slope for j in range(2)]

    def polynomial(self, step: Step, t: Number, s: Number, past: Sequence[Number], nodes: Sequence[Number]) -> None:
        """``nodes``: the times of the inner stages as the module rounds them."""
        method = self.method
        assert isinstance(method, Polynomial)
        names = {0: "0"} | {-j: f"past_{j}" for j in range(1, 6)} | {j: f"{j}" for j in range(1, 4)}
        times = {0: t} | {-j - 1: p for j, p in enumerate(past)}

        def share(u: Number, start: Number, end: Number) -> Number:
            return (self.place(u) - self.place(start)) / (self.place(end) - self.place(start))

        zero = mpmath.zeros(self.ode.k)
        if method.mend:
            sums = {names[n]: zero for n in (*method.mend,)}
            if past:
                used = tuple(n - 1 for n in method.stages[-1][1])
                for sign, through in ((1, method.mend), (-1, used)):
                    known = [n for n in through if n in times]
                    shares = [share(times[n], past[0], t) for n in known]
                    found = self.weights(past[0], t, [times[n] for n in known], shares, method.stages[-1][2])
                    for n, w in zip(known, found, strict=True):
                        sums[names[n]] = sums[names[n]] + sign * w
            step.update(None, sums)
        stage_shares = {0: Fraction(0)} | {n: st[0] for n, st in enumerate(method.stages, start=1)}
        for n, (position, through, rule) in enumerate(method.stages, start=1):
            end = s if position == 1 else nodes[n - 1]
            times[n] = end
            known = [m for m in through if m in times]
            if all(m >= 0 for m in through):
                exact = [stage_shares[m] / position for m in known]
                shares = [mpmath.mpf(x.numerator) / x.denominator for x in exact]
            else:
                shares = [share(times[m], t, s) for m in known]
            found = self.weights(t, end, [times[m] for m in known], shares, rule)
            weights = {names[m]: zero for m in through} | {names[m]: w for m, w in zip(known, found, strict=True)}
            if rule == "middle" and through == (0, 1) and position == 1:
                del weights["0"]  # the middle is the stage itself
            self.emit(step, t, end, weights, times, names)

    def emit(self, step: Step, t: Number, end: Number, weights: dict, times: Mapping, names: Mapping) -> None:
        if self.folded:
            at = {names[n]: time for n, time in times.items()}
            weights = {n: w * self.ode.from_eps(at[n])[1] for n, w in weights.items()}
        step.update(self.ode.propagator(end, t), weights)

    def tableau(self, step: Step, t: Number, s: Number, nodes: Sequence[Number]) -> None:
        """E(end, t) z + sum_j a_ij dv E(end, t_j) eta(t_j) / v'(t_j) n_j."""
        method = self.method
        assert isinstance(method, Tableau)
        times, change = [t], self.place(s) - self.place(t)
        for i, row in enumerate(method.rows[1:], start=1):
            end = s if i == len(method.rows) - 1 else nodes[i - 1]
            weights = {}
            for j, a in enumerate(row):
                if a:
                    size = mpmath.mpf(a.numerator) / a.denominator * change / self.slope(times[j])
                    weights[str(j)] = size * self.ode.propagator(end, times[j]) * self.ode.eta(times[j])
            step.update(self.ode.propagator(end, t), weights)
            times.append(end)

    def step(self, t: Number, s: Number, past: Sequence[Number], measured: Mapping[str, float]) -> Step:
        """Times of inner stages are exact among the coefficients, and rounded in what depends on them."""
        method = self.method
        multistep = isinstance(method, Polynomial) and min(method.stages[-1][1] + method.mend) < 0
        converted = self.ode.from_eps(t)[0] is not None or (multistep and method.prediction != "eps")
        self.folded = not converted and method.prediction != "eps"
        count = len(method.rows) - 1 if isinstance(method, Tableau) else len(method.stages) + bool(method.mend)
        step = Step(self.ode.process.names, many=count > 1)
        if isinstance(method, Tableau):
            places = [sum(row, Fraction(0)) for row in method.rows[1:-1]]
        else:
            places = [stage[0] for stage in method.stages[:-1]]
        nodes = []
        for n, place in enumerate(places, start=1):
            exact = self.between(t, s, place)
            name = f"time_eps_{n}"
            if name in measured:
                step.found[name] = exact
                exact = mpmath.mpf(measured[name])
            elif place != 1 and n > 1:  # two stages at one time share one node
                exact = nodes[-1]
            nodes.append(exact)
        if self.folded:
            step.unit = max(step.unit, *map(abs, self.ode.from_eps(t)[1]))
        if converted:
            for time in (t, *nodes):
                step.conversion(*self.ode.from_eps(time))
        if isinstance(method, Tableau):
            self.tableau(step, t, s, nodes)
        else:
            self.polynomial(step, t, s, past, nodes)
        if method.prediction == "x0-noisy":
            h = mpmath.log(self.ode.ratio(t) / self.ode.ratio(s))
            step.found["noise_x"] = self.ode.process.factor(s)[0] * mpmath.sqrt(1 - mpmath.exp(-2 * h))
        step.times = [t, *nodes]
        return step


def ancestral(process: Any, t: Number, s: Number) -> Numbers:
    """x_s = alpha_s x_0 + sqrt(sigma_s**2 - v) eps + sqrt(v) xi, v the variance of x_s given x_t and x_0 (DDPM)."""
    ode = Ode(process, "x0")
    (alpha_t, sigma_t), (alpha_s, sigma_s) = ((ode.transition(u)[0], process.factor(u)[0]) for u in (t, s))
    added = sigma_t**2 - (alpha_t / alpha_s) ** 2 * sigma_s**2
    v = 1 / (1 / sigma_s**2 + (alpha_t / alpha_s) ** 2 / added)
    kept = mpmath.sqrt(sigma_s**2 - v) / sigma_t
    found = {"decay_x": kept, "weight_xx": alpha_s - kept * alpha_t, "noise_x": mpmath.sqrt(v)}
    return found | {"skip_xx_0": 1 / alpha_t, "scale_xx_0": -sigma_t / alpha_t}


# the comparison
TOLERANCE = 1e-12
"""Of a coefficient, relative to itself. Most agree to 1e-15; quadrature over a factor 1e3 in time leaves 3e-13."""
STATE = 1e-14
"""Of a coefficient, in units of the state: what float64 can promise of a step, however small it is."""

PASTS: Mapping[tuple[float, float], tuple[float, ...]] = {
    (1.0, 0.9): (),
    (0.5, 0.2): (0.62, 0.8, 0.95),
    (0.01, 0.001): (0.013, 0.021, 0.04),
    (1e-4, 1e-5): (2.1e-4, 3e-4, 7e-4),
}
"""Steps (t, s) and the times at which earlier ones started; the last ends at t_min = 1e-5."""
TINY: Mapping[tuple[float, float], tuple[float, ...]] = {
    (0.3, 0.3 - 1e-6): (0.3 + 1.3e-6, 0.3 + 2.1e-6, 0.3 + 4e-6),
    (1e-5 + 1e-9, 1e-5): (1e-5 + 2.1e-9, 1e-5 + 3e-9, 1e-5 + 5e-9),
}
LONG: Mapping[tuple[float, float], tuple[float, ...]] = {(1.0, 1e-3): (), (0.2, 1e-5): ()}
ALL = {**PASTS, **TINY, **LONG}
SPECS = [spec for spec, scheme in ia.catalogue().items() if scheme.name in {*METHODS, "DDIM-eta"}]

Errors = dict[str, tuple[float, float, float]]


def group(name: str) -> tuple[str, str]:
    """The kind of a coefficient and the update that it belongs to: what it is added to other terms with."""
    kind, *rest = name.split("_")
    number = rest[-1] if rest and rest[-1].isdigit() and kind != "time" else ""
    return {"decay": "linear", "coupling": "linear"}.get(kind, kind), number


@pytest.fixture(scope="module")
def steps(on_paper: Callable) -> Callable[[str, float, float, int], Step]:
    """(spec, t, s, earlier steps) -> the step from its definition."""

    @cache
    def oracle(spec: str) -> Oracle:
        name, scheme = spec.split("/")
        return Oracle(on_paper(name), METHODS[scheme])

    @cache
    def define(spec: str, t: float, s: float, count: int) -> Step:
        name, scheme = spec.split("/")
        past = ALL[t, s][:count]
        with mpmath.workdps(DIGITS):
            if scheme == "DDIM-eta":
                return Step("x", False, ancestral(on_paper(name), mpmath.mpf(t), mpmath.mpf(s)))
            return oracle(spec).step(
                *map(mpmath.mpf, (t, s)), [mpmath.mpf(p) for p in past], coefficients(spec, t, s, past)
            )

    return define


@pytest.fixture(scope="module")
def errors(steps: Callable) -> Callable[[str, float, float, int], Errors]:
    """(spec, t, s, earlier steps) -> by coefficient: error relative to itself, to the largest of its update, to 1."""

    @cache
    def compare(spec: str, t: float, s: float, count: int) -> Errors:
        measured = coefficients(spec, t, s, ALL[t, s][:count])
        step = steps(spec, t, s, count)
        exact, unit = step.found, step.unit
        with mpmath.workdps(DIGITS):
            assert {n for n, v in exact.items() if v not in (0, 1) or n in measured} == set(measured)
            largest: dict[tuple[str, str], Number] = {}
            for n, v in exact.items():
                largest[group(n)] = max(abs(v), largest.get(group(n), 0))
            out = {}
            for n, value in measured.items():
                error, scales = abs(value - exact[n]), (abs(exact[n]), largest[group(n)], unit)
                out[n] = tuple(float(error / scale) if error else 0.0 for scale in scales)
            return out

    return compare


def coefficients(spec: str, t: float, s: float, past: Sequence[float]) -> dict[str, float]:
    module = load(spec).module
    values = module.coefficients(t, s, past).tolist() if module.HISTORY else module.coefficients(t, s).tolist()
    return dict(zip(module.COEFFICIENTS, values, strict=True))


def starts(spec: str, step: tuple[float, float]) -> range:
    """Every number of earlier steps that there can be, from none: the first steps of a walk."""
    return range(min(load(spec).module.HISTORY, len(ALL[step])) + 1)


def off_diagonal(name: str) -> bool:
    """Whether it joins two blocks: small numbers from quantities that nearly cancel (test_coefficient_digits.py)."""
    return "_xm" in name or "_mx" in name


def worst(found: Errors) -> float:
    """Largest error of a coefficient relative to itself, of one that joins two blocks relative to its update."""
    return max(of_largest if off_diagonal(n) else of_itself for n, (of_itself, of_largest, _) in found.items())


def test_the_methods_written_out_here_are_those_of_the_catalogue() -> None:
    """All of these families, but DDIM and its lambda, which test_conjugation.py has, and Euler as it stands."""
    families = (classical, ddim, deis, dpm_solver, exponential, unipc)
    elsewhere = {"DDIM", "lambda-DDIM-I", "lambda-DDIM-II", "Euler", "EM"}
    assert {*METHODS, "DDIM-eta"} | elsewhere == {scheme.name for family in families for scheme in family.SCHEMES}


PREDICTIONS = [
    *(("vp", p) for p in ("eps", "x0", "x0-noisy", "anchor", "velocity")),
    *(("psld", p) for p in ("eps", "eps-rotated", "x0", "anchor", "velocity")),
]


@pytest.mark.parametrize(("name", "prediction"), PREDICTIONS)
def test_the_propagators_on_paper_solve_their_equations(on_paper: Callable, name: str, prediction: str) -> None:
    """E' = L E, and R' = L R + eta where a constant n is carried by a frame R."""
    with mpmath.workdps(DIGITS):
        ode = Ode(on_paper(name), prediction)
        start, end = mpmath.mpf("0.4"), mpmath.mpf("0.07")
        pairs = [(lambda u: ode.propagator(u, start), ode.linear(end) * ode.propagator(end, start))]
        if prediction in ("eps-rotated", "anchor"):
            pairs.append((ode.frame, ode.linear(end) * ode.frame(end) + ode.eta(end)))
        if prediction == "x0":
            pairs.append((ode.transition, ode.linear(end) * ode.transition(end) + ode.eta(end)))
        for value, right in pairs:
            for n, slope in enumerate(right):
                found = mpmath.diff(lambda u, n=n, value=value: list(value(u))[n], end, h=mpmath.mpf(10) ** -13)
                assert abs(found - slope) < 1e-20


def in_units_of_the_state(found: Errors) -> float:
    """Conversions of the network's output, which are large at small times, relative to their largest."""
    return max(largest if n.startswith(("skip", "scale")) else as_it_is for n, (_, largest, as_it_is) in found.items())


@pytest.mark.parametrize("step", PASTS)
@pytest.mark.parametrize("spec", SPECS)
def test_every_coefficient_is_its_definition(errors: Callable, spec: str, step: tuple[float, float]) -> None:
    """For every number of earlier steps: a missing one drops its node, and its weight is exactly 0."""
    for count in starts(spec, step):
        assert worst(errors(spec, *step, count)) <= TOLERANCE, count


@pytest.mark.parametrize("step", TINY)
@pytest.mark.parametrize("spec", SPECS)
def test_a_tiny_step_is_right_to_the_rounding_of_the_state(
    errors: Callable, spec: str, step: tuple[float, float]
) -> None:
    for count in starts(spec, step):
        assert in_units_of_the_state(errors(spec, *step, count)) <= STATE, count


def of_update(found: Errors) -> float:
    """A Lagrange weight of order h**2 is a difference by nature: relative to the largest weight of the update."""
    return max(of_largest for _, of_largest, _ in found.values())


@pytest.mark.parametrize("step", [*TINY, *LONG])
@pytest.mark.parametrize("spec", SPECS)
def test_weights_keep_their_digits_in_tiny_and_in_long_steps(
    errors: Callable, spec: str, step: tuple[float, float]
) -> None:
    """From 3e-6 of the time to a factor of 2e4 in time; every number of earlier steps."""
    for count in starts(spec, step):
        assert of_update(errors(spec, *step, count)) <= TOLERANCE, count


@pytest.mark.parametrize("t", [1.0, 0.01, 1.001e-5])
@pytest.mark.parametrize("spec", SPECS)
def test_a_step_of_a_thousandth_of_the_time_keeps_the_digits_of_its_weights(
    errors: Callable, spec: str, t: float
) -> None:
    step = (t, t * 0.999)
    ALL.setdefault(step, tuple(t * (1 + 1e-3 * n) for n in (1, 2.2, 3.1)))
    assert of_update(errors(spec, *step, load(spec).module.HISTORY)) <= TOLERANCE


# the step function
def network(z: Any, time: float, lift: Callable[[Any], Any]) -> Any:
    """A smooth eps that is linear in nothing; z by columns."""
    return [lift(sum((0.3 + 0.2 * j + 0.1 * i) * c for j, c in enumerate(z)) - 0.7 * i + time) for i in range(len(z))]


def by_hand(step: Step, z: Matrix, past: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
    """(the state at the end, the output that is kept) of the updates in their order, in mpmath."""
    outputs = {f"past_{j}": p for j, p in enumerate(past, start=1)}
    state, updates = z, list(step.updates)
    for n, time in enumerate(step.times):
        eps = mpmath.matrix(network(list(state), time, mpmath.tanh))
        skip, scale = step.conversions[n] if step.conversions else (None, mpmath.eye(len(eps)))
        outputs[str(n)] = scale * eps + (skip * state if skip is not None else 0 * eps)
        decay, weights = updates.pop(0)
        if decay is None:  # the last step is mended first
            z = z + sum((w * outputs[name] for name, w in weights.items()), 0 * z)
            decay, weights = updates.pop(0)
        state = decay * z + sum((w * outputs[name] for name, w in weights.items()), 0 * z)
    return state, outputs["0"]


@pytest.mark.parametrize("step", [(0.5, 0.2), (1e-4, 1e-5)])
@pytest.mark.parametrize("spec", [spec for spec in SPECS if "SDE" not in spec and "eta" not in spec])
def test_a_step_applies_them_in_order(steps: Callable, spec: str, step: tuple[float, float]) -> None:
    """The step function on a non-linear network that depends on time: states, times, mending and what is kept."""
    module, past = load(spec).module, ALL[step][: load(spec).module.HISTORY]
    k, generator = len(module.BLOCKS), torch.Generator().manual_seed(1)
    z, *kept = torch.randn(1 + len(past), 1, k, generator=generator, dtype=torch.float64)
    measured = coefficients(spec, *step, past)

    def eps(y: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return torch.cat(network(list(y.split(1, dim=1)), float(time), torch.tanh), dim=1)

    row, ends = torch.tensor(list(measured.values()), dtype=torch.float64), torch.tensor(step, dtype=torch.float64)
    found = module.step(z, *ends, row, eps, None, *([kept] if past else []))
    with mpmath.workdps(DIGITS):
        states = [mpmath.matrix(y[0].tolist()) for y in (z, *kept)]
        exact = by_hand(steps(spec, *step, len(past)), states[0], states[1:])
    pairs = zip(found, exact, strict=True) if past else [(found, exact[0])]
    for mine, theirs in pairs:
        scale = 1 + max(map(abs, theirs))
        assert max(abs(a - b) for a, b in zip(mine[0].tolist(), theirs, strict=True)) <= 1e-12 * scale


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("vp/DPM-Solver++2M", several(2, "x0", "log-SNR")),
        ("vp/DPM-Solver++2M", several(2, "x0", "rho", "middle")),
        ("vp/UniPC-2", several(2, "x0", "log-SNR", "end", 3)),
        ("vp/DEIS-tAB2", several(3, "eps", "rho")),
        ("psld/DEIS-rhoAB2", several(3, "eps", "log-SNR")),
        ("psld/anchored-AB2", several(2, "anchor", "t")),
        ("psld/gDDIM", several(1, "anchor", "t")),
        ("psld/EDM-Heun", Tableau("eps", "log-SNR", ((), (Fraction(1),), (HALF, HALF)))),
        ("vp/ERK2", Polynomial("eps", "rho", ((HALF, (0,), "integral"), (Fraction(1), (0, 1), "integral")))),
    ],
)
def test_a_neighbouring_method_is_told_apart(on_paper: Callable, spec: str, wrong: Polynomial | Tableau) -> None:
    past = PASTS[0.5, 0.2][: load(spec).module.HISTORY]
    measured = coefficients(spec, 0.5, 0.2, past)
    with mpmath.workdps(DIGITS):
        step = Oracle(on_paper(spec.split("/")[0]), wrong).step(
            mpmath.mpf(0.5), mpmath.mpf(0.2), [mpmath.mpf(p) for p in past], measured
        )
        assert max(abs(measured[n] - v) for n, v in step.found.items() if n in measured) > 1e-4
