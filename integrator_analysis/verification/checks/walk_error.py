"""The error of the walk that a user receives: on Gaussian data exactly, on the mixture against the flow's solution.

Beside the steps that is the default grid, the start with fewer earlier steps, lower final orders, and the ending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks import gaussian_map, predicted_data
from integrator_analysis.verification.derived_walk import Walk, default_walk, why_no_walk
from integrator_analysis.verification.walk_claims import EVALUATIONS, Network, Start, claim_walks

__all__ = ["TOLERANCES", "measure"]

TOLERANCES = gaussian_map.MAP_TOLERANCE, predicted_data.TOLERANCE
"""What other claims let a step and the weights of the ending be off by. The tolerance of a walk follows from them: what
they allow each step, carried to the end by the steps after it."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare the default walk of the source with the derived one, for each number of evaluations."""
    reason = why_no_walk(bench.properties)
    walks = {} if reason else {most: default_walk(bench.properties, most) for most in EVALUATIONS}
    made = {most: walk for most, walk in walks.items() if walk is not None}
    bench.evidence["walks"] = _described(bench, made, reason)
    yield from claim_walks(bench, made, partial(_ends_of_source, bench), TOLERANCES)


def _ends_of_source(bench: Bench, walk: Walk, network: Network, start: Start) -> np.ndarray:
    """The positions where the walk of the source ends, in the loop of ``Sampler``."""
    import torch

    from torch_backend.measuring.walks import end_of_default_walk

    def called(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(network(float(t[0]), z.numpy()))

    noise = torch.from_numpy(start.noise) if bench.program.stochastic else None
    return end_of_default_walk(bench.module, called, start.z, walk.steps, noise)[:, 0]


def _described(bench: Bench, made: Mapping[int, Walk], reason: str | None) -> dict[str, object]:
    """What the walks are, for the evidence: grid, first time, steps, evaluations; and what is not claimed, and why."""
    kinds = ("gaussian_walk",) if bench.program.stochastic else ("gaussian_walk", "mixture_walk")
    missing: dict[str, str] = {}
    if bench.program.stochastic:
        missing = {"mixture_walk": "a stochastic scheme: the probability flow is no reference of its paths"}
    if reason is not None:
        missing |= dict.fromkeys(kinds, f"{reason}: it has no walk to no noise by default")
    else:
        short = [most for most in EVALUATIONS if most not in made]
        missing |= {
            f"{kind}[{most}]": "too few evaluations for a step of the scheme" for most in short for kind in kinds
        }
    walks = list(made.values())
    order = bench.properties.walk_order if walks else None
    return {
        "grid": walks[0].grid if walks else None,
        "first_time": walks[0].times[0] if walks else None,
        "steps": [walk.steps for walk in walks],
        "evaluations": [walk.evaluations for walk in walks],
        "order": order and {"step": order.step, "plain": order.plain, "graded": order.graded},
        "final_orders_lowered": [walk.lowered for walk in walks],
        "not_claimed": missing,
    }
