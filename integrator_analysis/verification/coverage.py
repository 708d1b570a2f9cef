"""What a certificate covers and what it does not, in words: one list for the evidence, the command and the docs.

Knows the checks by what they try; measures nothing.
"""

from __future__ import annotations

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.checks.gaussian_map import DRAWN
from integrator_analysis.verification.derived_walk import why_no_walk
from integrator_analysis.verification.walk_claims import EVALUATIONS

__all__ = ["coverage_of"]


def coverage_of(bench: Bench) -> dict[str, list[str]]:
    """What the claims about a source are about, under "covered", and what they say nothing of, under "not covered"."""
    process = bench.process
    walks = ", ".join(map(str, EVALUATIONS))
    covered = [
        f"times from {process.t_min:g} to {process.t_max:g}, both ends among them; {DRAWN} steps and their pasts drawn "
        "from the body of the source",
        "states of 1 to 130 samples, on a line, as sequences, images and videos; contiguous, channels last, as a part "
        "of a larger tensor",
        "float64, float32; bfloat16 as a network's precision",
        f"steps made on {bench.device}",
        "gradients with respect to the state, on the CPU",
    ]
    missing = why_no_walk(bench.properties)
    if missing is None:
        covered.append(f"default walks of {walks} evaluations, in the loop of Sampler")
    return {
        "covered": covered,
        "not covered": [
            *([f"walks: {missing}"] if missing else []),
            "a source that is wrong in a window of times or steps too narrow for the draws to meet "
            "(`verify --thorough` draws more)",
            "larger batches, other devices, other builds of torch",
            "grids and starts that a user chooses, beyond their single steps",
            "the network",
        ],
    }
