"""Figures of error: over the step size, over the network evaluations, and the leading constants side by side.

Knows logarithmic axes. Does not know which error it draws; the caller's labels say so. Zeros (exact) and non-finite
values (diverged) are gaps in a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from integrator_analysis.figures.data import Array, abscissae, curves, drawable, line
from integrator_analysis.figures.style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILLION, legend, line_styles

BLOCK_COLORS = (BLUE, VERMILLION, GREEN, PURPLE)


def convergence(
    ax: Axes,
    h: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    *,
    predicted: Mapping[str, ArrayLike] | None = None,
    reference_slopes: Sequence[float] = (1, 2),
    title: str = "Convergence",
    xlabel: str = "step size h (forward diffusion time)",
    ylabel: str = "error",
) -> Axes:
    """Measured errors over the step size as markers, predicted errors as dashed lines, and short reference slopes.

    ``h`` (n,) is common to all, or one array per label; ``errors`` and ``predicted`` map labels to arrays of the same
    length; ``predicted`` may name fewer labels. Without a prediction the markers are joined by a thin line.
    Raises ValueError if shapes or labels do not fit.
    """
    x = abscissae("convergence", "h", h, errors)
    y = curves("convergence", "errors", errors, x)
    lines = curves("convergence", "predicted", predicted or {}, x)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        look: dict[str, Any] = {
            "color": one.color,
            "marker": one.marker,
            "linestyle": "none" if label in lines else one.dashes,
            "markerfacecolor": "none" if label in lines else one.color,  # hollow: schemes with equal errors both show
        }
        ax.plot(x[label], drawable(y[label]), linewidth=0.9, label=label, **look)
        if label in lines:
            ax.plot(x[label], drawable(lines[label]), color=one.color, linestyle="--", linewidth=1.1)
    _reference_slopes(ax, x, y, reference_slopes)
    if lines:
        ax.plot([], [], color=GREY, linestyle="--", linewidth=1.1, label="predicted (markers: measured)")
    legend(ax)
    return ax


def work_precision(
    ax: Axes,
    evaluations: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    *,
    ylabel: str,
    floor: float | None = None,
    floor_label: str = "floor: as good as fresh data",
    title: str = "Work and precision",
    xlabel: str = "network evaluations",
) -> Axes:
    """Error over the number of network evaluations per sample, both logarithmic, one curve per scheme.

    ``evaluations`` (n,) is common to all, or one array per label; ``floor``, if given, is the error that cannot be told
    from none. Raises ValueError if shapes or labels do not fit.
    """
    x = abscissae("work_precision", "evaluations", evaluations, errors)
    y = curves("work_precision", "errors", errors, x)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        ax.plot(x[label], drawable(y[label]), color=one.color, marker=one.marker, linestyle=one.dashes, label=label)
    if floor is not None:
        ax.axhline(floor, color=GREY, linestyle=(0, (2, 2)), linewidth=1.1, label=floor_label)
    _plain_ticks(ax)
    legend(ax)
    return ax


def constants_over_time(
    ax: Axes,
    times: ArrayLike | Mapping[str, ArrayLike],
    constants: Mapping[str, ArrayLike],
    *,
    title: str = "Leading error constants over time",
    xlabel: str = "forward diffusion time t (0: data)",
    ylabel: str = "|leading constant of the local error|",
) -> Axes:
    """The size of leading constants over diffusion time, logarithmic upwards, one curve per scheme.

    ``times`` (n,) is common to all, or one array per label. Raises ValueError if shapes or labels do not fit.
    """
    x = abscissae("constants_over_time", "times", times, constants)
    y = curves("constants_over_time", "constants", constants, x)
    ax.set(yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        look: dict[str, Any] = {"color": one.color, "marker": one.marker, "linestyle": one.dashes}
        ax.plot(x[label], drawable(np.abs(y[label])), label=label, markerfacecolor="none", **look)
    legend(ax)
    return ax


def error_constants(
    ax: Axes,
    labels: Sequence[str],
    values_by_block: Mapping[str, ArrayLike],
    *,
    title: str = "Leading error constants",
    xlabel: str = "|leading constant of the local error|",
) -> Axes:
    """Horizontal bars on a logarithmic axis: the leading constant's size per scheme and block, first scheme on top.

    ``labels`` names the n schemes; ``values_by_block`` maps each block ("x", "m") to n numbers, whose sizes are drawn.
    A zero is written as "0"; a value that is not finite as "none".
    Raises ValueError if a block does not have one number per scheme.
    """
    sizes = {}
    for block, values in values_by_block.items():
        sizes[block] = np.abs(line("error_constants", f"values_by_block[{block!r}]", values))
        if (count := sizes[block].size) != len(labels):
            raise ValueError(f"error_constants: values_by_block[{block!r}] has {count} values for {len(labels)} labels")
    if not sizes:
        raise ValueError("error_constants: no block to draw; at least one array of constants is expected")
    shown = np.concatenate([drawable(values) for values in sizes.values()])
    shown = shown[np.isfinite(shown)]
    left, right = (shown.min() / 4, shown.max() * 3) if shown.size else (0.1, 1.0)
    ax.set(xscale="log", xlim=(left, right), title=title, xlabel=xlabel)
    thickness = 0.8 / len(sizes)
    places = np.arange(len(labels), dtype=np.float64)
    for i, (block, values) in enumerate(sizes.items()):
        at = places - 0.4 + thickness * (i + 0.5)
        color = BLOCK_COLORS[i % len(BLOCK_COLORS)]
        width = np.maximum(np.nan_to_num(drawable(values), nan=left), left)
        ax.barh(
            at,
            width - left,
            left=left,
            height=thickness * 0.9,
            color=color,
            label=f"block {block}",
        )
        for y, value, end in zip(at, values, width, strict=True):
            words = f"{value:.2g}" if np.isfinite(value) else "none"
            ax.annotate(words, (end, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
    ax.set_yticks(places, list(labels))
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(False, axis="y")
    if len(sizes) > 1:
        legend(ax, inside=0)  # bars may reach any corner
    return ax


def _reference_slopes(ax: Axes, x: Mapping[str, Array], y: Mapping[str, Array], slopes: Sequence[float]) -> None:
    """Short lines in the right third of the axes, each below all the data there, labelled at their right ends."""
    h, error = np.concatenate(list(x.values())), np.concatenate([drawable(y[label]) for label in x])
    h, error = h[np.isfinite(error)], error[np.isfinite(error)]
    if error.size == 0 or h.min() == h.max():
        return
    low, high = h.min(), h.max()
    start = high / (high / low) ** 0.34
    near = h >= start
    apart = max(2.0, (error.max() / error.min()) ** 0.07)  # room for a label's height between two ends
    end = np.inf
    for slope in sorted(slopes, reverse=True):
        end = min((error[near] / (h[near] / high) ** slope).min() / 2.5, end / apart)
        tail = end * (start / high) ** slope
        ax.add_line(Line2D([start, high], [tail, end], color=BLACK, linestyle=":", linewidth=1.0))
        ax.annotate(f"slope {slope:g}", (high, end), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
        ax.update_datalim([(start, tail), (high * (high / low) ** 0.12, end)])
    ax.autoscale_view()


def _plain_ticks(ax: Axes) -> None:
    """Evaluations are counts: 5, 10, 20, 50 rather than powers of ten."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
