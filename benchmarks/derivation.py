"""Times the derivation of the catalogue, cold: lowering, local error with its readable text, and torch source.

One process, schemes in catalogue order, so that the first scheme of a process pays for its kernel. Writes
reports/benchmarks/derivation.md. Run by `make benchmark`.
"""

from __future__ import annotations

import time
from pathlib import Path

START = time.perf_counter()

import integrator_analysis as ia  # noqa: E402
from integrator_analysis.certificate import write_text  # noqa: E402

OUTPUT = Path(__file__).parent.parent / "reports" / "benchmarks" / "derivation.md"


def seconds(action: object) -> float:
    start = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - start


def main() -> None:
    imported = time.perf_counter() - START
    rows = []
    for spec in ia.catalogue():
        made: list[ia.Integrator] = []
        lowering = seconds(lambda spec=spec, made=made: made.append(ia.derive(spec)))
        error = seconds(lambda made=made: made[0].local_error)
        text = seconds(lambda made=made: made[0].local_error.text())
        source = seconds(lambda made=made: made[0].source)
        rows.append((spec, lowering, error, text, source))
    total = sum(sum(row[1:]) for row in rows)
    lines = [
        "# Derivation of the catalogue, cold",
        "",
        f"Seconds in one process; importing the package took {imported:.2f} s, deriving everything {total:.2f} s.",
        "",
        "| scheme | lowering | local error | factored text | torch source | share of total |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {spec} | " + " | ".join(f"{value:.3f}" for value in values) + f" | {sum(values) / total:.0%} |"
        for spec, *values in rows
    ]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_text(OUTPUT, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
