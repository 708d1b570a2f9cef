"""Pictures of global errors: measured ones beside those that the local error predicts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import integrator_analysis as ia
from integrator_analysis import figures
from integrator_analysis.analysis.accuracy.global_error import GlobalError
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.report.pictures.frame import (
    Integrators,
    common_deterministic_process,
    common_process,
    save_picture,
)
from integrator_analysis.verification.bench import SEED

__all__ = ["convergence_figure", "global_error_figure"]

GLOBAL_STEPS = tuple(2**k for k in range(4, 11))

GLOBAL_POINTS = 16

PREDICTED_POINTS = 4  # a derived constant takes up to 0.1 s a point and time on phase space

DENSITY_TIMES = 160


GRID = "quadratic"
"""What these figures show is the order of the steps, so that the grid is one on which their global error is derived."""


def convergence_figure(members: Integrators) -> Figure:
    """Position error at t_min from t_max on the mixture over the mean step of a quadratic grid, and its prediction.

    Where a scheme has no step from t_max, as on rectified flow, all begin at 0.999 t_max.

    The generated source runs in float64 against scipy's DOP853; dashed is the derived global error. Raises InputError
    for a stochastic scheme, which has no trajectory, and for schemes on more than one process.
    """
    made = common_deterministic_process(members)
    ends = _common_ends(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, ends[0], SEED)
    return _draw_convergence(made, ends, _measure_errors(members, z, ends), _predict_errors(members, z, ends))


def global_error_figure(members: Integrators) -> Figure:
    """Above, the same errors over network evaluations with their derived asymptotes; below, where they are made.

    Predictor-correctors, whose global error is not derived, have no asymptote. Raises InputError as above.
    """
    made = common_deterministic_process(members)
    ends = _common_ends(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, ends[0], SEED)
    found = _derive_global_errors(members, z, ends)
    evaluations = {spec: np.array(GLOBAL_STEPS) * i.nfe_per_step for spec, i in members.items()}
    with figures.style():
        figure = figures.new_figure(8.0, 8.0 if found else 4.4)
        upper, *lower = np.atleast_1d(figure.subplots(1 + bool(found)))
        figures.work_precision(
            upper,
            evaluations,
            _measure_errors(members, z, ends),
            predicted={spec: _rms_of_prediction(error) for spec, error in found.items()},
            ylabel="RMS error of the position",
            title=f"A Gaussian mixture on {made.name}, {GRID} grid: measured, and the derived asymptotes",
        )
        for ax in lower:
            times = np.geomspace(*ends[::-1], DENSITY_TIMES)
            figures.error_densities(
                ax,
                times,
                {
                    spec: np.sqrt(np.mean(e.density_in_log_time(times)[..., 0] ** 2, axis=1))
                    for spec, e in found.items()
                },
                title="Where the position error is made: local error carried to the end, times n^order, RMS",
            )
    return figure


def _common_ends(members: Integrators) -> tuple[float, float]:
    """The first and the last time of walks down to t_min that all schemes can make."""
    walks = [i.to_torch().times(1, GRID, end_at_zero=False) for i in members.values()]
    return min(walk[0] for walk in walks), walks[0][-1]


def _measure_errors(members: Integrators, z: np.ndarray, ends: tuple[float, float]) -> dict[str, np.ndarray]:
    """RMS errors of the position after GLOBAL_STEPS steps of GRID between the ``ends``, from z; NaN: diverged."""
    import torch

    from integrator_analysis.codegen import kernel_source
    from integrator_analysis.report.digits import exact_network
    from torch_backend.measuring.device import one_thread
    from torch_backend.measuring.walks import end_of_walk
    from torch_backend.scores import MixtureScore
    from torch_backend.source import module_from_source
    from torch_backend.walk.grids import time_grid

    made = common_process(members)
    problem = MixtureProblem(made)
    exact = problem.solve(z, ends[0], [ends[1]])[0]
    means, variances, weights = (
        torch.tensor(v, dtype=torch.float64) for v in (problem.means, problem.variances, problem.weights)
    )
    kernel = module_from_source(kernel_source(made), f"kernel_{made.name}")
    network = exact_network(MixtureScore(kernel, means[:, None], variances, weights), made)
    errors = {}
    with one_thread():
        for spec, integrator in members.items():
            module = integrator.to_torch(dtype=torch.float64).module
            errors[spec] = np.full(len(GLOBAL_STEPS), np.nan)
            for j, n in enumerate(GLOBAL_STEPS):
                times = time_grid(GRID, n, *ends)
                with suppress(FloatingPointError):  # unstable with so few steps: a gap in the curve
                    end = end_of_walk(module, network, z, times)
                    errors[spec][j] = np.sqrt(np.mean((end - exact)[:, 0] ** 2))
    return errors


def _derive_global_errors(members: Integrators, z: np.ndarray, ends: tuple[float, float]) -> dict[str, GlobalError]:
    """The derived global errors on GRID between the ``ends``, of those schemes for which there is one."""
    found = {}
    for spec, integrator in members.items():
        with suppress(ia.InputError):
            found[spec] = integrator.global_error(MixtureProblem(integrator.process), z, GRID, ends)
    return found


def _rms_of_prediction(error: GlobalError) -> np.ndarray:
    return np.array([np.sqrt(np.mean(error.predicted(n)[:, 0] ** 2)) for n in GLOBAL_STEPS])


def _predict_errors(members: Integrators, z: np.ndarray, ends: tuple[float, float]) -> dict[str, np.ndarray]:
    return {spec: _rms_of_prediction(error) for spec, error in _derive_global_errors(members, z, ends).items()}


def _draw_convergence(
    made: ia.Process, ends: tuple[float, float], errors: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray]
) -> Figure:
    with figures.style():
        figure = figures.new_figure(8.0, 4.6)
        figures.convergence(
            figure.subplots(),
            [(ends[0] - ends[1]) / n for n in GLOBAL_STEPS],
            errors,
            predicted=predicted,
            reference_slopes=(1, 2),
            title=f"Global error on {made.name}: a Gaussian mixture from t = {ends[0]:g} to {ends[1]:g}",
            xlabel=f"mean step size (forward diffusion time), {GRID} grid",
            ylabel="RMS error of the position",
        )
    return figure


def global_error_picture(output: Path, process: str, members: Integrators) -> dict[str, str]:
    caption = (
        f"{process}: error at the end of a whole trajectory, {GLOBAL_STEPS[0]} to {GLOBAL_STEPS[-1]} steps, against "
        "scipy's DOP853; dotted lines have the slopes 1 and 2."
    )
    made = common_process(members)
    ends = _common_ends(members)
    z = MixtureProblem(made).sample(GLOBAL_POINTS, ends[0], SEED)
    figure = _draw_convergence(made, ends, _measure_errors(members, z, ends), {})
    return save_picture(output, figure, f"global_error_{process}", caption)
