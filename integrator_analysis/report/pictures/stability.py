"""Pictures of stability: which figure shows which numbers of ``Integrator.stability``. Definitions: docs/stability.md.

Knows integrators and, for the spectrum of a network, the digits; drawing itself is in integrator_analysis.figures.
Every function takes the integrators by label and returns a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import integrator_analysis as ia
from integrator_analysis import figures
from integrator_analysis.inputs import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "dispersion_figure",
    "evaluations_figure",
    "growth_figure",
    "order_star_figure",
    "region_figure",
    "spectrum_figure",
    "stability_figure",
]

Integrators = Mapping[str, ia.Integrator]

POINTS = 28
"""Of a heat map, in each direction."""
RINGS, ANGLES = 110, 361
"""Of the polar grid over the upper half of the plane of h lambda. A ring costs one evaluation of coefficients on two
blocks, an angle next to nothing; regions of damped oscillators have tails that half a degree resolves."""
FARTHEST = 5.0
"""Where order stars end: the exact factor beyond is e^5, and no explicit scheme has to do with it."""
COLUMNS = 3
DEVIATIONS = np.geomspace(0.003, 3, 13)
MOST_STEPS = 256
SAMPLES, EIGENVALUES, ACCURACY = 2, 8, 1e-2
"""Of a spectrum: states of the trajectory, eigenvalues of each at every step, and how well a dot has to be known."""


def panels(
    members: Integrators, width: float, height: float, draw: Callable[[Axes, str, ia.Integrator], object]
) -> Figure:
    """One panel per scheme, ``draw(ax, spec, integrator)`` in each."""
    columns = min(COLUMNS, len(members))
    rows = -(-len(members) // columns)
    with figures.style():
        figure = figures.new_figure(width * columns, height * rows)
        axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for ax, (spec, integrator) in zip(axes, members.items(), strict=False):
            draw(ax, spec, integrator)
        for ax in axes[len(members) :]:
            ax.remove()
    return figure


def stability_figure(members: Integrators) -> Figure:
    """One panel per scheme: the spectral radius of a step from half of t_max over step size and curvature."""

    def draw(ax: Axes, spec: str, integrator: ia.Integrator) -> None:
        integrator.stability.plot(ax, t=0.5 * integrator.process.t_max, points=POINTS, title=spec)

    return panels(members, 4.0, 3.1, draw)


def growth_figure(members: Integrators) -> Figure:
    """One panel per scheme: the transient growth of repeated steps from half of t_max over step size and curvature."""

    def draw(ax: Axes, spec: str, integrator: ia.Integrator) -> None:
        start = 0.5 * integrator.process.t_max
        h, curvature = np.geomspace(2e-3 * start, 0.99 * start, POINTS), np.geomspace(0.1, 1e3, POINTS)
        peaks = integrator.stability.peaks(h, -curvature, start)
        figures.transient_growth(ax, h, curvature, peaks, title=spec)

    return panels(members, 4.2, 3.2, draw)


def region_figure(members: Integrators) -> Figure:
    """The regions of stability of all schemes in the plane of h lambda, in one axes that holds them all."""
    regions = {}
    for spec, integrator in members.items():
        mu = _polar_grid(integrator)
        regions[spec] = (mu.real, mu.imag, _mirror_upper_half(integrator.stability.at, mu))
    with figures.style():
        figure = figures.new_figure(7.2, 5.0)
        words = {
            1: "z' = λ z in the limit of short steps",
            2: "damped oscillator of the process's frequency, step from t_max",
        }
        kinds = {len(i.program.blocks) for i in members.values()}
        title = "Regions of stability: " + "; ".join(words[k] for k in sorted(kinds))
        figures.stability_regions(figure.subplots(), regions, title=title)
    return figure


def order_star_figure(members: Integrators) -> Figure:
    """One panel per scheme: its order star."""

    def draw(ax: Axes, spec: str, integrator: ia.Integrator) -> None:
        mu = _polar_grid(integrator, FARTHEST)
        figures.order_star(ax, (mu.real, mu.imag, _mirror_upper_half(integrator.stability.order_star, mu)), title=spec)

    return panels(members, 4.4, 3.6, draw)


def dispersion_figure(members: Integrators) -> Figure:
    """Phase and amplitude error per step on the undamped oscillator, over h omega."""
    found = {}
    for spec, integrator in members.items():
        theta = np.geomspace(0.05, 3.0, 60)
        if len(integrator.program.blocks) == 2:
            theta = theta[theta < 0.99 * integrator.stability.farthest()]
        found[spec] = integrator.stability.oscillation(theta)
    theta_of = {spec: f.theta for spec, f in found.items()}
    with figures.style():
        figure = figures.new_figure(10.0, 4.2)
        left, right = figure.subplots(1, 2)
        figures.phase_errors(left, theta_of, {spec: f.phase_error for spec, f in found.items()})
        left.get_legend().remove()  # that of the right axes serves both
        figures.amplitude_errors(right, theta_of, {spec: f.amplitude_error for spec, f in found.items()})
    return figure


def evaluations_figure(members: Integrators, grid: str | None = None) -> Figure:
    """The smallest stable number of evaluations on a named grid, over the standard deviation of Gaussian data.

    Steps go down to t_min; ``grid`` is each scheme's own default if None.
    """
    counts, grids = {}, {}
    for spec, integrator in members.items():
        grids[spec], times = grid_of(integrator, grid)
        last = _last_finite_score(integrator)

        def below(n: int, times: Callable[[int], list[float]] = times, last: float = last) -> list[float]:
            first, *others = times(n)
            return [min(first, last), *others]

        found = integrator.stability.stable_evaluations(DEVIATIONS**2, below, most=MOST_STEPS)
        counts[spec] = [np.nan if n is None else n for n in found]
    with figures.style():
        figure = figures.new_figure(8.0, 4.4)
        title = f"Evaluations down to t_min from which on samples are at most twice too wide ({name_grids(grids)})"
        figures.stable_evaluations(figure.subplots(), DEVIATIONS, counts, title=title)
    return figure


def spectrum_figure(members: Integrators, steps: int = 25, grid: str | None = None) -> Figure:
    """One panel per scheme: h times the eigenvalues of the digits' flow along its own trajectory, over its region."""
    import torch

    from integrator_analysis.report.digits import digits_networks
    from torch_backend.measuring.spectrum import along_trajectory

    def draw(ax: Axes, spec: str, integrator: ia.Integrator) -> None:
        region = _polar_grid(integrator)
        radius = _mirror_upper_half(integrator.stability.at, region)
        network = digits_networks([integrator.process])[integrator.process.name]
        sampler = integrator.to_torch(dtype=torch.float64)
        name, grid_times = grid_of(integrator, grid)
        times = grid_times(steps)
        z = sampler.prior(SAMPLES, (1, 8, 8), seed=0)
        field = _probability_flow(integrator, network)
        spectra = along_trajectory(sampler, network, z, times, EIGENVALUES, seed=0, field=field, tolerance=ACCURACY)
        h = -np.diff(times)
        points = np.array([-step * s.values.numpy() for step, s in zip(h, spectra, strict=True)])
        when = np.broadcast_to(np.array(times[:-1])[:, None, None], points.shape)
        title = f"{spec}, {steps} steps ({name} grid)"
        figures.spectrum_over_region(ax, (region.real, region.imag, radius), points, when, title=title)

    return panels(members, 5.0, 3.8, draw)


def _probability_flow(
    integrator: ia.Integrator, network: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The probability-flow ODE's right-hand side in forward time: L z + eta eps, or the velocity itself."""
    import torch

    if integrator.process.network == "velocity":
        return network
    frozen, k = integrator.stability.frozen, len(integrator.process.blocks)

    def field(z: Tensor, t: Tensor) -> Tensor:
        drift, eta = (torch.from_numpy(m).to(z) for m in frozen.field(float(t[0])))
        shape = (len(z), k, -1)
        return (drift @ z.reshape(shape) + eta @ network(z, t).reshape(shape)).reshape(z.shape)

    return field


def grid_of(integrator: ia.Integrator, grid: str | None) -> tuple[str, Callable[[int], list[float]]]:
    """The name of a grid, the scheme's own for None, and n -> its n + 1 times down to t_min, as a sampler makes them.

    Raises InputError for an unknown name.
    """
    from torch_backend.walk.grids import GRIDS

    if grid is not None and grid not in GRIDS:
        raise did_you_mean(grid, GRIDS, "grid")
    sampler = integrator.to_torch()
    return grid or sampler.grid, lambda n: sampler.times(n, grid, end_at_zero=False)


def _last_finite_score(integrator: ia.Integrator) -> float:
    """The latest time at which the exact velocity can be had from the score; t_max for networks of eps.

    The velocity of Gaussian data is finite at t = 1 of rectified flow; drift and score, whose sum it is, are not.
    """
    from torch_backend.walk.grids import START

    process = integrator.process
    return process.t_max if process.network == "eps" else START * process.t_max


def name_grids(grids: Mapping[str, str]) -> str:
    """The grids of schemes in words: one name where all share it, else each scheme's, or of many schemes all names.

    >>> name_grids({"vp/DDIM": "log-SNR", "vp/Euler": "log-SNR"}), name_grids({"vp/DDIM": "log-SNR", "ve/DDIM": "EDM"})
    ('log-SNR grid', 'grids: vp/DDIM log-SNR, ve/DDIM EDM')
    """
    names = list(dict.fromkeys(grids.values()))
    if len(names) == 1:
        return f"{names[0]} grid"
    if len(grids) > 3:  # a title has one line
        return "each scheme's own grid: " + " or ".join(names)
    return "grids: " + ", ".join(f"{spec} {grid}" for spec, grid in grids.items())


def _polar_grid(integrator: ia.Integrator, most: float = np.inf) -> np.ndarray:
    """Points on rings about 0, complex (RINGS, 2 ANGLES - 1), that cover the region's box, or end at ``most``."""
    left, right, _, top = integrator.stability.bounds()
    farthest = min(max(abs(complex(left, top)), abs(complex(right, top))), most)
    if len(integrator.program.blocks) == 2:
        farthest = min(farthest, 0.999 * integrator.stability.farthest())
    angles = np.linspace(-np.pi, np.pi, 2 * ANGLES - 1)
    return np.linspace(farthest / RINGS, farthest, RINGS)[:, None] * np.exp(1j * angles)


def _mirror_upper_half(values: Callable[[np.ndarray], np.ndarray], mu: np.ndarray) -> np.ndarray:
    """A function that is symmetric in the real axis, evaluated on the upper half of ``_polar_grid``'s points."""
    upper = values(mu[:, ANGLES - 1 :])
    return np.concatenate([upper[:, :0:-1], upper], axis=1)
