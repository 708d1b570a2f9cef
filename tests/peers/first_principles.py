"""The known samplers from first principles, in plain numpy float64: what the peers' printed formulas should amount to.

States are variance preserving. With lambda = log(alpha/sigma), the flow and its stochastic kin have exact solutions
between two grid points s and t that leave one integral of the network along the trajectory:

- eps:     x_t = (alpha_t/alpha_s) x_s - alpha_t int exp(-l) eps(l) dl
- x0:      x_t = (sigma_t/sigma_s) x_s + sigma_t int exp(l) x0(l) dl
- sde-eps: x_t = (alpha_t/alpha_s) x_s - 2 alpha_t int exp(-l) eps(l) dl + sigma_t sqrt(exp(2h) - 1) normal
- sde-x0:  x_t = (sigma_t/sigma_s) exp(-h) x_s + 2 alpha_t int exp(-2 (lambda_t - l)) x0(l) dl
           + sigma_t sqrt(1 - exp(-2h)) normal,                                      h = lambda_t - lambda_s

A method replaces the network by a Lagrange interpolant through known values, in a clock (lambda, the ratio
rho = sigma/alpha, or time), and takes the integral (``rule``)

- "integral": exactly, of kernel times interpolant;
- "middle": of the kernel alone, times the interpolant in the interval's middle in lambda;
- "end": as the kernel's integral times the latest value, plus the kernel's value at t times the integral of the rest.

Integrals are by Gauss-Legendre quadrature with 40 nodes (every integrand is analytic): no phi function is written out.

A network is ``eps(x, t)`` on arrays of shape (n, d) with a float t; ``time`` maps a ratio to t.

>>> import numpy as np
>>> float(round(lagrange_weights("eps", "integral", 0.0, 1.0, [0.0])[0], 6))  # -(e - 1)/sqrt(1 + e**2)
-0.59325
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]
Network = Callable[[Array, float], Array]
Time = Callable[[float], float]
Form = Literal["eps", "x0", "sde-eps", "sde-x0"]
Rule = Literal["integral", "middle", "end"]
Clock = Callable[[Array], Array]
States = Sequence[Array]

_NODES, _GAUSS = np.polynomial.legendre.leggauss(40)


# --- pieces ----------------------------------------------------------------------------------------------------------


def alpha_sigma(lam: float) -> tuple[float, float]:
    """alpha and sigma of the variance preserving process at lambda = log(alpha/sigma)."""
    return 1 / math.sqrt(1 + math.exp(-2 * lam)), 1 / math.sqrt(1 + math.exp(2 * lam))


def clock_lambda(lam: Array) -> Array:
    """The clock log(alpha/sigma)."""
    return lam


def clock_ratio(lam: Array) -> Array:
    """The clock sigma/alpha."""
    return np.exp(-lam)


def clock_time(time: Time) -> Clock:
    """The clock t of a schedule."""
    return lambda lam: np.array([time(math.exp(-value)) for value in np.atleast_1d(lam)])


def decay(form: Form, s: float, t: float) -> float:
    """Factor of x_s in the exact solution, s and t being values of lambda."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = alpha_sigma(s), alpha_sigma(t)
    if form in ("eps", "sde-eps"):
        return alpha_t / alpha_s
    return sigma_t / sigma_s * (math.exp(s - t) if form == "sde-x0" else 1.0)


def kernel(form: Form, lam: Array, t: float) -> Array:
    """What multiplies the network's value at lambda in the integral that ends at lambda = t."""
    alpha_t, sigma_t = alpha_sigma(t)
    if form == "eps":
        return -alpha_t * np.exp(-lam)
    if form == "sde-eps":
        return -2 * alpha_t * np.exp(-lam)
    if form == "x0":
        return sigma_t * np.exp(lam)
    return 2 * alpha_t * np.exp(2 * (lam - t))


def noise_factor(form: Form, s: float, t: float) -> float:
    """Standard deviation of the normal number between s and t."""
    sigma_t = alpha_sigma(t)[1]
    if form == "sde-eps":
        return sigma_t * math.sqrt(math.expm1(2 * (t - s)))
    if form == "sde-x0":
        return sigma_t * math.sqrt(-math.expm1(-2 * (t - s)))
    return 0.0


def lagrange(nodes: Array, at: Array) -> Array:
    """Lagrange's polynomials of ``nodes`` (k) at ``at`` (m), shape (k, m)."""
    rows = []
    for j, node in enumerate(nodes):
        others = np.delete(nodes, j)
        rows.append(np.prod((at[None, :] - others[:, None]) / (node - others[:, None]), axis=0))
    return np.stack(rows)


def lagrange_weights(
    form: Form, rule: Rule, s: float, t: float, nodes: Sequence[float], clock: Clock = clock_lambda
) -> Array:
    """Weights of the values known at the lambdas ``nodes`` (the first is the latest) in the step from s to t."""
    lam = (s + t) / 2 + (t - s) / 2 * _NODES
    dl = (t - s) / 2 * _GAUSS
    k = kernel(form, lam, t)
    at_nodes = np.asarray(clock(np.asarray(nodes, dtype=np.float64)))
    if rule == "integral":
        return lagrange(at_nodes, clock(lam)) @ (k * dl)
    if rule == "middle":
        return lagrange(at_nodes, clock(np.array([(s + t) / 2])))[:, 0] * (k @ dl)
    rest = lagrange(at_nodes, clock(lam))
    rest[0] -= 1
    weights = kernel(form, np.array([t]), t)[0] * (rest @ dl)
    weights[0] += k @ dl
    return weights


@dataclass(frozen=True)
class Slip:
    """A misprinted weight of the interpolant's quadratic term: ``factor`` times the right one, plus ``shift`` alpha_t.

    The term is c u**2 with u = (l - s)/(t - s) and c the second divided difference of the values in u.
    """

    factor: float = 1.0
    shift: float = 0.0

    def weights(self, form: Form, s: float, t: float, nodes: Sequence[float]) -> Array:
        """What the slip adds to the weights of three values."""
        lam = (s + t) / 2 + (t - s) / 2 * _NODES
        moment = float(kernel(form, lam, t) * ((lam - s) / (t - s)) ** 2 @ _GAUSS) * (t - s) / 2
        u = (np.asarray(nodes) - s) / (t - s)
        difference = np.array([1 / np.prod(u[j] - np.delete(u, j)) for j in range(3)])
        return ((self.factor - 1) * moment + self.shift * alpha_sigma(t)[0]) * difference


def value(form: Form, network: Network, x: Array, lam: float, time: Time) -> Array:
    """The network's value in the form that is interpolated: eps, or x0 = (x - sigma eps)/alpha."""
    eps = network(x, time(math.exp(-lam)))
    alpha, sigma = alpha_sigma(lam)
    return eps if form in ("eps", "sde-eps") else (x - sigma * eps) / alpha


def _combine(form: Form, x: Array, s: float, t: float, weights: Array, values: Sequence[Array]) -> Array:
    return decay(form, s, t) * x + sum(w * v for w, v in zip(weights, values, strict=True))


def _lambdas(ratios: Sequence[float]) -> list[float]:
    return [-math.log(ratio) for ratio in ratios]


# --- methods ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Multistep:
    """Adams-Bashforth in exponential form: the last ``order`` values, fewer at the start.

    ``second`` is the rule of a third-order method's second step, which has two values.
    """

    form: Form
    order: int
    rule: Rule = "integral"
    clock: Clock = clock_lambda
    slip: Slip | None = None
    second: Rule | None = None

    def run(
        self,
        network: Network,
        z: Array,
        ratios: Sequence[float],
        time: Time,
        noise: Array | None,
        past: Sequence[Array],
    ) -> Array:
        """State at the last ratio."""
        lam = _lambdas(ratios)
        values = [value(self.form, network, x, lam[i], time) for i, x in enumerate(past)]
        x = z
        for i in range(len(past), len(lam) - 1):
            values.append(value(self.form, network, x, lam[i], time))
            reach = min(self.order, i + 1)
            nodes = lam[i + 1 - reach : i + 1][::-1]
            rule = self.second if self.second is not None and reach == 2 else self.rule
            weights = lagrange_weights(self.form, rule, lam[i], lam[i + 1], nodes, self.clock)
            if self.slip is not None and reach == 3:
                weights = weights + self.slip.weights(self.form, lam[i], lam[i + 1], nodes)
            x = _combine(self.form, x, lam[i], lam[i + 1], weights, values[-reach:][::-1])
            if noise is not None:
                x = x + noise_factor(self.form, lam[i], lam[i + 1]) * noise[i - len(past)]
        return x


@dataclass(frozen=True)
class Singlestep:
    """``len(uses)`` grid intervals a step; stage k goes from the step's start through the values named in ``uses[k]``.

    Values are numbered within the step: 0 at its start, 1 at the next grid point, and so on. ``rules[k]`` is the rule.
    A stage draws its own normal number, and every stage starts at the step's start: only the last one's draw stays.
    """

    form: Form
    uses: tuple[tuple[int, ...], ...]
    rules: tuple[Rule, ...]
    slip: Slip | None = None

    def run(
        self,
        network: Network,
        z: Array,
        ratios: Sequence[float],
        time: Time,
        noise: Array | None,
        past: Sequence[Array],
    ) -> Array:
        """State at the last ratio."""
        lam, x, stages = _lambdas(ratios), z, len(self.uses)
        for start in range(0, len(lam) - 1, stages):
            values: list[Array] = []
            stage = x
            for k, (used, rule) in enumerate(zip(self.uses, self.rules, strict=True)):
                values.append(value(self.form, network, stage, lam[start + k], time))
                s, t = lam[start], lam[start + k + 1]
                nodes = [lam[start + j] for j in used]
                weights = lagrange_weights(self.form, rule, s, t, nodes)
                if self.slip is not None and len(used) == 3:
                    weights = weights + self.slip.weights(self.form, s, t, nodes)
                stage = _combine(self.form, x, s, t, weights, [values[j] for j in used])
                if noise is not None:
                    stage = stage + noise_factor(self.form, s, t) * noise[start + k]
            x = stage
        return x


@dataclass(frozen=True)
class PredictorCorrector:
    """UniPC: predict with ``order`` values, evaluate once, correct with that value and the same ``order`` values.

    The value at the predicted state is the one that is kept; the last state is predicted, not corrected.
    ``second`` is the rule of the predictor with two values, ``first`` of the corrector with one old value.
    """

    form: Form
    order: int
    second: Rule = "integral"
    first: Rule = "integral"

    def run(
        self,
        network: Network,
        z: Array,
        ratios: Sequence[float],
        time: Time,
        noise: Array | None,
        past: Sequence[Array],
    ) -> Array:
        """State at the last ratio."""
        lam = _lambdas(ratios)
        values = [value(self.form, network, x, lam[i], time) for i, x in enumerate(past)]
        before, x, reach = None, z, 0
        for i in range(len(past), len(lam) - 1):
            latest = value(self.form, network, x, lam[i], time)
            if before is not None:
                nodes = [*lam[i - reach : i][::-1], lam[i]]
                rule = self.first if reach == 1 else "integral"
                weights = lagrange_weights(self.form, rule, lam[i - 1], lam[i], nodes)
                x = _combine(self.form, before, lam[i - 1], lam[i], weights, [*values[-reach:][::-1], latest])
            values.append(latest)
            reach = min(self.order, i + 1)
            rule = self.second if reach == 2 else "integral"
            weights = lagrange_weights(self.form, rule, lam[i], lam[i + 1], lam[i + 1 - reach : i + 1][::-1])
            before, x = x, _combine(self.form, x, lam[i], lam[i + 1], weights, values[-reach:][::-1])
        return x


@dataclass(frozen=True)
class RatioRungeKutta:
    """Two-stage Runge-Kutta for d(x/alpha)/d(ratio) = eps: second stage at the interval's end or within it.

    "trapezoid" is Heun's method; "geometric" takes the slope at the geometric mean of the ratios; "euler" has one
    stage.
    """

    kind: Literal["euler", "trapezoid", "geometric"]

    def run(
        self,
        network: Network,
        z: Array,
        ratios: Sequence[float],
        time: Time,
        noise: Array | None,
        past: Sequence[Array],
    ) -> Array:
        """State at the last ratio."""

        def slope(y: Array, ratio: float) -> Array:
            return network(y / math.sqrt(1 + ratio**2), time(ratio))

        y = z * math.sqrt(1 + ratios[0] ** 2)
        for a, b in itertools.pairwise(ratios):
            first = slope(y, a)
            if self.kind == "euler":
                y = y + (b - a) * first
            elif self.kind == "trapezoid":
                y = y + (b - a) / 2 * (first + slope(y + (b - a) * first, b))
            else:
                middle = math.sqrt(a * b)
                y = y + (b - a) * slope(y + (middle - a) * first, middle)
        return y / math.sqrt(1 + ratios[-1] ** 2)


@dataclass(frozen=True)
class Posterior:
    """x_t drawn so that x_t given x0 keeps its law: mean alpha_t x0 + sqrt(sigma_t**2 - v) eps, variance v.

    v is ``eta**2`` times the variance of x_t given x_s and x0 in the forward Markov chain, which conditioning of
    Gaussians gives as 1/(1/sigma_t**2 + a**2/q), where x_s = a x_t + sqrt(q) normal.
    """

    eta: float

    def run(
        self,
        network: Network,
        z: Array,
        ratios: Sequence[float],
        time: Time,
        noise: Array | None,
        past: Sequence[Array],
    ) -> Array:
        """State at the last ratio."""
        lam, x = _lambdas(ratios), z
        for i, (s, t) in enumerate(itertools.pairwise(lam)):
            (alpha_s, sigma_s), (alpha_t, sigma_t) = alpha_sigma(s), alpha_sigma(t)
            eps = network(x, time(math.exp(-s)))
            x0 = (x - sigma_s * eps) / alpha_s
            a = alpha_s / alpha_t
            q = sigma_s**2 - a**2 * sigma_t**2
            v = self.eta**2 / (1 / sigma_t**2 + a**2 / q)
            x = alpha_t * x0 + math.sqrt(sigma_t**2 - v) * eps
            if noise is not None:
                x = x + math.sqrt(v) * noise[i]
        return x


Method = Multistep | Singlestep | PredictorCorrector | RatioRungeKutta | Posterior


def _three(form: Form, rules: tuple[Rule, Rule, Rule], last: tuple[int, ...]) -> Singlestep:
    return Singlestep(form, ((0,), (0, 1), last), rules)


def _two(form: Form, rule: Rule) -> Singlestep:
    return Singlestep(form, ((0,), (0, 1)), ("integral", rule))


#: By the peers' names: the method that the name promises, with every integral of an interpolant taken as published.
METHODS: dict[str, Method] = {
    "DDIM": Multistep("eps", 1),
    "DDIM-eta=0.5": Posterior(0.5),
    "DDIM-eta=1": Posterior(1.0),
    "DPM-Solver-1": Multistep("eps", 1),
    "DPM-Solver-2M(middle)": Multistep("eps", 2, "middle"),
    "DPM-Solver-2M(integral)": Multistep("eps", 2),
    "DPM-Solver-3M": Multistep("eps", 3, second="middle"),
    "DPM-Solver-3M(integral)": Multistep("eps", 3),
    "DPM-Solver++1": Multistep("x0", 1),
    "DPM-Solver++2M": Multistep("x0", 2, "middle"),
    "DPM-Solver++2M(integral)": Multistep("x0", 2),
    "DPM-Solver++3M": Multistep("x0", 3, second="middle"),
    "DPM-Solver++3M(integral)": Multistep("x0", 3),
    "SDE-DPM-1": Multistep("sde-eps", 1),
    "SDE-DPM-2M": Multistep("sde-eps", 2, "middle"),
    "SDE-DPM-2M(integral)": Multistep("sde-eps", 2),
    "SDE-DPM++1": Multistep("sde-x0", 1),
    "SDE-DPM++2M": Multistep("sde-x0", 2, "middle"),
    "SDE-DPM++2M(integral)": Multistep("sde-x0", 2),
    "SDE-DPM++3M": Multistep("sde-x0", 3, second="middle"),
    "SDE-DPM++3M(integral)": Multistep("sde-x0", 3),
    "DPM-Solver-2S": _two("eps", "middle"),
    "DPM-Solver-2S(integral)": _two("eps", "integral"),
    "DPM-Solver-3S": _three("eps", ("integral", "middle", "integral"), (0, 2)),
    "DPM-Solver-3S(integral)": _three("eps", ("integral", "integral", "integral"), (0, 1, 2)),
    "DPM-Solver++2S": _two("x0", "middle"),
    "DPM-Solver++2S(integral)": _two("x0", "integral"),
    "DPM-Solver++3S": _three("x0", ("integral", "middle", "integral"), (0, 2)),
    "DPM-Solver++3S(integral)": _three("x0", ("integral", "integral", "integral"), (0, 1, 2)),
    "SDE-DPM++3S(integral)": _three("sde-x0", ("integral", "integral", "integral"), (0, 1, 2)),
    "DEIS-1": Multistep("eps", 1),
    "DEIS-2": Multistep("eps", 2),
    "DEIS-3": Multistep("eps", 3),
    "UniPC-1-bh1": PredictorCorrector("x0", 1, first="end"),
    "UniPC-1-bh2": PredictorCorrector("x0", 1, first="middle"),
    "UniPC-2-bh1": PredictorCorrector("x0", 2, "end", "end"),
    "UniPC-2-bh2": PredictorCorrector("x0", 2, "middle", "middle"),
    "UniPC-3-bh1": PredictorCorrector("x0", 3, "end", "end"),
    "UniPC-3-bh2": PredictorCorrector("x0", 3, "middle", "middle"),
    "UniPC-2-bh1(eps)": PredictorCorrector("eps", 2, "end", "end"),
    "UniPC-2-bh2(eps)": PredictorCorrector("eps", 2, "middle", "middle"),
    "UniPC-3-bh1(eps)": PredictorCorrector("eps", 3, "end", "end"),
    "UniPC-3-bh2(eps)": PredictorCorrector("eps", 3, "middle", "middle"),
    "Euler": RatioRungeKutta("euler"),
    "Heun": RatioRungeKutta("trapezoid"),
    "KDPM2": RatioRungeKutta("geometric"),
    "EDM-Euler": RatioRungeKutta("euler"),
    "EDM-DPM++2M": Multistep("x0", 2, "middle"),
    "EDM-DPM++2M(integral)": Multistep("x0", 2),
    "EDM-DPM++3M": Multistep("x0", 3, second="middle"),
    "EDM-DPM++3M(integral)": Multistep("x0", 3),
    "EDM-SDE-DPM++2M": Multistep("sde-x0", 2, "middle"),
    "FlowMatch-Euler": RatioRungeKutta("euler"),
    "Flow-DPM++2M": Multistep("x0", 2, "middle"),
    "Flow-UniPC-2-bh2": PredictorCorrector("x0", 2, "middle", "middle"),
    "LMS-2": Multistep("eps", 2, clock=clock_ratio),
    "LMS-3": Multistep("eps", 3, clock=clock_ratio),
    "LMS-4": Multistep("eps", 4, clock=clock_ratio),
}

#: The peers that are not what their names promise, by what they print.
PRINTED: dict[str, Method] = {
    "DPM-Solver-3M": Multistep("eps", 3, slip=Slip(0.5), second="middle"),
    "DPM-Solver-3M(integral)": Multistep("eps", 3, slip=Slip(0.5)),
    "DPM-Solver++3M": Multistep("x0", 3, slip=Slip(0.5), second="middle"),
    "DPM-Solver++3M(integral)": Multistep("x0", 3, slip=Slip(0.5)),
    "EDM-DPM++3M": Multistep("x0", 3, slip=Slip(0.5), second="middle"),
    "EDM-DPM++3M(integral)": Multistep("x0", 3, slip=Slip(0.5)),
    "SDE-DPM++3M": Multistep("sde-x0", 3, slip=Slip(0.5, -1.0), second="middle"),
    "SDE-DPM++3M(integral)": Multistep("sde-x0", 3, slip=Slip(0.5, -1.0)),
    "SDE-DPM++3S(integral)": Singlestep("sde-x0", ((0,), (0, 1), (0, 1, 2)), ("integral",) * 3, Slip(1.0, -2.0)),
}


def run_method(
    method: str | Method,
    network: Network,
    z: Array,
    ratios: Sequence[float],
    *,
    time: Time,
    noise: Array | None = None,
    past: Sequence[Array] = (),
) -> Array:
    """The method's state at the last ratio, from z at ``ratios[len(past)]``; arguments as for the peers, in numpy."""
    chosen = METHODS[method] if isinstance(method, str) else method
    return chosen.run(network, z, [float(ratio) for ratio in ratios], time, noise, past)


# --- the exact flow --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """The probability flow d(x/alpha)/d(ratio) = eps, solved by DOP853 to rtol 1e-13.

    With ``strength`` 2 it is the reverse diffusion whose every normal number is zero: what the sde forms converge to.
    """

    network: Network
    time: Time
    strength: float = 1.0
    tolerance: float = 1e-13

    def states(self, z: Array, ratios: Sequence[float]) -> list[Array]:
        """The exact states at every ratio, from z at the first: each piece is integrated on its own."""

        def slope(lam: float, y: Array) -> Array:
            ratio = math.exp(-lam)
            out = -self.strength * ratio * self.network(y.reshape(z.shape) / math.sqrt(1 + ratio**2), self.time(ratio))
            return np.asarray(out.ravel())

        y = z.ravel() * math.sqrt(1 + ratios[0] ** 2)
        states = [z]
        for a, b in itertools.pairwise(ratios):
            out = solve_ivp(slope, (-math.log(a), -math.log(b)), y, "DOP853", rtol=self.tolerance, atol=1e-14)
            y = out.y[:, -1]
            states.append(y.reshape(z.shape) / math.sqrt(1 + b**2))
        return states
