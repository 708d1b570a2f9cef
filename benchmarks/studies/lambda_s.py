"""What does lambda_s do? The position noise of ROBA scaled, on Gaussian data in closed form and on the digits.

Writes reports/lambda_s.md and reports/lambda_s.png. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import sympy
import torch
from common import (
    PROJECTIONS,
    REPORTS,
    bold,
    distance_to_digits,
    gaussian_distance,
    law,
    list_numbers,
    render,
    say,
    table,
    times_of,
    write_page,
)
from scipy.optimize import minimize_scalar

import integrator_analysis as ia
from integrator_analysis.analysis.gaussian import GaussianError, gaussian_error
from integrator_analysis.figures.style import BLUE, GREEN, GREY, ORANGE, VERMILLION, new_figure, save
from integrator_analysis.methods.splitting.splitting import READINGS
from integrator_analysis.methods.splitting.sub_flows import lambda_s
from integrator_analysis.program.network_program import NetworkProgram
from integrator_analysis.report.digits import BANDWIDTH, digits_networks
from torch_backend.measuring.digits_study import baseline

BUDGETS, MANY, KEPT = (10, 20, 50, 100), (100, 400, 1600), 1.2
COARSE = tuple(2.0**n for n in range(-4, 15))
"""Where the best lambda_s is looked for before it is refined: up to 16384, where `exponent` has long been saturated."""
TRIED = (0.0, 0.5, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 6.0)
SEEDS, IMAGES = (0, 1, 2), 256
SHOWN = (0, 16, 32, 48, 56, 60, 63)
"""Directions of the tables by direction, of the 64 with ascending variances."""
RIVALS = ("EM", "SSCS")


def quadratic_times(steps: int) -> list[float]:
    return times_of(ia.process("psld"), "quadratic", steps)


@cache
def derive_program(reading: str) -> NetworkProgram:
    return ia.derive(f"psld/ROBA(lambda_s=2, reading={reading})").network_program


@cache
def error(reading: str, strength: float, steps: int) -> GaussianError:
    """Error on Gaussian data with the digits' mean and covariance, in closed form, from the exact law at t_max."""
    of = derive_program(reading)
    given = {**of.parameters, lambda_s: sympy.Rational(str(strength))}
    return gaussian_error(replace(of, parameters=given), quadratic_times(steps), *law())


def variances(reading: str, strength: float, steps: int) -> np.ndarray:
    """Position variance per direction after ``steps``."""
    found = error(reading, strength, steps)
    return found.covariance[:, 0, 0] + found.exact[:, 0, 0]


def distance(reading: str, strength: float, steps: int) -> float:
    """Squared 2-Wasserstein distance of the positions' Gaussians, mean included, per pixel."""
    return float(error(reading, float(f"{strength:.6g}"), steps).squared_distances.mean())


class Response:
    """Position variance P + lambda_s^2 Q per direction, read as a factor: noise enters squared, and nothing else."""

    def __init__(self, steps: int) -> None:
        one, two = (variances("factor", x, steps) for x in (1.0, 2.0))
        self.slope = (two - one) / 3
        self.rest = one - self.slope
        self.exact = error("factor", 1.0, steps).exact[:, 0, 0]
        self.right = np.sqrt(np.maximum((self.exact - self.rest) / self.slope, 0.0))
        """lambda_s that makes the variance of a direction right; 0 where P alone is too large."""


@cache
def find_best(reading: str, steps: int) -> float:
    """Find the lambda_s of the least distance: the best of COARSE, refined between its neighbours.

    It is inf if the last of COARSE is the best. The distance is not convex in general, so that a search from one
    bracket could miss it.
    """
    found = [distance(reading, x, steps) for x in COARSE]
    n = int(np.argmin(found))
    if n == len(COARSE) - 1:
        return math.inf
    bounds = (COARSE[n - 1] if n else 0.0, COARSE[n + 1])
    refined = minimize_scalar(
        lambda x: distance(reading, x, steps), bounds=bounds, method="bounded", options={"xatol": 1e-3 * COARSE[n]}
    )
    return float(refined.x)


def measure_on_digits(reading: str, seeds: Sequence[int], images: int) -> dict[tuple[float, int], float]:
    """Sliced Wasserstein distance to the digits, mean over the seeds, per (lambda_s, evaluations)."""
    sampler = ia.derive(f"psld/ROBA(lambda_s=2, reading={reading})").to_torch(dtype=torch.float64)
    network, found = digits_networks([ia.process("psld")])["psld"], {}
    starts = {seed: sampler.prior(images, (1, 8, 8), seed=seed) for seed in seeds}
    for strength in TRIED:
        sampler.module.lambda_s = strength
        for budget in BUDGETS:
            distances = []
            for seed, start in starts.items():
                x = sampler.sample(network, start, steps=budget, grid="quadratic", end_at_zero=False, seed=seed)[:, :1]
                distances.append(distance_to_digits(x))
            found[strength, budget] = statistics.fmean(distances)
    return found


def variances_table() -> str:
    """Relative error of the variance of some directions at lambda_s = 1, and the share of it that O's noise makes."""
    responses = [Response(b) for b in BUDGETS]
    rows = []
    for i in SHOWN:
        errors = [f"{(r.rest[i] + r.slope[i]) / r.exact[i] - 1:.3g}" for r in responses]
        shares = [f"{r.slope[i] / (r.rest[i] + r.slope[i]):.2g}" for r in responses]
        rows.append([f"{law()[1][i]:.3g}", *errors, *shares])
    return table(["data variance", *(f"error, {b}" for b in BUDGETS), *(f"share, {b}" for b in BUDGETS)], rows)


def right_table() -> str:
    """The lambda_s that makes the variance of a direction right."""
    responses = [Response(b) for b in BUDGETS]
    rows = [[f"{law()[1][i]:.3g}", *(f"{r.right[i]:.3g}" for r in responses)] for i in SHOWN]
    return table(["data variance", *map(str, BUDGETS)], rows)


def optima_table() -> str:
    """The best lambda_s per reading and budget, with the distances before and after, and those of other schemes."""
    rows = []
    for reading in READINGS:
        found = [find_best(reading, b) for b in BUDGETS]
        reached = [math.sqrt(distance(reading, min(x, COARSE[-1]), b)) for x, b in zip(found, BUDGETS, strict=True)]
        rows.append([reading, *(f"{x:.3g}" for x in found + reached)])
    plain = [math.sqrt(distance("factor", 1.0, b)) for b in BUDGETS]
    rows.append(["ROBA as it is", *["1"] * len(BUDGETS), *(f"{x:.3g}" for x in plain)])
    for name in RIVALS:
        other = ia.derive(f"psld/{name}")
        reached = [gaussian_distance(other, quadratic_times(b)) for b in BUDGETS]
        rows.append([name, *["-"] * len(BUDGETS), *(f"{x:.3g}" for x in reached)])
    return table(["reading", *(f"best, {b}" for b in BUDGETS), *(f"distance, {b}" for b in BUDGETS)], rows)


def share_of_mean() -> str:
    """The share of the mean's error in the squared distance at lambda_s = 1 and at the best one, per budget."""
    texts = []
    for b in BUDGETS:
        mean = float((error("factor", 1.0, b).mean[:, 0] ** 2).mean())
        shares = [mean / distance("factor", x, b) for x in (1.0, find_best("factor", b))]
        texts.append(f"{b}: {shares[0]:.1%} and {shares[1]:.1%}")
    return "; ".join(texts)


def tried_table(tried: Mapping[tuple[float, int], float]) -> str:
    """Distances to the digits; the smallest of a column is bold."""
    least = {b: min(tried[x, b] for x in TRIED) for b in BUDGETS}
    rows = [[f"{x:g}", *(bold(f"{tried[x, b]:.4f}", tried[x, b] == least[b]) for b in BUDGETS)] for x in TRIED]
    return table(["lambda_s", *map(str, BUDGETS)], rows)


def limits_table() -> str:
    """Relative error of the position variance after many steps, with lambda_s = 1 and another."""
    rows = []
    for x in (1.0, KEPT):
        off = [error("factor", x, n) for n in MANY]
        relative = [math.sqrt(np.mean((e.covariance[:, 0, 0] / e.exact[:, 0, 0]) ** 2)) for e in off]
        rows.append([f"{x:g}", *(f"{value:.3g}" for value in relative)])
    return table(["lambda_s", *(f"{n} steps" for n in MANY)], rows)


PAGE = """\
# lambda_s: the position noise of the reduced stochastic splitting

Made by `python benchmarks/studies/lambda_s.py`. `psld/ROBA(lambda_s=..., reading=...)` scales the noise that \
O injects into position: the noise itself (`factor`), the exponent of its variance (`exponent`), or that with \
the time in the middle of the step in place of h (`mid-time`). 1 is the reverse SDE for the first two. PSLD \
at its published parameters, quadratic time grid, one evaluation a step.

## Gaussian data, in closed form

Data: one Gaussian with the digits' mean and covariance (bandwidth included), with its exact score. A step is \
an affine map, so mean and covariance after N steps are products of matrices: no samples are drawn. Read as a \
factor, the position variance is P + lambda_s^2 Q in every direction, and the mean does not depend on \
lambda_s. The tables by direction show \
{{ shown | length }} of the {{ directions }} directions; the optimum is over all of them.

Relative error of the position variance at lambda_s = 1, and the share Q / (P + Q) of it that O's position \
noise makes:

{{ variances_table }}

lambda_s that makes the variance of a direction right, sqrt((exact - P) / Q); 0 where P alone is too large. \
One number cannot serve all directions, least of all at 10 evaluations:

{{ right_table }}

lambda_s that minimises the squared 2-Wasserstein distance of the positions over all directions, the error of \
the mean counted in, sought over {{ "%g" | format(coarse[0]) }} to {{ "%g" | format(coarse[-1]) }} and refined \
(inf: still falling at the end); and the distance per pixel that it leaves:

{{ optima_table }}

Share of the mean in the squared distance, at lambda_s = 1 and at the best one (factor): {{ share_of_mean }}.

`exponent` with lambda_s is `factor` with about sqrt(lambda_s) while lambda_s Gamma beta h is small: its \
optimum is that much larger, and it is bounded where the factor is not, since the noise cannot exceed the \
stationary one.

## The digits

Sliced Wasserstein distance to the images with the exact score, mean of {{ seeds | length }} seeds of {{ images }} \
samples, reading `factor`; exact samples have {{ "%.4f" | format(floor.sliced_wasserstein) }} ± \
{{ "%.4f" | format(floor.sliced_wasserstein_std) }}. The smallest of a column is bold.

{{ tried_table }}

Up to twice the consistent value the differences lie within the noise that exact samples have themselves, so \
tuning on samples cannot find an optimum there; only too much noise shows. The digits are clusters, not one \
Gaussian, and the optimum of the closed form is about where the curves here begin to rise.

## What it converges to

The derived weak order of ROBA is {{ order }}, with lambda_s other than 1 it is \
{{ other_order }}: the noise is that of no reverse process with these marginals. \
Root mean square, over the directions, of the relative error of the position variance:

{{ limits_table }}

So a lambda_s other than 1 trades an error that goes away with more steps for one that stays: a device for \
few evaluations. The values that the papers tuned for CIFAR-10 (arXiv 2310.07894, 2402.07211) are not \
compared here: they were not at hand, and the authors' public repository, as far as it could be read, holds \
EM and SSCS only.
"""


def report(tried: Mapping[tuple[float, int], float], floor: Mapping[str, float]) -> str:
    """The page; ``tried`` are distances on the digits, ``floor`` the distance that exact samples have."""
    return render(
        PAGE,
        shown=SHOWN,
        directions=len(law()[1]),
        variances_table=variances_table(),
        right_table=right_table(),
        coarse=COARSE,
        optima_table=optima_table(),
        share_of_mean=share_of_mean(),
        seeds=SEEDS,
        images=IMAGES,
        floor=floor,
        tried_table=tried_table(tried),
        order=ia.derive("psld/ROBA").order,
        other_order=ia.derive("psld/ROBA(lambda_s=1.2)").order,
        limits_table=limits_table(),
    )


def draw_picture(tried: Mapping[tuple[float, int], float], path: Path) -> None:
    """Distances over lambda_s: on Gaussian data with the optima marked, and on the digits."""
    figure = new_figure(10, 3.8)
    left, right = figure.subplots(1, 2)
    strengths = np.linspace(0.0, TRIED[-1], 61)
    for budget, color in zip(BUDGETS, (VERMILLION, ORANGE, BLUE, GREEN), strict=True):
        response, mean = Response(budget), (error("factor", 1.0, budget).mean[:, 0] ** 2).mean()
        spread = [np.sqrt(response.rest + response.slope * x**2) - np.sqrt(response.exact) for x in strengths]
        left.plot(strengths, [math.sqrt(mean + (d**2).mean()) for d in spread], color=color, label=f"{budget}")
        strength = find_best("factor", budget)
        if strength < TRIED[-1]:
            left.plot(strength, math.sqrt(distance("factor", strength, budget)), color=color, marker="o", markersize=5)
        right.plot(TRIED, [tried[x, budget] for x in TRIED], color=color, marker="o", markersize=4, label=f"{budget}")
    left.set(ylabel="2-Wasserstein distance per pixel, Gaussian data", xlabel="lambda_s (factor)", yscale="log")
    right.set(ylabel="sliced Wasserstein distance, digits", xlabel="lambda_s (factor)", yscale="log")
    for ax in (left, right):
        ax.axvline(1.0, color=GREY, linestyle=":")
        ax.legend(title="evaluations", fontsize=8)
    save(figure, path)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    torch.set_num_threads(1)
    for reading in READINGS:
        say(f"closed form, {reading}: {list_numbers((find_best(reading, b) for b in BUDGETS), '.3g')}")
    tried = measure_on_digits("factor", SEEDS, IMAGES)
    say("digits")
    floor = baseline(bandwidth=BANDWIDTH, n=IMAGES, seed=0, projections=PROJECTIONS)
    draw_picture(tried, REPORTS / "lambda_s.png")
    write_page("lambda_s.md", report(tried, floor))


if __name__ == "__main__":
    main()
