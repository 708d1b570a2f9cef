"""Certify a source: all checks in order, each claim as it is measured."""

from __future__ import annotations

from integrator_analysis.properties import Properties
from integrator_analysis.verification.bench import Laboratory
from integrator_analysis.verification.certificate import Certificate, Claim

__all__ = ["certify", "check_names", "first_failure"]


def check_names(stochastic: bool) -> tuple[str, ...]:
    """What ``certify`` measures, in words, for the header of generated source."""
    first = ("weak order", "leading weak error") if stochastic else ("order", "leading local error")
    return (
        *first,
        "network evaluations per step",
        "one-step map on Gaussian data",
        "spectral radius for a stiff score",
        "exactness where the step is exact",
        "log-SNR",
        "loss to rounding in float32 and bfloat16",
        "tensor layout",
        "stated facts",
    )


def certify(properties: Properties, source: str, device: str = "cpu") -> Certificate:
    """Measure ``source`` against the derived claims.

    Steps are made on ``device``, references on the CPU. Source that cannot be run, or that yields no asymptotic regime,
    fails its claims; it does not raise. Raises InputError for a device that is not there or has no float64.
    """
    laboratory = Laboratory(properties, source, device)
    claims = tuple(laboratory.claims())
    return Certificate(properties.spec, claims, laboratory.evidence)


def first_failure(properties: Properties, source: str) -> Claim | None:
    """The first claim that ``source`` fails, the cheap ones tried first; None if it passes them all.

    What ``certify`` decides, without the measurements that follow a failure.
    """
    return next((claim for claim in Laboratory(properties, source).claims() if not claim.passed), None)
