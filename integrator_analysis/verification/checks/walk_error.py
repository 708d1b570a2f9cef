"""The error of the walk that a user receives: on Gaussian data exactly, on the mixture against the flow's solution.

Beside the steps that is the default grid, the start with fewer earlier steps, lower final orders, and the ending.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.analysis.gaussian import marginal
from integrator_analysis.verification.bench import GAUSSIAN, SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks import gaussian_map, predicted_data
from integrator_analysis.verification.derived_walk import (
    DefaultWalk,
    WalkEnds,
    default_walk,
    follow_walk,
    why_no_walk,
)
from integrator_analysis.verification.exact_mixture import ExactMixture

__all__ = ["EVALUATIONS", "measure"]

EVALUATIONS = (5, 8, 10, 20, 50)
"""Network evaluations of the walks, at most."""

POINTS = 32
"""States that walk on the mixture."""

TOLERANCES = gaussian_map.MAP_TOLERANCE, predicted_data.TOLERANCE
"""What other claims let a step and the weights of the ending be off by. The tolerance of a walk follows from them: what
they allow each step, carried to the end by the steps after it."""


class _Start(NamedTuple):
    """States (n, k) at the start of a walk and the noise (steps, noises, n) of its steps.

    First the ``gaussian`` ones: the mean, the mean and a column of the covariance's factor, the mean with one draw of
    noise; the rest are on the mixture. Of a stochastic scheme there is no rest: the flow is no reference of its paths.
    """

    z: np.ndarray
    noise: np.ndarray
    gaussian: int


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare the walk of the source with the derived one, for each number of evaluations, and count its evaluations.

    Claimed of Gaussian data is the distance of the law at the end from the data's, of the mixture the RMSE to the
    solutions of the probability flow. The error is that of single states, in units of what rounding may do to them.
    """
    reason = why_no_walk(bench.properties)
    walks = {} if reason else {most: default_walk(bench.properties, most) for most in EVALUATIONS}
    made = {most: walk for most, walk in walks.items() if walk is not None}
    bench.evidence["walks"] = _described(bench, made, reason)
    derived, counted = [], []
    for most, walk in made.items():
        ends = bench.recall("walk", walk.times, find=partial(_derived_ends, bench, walk))
        found, calls = _measured_ends(bench, walk)
        derived.append(walk.evaluations)
        counted.append(calls)
        yield from _compare(bench, most, walk, ends, found)
    if made:
        wrong = float(sum(a != b for a, b in zip(derived, counted, strict=True)))
        shown = ", ".join(map(str, derived)), ", ".join(map(str, counted))
        yield Claim("walk_evaluations", *shown, wrong, 0.0, f"default walks of at most {', '.join(map(str, made))}")


def _described(bench: Bench, made: dict[int, DefaultWalk], reason: str | None) -> dict[str, object]:
    """What the walks are, for the evidence: grid, first time, steps, evaluations; and what is not claimed, and why."""
    kinds = ("gaussian_walk",) if bench.program.stochastic else ("gaussian_walk", "mixture_walk")
    missing: dict[str, str] = {}
    if bench.program.stochastic:
        missing = {"mixture_walk": "a stochastic scheme: the probability flow is no reference of its paths"}
    if reason is not None:
        missing |= dict.fromkeys(kinds, f"{reason}: it has no walk to no noise by default")
    else:
        short = [most for most in EVALUATIONS if most not in made]
        missing |= {
            f"{kind}[{most}]": "too few evaluations for a step of the scheme" for most in short for kind in kinds
        }
    walks = list(made.values())
    return {
        "grid": walks[0].grid if walks else None,
        "first_time": walks[0].times[0] if walks else None,
        "steps": [walk.steps for walk in walks],
        "evaluations": [walk.evaluations for walk in walks],
        "final_orders_lowered": [walk.lowered for walk in walks],
        "not_claimed": missing,
    }


def _start(bench: Bench, walk: DefaultWalk) -> _Start:
    """The states and the noise with which all sources of the scheme make this walk."""
    return bench.recall("start", walk.times, find=partial(_make_start, bench, walk))


def _make_start(bench: Bench, walk: DefaultWalk) -> _Start:
    process, noises, steps = bench.process, len(bench.program.noises), walk.steps - 1
    mean, covariance = marginal(process, walk.times[0], *GAUSSIAN)
    images = np.vstack([mean, mean + np.linalg.cholesky(covariance).T, np.tile(mean, (steps * noises, 1))])
    draws = np.hstack([np.zeros((steps * noises, 1 + len(mean))), np.eye(steps * noises)])
    if bench.program.stochastic:
        return _Start(images, draws.reshape(steps, noises, len(images)), len(images))
    points = bench.problem.sample(POINTS, walk.times[0], SEED)
    return _Start(np.vstack([images, points]), np.zeros((steps, 0, len(images) + POINTS)), len(images))


def _laws(bench: Bench) -> tuple[ExactMixture, ExactMixture]:
    """The Gaussian data and the mixture."""
    mean, variance = GAUSSIAN
    alone = MixtureProblem(bench.process, (mean,), (variance,), (1.0,))
    return bench.recall("laws", find=lambda: (ExactMixture(alone), ExactMixture(bench.problem)))


def _linearise(bench: Bench, gaussian: int, time: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact networks at a time: of the Gaussian data for the first states, of the mixture for the rest."""
    parts = [law.linearise(time, part) for law, part in zip(_laws(bench), (z[:gaussian], z[gaussian:]), strict=True)]
    jacobians, outputs = zip(*parts, strict=True)
    return np.concatenate(jacobians), np.concatenate(outputs)


def _derived_ends(bench: Bench, walk: DefaultWalk) -> WalkEnds:
    start = _start(bench, walk)
    network = partial(_linearise, bench, start.gaussian)
    ending = _laws(bench)[1].weights_of_data(walk.times[-2])
    return follow_walk(bench.properties.table, walk, network, ending, start.z, start.noise, TOLERANCES)


def _measured_ends(bench: Bench, walk: DefaultWalk) -> tuple[np.ndarray, int]:
    """The positions (n) where the walk of the source ends, NaN where it leaves the finite numbers; its evaluations."""
    import torch

    from torch_backend.measuring.walks import end_of_default_walk

    start, calls = _start(bench, walk), 0

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.from_numpy(_linearise(bench, start.gaussian, float(t[0]), z.numpy())[1])

    noise = torch.from_numpy(start.noise) if bench.program.stochastic else None
    try:
        return end_of_default_walk(bench.module, network, start.z, walk.steps, noise)[:, 0], calls
    except FloatingPointError:
        return np.full(len(start.z), np.nan), calls


def _compare(bench: Bench, most: int, walk: DefaultWalk, ends: WalkEnds, found: np.ndarray) -> Iterator[Claim]:
    """The claims of one walk from the derived and the measured ends of its states."""
    count = _start(bench, walk).gaussian
    fixed = 1 + len(bench.program.blocks)
    text = f"{walk.steps} steps of the {walk.grid} grid from t = {walk.times[0]:g} to no noise, "
    text += f"{walk.evaluations} evaluations" + ", final orders lowered" * walk.lowered
    error = _share(ends.position[:fixed], found[:fixed], ends.bound[:fixed])
    derived, measured = (_moments(end[:count]) for end in (ends.position, found))
    moved = np.abs(ends.position[:count] - ends.position[0])
    slack = ends.bound[:count] + ends.bound[0]
    error = max(error, _share(derived[1], measured[1], (slack * (2 * moved + slack)).sum()))
    mean, variance = GAUSSIAN
    distances = _distance(*derived), _distance(*measured)
    problem = f"N({mean}, {variance}), {text}; distance of the laws"
    yield Claim(f"gaussian_walk[{most}]", *distances, error, 1.0, problem)
    if count == len(found):
        return
    z = _start(bench, walk).z[count:]
    exact = bench.recall("flow", walk.times[0], find=lambda: _laws(bench)[1].solve(z, walk.times[0]))
    errors = _rmse(ends.position[count:], exact), _rmse(found[count:], exact)
    error = _share(ends.position[count:], found[count:], ends.bound[count:])
    yield Claim(f"mixture_walk[{most}]", *errors, error, 1.0, f"mixture, {text}; RMSE to the flow's solution")


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


def _distance(mean: float, variance: float) -> float:
    """The 2-Wasserstein distance of a normal law from the data's."""
    return float(np.hypot(mean - GAUSSIAN[0], np.sqrt(variance) - np.sqrt(GAUSSIAN[1])))
