"""Figures of growth and of oscillation: transient growth, phase and amplitude per step, smallest stable evaluations.

Knows heat maps and curves. Does not know how the numbers were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from integrator_analysis.figures.data import Array, abscissae, curves, drawable, line, surface
from integrator_analysis.figures.style import BLACK, GREY, legend, line_styles

LARGEST = 100.0


def transient_growth(
    ax: Axes,
    steps: ArrayLike,
    eigenvalues: ArrayLike,
    peaks: ArrayLike,
    *,
    title: str = "Transient growth",
    xlabel: str = "step size h (forward diffusion time)",
    ylabel: str = "minus eigenvalue of the score's Jacobian",
) -> Axes:
    """A heat map of the largest norm of the state over all numbers of steps, from 1 (none) to 100; grey: unstable.

    ``steps`` (n,) and ``eigenvalues`` (m,) are positive and increase; ``peaks`` (m, n) may be infinite. Raises
    ValueError if the shapes do not fit.
    """
    name = "transient_growth"
    steps, eigenvalues = line(name, "steps", steps), line(name, "eigenvalues", eigenvalues)
    values = surface(name, "peaks", peaks, ("eigenvalues", eigenvalues), ("steps", steps))
    shown = np.ma.masked_invalid(np.clip(np.where(np.isfinite(values), values, np.nan), 1, LARGEST))
    ax.set_facecolor("#c8c8c8")
    mesh = ax.pcolormesh(
        _edges(steps), _edges(eigenvalues), shown, cmap="YlOrRd", norm=LogNorm(1, LARGEST), rasterized=True
    )
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    bar = ax.figure.colorbar(mesh, ax=ax, extend="max", label="largest norm of the state (grey: unstable)")
    bar.set_ticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    bar.ax.minorticks_off()
    ax.grid(False)
    return ax


def phase_errors(
    ax: Axes,
    theta: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    *,
    title: str = "Dispersion: phase error per step",
    xlabel: str = "hω",
    ylabel: str = "|phase, numerical less exact| (radians)",
) -> Axes:
    """The size of the phase error per step of an oscillator over h omega, both logarithmic, one curve per scheme.

    ``theta`` (n,) is common to all, or one array per label. Zeros are gaps. Raises ValueError if shapes do not fit.
    """
    return _over_theta(
        ax, "phase_errors", theta, {k: np.abs(np.asarray(v)) for k, v in errors.items()}, title, xlabel, ylabel
    )


def amplitude_errors(
    ax: Axes,
    theta: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    *,
    title: str = "Amplitude error per step (hollow: growth)",
    xlabel: str = "hω",
    ylabel: str = "| |R| / |exact| - 1 |",
) -> Axes:
    """The size of the amplitude error per step of an oscillator over h omega: filled markers damp, hollow ones grow.

    ``theta`` (n,) is common to all, or one array per label. A scheme that keeps the amplitude to 1e-13 is named in the
    legend and not drawn. Raises ValueError if shapes do not fit.
    """
    return _over_theta(ax, "amplitude_errors", theta, errors, title, xlabel, ylabel)


EXACT = 1e-13
"""Errors below this are rounding."""


def _over_theta(
    ax: Axes,
    name: str,
    theta: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    title: str,
    xlabel: str,
    ylabel: str,
) -> Axes:
    x = abscissae(name, "theta", theta, errors)
    y = curves(name, "errors", errors, x)
    for label, one in line_styles(y).items():
        size = np.where(np.abs(y[label]) > EXACT, np.abs(y[label]), np.nan)
        words = label if np.isfinite(size).any() else f"{label} (none)"
        ax.plot(x[label], size, color=one.color, linestyle=one.dashes, linewidth=1.1)
        every = np.zeros(size.shape, dtype=bool)
        every[:: max(1, size.size // 9)] = True
        for signed, face in ((y[label] < 0, one.color), (y[label] >= 0, "white")):
            picked = every & signed
            ax.plot(
                x[label][picked],
                size[picked],
                color=one.color,
                linestyle="none",
                marker=one.marker,
                markerfacecolor=face,
            )
        look: dict[str, Any] = {"color": one.color, "marker": one.marker, "linestyle": one.dashes}
        ax.plot([], [], label=words, **look)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    legend(ax)
    return ax


def stable_evaluations(
    ax: Axes,
    deviations: ArrayLike,
    evaluations: Mapping[str, ArrayLike],
    *,
    most: float | None = None,
    title: str = "Smallest stable number of network evaluations",
    xlabel: str = "standard deviation of the data in one direction",
    ylabel: str = "network evaluations",
) -> Axes:
    """The smallest stable number of evaluations over the data's standard deviation, one curve per scheme.

    ``deviations`` (n,) is positive; entries that are not finite (none was found) are gaps, and ``most``, if given, is
    the largest number tried. Raises ValueError if shapes do not fit.
    """
    x = abscissae("stable_evaluations", "deviations", deviations, evaluations)
    y = curves("stable_evaluations", "evaluations", evaluations, x)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        words = label if np.isfinite(y[label]).all() else f"{label} (gap: more than tried)"
        look: dict[str, Any] = {"color": one.color, "marker": one.marker, "linestyle": one.dashes}
        ax.plot(x[label], drawable(y[label]), label=words, markerfacecolor="none", **look)
    if most is not None:
        ax.axhline(most, color=GREY, linestyle=(0, (2, 2)), linewidth=1.0, label="most steps tried")
    ax.axhline(1, color=BLACK, linewidth=0.6)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    legend(ax)
    return ax


def _edges(values: Array) -> Array:
    """Edges of cells about positive values, halfway in the logarithm."""
    if values.size == 1:
        return np.array([values[0] / 1.1, values[0] * 1.1])
    middle = np.sqrt(values[1:] * values[:-1])
    return np.concatenate([[values[0] ** 2 / middle[0]], middle, [values[-1] ** 2 / middle[-1]]])
