"""Checks of what the figures are given, each with one message: which figure, which argument, what would be accepted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def line(figure: str, argument: str, values: ArrayLike) -> Array:
    """``values`` as a one-dimensional float64 array that is not empty."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{figure}: {argument} has shape {array.shape}; (n,) with n > 0 is expected")
    return array


def positive_line(figure: str, argument: str, values: ArrayLike) -> Array:
    """A line of positive, finite numbers: the abscissae of a logarithmic axis."""
    array = line(figure, argument, values)
    if not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(
            f"{figure}: {argument} holds {array.min():g} to {array.max():g}; it must be positive and finite"
        )
    return array


def surface(
    figure: str, argument: str, values: ArrayLike, rows: tuple[str, Array], columns: tuple[str, Array]
) -> Array:
    """A matrix with one row per entry of ``rows`` and one column per entry of ``columns``; infinities become large."""
    array = np.asarray(values, dtype=np.float64)
    expected = (rows[1].size, columns[1].size)
    if array.shape != expected:
        wanted = f"(len({rows[0]}), len({columns[0]})) = {expected}"
        raise ValueError(f"{figure}: {argument} has shape {array.shape}; {wanted} is expected")
    return np.where(np.isnan(array), np.inf, array)  # an overflowing iteration gives nan: unstable all the same


def curves(figure: str, argument: str, values: Mapping[str, ArrayLike], x: Mapping[str, Array]) -> dict[str, Array]:
    """One curve per label, each as long as its abscissae."""
    out: dict[str, Array] = {}
    for label, value in values.items():
        array = np.asarray(value, dtype=np.float64)
        if label not in x:
            raise ValueError(f"{figure}: {argument}[{label!r}] is no label of this figure; they are {', '.join(x)}")
        if array.shape != x[label].shape:
            raise ValueError(f"{figure}: {argument}[{label!r}] has shape {array.shape}; {x[label].shape} is expected")
        out[label] = array
    return out


def abscissae(
    figure: str, argument: str, values: ArrayLike | Mapping[str, ArrayLike], labels: Mapping[str, object]
) -> dict[str, Array]:
    """Positive abscissae for every label, from one common array or from one array per label."""
    if not labels:
        raise ValueError(f"{figure}: no curve to draw; at least one labelled array is expected")
    if not isinstance(values, Mapping):
        common = positive_line(figure, argument, values)
        return dict.fromkeys(labels, common)
    missing = [label for label in labels if label not in values]
    if missing:
        raise ValueError(f"{figure}: {argument} has no entry for {missing[0]!r}; one array per label is expected")
    return {label: positive_line(figure, f"{argument}[{label!r}]", values[label]) for label in labels}


def drawable(values: Array) -> Array:
    """Values for a logarithmic axis: zeros (exact) and non-finite values (diverged) become gaps."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
