"""Times the derivation of the catalogue, cold and warm, and the same Taylor job in plain sympy beside it.

Cold: one process, no cache, schemes in catalogue order, so that the first scheme of a process pays for its kernel.
Warm: a new process that finds every derivation on disk. The plain job is the local error of RVV on PSLD, a BAB word,
by sympy.Function and diff. All times are CPU seconds, which other work on the machine changes little. Writes
reports/benchmarks/derivation.md. Run by `make benchmark`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["INTEGRATOR_ANALYSIS_CACHE"] = ""
START = time.process_time()

import sympy  # noqa: E402

import integrator_analysis as ia  # noqa: E402
from integrator_analysis.analysis.accuracy.cost import expected_seconds  # noqa: E402
from integrator_analysis.analysis.expansion.step import strong_difference  # noqa: E402
from integrator_analysis.files import write_text  # noqa: E402

IMPORTED = time.process_time() - START
ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "reports" / "benchmarks" / "derivation.md"
BAB = "psld/RVV"

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


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def cold() -> tuple[list[tuple], dict[str, list]]:
    """Per scheme: the times, with the time that was expected of the expansion; and what was found."""
    rows, found = [], {}
    for spec in ia.catalogue():
        made: list[ia.Integrator] = []
        lowering = seconds(lambda spec=spec, made=made: made.append(ia.derive(spec)))
        (i,) = made
        error = seconds(lambda i=i: i.local_error)
        text = seconds(lambda i=i: i.local_error.text())
        radius = seconds(lambda i=i: i.spectral_radius)
        source = seconds(lambda i=i: i.source)
        top = max(i.local_error.exponents.values())
        expected = sum(expected_seconds(i.program, n) for n in range(1 + i.stochastic, top + 1))
        rows.append((spec, lowering, error, text, radius, source, expected))
        found[spec] = [i.order, i.nfe_per_step, dict(i.local_error.text()), i.spectral_radius]
    return rows, found


def warm(folder: str) -> tuple[float, dict]:
    """(seconds of the import, per scheme seconds and facts) of a new process."""
    environment = os.environ | {"INTEGRATOR_ANALYSIS_CACHE": folder, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=True)
    return tuple(json.loads(run.stdout))


def plain(order: int) -> dict[str, sympy.Expr]:
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


def main() -> None:
    rows, found = cold()
    with tempfile.TemporaryDirectory() as folder:
        warm(folder)
        imported, kept = warm(folder)
    if {spec: facts for spec, (_, facts) in kept.items()} != found:
        raise SystemExit("what is found on disk is not what is derived")
    program = ia.derive(BAB).program
    jobs = [(n, seconds(lambda n=n: strong_difference(program, n)), seconds(lambda n=n: plain(n))) for n in (2, 3, 4)]

    totals = [sum(row[k] for row in rows) for k in range(1, 6)]
    slowest = max(rows, key=lambda row: sum(row[1:5]))
    warmed = sum(value for value, _ in kept.values())
    lines = [
        "# Derivation of the catalogue, cold and warm",
        "",
        f"{len(rows)} schemes, CPU seconds of one process with one thread. Cold, without a cache: order, leading "
        f"constant and stability of every scheme take {sum(totals[:4]):.1f} s (lowering {totals[0]:.1f}, local error "
        f"{totals[1]:.1f}, its text "
        f"{totals[2]:.1f}, stability {totals[3]:.1f}); torch source takes {totals[4]:.1f} s more, the import "
        f"{IMPORTED:.1f} s. The slowest is {slowest[0]}, with {sum(slowest[1:5]):.1f} s.",
        "",
        f"Warm, a new process that finds all of it on disk: {warmed:.2f} s, after an import of {imported:.1f} s. The "
        "facts are compared with the cold ones before this page is written.",
        "",
        "## The same Taylor job in plain sympy",
        "",
        f"Local error of {BAB} (a BAB word), coefficient of h^n for a general score s(x, m, t): here in rooted trees, "
        "all coefficients up to h^n; there by sympy.Function, diff and subs, that of h^n alone.",
        "",
        "| n | here | plain sympy | ratio |",
        "|---|---|---|---|",
        *(f"| {n} | {ours:.3f} | {theirs:.2f} | {theirs / ours:.0f} |" for n, ours, theirs in jobs),
        "",
        "## Scheme by scheme",
        "",
        "Stability is the spectral radius of one step of t_max/10 from t_max/2 for a score eigenvalue of -2. Expected "
        "is what the estimate of `analysis/cost.py` says of the local error.",
        "",
        "| scheme | lowering | local error | (expected) | text | stability | torch source | warm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for spec, lowering, error, text, radius, source, expected in rows:
        cells = (f"{lowering:.3f}", f"{error:.3f}", f"{expected:.2f}", f"{text:.3f}", f"{radius:.3f}", f"{source:.3f}")
        lines.append(f"| {spec} | {' | '.join(cells)} | {kept[spec][0]:.4f} |")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_text(OUTPUT, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
