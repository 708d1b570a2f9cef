"""The orders that a certificate measured, as tables show them: of a scheme, and of its first steps where it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from integrator_analysis.verification.certificate import Claim

__all__ = ["MeasuredOrder", "measured_order"]


class MeasuredOrder(NamedTuple):
    """The measured order of a scheme, and that of its first steps where the local error is theirs; None where none is.

    The local error of a stochastic multistep scheme is measured over its first steps, and its order after them on a
    whole walk.
    """

    order: float | None
    first_steps: float | None = None

    def in_words(self) -> str:
        """Both numbers with two decimals.

        >>> MeasuredOrder(2.0).in_words(), MeasuredOrder(2.0, 0.99).in_words(), MeasuredOrder(None).in_words()
        ('2.00', '2.00 (first steps 0.99)', '-')
        """
        if self.order is None:
            return "-"
        return f"{self.order:.2f}" + ("" if self.first_steps is None else f" (first steps {self.first_steps:.2f})")


def measured_order(claims: Mapping[str, Claim]) -> MeasuredOrder:
    """The orders that the claims of a certificate, by name, measured: of several blocks the least."""
    slopes = [float(claim.measured) for name, claim in claims.items() if name.startswith("order[")]
    local = min(slopes, default=None)
    after = claims.get("order_after_startup")
    return MeasuredOrder(local) if after is None else MeasuredOrder(float(after.measured), local)
