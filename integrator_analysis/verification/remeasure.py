"""Whether the numbers in a file of a certificate are those that a new measurement gives.

Knows certificates and how they are made; a file alone does not show that its numbers were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from integrator_analysis.inputs import InputError
from integrator_analysis.properties import Properties
from integrator_analysis.verification.certificate import Certificate, Claim
from integrator_analysis.verification.certify import certify

__all__ = ["check_again"]

SAME = 1e-3
"""Relative, of measured numbers: between machines the last digits of a slope or a constant differ by less."""


def check_again(certificate: Certificate, properties: Properties, source: str, path: str | Path) -> Certificate:
    """The certificate of ``source`` measured anew. Raises InputError, one sentence, where the one of a file is another.

    The file has to be about this source, to make the same claims, and to hold numbers within SAME of the new ones or
    within a claim's tolerance of zero.
    """
    certificate.check_source(source)
    found = certify(properties, source)
    names, others = ([claim.name for claim in one.claims] for one in (found, certificate))
    if names != others:
        differing = ", ".join(sorted(set(names) ^ set(others))) or "their order"
        raise InputError(f"{path}: its claims are not those of a new measurement, which differs in {differing}")
    for new, old in zip(found.claims, certificate.claims, strict=True):
        for part in ("derived", "measured"):
            if not _same(getattr(new, part), getattr(old, part), new):
                raise InputError(
                    f"{path}: {old.name} says {part} {getattr(old, part)}, measured anew it is {getattr(new, part)}"
                )
    return found


def _same(new: Any, old: Any, claim: Claim) -> bool:
    """Whether two values of a claim are the same but for rounding; text has to be equal."""
    if not all(isinstance(value, int | float) for value in (new, old)):
        return bool(new == old)
    apart = abs(new - old)
    rounding = max(abs(new), abs(old)) <= claim.tolerance < SAME  # numbers that should be zero
    return bool(apart <= SAME * max(abs(new), abs(old)) or rounding)
