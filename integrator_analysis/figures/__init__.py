"""Figures: one function per figure, each drawing plain numpy data into an Axes that it is given, and returning it.

Knows matplotlib and numpy. Does not know symbols, tensors, schemes or where the numbers came from, and never touches
pyplot's global state: figures come from ``new_figure`` and are written by ``save``, on machines without a display too.
"""

from integrator_analysis.figures.errors import (
    constant_map,
    constants_over_time,
    convergence,
    error_constants,
    error_densities,
    work_precision,
)
from integrator_analysis.figures.growth import amplitude_errors, phase_errors, stable_evaluations, transient_growth
from integrator_analysis.figures.plane import order_star, spectrum_over_region, stability_regions
from integrator_analysis.figures.samples import image_grid
from integrator_analysis.figures.stability import spectral_radius_curves, stability_interval, stability_region
from integrator_analysis.figures.style import LineStyle, family, line_styles, new_figure, save, style

__all__ = [
    "LineStyle",
    "amplitude_errors",
    "constant_map",
    "constants_over_time",
    "convergence",
    "error_constants",
    "error_densities",
    "family",
    "image_grid",
    "line_styles",
    "new_figure",
    "order_star",
    "phase_errors",
    "save",
    "spectral_radius_curves",
    "spectrum_over_region",
    "stability_interval",
    "stability_region",
    "stability_regions",
    "stable_evaluations",
    "style",
    "transient_growth",
    "work_precision",
]
