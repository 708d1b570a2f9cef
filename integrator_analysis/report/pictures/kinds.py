"""The report's pictures: which figure shows which numbers. Drawing itself is in integrator_analysis.figures.

Knows integrators, certificates and study records; returns for each section a list of {path, caption, alt}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from integrator_analysis import figures
from integrator_analysis.report.pictures.constants import (
    constants_figure,
    constants_over_time_pictures,
    constants_pictures,
    heat_map_figure,
)
from integrator_analysis.report.pictures.digits import work_precision_figure
from integrator_analysis.report.pictures.frame import Integrators, Pictures, members_by_process, save_picture
from integrator_analysis.report.pictures.global_error import (
    convergence_figure,
    global_error_figure,
    global_error_picture,
)
from integrator_analysis.report.pictures.stability import (
    dispersion_figure,
    evaluations_figure,
    growth_figure,
    order_star_figure,
    region_figure,
    spectrum_figure,
    stability_figure,
)
from integrator_analysis.verification.certificate import Certificate

__all__ = ["KINDS", "Options", "draw_analysis"]


def draw_analysis(output: Path, integrators: Integrators, certificates: Mapping[str, Certificate]) -> Pictures:
    """Stability regions, local and global convergence, leading constants: one picture of each per process."""
    out: Pictures = {"stability": [], "convergence": [], "error_constants": []}
    for process, members in members_by_process(integrators).items():
        out["stability"].append(_stability(output, process, members))
        deterministic = {spec: i for spec, i in members.items() if not i.stochastic}
        for target in (*next(iter(members.values())).program.blocks, "f"):
            out["convergence"] += _one_step_errors(output, process, target, members, certificates)
        if deterministic:
            out["convergence"].append(global_error_picture(output, process, deterministic))
            out["error_constants"].append(constants_pictures(output, process, deterministic, certificates))
            out["error_constants"] += constants_over_time_pictures(output, process, deterministic)
    return out


def _stability(output: Path, process: str, members: Integrators) -> dict[str, str]:
    caption = (
        f"{process}: spectral radius of one step from t = 0.5 t_max, over step size and minus the eigenvalue of the "
        "position score's Jacobian (1/variance of the data seen at that time); momentum at equilibrium."
    )
    return save_picture(output, stability_figure(members), f"stability_{process}", caption)


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
    return [save_picture(output, figure, f"one_step_error_{process}_{target}", caption)]


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
