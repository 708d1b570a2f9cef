"""Which reduced splitting word is the best, and with which sub-flows? All words over A and B of up to five factors.

Enumerates them in the three flows, derives order, evaluations and leading constants, and measures each at equal
evaluations: trajectory error on the digits with their exact score, and the exact distance on Gaussian data. Writes
reports/words.md. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

import torch
from common import errors_per_image, gaussian_distance, list_numbers, render, say, times_of, write_page

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.methods.splitting.splitting import FLOWS
from integrator_analysis.report.digits import BANDWIDTH, digits_networks, probability_flow_drift
from torch_backend.measuring.digits_study import probability_flow

FACTORS = 5
BUDGETS, GRIDS = (10, 20, 50, 100), ("quadratic", "uniform")
RANKED = (20, 50, 100)
"""Budgets that the ranking counts: at 10 evaluations most words of two evaluations a step are unstable."""
SEEDS, IMAGES = (0, 1, 2), 32
TIMES = (0.1, 0.4)
Measures = Mapping[tuple[str, int], float]


def words() -> Iterator[str]:
    """Words over A and B of two to FACTORS factors; two neighbours alike would be one sub-flow cut in two."""
    for n in range(2, FACTORS + 1):
        for pair in ("AB", "BA"):
            yield "".join(itertools.islice(itertools.cycle(pair), n))


def spec(word: str, flow: str) -> str:
    return f"{word}(reduced{'' if flow == 'euler' else f', {flow}'})"


def constants(integrator: ia.Integrator) -> dict[str, float]:
    """Root mean square of the h^2 coefficients over the law of a mixture and over TIMES, per block."""
    problem = MixtureProblem(integrator.process)
    field, found = problem.field(integrator.program.unknown), []
    for t in TIMES:
        nodes, weights = problem.nodes(t, 4, 1e-3)
        values = [integrator.local_error.evaluate(z, t, field, digits=25) for z in nodes]
        found.append({b: sum(w * v[b] ** 2 for w, v in zip(weights, values, strict=True)) for b in ("x", "m")})
    return {b: math.sqrt(statistics.fmean(one[b] for one in found)) for b in ("x", "m")}


def distances(integrator: ia.Integrator) -> Measures:
    """2-Wasserstein distance of the positions, per pixel, on Gaussian data with the digits' mean and covariance."""
    process, found = integrator.process, {}
    for grid, budget in itertools.product(GRIDS, BUDGETS):
        times = times_of(process, grid, budget // integrator.nfe_per_step)
        found[grid, budget] = gaussian_distance(integrator, times)
    return found


class Digits:
    """The digits with their exact score, from one seed, and where the probability flow takes the states."""

    def __init__(self, seed: int, integrator: ia.Integrator) -> None:
        process = integrator.process
        self.network = digits_networks([process])[process.name]
        self.start = integrator.to_torch(dtype=torch.float64).prior(IMAGES, (1, 8, 8), seed=seed)
        drift = probability_flow_drift(process)
        self.end = probability_flow(self.network, drift, self.start, process.t_max, process.t_min)[:, :1]

    def error(self, integrator: ia.Integrator, budget: int) -> float:
        """Median over the images of the trajectory error per pixel, quadratic grid."""
        sampler = integrator.to_torch(dtype=torch.float64)
        steps = budget // integrator.nfe_per_step
        try:
            x = sampler.sample(self.network, self.start, steps=steps, grid=GRIDS[0], end_at_zero=False)[:, :1]
        except FloatingPointError:
            return math.inf
        return float(errors_per_image(x, self.end).median())


class Entry:
    """One word in one flow: what is derived of it, and what is measured."""

    def __init__(self, word: str, flow: str, problems: Sequence[Digits]) -> None:
        self.word, self.flow = word, flow
        self.integrator = ia.derive(f"psld/{spec(word, flow)}")
        self.constants = constants(self.integrator)
        self.distances = distances(self.integrator)
        self.errors = {b: statistics.fmean(p.error(self.integrator, b) for p in problems) for b in BUDGETS}
        say(spec(word, flow))

    @property
    def rank(self) -> float:
        """Geometric mean of all errors that the ranking counts."""
        counted = [self.errors[b] for b in RANKED] + [self.distances[g, b] for g in GRIDS for b in RANKED]
        return math.exp(statistics.fmean(map(math.log, counted)))

    def cells(self) -> list[str]:
        """The row of the table, in the order of COLUMNS."""
        derived = [str(self.integrator.order), str(self.integrator.nfe_per_step)]
        derived += [f"{self.constants[b]:.3g}" for b in ("x", "m")]
        measured = [f"{self.errors[b]:.3g}" for b in BUDGETS] + [f"{self.distances[GRIDS[0], b]:.3g}" for b in BUDGETS]
        return [self.word, self.flow, *derived, *measured, f"{self.rank:.3g}"]


def are_one_scheme(one: Entry, other: Entry) -> bool:
    """Whether two entries are one scheme: all their measures agree to rounding."""
    pairs = [(one.distances[key], other.distances[key]) for key in one.distances]
    return all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs)


def verdicts(entries: Sequence[Entry]) -> list[str]:
    """The best word per flow, and which words are the same scheme with Euler's sub-flows."""
    lines = []
    for flow in FLOWS:
        best, second = sorted((e for e in entries if e.flow == flow), key=lambda e: e.rank)[:2]
        lines.append(
            f"- `{flow}`: {best.word} ({best.rank:.3g}; then {second.word}, {second.rank:.3g}). At "
            f"{list_numbers(BUDGETS)} evaluations the median trajectory error is "
            f"{list_numbers((best.errors[b] for b in BUDGETS), '.3g')}."
        )
    entries_by_name = {(e.word, e.flow): e for e in entries}
    alike = [e.word for e in entries if e.flow == "euler" and are_one_scheme(e, entries_by_name[e.word, "residual"])]
    lines.append(f"- The same scheme with `euler` and `residual`, by all measures: {', '.join(alike)}.")
    return lines


PAGE = """\
# Reduced splitting words over A and B, in three flows

Made by `python benchmarks/studies/splitting_words.py`. All words of 2 to {{ factors }} factors whose neighbours \
differ, equal weights per letter, reduced evaluations, on PSLD at its published parameters. `euler`: \
Euler's sub-flows, the paper's; `exact`: exact with the score frozen; `residual`: exact with \
s + Sigma_inf^(-1) z frozen.

Order, evaluations a step and constants are derived; a constant is the root mean square of the coefficient of \
h^2 in the one-step error, over the law of a mixture of two Gaussians at t = {{ "%g" | format(times[0]) }} and \
{{ "%g" | format(times[1]) }}. \
Measured at equal evaluations: the median trajectory error per pixel on the digits with their exact score \
(bandwidth {{ bandwidth }}, {{ seeds | length }} seeds of {{ images }} images, quadratic grid), and the exact \
2-Wasserstein distance per pixel on Gaussian data with the digits' mean and covariance (quadratic grid). Sorted by the \
last column: the geometric mean of the trajectory errors and of the distances on the grids \
{{ grids | join(", ") }}, at {{ list_numbers(ranked) }} evaluations.

## The best of each flow

{{ verdicts | join("\n") }}

## All

{{ table(columns, rows) }}
"""
COLUMNS = (
    *("word", "flow", "order", "NFE", "constant, x", "constant, m"),
    *(f"trajectory, {b}" for b in BUDGETS),
    *(f"Gaussian, {b}" for b in BUDGETS),
    "mean",
)


def report(entries: Sequence[Entry]) -> str:
    """The page: the best word of each flow, and all of them."""
    return render(
        PAGE,
        factors=FACTORS,
        times=TIMES,
        bandwidth=BANDWIDTH,
        seeds=SEEDS,
        images=IMAGES,
        grids=GRIDS,
        ranked=RANKED,
        verdicts=verdicts(entries),
        columns=COLUMNS,
        rows=[e.cells() for e in sorted(entries, key=lambda e: e.rank)],
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    torch.set_num_threads(1)
    problems = [Digits(seed, ia.derive("psld/RVV")) for seed in SEEDS]
    say("flow followed")
    entries = [Entry(word, flow, problems) for word in words() for flow in FLOWS]
    write_page("words.md", report(entries))


if __name__ == "__main__":
    main()
