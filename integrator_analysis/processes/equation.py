"""The linear SDE of a forward process, dz = F z dt + G dw with F = beta(t) N and G G^T = beta(t) D, and its clock.

Knows matrices, parameters and the schedule; derives nothing from them.
"""

from __future__ import annotations

import sympy

__all__ = ["clock", "unit_diffusion"]

rate = sympy.Function("beta")
"""The noise schedule beta(t), a factor of every entry of F and of G G^T."""

clock = sympy.Function("clock")
"""clock(t) = int_0^t beta."""

unit_diffusion = sympy.Function("unit_diffusion_xx")
"""D(t) of a process on one block where it depends on time: G G^T = beta(t) unit_diffusion_xx(t)."""

MATRICES = (
    *("drift_per_unit", "diffusion_per_unit"),
    *("initial_covariance", "stationary_covariance", "prior_covariance"),
)


def assumptions(value: sympy.Expr) -> dict[str, bool]:
    """What a symbol that stands for ``value`` is assumed to be."""
    return {"positive": True} if value.is_positive else {"real": True}
