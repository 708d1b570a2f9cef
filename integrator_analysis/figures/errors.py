"""Figures of error: over the step size, over the network evaluations, and the leading constants side by side.

Knows logarithmic axes. Does not know which error it draws; the caller's labels say so. Zeros (exact) and non-finite
values (diverged) are gaps in a curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from integrator_analysis.figures.data import Array, abscissae, curves, drawable, line, surface
from integrator_analysis.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    LineStyle,
    legend,
    line_styles,
)

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
        _measured_and_predicted(ax, x[label], y[label], lines.get(label), one, label)
    _reference_slopes(ax, x, y, reference_slopes)
    _explain_dashes(ax, bool(lines))
    legend(ax)
    return ax


def work_precision(
    ax: Axes,
    evaluations: ArrayLike | Mapping[str, ArrayLike],
    errors: Mapping[str, ArrayLike],
    *,
    ylabel: str,
    predicted: Mapping[str, ArrayLike] | None = None,
    floor: float | None = None,
    floor_label: str = "floor: as good as fresh data",
    title: str = "Work and precision",
    xlabel: str = "network evaluations",
) -> Axes:
    """Error over the number of network evaluations per sample, both logarithmic, one curve per scheme.

    ``evaluations`` (n,) is common to all, or one array per label; ``predicted`` maps labels, not necessarily all, to
    the asymptotes, drawn dashed with the measured errors as hollow markers; ``floor``, if given, is the error that
    cannot be told from none. Raises ValueError if shapes or labels do not fit.
    """
    x = abscissae("work_precision", "evaluations", evaluations, errors)
    y = curves("work_precision", "errors", errors, x)
    lines = curves("work_precision", "predicted", predicted or {}, x)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        _measured_and_predicted(ax, x[label], y[label], lines.get(label), one, label)
    _explain_dashes(ax, bool(lines))
    if lines:  # asymptotes reach far above the errors where steps are few
        ax.set_ylim(*_decades(y.values()))
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


def constant_map(
    ax: Axes,
    parameter: ArrayLike,
    times: ArrayLike,
    constants: ArrayLike,
    *,
    title: str = "Leading error constant",
    xlabel: str = "lambda",
    ylabel: str = "forward diffusion time t (0: data)",
    label: str = "|leading constant of the local error|",
) -> Axes:
    """A heat map of the size of a leading constant over a parameter of the scheme and time, with a logarithmic colour.

    ``parameter`` (n,) and ``times`` (m,) increase; ``constants`` has shape (m, n). The white line is the best parameter
    at each time. The parameter's axis is logarithmic if its values are positive and span a factor of 30. Zeros take the
    least colour. Raises ValueError if the shapes do not fit.
    """
    name = "constant_map"
    across, upwards = line(name, "parameter", parameter), line(name, "times", times)
    sizes = np.abs(surface(name, "constants", constants, ("times", upwards), ("parameter", across)))
    shown = drawable(sizes)
    if not np.isfinite(shown).any():
        raise ValueError(f"{name}: constants holds no finite number other than 0; there is nothing to colour")
    low, high = np.nanmin(shown), np.nanmax(shown)
    low = max(low, high * 1e-6)  # an accidental zero must not use up the colours
    values = np.clip(np.where(sizes == 0, low, np.where(np.isfinite(sizes), sizes, high)), low, high)
    high = high if high > low else low * 1.1
    mesh = ax.pcolormesh(
        across, upwards, values, cmap="viridis", norm=LogNorm(low, high), shading="gouraud", rasterized=True
    )
    ax.figure.colorbar(mesh, ax=ax, label=label)
    levels = [v for v in 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1) if low < v < high]
    if levels:
        ax.contour(across, upwards, values, levels=levels, colors="black", linewidths=0.5, alpha=0.6)
    best = across[np.argmin(values, axis=1)]
    ax.plot(best, upwards, color="white", linewidth=2.2)
    ax.plot(best, upwards, color=VERMILLION, linewidth=1.2, label="least constant at each time")
    wide = across.min() > 0 and across.max() > 30 * across.min()
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xscale="log" if wide else "linear")
    ax.set(xlim=(across.min(), across.max()), ylim=(upwards.min(), upwards.max()))
    ax.grid(False)
    ax.legend(loc="upper right", fontsize=7)
    return ax


def error_densities(
    ax: Axes,
    times: ArrayLike | Mapping[str, ArrayLike],
    densities: Mapping[str, ArrayLike],
    *,
    title: str = "Where the global error is made",
    xlabel: str = "forward diffusion time t (0: data)",
    ylabel: str = "|error carried to the end| per unit of log t",
) -> Axes:
    """What the steps at each time add to the error at the end, over log time: the area is the global error's constant.

    ``times`` (n,) is common to all, or one array per label. Raises ValueError if shapes or labels do not fit.
    """
    x = abscissae("error_densities", "times", times, densities)
    y = curves("error_densities", "densities", densities, x)
    ax.set(xscale="log", yscale="log", title=title, xlabel=xlabel, ylabel=ylabel)
    for label, one in line_styles(y).items():
        marks = max(1, x[label].size // 10)
        look: dict[str, Any] = {"color": one.color, "marker": one.marker, "linestyle": one.dashes}
        ax.plot(x[label], drawable(np.abs(y[label])), label=label, markevery=marks, markerfacecolor="none", **look)
    legend(ax)
    return ax


def _measured_and_predicted(
    ax: Axes, x: Array, measured: Array, predicted: Array | None, one: LineStyle, label: str
) -> None:
    """Markers joined by a line; or hollow markers, so that schemes with equal errors both show, and a dashed line."""
    alone = predicted is None
    look: dict[str, Any] = {"color": one.color, "marker": one.marker, "linestyle": one.dashes if alone else "none"}
    ax.plot(x, drawable(measured), linewidth=0.9, markerfacecolor=one.color if alone else "none", label=label, **look)
    if predicted is not None:
        ax.plot(x, drawable(predicted), color=one.color, linestyle="--", linewidth=1.1)


def _explain_dashes(ax: Axes, predicted: bool) -> None:
    if predicted:
        ax.plot([], [], color=GREY, linestyle="--", linewidth=1.1, label="predicted (markers: measured)")


def _decades(values: Iterable[Array]) -> tuple[float, float]:
    """Bounds a little outside of the measured errors."""
    shown = np.concatenate([drawable(v) for v in values])
    shown = shown[np.isfinite(shown)]
    return (float(shown.min()) / 3, float(shown.max()) * 10) if shown.size else (0.1, 1.0)


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
