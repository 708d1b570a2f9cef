"""Discrete-time VP (Ho, Jain and Abbeel, arXiv 2006.11239): a table of betas, equally spaced unless given."""

from __future__ import annotations

import sympy
from sympy import Rational as Q

from integrator_analysis.algebra.special import Table, decay
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import require
from integrator_analysis.processes.family import ProcessFamily, one_block
from integrator_analysis.processes.forward_process import Process

__all__ = ["DDPM"]
PUBLISHED = {"betas": None, "steps": 1000.0, "beta_start": 1e-4, "beta_end": 0.02, "t_min": 1.0}


def build(betas: tuple[Q, ...] | None, steps: Q, beta_start: Q, beta_end: Q, t_min: Q) -> Process:
    """alphas_cumprod[k] is the squared mean at t = k + 1, its logarithm linear between integers; t_max = len(betas)."""
    linear = {"steps": steps, "beta_start": beta_start, "beta_end": beta_end}
    untouched = all(float(value) == PUBLISHED[name] for name, value in linear.items())
    require(betas is None or untouched, "ddpm", "either betas or steps, beta_start, beta_end", betas="...", **linear)
    require(steps.is_Integer and 1 < steps <= 100000, "ddpm", "an integer 1 < steps <= 100000", steps=steps)
    spaced = (beta_start + (beta_end - beta_start) * k / (steps - 1) for k in range(int(steps)))
    table = tuple(spaced) if betas is None else betas
    for k, beta in enumerate(table):
        require(0 < beta < 1, "ddpm", "every beta in (0, 1)", **{f"betas[{k}]": float(beta)})
    ends = (Q(len(table)), table[0], table[-1])
    return Process(
        name="ddpm",
        title=f"discrete-time variance preserving (DDPM), {'linear' if betas is None else 'given'} betas",
        **one_block(-sympy.S.Half, 1, 0, 1),
        integrated=decay(t, 0, Table("BETAS", table)),
        parameters={sympy.Symbol(name, positive=True): value for name, value in zip(linear, ends, strict=True)},
        t_max=float(len(table)),
        t_min=float(t_min),
        source="arXiv 2006.11239, section 4",
        grids=("quadratic", "quadratic"),
    )


DDPM = ProcessFamily("ddpm", "variance preserving on a table of betas", PUBLISHED, build, tables=("betas",))
