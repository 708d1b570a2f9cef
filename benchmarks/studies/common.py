"""What the studies share: progress, pages made of templates, tables in Markdown, numbers with their spread, the digits.

Knows how a study measures samples of the digits and how its page is written; knows no scheme and no question.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from torch import Tensor

import integrator_analysis as ia
from integrator_analysis.files import write_text
from integrator_analysis.report.digits import digits_law
from torch_backend.measuring.distances import sliced_wasserstein
from torch_backend.scores import digits
from torch_backend.walk.grids import time_grid

__all__ = [
    "PROJECTIONS",
    "REPORTS",
    "bold",
    "distance_to_digits",
    "errors_per_image",
    "gaussian_distance",
    "law",
    "list_numbers",
    "mean_and_deviation",
    "render",
    "say",
    "table",
    "times_of",
    "write_page",
]

REPORTS = Path(__file__).parents[2] / "reports"
PROJECTIONS = 200
"""Directions of the sliced Wasserstein distance, the same in every study."""
START = time.perf_counter()


def say(text: str) -> None:
    """Print a line to stderr with the seconds since the start: standard output is the page's."""
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


def render(template: str, **values: Any) -> str:
    """The text of a page from its template, which may use the functions of this module that make text.

    Raises jinja2's UndefinedError for a name that ``values`` lack.
    """
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.globals |= {"table": table, "list_numbers": list_numbers, "bold": bold}
    return environment.from_string(template).render(**values)


def write_page(name: str, text: str, folder: Path = REPORTS) -> None:
    """Write a page to reports/, whole or not at all, and say where it is."""
    write_text(folder / name, text)
    say(f"wrote {folder / name}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without a newline at its end.

    >>> print(table(["scheme", "error"], [["DDIM", "0.1"]]))
    | scheme | error |
    |---|---|
    | DDIM | 0.1 |
    """
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def bold(text: str, best: bool) -> str:
    """The text, marked where it is the best of its column."""
    return f"**{text}**" if best else text


def list_numbers(values: Iterable[float], form: str = "g") -> str:
    """The numbers with commas between them, each by Python's format ``form``."""
    return ", ".join(format(value, form) for value in values)


def mean_and_deviation(values: Sequence[float], form: str = ".4f") -> str:
    """Mean ± standard deviation, which is 0 for a single value; a dash where a value is not finite."""
    if not all(map(math.isfinite, values)):
        return "-"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):{form}} ± {deviation:{form}}"


@cache
def law() -> tuple[np.ndarray, np.ndarray]:
    """Mean and variances of the digits in the eigenbasis of their covariance, the bandwidth of their score included."""
    return digits_law()


def times_of(process: ia.Process, grid: str, steps: int) -> list[float]:
    """The times of a walk over the whole interval of a process."""
    return time_grid(grid, steps, process.t_max, process.t_min)


def gaussian_distance(integrator: ia.Integrator, times: Sequence[float]) -> float:
    """2-Wasserstein distance of the positions, per pixel, on Gaussian data with the digits' mean and covariance."""
    return math.sqrt(integrator.gaussian_error(times, *law()).squared_distances.mean())


def errors_per_image(x: Tensor, exact: Tensor) -> Tensor:
    """Root mean square over the pixels of each image of a batch."""
    return (x - exact).square().flatten(1).mean(1).sqrt()


def distance_to_digits(x: Tensor) -> float:
    """Sliced Wasserstein distance of a batch of images to the 1797 digits."""
    return sliced_wasserstein(x, digits(), projections=PROJECTIONS, seed=0)
