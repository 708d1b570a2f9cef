"""The walk that a user receives, as derived: its times, its steps from the symbols, its ending, what it may be off by.

Knows network programs, time grids by name, and the rules of default walks; runs no generated source. A walk is the
steps on the process's default grid, with lower final orders as by default, and a step to no noise at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable, walk_pasts
from integrator_analysis.analysis.gaussian import AffineMap, affine_step
from integrator_analysis.parametrisation.data_prediction import tells_data
from integrator_analysis.processes import Process
from integrator_analysis.program.given_table import table_of
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.properties import Properties

__all__ = ["Walk", "WalkEnds", "default_walk", "follow_walk", "lowers_final_orders", "why_no_walk"]

Linearised = Callable[[float, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(time, z (n, k)) -> a network's Jacobian (n, k, k) at the states, and its output there (n, k)."""


@dataclass(frozen=True)
class Walk:
    """The times of a walk, of which the last may be 0; whether its final orders are lowered; its evaluations.

    ``grid`` says in words which times they are.
    """

    times: tuple[float, ...]
    lowered: bool
    evaluations: int
    grid: str

    @property
    def steps(self) -> int:
        """How many steps it has, one to no noise included."""
        return len(self.times) - 1

    @property
    def to_zero(self) -> bool:
        """Whether it ends with a step to no noise."""
        return self.times[-1] == 0

    @property
    def inner(self) -> tuple[float, ...]:
        """The times between which the scheme makes its steps: all but a closing 0."""
        return self.times[:-1] if self.to_zero else self.times


@dataclass(frozen=True)
class WalkEnds:
    """Positions (n) at the end of a walk as derived, and how far each may be off where every step is within bounds."""

    position: np.ndarray
    bound: np.ndarray


def why_no_walk(properties: Properties) -> str | None:
    """Why a scheme has no default walk that ends at no noise, in a few words; None where it has one."""
    if len(table_of(properties.network_program)):
        return "a scheme that takes a B for every step"
    if not tells_data(properties.process):
        return "a network whose output does not tell x_0"
    return None


def default_walk(properties: Properties, most: int) -> Walk | None:
    """The longest default walk of at most ``most`` evaluations; None where it would have no step of the scheme.

    The step to no noise costs one evaluation, and the start of a scheme that needs a past those of one step more.
    """
    from torch_backend.walk.start_up import default_start, grid_with_start

    program, process, each = properties.network_program, properties.process, properties.nfe_per_step
    before = each if program.primed else 0
    full = (most - 1 - before) // each
    if full < 1:
        return None
    grid, first = process.grid_for(properties.order), _first_time(properties.table)
    known = partial(_log_snr, process)
    scheme: dict[str, Any] = {"spec": properties.spec, "order": properties.order, "history": program.history}
    times = grid_with_start(grid, full, first, process.t_min, known, None, **scheme)
    start = default_start(properties.spec, grid)
    lowered = lowers_final_orders(program, full + 1)
    return Walk(
        (*times, 0.0), lowered, before + full * each + 1, f"{grid} grid" + f", {start} start" * (start != "plain")
    )


def lowers_final_orders(program: NetworkProgram, steps: int) -> bool:
    """Whether a walk of so many steps ends with steps of lower order by default.

    A predictor-corrector's does, and that of any other multistep scheme where there are few steps.
    """
    from torch_backend.walk.table import FEW_STEPS

    return bool(program.history) and not program.primed and (bool(program.cycle) or steps < FEW_STEPS)


def _first_time(table: CoefficientTable) -> float:
    """t_max, or the later start of walks where a step from t_max has coefficients that are not finite."""
    from torch_backend.walk.grids import START

    process = table.program.process
    try:
        with np.errstate(all="ignore"):
            row = table(process.t_max, (process.t_max + process.t_min) / 2)
    except (ArithmeticError, ValueError):  # the latter where a time within the step is looked for in vain
        return START * process.t_max
    return process.t_max if all(np.isfinite(complex(value)) for value in row) else START * process.t_max


def _log_snr(process: Process, time: Any) -> Any:
    """Half the log of the signal-to-noise ratio at a time, or at a tensor of times as a tensor."""
    if not isinstance(time, float):
        return time.new_tensor([_log_snr(process, one) for one in time.flatten().tolist()]).reshape(time.shape)
    psi, covariance = process.mean(time)[:, 0], process.covariance(time)
    signal = float(psi @ np.linalg.solve(covariance, psi))
    return math.log(signal) / 2 if signal else -math.inf


def follow_walk(
    table: CoefficientTable,
    walk: Walk,
    network: Linearised,
    ending: np.ndarray | None,
    z: np.ndarray,
    noise: np.ndarray,
    tolerances: tuple[float, float],
) -> WalkEnds:
    """Follow the states z (n, k) down a walk, with ``noise`` (steps, noises, n) for its steps but the one to no noise.

    ``ending``: the factors (2 k) of the state and of the output whose sum is the predicted x_0; None where a walk ends
    above 0, at the state itself.
    ``tolerances``: how far a step's map may be off, relative to the sizes of what its entries are sums of, and those
    factors, relative to the largest. What each may change is carried to the end by the tangent maps of the steps that
    follow. To first order the sum bounds how far a walk of such steps can be off.
    """
    program, n = table.program, len(z)
    off_by, ending_off_by = tolerances
    state = np.hstack([z, np.zeros((n, z.shape[1] * program.history))])
    grid, maps, errors = list(walk.inner), [], []

    def take(start: float, end: float, past: Sequence[float], read: int | None, draws: np.ndarray) -> np.ndarray:
        at = np.hstack([state, draws.T])
        step, sizes = _linearise_step(table, start, end, past, read, network, at)
        unit = np.maximum(1.0, np.maximum(sizes.matrix.max(axis=-1), sizes.offset))
        maps.append(step.matrix)
        errors.append(off_by * unit * (np.abs(at).sum(axis=-1, keepdims=True) + 1))
        moved = (step.matrix @ state[..., None])[..., 0] + step.offset
        return np.asarray(moved + (step.noise @ draws.T[..., None])[..., 0])

    if program.primed:
        state = take(grid[0], grid[0], (), None, np.zeros_like(noise[0]))
    pasts = walk_pasts(program, grid, walk.lowered, walk.to_zero)
    for (start, end), (past, read), draws in zip(pairwise(grid), pasts, noise, strict=True):
        state = take(start, end, past, read, draws)
    position, row, bound = _end_walk(grid[-1], network, ending, state[:, : z.shape[1]], ending_off_by)
    row = np.pad(row, ((0, 0), (0, state.shape[1] - row.shape[1])))
    for matrix, made in zip(maps[::-1], errors[::-1], strict=True):
        bound = bound + (np.abs(row) * made).sum(axis=-1)
        row = (row[:, None] @ matrix)[:, 0]
    return WalkEnds(position, bound)


def _linearise_step(
    table: CoefficientTable,
    start: float,
    end: float,
    past: Sequence[float],
    read: int | None,
    network: Linearised,
    at: np.ndarray,
) -> tuple[AffineMap, AffineMap]:
    """The affine map that a step is about the states, kept outputs and noise ``at``, and the sizes of its entries."""
    used = []

    def eps(time: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        jacobian, output = network(time, z)
        used.append((jacobian, output - (jacobian @ z[..., None])[..., 0]))
        return used[-1]

    step = affine_step(table.program, table, start, end, eps, past, read=read, at=at)
    again = iter(used)
    sizes = affine_step(table.program, table, start, end, lambda time: next(again), past, sizes=True, read=read)
    return _real(step), _real(sizes)


def _real(step: AffineMap) -> AffineMap:
    """A map without imaginary parts, which are left where a number overflows and are no numbers then."""
    return AffineMap(step.matrix.real, step.offset.real, step.noise.real)


def _end_walk(
    time: float, network: Linearised, ending: np.ndarray | None, z: np.ndarray, off_by: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The position (n) that a walk ends at from z (n, k), its derivative by z (n, k), and what it may be off by (n)."""
    if ending is None:
        return z[:, 0], np.tile(np.eye(z.shape[1])[0], (len(z), 1)), np.zeros(len(z))
    (jacobian, output), (a, b) = network(time, z), np.split(ending, 2)
    error = off_by * np.abs(ending).max() * (np.abs(z).sum(axis=-1) + np.abs(output).sum(axis=-1))
    return z @ a + output @ b, a + b @ jacobian, error
