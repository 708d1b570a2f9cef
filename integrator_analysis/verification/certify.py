"""Certify a source: all checks in order of cost, each claim as it is measured.

A certificate holds each derived claim about a sampler beside its measurement on the generated torch source, in float64
but for what rounding costs in lower precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from integrator_analysis.properties import Properties
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Certificate, Claim
from integrator_analysis.verification.checks import (
    evaluations,
    exactness,
    gaussian_map,
    log_snr,
    predicted_data,
    rounding,
    same_step,
    stated_facts,
    stiff_step,
    strong_error,
    walk_error,
    weak_error,
)
from integrator_analysis.verification.coverage import coverage_of

__all__ = ["CHECKS", "Check", "certify", "certify_thoroughly", "check_names", "first_failure"]


class Check(NamedTuple):
    """One check of a certificate.

    ``titles`` say in words what it measures, ``place`` where they stand in the header of generated source: first what
    a reader asks first. ``name`` is the name of the claim that fails where the source cannot be measured. A check is
    for all schemes, or where ``stochastic`` is given for the stochastic or the deterministic ones only.
    """

    titles: tuple[str, ...]
    measure: Callable[[Bench], Iterator[Claim]]
    name: str
    place: int
    stochastic: bool | None = None


CHECKS = (
    Check(("stated facts",), stated_facts.measure, "stated", place=9),
    Check(("network evaluations per step",), evaluations.measure, "evaluations", place=2),
    Check(("log-SNR",), log_snr.measure, "noise_ratio", place=6),
    Check(("predicted x_0",), predicted_data.measure, "predicted_data", place=6),
    Check(("one-step map on Gaussian data",), gaussian_map.measure, "maps", place=3),
    Check(("spectral radius for a stiff score",), stiff_step.measure, "stability", place=4),
    Check(("loss to rounding in float32 and bfloat16",), rounding.measure, "rounding", place=7),
    Check(("tensor layout",), same_step.measure, "same_step", place=8),
    Check(("exactness where the step is exact",), exactness.measure, "exactness", place=5),
    Check(("default walks",), walk_error.measure, "walk", place=2),
    Check(("order", "leading local error"), strong_error.measure, "local", place=1, stochastic=False),
    Check(("weak order", "leading weak error"), weak_error.measure, "local", place=1, stochastic=True),
)
"""In order of cost, so that a wrong source fails early: the first take milliseconds, the last up to a minute."""


def check_names(stochastic: bool) -> tuple[str, ...]:
    """What ``certify`` measures, in words, for the header of generated source.

    >>> check_names(stochastic=True)[:3]
    ('weak order', 'leading weak error', 'network evaluations per step')
    """
    ordered = sorted(_checks_for(stochastic, CHECKS), key=lambda check: check.place)
    return tuple(title for check in ordered for title in check.titles)


def certify(properties: Properties, source: str, device: str = "cpu") -> Certificate:
    """Measure ``source`` against the derived claims.

    Steps are made on ``device``, references on the CPU. Source that cannot be run, or that yields no asymptotic regime,
    fails its claims; it does not raise. Raises InputError for a device that is not there or has no float64.
    """
    bench = Bench(properties, source, device)
    claims = tuple(_measure_all(bench, CHECKS))
    bench.evidence["coverage"] = coverage_of(bench)
    return Certificate(properties.spec, claims, bench.evidence)


DRAWING = (log_snr.measure, predicted_data.measure, gaussian_map.measure, same_step.measure)
"""The checks that draw times, steps, pasts, states and tables of B."""


def certify_thoroughly(
    properties: Properties,
    source: str,
    seed: int,
    go_on: Callable[[int], bool],
    device: str = "cpu",
) -> Certificate:
    """The certificate of ``certify``, and its checks that draw, again with other draws for as long as ``go_on`` says.

    ``go_on(rounds)`` is asked before every round, with the number of those done. Draws follow from ``seed``, the round
    and the source. One more claim, "thorough", counts the rounds in which one failed; the claims that did stand before
    it. An interrupt ends the rounds and keeps what was found.
    """
    whole = certify(properties, source, device)
    failed: list[Claim] = []
    rounds = bad = 0
    drawing = tuple(check for check in CHECKS if check.measure in DRAWING)
    try:
        while go_on(rounds):
            bench = Bench(properties, source, device, (seed, rounds))
            wrong = [claim for claim in _measure_all(bench, drawing) if not claim.passed]
            failed += [replace(claim, name=f"{claim.name}, round {rounds}") for claim in wrong]
            rounds, bad = rounds + 1, bad + bool(wrong)
    except KeyboardInterrupt:
        pass
    problem = f"{rounds} rounds of other draws, seed {seed}"
    counted = Claim("thorough", 0, bad, float(bad), 0.0, problem)
    return replace(whole, claims=(*whole.claims, *failed, counted))


def first_failure(properties: Properties, source: str) -> Claim | None:
    """The first claim that ``source`` fails, the cheap ones tried first; None if it passes them all.

    What ``certify`` decides, without the measurements that follow a failure.
    """
    return next((claim for claim in _measure_all(Bench(properties, source), CHECKS) if not claim.passed), None)


def _checks_for(stochastic: bool, checks: Iterable[Check]) -> Iterator[Check]:
    return (check for check in checks if check.stochastic in (None, stochastic))


def _measure_all(bench: Bench, checks: Iterable[Check]) -> Iterator[Claim]:
    """Every claim of these checks with its measurement; a check that raises is one claim that fails."""
    from torch_backend.measuring.device import one_thread

    for check in _checks_for(bench.program.stochastic, checks):
        try:
            with one_thread():
                claims = list(check.measure(bench))
        except Exception as error:  # whatever a source under test raises is a verdict on it
            reason = f"{type(error).__name__}: {error}"
            claims = [Claim(check.name, "measurable", reason, np.inf, 0.0, "source")]
        yield from claims
