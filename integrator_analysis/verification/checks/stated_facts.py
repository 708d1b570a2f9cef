"""The facts that a source states of itself and a sampler relies on: order, cost, interval, prior, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

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
