"""The report's pictures: which figure shows which numbers. Drawing itself is in integrator_analysis.figures.

Knows integrators, certificates and study records; returns for each section a list of {path, caption, alt}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import sympy
from matplotlib.figure import Figure

import integrator_analysis as ia
from integrator_analysis import figures
from integrator_analysis.analysis.global_error import GlobalError
from integrator_analysis.analysis.local_error import LocalError
from integrator_analysis.analysis.problems import MixtureProblem
from integrator_analysis.certificate import SEED, TIMES, Certificate
from integrator_analysis.report.stability_pictures import (
    dispersion_figure,
    evaluations_figure,
    growth_figure,
    order_star_figure,
    region_figure,
    spectrum_figure,
    stability_figure,
)

__all__ = [
    "KINDS",
    "Options",
    "constants_figure",
    "convergence_figure",
    "draw_analysis",
    "draw_digits",
    "global_error_figure",
    "heat_map_figure",
    "sample_figure",
    "work_precision_figure",
]

Pictures = dict[str, list[dict[str, str]]]
Integrators = Mapping[str, ia.Integrator]

GLOBAL_STEPS = tuple(2**k for k in range(4, 11))
GLOBAL_POINTS = 16
PREDICTED_POINTS = 4  # a derived constant takes up to 0.1 s a point and time on phase space
CONSTANT_TIMES = tuple(float(v) for v in np.linspace(0.05, 0.95, 9))
CONSTANT_POINTS = 5
CONSTANT_DIGITS = 20
LAMBDAS = tuple(float(v) for v in np.linspace(-3, 3, 24))  # an even number: at 0 the expansion has other terms
GAMMAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MAP_TIMES = tuple(float(v) for v in np.linspace(0.04, 0.96, 16))
MAP_NODES, MAP_TOLERANCE = 2, 0.1
"""A colour on a logarithmic scale shows no more."""
SOURCE_TIMES = 160
SHOWN_IMAGES = 12


def draw_analysis(output: Path, integrators: Integrators, certificates: Mapping[str, Certificate]) -> Pictures:
    """Stability regions, local and global convergence, leading constants: one picture of each per process."""
    out: Pictures = {"stability": [], "convergence": [], "error_constants": []}
    for process, members in _by_process(integrators).items():
        out["stability"].append(_stability(output, process, members))
        deterministic = {spec: i for spec, i in members.items() if not i.stochastic}
        for target in (*next(iter(members.values())).program.blocks, "f"):
            out["convergence"] += _one_step_errors(output, process, target, members, certificates)
        if deterministic:
            out["convergence"].append(_global(output, process, deterministic))
            out["error_constants"].append(_constants(output, process, deterministic, certificates))
            out["error_constants"] += _constants_over_time(output, process, deterministic)
    return out


def draw_digits(
    output: Path,
    records: Sequence[Mapping[str, Any]],
    images: Mapping[str, Mapping[int, np.ndarray]],
    floor: Mapping[str, float],
) -> Pictures:
    """Error over network evaluations in four measures, and a grid of samples per scheme."""
    measures = {
        "trajectory_rmse": ("RMS error per pixel to the exact flow (pixel units)", None),
        "trajectory_median": ("median over samples of the RMS error to the exact flow (pixel units)", None),
        "sliced_wasserstein": ("sliced Wasserstein distance to the data (pixel units)", floor["sliced_wasserstein"]),
        "frechet": ("Frechet distance to the data (pixel units)", floor["frechet"]),
    }
    out: Pictures = {"work_precision": [], "samples": []}
    for process in dict.fromkeys(str(r["process"]) for r in records):
        for measure, (label, level) in measures.items():
            rows = [r for r in records if r["process"] == process]
            figure = _work_precision(rows, measure, label, level, f"Digits under {process}")
            caption = f"{process}: {label} over network evaluations, all schemes from the same initial noise."
            out["work_precision"].append(_save(output, figure, f"work_precision_{process}_{measure}", caption))
    for spec, budgets in images.items():
        grid = np.stack([shown[:SHOWN_IMAGES] for shown in budgets.values()])
        with figures.style():
            figure = figures.new_figure(7.0, 2.7)
            figures.image_grid(
                figure.subplots(),
                np.clip((grid + 1) / 2, 0, 1),
                row_labels=[f"{budget} NFE" for budget in budgets],
                title=f"{spec}: digits from the same noise",
            )
        caption = f"{spec}: the same initial noise at {', '.join(map(str, budgets))} network evaluations."
        out["samples"].append(_save(output, figure, f"samples_{spec.replace('/', '_')}", caption))
    return out


def work_precision_figure(members: Integrators, n: int) -> Figure:
    """Sliced Wasserstein distance of n sampled digits to the data over network evaluations."""
    import torch

    from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
    from torch_backend.digits_study import baseline, run

    made = _common_process(members)
    results = run(
        {spec: i.to_torch(dtype=torch.float64) for spec, i in members.items()},
        digits_networks([made]),
        {made.name: probability_flow_drift(made)},
        bandwidth=BANDWIDTH,
        seed=0,
        n=n,
        reference_count=2,
        progress=True,
    )
    floor = baseline(bandwidth=BANDWIDTH, n=n, seed=0)["sliced_wasserstein"]
    label = "sliced Wasserstein distance to the data (pixel units)"
    title = f"{n} digits under {made.name}, exact score"
    return _work_precision([r.record for r in results], "sliced_wasserstein", label, floor, title)


def sample_figure(images: np.ndarray, title: str) -> Figure:
    """Sampled digits (n, h, w) in [-1, 1] as a grid, eight to a row; white where the last row is not full."""
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    full = np.ones((rows * columns, *images.shape[1:]))
    full[: len(images)] = (images + 1) / 2
    with figures.style():
        figure = figures.new_figure(0.7 * columns + 0.4, 0.7 * rows + 0.6)
        figures.image_grid(figure.subplots(), full.reshape(rows, columns, *images.shape[1:]), title=title)
    return figure


def _work_precision(
    records: Sequence[Mapping[str, Any]], measure: str, label: str, floor: float | None, title: str
) -> Figure:
    rows = [r for r in records if r[measure] is not None]
    specs = list(dict.fromkeys(str(r["spec"]) for r in rows))
    evaluations = {s: [r["evaluations"] for r in rows if r["spec"] == s] for s in specs}
    errors = {s: [r[measure] for r in rows if r["spec"] == s] for s in specs}
    with figures.style():
        figure = figures.new_figure(8.0, 4.4)
        figures.work_precision(figure.subplots(), evaluations, errors, ylabel=label, floor=floor, title=title)
    return figure


def _by_process(integrators: Integrators) -> dict[str, dict[str, ia.Integrator]]:
    out: dict[str, dict[str, ia.Integrator]] = {}
    for spec, integrator in integrators.items():
        out.setdefault(integrator.process.name, {})[spec] = integrator
    return out


def _save(output: Path, figure: Any, name: str, caption: str) -> dict[str, str]:
    path = output / "figures" / f"{name}.png"
    figures.save(figure, path)
    return {"path": f"figures/{name}.png", "caption": caption, "alt": caption}


def _stability(output: Path, process: str, members: Integrators) -> dict[str, str]:
    caption = (
        f"{process}: spectral radius of one step from t = 0.5 t_max, over step size and minus the eigenvalue of the "
        "position score's Jacobian (1/variance of the data seen at that time); momentum at equilibrium."
    )
    return _save(output, stability_figure(members), f"stability_{process}", caption)


def _one_step_errors(
    output: Path, process: str, target: str, members: Integrators, certificates: Mapping[str, Certificate]
) -> list[dict[str, str]]:
    """Measured one-step errors of a block, or of the observable "f", with the derived leading term, if any."""
    evidence = {spec: certificates[spec].evidence.get(f"errors[{target}]") for spec in members}
    shown = {spec: e for spec, e in evidence.items() if e}
    if not shown:
        return []
    h = {spec: np.array(e["h"]) for spec, e in shown.items()}
    predicted = {
        spec: np.abs(e["constants_derived"]).max() * h[spec] ** members[spec].local_error.exponents[target]
        for spec, e in shown.items()
    }
    what = "weak error (no sampling)" if target == "f" else f"error in {target}"
    with figures.style():
        figure = figures.new_figure(8.0, 4.6)
        figures.convergence(
            figure.subplots(),
            h,
            {spec: np.array(e["largest_error"]) for spec, e in shown.items()},
            predicted=predicted,
            reference_slopes=(2, 3),
            title=f"One-step {what} on {process}: measured, and the derived leading term",
            ylabel="largest error of E cos(a.z + b)" if target == "f" else f"largest one-step error in {target}",
        )
    caption = (
        f"{process}: one-step {what} of the generated source on a Gaussian mixture (markers), and the derived constant "
        "times h^2 (dashed), largest of the states or observables measured."
    )
    return [_save(output, figure, f"one_step_error_{process}_{target}", caption)]


def convergence_figure(members: Integrators) -> Figure:
    """Position error at t_min from t_max on the mixture over the mean step of a quadratic grid, and its prediction.

    The generated source runs in float64 against scipy's DOP853; dashed is the derived global error. Raises InputError
    for a stochastic scheme, which has no trajectory, and for schemes on more than one process.
    """
    made = _deterministic(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, made.t_max, SEED)
    return _convergence(made, _measured(members, z), _predicted(members, z))


def global_error_figure(members: Integrators) -> Figure:
    """Above, the same errors over network evaluations with their derived asymptotes; below, where they are made.

    Predictor-correctors, whose global error is not derived, have no asymptote. Raises InputError as above.
    """
    made = _deterministic(members)
    z = MixtureProblem(made).sample(PREDICTED_POINTS, made.t_max, SEED)
    found = _global_errors(members, z)
    evaluations = {spec: np.array(GLOBAL_STEPS) * i.nfe_per_step for spec, i in members.items()}
    with figures.style():
        figure = figures.new_figure(8.0, 8.0 if found else 4.4)
        upper, *lower = np.atleast_1d(figure.subplots(1 + bool(found)))
        figures.work_precision(
            upper,
            evaluations,
            _measured(members, z),
            predicted={spec: _rms_of_prediction(error) for spec, error in found.items()},
            ylabel="RMS error of the position",
            title=f"A Gaussian mixture on {made.name}, quadratic grid: measured, and the derived asymptotes",
        )
        for ax in lower:
            times = np.geomspace(made.t_min, made.t_max, SOURCE_TIMES)
            figures.error_sources(
                ax,
                times,
                {spec: np.sqrt(np.mean(error.source(times)[..., 0] ** 2, axis=1)) for spec, error in found.items()},
                title="Where the position error is made: local error carried to the end, times n^order, RMS",
            )
    return figure


def heat_map_figure(members: Integrators) -> Figure:
    """One panel per scheme and block: the leading constant over time and lambda; over Gamma where there is no lambda.

    Root mean square over the law of z_t, by a few Gauss-Hermite nodes. Gamma varies with nu - Gamma fixed, which keeps
    critical damping. Raises InputError for a stochastic scheme and for one with neither parameter.
    """
    panels = [(spec, block) for spec, i in members.items() for block in i.program.blocks]
    maps = {spec: _constant_map(spec, integrator) for spec, integrator in members.items()}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with figures.style():
        figure = figures.new_figure(5.0 * columns, 3.8 * rows)
        axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for ax, (spec, block) in zip(axes, panels, strict=False):
            name, values, times, constants = maps[spec]
            power = members[spec].local_error.exponents[block]
            figures.constant_map(
                ax,
                values,
                times,
                constants[..., members[spec].program.blocks.index(block)],
                title=f"{spec}, block {block}",
                xlabel=name,
                label=f"|coefficient of h^{power} in {block}|, RMS",
            )
        for ax in axes[len(panels) :]:
            ax.remove()
    return figure


def constants_figure(members: Integrators) -> Figure:
    """One panel per block: the leading constants of several schemes over time, root mean square over draws of z_t."""
    made = _deterministic(members)
    times, values = _constants_by_time(made, members)
    with figures.style():
        figure = figures.new_figure(8.0, 3.8 * len(made.blocks))
        for b, (ax, block) in enumerate(
            zip(np.atleast_1d(figure.subplots(len(made.blocks))), made.blocks, strict=True)
        ):
            figures.constants_over_time(
                ax,
                times,
                {spec: found[:, b] for spec, found in values.items()},
                title=f"Leading constant of the one-step error in {block} on {made.name}",
                ylabel=f"|coefficient of h^(order + 1) in {block}|, RMS",
            )
    return figure


def _deterministic(members: Integrators) -> ia.Process:
    for spec, integrator in members.items():
        if integrator.stochastic:
            raise ia.InputError(f"{spec} is stochastic and has no trajectory error; plot deterministic schemes")
    return _common_process(members)


def _measured(members: Integrators, z: np.ndarray) -> dict[str, np.ndarray]:
    """RMS errors of the position at t_min after GLOBAL_STEPS steps from z at t_max, quadratic grid; NaN: diverged."""
    import torch

    from integrator_analysis.codegen import kernel_source
    from torch_backend.loop import time_grid
    from torch_backend.measurement import one_thread, trajectory
    from torch_backend.scores import MixtureScore
    from torch_backend.source import module_from_source

    made = _common_process(members)
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
                    end = trajectory(module, network, z, times)
                    errors[spec][j] = np.sqrt(np.mean((end - exact)[:, 0] ** 2))
    return errors


def _global_errors(members: Integrators, z: np.ndarray) -> dict[str, GlobalError]:
    """The derived global errors on the quadratic grid, of those schemes for which there is one."""
    found = {}
    for spec, integrator in members.items():
        with suppress(ia.InputError):
            found[spec] = integrator.global_error(MixtureProblem(integrator.process), z, "quadratic")
    return found


def _rms_of_prediction(error: GlobalError) -> np.ndarray:
    return np.array([np.sqrt(np.mean(error.predicted(n)[:, 0] ** 2)) for n in GLOBAL_STEPS])


def _predicted(members: Integrators, z: np.ndarray) -> dict[str, np.ndarray]:
    return {spec: _rms_of_prediction(error) for spec, error in _global_errors(members, z).items()}


def _convergence(made: ia.Process, errors: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray]) -> Figure:
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


def _constant_map(spec: str, integrator: ia.Integrator) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The parameter's name, its values (n), times (m) and constants (m, n, blocks)."""
    if integrator.stochastic:
        raise ia.InputError(f"{spec} is stochastic; the heat map shows constants of deterministic schemes")
    names = {p.name: p for p in integrator.program.parameters}
    if "lambda" in names:
        name, values = "lambda", np.array(LAMBDAS)
        family = [_with_lambda(integrator.local_error, names["lambda"], v) for v in values]
    elif {"Gamma", "nu"} <= set(names):
        name, values = "Gamma", np.array(GAMMAS)
        apart = float(integrator.process.parameters[names["nu"]] - integrator.process.parameters[names["Gamma"]])
        family = [ia.derive(spec, Gamma=g, nu=g + apart).local_error for g in values]
    else:
        raise ia.InputError(
            f"{spec} has no parameter lambda or Gamma to draw over; try a lambda-DDIM or a scheme on psld"
        )
    times = np.array(MAP_TIMES) * integrator.process.t_max
    columns = []
    for error in family:
        problem = MixtureProblem(error.program.process)
        laws = [problem.nodes(x, MAP_NODES, MAP_TOLERANCE) for x in times]
        columns.append(np.sqrt(_mean_squares(error, problem, times, laws)))
    return name, values, times, np.stack(columns, axis=1)


def _with_lambda(error: LocalError, symbol: sympy.Symbol, value: float) -> LocalError:
    """The same terms with another number for lambda: the terms keep it as a symbol."""
    parameters = {**error.program.parameters, symbol: sympy.Rational(value)}
    return replace(error, program=replace(error.program, parameters=parameters))


def _common_process(members: Integrators) -> ia.Process:
    first, *others = (i.process for i in members.values())
    for other in others:
        facts = ((p.name, p.parameters, p.t_max, p.t_min) for p in (first, other))
        if next(facts) != next(facts):
            raise ia.InputError(
                f"{', '.join(members)} run on different processes or parameters; give schemes on one process"
            )
    return first


def _global(output: Path, process: str, members: Integrators) -> dict[str, str]:
    caption = (
        f"{process}: error at the end of a whole trajectory, {GLOBAL_STEPS[0]} to {GLOBAL_STEPS[-1]} steps, against "
        "scipy's DOP853; dotted lines have the slopes 1 and 2."
    )
    made = _common_process(members)
    z = MixtureProblem(made).sample(GLOBAL_POINTS, made.t_max, SEED)
    return _save(output, _convergence(made, _measured(members, z), {}), f"global_error_{process}", caption)


def _constants(
    output: Path, process: str, members: Integrators, certificates: Mapping[str, Certificate]
) -> dict[str, str]:
    blocks = next(iter(members.values())).program.blocks
    values = {
        block: [
            np.abs(certificates[spec].evidence.get(f"errors[{block}]", {}).get("constants_derived", [np.nan])).max()
            for spec in members
        ]
        for block in blocks
    }
    with figures.style():
        figure = figures.new_figure(7.5, 0.5 + 0.45 * len(members))
        figures.error_constants(
            figure.subplots(), list(members), values, title=f"Leading local error constants on {process}"
        )
    caption = f"{process}: the derived coefficient of h^2, largest of eight states of the mixture, at {TIMES} of t_max."
    return _save(output, figure, f"error_constants_{process}", caption)


def _constants_over_time(output: Path, process: str, members: Integrators) -> list[dict[str, str]]:
    """Root mean square of the derived constants over draws of z_t, as the sampler walks from prior to data."""
    made = next(iter(members.values())).process
    times, found = _constants_by_time(made, members)
    out = []
    for b, block in enumerate(made.blocks):
        with figures.style():
            figure = figures.new_figure(8.0, 4.4)
            figures.constants_over_time(
                figure.subplots(),
                times,
                {spec: values[:, b] for spec, values in found.items()},
                title=f"Leading constant of the one-step error in {block} on {process}",
                ylabel=f"|coefficient of h^(order + 1) in {block}|, RMS over z_t",
            )
        caption = (
            f"{process}, block {block}: the derived coefficient of h^(order + 1) over diffusion time, root mean square "
            f"of {CONSTANT_POINTS} draws of z_t from the mixture. Among schemes of one order, this is what ranks them."
        )
        out.append(_save(output, figure, f"constants_over_time_{process}_{block}", caption))
    return out


def _constants_by_time(made: ia.Process, members: Integrators) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times (m), and per scheme the root mean squares (m, blocks) of the leading constants there."""
    problem, times = MixtureProblem(made), np.array(CONSTANT_TIMES) * made.t_max
    laws = [(problem.sample(CONSTANT_POINTS, x, SEED), np.full(CONSTANT_POINTS, 1 / CONSTANT_POINTS)) for x in times]
    return times, {spec: np.sqrt(_mean_squares(i.local_error, problem, times, laws)) for spec, i in members.items()}


def _mean_squares(
    error: LocalError, problem: MixtureProblem, times: np.ndarray, laws: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Means (m, blocks) of the squared leading constants over states with weights, one set for each time."""
    field, blocks = problem.field(error.program.unknown), error.program.blocks

    def squares(z: np.ndarray, time: float) -> list[float]:
        values = error.evaluate(list(z), float(time), field, digits=CONSTANT_DIGITS)
        return [values[block] ** 2 for block in blocks]

    return np.array(
        [w @ np.array([squares(z, time) for z in states]) for time, (states, w) in zip(times, laws, strict=True)]
    )


@dataclass(frozen=True)
class Options:
    """What the pictures of the command line can be told: digits per scheme, and the steps of a named time grid."""

    samples: int = 128
    steps: int = 25
    grid: str = "quadratic"


KINDS: Mapping[str, Callable[[Integrators, Options], Figure]] = {
    "stability": lambda members, _: stability_figure(members),
    "region": lambda members, _: region_figure(members),
    "order-star": lambda members, _: order_star_figure(members),
    "dispersion": lambda members, _: dispersion_figure(members),
    "growth": lambda members, _: growth_figure(members),
    "evaluations": lambda members, options: evaluations_figure(members, options.grid),
    "spectrum": lambda members, options: spectrum_figure(members, options.steps, options.grid),
    "convergence": lambda members, _: convergence_figure(members),
    "constants": lambda members, _: constants_figure(members),
    "global-error": lambda members, _: global_error_figure(members),
    "heat-map": lambda members, _: heat_map_figure(members),
    "work-precision": lambda members, options: work_precision_figure(members, options.samples),
}
"""The pictures that the command line can draw, by name. A new one is one line here."""
