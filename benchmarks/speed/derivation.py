"""Times the derivation of the catalogue, cold and warm, and the same Taylor job in plain sympy beside it.

Cold: one process, no cache, schemes in catalogue order, so that the first scheme of a process pays for its kernel.
Warm: a new process that finds every derivation on disk. The plain job is the local error of RVV on PSLD, a BAB word,
by sympy.Function and diff. All times are CPU seconds, which other work on the machine changes little. Writes
reports/benchmarks/derivation.md. Run by `make benchmark`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ["INTEGRATOR_ANALYSIS_CACHE"] = ""
START = time.process_time()

import jinja2  # noqa: E402
import sympy  # noqa: E402

import integrator_analysis as ia  # noqa: E402
from integrator_analysis.analysis.accuracy.cost import expected_seconds  # noqa: E402
from integrator_analysis.analysis.expansion.step import strong_difference  # noqa: E402
from integrator_analysis.files import write_text  # noqa: E402

IMPORTED = time.process_time() - START
ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "reports" / "benchmarks" / "derivation.md"
BAB = "psld/RVV"


class Row(NamedTuple):
    """Seconds of a scheme's parts, and those that were expected of its local error."""

    spec: str
    lowering: float
    error: float
    text: float
    radius: float
    source: float
    expected: float

    @property
    def derivation(self) -> float:
        """All but the torch source."""
        return self.lowering + self.error + self.text + self.radius


WARM = """
import json, time
start = time.process_time()
import integrator_analysis as ia
imported = time.process_time() - start
rows = {}
for spec in ia.catalogue():
    start = time.process_time()
    i = ia.derive(spec)
    facts = i.order, i.nfe_per_step, dict(i.local_error.text()), i.spectral_radius
    rows[spec] = time.process_time() - start, facts
print(json.dumps([imported, rows]))
"""


def measure_seconds(action: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def measure_cold() -> tuple[list[Row], dict[str, list[Any]]]:
    """Derive the catalogue in this process: the times of every scheme, and what was found."""
    rows, found = [], {}
    for spec in ia.catalogue():
        made: list[ia.Integrator] = []
        lowering = measure_seconds(lambda spec=spec, made=made: made.append(ia.derive(spec)))
        (i,) = made
        error = measure_seconds(lambda i=i: i.local_error)
        text = measure_seconds(lambda i=i: i.local_error.text())
        radius = measure_seconds(lambda i=i: i.spectral_radius)
        source = measure_seconds(lambda i=i: i.source)
        top = max(i.local_error.exponents.values())
        expected = sum(expected_seconds(i.program, n) for n in range(1 + i.stochastic, top + 1))
        rows.append(Row(spec, lowering, error, text, radius, source, expected))
        found[spec] = [i.order, i.nfe_per_step, dict(i.local_error.text()), i.spectral_radius]
    return rows, found


def measure_warm(folder: str) -> tuple[float, dict[str, list[Any]]]:
    """Derive the catalogue in a new process: seconds of the import, and per scheme seconds and facts."""
    environment = os.environ | {"INTEGRATOR_ANALYSIS_CACHE": folder, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=True)
    imported, rows = json.loads(run.stdout)
    return imported, rows


def expand_plainly(order: int) -> dict[str, sympy.Expr]:
    """The coefficient of h**order in the local error of RVV, with sympy's undefined functions, diff and subs."""
    h, x, m, t, gamma, nu, mass = sympy.symbols("h x m t Gamma nu M")
    s_x, s_m, beta = (sympy.Function(name) for name in ("s_x", "s_m", "beta"))

    def position(x: sympy.Expr, m: sympy.Expr, a: sympy.Expr, time: sympy.Expr) -> sympy.Expr:
        return beta(time) / 2 * (gamma * x - m / mass + gamma * a)

    def momentum(x: sympy.Expr, m: sympy.Expr, b: sympy.Expr, time: sympy.Expr) -> sympy.Expr:
        return beta(time) / 2 * (x + nu * m + mass * nu * b)

    a, b = s_x(x, m, t), s_m(x, m, t)
    half = m + h / 2 * momentum(x, m, b, t)
    new_x = x + h * position(x, half, a, t)
    new_m = half + h / 2 * momentum(new_x, half, s_m(new_x, half, t - h), t - h)
    exact = {"x": x, "m": m}
    for _ in range(order):
        exact = {
            k: e.diff(x) * position(x, m, a, t) + e.diff(m) * momentum(x, m, b, t) - e.diff(t) for k, e in exact.items()
        }
    taylor = {k: sympy.diff(e, h, order).subs(h, 0).doit() for k, e in (("x", new_x), ("m", new_m))}
    return {k: sympy.expand((taylor[k] - exact[k]) / sympy.factorial(order)) for k in exact}


PAGE = """\
# Derivation of the catalogue, cold and warm

{{ rows | length }} schemes, CPU seconds of one process with one thread. Cold, without a cache: order, leading \
constant and stability of every scheme take {{ "%.1f" | format(rows | sum(attribute="derivation")) }} s \
(lowering {{ "%.1f" | format(rows | sum(attribute="lowering")) }}, \
local error {{ "%.1f" | format(rows | sum(attribute="error")) }}, \
its text {{ "%.1f" | format(rows | sum(attribute="text")) }}, \
stability {{ "%.1f" | format(rows | sum(attribute="radius")) }}); \
torch source takes {{ "%.1f" | format(rows | sum(attribute="source")) }} s more, the import \
{{ "%.1f" | format(cold_import) }} s. \
The slowest is {{ slowest.spec }}, with {{ "%.1f" | format(slowest.derivation) }} s.

Warm, a new process that finds all of it on disk: {{ "%.2f" | format(warm.values() | sum) }} s, after an import of \
{{ "%.1f" | format(warm_import) }} s. The \
facts are compared with the cold ones before this page is written.

## The same Taylor job in plain sympy

Local error of {{ bab }} (a BAB word), coefficient of h^n for a general score s(x, m, t): here in rooted trees, \
all coefficients up to h^n; there by sympy.Function, diff and subs, that of h^n alone.

| n | here | plain sympy | ratio |
|---|---|---|---|
{% for n, ours, theirs in jobs %}
| {{ n }} | {{ "%.3f" | format(ours) }} | {{ "%.2f" | format(theirs) }} | {{ "%.0f" | format(theirs / ours) }} |
{% endfor %}

## Scheme by scheme

Stability is the spectral radius of one step of t_max/10 from t_max/2 for a score eigenvalue of -2. Expected \
is what the estimate of `analysis/accuracy/cost.py` says of the local error.

| scheme | lowering | local error | (expected) | text | stability | torch source | warm |
|---|---|---|---|---|---|---|---|
{% for row in rows %}
| {{ row.spec }} | {{ "%.3f" | format(row.lowering) }} | {{ "%.3f" | format(row.error) }} \
| {{ "%.2f" | format(row.expected) }} | {{ "%.3f" | format(row.text) }} | {{ "%.3f" | format(row.radius) }} \
| {{ "%.3f" | format(row.source) }} | {{ "%.4f" | format(warm[row.spec]) }} |
{% endfor %}
"""


def page_of(
    rows: list[Row],
    warm: dict[str, float],
    warm_import: float,
    jobs: list[tuple[int, float, float]],
    cold_import: float,
) -> str:
    """The page: ``warm`` are seconds by scheme, ``jobs`` of each power of h the seconds here and in plain sympy."""
    page = jinja2.Template(PAGE, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    slowest = max(rows, key=lambda row: row.derivation)
    return page.render(
        rows=rows, warm=warm, warm_import=warm_import, jobs=jobs, cold_import=cold_import, slowest=slowest, bab=BAB
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    rows, found = measure_cold()
    with tempfile.TemporaryDirectory() as folder:
        measure_warm(folder)
        imported, kept = measure_warm(folder)
    if {spec: facts for spec, (_, facts) in kept.items()} != found:
        raise SystemExit("what is found on disk is not what is derived")
    program = ia.derive(BAB).program
    jobs = [
        (
            n,
            measure_seconds(lambda n=n: strong_difference(program, n)),
            measure_seconds(lambda n=n: expand_plainly(n)),
        )
        for n in (2, 3, 4)
    ]
    page = page_of(rows, {spec: value for spec, (value, _) in kept.items()}, imported, jobs, IMPORTED)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_text(OUTPUT, page)
    print(page)


if __name__ == "__main__":
    main()
