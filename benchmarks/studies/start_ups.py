"""Which start of a walk has the smallest error, for every scheme and process? It is the default there.

Errors and orders by ``integrator_analysis.recommendation.start_up``, which says how walks, data and errors are chosen.
A scheme whose stated default is not the derived one is an error. Writes reports/start_ups.md and .json; three minutes.
Run by `make benchmark`, or for some processes: start_ups.py vp flow (then nothing is written).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from common import bold, render, say, table, write_page

import integrator_analysis as ia
from integrator_analysis.recommendation.default_grid import EVALUATIONS, GAUSSIAN, MIXTURES, SAME
from integrator_analysis.recommendation.start_up import STEPS, can_be_measured, choose_start, start_errors, start_orders
from torch_backend.walk.start_up import default_start

PROCESSES = ("vp", "vp_cosine", "edm", "flow")
"""Those of which the defaults are derived; on the others every start is plain."""

WITH_A_POLE = ("vp_cosine", "flow")
"""Processes with a schedule that grows without bound towards t_max: there one-step schemes are tried too."""

MEASURED = ("vp", "edm")
"""Processes on which the order of walks is measured, on Karras' grid. Elsewhere t_max is too near to a pole, or a walk
too expensive, for slopes that mean something at so few steps."""

PAGE = """# Starts of walks

Made by `python benchmarks/studies/start_ups.py`.

A multistep scheme of order p begins with steps of order one, two, ... A walk makes the same number of evaluations \
with each start: plain, as the grid has the times; halved, the first interval of a grid with one step less divided \
in the middle of its log-SNR; graded, for order three and above, divided at the shares n^(1 - p/(j + 1)), j = 1 to p \
- 2, which keeps the order p. One-step, for comparison: the first p - 2 steps by a one-step scheme of order p - 1 at \
p - 1 evaluations each.

## Errors

Score: the geometric mean of two root-mean-square errors at the end of a walk, on the default grid and with the step \
to no noise: of the deviation on Gaussian data of variance {{ list_numbers(variances) }}, exact, and of states on {{ \
mixtures }} mixtures against the probability-flow ODE. Plain: the score; the others: that score as a share of the \
plain one, at {{ list_numbers(evaluations) }} evaluations; a dash where there are too few. The default (bold) is \
plain, unless another start is nowhere above 1 and at 10, 20 or 50 evaluations below 1/{{ same }}. Where several \
are, it is the one with the smallest product of shares.

{{ errors }}

## Orders

The order of a walk as it is derived (a first step of order q adds h^(q + 1), once) and as it is measured between {{ \
steps }} steps, down to t_min and without a step to no noise, exactly on Gaussian data. Final orders are not \
lowered.

{{ orders }}

## Rectified flow

A walk of a scheme that has no step from t = 1 begins at 0.999. What is left of the data there is 0.001, and a first \
step to s multiplies the state by (1 - s)/0.001: by 220 to s = 0.78. In the formulas on eps this factor multiplies \
every difference between eps and its polynomial. DDIM makes none, for the eps of its step is that at the start, and \
schemes on x_0 or the velocity have no such factor. EDM-Heun averages eps at both ends of the step, lambda-DDIM does \
not solve the linear part exactly, the corrector of UniPC-eps-2 is a line in log-SNR through both. A halved first \
interval makes the factor its square root, twice. What is left at 8 evaluations is still worse than DDIM's error; at \
so few take UniPC-2, DPM-Solver++2M or DEIS-tAB2 on this process.
"""


def integrators(process: str) -> Iterator[ia.Integrator]:
    """The deterministic schemes of the catalogue on a process, multistep ones or all, that start where data show."""
    for scheme in dict.fromkeys(spec.partition("/")[2] for spec in ia.catalogue()):
        try:
            integrator = ia.derive(f"{process}/{scheme}")
            tried = integrator.network_program.history or process in WITH_A_POLE
            if tried and not integrator.stochastic and can_be_measured(integrator):
                yield integrator
        except ia.InputError:
            continue


def measure(integrator: ia.Integrator) -> dict[str, Any]:
    """The record of a scheme: its errors with each start, the default that follows, its orders where measured."""
    errors, order = start_errors(integrator), integrator.walk_order
    grid = integrator.process.grid_for(integrator.order)
    record: dict[str, Any] = {
        "spec": integrator.spec,
        "grid": grid,
        "default": choose_start(errors),
        "scores": {start: {str(n): float(f"{e.score:.4g}") for n, e in of.items()} for start, of in errors.items()},
        "order": {"step": order.step, "plain": order.plain, "graded": order.graded},
    }
    if integrator.process.name in MEASURED and order.graded is not None:
        found = start_orders(integrator, "karras")
        record["measured"] = {"karras": {start: round(value, 2) for start, value in found.items()}}
    return record


def report(records: Iterable[dict[str, Any]]) -> str:
    """The page."""
    found = list(records)
    starts = ("plain", "halved", "graded", "one-step")
    rows, orders = [], []
    for record in found:
        scores = record["scores"]
        cells = [_shares(scores, start, record["default"]) for start in starts]
        rows.append([f"`{record['spec']}`", record["grid"], *cells])
        for grid, of in record.get("measured", {}).items():
            order = record["order"]
            measured = [f"{of[start]:.2f}" if start in of else "-" for start in starts if start != "halved"]
            orders.append(
                [f"`{record['spec']}`", grid, *(str(order[k]) for k in ("step", "plain", "graded")), *measured]
            )
    columns = ("scheme", "grid", "step", "plain", "graded", "plain measured", "graded measured", "one-step measured")
    return render(
        PAGE,
        variances=GAUSSIAN,
        mixtures=len(MIXTURES),
        evaluations=EVALUATIONS,
        same=SAME,
        steps=f"{STEPS[-2]} and {STEPS[-1]}",
        errors=table(["scheme", "grid", *starts], rows),
        orders=table(columns, orders),
    )


def _shares(scores: dict[str, dict[str, float]], start: str, default: str) -> str:
    """A cell of the table: the scores of the plain start, or the shares of them that another start has."""
    if start not in scores:
        return ""
    plain, own = scores["plain"], scores[start]
    cells = []
    for n in map(str, EVALUATIONS):
        if n not in own:
            cells.append("-")
        else:
            cells.append(f"{own[n]:.2g}" if start == "plain" else f"{own[n] / plain[n]:.2f}")
    return bold(" / ".join(cells), start == default)


def main() -> None:
    """Measure the processes named, or all; exit with 1 where a stated default is not the derived one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("processes", nargs="*", help="all of them if none is named")
    chosen = parser.parse_args().processes
    records, wrong = [], []
    for process in chosen or PROCESSES:
        for integrator in integrators(process):
            record = measure(integrator)
            records.append(record)
            stated = default_start(record["spec"], record["grid"])
            if stated != record["default"]:
                wrong.append(f"{record['spec']} on {record['grid']}: {stated} is stated, {record['default']} derived")
        say(f"{process}: done")
    for line in wrong:
        say(line)
    if not chosen:
        write_page("start_ups.md", report(records))
        write_page("start_ups.json", json.dumps(records, indent=1) + "\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
