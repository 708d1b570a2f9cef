"""Figures of linear stability: the spectral radius of one step's amplification matrix.

Knows contours and heat maps. Does not know how the radius was found. A radius of at most 1 is stable; infinite and
undefined radii are drawn as unstable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from numpy.typing import ArrayLike

from integrator_analysis.figures.data import Array, abscissae, curves, drawable, line, surface
from integrator_analysis.figures.style import BLACK, BLUE, GREY, legend, line_styles

# Radii above this are drawn alike: the contour at 1 is what matters, and contouring needs finite numbers.
LARGEST = 10.0


def stability_region(
    ax: Axes,
    re: ArrayLike,
    im: ArrayLike,
    radius: ArrayLike,
    *,
    title: str,
    xlabel: str = "Re(h × eigenvalue)",
    ylabel: str = "Im(h × eigenvalue)",
    levels: Sequence[float] = (0.5, 0.7, 0.9),
    colorbar: bool = False,
) -> Axes:
    """The set where the spectral radius is at most 1, shaded by the radius, with its edge and faint inner contours.

    ``re`` (n,) and ``im`` (m,) are the axes of the plane, ``radius`` (m, n) the spectral radius.
    Raises ValueError if the shapes do not fit.
    """
    re, im = line("stability_region", "re", re), line("stability_region", "im", im)
    values = np.minimum(surface("stability_region", "radius", radius, ("im", im), ("re", re)), LARGEST)
    ax.set_facecolor("white")
    if values.min() < 1:
        shades = np.linspace(0, 1, 11)
        filled = ax.contourf(re, im, values, levels=shades, cmap="Blues_r", alpha=0.75, zorder=0.5)
        if colorbar:
            bar = ax.figure.colorbar(filled, ax=ax, label="spectral radius of one step")
            bar.set_ticks(np.linspace(0, 1, 6).tolist())
    _contours(ax, re, im, values, [level for level in levels if level != 1])
    _edge(ax, re, im, values)
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.axvline(0, color=GREY, linewidth=0.6)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(re.min(), re.max()), ylim=(im.min(), im.max()))
    return ax


def stability_interval(
    ax: Axes,
    steps: ArrayLike,
    eigenvalues: ArrayLike,
    radius: ArrayLike,
    *,
    title: str = "Stability over step size and eigenvalue",
    xlabel: str = "step size h (forward diffusion time)",
    ylabel: str = "real eigenvalue of the Jacobian of eps",
) -> Axes:
    """A heat map of the spectral radius over step size and a real eigenvalue, with the edge where it equals 1.

    ``steps`` (n,) and ``eigenvalues`` (m,) increase; ``radius`` has shape (m, n). Radii above 2 share one colour. An
    axis whose values are all positive is logarithmic. Raises ValueError if the shapes do not fit.
    """
    name = "stability_interval"
    steps, eigenvalues = line(name, "steps", steps), line(name, "eigenvalues", eigenvalues)
    values = np.minimum(surface(name, "radius", radius, ("eigenvalues", eigenvalues), ("steps", steps)), LARGEST)
    norm = TwoSlopeNorm(1, vmin=0, vmax=2)
    mesh = ax.pcolormesh(
        steps,
        eigenvalues,
        values,
        cmap="PuOr_r",
        norm=norm,
        shading="gouraud",  # needs no cell edges, which have no place on a logarithmic axis
        rasterized=True,
    )
    ax.set(xscale="log" if steps.min() > 0 else "linear", yscale="log" if eigenvalues.min() > 0 else "linear")
    bar = ax.figure.colorbar(mesh, ax=ax, extend="max", label="spectral radius of one step")
    bar.set_ticks([0, 0.5, 1, 1.5, 2])
    _edge(ax, steps, eigenvalues, values)
    ax.grid(False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def spectral_radius_curves(
    ax: Axes,
    h: ArrayLike | Mapping[str, ArrayLike],
    radius: Mapping[str, ArrayLike],
    *,
    title: str = "Spectral radius of one step",
    xlabel: str = "step size h (forward diffusion time)",
    ylabel: str = "spectral radius",
) -> Axes:
    """The spectral radius of several schemes over the step size, with the limit at 1.

    ``h`` (n,) is common to all, or one array per label; ``radius`` maps each label to an array of the same length.
    Raises ValueError if the shapes do not fit or there is no curve.
    """
    x = abscissae("spectral_radius_curves", "h", h, radius)
    y = curves("spectral_radius_curves", "radius", radius, x)
    for position, (label, one) in enumerate(line_styles(y).items()):
        every = max(1, x[label].size // 8)
        ax.plot(
            x[label],
            drawable(y[label]),
            color=one.color,
            marker=one.marker,
            linestyle=one.dashes,
            markevery=(position * every // max(1, len(y)), every),  # offset, so that equal curves show both markers
            label=label,
        )
    ax.axhline(1, color=BLACK, linewidth=0.9)
    finite = np.concatenate([values[np.isfinite(values)] for values in y.values()])
    top = float(np.clip(finite.max() if finite.size else 1.0, 1.1, 2.0))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(0, top * 1.05))
    ax.annotate(
        "stability limit",
        (1, 1),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7,
    )
    legend(ax)
    return ax


def _contours(ax: Axes, x: Array, y: Array, values: Array, levels: Sequence[float]) -> None:
    inner = sorted(level for level in levels if values.min() < level < values.max())
    if inner:
        drawn = ax.contour(x, y, values, levels=inner, colors=BLUE, linewidths=0.6, alpha=0.7)
        ax.clabel(drawn, fmt="%g", fontsize=6.5, inline=True)


def _edge(ax: Axes, x: Array, y: Array, values: Array) -> None:
    # contour() warns about a level that the data never cross; say in the picture what that means instead.
    if values.min() < 1 < values.max():
        ax.contour(x, y, values, levels=[1], colors=BLACK, linewidths=1.4)
        return
    words = "stable in the whole window" if values.max() <= 1 else "no stable point in this window"
    ax.text(
        0.5,
        0.5,
        words,
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )
