"""The pictures of the report's analysis: stability, convergence and constants, one of each per process.

Knows which figure shows which numbers, and its caption; drawing itself is in integrator_analysis.figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from integrator_analysis import figures
from integrator_analysis.report.pictures.constants import (
    constants_over_time_pictures,
    constants_pictures,
)
from integrator_analysis.report.pictures.frame import Integrators, Pictures, members_by_process, save_picture
from integrator_analysis.report.pictures.global_error import (
    global_error_picture,
)
from integrator_analysis.report.pictures.stability import (
    stability_figure,
)
from integrator_analysis.verification.certificate import Certificate

__all__ = ["draw_analysis"]


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
