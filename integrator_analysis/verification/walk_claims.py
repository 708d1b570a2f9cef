"""Claims about walks: states that are walked as derived and through some loop, and what is said of where they end.

Knows derived walks and exact data; how a loop is called is for its caller to say. Nothing is sampled for Gaussian data:
walks are affine maps there, so that the ends of a few states give mean and variance of the law at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from integrator_analysis.verification.bench import GAUSSIAN, SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.derived_walk import Walk, WalkEnds, follow_walk
from integrator_analysis.verification.exact_mixture import ExactMixture

__all__ = ["EVALUATIONS", "Ends", "Network", "Start", "claim_walks", "laws_of"]

EVALUATIONS = (5, 8, 10, 20, 50)
"""Network evaluations of the walks of a certificate, at most."""

POINTS = 32
"""States that walk on the mixture."""

Network: TypeAlias = Callable[[float, np.ndarray], np.ndarray]
"""(time, z (n, k)) -> the exact network's output there (n, k), each state on its own data."""


class Start(NamedTuple):
    """States (n, k) at the start of a walk and the noise (steps, noises, n) of its steps but the one to no noise.

    First the ``gaussian`` ones: the mean, the mean and a column of the covariance's factor, the mean with one draw of
    noise; the rest are on the mixture. Of a stochastic scheme there is no rest: the flow is no reference of its paths.
    """

    z: np.ndarray
    noise: np.ndarray
    gaussian: int


Ends: TypeAlias = Callable[[Walk, Network, Start], np.ndarray]
"""Walks the states and returns their positions (n) at the end. Raises FloatingPointError where one is not finite."""


def claim_walks(
    bench: Bench,
    walks: Mapping[int, Walk],
    ends_of: Ends,
    tolerances: tuple[float, float],
    prefix: str = "",
    close: float | None = None,
) -> Iterator[Claim]:
    """Compare the ends of each walk with the derived ones: prefix + "gaussian_walk[n]" and prefix + "mixture_walk[n]".

    Of Gaussian data the distance of the law at the end from the data's is claimed, of the mixture the RMSE to the
    solutions of the probability flow. The error is that of single ends, in units of what ``follow_walk`` says that they
    may be off by with the ``tolerances``, or of ``close`` times the largest end. The last claim counts evaluations.
    """
    derived, counted = [], []
    for most, walk in walks.items():
        start = bench.recall("start", walk, find=partial(_start, bench, walk))
        ends = bench.recall("ends", walk, find=partial(_derived_ends, bench, walk, start, tolerances))
        if close is not None:
            ends = replace(ends, bound=np.full_like(ends.bound, close * np.abs(ends.position).max()))
        found, calls = _measured_ends(bench, walk, start, ends_of)
        derived.append(walk.evaluations)
        counted.append(calls)
        text = _in_words(walk)
        yield _gaussian_claim(f"{prefix}gaussian_walk[{most}]", bench, walk, start, ends, found, text)
        if start.gaussian < len(start.z):
            yield _mixture_claim(f"{prefix}mixture_walk[{most}]", bench, walk, start, ends, found, text)
    if walks:
        wrong = float(sum(a != b for a, b in zip(derived, counted, strict=True)))
        shown = ", ".join(map(str, derived)), ", ".join(map(str, counted))
        budgets = ", ".join(map(str, walks))
        yield Claim(f"{prefix}walk_evaluations", *shown, wrong, 0.0, f"walks of at most {budgets} evaluations")


def laws_of(bench: Bench) -> tuple[ExactMixture, ExactMixture]:
    """The Gaussian data and the mixture."""
    return bench.recall_on_process("laws", find=partial(_make_laws, bench))


def _make_laws(bench: Bench) -> tuple[ExactMixture, ExactMixture]:
    mixture = ExactMixture.of(bench.problem)
    return mixture.with_data(*GAUSSIAN), mixture


def _in_words(walk: Walk) -> str:
    end = "no noise" if walk.to_zero else f"{walk.times[-1]:g}"
    text = f"{walk.steps} steps, {walk.grid}, from t = {walk.times[0]:g} to {end}, {walk.evaluations} evaluations"
    return text + ", final orders lowered" * walk.lowered


def _start(bench: Bench, walk: Walk) -> Start:
    """The states and the noise with which every loop makes this walk."""
    gaussian, mixture = laws_of(bench)
    psi, sigma = gaussian.numbers.kernel(walk.times[0])
    noises, steps = len(bench.program.noises), len(walk.inner) - 1
    mean, factor = GAUSSIAN[0] * psi, np.linalg.cholesky(sigma + GAUSSIAN[1] * np.outer(psi, psi))
    images = np.vstack([mean, mean + factor.T, np.tile(mean, (steps * noises, 1))])
    draws = np.hstack([np.zeros((steps * noises, 1 + len(mean))), np.eye(steps * noises)])
    if bench.program.stochastic:
        return Start(images, draws.reshape(steps, noises, len(images)), len(images))
    points = mixture.sample(POINTS, walk.times[0], SEED)
    return Start(np.vstack([images, points]), np.zeros((steps, 0, len(images) + POINTS)), len(images))


def _linearise(bench: Bench, start: Start, time: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact networks at a time: of the Gaussian data for the first states, of the mixture for the rest."""
    rows = z[: start.gaussian], z[start.gaussian :]
    parts = [law.linearise(time, part) for law, part in zip(laws_of(bench), rows, strict=True)]
    jacobians, outputs = zip(*parts, strict=True)
    return np.concatenate(jacobians), np.concatenate(outputs)


def _derived_ends(bench: Bench, walk: Walk, start: Start, tolerances: tuple[float, float]) -> WalkEnds:
    ending = laws_of(bench)[1].numbers.weights_of_data(walk.inner[-1]) if walk.to_zero else None
    network = partial(_linearise, bench, start)
    with np.errstate(all="ignore"):  # a walk may leave the finite numbers, which is then what is claimed of it
        return follow_walk(bench.properties.table, walk, network, ending, start.z, start.noise, tolerances)


def _measured_ends(bench: Bench, walk: Walk, start: Start, ends_of: Ends) -> tuple[np.ndarray, int]:
    """The positions (n) where a loop ends, NaN where it leaves the finite numbers; how often it called the network."""
    calls = 0

    def network(time: float, z: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        with np.errstate(all="ignore"):
            return _linearise(bench, start, time, z)[1]

    try:
        return ends_of(walk, network, start), calls
    except FloatingPointError:
        return np.full(len(start.z), np.nan), calls


@np.errstate(all="ignore")
def _gaussian_claim(
    name: str, bench: Bench, walk: Walk, start: Start, ends: WalkEnds, found: np.ndarray, text: str
) -> Claim:
    """The claim of Gaussian data: single ends without noise are compared, and the variance that noise leaves."""
    count, fixed = start.gaussian, 1 + len(bench.program.blocks)
    position, bound = ends.position[:count], ends.bound[:count]
    error = _share(position[:fixed], found[:fixed], bound[:fixed])
    derived, measured = _moments(position), _moments(found[:count])
    # what an end is off by, d, moves the square of its distance m from the mean's end by at most d (2 m + d)
    slack = bound + bound[0]
    error = max(error, _share(derived[1], measured[1], (slack * (2 * np.abs(position - position[0]) + slack)).sum()))
    exact = GAUSSIAN
    if not walk.to_zero:
        psi, sigma = laws_of(bench)[0].numbers.kernel(walk.times[-1])
        exact = GAUSSIAN[0] * psi[0], sigma[0, 0] + GAUSSIAN[1] * psi[0] ** 2
    distances = _distance(*derived, *exact), _distance(*measured, *exact)
    return Claim(name, *distances, error, 1.0, f"N({GAUSSIAN[0]}, {GAUSSIAN[1]}), {text}; distance of the laws")


@np.errstate(all="ignore")
def _mixture_claim(
    name: str, bench: Bench, walk: Walk, start: Start, ends: WalkEnds, found: np.ndarray, text: str
) -> Claim:
    """The claim of the mixture, from single ends."""
    rest, first = slice(start.gaussian, None), walk.times[0]
    exact = bench.recall_on_process("flow", first, find=lambda: laws_of(bench)[1].solve(start.z[rest], first))
    errors = _rmse(ends.position[rest], exact), _rmse(found[rest], exact)
    error = _share(ends.position[rest], found[rest], ends.bound[rest])
    return Claim(name, *errors, error, 1.0, f"mixture, {text}; RMSE to the flow's solution at no noise")


def _share(derived: np.ndarray | float, measured: np.ndarray | float, bound: np.ndarray | float) -> float:
    """The largest distance in units of its bound; infinite where it is not a number, but none where neither is one.

    A walk that leaves the finite numbers, as derived and as measured, does what was derived.
    """
    lost = [not np.isfinite(values).all() for values in (derived, measured)]
    return (0.0 if all(lost) else np.inf) if any(lost) else float(np.max(np.abs(derived - measured) / bound))


def _rmse(ends: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ends - exact) ** 2)))


def _moments(ends: np.ndarray) -> tuple[float, float]:
    """Mean and variance at the end, from where the mean and the mean with one standard deviation of each kind end."""
    return float(ends[0]), float(((ends[1:] - ends[0]) ** 2).sum())


def _distance(mean: float, variance: float, exact_mean: float, exact_variance: float) -> float:
    """The 2-Wasserstein distance of two normal laws."""
    return float(np.hypot(mean - exact_mean, np.sqrt(variance) - np.sqrt(exact_variance)))
