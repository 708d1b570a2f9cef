"""Pictures of sampled digits: error over evaluations, and the samples themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from integrator_analysis import figures
from integrator_analysis.inputs import did_you_mean
from integrator_analysis.report.pictures.frame import Integrators, Pictures, common_process, save_picture
from integrator_analysis.report.pictures.stability import name_grids

__all__ = ["draw_digits", "sample_figure", "work_precision_figure"]

SHOWN_IMAGES = 12


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
            grids = name_grids({str(r["spec"]): str(r["grid"]) for r in rows})
            figure = _draw_work_precision(rows, measure, label, level, f"Digits under {process}, {grids}")
            caption = f"{process}: {label} over network evaluations, all schemes from the same initial noise."
            out["work_precision"].append(save_picture(output, figure, f"work_precision_{process}_{measure}", caption))
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
        out["samples"].append(save_picture(output, figure, f"samples_{spec.replace('/', '_')}", caption))
    return out


def work_precision_figure(members: Integrators, samples: int = 128, grid: str | None = None) -> Figure:
    """Sliced Wasserstein distance of ``samples`` sampled digits to the data over network evaluations.

    ``grid``: the named grid of times, None for the process's own. Raises InputError for an unknown name.
    """
    import torch

    from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
    from torch_backend.measuring.digits_study import baseline, run
    from torch_backend.walk.grids import GRIDS

    made = common_process(members)
    if grid is not None and grid not in GRIDS:
        raise did_you_mean(grid, GRIDS, "grid")
    records = []
    for result in run(
        {spec: i.to_torch(dtype=torch.float64) for spec, i in members.items()},
        digits_networks([made]),
        {made.name: probability_flow_drift(made)},
        bandwidth=BANDWIDTH,
        seed=0,
        n=samples,
        reference_count=2,
        grid=grid,
        progress=True,
    ):
        records.append(result.record)
    floor = baseline(bandwidth=BANDWIDTH, n=samples, seed=0)["sliced_wasserstein"]
    label = "sliced Wasserstein distance to the data (pixel units)"
    grids = name_grids({record["spec"]: record["grid"] for record in records})
    title = f"{samples} digits under {made.name}, exact score, {grids}"
    return _draw_work_precision(records, "sliced_wasserstein", label, floor, title)


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


def _draw_work_precision(
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
