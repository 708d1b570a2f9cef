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


def convergence_figure(members: Integrators) -> Figure:
    """Position error at t_min from t_max on the mixture over the mean step of a quadratic grid, and its prediction.

    The generated source runs in float64 against scipy's DOP853; dashed is the derived global error. Raises InputError
    for a stochastic scheme, which has no trajectory, and for schemes on more than one process.
    """
    made = common_deterministic_process(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, made.t_max, SEED)
    return _draw_convergence(made, _measure_errors(members, z), _predict_errors(members, z))


def global_error_figure(members: Integrators) -> Figure:
    """Above, the same errors over network evaluations with their derived asymptotes; below, where they are made.

    Predictor-correctors, whose global error is not derived, have no asymptote. Raises InputError as above.
    """
    made = common_deterministic_process(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, made.t_max, SEED)
    found = _derive_global_errors(members, z)
    evaluations = {spec: np.array(GLOBAL_STEPS) * i.nfe_per_step for spec, i in members.items()}
    with figures.style():
        figure = figures.new_figure(8.0, 8.0 if found else 4.4)
        upper, *lower = np.atleast_1d(figure.subplots(1 + bool(found)))
        figures.work_precision(
            upper,
            evaluations,
            _measure_errors(members, z),
            predicted={spec: _rms_of_prediction(error) for spec, error in found.items()},
            ylabel="RMS error of the position",
            title=f"A Gaussian mixture on {made.name}, quadratic grid: measured, and the derived asymptotes",
        )
        for ax in lower:
            times = np.geomspace(made.t_min, made.t_max, DENSITY_TIMES)
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


def _measure_errors(members: Integrators, z: np.ndarray) -> dict[str, np.ndarray]:
    """RMS errors of the position at t_min after GLOBAL_STEPS steps from z at t_max, quadratic grid; NaN: diverged."""
    import torch

    from integrator_analysis.codegen import kernel_source
    from torch_backend.measuring.device import one_thread
    from torch_backend.measuring.walks import end_of_walk
    from torch_backend.scores import MixtureScore
    from torch_backend.source import module_from_source
    from torch_backend.walk.grids import time_grid

    made = common_process(members)
    problem = MixtureProblem(made)
    exact = problem.solve(z, made.t_max, [made.t_min])[0]
    means, variances, weights = (
        torch.tensor(v, dtype=torch.float64) for v in (problem.means, problem.variances, problem.weights)
    )
    kernel = module_from_source(kernel_source(made), f"kernel_{made.name}")
    network = MixtureScore(kernel, means[:, None], variances, weights)
    errors = {}
    with one_thread():
        for spec, integrator in members.items():
            module = integrator.to_torch(dtype=torch.float64).module
            errors[spec] = np.full(len(GLOBAL_STEPS), np.nan)
            for j, n in enumerate(GLOBAL_STEPS):
                times = time_grid("quadratic", n, made.t_max, made.t_min)
                with suppress(FloatingPointError):  # unstable with so few steps: a gap in the curve
                    end = end_of_walk(module, network, z, times)
                    errors[spec][j] = np.sqrt(np.mean((end - exact)[:, 0] ** 2))
    return errors


def _derive_global_errors(members: Integrators, z: np.ndarray) -> dict[str, GlobalError]:
    """The derived global errors on the quadratic grid, of those schemes for which there is one."""
    found = {}
    for spec, integrator in members.items():
        with suppress(ia.InputError):
            found[spec] = integrator.global_error(MixtureProblem(integrator.process), z, "quadratic")
    return found


def _rms_of_prediction(error: GlobalError) -> np.ndarray:
    return np.array([np.sqrt(np.mean(error.predicted(n)[:, 0] ** 2)) for n in GLOBAL_STEPS])


def _predict_errors(members: Integrators, z: np.ndarray) -> dict[str, np.ndarray]:
    return {spec: _rms_of_prediction(error) for spec, error in _derive_global_errors(members, z).items()}


def _draw_convergence(
    made: ia.Process, errors: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray]
) -> Figure:
    with figures.style():
        figure = figures.new_figure(8.0, 4.6)
        figures.convergence(
            figure.subplots(),
            [(made.t_max - made.t_min) / n for n in GLOBAL_STEPS],
            errors,
            predicted=predicted,
            reference_slopes=(1, 2),
            title=f"Global error on {made.name}: a Gaussian mixture from t = {made.t_max:g} to {made.t_min:g}",
            xlabel="mean step size (forward diffusion time), quadratic grid",
            ylabel="RMS error of the position",
        )
    return figure


def global_error_picture(output: Path, process: str, members: Integrators) -> dict[str, str]:
    caption = (
        f"{process}: error at the end of a whole trajectory, {GLOBAL_STEPS[0]} to {GLOBAL_STEPS[-1]} steps, against "
        "scipy's DOP853; dotted lines have the slopes 1 and 2."
    )
    made = common_process(members)
    z = MixtureProblem(made).sample(GLOBAL_POINTS, made.t_max, SEED)
    return save_picture(
        output, _draw_convergence(made, _measure_errors(members, z), {}), f"global_error_{process}", caption
    )
