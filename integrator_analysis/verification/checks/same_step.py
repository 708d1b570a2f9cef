"""The step is the same whatever it comes with: shapes, layouts, many rows at once, size of numbers, calls before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.program.given_table import table_of, table_symbols
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.comparison import (
    Case,
    farthest_entries,
    relative_unit,
    times_between,
)
from integrator_analysis.verification.checks.gaussian_map import drawn_steps

__all__ = ["measure"]

SAME = 1e-11
"""In float64, relative: the same operations on the same numbers, in another arrangement."""

SAME_IN_FLOAT32 = 1e-4
"""In float32: sine may differ by one rounding error of 6e-8, which coefficients of a few hundred enlarge."""

TABLES = {"zero": 0.0, "of size one": 1.0, "of size five": 5.0}
"""Matrices B that a scheme with B = table is tried on, by name and size; they are drawn from the body of the source."""


def measure(bench: Bench) -> Iterator[Claim]:
    """Compare steps and coefficients in different arrangements; no derived number is needed but for a table of B."""
    import torch

    from torch_backend.measuring import same_step
    from torch_backend.measuring.one_step import with_rows_of

    steps, seed = drawn_steps(bench), int(2**31 * float(bench.draw("points", 1)[0]))
    # the longest step that has all of its past: there every part of it has weight
    whole = [step for step in steps if len(step[2]) == bench.program.history]
    module, inner = with_rows_of(bench.module, steps), max(whole, key=lambda step: step[0] - step[1])
    error, where = same_step.shape_error(module, inner, seed)
    yield Claim("shapes", 0.0, error, error, SAME, f"{len(same_step.SHAPES)} shapes against few points; worst: {where}")
    error, where = same_step.shape_error(module, inner, seed, torch.float32)
    yield Claim("shapes[float32]", 0.0, error, error, SAME_IN_FLOAT32, f"the same in float32; worst: {where}")
    error, where = same_step.growth_error(module, inner, seed)
    yield Claim("growth", 0.0, error, error, SAME, f"a linear network: results grow with the inputs; worst: {where}")
    error, where = same_step.gradient_error(with_rows_of(bench.plain_module, steps), inner, seed)
    yield Claim("gradient", 0.0, error, error, SAME, f"through a step on the CPU with a linear network; {where}")
    error, where = same_step.row_error(bench.module, whole)
    yield Claim("rows", 0.0, error, error, SAME, f"coefficients of each of {len(whole)} steps alone; worst: {where}")
    times = times_between(bench, "rows", (0.2, 0.6))
    for name in ("log_snr", "data_weights"):
        function = getattr(bench.module, name, None)
        if function is not None:
            error, where = same_step.time_error(function, times)
            yield Claim(
                f"rows[{name}]", 0.0, error, error, SAME, f"at each of {len(times)} times alone; worst: {where}"
            )
    effects = same_step.side_effects(with_rows_of(bench.new_module(), whole), whole, seed)
    said = ", ".join(effects) or "none"
    yield Claim("side_effects", "none", said, float(len(effects)), 0.0, f"{same_step.CALLS} calls of a step")
    if len(table_of(bench.properties.network_program)):
        worst, shown = farthest_entries(_rows_of_tables(bench))
        yield Claim("given_table", *shown, worst, SAME, f"coefficients for B {', '.join(TABLES)}")


def _rows_of_tables(bench: Bench) -> Iterator[Case]:
    """The coefficients for several tables of B, derived with the numbers in the place of B's symbols."""
    import torch

    program, k = bench.properties.network_program, len(bench.program.blocks)
    for name, size in TABLES.items():
        given = size * (2 * bench.draw(f"table {name}", k, k) - 1)
        numbers = dict(zip(table_symbols(k), given.ravel().tolist(), strict=True))
        table = CoefficientTable(replace(program, parameters={**program.parameters, **numbers}))
        for start, end, past in drawn_steps(bench)[:3]:
            derived = np.array(table(start, end, past), float)
            t, s, *earlier = (torch.tensor(time, dtype=torch.float64) for time in (start, end, *past))
            options = (earlier,) if bench.program.history else ()
            found = bench.module.coefficients(t, s, *options, B=torch.from_numpy(given)).numpy()
            yield derived, found, relative_unit(derived)
