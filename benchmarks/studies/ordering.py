"""Which scheme on phase space is best at 10 to 100 evaluations? The ordering of arXiv 2310.07894, on the digits.

Two measures, on several time grids: trajectory error with the exact score of the digits, several seeds; and the exact
error on Gaussian data with the digits' mean and covariance, which has no sampling noise. Beside them what explains
them: leading constants, and the exact error by direction. Writes reports/ordering.md and reports/ordering.png. Run by
`make benchmark`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    PROJECTIONS,
    REPORTS,
    bold,
    distance_to_digits,
    errors_per_image,
    gaussian_distance,
    law,
    mean_and_deviation,
    render,
    say,
    table,
    times_of,
    write_page,
)
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure, save
from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
from torch_backend.measuring.digits_study import baseline, probability_flow

BUDGETS = (10, 20, 50, 100)
GRIDS = ("quadratic", "uniform", "karras")
"""Equidistant in t^(1/2), t and t^(1/7). The first is studied in full, the others with fewer seeds and schemes."""
SEEDS, OTHER_SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), (0, 1), 100
IMAGES, FOLLOWED = 128, 32
LAMBDAS = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0, 4.0)
SAMPLED = ("EM", "SSCS", "NOBA", "ROBA", "RBAO", "ROBAB", "RBAOAB", "COBA-each")
STOCHASTIC = (
    "EM",
    "SSCS",
    "NOBA",
    "ROBA",
    "NBAO",
    "RBAO",
    "NOBAB",
    "ROBAB",
    "NABOBA",
    "RABOBA",
    "NBAOAB",
    "RBAOAB",
    "COBA-each",
)
DETERMINISTIC = (
    "Euler",
    "NSE",
    "NVV",
    "RSE",
    "RVV",
    "DDIM",
    "gDDIM",
    "lambda-DDIM-I",
    "lambda-DDIM-II",
    "CSE-each",
    "CSE-whole",
    "CVV-each",
    "CVV-whole",
    "SPS-2S",
    "SPS-2M",
    "EDM-Heun",
    "DPM-Solver++2M",
)
"""A scheme is one line here. Those with a lambda are tuned, on every grid and budget."""
ON_FIRST_GRID = ("COBA-each", "CSE-each", "CVV-each", "DPM-Solver++2M")
"""Schemes that are slow to tune or to derive, and enter no comparison with the paper."""
SPLITTINGS = ("NSE", "RSE", "NVV", "RVV")
NEW = ("SPS-2S", "SPS-2M", "EDM-Heun", "DPM-Solver++2M")
RK45 = "RK45"
CLAIMS = (
    ("EM", "SSCS"),
    ("SSCS", "NOBA"),
    ("NOBA", "ROBA"),
    ("NSE", "RSE"),
    ("NVV", "RVV"),
    ("Euler", "NSE"),
    ("DDIM", "lambda-DDIM-I"),
    ("lambda-DDIM-I", "lambda-DDIM-II"),
    ("RSE", "CSE-whole"),
    ("RVV", "CVV-whole"),
    ("lambda-DDIM-II", "CVV-whole"),
)
"""The paper's ordering, worse first."""
GAMMAS, TIMES = (0.01, 0.02, 0.04), (0.1, 0.4)
"""Where the leading constants of the splittings are compared."""
MEASURES = {
    "trajectory_median": "Trajectory error, median over images",
    "trajectory_rmse": "Trajectory error, RMSE",
    "sliced_wasserstein": "Sliced Wasserstein distance to the data",
    "gaussian": "Exact distance on Gaussian data",
}
Key = tuple[str, str, int]
Values = dict[Key, dict[str, list[float]]]
"""(grid, scheme, evaluations) -> measure -> one number per seed; inf where a walk left the finite numbers."""


class Problem:
    """The digits under PSLD from one seed: states to start from, and where the probability flow takes some of them."""

    def __init__(self, seed: int, images: int, sampler: Any) -> None:
        process = ia.process("psld")
        self.seed, self.network, self.slope = seed, NETWORK["psld"], probability_flow_drift(process)
        self.span = (process.t_max, process.t_min)
        self.start = sampler.prior(images, (1, 8, 8), seed=seed)
        self.end = probability_flow(self.network, self.slope, self.start[:FOLLOWED], *self.span)[:, :1]

    def walk(self, sampler: Any, grid: str, budget: int) -> torch.Tensor | None:
        """Positions at the last time; None where the walk leaves the finite numbers. Noise asks for all states."""
        noise, start = (self.seed, self.start) if sampler.stochastic else (None, self.start[:FOLLOWED])
        steps = budget // sampler.nfe_per_step
        whole = {"end_at_zero": False, "lower_order_final": False}  # what the predictions are of
        try:
            return sampler.sample(self.network, start, steps=steps, grid=grid, seed=noise, **whole)[:, :1]
        except FloatingPointError:
            return None

    def follow_black_box(self, tolerance: float) -> tuple[torch.Tensor, int]:
        """RK45 of scipy on all followed states at once: positions at the last time, and the evaluations it took."""
        start = self.start[:FOLLOWED]

        def slope(t: float, flat: np.ndarray) -> np.ndarray:
            z = torch.from_numpy(flat).reshape(start.shape)
            score = self.network.score(z, torch.full((len(z),), t, dtype=torch.float64))
            return self.slope(z, t, score).reshape(-1).numpy()

        with torch.no_grad():
            found = solve_ivp(slope, self.span, start.reshape(-1).numpy(), rtol=tolerance, atol=tolerance)
        return torch.from_numpy(found.y[:, -1].copy()).reshape(start.shape)[:, :1], int(found.nfev)

    def errors(self, x: torch.Tensor | None) -> dict[str, float]:
        """Of a deterministic scheme: per pixel, against the probability flow."""
        if x is None:
            return {"trajectory_rmse": math.inf, "trajectory_median": math.inf}
        errors = errors_per_image(x, self.end)
        rmse = float(errors.square().mean().sqrt())
        return {"trajectory_rmse": rmse, "trajectory_median": float(errors.median())}

    def distance(self, x: torch.Tensor | None) -> dict[str, float]:
        """Of a stochastic scheme: to the data."""
        return {"sliced_wasserstein": math.inf if x is None else distance_to_digits(x)}


NETWORK = digits_networks([ia.process("psld")])


@cache
def derive_scheme(name: str, strength: float | None = None) -> ia.Integrator:
    """Derive a scheme on PSLD, with lambda = ``strength`` where one is given."""
    return ia.derive(f"psld/{name}") if strength is None else ia.derive(f"psld/{name}", lambda_=strength)


@cache
def exact_distance(name: str, grid: str, budget: int, strength: float | None = None) -> float:
    """The exact distance on Gaussian data with so many evaluations."""
    integrator = derive_scheme(name, strength)
    return gaussian_distance(integrator, times_of(integrator.process, grid, budget // integrator.nfe_per_step))


def has_lambda(name: str) -> bool:
    """Whether a scheme is tuned."""
    return name.startswith("lambda-") or name.endswith(("-each", "-whole"))


def tune(name: str, sampler: Any, problem: Problem, grid: str, budget: int) -> float:
    """The lambda with the smallest error: median trajectory error on the tuning seed, for noise the exact distance."""
    found = {}
    for strength in LAMBDAS:
        if sampler.stochastic:
            found[strength] = exact_distance(name, grid, budget, strength)
        else:
            sampler.module.lambda_ = strength
            found[strength] = problem.errors(problem.walk(sampler, grid, budget))["trajectory_median"]
    return min(found, key=found.__getitem__)


def measure_all(seeds: Sequence[int], images: int) -> tuple[Values, dict[Key, float], dict[int, float]]:
    """Measure everything: all values, the tuned lambdas, and RK45's evaluations, mean over the seeds, per budget."""
    samplers = {name: derive_scheme(name).to_torch(dtype=torch.float64) for name in (*STOCHASTIC, *DETERMINISTIC)}
    say(f"{len(samplers)} schemes derived")
    plain = samplers["Euler"]
    tuning, problems = (Problem(TUNING_SEED, FOLLOWED, plain), [Problem(n, images, plain) for n in seeds])
    say(f"flow followed from {len(problems) + 1} seeds")
    values: Values = {}
    lambdas: dict[Key, float] = {}
    for grid in GRIDS:
        chosen = problems if grid == GRIDS[0] else problems[: len(OTHER_SEEDS)]
        for name, sampler in samplers.items():
            for budget in BUDGETS if grid == GRIDS[0] or name not in ON_FIRST_GRID else ():
                key = (grid, name, budget)
                if has_lambda(name):
                    lambdas[key] = sampler.module.lambda_ = tune(name, sampler, tuning, grid, budget)
                values[key] = {"gaussian": [exact_distance(name, grid, budget, lambdas.get(key))]}
                if sampler.stochastic and (name not in SAMPLED or grid != GRIDS[0]):
                    continue
                found = [
                    (p.distance if sampler.stochastic else p.errors)(p.walk(sampler, grid, budget)) for p in chosen
                ]
                values[key] |= {m: [one[m] for one in found] for m in found[0]}
            say(f"{grid}, {name}")
    return values, lambdas, measure_black_box(values, tuning, problems)


def measure_black_box(values: Values, tuning: Problem, problems: Sequence[Problem]) -> dict[int, float]:
    """Measure RK45, which chooses its steps itself: its errors go into ``values``, on every grid.

    Returns the evaluations that it took.
    """
    spent = {x: tuning.follow_black_box(x)[1] for x in (10.0**-x for x in np.arange(0.0, 6.01, 0.25))}
    used: dict[int, float] = {}
    for budget in BUDGETS:
        tolerance = min(spent, key=lambda x: abs(math.log(spent[x] / budget)))
        runs = [p.follow_black_box(tolerance) for p in problems]
        found = [p.errors(x) for p, (x, _) in zip(problems, runs, strict=True)]
        for grid in GRIDS:  # it has none, so these are one number
            values[grid, RK45, budget] = {m: [one[m] for one in found] for m in found[0]}
        used[budget] = statistics.fmean(n for _, n in runs)
    say(RK45)
    return used


def constants(name: str, gamma: float, time: float) -> dict[str, float]:
    """Root mean square over a mixture's law of the leading error of position and momentum, nu = 4 + Gamma."""
    integrator = ia.derive(f"psld(Gamma={gamma}, nu={4 + gamma})/{name}")
    problem = MixtureProblem(integrator.process)
    field = problem.field(integrator.program.unknown)
    nodes, weights = problem.nodes(time, 4, 1e-3)
    found = [integrator.local_error.evaluate(z, time, field, digits=25) for z in nodes]
    return {b: math.sqrt(sum(w * v[b] ** 2 for w, v in zip(weights, found, strict=True))) for b in ("x", "m")}


def constants_table(found: Mapping[tuple[str, float, float], dict[str, float]]) -> str:
    """The constants of both blocks, by scheme, Gamma and time."""
    places = [(g, t) for g in GAMMAS for t in TIMES]
    rows = [[name, b, *(f"{found[name, *at][b]:.3g}" for at in places)] for name in SPLITTINGS for b in ("x", "m")]
    return table(["scheme", "block", *(f"Gamma = {g:g}, t = {t:g}" for g, t in places)], rows)


def constants_text(found: Mapping[tuple[str, float, float], dict[str, float]]) -> str:
    """What the constants say of Gamma and of the evaluations that a step takes."""

    def ratio(one: tuple[str, float, float], other: tuple[str, float, float], block: str) -> str:
        return f"{found[one][block] / found[other][block]:.2f}"

    low, double, t = *GAMMAS[:2], TIMES[0]
    grown = {name: ratio((name, double, t), (name, low, t), "x") for name in SPLITTINGS}
    momentum = ratio(("NVV", low, t), ("RVV", low, t), "m")
    return (
        "All four have order 1. Below: root mean square of the coefficient of h^2 in the one-step error, over the law "
        "of a mixture of two Gaussians, with nu = 4 + Gamma. The position constants of both Verlets are proportional "
        f"to Gamma (at t = {t:g}, from Gamma = {low:g} to {double:g}: NVV times {grown['NVV']}, RVV times "
        f"{grown['RVV']}; NSE times {grown['NSE']}). So it is not Gamma that tells the reduced from the naive ones: "
        f"NVV's momentum constant is {momentum} times RVV's, at three evaluations a step against two; NSE and RSE have "
        "nearly the same constants, at two evaluations against one. At equal evaluations the reduced step is the "
        "shorter one."
    )


def variance_constants() -> str:
    """h^2 coefficient of the position variance's error in one step on Gaussian data, over that variance."""
    spreads, times = (0.1, 0.4, 1.0), (0.02, 0.1, 0.3, 0.6)
    rows = []
    for name in ("EM", "NOBA", "ROBA", "NOBAB", "ROBAB", "SSCS", "NBAOAB", "RBAOAB"):
        row = [name]
        for t in times:
            one, two = (  # h = t / 1000 and half of it, extrapolated: the next term is a millionth of the first
                (error.covariance[:, 0, 0] / error.exact[:, 0, 0] / h**2)
                for h in (t / 1000, t / 2000)
                for error in [derive_scheme(name).gaussian_error([t, t - h], 0.0, np.array(spreads) ** 2)]
            )
            row += [f"{x:.3g}" for x in 2 * two - one]
        rows.append(row)
    return table(["scheme", *(f"t = {t:g}, std {c:g}" for t in times for c in spreads)], rows)


def directions_table(lambdas: Mapping[Key, float]) -> str:
    """Relative error of the position's standard deviation on Gaussian data, in closed form, per direction."""
    spreads, budgets = (0.1, 0.4, 1.0), (20, 50)
    shown = ("Euler", "NSE", "NVV", "RSE", "RVV", "DDIM", "gDDIM", "CSE-whole", "CVV-whole", *NEW)
    rows = []
    for name in (*shown, "EM", "NOBA", "ROBA", "ROBAB", "SSCS", "RBAOAB"):
        row = [name]
        for budget in budgets:
            integrator = derive_scheme(name, lambdas.get((GRIDS[0], name, budget)))
            times = times_of(integrator.process, GRIDS[0], budget // integrator.nfe_per_step)
            error = integrator.gaussian_error(times, 0.0, np.array(spreads) ** 2)
            relative = np.maximum(1 + error.covariance[:, 0, 0] / error.exact[:, 0, 0], 0.0)
            row += [f"{math.sqrt(x) - 1:.2g}" for x in relative]
        rows.append(row)
    return table(["scheme", *(f"std {c:g}, {b} evaluations" for b in budgets for c in spreads)], rows)


def average(values: Values, key: Key, measure: str) -> float:
    return statistics.fmean(values[key][measure])


def cell(numbers: Sequence[float], best: bool) -> str:
    """Mean and deviation over the seeds; a single number, or a large one, has none."""
    if not numbers:
        return ""
    if not all(map(math.isfinite, numbers)):
        return "not finite"
    middle = statistics.fmean(numbers)
    if middle > 100:
        return f"{middle:.1e}"
    return bold(f"{middle:.3g}" if len(numbers) == 1 else mean_and_deviation(numbers), best)


def measure_table(values: Values, names: Sequence[str], measure: str, grids: Sequence[str] = GRIDS) -> str:
    """One measure of schemes, by grid and budget; the smallest of a column is bold."""
    columns = [(grid, budget) for grid in grids for budget in BUDGETS]
    found = {(at, name): values.get((at[0], name, at[1]), {}).get(measure, []) for at in columns for name in names}
    best = {at: min(statistics.fmean(found[at, name]) for name in names if found[at, name]) for at in columns}
    rows = []
    for name in names:
        numbers = [found[at, name] for at in columns]
        are_best = [bool(own) and statistics.fmean(own) == best[at] for own, at in zip(numbers, columns, strict=True)]
        rows.append([name, *map(cell, numbers, are_best)])
    return table(["scheme", *(f"{g}, {b}" if len(grids) > 1 else str(b) for g, b in columns)], rows)


def ratios(values: Values, worse: str, better: str, measure: str) -> list[float]:
    """Error of the scheme that the paper reports as worse over that of the other, per grid and budget; nan for none."""
    out = []
    for grid in GRIDS:
        for budget in BUDGETS:
            high, low = (average(values, (grid, name, budget), measure) for name in (worse, better))
            out.append(high / low if math.isfinite(low) else math.nan)
    return out


def compare_claims(values: Values) -> tuple[str, list[str], list[str]]:
    """The ratios of the paper's pairs; the pairs in its order everywhere from 20 evaluations on, and nowhere."""
    rows: list[list[str]] = []
    always: list[str] = []
    never: list[str] = []
    for worse, better in CLAIMS:
        measures = ["gaussian"] if worse in STOCHASTIC else ["trajectory_median", "gaussian"]
        found = [ratios(values, worse, better, measure) for measure in measures]
        for measure, row in zip(measures, found, strict=True):
            shown = ["-" if math.isnan(x) else f"{x:.3g}" for x in row]
            rows.append([worse, better, measure.replace("_", " "), *shown])
        several = [x for row in found for x, budget in zip(row, BUDGETS * len(GRIDS), strict=True) if budget >= 20]
        always += [f"{better} before {worse}"] if all(x > 1 for x in several) else []
        never += [f"{better} before {worse}"] if all(not x > 1 for x in several) else []
    columns = [f"{grid}, {budget}" for grid in GRIDS for budget in BUDGETS]
    return table(["worse", "better", "measure", *columns], rows), always, never


def lambdas_table(lambdas: Mapping[Key, float]) -> str:
    """The tuned lambda of each scheme, by grid and budget."""
    columns = [(grid, budget) for grid in GRIDS for budget in BUDGETS]
    rows = []
    for name in sorted({name for _, name, _ in lambdas}):
        keys = [(grid, name, budget) for grid, budget in columns]
        rows.append([name, *(f"{lambdas[key]:g}" if key in lambdas else "" for key in keys)])
    return table(["scheme", *(f"{g}, {b}" for g, b in columns)], rows)


PAGE = """\
# The ordering of the schemes on phase space

Made by `python benchmarks/studies/ordering.py`. PSLD at its published parameters, float64, time grids \
equidistant in t^(1/2) (quadratic), t (uniform) and t^(1/7) (karras). A scheme with k evaluations a step \
takes budget // k steps; SPS-2M takes one evaluation more, at its start. The best of a column is \
bold. Two measures:

- *Trajectory error*: the digits with their exact score (a Gaussian of standard deviation \
{{ bandwidth }} about each image); per pixel, against the probability-flow solution from the same noise \
(DOP853), for {{ followed }} samples from each of {{ seeds }} seeds, {{ other_seeds }} on the \
grids other than quadratic; mean ± standard deviation over the seeds. For deterministic schemes.
- *Exact distance on Gaussian data*: 2-Wasserstein distance of the positions, per pixel, for Gaussian data \
with the digits' mean and covariance and their exact score, in all 64 directions. Means and covariances are \
products of matrices, so there is no sampling noise. For all schemes; the measure that decides between \
stochastic ones.

lambda is tuned per grid and budget over {{ list_numbers(strengths) }}: by the median trajectory \
error on seed {{ tuning_seed }}; COBA by the exact distance. RK45 is scipy's, all samples in one system, with \
the tolerance whose evaluations come nearest to the budget: \
{% for budget, evaluations in used.items() %}
{{ "%.0f" | format(evaluations) }} for {{ budget }}{{ "" if loop.last else ", " }}\
{% endfor %}
; it has no grid.

## The paper's ordering

Error of the scheme that the paper reports as worse over that of the better one; above 1 the order is the \
paper's. A dash: the better one left the finite numbers.

From 20 evaluations on, by every measure and on every grid: {{ always | join(", ") or "none of them" }}. \
By none: {{ never | join(", ") or "none of them" }}. The rest depends on the grid, the budget or the measure.

{{ claims_table }}

## {{ titles.gaussian }}, stochastic schemes

{{ measured(stochastic, "gaussian") }}

## {{ titles.gaussian }}, deterministic schemes

{{ measured(deterministic, "gaussian") }}

{% for grid in grids %}
## {{ titles.trajectory_median }}, grid {{ grid }}

{{ measured(with_black_box, "trajectory_median", [grid]) }}

{% endfor %}
## {{ titles.trajectory_rmse }}, grid {{ grids[0] }}

{{ measured(with_black_box, "trajectory_rmse", grids[:1]) }}

## {{ titles.sliced_wasserstein }}, stochastic schemes, grid {{ grids[0] }}

To the 1,797 images, {{ images }} samples a seed; exact samples have \
{{ "%.4f" | format(floor.sliced_wasserstein) }} ± \
{{ "%.4f" | format(floor.sliced_wasserstein_std) }}. From 20 evaluations on most schemes lie within that noise: the \
exact distances above tell them apart.

{{ measured(sampled, "sliced_wasserstein", grids[:1]) }}

## Tuned lambda

{{ lambdas_table }}

## Why the reduced schemes beat the naive ones

{{ constants_text }}

{{ constants_table }}

## Why the palindromes with noise beat ROBA, and ROBA beats NOBA

The coefficient of h^2 in the error of the position's variance after one step, divided by the variance, when \
the data are one Gaussian of the given standard deviation in a direction. All schemes have weak order 1. \
The constants of NOBA and ROBA are those of EM with the other sign, to a few percent from t = 0.3 on: EM \
leaves too much variance, they too little. NOBA pays two evaluations for a step and ROBA one, so at equal \
evaluations ROBA's steps are half as long. SSCS and BAOAB are palindromes, and their constants are smaller \
by one to five powers of ten from t = 0.1 on. lambda_s > 1 gives ROBA back part of the variance that it loses \
(lambda_s.md).

{{ variance_constants }}

## Why the frame of eps rules at few evaluations

Relative error of the standard deviation of position, in closed form, when the data are one Gaussian of the \
given standard deviation in a direction (the digits have from {{ bandwidth }}, their bandwidth, to \
{{ "%.2g" | format(widest) }}); grid {{ grids[0] }}.

{{ directions_table }}
"""


def report(
    values: Values,
    lambdas: Mapping[Key, float],
    used: Mapping[int, float],
    floor: Mapping[str, float],
    seeds: Sequence[int],
    images: int,
) -> str:
    """The page; ``used`` are RK45's evaluations per budget, ``floor`` the distance that exact samples have."""
    found = {(name, g, t): constants(name, g, t) for name in SPLITTINGS for g in GAMMAS for t in TIMES}
    claims_table, always, never = compare_claims(values)
    return render(
        PAGE,
        bandwidth=BANDWIDTH,
        followed=FOLLOWED,
        seeds=len(seeds),
        other_seeds=min(len(seeds), len(OTHER_SEEDS)),
        strengths=LAMBDAS,
        tuning_seed=TUNING_SEED,
        used={budget: used[budget] for budget in BUDGETS},
        claims_table=claims_table,
        always=always,
        never=never,
        titles=MEASURES,
        measured=partial(measure_table, values),
        stochastic=STOCHASTIC,
        deterministic=DETERMINISTIC,
        with_black_box=(*DETERMINISTIC, RK45),
        sampled=SAMPLED,
        grids=GRIDS,
        images=images,
        floor=floor,
        lambdas_table=lambdas_table(lambdas),
        constants_text=constants_text(found),
        constants_table=constants_table(found),
        variance_constants=variance_constants(),
        widest=math.sqrt(law()[1].max()),
        directions_table=directions_table(lambdas),
    )


def draw_picture(values: Values, path: Path) -> None:
    """Errors over evaluations: a row per grid, three groups of schemes."""
    panels = (
        (("EM", "SSCS", "NOBA", "ROBA", "ROBAB", "RBAOAB"), "gaussian", 10),
        (("NSE", "NVV", "RSE", "RVV", "Euler", RK45), "trajectory_median", 10),
        (("DDIM", "lambda-DDIM-II", "CSE-whole", "gDDIM", "SPS-2M", "DPM-Solver++2M"), "trajectory_median", 10),
    )
    colors = (BLUE, SKY, VERMILLION, ORANGE, GREEN, PURPLE)
    figure = new_figure(11, 3.1 * len(GRIDS))
    axes = figure.subplots(len(GRIDS), len(panels))
    for grid, row in zip(GRIDS, axes, strict=True):
        for ax, (names, measure, limit) in zip(row, panels, strict=True):
            for name, color, marker in zip(names, colors, "osD^vP", strict=True):
                found = [values.get((grid, name, b), {}).get(measure, [math.nan]) for b in BUDGETS]
                means = [statistics.fmean(v) for v in found]
                spreads = [statistics.pstdev(v) if all(map(math.isfinite, v)) else 0 for v in found]
                shown = [m if m < limit else math.nan for m in means]
                ax.errorbar(BUDGETS, shown, spreads, color=color, marker=marker, markersize=4, capsize=2, label=name)
            label = "exact distance, Gaussian data" if measure == "gaussian" else "trajectory error, median"
            ax.set(xscale="log", yscale="log", ylabel=label)
            ax.set_xticks(BUDGETS, map(str, BUDGETS))
            ax.minorticks_off()
            ax.set_title(f"grid {grid}", fontsize=9, color=GREY)
            if grid == GRIDS[0]:
                ax.legend(fontsize=7)
    for ax in axes[-1]:
        ax.set_xlabel("network evaluations")
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two seeds, few samples, into the working directory")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds, images = (SEEDS[:2], FOLLOWED) if quick else (SEEDS, IMAGES)
    output = Path() if quick else REPORTS
    values, lambdas, used = measure_all(seeds, images)
    floor = baseline(bandwidth=BANDWIDTH, n=images, seed=0, projections=PROJECTIONS)
    draw_picture(values, output / "ordering.png")
    write_page("ordering.md", report(values, lambdas, used, floor, seeds, images), output)


if __name__ == "__main__":
    main()
