"""Times the sampling loop beside the network it calls: what share of a step is the integrator's own work?

The exact digits score stands for the network. Medians over repeated walks in one run; ratios are what to compare.
Writes reports/benchmarks/sampling_loop.md. Run by `make benchmark`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from torch_backend import load
from torch_backend.scores import digits_score
from torch_backend.source import load_kernel

OUTPUT = Path(__file__).parents[2] / "reports" / "benchmarks" / "sampling_loop.md"
SPECS = ("vp/DDIM", "psld/RSE", "psld/RVV", "psld/ROBA", "psld/lambda-DDIM-II")
STEPS, SAMPLES, REPEATS = 25, 256, 7


def median_ms(action: Callable[[], object]) -> float:
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(spec: str) -> str:
    """One row of the table."""
    sampler = load(spec)
    exact = digits_score(load_kernel(sampler.process), bandwidth=0.1)
    z = sampler.prior(SAMPLES, (1, 8, 8), seed=0)
    seed = 0 if sampler.stochastic else None

    def walk(network: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return sampler.sample(network, z, steps=STEPS, grid="quadratic", seed=seed)

    whole, free = median_ms(lambda: walk(exact)), median_ms(lambda: walk(lambda y, t: torch.zeros_like(y)))
    table = median_ms(lambda: sampler.table(sampler.times(STEPS, "quadratic")))
    return f"| {spec} | {whole:.1f} | {free:.1f} | {table:.1f} | {free / whole:.0%} |"


def main() -> None:
    lines = [
        "# The sampling loop beside its network",
        "",
        f"{SAMPLES} digits, {STEPS} steps, float32, {torch.get_num_threads()} thread(s), exact score as the network. "
        f"Milliseconds, medians of {REPEATS} walks.",
        "",
        "| scheme | walk | walk with a free network | tabulating coefficients | integrator's share |",
        "|---|---|---|---|---|",
    ]
    lines += [measure(spec) for spec in SPECS]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    OUTPUT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
