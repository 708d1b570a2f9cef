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
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure, save
from integrator_analysis.files import write_text
from integrator_analysis.report.digits import BANDWIDTH, digits_law, digits_networks, probability_flow_drift
from torch_backend.measuring.digits_study import baseline, probability_flow
from torch_backend.measuring.distances import sliced_wasserstein
from torch_backend.scores import digits
from torch_backend.walk.grids import time_grid

OUTPUT = Path(__file__).parents[2] / "reports"
BUDGETS = (10, 20, 50, 100)
GRIDS = ("quadratic", "uniform", "karras")
"""Equidistant in t^(1/2), t and t^(1/7). The first is studied in full, the others with fewer seeds and schemes."""
SEEDS, OTHER_SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), (0, 1), 100
IMAGES, FOLLOWED, PROJECTIONS = 128, 32, 200
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
MEASURES = {
    "trajectory_median": "Trajectory error, median over images",
    "trajectory_rmse": "Trajectory error, RMSE",
    "sliced_wasserstein": "Sliced Wasserstein distance to the data",
    "gaussian": "Exact distance on Gaussian data",
}
START = time.perf_counter()
Key = tuple[str, str, int]
Values = dict[Key, dict[str, list[float]]]
"""(grid, scheme, evaluations) -> measure -> one number per seed; inf where a walk left the finite numbers."""


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


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
        try:
            return sampler.sample(self.network, start, steps=steps, grid=grid, seed=noise)[:, :1]
        except FloatingPointError:
            return None

    def black_box(self, tolerance: float) -> tuple[torch.Tensor, int]:
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
        squares = (x - self.end).square().flatten(1).mean(1)
        return {"trajectory_rmse": float(squares.mean().sqrt()), "trajectory_median": float(squares.sqrt().median())}

    def distance(self, x: torch.Tensor | None) -> dict[str, float]:
        """Of a stochastic scheme: to the data."""
        far = math.inf if x is None else sliced_wasserstein(x, digits(), projections=PROJECTIONS, seed=0)
        return {"sliced_wasserstein": far}


NETWORK = digits_networks([ia.process("psld")])
LAW = digits_law()


@cache
def derived(name: str, strength: float | None = None) -> ia.Integrator:
    return ia.derive(f"psld/{name}") if strength is None else ia.derive(f"psld/{name}", lambda_=strength)


@cache
def gaussian(name: str, grid: str, budget: int, strength: float | None = None) -> float:
    """2-Wasserstein distance of the positions from Gaussian data with the digits' mean and covariance, per pixel."""
    integrator = derived(name, strength)
    process, steps = integrator.process, budget // integrator.nfe_per_step
    times = time_grid(grid, steps, process.t_max, process.t_min)
    return math.sqrt(integrator.gaussian_error(times, *LAW).squared_distances.mean())


def has_lambda(name: str) -> bool:
    return name.startswith("lambda-") or name.endswith(("-each", "-whole"))


def tune(name: str, sampler: Any, problem: Problem, grid: str, budget: int) -> float:
    """The lambda with the smallest error: median trajectory error on the tuning seed, for noise the exact distance."""
    found = {}
    for strength in LAMBDAS:
        if sampler.stochastic:
            found[strength] = gaussian(name, grid, budget, strength)
        else:
            sampler.module.lambda_ = strength
            found[strength] = problem.errors(problem.walk(sampler, grid, budget))["trajectory_median"]
    return min(found, key=found.__getitem__)


def study(seeds: Sequence[int], images: int) -> tuple[Values, dict[Key, float], dict[int, float]]:
    """All values, the tuned lambdas, and RK45's evaluations, mean over the seeds, per budget."""
    samplers = {name: derived(name).to_torch(dtype=torch.float64) for name in (*STOCHASTIC, *DETERMINISTIC)}
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
                values[key] = {"gaussian": [gaussian(name, grid, budget, lambdas.get(key))]}
                if sampler.stochastic and (name not in SAMPLED or grid != GRIDS[0]):
                    continue
                found = [
                    (p.distance if sampler.stochastic else p.errors)(p.walk(sampler, grid, budget)) for p in chosen
                ]
                values[key] |= {m: [one[m] for one in found] for m in found[0]}
            say(f"{grid}, {name}")
    return values, lambdas, black_box(values, tuning, problems)


def black_box(values: Values, tuning: Problem, problems: Sequence[Problem]) -> dict[int, float]:
    """RK45 chooses its steps itself: its errors into ``values``, on every grid; returns the evaluations it took."""
    spent = {x: tuning.black_box(x)[1] for x in (10.0**-x for x in np.arange(0.0, 6.01, 0.25))}
    used: dict[int, float] = {}
    for budget in BUDGETS:
        tolerance = min(spent, key=lambda x: abs(math.log(spent[x] / budget)))
        runs = [p.black_box(tolerance) for p in problems]
        found = [p.errors(x) for p, (x, _) in zip(problems, runs, strict=True)]
        for grid in GRIDS:  # it has none, so these are one number
            values[grid, RK45, budget] = {m: [one[m] for one in found] for m in found[0]}
        used[budget] = statistics.fmean(n for _, n in runs)
    say(RK45)
    return used


# -- why: the leading constants ------------------------------------------------------------------------------------
def constants(name: str, gamma: float, time: float) -> dict[str, float]:
    """Root mean square over a mixture's law of the leading error of position and momentum, nu = 4 + Gamma."""
    integrator = ia.derive(f"psld(Gamma={gamma}, nu={4 + gamma})/{name}")
    problem = MixtureProblem(integrator.process)
    field = problem.field(integrator.program.unknown)
    nodes, weights = problem.nodes(time, 4, 1e-3)
    found = [integrator.local_error.evaluate(z, time, field, digits=25) for z in nodes]
    return {b: math.sqrt(sum(w * v[b] ** 2 for w, v in zip(weights, found, strict=True))) for b in ("x", "m")}


GAMMAS, TIMES = (0.01, 0.02, 0.04), (0.1, 0.4)


def constants_table(found: Mapping[tuple[str, float, float], dict[str, float]]) -> list[str]:
    lines = [
        "| scheme | block | " + " | ".join(f"Gamma = {g:g}, t = {t:g}" for g in GAMMAS for t in TIMES) + " |",
        "|---" * (2 + len(GAMMAS) * len(TIMES)) + "|",
    ]
    for name in SPLITTINGS:
        for b in ("x", "m"):
            row = [f"{found[name, g, t][b]:.3g}" for g in GAMMAS for t in TIMES]
            lines.append(f"| {name} | {b} | {' | '.join(row)} |")
    return lines


def constants_text(found: Mapping[tuple[str, float, float], dict[str, float]]) -> str:
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


def variance_constants() -> list[str]:
    """h^2 coefficient of the position variance's error in one step on Gaussian data, over that variance."""
    spreads, times = (0.1, 0.4, 1.0), (0.02, 0.1, 0.3, 0.6)
    lines = [
        "| scheme | " + " | ".join(f"t = {t:g}, std {c:g}" for t in times for c in spreads) + " |",
        "|---" * (1 + len(times) * len(spreads)) + "|",
    ]
    for name in ("EM", "NOBA", "ROBA", "NOBAB", "ROBAB", "SSCS", "NBAOAB", "RBAOAB"):
        row: list[str] = []
        for t in times:
            one, two = (  # h = t / 1000 and half of it, extrapolated: the next term is a millionth of the first
                (error.covariance[:, 0, 0] / error.exact[:, 0, 0] / h**2)
                for h in (t / 1000, t / 2000)
                for error in [derived(name).gaussian_error([t, t - h], 0.0, np.array(spreads) ** 2)]
            )
            row += [f"{x:.3g}" for x in 2 * two - one]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


def directions_table(lambdas: Mapping[Key, float]) -> list[str]:
    """Relative error of the position's standard deviation on Gaussian data, in closed form, per direction."""
    spreads, budgets = (0.1, 0.4, 1.0), (20, 50)
    lines = [
        "| scheme | " + " | ".join(f"std {c:g}, {b} evaluations" for b in budgets for c in spreads) + " |",
        "|---" * (1 + len(budgets) * len(spreads)) + "|",
    ]
    shown = ("Euler", "NSE", "NVV", "RSE", "RVV", "DDIM", "gDDIM", "CSE-whole", "CVV-whole", *NEW)
    for name in (*shown, "EM", "NOBA", "ROBA", "ROBAB", "SSCS", "RBAOAB"):
        row: list[str] = []
        for budget in budgets:
            integrator = derived(name, lambdas.get((GRIDS[0], name, budget)))
            process, steps = integrator.process, budget // integrator.nfe_per_step
            times = time_grid(GRIDS[0], steps, process.t_max, process.t_min)
            error = integrator.gaussian_error(times, 0.0, np.array(spreads) ** 2)
            relative = np.maximum(1 + error.covariance[:, 0, 0] / error.exact[:, 0, 0], 0.0)
            row += [f"{math.sqrt(x) - 1:.2g}" for x in relative]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


# -- text ----------------------------------------------------------------------------------------------------------
def average(values: Values, key: Key, measure: str) -> float:
    return statistics.fmean(values[key][measure])


def cell(numbers: Sequence[float], best: bool) -> str:
    if not numbers:
        return ""
    if not all(map(math.isfinite, numbers)):
        return "not finite"
    middle, star = statistics.fmean(numbers), "**" * best
    if middle > 100:
        return f"{middle:.1e}"
    if len(numbers) == 1:
        return f"{star}{middle:.3g}{star}"
    return f"{star}{middle:.4f} ± {statistics.stdev(numbers):.4f}{star}"


def table(values: Values, names: Sequence[str], measure: str, grids: Sequence[str] = GRIDS) -> list[str]:
    columns = [(grid, budget) for grid in grids for budget in BUDGETS]
    lines = [
        f"| scheme | {' | '.join(f'{g}, {b}' if len(grids) > 1 else str(b) for g, b in columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    found = {(at, name): values.get((at[0], name, at[1]), {}).get(measure, []) for at in columns for name in names}
    best = {at: min(statistics.fmean(found[at, name]) for name in names if found[at, name]) for at in columns}
    for name in names:
        cells = [
            (numbers := found[at, name], bool(numbers) and statistics.fmean(numbers) == best[at]) for at in columns
        ]
        row = [cell(*one) for one in cells]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


def ratios(values: Values, worse: str, better: str, measure: str) -> list[float]:
    """Error of the scheme that the paper reports as worse over that of the other, per grid and budget; nan for none."""
    out = []
    for grid in GRIDS:
        for budget in BUDGETS:
            high, low = (average(values, (grid, name, budget), measure) for name in (worse, better))
            out.append(high / low if math.isfinite(low) else math.nan)
    return out


def claims(values: Values) -> list[str]:
    columns = [f"{grid}, {budget}" for grid in GRIDS for budget in BUDGETS]
    lines = [f"| worse | better | measure | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    always, never = [], []
    for worse, better in CLAIMS:
        measures = ["gaussian"] if worse in STOCHASTIC else ["trajectory_median", "gaussian"]
        found = [ratios(values, worse, better, measure) for measure in measures]
        for measure, row in zip(measures, found, strict=True):
            shown = ["-" if math.isnan(x) else f"{x:.3g}" for x in row]
            lines.append(f"| {worse} | {better} | {measure.replace('_', ' ')} | {' | '.join(shown)} |")
        several = [x for row in found for x, budget in zip(row, BUDGETS * len(GRIDS), strict=True) if budget >= 20]
        always += [f"{better} before {worse}"] if all(x > 1 for x in several) else []
        never += [f"{better} before {worse}"] if all(not x > 1 for x in several) else []
    said = "From 20 evaluations on, by every measure and on every grid: "
    return [
        f"{said}{', '.join(always) or 'none of them'}. By none: {', '.join(never) or 'none of them'}. The rest depends "
        "on the grid, the budget or the measure.",
        "",
        *lines,
    ]


def strengths(lambdas: Mapping[Key, float], name: str) -> list[str]:
    keys = [(grid, name, budget) for grid in GRIDS for budget in BUDGETS]
    return [f"{lambdas[key]:g}" if key in lambdas else "" for key in keys]


def report(
    values: Values,
    lambdas: Mapping[Key, float],
    used: Mapping[int, float],
    floor: Mapping[str, float],
    seeds: Sequence[int],
    images: int,
) -> str:
    tuned = sorted({name for _, name, _ in lambdas})
    deterministic = (*DETERMINISTIC, RK45)
    found = {(name, g, t): constants(name, g, t) for name in SPLITTINGS for g in GAMMAS for t in TIMES}
    lines = [
        "# The ordering of the schemes on phase space",
        "",
        "Made by `python benchmarks/studies/ordering.py`. PSLD at its published parameters, float64, time grids "
        "equidistant in t^(1/2) (quadratic), t (uniform) and t^(1/7) (karras). A scheme with k evaluations a step "
        "takes budget // k steps; SPS-2M takes one evaluation more, at its start. The best of a column is "
        "bold. Two measures:",
        "",
        "- *Trajectory error*: the digits with their exact score (a Gaussian of standard deviation "
        f"{BANDWIDTH} about each image); per pixel, against the probability-flow solution from the same noise "
        f"(DOP853), for {FOLLOWED} samples from each of {len(seeds)} seeds, {min(len(seeds), len(OTHER_SEEDS))} on the "
        "grids other than quadratic; mean ± standard deviation over the seeds. For deterministic schemes.",
        "- *Exact distance on Gaussian data*: 2-Wasserstein distance of the positions, per pixel, for Gaussian data "
        "with the digits' mean and covariance and their exact score, in all 64 directions. Means and covariances are "
        "products of matrices, so there is no sampling noise. For all schemes; the measure that decides between "
        "stochastic ones.",
        "",
        f"lambda is tuned per grid and budget over {', '.join(f'{x:g}' for x in LAMBDAS)}: by the median trajectory "
        f"error on seed {TUNING_SEED}; COBA by the exact distance. RK45 is scipy's, all samples in one system, with "
        "the tolerance whose evaluations come nearest to the budget: "
        f"{', '.join(f'{used[b]:.0f} for {b}' for b in BUDGETS)}; it has no grid.",
        "",
        "## The paper's ordering",
        "",
        "Error of the scheme that the paper reports as worse over that of the better one; above 1 the order is the "
        "paper's. A dash: the better one left the finite numbers.",
        "",
        *claims(values),
        "",
        f"## {MEASURES['gaussian']}, stochastic schemes",
        "",
        *table(values, STOCHASTIC, "gaussian"),
        "",
        f"## {MEASURES['gaussian']}, deterministic schemes",
        "",
        *table(values, DETERMINISTIC, "gaussian"),
        "",
    ]
    for grid in GRIDS:
        lines += [f"## {MEASURES['trajectory_median']}, grid {grid}", ""]
        lines += [*table(values, deterministic, "trajectory_median", [grid]), ""]
    lines += [
        f"## {MEASURES['trajectory_rmse']}, grid {GRIDS[0]}",
        "",
        *table(values, deterministic, "trajectory_rmse", GRIDS[:1]),
        "",
        f"## {MEASURES['sliced_wasserstein']}, stochastic schemes, grid {GRIDS[0]}",
        "",
        f"To the 1,797 images, {images} samples a seed; exact samples have {floor['sliced_wasserstein']:.4f} ± "
        f"{floor['sliced_wasserstein_std']:.4f}. From 20 evaluations on most schemes lie within that noise: the exact "
        "distances above tell them apart.",
        "",
        *table(values, SAMPLED, "sliced_wasserstein", GRIDS[:1]),
        "",
        "## Tuned lambda",
        "",
        f"| scheme | {' | '.join(f'{g}, {b}' for g in GRIDS for b in BUDGETS)} |",
        "|---" * (1 + len(GRIDS) * len(BUDGETS)) + "|",
        *(f"| {name} | {' | '.join(strengths(lambdas, name))} |" for name in tuned),
        "",
        "## Why the reduced schemes beat the naive ones",
        "",
        constants_text(found),
        "",
        *constants_table(found),
        "",
        "## Why the palindromes with noise beat ROBA, and ROBA beats NOBA",
        "",
        "The coefficient of h^2 in the error of the position's variance after one step, divided by the variance, when "
        "the data are one Gaussian of the given standard deviation in a direction. All schemes have weak order 1. "
        "The constants of NOBA and ROBA are those of EM with the other sign, to a few percent from t = 0.3 on: EM "
        "leaves too much variance, they too little. NOBA pays two evaluations for a step and ROBA one, so at equal "
        "evaluations ROBA's steps are half as long. SSCS and BAOAB are palindromes, and their constants are smaller "
        "by one to five powers of ten from t = 0.1 on. lambda_s > 1 gives ROBA back part of the variance that it loses "
        "(lambda_s.md).",
        "",
        *variance_constants(),
        "",
        "## Why the frame of eps rules at few evaluations",
        "",
        "Relative error of the standard deviation of position, in closed form, when the data are one Gaussian of the "
        f"given standard deviation in a direction (the digits have from {BANDWIDTH}, their bandwidth, to "
        f"{math.sqrt(LAW[1].max()):.2g}); grid {GRIDS[0]}.",
        "",
        *directions_table(lambdas),
        "",
    ]
    return "\n".join(lines)


def picture(values: Values, path: Path) -> None:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, few samples, into the working directory")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds, images = (SEEDS[:2], FOLLOWED) if quick else (SEEDS, IMAGES)
    output = Path() if quick else OUTPUT
    values, lambdas, used = study(seeds, images)
    floor = baseline(bandwidth=BANDWIDTH, n=images, seed=0, projections=PROJECTIONS)
    write_text(output / "ordering.md", report(values, lambdas, used, floor, seeds, images))
    picture(values, output / "ordering.png")
    say(f"wrote {output / 'ordering.md'}")


if __name__ == "__main__":
    main()
