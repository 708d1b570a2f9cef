"""How often one step calls the network."""

from __future__ import annotations

from collections.abc import Iterator

from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim

__all__ = ["measure"]


def measure(bench: Bench) -> Iterator[Claim]:
    """Count the calls in one step; the program says how many there are."""
    from torch_backend.measuring.maps import count_evaluations

    start = bench.start_times()[0]
    measured = count_evaluations(bench.module, start, start * 0.9)
    derived = bench.program.nfe_per_step
    yield Claim("nfe_per_step", derived, measured, float(abs(derived - measured)), 0.0, "calls counted in one step")
