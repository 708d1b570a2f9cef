"""Grids of generated pictures. Knows grey levels; does not know which sampler made them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

GAP = 1  # pixels of white between two pictures


def image_grid(
    ax: Axes,
    images: ArrayLike,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    title: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Axes:
    """Grey pictures in rows and columns: ``images`` has shape (rows, columns, height, width), the first row on top.

    Values are clipped to ``value_range`` (black, white); undefined pixels are red. Labels stand at the left and on top.
    Raises ValueError if ``images`` is not four-dimensional or the labels are not one per row and column.
    """
    array = np.asarray(images, dtype=np.float64)
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(f"image_grid: images has shape {array.shape}; (rows, columns, height, width) is expected")
    rows, columns, height, width = array.shape
    for name, labels, count in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if labels and len(labels) != count:
            raise ValueError(f"image_grid: {name} has {len(labels)} entries; {count} are expected")
    low, high = value_range
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), high)
    for i in range(rows):
        for j in range(columns):
            top, left = i * (height + GAP), j * (width + GAP)
            canvas[top : top + height, left : left + width] = array[i, j]
    gray = matplotlib.colormaps["gray"].with_extremes(bad="red")
    ax.imshow(canvas, cmap=gray, vmin=low, vmax=high, interpolation="nearest")
    ax.set_yticks((np.arange(rows) * (height + GAP) + (height - 1) / 2) if row_labels else [], list(row_labels))
    ax.set_xticks((np.arange(columns) * (width + GAP) + (width - 1) / 2) if column_labels else [], list(column_labels))
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return ax
