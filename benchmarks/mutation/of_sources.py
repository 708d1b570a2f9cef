"""Does `verify` reject wrong code? Seeded mutants of every generated source of the catalogue, judged by their claims.

    python benchmarks/mutation/of_sources.py [--count 8] [--seed 20231011] [--jobs 1] [SPEC ...]

Writes reports/mutants.json as it goes (a scheme whose source, seed and count are those of the file is not judged again,
so that an interrupted run goes on where it stopped) and reports/mutants.md. Exit status 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from changes import KINDS, Mutant, mutants
from distance import step_distance

import integrator_analysis as ia
from integrator_analysis.files import write_text
from integrator_analysis.verification.bench import SEED
from integrator_analysis.verification.certify import first_failure
from torch_backend.measuring.device import one_thread
from torch_backend.source import body_hash, module_from_source

OUTPUT = Path(__file__).parents[2] / "reports"
COUNT = 8
PATIENCE, LONGEST = 60.0, 900.0
"""Seconds of computing: ten random steps take up to ten, a whole certificate, with its references, a minute. What is
longer than the second does not end: the halving of sub-steps, where it never settles, takes minutes until it stops."""
ROUNDING = 1e-13
"""A step that moves by less, relative to the largest term that a result is a sum of, is the same."""
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"
START = time.perf_counter()


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


def judged(integrator: ia.Integrator, mutant: Mutant) -> dict[str, Any]:
    """One row of the record: what was changed, how far it moves a step, and the first claim that fails."""
    moved, ends = math.inf, True
    try:
        with time_limit(LONGEST):
            moved = _moved(integrator, mutant)
    except TimeoutError:
        ends = False
    except Exception:  # a change that does not even import
        moved = math.inf
    equivalent = moved < ROUNDING and mutant.kind != "stated fact"
    with time_limit(LONGEST if ends else PATIENCE):
        failed = None if equivalent else first_failure(integrator, mutant.source)
    raises = failed is not None and failed.derived == "measurable"
    return {
        "kind": mutant.kind,
        "function": mutant.function,
        "line": mutant.line,
        "before": mutant.before,
        "after": mutant.after,
        "moved": moved if math.isfinite(moved) else None,
        "equivalent": equivalent,
        "claim": None if failed is None else _cut_off(ends) if raises else failed.name,
    }


def _cut_off(ends: bool) -> str:
    return "cannot be run" if ends else f"does not end within {LONGEST:g} s"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError inside the block after ``seconds``: a changed bisection may never end."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)  # of this process's own time, however busy the machine is
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _moved(integrator: ia.Integrator, mutant: Mutant) -> float:
    with one_thread():
        true = module_from_source(integrator.source, "mutants_true")
        return step_distance(true, module_from_source(mutant.source, "mutants_changed"), SEED)


def scheme(spec: str, count: int, seed: int) -> dict[str, Any]:
    """The record of one scheme. The seed of a scheme is its own: a scheme more or less changes no other's mutants."""
    integrator = ia.derive(spec)
    made = mutants(integrator.source, count, seed ^ zlib.crc32(spec.encode()))
    rows = [judged(integrator, mutant) for mutant in made]
    return {"spec": spec, "body": body_hash(integrator.source), "count": count, "seed": seed, "rows": rows}


def records(specs: Sequence[str], count: int, seed: int, jobs: int) -> Iterator[dict[str, Any]]:
    work = partial(scheme, count=count, seed=seed)
    if jobs == 1:
        yield from map(work, specs)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, specs)


def kept(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    return {record["spec"]: record for record in json.loads(path.read_text(encoding="utf-8"))}


def current(record: dict[str, Any] | None, spec: str, count: int, seed: int) -> bool:
    """Whether a kept record is of the source in torch_backend/generated, which a test keeps up to date.

    A record with a survivor is not: the claims may have become sharper.
    """
    from torch_backend import load

    if record is None or (record["count"], record["seed"]) != (count, seed) or survivors([record]):
        return False
    module = load(spec).module
    return bool(record["body"] == body_hash(Path(module.__file__).read_text(encoding="utf-8")))


def survivors(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for record in found for row in record["rows"] if not row["equivalent"] and row["claim"] is None]


# -- the page ----------------------------------------------------------------------------------------------------------
def page(found: Iterable[dict[str, Any]]) -> str:
    found = list(found)
    rows = [{**row, "spec": record["spec"]} for record in found for row in record["rows"]]
    changed = [row for row in rows if not row["equivalent"]]
    rejected = [row for row in changed if row["claim"]]
    share = 100 * len(rejected) / max(1, len(changed))
    lines = [
        f"{len(rows)} mutants of the generated sources of {len(found)} schemes, made by "
        f"`python benchmarks/mutation/of_sources.py` (count {found[0]['count']}, seed {found[0]['seed']}). A mutant is "
        f"one change of the text, equivalent if it moves no step by more than {ROUNDING:.0e} of the largest term that "
        "a result is a sum of, on ten random "
        "pairs of times, with every length of past, a network that is not linear, and random states, noises and kept "
        "outputs; the log-SNR and the rows of lower order are compared too. Every other one is given to `verify`.",
        "",
        f"**{len(rejected)} of {len(changed)} mutants that are not equivalent are rejected ({share:.1f} %).**",
        "",
        "| kind of change | mutants | equivalent | rejected | survived |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS:
        of = [row for row in rows if row["kind"] == kind]
        same = sum(row["equivalent"] for row in of)
        caught = sum(row["claim"] is not None for row in of)
        lines.append(f"| {kind} | {len(of)} | {same} | {caught} | {len(of) - same - caught} |")
    lines += ["", "| first claim that fails (cheap ones are tried first) | mutants |", "|---|---|"]
    lines += [f"| {claim} | {n} |" for claim, n in Counter(row["claim"] for row in rejected).most_common()]
    lines += ["", "### Survivors", ""]
    left = [row for row in changed if not row["claim"]]
    lines += [f"- {_shown(row)}{_how_far(row)}" for row in left] or ["None."]
    lines += ["", "### Equivalent mutants", ""]
    lines += [f"- {_shown(row)}" for row in rows if row["equivalent"]] or ["None."]
    return "\n".join(lines) + "\n"


def _how_far(row: dict[str, Any]) -> str:
    moved = f"moves a step by {row['moved']:.1e}" if row["moved"] is not None else "cannot be compared"
    return f": {moved}."


def _shown(row: dict[str, Any]) -> str:
    before, after = (" ".join(row[key].split()) for key in ("before", "after"))
    short = [text if len(text) < 90 else text[:87] + "..." for text in (before, after)]
    where = f"{row['spec']}, {row['kind']}, {row['function'] or 'module'} (line {row['line']})"
    return f"{where}: `{short[0]}` to `{short[1]}`"


def replaced(path: Path, begin: str, end: str, text: str) -> str:
    """The page with what stands between two marks replaced; the marks are added to a page that lacks them."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Mutants: does a wrong program get through?\n"
    if begin not in old:
        return f"{old}\n{begin}\n{text}{end}\n"
    return old.split(begin, 1)[0] + f"{begin}\n{text}{end}" + old.split(end, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", help="schemes; all of the catalogue if none")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants per scheme")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    chosen = arguments.specs or list(ia.catalogue())
    count, seed = arguments.count, arguments.seed
    store = OUTPUT / "mutants.json"
    found = kept(store)
    todo = [spec for spec in chosen if not current(found.get(spec), spec, count, seed)]
    say(f"{len(chosen) - len(todo)} of {len(chosen)} schemes are judged already")
    try:
        for n, record in enumerate(records(todo, count, seed, arguments.jobs), start=1):
            found[record["spec"]] = record
            write_text(store, json.dumps(list(found.values()), indent=1) + "\n")
            left = len(survivors([record]))
            say(f"{n} of {len(todo)}: {record['spec']}, {len(record['rows'])} mutants, {left} survive")
    except KeyboardInterrupt:
        say("interrupted; what was judged is kept, the same command goes on from there")
        sys.exit(130)
    ordered = [found[spec] for spec in chosen]
    section = "## Generated sources\n\n" + page(ordered)
    write_text(OUTPUT / "mutants.md", replaced(OUTPUT / "mutants.md", BEGIN, END, section))
    sys.exit(bool(survivors(ordered)))


if __name__ == "__main__":
    main()
