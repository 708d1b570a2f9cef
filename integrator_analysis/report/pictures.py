"""The report's pictures: which figure shows which numbers. Drawing itself is in integrator_analysis.figures.

Knows integrators, certificates and study records; returns for each section a list of {path, caption, alt}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import integrator_analysis as ia
from integrator_analysis import figures
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
    "convergence_figure",
    "draw_analysis",
    "draw_digits",
    "sample_figure",
    "work_precision_figure",
]

Pictures = dict[str, list[dict[str, str]]]
Integrators = Mapping[str, ia.Integrator]

GLOBAL_STEPS = tuple(2**k for k in range(4, 11))
GLOBAL_POINTS = 16
CONSTANT_TIMES = tuple(float(v) for v in np.linspace(0.05, 0.95, 9))
CONSTANT_POINTS = 5
CONSTANT_DIGITS = 20
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
    """Position error at t_min from t_max on the one-dimensional mixture, over the mean step of a quadratic grid.

    The generated source runs in float64 against scipy's DOP853. Raises InputError for a stochastic scheme, which has
    no trajectory, and for schemes on more than one process.
    """
    import torch

    from integrator_analysis.codegen import kernel_source
    from torch_backend.loop import time_grid
    from torch_backend.measurement import one_thread, trajectory
    from torch_backend.scores import MixtureScore
    from torch_backend.source import module_from_source

    made = _common_process(members)
    for spec, integrator in members.items():
        if integrator.stochastic:
            raise ia.InputError(f"{spec} is stochastic and has no trajectory error; plot deterministic schemes")
    problem = MixtureProblem(made)
    z = problem.sample(GLOBAL_POINTS, made.t_max, SEED)
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
    with figures.style():
        figure = figures.new_figure(8.0, 4.6)
        figures.convergence(
            figure.subplots(),
            [(made.t_max - made.t_min) / n for n in GLOBAL_STEPS],
            errors,
            reference_slopes=(1, 2),
            title=f"Global error on {made.name}: a Gaussian mixture from t = {made.t_max:g} to {made.t_min:g}",
            xlabel="mean step size (forward diffusion time), quadratic grid",
            ylabel="RMS error of the position",
        )
    return figure


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
    return _save(output, convergence_figure(members), f"global_error_{process}", caption)


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
    problem = MixtureProblem(made)
    times = np.array(CONSTANT_TIMES) * made.t_max
    states = [problem.sample(CONSTANT_POINTS, time, SEED) for time in times]
    squares = {
        spec: np.array(
            [
                np.mean([_squared_constants(integrator, problem, z, time) for z in drawn], axis=0)
                for time, drawn in zip(times, states, strict=True)
            ]
        )
        for spec, integrator in members.items()
    }
    out = []
    for b, block in enumerate(made.blocks):
        with figures.style():
            figure = figures.new_figure(8.0, 4.4)
            figures.constants_over_time(
                figure.subplots(),
                times,
                {spec: np.sqrt(values[:, b]) for spec, values in squares.items()},
                title=f"Leading constant of the one-step error in {block} on {process}",
                ylabel=f"|coefficient of h² in {block}|, RMS over z_t",
            )
        caption = (
            f"{process}, block {block}: the derived coefficient of h^2 over diffusion time, root mean square of "
            f"{CONSTANT_POINTS} draws of z_t from the mixture. All schemes have order 1; this is what ranks them."
        )
        out.append(_save(output, figure, f"constants_over_time_{process}_{block}", caption))
    return out


def _squared_constants(integrator: ia.Integrator, problem: MixtureProblem, z: np.ndarray, time: float) -> np.ndarray:
    field = problem.field(integrator.program.unknown)
    values = integrator.local_error.evaluate(list(z), float(time), field, digits=CONSTANT_DIGITS)
    return np.array([values[block] ** 2 for block in integrator.program.blocks])


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
    "work-precision": lambda members, options: work_precision_figure(members, options.samples),
}
"""The pictures that the command line can draw, by name. A new one is one line here."""
