"""One step on Gaussian data as an affine-Gaussian map, z -> matrix z + offset + noise, and moments from such maps.

Knows network programs and the exact eps of Gaussian data; samples nothing. For data N(mu, c) in one eigendirection
the marginal is N(Psi_1 mu, S), S = c Psi_1 Psi_1^T + Sigma, and eps = L^T S^{-1} (z - Psi_1 mu), affine in z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from integrator_analysis.algebra.symbols import s
from integrator_analysis.analysis.coefficients import CoefficientTable, check_times, walk_pasts
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.processes import Process
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.program.statements import Block, Evaluate, Noise, Output
from integrator_analysis.program.step_program import Step

__all__ = ["AffineMap", "GaussianError", "affine_step", "gaussian_eps", "gaussian_error", "marginal"]

Eps = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""time -> (K, offset) with eps = K z + offset, k x k and k, or stacks of these."""


@dataclass(frozen=True)
class AffineMap:
    """z -> matrix z + offset + noise xi: k x k, k and k x (number of noises), or stacks of these.

    For a multistep method z is followed by the outputs that are kept, newest first: k (1 + history) in all.
    """

    matrix: np.ndarray
    offset: np.ndarray
    noise: np.ndarray

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance after the map, from those before it."""
        spread = self.matrix @ covariance @ self.matrix.swapaxes(-1, -2) + self.noise @ self.noise.swapaxes(-1, -2)
        return (self.matrix @ mean[..., None])[..., 0] + self.offset, spread


def affine_step(
    program: Step,
    table: CoefficientTable,
    start: float,
    end: float,
    eps: Callable[..., tuple[np.ndarray, np.ndarray]],
    past: Sequence[float] = (),
    sizes: bool = False,
    read: int | None = None,
    at: np.ndarray | None = None,
) -> AffineMap:
    """Return the map of one step from ``start`` to ``end`` for a network that is affine in z.

    ``past`` are the times at which earlier steps started, and ``read`` how many of them count, as in the table. Where
    ``eps`` gives stacks of Jacobians (..., k, k) and offsets (..., k), the map is one of stacks too: the coefficients
    are evaluated once for all of them.
    With ``sizes``, each entry is the sum of the absolute values of what it is a sum of, of which rounding leaves a few
    1e-16 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

    A network of any other kind is linearised about a walk: ``at`` (..., k (1 + history) + noises) is the state, the
    kept outputs and the noise of the step, and ``eps(time, z)`` gives its affine function about the state z (..., k).
    """
    executed, part = table.program, np.abs if sizes else np.asarray
    values = dict(zip(table.names, map(part, table(start, end, past, read)), strict=True))
    k, n = len(program.blocks), len(executed.noises)
    size = k * (1 + executed.history)
    # Every quantity of the step is a row: its coefficients of z and the kept outputs, of 1, and of each noise. The
    # statements of the program are carried out on such rows.
    rows = np.hstack([np.eye(size), np.zeros((size, 1 + n))]).astype(complex)
    units = np.eye(size + 1 + n, dtype=complex)[size + 1 :]
    state = dict(zip(program.blocks, rows[:k], strict=True))
    names = [(name, b) for name in executed.past for b in program.blocks]
    outputs: dict[tuple[str, str], np.ndarray] = dict(zip(names, rows[k:], strict=True))
    for st in executed.statements:
        if isinstance(st, Evaluate):
            # A time within the step is a named coefficient of the program; the ends have no name.
            time = values.get(f"time_{st.name}", end if st.time == s else start)
            inputs = _stack([state[b] for b in st.state or program.blocks])
            about = () if at is None else (_value(inputs, at, size),)
            jacobian, offset = map(part, eps(float(time), *about))
            result = jacobian @ inputs
            result[..., size] += offset
            outputs |= {(st.name, b): result[..., i, :] for i, b in enumerate(program.blocks)}
            continue
        before = dict(state)  # the updates of one statement are simultaneous
        for block, terms in st.updates:
            total = np.zeros(size + 1 + n, dtype=complex)
            for term in terms:
                factor = values.get(str(term.coefficient), 1.0)
                match term.operand:
                    case Block(name):
                        total = total + factor * before[name]
                    case Output(evaluation, component):
                        total = total + factor * outputs[evaluation, component]
                    case Noise(name):
                        total = total + factor * units[executed.noises.index(name)]
            state[block] = total
    full = [state[b] for b in program.blocks]
    if executed.history:
        now = [state.get(f"{executed.kept}_{b}", outputs.get((executed.kept, b))) for b in program.blocks]
        full += [*now, *rows[k : size - k]]  # what was newest is now one step older
    stacked = _stack(full)
    stacked = stacked.real if np.all(stacked.imag == 0) else stacked
    return AffineMap(stacked[..., :size], stacked[..., size], stacked[..., size + 1 :])


def _value(rows: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
    """Return the numbers (..., m) that m rows (..., m, size + 1 + noises) are at one state, kept outputs and noise."""
    whole = np.insert(at, size, 1.0, axis=-1)
    return (rows @ whole[..., None])[..., 0].real


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows (..., n), some of them common to all, as matrices (..., len(rows), n)."""
    return np.stack(np.broadcast_arrays(*rows), axis=-2)


def marginal(
    process: Process, time: float, mean: float | np.ndarray, variance: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (..., k) and covariance (..., k, k) of z_t for data N(mean, variance), in one direction or many."""
    psi = process.mean(time)[:, 0]
    spread = np.multiply.outer(variance, np.outer(psi, psi))
    return np.multiply.outer(mean, psi), spread + process.covariance(time)


def gaussian_eps(process: Process, mean: float | np.ndarray, variance: float | np.ndarray) -> Eps:
    """Return the network that is exact for data N(mean, variance), as an affine function of z at every time.

    Mean and variance are numbers, for one direction of the data, or arrays of one shape, for many.
    """
    convert = network_from_eps(process)

    def eps(time: float) -> tuple[np.ndarray, np.ndarray]:
        center, covariance = marginal(process, time, mean, variance)
        factor = np.linalg.cholesky(process.covariance(time))
        jacobian = factor.T @ np.linalg.inv(covariance)
        skip, scale = convert(time)
        return skip + scale @ jacobian, -(scale @ jacobian @ center[..., None])[..., 0]

    return eps


@dataclass(frozen=True)
class GaussianError:
    """Errors of mean (d, k) and covariance (d, k, k) at the last time, per eigenvalue of the data's covariance.

    ``exact`` is the true covariance there, (d, k, k).
    """

    variances: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    exact: np.ndarray

    @property
    def squared_distances(self) -> np.ndarray:
        """Squared 2-Wasserstein distance of the position's law from the true one, (d): of all the data, their sum.

        >>> import integrator_analysis as ia
        >>> ia.derive("vp/DDIM").gaussian_error([0.9, 0.1], 0.0, 0.0).squared_distances.max() ** 0.5 < 1e-13
        np.True_
        """
        exact = self.exact[:, 0, 0]
        spread = np.sqrt(np.maximum(exact + self.covariance[:, 0, 0], 0.0)) - np.sqrt(exact)
        return self.mean[:, 0] ** 2 + spread**2


def gaussian_error(
    program: NetworkProgram,
    times: Sequence[float],
    mean: Sequence[float] | np.ndarray | float,
    covariance: np.ndarray | float,
    lower_order_final: bool = False,
) -> GaussianError:
    """Return the exact error of a sampler on data N(mean, covariance), from the true marginal at times[0].

    Nothing is sampled: moments are carried from step to step in the eigenbasis of the data's covariance. ``covariance``
    is a variance, a vector of variances or a d x d matrix, ``mean`` a number or a vector of length d. Where the last of
    the times is 0 the walk ends with a step to no noise: the state becomes the predicted x_0, its other blocks 0. With
    ``lower_order_final`` a step reads at most as many earlier outputs as steps follow it, the one to no noise counted.
    Raises InputError for a covariance that is not symmetric positive semi-definite, a bad grid, and for
    ``lower_order_final`` of a scheme that reads no past or needs one in every step.
    """
    if lower_order_final and not program.history:
        raise InputError("this scheme reads no earlier steps, so that it has no lower_order_final; leave it out")
    if lower_order_final and program.primed:
        raise InputError("this scheme reads an earlier step in every step; leave lower_order_final out")
    process, to_zero = program.process, bool(len(times)) and times[-1] == 0
    grid = np.asarray(times[:-1], dtype=float) if to_zero else np.asarray(times, dtype=float)
    if not (to_zero and grid.shape == (1,) and np.isfinite(grid[0]) and grid[0] > 0):  # from noise to data in one step
        grid = check_times(grid.tolist())
    variances, basis = _diagonalise(np.asarray(covariance, dtype=float))
    center = basis.T @ np.broadcast_to(np.asarray(mean, dtype=float), variances.shape)
    table, eps = CoefficientTable(program), gaussian_eps(process, center, variances)
    k, kept = len(process.blocks), program.history * len(process.blocks)
    first, second = marginal(process, grid[0], center, variances)  # no outputs are kept before the first step
    moments = np.pad(first, ((0, 0), (0, kept))), np.pad(second, ((0, 0), (0, kept), (0, kept)))
    if program.primed:
        moments = affine_step(program, table, grid[0], grid[0], eps).moments(*moments)
    pasts = walk_pasts(program, grid.tolist(), lower_order_final, to_zero)
    for (start, end), (past, read) in zip(pairwise(grid), pasts, strict=True):
        moments = affine_step(program, table, start, end, eps, past, read=read).moments(*moments)
    if to_zero:
        ending = _step_to_no_noise(process, grid[-1], center, variances)
        moments = ending.moments(moments[0][:, :k], moments[1][:, :k, :k])  # what is kept is not read any more
    exact = marginal(process, 0.0 if to_zero else grid[-1], center, variances)
    return GaussianError(variances, moments[0][:, :k] - exact[0], moments[1][:, :k, :k] - exact[1], exact[1])


def _step_to_no_noise(process: Process, time: float, mean: np.ndarray, variance: np.ndarray) -> AffineMap:
    """Return z -> (E[x_0 | z], 0, ...) for data N(mean, variance), the posterior mean by Gaussian conditioning."""
    psi, k = process.mean(time)[:, 0], len(process.blocks)
    center, covariance = marginal(process, time, mean, variance)
    gain = variance[:, None] * np.linalg.solve(covariance, np.broadcast_to(psi, center.shape)[..., None])[..., 0]
    matrix, offset = np.zeros((len(mean), k, k)), np.zeros((len(mean), k))
    matrix[:, 0], offset[:, 0] = gain, mean - (gain * center).sum(axis=1)
    return AffineMap(matrix, offset, np.zeros((len(mean), k, 0)))


def _diagonalise(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (d) and eigenvectors (d, d); raise InputError for what is no covariance."""
    if covariance.ndim < 2:
        values = np.atleast_1d(covariance)
        basis = np.eye(len(values))
    elif covariance.ndim == 2 and covariance.shape[0] == covariance.shape[1] and np.allclose(covariance, covariance.T):
        values, basis = np.linalg.eigh(covariance)
    else:
        raise InputError(f"a covariance is a number, a vector or a symmetric matrix, got shape {covariance.shape}")
    if not np.all(np.isfinite(values)) or values.min() < -1e-12 * max(values.max(), 1e-300):
        raise InputError(f"the covariance is not positive semi-definite: its least eigenvalue is {values.min():g}")
    return np.maximum(values, 0.0), basis
