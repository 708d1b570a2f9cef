"""Random conjugate schemes, and one step of each from its definition: base method, B, prediction, variable, on paper.

The definition (arXiv 2310.07894, section 3.1; docs/own.md): with s = C_skip z + C_out n the probability flow is
z' = L z + eta n. With E(s, t) the flow of z' = (L - B) z, a state at a later place of the step is E z, plus the network
replaced by a polynomial through evaluations and integrated, minus E B z by a polynomial through its values; or a
Runge-Kutta method on the ODE for A z. Everything is integrated by scipy's DOP853.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import prod
from random import Random

import numpy as np
from numpy.polynomial import Polynomial
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from tests.properties.on_paper import Eps, Paper, solve
from tests.properties.random_processes import NAME, number

__all__ = ["ByHand", "RandomScheme", "random_scheme"]

Array = np.ndarray
HALF, THIRD, TWO_THIRDS, ONE = Fraction(1, 2), Fraction(1, 3), Fraction(2, 3), Fraction(1)


@dataclass(frozen=True)
class Stage:
    """Where on the way it lies, the evaluations it passes through, and the rule; as in docs/own.md."""

    share: Fraction
    through: tuple[int, ...]
    rule: str = "integral"


@dataclass(frozen=True)
class Tableau:
    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]


Base = tuple[Stage, ...] | Tableau

NAMED: dict[str, tuple[Base, str]] = {
    "Euler": ((Stage(ONE, (0,)),), "t"),
    "AB2": ((Stage(ONE, (0, -1)),), "t"),
    "AB3": ((Stage(ONE, (0, -1, -2)),), "t"),
    "AB2-middle": ((Stage(ONE, (0, -1), "middle"),), "log-SNR"),
    "ERK2": ((Stage(HALF, (0,)), Stage(ONE, (0, 1))), "log-SNR"),
    "ERK2-middle": ((Stage(HALF, (0,)), Stage(ONE, (0, 1), "middle")), "log-SNR"),
    "Heun": (Tableau(((), (ONE,)), (HALF, HALF)), "t"),
    "midpoint": (Tableau(((), (HALF,)), (Fraction(0), ONE)), "t"),
    "Ralston": (Tableau(((), (TWO_THIRDS,)), (Fraction(1, 4), Fraction(3, 4))), "t"),
    "RK3": (Tableau(((), (HALF,), (-ONE, 2 * ONE)), (Fraction(1, 6), TWO_THIRDS, Fraction(1, 6))), "t"),
}
"""Base methods that a spec names, and the variable that each has by itself; from their textbooks."""


@dataclass(frozen=True)
class RandomScheme:
    """``spec`` names it; ``toml`` is the [scheme] table that it needs first, if any. B is ``b(t)``."""

    spec: str
    toml: str
    base: Base
    variable: str
    prediction: str
    b: Callable[[float], Array] = field(repr=False)

    @property
    def depth(self) -> int:
        """How many earlier steps are read."""
        return 0 if isinstance(self.base, Tableau) else -min(0, *(n for st in self.base for n in (*st.through, 0)))


def random_scheme(r: Random, paper: Paper, network: str) -> RandomScheme:
    """A scheme that a spec composes, or one of a text file: a tableau, stages, a B that moves."""
    k = len(paper.drift)
    predictions = ["eps", "x0", "score", "mixed", "velocity", "eps-rotated", *(["v", "edm"] if k == 1 else [])]
    predictions += ["residual"] if paper.prior is not None else []
    if network == "velocity" and k > 1:
        predictions = ["velocity"]
    prediction, own = r.choice(predictions), r.random() < 0.4
    name = r.choice(list(NAMED))
    base, usual = NAMED[name]
    if own:
        base, usual = r.choice([random_tableau, random_stages])(r), "t"
    frozen = base == NAMED["Euler"][0]
    reads_past = not isinstance(base, Tableau) and min(n for st in base for n in st.through) < 0
    variable = usual if frozen or r.random() < 0.4 else r.choice(["t", "rho", "log-SNR"])
    may_conjugate = variable == "t" and not reads_past and r.random() < 0.6
    written, b = _random_b(r, k, own) if may_conjugate else ("0", lambda _: np.zeros((k, k)))
    if own:
        return RandomScheme(
            f"{NAME}/own-drawn", _toml(written, base, variable, prediction), base, variable, prediction, b
        )
    options = [f"B={written}", f"base={name}", *([f"variable={variable}"] * (not frozen)), f"predict={prediction}"]
    return RandomScheme(f"{NAME}/conjugate({', '.join(options)})", "", base, variable, prediction, b)


def _random_b(r: Random, k: int, own: bool) -> tuple[str, Callable[[float], Array]]:
    """A family of a spec, or a matrix of a text file: one that moves on one block, a constant one on two."""
    size, numbers = number(r, -1.5, 1.5), [number(r, -1, 1) for _ in range(k)]
    if own and k == 1:
        return (
            f'[["{size} + {numbers[0]}*sin(2*t)"]]',
            lambda t: np.eye(1) * (float(size) + float(numbers[0]) * np.sin(2 * t)),
        )
    kind = r.choice(["I", "ones", "diag"])
    matrix = {"I": np.eye(k), "ones": np.ones((k, k)), "diag": np.diag([float(n) for n in numbers])}[kind]
    if own:
        matrix = np.diag([1.0] * k) + (kind == "ones") * np.ones((k, k))
        return str([[f"{size}*{e:g}" for e in row] for row in matrix]).replace("'", '"'), lambda _: float(size) * matrix
    text = kind if kind != "diag" else f"diag({', '.join(map(str, numbers))})"
    return f"{size}*{text}", lambda _: float(size) * matrix


def random_tableau(r: Random) -> Tableau:
    """Explicit, nodes between 0 and 1, the weights sum to one."""
    size, rows = r.randint(1, 3), [()]
    for i in range(1, size):
        row = [Fraction(r.randint(-2, 3), 4) for _ in range(i - 1)]
        rows.append((*row, Fraction(r.randint(0, 4), 4) - sum(row)))
    weights = [Fraction(r.randint(-2, 4), 4) for _ in range(size - 1)]
    return Tableau(tuple(rows), (*weights, 1 - sum(weights)))


def random_stages(r: Random) -> tuple[Stage, ...]:
    """One or two stages; polynomials through what is there by then, at most one evaluation of an earlier step."""
    past = r.choice([(), (-1,)])
    if r.random() < 0.4:
        return (Stage(ONE, (0, -1), r.choice(["integral", "middle", "end"])),)
    first = Stage(Fraction(r.randint(1, 4), 5), (0, *past))
    through, rule = r.choice([(0, 1), (1,), (0,)]), "integral"
    if len(through) == 2:
        rule = r.choice(["integral", "integral", "middle", "end"])
    if rule == "integral":
        through += past
    return first, Stage(ONE, through, rule)


def _toml(b: str, base: Base, variable: str, prediction: str) -> str:
    quoted = b if b.startswith("[") else f'"{b}"'
    lines = ["[scheme]", 'name = "own-drawn"', f"B = {quoted}", f'predict = "{prediction}"', f'variable = "{variable}"']
    if isinstance(base, Tableau):
        rows = [[str(entry) for entry in row] for row in base.a]
        lines += ["[scheme.tableau]", f"a = {rows}", f"b = {[str(entry) for entry in base.b]}"]
    else:
        stages = [f'{{ share = "{st.share}", through = {list(st.through)}, rule = "{st.rule}" }}' for st in base]
        lines.append(f"stages = [{', '.join(stages)}]")
    return "\n".join(lines).replace("'", '"') + "\n"


# the definition
class ByHand:
    """One scheme on one paper process."""

    def __init__(self, paper: Paper, scheme: RandomScheme, t_max: float) -> None:
        self.paper, self.scheme, self.t_max, self.k = paper, scheme, t_max, len(paper.drift)
        self.kernel = lru_cache(maxsize=4096)(paper.kernel)
        self.frame: Callable[[float], Array] | None = None

    def prediction(self, name: str, t: float) -> tuple[Array, Array]:
        """(skip, scale) of n = skip z + scale eps."""
        paper, one, zero = self.paper, np.eye(self.k), np.zeros((self.k, self.k))
        psi, sigma = self.kernel(t)
        factor = np.linalg.cholesky(sigma)
        score = -np.linalg.inv(factor.T)  # s = score eps
        if name == "eps":
            return zero, one
        if name == "score":
            return zero, score
        if name == "x0":  # (x_0, 0) = P^{-1} (z - K eps)
            back = np.linalg.inv(paper.transition(t))
            return back, -back @ factor
        if name == "velocity":
            return paper.beta(t) * paper.drift, -paper.beta(t) * paper.noise(t) @ score / 2
        if name == "residual":
            return np.linalg.inv(paper.prior), score
        if name == "mixed":  # n = eps + K^T (score of unit-variance data)
            return -factor.T @ np.linalg.inv(sigma + np.outer(psi, psi)), one
        if name == "eps-rotated":
            return zero, -self._rotated(t).T @ score
        alpha, noise = psi[0], factor[0, 0]
        if name == "v":  # (alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2), x_0 = (z - sigma eps) / alpha
            root = np.hypot(alpha, noise)
            return -noise / (alpha * root) * one, (alpha + noise**2 / alpha) / root * one
        assert name == "edm"
        marginal = noise**2 + alpha**2 / 4  # n = (s + z / S) / C_out
        out = alpha / (2 * noise * np.sqrt(marginal))
        return one / (marginal * out), score / out

    def _rotated(self, t: float) -> Array:
        """gDDIM's frame: R' = (F + G G^T Sigma^{-1} / 2) R from the Cholesky factor at t_max. sigma on one block."""
        if self.k == 1:
            return np.linalg.cholesky(self.kernel(t)[1])
        if self.frame is None:
            paper, begin = self.paper, np.linalg.cholesky(self.kernel(self.t_max)[1])

            def slope(u: float, flat: Array) -> Array:
                pull = paper.noise(u) @ np.linalg.inv(self.kernel(u)[1]) / 2
                return (paper.beta(u) * (paper.drift + pull) @ flat.reshape(2, 2)).ravel()

            options = {"method": "DOP853", "rtol": 3e-14, "atol": 1e-15, "max_step": self.t_max / 100}
            self.frame = solve_ivp(
                slope, (self.t_max, self.t_max / 100), begin.ravel(), dense_output=True, **options
            ).sol
        return self.frame(t).reshape(2, 2)

    def linear(self, t: float) -> tuple[Array, Array]:
        """L and eta: what is left of the probability flow when eps is written in terms of n and z."""
        paper, name = self.paper, self.scheme.prediction
        if name == "velocity":
            return np.zeros((self.k, self.k)), np.eye(self.k)
        skip, scale = self.prediction(name, t)
        pull = paper.beta(t) * paper.noise(t) @ np.linalg.inv(np.linalg.cholesky(self.kernel(t)[1]).T) / 2
        eta = pull @ np.linalg.inv(scale)
        return paper.beta(t) * paper.drift - eta @ skip, eta

    def measure(self, t: float) -> tuple[float, float]:
        """The variable, and its derivative by the chain rule from Psi' = F Psi and Sigma' = F S + S F^T + G G^T."""
        if self.scheme.variable == "t":
            return t, 1.0
        psi, sigma = self.kernel(t)
        n, d, pull = self.paper.drift, self.paper.noise(t), np.linalg.solve(sigma, psi)
        information = psi @ pull
        slope = self.paper.beta(t) * (2 * pull @ n @ psi - pull @ (n @ sigma + sigma @ n.T + d) @ pull)
        if self.scheme.variable == "rho":
            return information**-0.5, -(information**-1.5) * slope / 2
        return np.log(information) / 2, slope / (2 * information)

    def at_share(self, start: float, end: float, share: Fraction | float) -> float:
        """The time at which that share of the way in the variable is made."""
        if share == 1:
            return end
        first, last = self.measure(start)[0], self.measure(end)[0]
        goal = first + float(share) * (last - first)
        return brentq(lambda u: self.measure(u)[0] - goal, end, start, xtol=1e-15, rtol=1e-15) if share else start

    def propagated(self, start: float, end: float, polynomials: Sequence[Callable[[float], float]]) -> list[Array]:
        """E(end, start), and for each polynomial p the integral of E(end, u) eta(u) p(u) from start to end."""
        k = self.k

        def slope(u: float, flat: Array) -> Array:
            linear, eta = self.linear(u)
            y = flat.reshape(k, -1)
            out = (linear - self.scheme.b(u)) @ y
            for j, p in enumerate(polynomials, 1):
                out[:, j * k : (j + 1) * k] += p(u) * eta
            return out.ravel()

        begin = np.hstack([np.eye(k), *(np.zeros((k, k)) for _ in polynomials)])
        return np.hsplit(solve(slope, start, end, begin.ravel()).reshape(k, -1), len(polynomials) + 1)

    def step(self, start: float, end: float, z: Array, eps: Eps, past: Sequence[tuple[float, Array]] = ()) -> Array:
        """z (k, points) at ``end``; ``past``: earlier starts and the states there, newest first."""

        def n_of(t: float, y: Array) -> Array:
            skip, scale = self.prediction(self.scheme.prediction, t)
            return skip @ y + scale @ eps(t, y)

        known = {0: (start, z)} | {-j: pair for j, pair in enumerate(past, 1)}
        outputs = {n: n_of(*pair) for n, pair in known.items()}
        if isinstance(self.scheme.base, Tableau):
            return self._tableau(self.scheme.base, start, end, z, n_of)
        for n, stage in enumerate(self.scheme.base, 1):
            at = self.at_share(start, end, stage.share)
            known[n] = at, self._stage(stage, start, at, known, outputs)
            outputs[n] = n_of(*known[n])
        return known[len(self.scheme.base)][1]

    def _stage(self, stage: Stage, start: float, end: float, known: dict, outputs: dict) -> Array:
        first, (last, slope_there) = self.measure(start)[0], self.measure(end)
        places = [(self.measure(known[n][0])[0] - first) / (last - first) for n in stage.through]
        lagrange = [
            prod(
                (Polynomial([-x, 1]) / (places[j] - x) for m, x in enumerate(places) if m != j), start=Polynomial([1.0])
            )
            for j in range(len(places))
        ]

        def share(u: float) -> float:
            return (self.measure(u)[0] - first) / (last - first)

        carried, *weights = self.propagated(start, end, [lambda u, p=p: p(share(u)) for p in lagrange])
        if stage.rule != "integral":  # through two: the value at the start of the interval and a slope
            plain = self.propagated(start, end, [lambda _: 1.0])[1]
            mean = plain / 2
            if stage.rule == "end":
                mean = (last - first) / slope_there * self.linear(end)[1] / 2
            weights = [p(0) * plain + (p(1) - p(0)) * mean for p in lagrange]
        out = carried @ known[0][1]
        for n, p, weight in zip(stage.through, lagrange, weights, strict=True):
            time, state = known[n]
            out = out + weight @ outputs[n]
            if np.any(self.scheme.b(time)):
                back = carried @ np.linalg.inv(self.propagated(start, time, [])[0]) if time != start else carried
                out = out - (start - end) * p.integ()(1) * back @ self.scheme.b(time) @ state
        return out

    def _tableau(
        self, tableau: Tableau, start: float, end: float, z: Array, n_of: Callable[[float, Array], Array]
    ) -> Array:
        length = self.measure(end)[0] - self.measure(start)[0]
        slopes: list[Array] = []  # of A z in the variable, A = I at the start
        for i, row in enumerate((*tableau.a, tableau.b)):
            at = end if i == len(tableau.a) else self.at_share(start, end, sum(row, Fraction(0)))
            back = self.propagated(start, at, [])[0] if at != start else np.eye(self.k)
            state = back @ (z + length * sum((float(a) * f for a, f in zip(row, slopes, strict=True)), 0 * z))
            if i == len(tableau.a):
                break
            right = self.scheme.b(at) @ state + self.linear(at)[1] @ n_of(at, state)
            slopes.append(np.linalg.solve(back, right) / self.measure(at)[1])
        return state
