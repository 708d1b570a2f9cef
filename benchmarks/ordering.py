"""Which scheme on phase space is best at 10 to 100 evaluations? The ordering of arXiv 2310.07894, on the digits.

The exact score of the digits under PSLD; trajectory error and distance to the data per budget, several seeds; beside it
what explains them: leading constants, and the exact error on Gaussian data by direction. Writes reports/ordering.md and
reports/ordering.png. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.analysis.gaussian import marginal
from integrator_analysis.analysis.problems import MixtureProblem
from integrator_analysis.certificate import write_text
from integrator_analysis.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure, save
from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
from torch_backend.digits_study import baseline, probability_flow
from torch_backend.distances import sliced_wasserstein
from torch_backend.loop import time_grid
from torch_backend.scores import digits

OUTPUT = Path(__file__).parent.parent / "reports"
BUDGETS = (10, 20, 50, 100)
SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), 100
IMAGES, TUNING_IMAGES, FOLLOWED, PROJECTIONS = 256, 128, 64, 200
LAMBDAS = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0, 4.0)
STOCHASTIC = ("EM", "SSCS", "NOBA", "ROBA", "RBAO", "ROBAB", "RBAOAB", "COBA-each")
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
"""A scheme is one line here. Those with a lambda are tuned."""
SPLITTINGS = ("NSE", "RSE", "NVV", "RVV")
NEW = ("SPS-2S", "SPS-2M", "EDM-Heun", "DPM-Solver++2M")
RK45 = "RK45"
CLAIMS = (
    ("EM", "SSCS", "sliced_wasserstein"),
    ("SSCS", "NOBA", "sliced_wasserstein"),
    ("NOBA", "ROBA", "sliced_wasserstein"),
    ("NSE", "RSE", "trajectory_median"),
    ("NVV", "RVV", "trajectory_median"),
    ("Euler", "NSE", "trajectory_median"),
    ("DDIM", "lambda-DDIM-I", "trajectory_median"),
    ("lambda-DDIM-I", "lambda-DDIM-II", "trajectory_median"),
    ("RSE", "CSE-whole", "trajectory_median"),
    ("RVV", "CVV-whole", "trajectory_median"),
    ("lambda-DDIM-II", "CVV-whole", "trajectory_median"),
)
"""The paper's ordering, worse first, and the measure that decides here."""
MEASURES = {
    "trajectory_rmse": "Trajectory error, RMSE",
    "trajectory_median": "Trajectory error, median over images",
    "sliced_wasserstein": "Sliced Wasserstein distance to the data",
}
START = time.perf_counter()
Values = dict[tuple[str, int], dict[str, list[float]]]
"""(scheme, evaluations) -> measure -> one number per seed; inf where a walk left the finite numbers."""


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


def module(name: str) -> Any:
    """The sampler of a scheme; its module's ``lambda_`` can be set."""
    return ia.derive(f"psld/{name}").to_torch(dtype=torch.float64)


class Problem:
    """The digits under PSLD from one seed: states to start from, and where the probability flow takes some of them."""

    def __init__(self, seed: int, images: int, sampler: Any) -> None:
        process = ia.process("psld")
        self.seed, self.network, self.slope = seed, NETWORK["psld"], probability_flow_drift(process)
        self.span = (process.t_max, process.t_min)
        self.start = sampler.prior(images, (1, 8, 8), seed=seed)
        self.end = probability_flow(self.network, self.slope, self.start[:FOLLOWED], *self.span)[:, :1]

    def walk(self, sampler: Any, budget: int) -> torch.Tensor | None:
        """Positions at the last time; None where the walk leaves the finite numbers."""
        noise = self.seed if sampler.stochastic else None
        steps = budget // sampler.nfe_per_step
        try:
            return sampler.sample(self.network, self.start, steps=steps, grid="quadratic", seed=noise)[:, :1]
        except FloatingPointError:
            return None

    def black_box(self, tolerance: float) -> tuple[torch.Tensor, int]:
        """RK45 of scipy on all states at once: positions at the last time, and the evaluations it took."""
        shape = self.start.shape

        def slope(t: float, flat: np.ndarray) -> np.ndarray:
            z = torch.from_numpy(flat).reshape(shape)
            score = self.network.score(z, torch.full((len(z),), t, dtype=torch.float64))
            return self.slope(z, t, score).reshape(-1).numpy()

        with torch.no_grad():
            found = solve_ivp(slope, self.span, self.start.reshape(-1).numpy(), rtol=tolerance, atol=tolerance)
        return torch.from_numpy(found.y[:, -1].copy()).reshape(shape)[:, :1], int(found.nfev)

    def measure(self, x: torch.Tensor | None, followed: bool = True) -> dict[str, float]:
        if x is None:
            return dict.fromkeys(MEASURES, math.inf)
        out = {"trajectory_rmse": math.nan, "trajectory_median": math.nan}
        if followed:
            squares = (x[: len(self.end)] - self.end).square().flatten(1).mean(1)
            out = {"trajectory_rmse": float(squares.mean().sqrt()), "trajectory_median": float(squares.sqrt().median())}
        return out | {"sliced_wasserstein": sliced_wasserstein(x, digits(), projections=PROJECTIONS, seed=0)}


NETWORK = digits_networks([ia.process("psld")])


def deciding(sampler: Any) -> str:
    return "sliced_wasserstein" if sampler.stochastic else "trajectory_median"


def tune(sampler: Any, problem: Problem, budget: int) -> float:
    """The lambda with the smallest error on the tuning seed, by the measure that decides for the scheme."""
    found = {}
    for strength in LAMBDAS:
        sampler.module.lambda_ = strength
        found[strength] = problem.measure(problem.walk(sampler, budget), not sampler.stochastic)[deciding(sampler)]
    return min(found, key=found.__getitem__)


def study(seeds: Sequence[int], images: int) -> tuple[Values, dict[tuple[str, int], float], dict[int, float]]:
    """All values, the tuned lambdas, and RK45's evaluations, mean over the seeds, per budget."""
    samplers = {name: module(name) for name in (*STOCHASTIC, *DETERMINISTIC)}
    say(f"{len(samplers)} schemes derived")
    plain = samplers["Euler"]
    tuning, problems = (Problem(TUNING_SEED, TUNING_IMAGES, plain), [Problem(n, images, plain) for n in seeds])
    say(f"flow followed from {len(problems) + 1} seeds")
    values: Values = {}
    lambdas: dict[tuple[str, int], float] = {}
    for name, sampler in samplers.items():
        for budget in BUDGETS:
            if hasattr(sampler.module, "lambda_"):
                lambdas[name, budget] = sampler.module.lambda_ = tune(sampler, tuning, budget)
            found = [p.measure(p.walk(sampler, budget), not sampler.stochastic) for p in problems]
            values[name, budget] = {m: [one[m] for one in found] for m in MEASURES}
        say(name)
    used: dict[int, float] = {}
    tolerances = [10.0**-x for x in np.arange(0.0, 6.01, 0.25)]
    spent = {tolerance: tuning.black_box(tolerance)[1] for tolerance in tolerances}
    for budget in BUDGETS:
        tolerance = min(spent, key=lambda tol: abs(math.log(spent[tol] / budget)))
        runs = [p.black_box(tolerance) for p in problems]
        found = [p.measure(x) for p, (x, _) in zip(problems, runs, strict=True)]
        values[RK45, budget] = {m: [one[m] for one in found] for m in MEASURES}
        used[budget] = statistics.fmean(n for _, n in runs)
    say(RK45)
    return values, lambdas, used


# -- why: the leading constants ------------------------------------------------------------------------------------
def constants(name: str, gamma: float, time: float) -> dict[str, float]:
    """Root mean square over a mixture's law of the leading error of position and momentum, nu = 4 + Gamma."""
    integrator = ia.derive(f"psld(Gamma={gamma}, nu={4 + gamma})/{name}")
    problem = MixtureProblem(integrator.process)
    field = problem.field(integrator.program.unknown)
    nodes, weights = problem.nodes(time, 4)
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


def directions_table(lambdas: Mapping[tuple[str, int], float]) -> list[str]:
    """Relative error of the position's standard deviation on Gaussian data, in closed form, per direction."""
    spreads, budgets = (0.1, 0.4, 1.0), (20, 50)
    lines = [
        "| scheme | " + " | ".join(f"std {c:g}, {b} evaluations" for b in budgets for c in spreads) + " |",
        "|---" * (1 + len(budgets) * len(spreads)) + "|",
    ]
    for name in ("Euler", "NSE", "NVV", "RSE", "RVV", "DDIM", "gDDIM", "CSE-whole", "CVV-whole", *NEW):
        row = []
        for budget in budgets:
            known = {"lambda_": lambdas[name, budget]} if (name, budget) in lambdas else {}
            integrator = ia.derive(f"psld/{name}", **known)
            process = integrator.process
            steps = budget // integrator.nfe_per_step
            times = time_grid("quadratic", steps, process.t_max, process.t_min)
            for spread in spreads:
                off = integrator.gaussian_error(times, 0.0, spread**2).covariance[0][0, 0]
                exact = marginal(process, process.t_min, 0.0, spread**2)[1][0, 0]
                row.append(f"{math.sqrt(max(off + exact, 0.0) / exact) - 1:.2g}")
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


# -- text ----------------------------------------------------------------------------------------------------------
def average(values: Values, name: str, budget: int, measure: str) -> float:
    return statistics.fmean(values[name, budget][measure])


def cell(numbers: Sequence[float], best: bool) -> str:
    if not all(map(math.isfinite, numbers)):
        return "not finite"
    middle, spread = statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    if middle > 100:
        return f"{middle:.1e}"
    return f"{'**' * best}{middle:.4f} ± {spread:.4f}{'**' * best}"


def table(values: Values, names: Sequence[str], measure: str) -> list[str]:
    lines = [f"| scheme | {' | '.join(map(str, BUDGETS))} |", "|---" * (1 + len(BUDGETS)) + "|"]
    best = {budget: min(average(values, name, budget, measure) for name in names) for budget in BUDGETS}
    for name in names:
        row = [cell(values[name, b][measure], average(values, name, b, measure) == best[b]) for b in BUDGETS]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


def claims_table(values: Values) -> list[str]:
    """Each step of the paper's ordering, with the ratio of the two errors; above 1 it holds."""
    lines = [f"| worse | better | measure | {' | '.join(map(str, BUDGETS))} |", "|---" * (3 + len(BUDGETS)) + "|"]
    for worse, better, measure in CLAIMS:
        row = []
        for budget in BUDGETS:
            pair = [average(values, name, budget, measure) for name in (worse, better)]
            both = all(map(math.isfinite, pair))
            row.append(f"{pair[0] / pair[1]:.3g}" if both else "inf" if math.isfinite(pair[1]) else "-")
        lines.append(f"| {worse} | {better} | {measure.replace('_', ' ')} | {' | '.join(row)} |")
    return lines


def report(
    values: Values,
    lambdas: Mapping[tuple[str, int], float],
    used: Mapping[int, float],
    floor: Mapping[str, float],
    seeds: Sequence[int],
    images: int,
) -> str:
    tuned = sorted({name for name, _ in lambdas})
    deterministic = (*DETERMINISTIC, RK45)
    found = {(name, g, t): constants(name, g, t) for name in SPLITTINGS for g in GAMMAS for t in TIMES}
    lines = [
        "# The ordering of the schemes on phase space",
        "",
        "Made by `python benchmarks/ordering.py`. The digits under PSLD at its published parameters, with their exact "
        f"score (a Gaussian of standard deviation {BANDWIDTH} about each image), {images} samples from each of "
        f"{len(seeds)} seeds, quadratic time grid, float64. Mean ± standard deviation over the seeds; the best mean is "
        "bold. A scheme with k evaluations a step takes budget // k steps. SPS-2M takes one evaluation more, at its "
        "start.",
        "",
        f"Trajectory errors are per pixel, against the probability-flow solution from the same noise (DOP853), for "
        f"{FOLLOWED} samples a seed. The distance is sliced Wasserstein to the 1,797 images; exact samples have "
        f"{floor['sliced_wasserstein']:.4f} ± {floor['sliced_wasserstein_std']:.4f}. lambda is tuned per budget on "
        f"seed {TUNING_SEED} over {', '.join(f'{x:g}' for x in LAMBDAS)}, by the median trajectory error (stochastic "
        "schemes: by the distance). RK45 is scipy's, all samples in one system, with the tolerance whose evaluations "
        f"come nearest to the budget: {', '.join(f'{used[b]:.0f} for {b}' for b in BUDGETS)}.",
        "",
        "## The paper's ordering",
        "",
        "Error of the scheme that the paper reports as worse over that of the better one; above 1 the order is the "
        "paper's. A dash: the better one left the finite numbers.",
        "",
        *claims_table(values),
        "",
    ]
    for measure in ("trajectory_median", "trajectory_rmse", "sliced_wasserstein"):
        lines += [f"## {MEASURES[measure]}, deterministic schemes", "", *table(values, deterministic, measure), ""]
    lines += [
        f"## {MEASURES['sliced_wasserstein']}, stochastic schemes",
        "",
        *table(values, STOCHASTIC, "sliced_wasserstein"),
        "",
        "## Tuned lambda",
        "",
        f"| scheme | {' | '.join(map(str, BUDGETS))} |",
        "|---" * (1 + len(BUDGETS)) + "|",
        *(f"| {name} | {' | '.join(f'{lambdas[name, b]:g}' for b in BUDGETS)} |" for name in tuned),
        "",
        "## Why the reduced schemes beat the naive ones",
        "",
        constants_text(found),
        "",
        *constants_table(found),
        "",
        "## Why the frame of eps rules at few evaluations",
        "",
        "Relative error of the standard deviation of position, in closed form, when the data are one Gaussian of the "
        "given standard deviation in a direction (the digits have from 0.1, their bandwidth, to about 1).",
        "",
        *directions_table(lambdas),
        "",
    ]
    return "\n".join(lines)


def picture(values: Values, floor: float, path: Path) -> None:
    panels = (
        (STOCHASTIC[:6], "sliced_wasserstein", 0.3),
        (("NSE", "NVV", "RSE", "RVV", "Euler", RK45), "trajectory_median", 10),
        (("DDIM", "lambda-DDIM-II", "CSE-whole", "gDDIM", "SPS-2M", "DPM-Solver++2M"), "trajectory_median", 10),
    )
    colors = (BLUE, SKY, VERMILLION, ORANGE, GREEN, PURPLE)
    figure = new_figure(11, 3.6)
    for ax, (names, measure, limit) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for name, color, marker in zip(names, colors, "osD^vP", strict=False):
            means = [average(values, name, b, measure) for b in BUDGETS]
            spreads = [
                statistics.pstdev(v) if all(map(math.isfinite, v := values[name, b][measure])) else 0 for b in BUDGETS
            ]
            shown = [m if m < limit else math.nan for m in means]
            ax.errorbar(BUDGETS, shown, spreads, color=color, marker=marker, markersize=4, capsize=2, label=name)
        if measure == "sliced_wasserstein":
            ax.axhline(floor, color=GREY, linestyle=":", label="exact samples")
        ax.set(xscale="log", yscale="log", xlabel="network evaluations", ylabel=MEASURES[measure])
        ax.set_xticks(BUDGETS, map(str, BUDGETS))
        ax.minorticks_off()
        ax.legend(fontsize=7)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, few samples, into the working directory")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds, images = (SEEDS[:2], 64) if quick else (SEEDS, IMAGES)
    output = Path() if quick else OUTPUT
    values, lambdas, used = study(seeds, images)
    floor = baseline(bandwidth=BANDWIDTH, n=images, seed=0, projections=PROJECTIONS)
    write_text(output / "ordering.md", report(values, lambdas, used, floor, seeds, images))
    picture(values, floor["sliced_wasserstein"], output / "ordering.png")
    say(f"wrote {output / 'ordering.md'}")


if __name__ == "__main__":
    main()
