"""Is every leading constant of the catalogue true? One step on random smooth scores, against the derived coefficient.

Twenty random networks of one hidden layer (tanh and sin, all mixed derivatives non-zero) stand for the score; for
deterministic schemes five more with blocks of two dimensions. One step
of the committed torch source in float64, less a reference, over h**exponent, extrapolated to h = 0. Reference of a
deterministic scheme: DOP853. Of a stochastic one, by cubature over the noise: exp(h (generator - d/dt)) f as a Taylor
series in h, the generator applied to the exact Taylor polynomials of the network and of f; it shares nothing with the
derivation. Writes reports/constants.md. Run by `make benchmark`, or for some schemes: leading_constants.py vp/DDIM.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import sympy
import torch
from common import render, say, table, write_page
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.differentials import Field
from integrator_analysis.analysis.accuracy.problems import MixtureProblem, WaveObservable, normal_nodes
from integrator_analysis.processes import Process
from integrator_analysis.program.mending import mending_coefficients
from integrator_analysis.verification.checks.strong_error import STEP_SIZES
from integrator_analysis.verification.checks.weak_error import WEAK_STEP_SIZES
from torch_backend import load
from torch_backend.measuring.convergence import leading_constant
from torch_backend.measuring.device import one_thread
from torch_backend.measuring.errors import local_errors, weak_errors
from torch_backend.measuring.one_step import Past

SCORES, WIDE_SCORES, HIDDEN, SEED = 20, 5, 6, 20231011
TIMES = (0.15, 0.55)
"""Fractions of t_max at which a step is taken; every score at both."""
TOLERANCE = 0.01
RESOLUTION = 1e-3
"""Of the RMS: an uncertainty that is no larger may excuse a single small number."""
DIGITS = 25
TERMS = 5
"""Powers of h of the weak reference. What is left out is 1e-3 of h**6, with h at most 0.02 t_max."""
CUBATURE_ROWS, NOISE_NODES = 20_000, 14


@dataclass(frozen=True)
class _Given(MixtureProblem):
    """Converts scores that are given, not computed, to the field of a parametrisation."""

    given: list[mpmath.mpf] = field(default_factory=list)

    def score(self, z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
        return list(self.given)


@dataclass(frozen=True)
class RandomScores(MixtureProblem):
    """``count`` random smooth scores s_i(z, t) at once: row i of an array of states belongs to score i.

    s(z, t) = -z / 2 + out phi(w z + c t / t_max + b), phi tanh and sin by turns. It is the score of no density, which
    an unknown smooth field need not be.
    """

    process: Process
    count: int = SCORES
    seed: int = SEED
    channels: int = 1
    rows: tuple[int, ...] = ()
    converter: _Given | None = None

    @cached_property
    def _weights(self) -> tuple[np.ndarray, ...]:
        """w (n, HIDDEN, size), c (n, HIDDEN), b (n, HIDDEN), out (n, size, HIDDEN); size = blocks * channels."""
        rng, size = np.random.default_rng(self.seed + self.channels), len(self.process.blocks) * self.channels
        shapes = ((HIDDEN, size), (HIDDEN,), (HIDDEN,), (size, HIDDEN))
        drawn = [rng.normal(size=(self.count, *shape)) for shape in shapes]
        drawn[3] /= math.sqrt(HIDDEN)
        chosen = list(self.rows or range(self.count))
        return tuple(values[chosen] for values in drawn)

    def only(self, row: int) -> RandomScores:
        """The problem of one score."""
        return replace(self, rows=(row,))

    def score(self, z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
        w, c, b, out = (values[0].tolist() for values in self._weights)
        share = time / mpmath.mpf(self.process.t_max)
        inner = [
            sum(a * x for a, x in zip(row, z, strict=True)) + slope * share + bias
            for row, slope, bias in zip(w, c, b, strict=True)
        ]
        hidden = [mpmath.tanh(u) if j % 2 == 0 else mpmath.sin(u) for j, u in enumerate(inner)]
        return [-x / 2 + sum(a * v for a, v in zip(row, hidden, strict=True)) for x, row in zip(z, out, strict=True)]

    def field(self, unknown: str) -> Field:
        """What the program evaluates: the score converted channel by channel, block after block."""
        converter = self.converter or _Given(self.process)
        given, convert = converter.given, converter.field(unknown)
        k, d = len(self.process.blocks), self.channels

        def field(z: Sequence[mpmath.mpf], time: mpmath.mpf) -> list[mpmath.mpf]:
            score, out = self.score(z, time), [mpmath.mpf(0)] * (k * d)
            for c in range(d):
                given[:] = score[c::d]
                out[c::d] = convert(z[c::d], time)
            return out

        return field

    def score_numpy(self, z: np.ndarray, time: float) -> np.ndarray:
        w, c, b, out = self._weights
        own = np.arange(len(z)) * len(w) // len(z)  # rows may be repeated, all those of a score together
        inner = np.einsum("njk,nk->nj", w[own], z) + c[own] * (time / self.process.t_max) + b[own]
        hidden = np.where(np.arange(HIDDEN) % 2 == 0, np.tanh(inner), np.sin(inner))
        return -z / 2 + np.einsum("nkj,nj->nk", out[own], hidden)

    def solve(self, z: np.ndarray, start: float, ends: Sequence[float]) -> np.ndarray:
        """The probability-flow ODE from z (n, blocks * channels), by DOP853 begun anew at every end."""
        process, k = self.process, len(self.process.blocks)
        values = function([*process.drift, *process.diffusion], (t,), process.definitions, process.parameters)

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            state = flat.reshape(z.shape)
            drift, diffusion = (np.kron(m, np.eye(self.channels)) for m in np.array(values(time)).reshape(2, k, k))
            return (state @ drift.T - self.score_numpy(state, time) @ diffusion.T / 2).ravel()

        found, state = [], z.ravel()
        for begin, end in pairwise([start, *ends]):
            state = solve_ivp(slope, (begin, end), state, method="DOP853", rtol=2.3e-14, atol=1e-16).y[:, -1]
            found.append(state.reshape(z.shape))
        return np.array(found)

    def taylor(self, row: int, z: np.ndarray, time: float, degree: int) -> list[np.ndarray]:
        """Per component, the Taylor coefficients of score ``row`` in (z, t), each exponent up to ``degree``."""
        w, c, b, out = (values[row] for values in self._weights)
        directions = np.concatenate([w, c[:, None] / self.process.t_max], axis=1)  # (HIDDEN, k + 1)
        inner = w @ z + c * (time / self.process.t_max) + b
        powers = _monomials(directions, degree)  # (HIDDEN, degree + 1, ...)
        total = sum(np.indices(powers.shape[1:]))
        derivatives = np.array([_derivatives(j, u, int(total.max())) for j, u in enumerate(inner)])
        hidden = derivatives[:, total] * powers
        found = []
        for i, value in enumerate(z):
            coefficients = np.tensordot(out[i], hidden, 1)
            coefficients[(0,) * (len(z) + 1)] -= value / 2
            coefficients[tuple(int(n == i) for n in range(len(z) + 1))] -= 0.5
            found.append(coefficients)
        return found


def _monomials(directions: np.ndarray, degree: int) -> np.ndarray:
    """prod_i direction_i**a_i / a_i! for all exponents a, per row of ``directions``."""
    powers = np.arange(degree + 1)
    scale = np.array([math.factorial(a) for a in powers], dtype=float)
    out = np.ones((len(directions), *[1] * directions.shape[1]))
    for i in range(directions.shape[1]):
        shape = [len(directions), *[1] * directions.shape[1]]
        shape[1 + i] = degree + 1
        out = out * (directions[:, i, None] ** powers / scale).reshape(shape)
    return out


def _derivatives(unit: int, u: float, order: int) -> np.ndarray:
    """phi(u), phi'(u), ..., of unit number ``unit``: sin, or tanh by T' = 1 - T**2."""
    if unit % 2:
        return np.array([math.sin(u + m * math.pi / 2) for m in range(order + 1)])
    polynomial, found = np.polynomial.Polynomial([0.0, 1.0]), []
    for _ in range(order + 1):
        found.append(polynomial(math.tanh(u)))
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([1.0, 0.0, -1.0])
    return np.array(found)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two polynomials, cut at the same exponents."""
    out = np.zeros_like(a)
    for index in zip(*np.nonzero(a), strict=True):
        target = tuple(slice(i, None) for i in index)
        source = tuple(slice(0, n - i) for i, n in zip(index, a.shape, strict=True))
        out[target] += a[index] * b[source]
    return out


def _slope(a: np.ndarray, axis: int) -> np.ndarray:
    """The derivative of a polynomial by one of its variables."""
    moved = np.moveaxis(a, axis, -1)
    factors = np.arange(1, moved.shape[-1])
    lowered = np.concatenate([moved[..., 1:] * factors, np.zeros((*moved.shape[:-1], 1))], axis=-1)
    return np.moveaxis(lowered, -1, axis)


def weak_series(
    problem: RandomScores, row: int, z: np.ndarray, time: float, wave: WaveObservable, strength: float
) -> np.ndarray:
    """Coefficients of h**0, ..., h**TERMS of E f(Z_{t - h}) given Z_t = z; kappa**2 = strength."""
    process, k, degree = problem.process, len(z), 2 * TERMS
    shape = (degree + 1,) * (k + 1)

    def in_time(matrix: sympy.Matrix) -> list[list[np.ndarray]]:
        rows = []
        for i in range(k):
            rows.append([np.zeros(shape) for _ in range(k)])
            for j in range(k):
                entry = process.definitions.resolve(matrix[i, j]).xreplace(dict(process.parameters))
                for m in range(TERMS + 1):
                    value = float(entry.xreplace({t: sympy.Float(time, 30)}))
                    rows[i][j][(0,) * k + (m,)] = value / math.factorial(m)
                    entry = sympy.diff(entry, t)
        return rows

    drift, diffusion = in_time(process.drift), in_time(process.diffusion)
    score, state = problem.taylor(row, z, time, degree), []
    for i, value in enumerate(z):
        state.append(np.zeros(shape))
        state[i][(0,) * (k + 1)] = value
        state[i][tuple(int(n == i) for n in range(k + 1))] = 1.0
    velocity = [
        -sum(_times(drift[i][j], state[j]) - (1 + strength) / 2 * _times(diffusion[i][j], score[j]) for j in range(k))
        for i in range(k)
    ]
    wave_powers = _monomials(np.array([[*wave.wave, 0.0]]), degree)[0]
    total = sum(np.indices(shape))
    phase = float(np.array(wave.wave) @ z) + wave.phase
    v = np.cos(phase + total * math.pi / 2) * wave_powers
    found = [v[(0,) * (k + 1)]]
    for m in range(1, TERMS + 1):
        firsts = [_slope(v, i) for i in range(k)]
        new = -_slope(v, k)
        for i in range(k):
            new = new + _times(velocity[i], firsts[i])
            for j in range(k):
                if diffusion[i][j].any():
                    new = new + strength / 2 * _times(diffusion[i][j], _slope(firsts[i], j))
        v = new / m
        found.append(v[(0,) * (k + 1)])
    return np.array(found)


@dataclass
class Comparison:
    """Derived and measured constants of one scheme: per block, or "f", one number for each score and time."""

    spec: str
    derived: dict[str, np.ndarray] = field(default_factory=dict)
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    exponents: dict[str, int] = field(default_factory=dict)
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The largest relative difference over all scores, times and blocks."""
        return max(float(np.max(np.abs(self.measured[b] / self.derived[b] - 1))) for b in self.derived)

    @property
    def unresolved(self) -> int:
        """How many numbers differ by more than the tolerance, but by less than the extrapolation's own uncertainty.

        They are far below the RMS: no measurement of h**exponent tells them to the tolerance.
        """
        return sum(int(np.sum(self._beyond(b) & ~self._wrong(b))) for b in self.derived)

    @property
    def passed(self) -> bool:
        return not any(np.any(self._wrong(b)) for b in self.derived)

    def _beyond(self, block: str) -> np.ndarray:
        derived = self.derived[block]
        return ~(np.abs(self.measured[block] - derived) <= TOLERANCE * np.abs(derived))  # True for NaN

    def _wrong(self, block: str) -> np.ndarray:
        """Beyond the tolerance and not explained by an uncertainty that is small beside the RMS."""
        derived, uncertainty = self.derived[block], self.uncertainty[block]
        explained = np.abs(self.measured[block] - derived) <= uncertainty
        small = uncertainty <= RESOLUTION * np.sqrt(np.mean(derived**2))
        return self._beyond(block) & ~(explained & small)

    def rms(self, values: dict[str, np.ndarray]) -> str:
        return ", ".join(f"{b}: {np.sqrt(np.mean(v**2)):.6g}" for b, v in values.items())


def compare(integrator: ia.Integrator, module: ModuleType, count: int = SCORES, channels: int = 1) -> Comparison:
    """Derived and measured leading constants of one step on ``count`` random scores; blocks of ``channels``."""
    with one_thread():
        if integrator.stochastic:
            return _compare_weak(integrator, module, count)
        return _compare_strong(integrator, module, count, channels)


def _network(problem: RandomScores):
    """eps = -L^T s, as a torch network of states (n, k)."""

    def network(z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        at = float(time[0])
        factor = np.kron(np.linalg.cholesky(problem.process.covariance(at)), np.eye(problem.channels))
        return torch.from_numpy(-problem.score_numpy(z.numpy(), at) @ factor)

    return network


def _states(process: Process, count: int, number: int, channels: int = 1) -> np.ndarray:
    """A random state (count, blocks * channels) for every score, of the size of the prior."""
    covariance = np.array(process.prior_covariance.subs(dict(process.parameters))).astype(float)
    factor = np.kron(np.linalg.cholesky(covariance), np.eye(channels))
    return np.random.default_rng(SEED + 1 + number).normal(size=(count, len(factor))) @ factor.T


def _compare_strong(integrator: ia.Integrator, module: ModuleType, count: int, channels: int) -> Comparison:
    """A deterministic scheme, against the probability-flow ODE; steps of the past lie on its solution."""
    error, process = integrator.local_error, integrator.process
    problem = RandomScores(process, count=count, channels=channels, converter=_Given(process))
    program = integrator.program
    h = np.array(STEP_SIZES) * 2.0 ** (error.order - 1) * process.t_max
    mending = mending_coefficients(integrator.network_program)
    derived, errors = [], []
    for n, share in enumerate(TIMES):
        start, z = share * process.t_max, _states(process, count, n, channels)
        ends = list(start - h)
        exact = problem.solve(z, start, ends[::-1])[::-1]
        pasts = []
        for step in h:
            times = [start + (j + 1) * step for j in range(program.history)]
            states = problem.solve(z, start, times) if times else []
            pasts.append(Past(times, [torch.from_numpy(s) for s in states]) if times else None)
        errors.append(local_errors(module, _network(problem), z, start, ends, exact, pasts, mending))
        for i in range(count):
            field_ = problem.only(i).field(program.unknown)
            derived.append(error.evaluate_blocks(z[i].tolist(), start, field_, digits=DIGITS))
    found = np.concatenate(errors, axis=1)
    own = {b: slice(i * channels, (i + 1) * channels) for i, b in enumerate(program.blocks)}
    measured = {b: leading_constant(h, found[..., at], error.exponents[b]) for b, at in own.items()}
    return Comparison(
        integrator.spec,
        {b: np.array([values[b] for values in derived]) for b in own},
        {b: estimate.value for b, estimate in measured.items()},
        dict(error.exponents),
        {b: estimate.uncertainty for b, estimate in measured.items()},
    )


def _compare_weak(integrator: ia.Integrator, module: ModuleType, count: int) -> Comparison:
    """A stochastic scheme, by cubature over its noise, against the Taylor series of the exact mean."""
    error, process, program = integrator.local_error, integrator.process, integrator.program
    problem = RandomScores(process, count=count, converter=_Given(process))
    k, steps = len(process.blocks), error.steps
    h = np.array(WEAK_STEP_SIZES) * process.t_max
    strength = float(program.parametrisation.noise**2)
    noises = len(program.noises) * steps
    nodes = normal_nodes(noises, min(NOISE_NODES, int((CUBATURE_ROWS / count) ** (1 / noises) + 1e-9)))
    wide = math.sqrt(max(1.0, float(max(process.prior_covariance.subs(dict(process.parameters))))))
    rng = np.random.default_rng(SEED)
    waves = [
        WaveObservable(tuple(w / wide), float(p))
        for w, p in zip(rng.normal(size=(count, k)), rng.uniform(0, 2 * np.pi, size=count), strict=True)
    ]

    def of_score(i: int):
        def value(states: np.ndarray) -> np.ndarray:
            rows = len(states) // count
            out = np.zeros(len(states))
            own = slice(i * rows, (i + 1) * rows)
            out[own] = waves[i].numpy(states[own])
            return out

        return value

    derived, errors = [], []
    for n, share in enumerate(TIMES):
        start, z = share * process.t_max, _states(process, count, n)
        series = np.array([weak_series(problem, i, z[i], start, waves[i], strength) for i in range(count)])
        exact = np.array([series @ (steps * x) ** np.arange(TERMS + 1) for x in h])
        found = [of_score(i) for i in range(count)]
        law = (z, np.ones(count))
        errors.append(weak_errors(module, _network(problem), law, nodes, start, list(start - h), found, exact))
        for i in range(count):
            field_ = problem.only(i).field(program.unknown)
            derived.append(error.evaluate(z[i].tolist(), start, field_, waves[i], DIGITS)["f"])
    measured = leading_constant(h, np.concatenate(errors, axis=1), error.exponents["f"])
    return Comparison(
        integrator.spec,
        {"f": np.array(derived)},
        {"f": measured.value},
        dict(error.exponents),
        {"f": measured.uncertainty},
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", help="schemes; all of the catalogue, and the report, if none")
    parser.add_argument("--scores", type=int, default=SCORES, help="random scores of one dimension a block")
    return parser.parse_args()


def main() -> None:
    arguments, begin = parse_arguments(), perf_counter()
    specs = arguments.specs or list(ia.catalogue())
    found: list[list[Comparison]] = []
    for n, spec in enumerate(specs):
        integrator, module = ia.derive(spec), _remember_coefficients(load(spec).module)
        row = [compare(integrator, module, arguments.scores)]
        if not integrator.stochastic:
            row.append(compare(integrator, module, min(arguments.scores, WIDE_SCORES), channels=2))
        found.append(row)
        say(
            f"{n + 1}/{len(specs)} {spec}: derived {row[0].rms(row[0].derived)}; "
            f"measured {row[0].rms(row[0].measured)}; worst {', '.join(f'{c.worst:.1e}' for c in row)}; "
            f"{verdict(row)}"
        )
    if not arguments.specs:
        write_page("constants.md", report(found, arguments.scores, perf_counter() - begin))
    if not all(c.passed for row in found for c in row):
        sys.exit(1)


def _remember_coefficients(module: ModuleType) -> Any:
    """The module with coefficients that are computed once: steps on several problems share their times."""
    known: dict[Any, torch.Tensor] = {}

    def coefficients(start: torch.Tensor, end: torch.Tensor, *past: Any) -> torch.Tensor:
        pasts = (tuple(map(float, p)) if isinstance(p, Sequence) else p for p in past)
        key = (tuple(start.reshape(-1).tolist()), tuple(end.reshape(-1).tolist()), *pasts)
        if key not in known:
            known[key] = module.coefficients(start, end, *past)
        return known[key]

    return SimpleNamespace(**{**vars(module), "coefficients": coefficients})


def verdict(row: Sequence[Comparison]) -> str:
    return "confirmed" if all(c.passed for c in row) else "**not confirmed**"


PAGE = """\
# Every leading constant on random smooth scores

{{ good }} of {{ schemes }} schemes: the derived coefficient of the leading local error agrees with the measured \
one to {{ tolerance }} on each of {{ scores }} random smooth scores at {{ times | length }} times, in every block, and \
for deterministic schemes on {{ wide_scores }} more with blocks of two dimensions. \
Made by `python benchmarks/studies/leading_constants.py` in {{ "%.0f" | format(seconds) }} s.

A score is -z/2 plus a random network of one hidden layer ({{ hidden }} units, tanh and sin by turns; seed \
{{ seed }}); it is the score of no density. One step of the committed torch source in float64 against scipy's \
DOP853, error / h^exponent extrapolated to h = 0. Stochastic schemes: E cos(a.z + b) given z_t by \
Gauss-Hermite cubature over the noise, against the Taylor series of exp(h (generator - d/dt)) f made from \
the network's own Taylor polynomials. RMS over scores and times, blocks of one dimension; the worst relative \
difference is that of one number: one score, time and component.
A number that differs by more than {{ tolerance }} is unresolved, not wrong, where the difference lies \
within the extrapolation's own uncertainty and that is below {{ "%g" | format(resolution) }} of the RMS: \
{{ unresolved }} of all.

{{ comparisons }}
"""
COLUMNS = (
    *("scheme", "power of h", "derived, RMS", "measured, RMS"),
    *("worst difference", "in two dimensions", "verdict"),
)


def report(found: Sequence[Sequence[Comparison]], scores: int, seconds: float) -> str:
    """The page: a row per scheme, on blocks of one dimension and, if it is deterministic, of two."""
    rows = []
    for row in found:
        one, *two = row
        powers = ", ".join(f"{b}: {e}" for b, e in one.exponents.items())
        wider = f"{two[0].worst:.1e}" if two else "-"
        numbers = [one.rms(one.derived), one.rms(one.measured), f"{one.worst:.1e}", wider]
        rows.append([one.spec, powers, *numbers, verdict(row)])
    return render(
        PAGE,
        good=sum(all(c.passed for c in row) for row in found),
        schemes=len(found),
        tolerance=f"{TOLERANCE:.0%}",
        scores=scores,
        times=TIMES,
        wide_scores=WIDE_SCORES,
        seconds=seconds,
        hidden=HIDDEN,
        seed=SEED,
        resolution=RESOLUTION,
        unresolved=sum(c.unresolved for row in found for c in row),
        comparisons=table(COLUMNS, rows),
    )


if __name__ == "__main__":
    main()
