"""Times the sampling loop beside the network it calls: what share of a step is the integrator's own work?

The exact digits score stands for the network. Medians over repeated walks in one run; ratios are what to compare.
Writes reports/benchmarks/sampling_loop.md. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2
import torch
from torch import Tensor

from torch_backend import load
from torch_backend.scores import digits_score
from torch_backend.source import load_kernel

OUTPUT = Path(__file__).parents[2] / "reports" / "benchmarks" / "sampling_loop.md"
SPECS = ("vp/DDIM", "psld/RSE", "psld/RVV", "psld/ROBA", "psld/lambda-DDIM-II")
STEPS, SAMPLES, REPEATS = 25, 256, 7


def measure_ms(action: Callable[[], object]) -> float:
    """Median milliseconds of a call, after one that is not counted."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


class Row(NamedTuple):
    """Milliseconds of a walk, of one with a network that costs nothing, and of the table of coefficients."""

    spec: str
    whole: float
    free: float
    table: float


def measure(spec: str) -> Row:
    """Walk with the exact score, and with zeros in its place."""
    sampler = load(spec)
    exact = digits_score(load_kernel(sampler.process), bandwidth=0.1)
    z = sampler.prior(SAMPLES, (1, 8, 8), seed=0)
    seed = 0 if sampler.stochastic else None

    def walk(network: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return sampler.sample(network, z, steps=STEPS, grid="quadratic", end_at_zero=False, seed=seed)

    whole, free = measure_ms(lambda: walk(exact)), measure_ms(lambda: walk(lambda y, t: torch.zeros_like(y)))
    return Row(
        spec, whole, free, measure_ms(lambda: sampler.table(sampler.times(STEPS, "quadratic", end_at_zero=False)))
    )


PAGE = """\
# The sampling loop beside its network

{{ samples }} digits, {{ steps }} steps, float32, {{ threads }} thread(s), exact score as the network. \
Milliseconds, medians of {{ repeats }} walks.

| scheme | walk | walk with a free network | tabulating coefficients | integrator's share |
|---|---|---|---|---|
{% for row in rows %}
| {{ row.spec }} | {{ "%.1f" | format(row.whole) }} | {{ "%.1f" | format(row.free) }} \
| {{ "%.1f" | format(row.table) }} | {{ "%.0f" | format(100 * row.free / row.whole) }}% |
{% endfor %}
"""


def page_of(rows: list[Row]) -> str:
    page = jinja2.Template(PAGE, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return page.render(rows=rows, samples=SAMPLES, steps=STEPS, threads=torch.get_num_threads(), repeats=REPEATS)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    page = page_of([measure(spec) for spec in SPECS])
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
