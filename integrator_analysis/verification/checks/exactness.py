"""Problems on which the derived step is exact: the source is exact there too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import Case, farthest_entries, relative_unit
from integrator_analysis.verification.exact_problems import ExactProblem, exact_problems

__all__ = ["measure"]

EXACT_TOLERANCE = 1e-10
"""Relative to the largest entry of the state, against scipy's solution."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare long steps of the source, from an exact past, with the exact solution.

    Tried are constant eps, and the Gaussian data of the anchor's variance; where the derived step is not exact, no
    claim is made.
    """
    for problem in bench.recall("exact problems", find=lambda: exact_problems(bench.program, bench.properties.table)):
        cases = list(_long_steps(bench, problem))
        worst, _ = farthest_entries(cases)
        text = f"{len(cases)} long steps, against scipy DOP853"
        yield Claim(f"exact[{problem.name}]", 0.0, worst, worst, EXACT_TOLERANCE, text)


def _long_steps(bench: Bench, problem: ExactProblem) -> Iterator[Case]:
    """The exact state at the end of each step, and that of the source."""
    import torch

    from torch_backend.measuring.one_step import Past, take_step

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        matrix, offset = map(torch.from_numpy, problem.eps(float(t[0])))
        return z @ matrix.T + offset

    for z, start, end, times in problem.steps(bench.program.history):
        solve = partial(problem.solution, z, start, end, times)
        states, exact = bench.recall("exact", problem.name, start, find=solve)
        past = Past(times, [torch.from_numpy(state) for state in states]) if times else None
        found = take_step(bench.module, network, torch.from_numpy(z), start, end, past=past).numpy()
        yield exact, found, relative_unit(exact)
