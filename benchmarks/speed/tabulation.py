"""Times the table of coefficients of every scheme of the catalogue, on grids of 50 and of 1000 steps.

One thread, CPU seconds of this process: the best of several tables, after one that is not counted. The unit of the
ratios is one torch operation on 50 numbers in float64, timed in the same run. Writes reports/benchmarks/tabulation.json
and, from it, tabulation.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import torch

import integrator_analysis as ia
from torch_backend import load
from torch_backend.scheme import facts_of
from torch_backend.walk.sample_scheme import first_time

FOLDER = Path(__file__).parents[2] / "reports" / "benchmarks"
COUNTS = (50, 1000)
REPEATS = 5
DUE = {50: 20.0, 1000: 150.0}
"""Milliseconds that a table of so many steps should take at most."""


def best_ms(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Milliseconds of CPU time of the quickest call, after one that is not counted."""
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def time_of_operation() -> float:
    """Milliseconds of an addition of two tensors of 50 float64 numbers."""
    one, other = torch.ones(50, dtype=torch.float64), torch.ones(50, dtype=torch.float64)
    return best_ms(lambda: [one + other for _ in range(10_000)]) / 10_000


def time_tables(spec: str) -> dict[str, Any]:
    """Milliseconds of a scheme's tables, on uniform times from where its walks begin down to t_min."""
    sampler = load(spec)
    facts, row = facts_of(sampler.module), dict[str, Any](spec=spec)
    for count in COUNTS:
        times = torch.linspace(first_time(facts), facts.t_min, count + 1, dtype=torch.float64).tolist()
        row[f"ms_{count}"] = best_ms(lambda times=times: sampler.table(times), REPEATS if count < 100 else 2)
    return row


PAGE = """\
# Tables of coefficients

Milliseconds of CPU time for the table of a walk, one thread, the best of {{ repeats }}; in brackets, in units of one \
torch operation on 50 numbers ({{ "%.2f" | format(1000 * unit) }} microseconds in this run). Made by \
`python benchmarks/speed/tabulation.py`.

Of {{ rows | length }} schemes, the median takes {{ "%.1f" | format(median[50]) }} ms for 50 steps and \
{{ "%.1f" | format(median[1000]) }} ms for 1000. {{ late[50] | length }} take more than \
{{ "%.0f" | format(due[50]) }} ms for 50 steps, {{ late[1000] | length }} more than \
{{ "%.0f" | format(due[1000]) }} ms for 1000.

| scheme | 50 steps | 1000 steps |
|---|---|---|
{% for row in rows %}
| {{ row.spec }} | {{ "%.2f" | format(row.ms_50) }} ({{ "%.0f" | format(row.ms_50 / unit) }}) \
| {{ "%.1f" | format(row.ms_1000) }} ({{ "%.0f" | format(row.ms_1000 / unit) }}) |
{% endfor %}
"""


def page_of(found: dict[str, Any]) -> str:
    """The page of what ``main`` measured; the slowest scheme comes first."""
    rows = sorted(found["rows"], key=lambda row: -row["ms_50"])
    page = jinja2.Template(PAGE, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return page.render(
        rows=rows,
        unit=found["unit_ms"],
        repeats=REPEATS,
        due=DUE,
        median={n: statistics.median(row[f"ms_{n}"] for row in rows) for n in COUNTS},
        late={n: [row for row in rows if row[f"ms_{n}"] > DUE[n]] for n in COUNTS},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", help="schemes; by default the catalogue, and then the page is written")
    specs = parser.parse_args().specs
    torch.set_num_threads(1)
    found: dict[str, Any] = {"torch": torch.__version__, "unit_ms": time_of_operation(), "rows": []}
    for spec in specs or ia.catalogue():
        found["rows"].append(time_tables(spec))
        print(f"{spec}: {', '.join(f'{ms:.2f} ms' for ms in list(found['rows'][-1].values())[1:])}", flush=True)
    if not specs:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "tabulation.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (FOLDER / "tabulation.md").write_text(page_of(found), encoding="utf-8")


if __name__ == "__main__":
    main()
