"""Which named grid has the smallest error over a whole walk, for every process? It is the default there.

Scores by ``integrator_analysis.recommendation.default_grid``, which says how walks, data and errors are chosen. A
process whose stated default is not the derived one is an error. Writes reports/default_grids.md; about two minutes.
Run by `make benchmark`, or for some processes: default_grids.py vp flow (then nothing is written).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from common import bold, render, say, table, write_page

import integrator_analysis as ia
from integrator_analysis.recommendation.default_grid import (
    EVALUATIONS,
    GAUSSIAN,
    MIXTURES,
    SAME,
    choose_grid,
    grid_scores,
)

LEFT_OUT = ("ddpm",)
"""Processes whose scores are those of another: ddpm is vp on a table of betas, where a kernel takes milliseconds."""

ORDERS = {1: "1", 2: "2 and above"}

PAGE = """# Default grids

Made by `python benchmarks/studies/default_grids.py`.

Score of a named grid: the geometric mean of root-mean-square errors of whole walks at \
{{ list_numbers(evaluations) }} network evaluations, the step to no noise included. Walks of order one are DDIM's, the \
others DPM-Solver++2M's. Half of the errors are of the standard deviation on Gaussian data of variance \
{{ list_numbers(variances) }}, exact; half are of states against the probability-flow ODE on {{ mixtures }} mixtures \
of Gaussians on the line. On phase space (`psld`, `cld`) the errors of SPS-2M on Gaussian data count as well above \
order one: most schemes there are splittings, which long steps at high noise make unstable. The default (bold) is \
the first grid, from left to right, within a factor {{ same }} of the best.

{{ rows }}

{{ left_out }}
"""


def report(scores: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """The page: one row for every process and order."""
    names = list(next(iter(scores.values()))[1])
    rows = [
        [
            f"`{name}`",
            "1" if order == 1 else "2 and above",
            *(bold(f"{of[g]:.4f}", g == choose_grid(of)) for g in names),
        ]
        for name, orders in scores.items()
        for order, of in orders.items()
    ]
    return render(
        PAGE,
        evaluations=EVALUATIONS,
        variances=GAUSSIAN,
        mixtures=len(MIXTURES),
        same=SAME,
        rows=table(["process", "order", *names], rows),
        left_out="On `ddpm` the defaults are those of `vp`, whose table of betas it is.",
    )


def main() -> None:
    """Score the grids of the processes named, or of all; exit with 1 where a stated default is not the derived one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("processes", nargs="*", help="all of them if none is named")
    chosen = parser.parse_args().processes
    scores, wrong = {}, []
    for name in chosen or [name for name in ia.processes() if name not in LEFT_OUT]:
        process = ia.process(name)
        scores[name] = grid_scores(process)
        derived = tuple(choose_grid(of) for of in scores[name].values())
        say(f"{name}: {derived[0]} for order one, {derived[1]} above")
        wrong += [f"{name} states {process.grids}, derived is {derived}"] * (derived != process.grids)
    for line in wrong:
        say(line)
    if not chosen:
        write_page("default_grids.md", report(scores))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
