"""The start of a walk: errors and orders of whole walks with each of the starts that there are.

``START_BY_DEFAULT`` in torch_backend/walk/start_up.py states the defaults; benchmarks/studies/start_ups.py derives
them here, and writes the table. Walks, data and numbers of evaluations are those by which default grids are chosen
(default_grid.py): Gaussian data, whose error is exact, and mixtures against the probability-flow ODE.

All starts make n evaluations in all: those of ``STARTS``, and a fourth one, "one-step", that walks do not offer: the
first p - 2 steps of a scheme of order p are made by a one-step scheme of order p - 1, at p - 1 evaluations each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from integrator_analysis.integrator import Integrator, derive
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.processes import Process
from integrator_analysis.recommendation.default_grid import (
    EVALUATIONS,
    GAUSSIAN,
    SAME,
    Denoiser,
    _Kernel,
    _solved_mixtures,
)

if TYPE_CHECKING:
    from torch import Tensor

    from torch_backend.scheme import SchemeFacts

__all__ = [
    "STEPS",
    "Errors",
    "Family",
    "can_be_measured",
    "choose_start",
    "start_errors",
    "start_orders",
    "walk_family",
]

STEPS = (100, 200, 400)
"""Numbers of steps between which the order of whole walks is measured."""

ONE_STEP = {2: {"eps": "DPM-Solver-2", "x0": "DPM-Solver++2S"}, 3: {"eps": "DPM-Solver-3", "x0": "DPM-Solver-3"}}
"""The one-step scheme of an order that makes the first steps of a multistep scheme on eps or on x_0."""

COUNTED = (10, 20, 50)
"""Numbers of evaluations at one of which a start has to be better for it to become the default."""


class Errors(NamedTuple):
    """Root-mean-square errors at the end of a walk: of the deviation of Gaussian data, of states on mixtures."""

    gaussian: float
    mixture: float

    @property
    def score(self) -> float:
        """Their geometric mean, by which starts are compared."""
        return math.sqrt(self.gaussian * self.mixture) if math.isfinite(self.gaussian * self.mixture) else math.inf


class Family:
    """The family of data on a process: states at the first time of a walk, their exact network, where they should end.

    States (n, k) are those of each Gaussian, the columns of a factor of its covariance, and then those of the mixtures.
    """

    def __init__(self, process: Process, first: float, mixtures: bool = True) -> None:
        self.kernel, self.size = _Kernel(process), len(process.blocks)
        self._convert = cache(network_from_eps(process))
        mean, factor = self.kernel.at(first)
        spreads = [np.linalg.cholesky(v * np.outer(mean, mean) + factor @ factor.T) for v in GAUSSIAN]
        solved = _solved_mixtures(self.kernel, first) if mixtures else []
        self.ends = [end for _, _, end in solved]
        self.states = np.concatenate([*spreads, *(start for _, start, _ in solved)], axis=1).T
        denoisers = [*map(_denoise_gaussian, GAUSSIAN), *(denoise for denoise, _, _ in solved)]
        self._parts = list(zip(self._counts, denoisers, strict=True))

    @property
    def _counts(self) -> list[int]:
        """How many states each kind of data has."""
        return [*[self.size] * len(GAUSSIAN), *map(len, self.ends)]

    def network(self, time: float, z: np.ndarray) -> np.ndarray:
        """The exact network's output (n, k) at the states z (n, k)."""
        mean, factor = self.kernel.at(time)
        u, zeta = np.linalg.solve(factor, mean), np.linalg.solve(factor, z.T)
        ratio = float(u @ u)
        if not ratio:
            raise ValueError(f"the state at time {time!r} says nothing of the data; start below it")
        y, ends = (u @ zeta) / ratio, list(accumulate(self._counts))
        parts = zip(np.split(y, ends[:-1]), self._parts, strict=True)
        data = np.concatenate([denoise(part, 1 / ratio) for part, (_, denoise) in parts])
        skip, scale = self._convert(time)
        found: np.ndarray = (skip @ z.T + scale @ (zeta - np.outer(u, data))).T
        return found

    def errors(self, z: np.ndarray, time: float) -> Errors:
        """The errors of states (n, k) that were walked to a time; those on mixtures count at time 0 alone."""
        mean, factor = self.kernel.at(time) if time else (np.eye(self.size)[0], np.zeros((self.size, self.size)))
        parts = np.split(z[:, 0], list(accumulate(self._counts))[:-1])
        spreads = [math.sqrt(v * mean[0] ** 2 + (factor @ factor.T)[0, 0]) for v in GAUSSIAN]
        off = [np.linalg.norm(part) - spread for part, spread in zip(parts, spreads, strict=False)]
        squares = [np.mean((x - end) ** 2) for x, end in zip(parts[len(GAUSSIAN) :], self.ends, strict=True)]
        mixture = math.sqrt(np.mean(squares)) if squares else math.nan
        return Errors(math.sqrt(np.mean(np.square(off))), mixture)


def _denoise_gaussian(variance: float) -> Denoiser:
    return lambda y, noise: variance / (variance + noise) * y


_FAMILIES: dict[tuple[object, ...], Family] = {}


def walk_family(process: Process, first: float, mixtures: bool = True) -> Family:
    """The family of data on a process from a first time, kept: its mixtures cost a second."""
    key = (*process.content, first, mixtures)
    if key not in _FAMILIES:
        _FAMILIES[key] = Family(process, first, mixtures)
    return _FAMILIES[key]


def can_be_measured(integrator: Integrator) -> bool:
    """Whether walks of the scheme begin where the state says something of the data, and take no B for every step."""
    from torch_backend.walk.sample_scheme import first_time

    facts = _facts(integrator)
    return not facts.takes_B and bool(integrator.process.mean(first_time(facts))[:, 0].any())


def start_errors(
    integrator: Integrator, grid: str | None = None, evaluations: Sequence[int] = EVALUATIONS
) -> dict[str, dict[int, Errors]]:
    """The errors of default walks with each start, by its name and the number of evaluations, where there is one.

    ``grid``: a named grid, None for the default one. A walk ends with a step to no noise, and in lower orders where
    that is the default.
    """
    facts = _facts(integrator)
    name = facts.grid if grid is None else grid
    found: dict[str, dict[int, Errors]] = {start: {} for start in _starts(facts)}
    before = facts.nfe_per_step if facts.primed else 0
    for most in evaluations:
        steps = (most - 1 - before) // facts.nfe_per_step
        for start in found:
            times = _times(facts, name, steps, start)
            if times:
                found[start][most] = _errors_of(integrator.process, facts, [*times, 0.0])
    starter, count = _one_step_start(integrator, facts)
    if starter is not None:
        found["one-step"] = {}
        for most in evaluations:
            times = _times(facts, name, most - 1 - count * (starter.nfe_per_step - 1), "plain")
            if len(times) > count:
                found["one-step"][most] = _errors_of(integrator.process, facts, [*times, 0.0], starter, count)
    return found


def start_orders(integrator: Integrator, grid: str | None = None) -> dict[str, float]:
    """The order with which the error on Gaussian data of walks from the first time to t_min falls, for each start."""
    facts = _facts(integrator)
    name = facts.grid if grid is None else grid
    starter, count = _one_step_start(integrator, facts)
    found = {}
    for start in (*_starts(facts), *["one-step"] * (starter is not None)):
        errors = []
        for steps in STEPS:
            times = _times(facts, name, steps, "plain" if start == "one-step" else start)
            errors.append(
                _errors_of(
                    integrator.process, facts, times, *((starter, count) if start == "one-step" else ())
                ).gaussian
            )
        found[start] = math.log2(errors[-2] / errors[-1]) if min(errors) > 0 else math.nan
    return found


def choose_start(errors: Mapping[str, Mapping[int, Errors]]) -> str:
    """The default start: plain, unless another one lowers the error and raises it nowhere.

    Lower: the score at 10, 20 or 50 evaluations is below the plain one's by more than the factor SAME. Nowhere raised:
    at no number of evaluations is it above. Of several, the one with the least product of the scores.
    """
    plain, found = errors["plain"], {"plain": 1.0}
    for start in set(errors) & set(_offered()):
        ratios = {n: one.score / plain[n].score for n, one in errors[start].items()}
        lower = any(ratios.get(n, 1.0) < 1 / SAME for n in COUNTED)
        if lower and all(ratio <= 1 for ratio in ratios.values()):
            found[start] = math.prod(ratios.values())
    return min(found, key=lambda start: (found[start], start))


def _offered() -> tuple[str, ...]:
    from torch_backend.walk.start_up import STARTS

    return STARTS


def _starts(facts: SchemeFacts) -> list[str]:
    """The starts that a scheme has."""
    graded = facts.order > 2 and facts.history > 0
    return [start for start in _offered() if start != "graded" or graded]


def _facts(integrator: Integrator) -> SchemeFacts:
    """The facts of the generated source, kept with the integrator: to print it costs more than a walk."""
    from torch_backend.scheme import facts_of

    if "facts" not in integrator.references:
        integrator.references["facts"] = facts_of(integrator.to_torch().module)
    found: SchemeFacts = integrator.references["facts"]
    return found


def _times(facts: SchemeFacts, grid: str, steps: int, start: str) -> list[float]:
    """The times of so many steps, none where there are too few for the start."""
    from torch_backend.walk.sample_scheme import first_time
    from torch_backend.walk.start_up import grid_with_start

    least = {"plain": 1, "halved": 2, "graded": facts.order - 1}[start]
    if steps < least:
        return []
    scheme: dict[str, Any] = {"spec": facts.spec, "order": facts.order, "history": facts.history}
    return grid_with_start(grid, steps, first_time(facts), facts.t_min, facts.log_snr, start, **scheme)


def _one_step_start(integrator: Integrator, facts: SchemeFacts) -> tuple[SchemeFacts | None, int]:
    """The scheme that makes the first steps and how many; none for a scheme that keeps its order or mends its steps."""
    name = ONE_STEP.get(facts.order - 1, {}).get(integrator.program.unknown)
    if facts.mends or facts.history < 2 or name is None:
        return None, 0
    process = integrator.spec.rpartition("/")[0]
    return _facts(derive(f"{process}/{name}")), facts.order - 2


def _errors_of(
    process: Process, facts: SchemeFacts, times: Sequence[float], starter: SchemeFacts | None = None, count: int = 0
) -> Errors:
    """The errors of one walk, of which ``starter`` makes the first ``count`` steps; infinite where it leaves floats."""
    import torch

    from torch_backend.walk.loop import integrate
    from torch_backend.walk.sample_scheme import choose_ending
    from torch_backend.walk.table import priming_row, tabulate_scheme

    family = walk_family(process, times[0], times[-1] == 0)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return torch.from_numpy(family.network(float(t.reshape(-1)[0]), z.numpy()))

    # Down to t_min the order is that of the steps: a predictor-corrector's final orders are not lowered then.
    lowered = None if times[-1] == 0 or not facts.mends else False
    z, table = torch.from_numpy(family.states), tabulate_scheme(facts, times, lowered)
    try:
        if starter is not None:
            end = _walk_with_starter(facts, starter, count, table, times, network, z)
        else:
            end = integrate(
                facts.step, table, times, network, z, blocks=family.size, history=facts.history,
                primed=priming_row(facts, times), ending=choose_ending(facts, times),
            )  # fmt: skip
    except FloatingPointError:
        return Errors(math.inf, math.inf)
    return family.errors(end.numpy(), times[-1])


def _walk_with_starter(
    facts: SchemeFacts,
    starter: SchemeFacts,
    count: int,
    table: Tensor,
    times: Sequence[float],
    network: Callable[[Tensor, Tensor], Tensor],
    z: Tensor,
) -> Tensor:
    """Walk z (n, k) down the times, of which ``starter`` makes the first ``count`` steps."""
    import torch

    from torch_backend.walk.sample_scheme import choose_ending

    ends = torch.tensor(times, dtype=torch.float64).unbind()
    past = [torch.zeros_like(z)] * facts.history
    for i, row in enumerate(table):
        if i < count:
            # What the scheme keeps of its step is that of the output at the step's start, which both make.
            kept = facts.step(z, ends[i], ends[i + 1], row, network, None, past)[1]
            z = starter.step(z, ends[i], ends[i + 1], starter.coefficients(ends[i], ends[i + 1]), network, None)
        else:
            z, kept = facts.step(z, ends[i], ends[i + 1], row, network, None, past)
        past = [kept, *past[:-1]]
    ending = choose_ending(facts, list(times))
    return z if ending is None else ending(z, ends[-2], network)
