"""Figures over the complex plane of h lambda: several regions in one axes, an order star, a spectrum over a region.

Knows contours of values on any grid, Cartesian or polar. Does not know how the values were found. A radius of at most 1
is stable; infinite and undefined radii are drawn as unstable.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from integrator_analysis.figures.data import Array
from integrator_analysis.figures.style import BLACK, GREY, legend, line_styles

Region = tuple[ArrayLike, ArrayLike, ArrayLike]
"""(re, im, value), three arrays of one two-dimensional shape: values at the points re + i im of a grid."""

LARGEST = 10.0
MARGIN = 0.12

RE, IM = "Re(hλ), reverse time: decay is negative", "Im(hλ)"


def stability_regions(
    ax: Axes, regions: Mapping[str, Region], *, title: str = "Regions of stability", xlabel: str = RE, ylabel: str = IM
) -> Axes:
    """The edges of several regions of stability, lightly filled; the axes' box is the one that holds them all.

    ``regions`` maps each label to (re, im, radius). Raises ValueError if the shapes do not fit or there is no region.
    """
    if not regions:
        raise ValueError("stability_regions: no region to draw; at least one is expected")
    left, right, top = 0.0, 0.0, 0.0
    for label, one in line_styles(regions).items():
        re, im, radius = _grid("stability_regions", label, regions[label])
        words = label
        if radius.min() < 1 < radius.max():
            ax.contourf(re, im, radius, levels=[0, 1], colors=[one.color], alpha=0.08)
            ax.contour(re, im, radius, levels=[1], colors=[one.color], linestyles=[one.dashes], linewidths=1.5)
            inside = radius <= 1
            left, right = min(left, re[inside].min()), max(right, re[inside].max())
            top = max(top, np.abs(im[inside]).max())
        else:
            words += " (no edge found)"
        ax.add_line(Line2D([], [], color=one.color, linestyle=one.dashes, label=words))
    pad = MARGIN * max(right - left, 2 * top, 0.1)
    _cross(ax)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(left - pad, right + pad), ylim=(-top - pad, top + pad))
    if 0.4 < (right - left + 2 * pad) / (2 * top + 2 * pad) < 2.5:  # a longer box would leave the page empty
        ax.set_aspect("equal", adjustable="box")
    legend(ax, inside=0 if len(regions) > 3 else 3)
    return ax


def order_star(ax: Axes, star: Region, *, title: str = "Order star", xlabel: str = RE, ylabel: str = IM) -> Axes:
    """The order star: where one step grows more than the exact flow, shaded by the ratio of the two factors.

    ``star`` is (re, im, ratio). Raises ValueError if the shapes do not fit.
    """
    re, im, ratio = _grid("order_star", title, star)
    shown = np.clip(np.log10(np.maximum(ratio, 1e-300)), -1, 1)
    levels = np.linspace(-1, 1, 21)
    drawn = ax.contourf(re, im, shown, levels=levels, cmap="PuOr_r", norm=TwoSlopeNorm(0, -1, 1))
    bar = ax.figure.colorbar(drawn, ax=ax, label="log₁₀ of |R| / |exp(hλ)|, clipped", shrink=0.85)
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    if ratio.min() < 1 < ratio.max():
        # A hair above 1: schemes that keep the amplitude have 1 up to rounding along the whole imaginary axis.
        ax.contour(re, im, ratio, levels=[1 + 1e-9], colors=BLACK, linewidths=1.2)
    _cross(ax)
    ax.grid(False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(re.min(), re.max()), ylim=(im.min(), im.max()))
    ax.set_aspect("equal", adjustable="box")
    return ax


def spectrum_over_region(
    ax: Axes,
    region: Region,
    points: ArrayLike,
    times: ArrayLike,
    *,
    title: str,
    xlabel: str = RE,
    ylabel: str = IM,
) -> Axes:
    """Eigenvalues times the step over a region of stability: one dot each, coloured by the time of the step.

    ``region`` is (re, im, radius), ``points`` complex and ``times`` (forward diffusion time) two arrays of one shape.
    The box holds the region and all points but the farthest two in a hundred. Raises ValueError if shapes do not fit.
    """
    re, im, radius = _grid("spectrum_over_region", title, region)
    at, when = np.asarray(points, dtype=complex).ravel(), np.asarray(times, dtype=np.float64).ravel()
    if at.shape != when.shape or at.size == 0:
        raise ValueError(
            f"spectrum_over_region: {at.size} points and {when.size} times; one time per point is expected"
        )
    left, right, top = 0.0, 0.0, 0.1
    if radius.min() < 1 < radius.max():
        ax.contourf(re, im, radius, levels=[0, 1], colors=[GREY], alpha=0.18)
        ax.contour(re, im, radius, levels=[1], colors=BLACK, linewidths=1.4)
        inside = radius <= 1
        left, right, top = re[inside].min(), re[inside].max(), np.abs(im[inside]).max()
    dots = ax.scatter(at.real, at.imag, c=when, s=14, cmap="viridis", alpha=0.85, linewidths=0, zorder=3)
    ax.figure.colorbar(dots, ax=ax, label="forward diffusion time t of the step (0: data)", shrink=0.85)
    low, high = np.quantile(at.real, [0.02, 0.98])
    left, right = min(left, low), max(right, high)
    top = max(top, float(np.quantile(np.abs(at.imag), 0.98)))
    pad = MARGIN * max(right - left, 2 * top)
    _cross(ax)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(left - pad, right + pad), ylim=(-top - pad, top + pad))
    beyond = int(np.sum((at.real < left - pad) | (at.real > right + pad) | (np.abs(at.imag) > top + pad)))
    if beyond:
        ax.text(0.02, 0.02, f"{beyond} of {at.size} lie outside", transform=ax.transAxes, fontsize=7, color=GREY)
    return ax


def _grid(figure: str, label: str, region: Region) -> tuple[Array, Array, Array]:
    re, im, value = (np.asarray(part, dtype=np.float64) for part in region)
    if re.ndim != 2 or not re.shape == im.shape == value.shape:
        raise ValueError(
            f"{figure}: {label!r} has shapes {re.shape}, {im.shape} and {value.shape}; one shape (m, n) is expected"
        )
    return re, im, np.minimum(np.where(np.isnan(value), np.inf, value), LARGEST)


def _cross(ax: Axes) -> None:
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.axvline(0, color=GREY, linewidth=0.6)
