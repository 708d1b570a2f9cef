"""The same step on images and on their entries: blocks lie on dimension 1, everything else is a batch."""

from __future__ import annotations

from collections.abc import Iterator

from integrator_analysis.verification.bench import SEED, Bench
from integrator_analysis.verification.certificate import Claim

__all__ = ["measure"]

LAYOUT_TOLERANCE = 1e-12
"""Absolute, on states of size one: the same operations in another arrangement."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare a step on images of two channels with the step on each of their entries."""
    from torch_backend.measuring.maps import layout_error

    start = bench.start_times()[0]
    error = layout_error(bench.module, bench.network, start, 0.8 * start, SEED)
    problem = "images (2, blocks * 2, 2, 3), entry by entry"
    yield Claim("tensor_layout", 0.0, error, error, LAYOUT_TOLERANCE, problem)
