"""The leading global error of a scheme along a problem, predicted for n steps from its derived local error.

Knows local errors, problems and the variational equation; knows no scheme by name, runs no scheme and imports no torch.
On times t_0 > ... > t_n a scheme with local error d(z, t) h**q, q = order + 1, has at t_n the error
    e_n = sum_i Phi(t_n, t_i) d(z_i, t_i) h_i**q + (higher powers),
Phi the derivative of the exact flow. On times t_i = g(i/n) that sum tends to n**-(q - 1) times the integral over g of
Phi d |g'|**(q - 1). For a weak error, Phi d is the mean over z_t of d applied to u(z, t) = E[f(Z_end) | Z_t = z].
Source: Hairer, Norsett and Wanner, Solving ODEs I, II.8; Talay and Tubaro (1990) for the weak error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import sympy
from scipy.integrate import solve_ivp

from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.local_error import LocalError, derive_local_error
from integrator_analysis.analysis.accuracy.problems import (
    ABSOLUTE,
    MixtureProblem,
    WaveObservable,
    normal_nodes,
)
from integrator_analysis.analysis.coefficients import check_times
from integrator_analysis.analysis.gaussian import marginal
from integrator_analysis.inputs import InputError, did_you_mean
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Combine, Evaluate, Output
from integrator_analysis.program.step_program import StepProgram

__all__ = ["GRIDS", "Contribution", "GlobalError", "QuadraticObservable", "global_error", "weak_global_error"]

Speed = Callable[[np.ndarray, float, float], np.ndarray]
"""(t, start, end) -> |dt/du| of a grid t = g(u), g(0) = start, g(1) = end, at its time t."""

DIGITS = 20
"""Digits for the derived constants; their derivatives are numerical and lose about half."""

PANEL, NODES = 1.8, 10
"""Gauss-Legendre panels in log t: their largest width, and nodes in each. On VP and PSLD from 1e-3 to 1 (4 panels)
16 nodes instead change the constant of psld/SPS-2S by 8e-5 of it, those of four others by less than 3e-6."""


def power_speed(exponent: float) -> Speed:
    """Return the speed of the grid that is uniform in t**(1 / exponent)."""

    def speed(time: np.ndarray, start: float, end: float) -> np.ndarray:
        width = start ** (1 / exponent) - end ** (1 / exponent)
        return exponent * width * np.asarray(time) ** (1 - 1 / exponent)

    return speed


def cosine_speed(time: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the speed of the grid t = end + (start - end) (1 - sin(pi u / 2))."""
    share = (np.asarray(time) - end) / (start - end)
    return np.pi / 2 * (start - end) * np.sqrt(np.maximum(1 - (1 - share) ** 2, 0.0))


GRIDS: Mapping[str, Speed] = {
    "uniform": power_speed(1),
    "quadratic": power_speed(2),
    "karras": power_speed(7),
    "cosine": cosine_speed,
}
"""The smooth grids by the names that the sampler gives them."""


@dataclass(frozen=True)
class Contribution:
    """A part of the global error: ``constant`` / n**``power``, in the units of the state (or of the observable)."""

    name: str
    power: int
    constant: np.ndarray


@dataclass(frozen=True)
class GlobalError:
    """The leading global error, numerical minus exact at the end of ``interval``, for n steps of ``grid``.

    ``times`` (m) and ``weights`` (m) are quadrature nodes in forward diffusion time; ``density`` (m, ...) is the local
    error's leading coefficient at those times carried to the end, ``exponent`` its power of the step size. ``startup``
    holds (steps behind it, exponent, coefficient carried to the end) of first steps whose order is smaller. A
    trajectory error has the shape (points, blocks), a weak error is a number.
    """

    grid: str
    interval: tuple[float, float]
    exponent: int
    times: np.ndarray
    weights: np.ndarray
    density: np.ndarray
    startup: tuple[tuple[int, int, np.ndarray], ...] = ()
    uniform_only: bool = False

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        """Every part that is known; only those of the lowest power are the whole of it."""
        speed = GRIDS[self.grid]
        factor = self.weights * speed(self.times, *self.interval) ** (self.exponent - 1)
        parts = [Contribution("all steps", self.exponent - 1, np.tensordot(factor, self.density, 1))]
        first = float(speed(np.array(self.interval[0]), *self.interval))
        for past, power, carried in self.startup:
            parts.append(Contribution(f"step {past + 1} of the start-up", power, carried * first**power))
        return tuple(parts)

    @property
    def order(self) -> int:
        """The power of 1/n with which the error falls: the order, or less where the start-up dominates in the limit."""
        return min(c.power for c in self.contributions)

    @property
    def constant(self) -> np.ndarray:
        """The limit of n**order * error."""
        return sum((c.constant for c in self.contributions if c.power == self.order), np.zeros(self.density.shape[1:]))

    def predicted(self, n: int) -> np.ndarray:
        """Return the error after n steps, all contributions together: to leading order constant / n**order."""
        return sum((c.constant / n**c.power for c in self.contributions), np.zeros(self.density.shape[1:]))

    def density_in_log_time(self, times: np.ndarray) -> np.ndarray:
        """Return what the steps at ``times`` (m) add to the constant of all steps, per unit of log t: (m, ...)."""
        speed = GRIDS[self.grid](times, *self.interval) ** (self.exponent - 1)
        density = _interpolate(self.times, self.density, np.asarray(times))
        return density * (speed * times).reshape(-1, *[1] * (density.ndim - 1))

    def on(self, times: Sequence[float]) -> np.ndarray:
        """Return the error on these times, which start and end as ``interval`` does: a sum over steps, not its limit.

        Neighbouring steps have to be of nearly equal length for a multistep scheme, whose constant is that of uniform
        steps. Raises InputError for other ends, and where steps must be equal and are not.
        """
        grid = check_times(times)
        h = -np.diff(grid)
        if not np.allclose(grid[[0, -1]], self.interval, rtol=1e-9):
            raise InputError(
                f"the times run from {grid[0]:g} to {grid[-1]:g}; the error was derived for {self.interval}"
            )
        if self.uniform_only and not np.allclose(h, h[0], rtol=1e-9):
            raise InputError(
                "the times are not equidistant; for this scheme the global error is derived for equal steps"
            )
        density = _interpolate(self.times, self.density, grid[:-1])
        # The density is that of the step's start, where the local error is expanded.
        total = np.tensordot(h**self.exponent, density, 1)
        for past, power, carried in self.startup:
            if past < len(h):
                total = total + carried * h[past] ** power
        return total


@dataclass(frozen=True)
class QuadraticObservable:
    """f(z) = z^T matrix z + vector . z + constant, in mpmath: its mean is what covariances and means are read from."""

    matrix: tuple[tuple[float, ...], ...]
    vector: tuple[float, ...]
    constant: float = 0.0

    def __call__(self, z: Sequence[mpmath.mpf]) -> mpmath.mpf:
        bent = sum(a * x * y for row, x in zip(self.matrix, z, strict=True) for a, y in zip(row, z, strict=True))
        return bent + sum(v * x for v, x in zip(self.vector, z, strict=True)) + self.constant

    def carry(self, a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> QuadraticObservable:
        """Return z -> E f(a z + b + N(0, spread)), which is quadratic too."""
        m, v = np.array(self.matrix), np.array(self.vector)
        vector = a.T @ ((m + m.T) @ b + v)
        constant = b @ m @ b + v @ b + np.sum(m * spread) + self.constant
        return QuadraticObservable(tuple(map(tuple, a.T @ m @ a)), tuple(vector), float(constant))

    def mean(self, center: np.ndarray, covariance: np.ndarray) -> float:
        """Return E f under N(center, covariance)."""
        m = np.array(self.matrix)
        return float(center @ m @ center + np.sum(m * covariance) + np.array(self.vector) @ center + self.constant)


@dataclass(frozen=True)
class _ScaledWave:
    """factor * wave: what the mean of a wave over a Gaussian is."""

    factor: float
    wave: WaveObservable

    def __call__(self, z: Sequence[mpmath.mpf]) -> mpmath.mpf:
        return self.factor * self.wave(z)


Observable = WaveObservable | QuadraticObservable


def global_error(
    error: LocalError,
    problem: MixtureProblem,
    z: np.ndarray,
    grid: str = "uniform",
    interval: tuple[float, float] | None = None,
) -> GlobalError:
    """Derive the leading error of the trajectories that start at z (points, blocks), by the variational equation.

    ``interval`` is (start, end) in forward diffusion time, the process's (t_max, t_min) if None; ``grid`` is one of
    ``GRIDS``. A multistep scheme takes its first steps with the few evaluations that there are, at a smaller order:
    each of these steps enters at its own power of 1/n. On non-uniform grids neighbouring steps differ by O(1/n) of
    themselves, so that the constant for equal steps holds in the limit.

    Raises InputError for a z of another shape, a problem on another process, a stochastic scheme, and for
    - a predictor-corrector: its network sees states of smaller order, which the local error from an exact past hides;
    - other grids than the uniform one where past evaluations have fixed weights: there the ratio of neighbouring steps
      enters at leading order.
    """
    program = error.program
    if program.stochastic:
        raise InputError("a stochastic scheme has no trajectory error; ask for weak_global_error")
    if program.cycle:
        raise InputError("the global error of a predictor-corrector is not derived: its past is not exact to its order")
    start, end = _check_interval(program, grid, interval)
    z = np.asarray(z, dtype=float)
    if z.ndim != 2 or not len(z) or z.shape[1] != len(program.blocks):
        raise InputError(f"z has shape {z.shape}; accepted: (points, {len(program.blocks)})")
    if _identify(problem.process) != _identify(program.process):
        raise InputError("the problem and the scheme are on different processes; give a problem on the scheme's")
    times, weights = _quadrature_nodes(start, end)
    # The exact flow's derivative from the start to each time; of it and its value at the end follows Phi(end, time).
    states, tangents = problem.solve_with_tangent(z, start, [*times, end])
    # Phi(end, t) = Phi(end, start) Phi(t, start)^{-1}: one solution forward from the start gives all of them.
    carry = tangents[-1] @ np.linalg.inv(tangents[:-1])  # (m, points, k, k): from each time to the end
    local = _leading_coefficients(error, problem, states[:-1], times)
    density = np.einsum("mpij,mpj->mpi", carry, local)
    startup = []
    for past in range(program.history):
        # A first step of a smaller order enters once, at h**exponent: it counts where that is not beyond the main term.
        first = derive_local_error(startup_program(program, past))
        exponent = min(first.exponents.values())
        if exponent <= error.order:
            value = _leading_coefficients(first, problem, z[None], [start])[0]
            startup.append((past, exponent, np.einsum("pij,pj->pi", tangents[-1], value)))
    return GlobalError(
        grid, (start, end), error.order + 1, times, weights, density, tuple(startup), uniform_only=program.primed
    )


def weak_global_error(
    error: LocalError,
    mean: float,
    variance: float,
    observable: Observable,
    grid: str = "uniform",
    interval: tuple[float, float] | None = None,
    nodes: int = 6,
) -> GlobalError:
    """Derive the leading error in E f(Z_end) for data N(mean, variance) and a true start, by the backward equation.

    The score is linear, so that u(z, t) = E[f(Z_end) | Z_t = z] is known. The mean over z_t is taken with ``nodes``
    Gauss-Hermite nodes a block: three are exact for a quadratic f, a wave needs more the shorter it is.
    Raises InputError for a deterministic scheme and for a multistep one, whose past is random.
    """
    program = error.program
    if not program.stochastic:
        raise InputError("a deterministic scheme has a trajectory error; ask for global_error")
    if program.history:
        raise InputError(
            "the weak global error of a multistep scheme is not derived: its start-up enters at full power"
        )
    start, end = _check_interval(program, grid, interval)
    times, weights = _quadrature_nodes(start, end)
    problem = MixtureProblem(program.process, (mean,), (variance,), (1.0,))
    field, density = problem.field(program.unknown), []
    draws, shares = normal_nodes(len(program.blocks), nodes)
    for time, (a, b, spread) in zip(times, _carry_state_to_end(program, mean, variance, times, end), strict=True):
        center, covariance = marginal(program.process, time, mean, variance)
        later = _carry_observable(observable, a, b, spread)
        points = center + draws @ np.linalg.cholesky(covariance).T
        values = [error.evaluate(z, time, field, later, DIGITS)["f"] for z in points]
        density.append(float(shares @ np.array(values)))
    return GlobalError(grid, (start, end), error.order + 1, times, weights, np.array(density))


def startup_program(program: StepProgram, past: int) -> StepProgram:
    """Return the step as it is taken with ``past`` steps behind it: evaluations that are not there are not read."""
    if program.primed:  # the first step begins with the evaluation that a step of no length leaves
        first = Evaluate("past_1", t)
        return replace(program, statements=(first, *program.statements), history=0, primed=False)
    missing = program.past[past:]

    def read(st: Evaluate | Combine) -> Evaluate | Combine:
        """Return the statement without the terms of evaluations that are missing."""
        if isinstance(st, Evaluate):
            return st
        terms_left = [
            (block, tuple(x for x in terms if not (isinstance(x.operand, Output) and x.operand.evaluation in missing)))
            for block, terms in st.updates
        ]
        return replace(st, updates=tuple(terms_left))

    return replace(program, statements=tuple(map(read, program.statements)), history=past)


def _check_interval(program: StepProgram, grid: str, interval: tuple[float, float] | None) -> tuple[float, float]:
    """Return (start, end); raise InputError for times that the process has not, or a grid that cannot be derived on."""
    process = program.process
    start, end = (process.t_max, process.t_min) if interval is None else interval
    check_times([start, end], process.t_max)
    if grid not in GRIDS:
        raise did_you_mean(grid, GRIDS, "smooth grid")
    if program.primed and grid != "uniform":
        raise InputError(f"grid {grid!r}: past evaluations have fixed weights here, so that only 'uniform' is derived")
    return float(start), float(end)


def _identify(process: Process) -> tuple[str, dict[sympy.Symbol, sympy.Expr]]:
    """Return what two equal processes have in common."""
    return process.name, dict(process.parameters)


def _quadrature_nodes(start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights in t from ``start`` down to ``end``: panels of Gauss-Legendre nodes in log t."""
    panels = _count_panels(start, end)
    x, w = np.polynomial.legendre.leggauss(NODES)
    edges = np.linspace(np.log(start), np.log(end), panels + 1)
    half = (edges[0] - edges[1]) / 2
    logs = np.concatenate([(a + b) / 2 - half * x for a, b in pairwise(edges)])
    times = np.exp(logs)  # dt = t d(log t)
    return times, np.tile(w * half, panels) * times


def _count_panels(start: float, end: float) -> int:
    return max(1, int(np.ceil(np.log(start / end) / PANEL)))


def _interpolate(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return ``values`` between their nodes, panel by panel, by the polynomial in log t through the panel's nodes."""
    logs, wanted = np.log(times).reshape(-1, NODES), np.log(at)
    middles = (logs[:-1, -1] + logs[1:, 0]) / 2  # where one panel ends and the next begins
    panel = np.sum(wanted[:, None] < middles[None, :], axis=1)
    own = logs[panel]  # (points, NODES)
    # Lagrange's basis: the product over m != j of (wanted - own_m) / (own_j - own_m), with 1 in the place of m = j.
    gaps = own[:, :, None] - own[:, None, :]
    ratios = (wanted[:, None] - own)[:, None, :] / np.where(gaps == 0, np.inf, gaps)
    basis = np.prod(np.where(gaps == 0, 1.0, ratios), axis=2)
    return np.einsum("pj,pj...->p...", basis, values.reshape(len(logs), NODES, *values.shape[1:])[panel])


def _leading_coefficients(
    error: LocalError, problem: MixtureProblem, states: np.ndarray, times: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Return the leading coefficients (m, points, k) at states of that shape; 0 for blocks with a higher power."""
    program, lowest = error.program, min(error.exponents.values())
    field = problem.field(program.unknown)
    shown = [error.exponents[b] == lowest for b in program.blocks]

    def value(z: np.ndarray, time: float) -> list[float]:
        found = error.evaluate(list(z), float(time), field, digits=DIGITS)
        return [found[b] if own else 0.0 for b, own in zip(program.blocks, shown, strict=True)]

    return np.array([[value(z, time) for z in row] for row, time in zip(states, times, strict=True)])


def _carry_state_to_end(
    program: StepProgram, mean: float, variance: float, times: np.ndarray, end: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return for each time (a, b, spread): Z_end = a z + b + N(0, spread) given Z_t = z, by the reverse SDE.

    The score of Gaussian data is linear, so that a, b and spread solve linear equations in t. They are integrated from
    the end, where a = 1, to each of ``times``.
    """
    process, k = program.process, len(program.blocks)
    strength = program.parametrisation.noise**2
    entries = [*process.drift, *process.diffusion, sympy.sympify(strength)]
    values = function(entries, (t,), program.definitions, program.parameters)

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        found = np.array(values(time), dtype=float)
        drift, diffusion = found[:-1].reshape(2, k, k)
        center, covariance = marginal(process, time, mean, variance)
        # The score pulls with (1 + kappa^2)/2 G G^T: 1/2 is the probability flow's, kappa^2/2 goes with the noise.
        pull = (1 + found[-1]) / 2 * diffusion @ np.linalg.inv(covariance)
        a = flat[: k * k].reshape(k, k)
        return np.concatenate(
            [(-a @ (drift + pull)).ravel(), a @ pull @ center, (found[-1] * a @ diffusion @ a.T).ravel()]
        )

    # Backward equations have their known values at the end, t = end: they are solved towards larger t.
    rising = times[::-1]
    initial = np.concatenate([np.eye(k).ravel(), np.zeros(k + k * k)])
    found = solve_ivp(slope, (end, rising[-1]), initial, method="DOP853", t_eval=rising, rtol=1e-11, atol=ABSOLUTE)
    columns = found.y.T[::-1]
    return [(c[: k * k].reshape(k, k), c[k * k : k * k + k], c[k * k + k :].reshape(k, k)) for c in columns]


def _carry_observable(observable: Observable, a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> Any:
    """Return z -> E f(a z + b + N(0, spread))."""
    if isinstance(observable, QuadraticObservable):
        return observable.carry(a, b, spread)
    # E cos(w . (a z + b + n) + phase) = exp(-w^T spread w / 2) cos((a^T w) . z + w . b + phase).
    wave = np.array(observable.wave)
    later = WaveObservable(tuple(a.T @ wave), observable.phase + float(wave @ b))
    return _ScaledWave(float(np.exp(-wave @ spread @ wave / 2)), later)
