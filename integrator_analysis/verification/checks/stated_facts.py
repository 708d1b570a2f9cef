"""The facts that a source states of itself and a sampler relies on: order, cost, interval, prior, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from integrator_analysis.methods.splitting.sub_flows import lambda_s
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim

__all__ = ["measure"]


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare the constants of the module with the derived facts, and record the hash of the source."""
    from torch_backend.source import body_hash

    bench.evidence["source_hash"] = f"sha256:{body_hash(bench.source)}"
    derived = _derived_facts(bench)
    wrong = {name: value for name, value in derived.items() if getattr(bench.module, name, None) != value}
    said = {name: getattr(bench.module, name, None) for name in wrong}
    shown = (str(wrong), str(said)) if wrong else (f"{len(derived)} facts", f"{len(derived)} facts")
    yield Claim("stated_facts", *shown, float(len(wrong)), 0.0, "constants of the module")
    if bench.properties.order < 1:
        yield _consistency(bench)


def _consistency(bench: Bench) -> Claim:
    """Whether a scheme of order below one is one on purpose: with another noise than a reverse process has."""
    scale = bench.program.parameters.get(lambda_s, 1)
    said = f"order {bench.properties.order}"
    if scale == 1:
        return Claim("consistency", "order 1 or more", said, np.inf, 0.0, "the derived step")
    problem = f"not consistent, on purpose: lambda_s = {float(scale):g} is not 1"
    return Claim("consistency", said, said, 0.0, 0.0, problem)


def _derived_facts(bench: Bench) -> dict[str, Any]:
    program, process = bench.program, bench.process
    return {
        "SPEC": bench.properties.spec,
        "PROCESS": process.name,
        "BLOCKS": process.blocks,
        "ORDER": bench.properties.order,
        "STOCHASTIC": program.stochastic,
        "NFE_PER_STEP": program.nfe_per_step,
        "HISTORY": program.history,
        **({"PRIMED": True} if program.primed else {}),
        "NOISES": len(program.noises),
        "T_MAX": process.t_max,
        "T_MIN": process.t_min,
        "NETWORK": process.network,
        "GRID": process.grid_for(bench.properties.order),
        "PRIOR_STD": tuple(np.sqrt(np.diag(bench.prior_covariance)).tolist()),
        "COEFFICIENTS": tuple(bench.properties.network_program.coefficients),
    }
