"""Does `verify` reject wrong code? Seeded mutants of every generated source of the catalogue, judged by their claims.

    python benchmarks/mutation/of_sources.py [--count 8] [--seed 20231011] [--jobs 1] [SPEC ...]

Writes reports/mutants.json as it goes (a scheme whose source, seed and count are those of the file is not judged again,
so that an interrupted run goes on where it stopped) and reports/mutants.md. Exit status 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from changes import Mutant, mutants
from distance import step_distance
from records import read_record, say, write_record, write_section
from sources_page import find_survivors, page_of

import integrator_analysis as ia
from integrator_analysis.verification.bench import SEED
from integrator_analysis.verification.certify import first_failure
from torch_backend import load
from torch_backend.measuring.device import one_thread
from torch_backend.source import body_hash, module_from_source

RECORD = "mutants.json"
COUNT = 8
PATIENCE, LONGEST = 60.0, 900.0
"""Seconds of computing: ten random steps take up to ten, a whole certificate, with its references, a minute. What is
longer than the second does not end: the halving of sub-steps, where it never settles, takes minutes until it stops."""
ROUNDING = 1e-13
"""A step that moves by less, relative to the largest term that a result is a sum of, is the same."""


def judge(integrator: ia.Integrator, mutant: Mutant) -> dict[str, Any]:
    """Give a mutant to `verify`: a row with the change, how far it moves a step, and the first claim that fails."""
    moved, ends = math.inf, True
    try:
        with time_limit(LONGEST):
            moved = _measure_distance(integrator, mutant)
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
        "moved": float(f"{moved:.1e}") if math.isfinite(moved) else None,  # the other digits are the machine's
        "equivalent": equivalent,
        "claim": None if failed is None else _describe_failure(ends) if raises else failed.name,
    }


def _describe_failure(ends: bool) -> str:
    """What stands in the place of a claim where nothing can be measured."""
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


def _measure_distance(integrator: ia.Integrator, mutant: Mutant) -> float:
    with one_thread():
        true = module_from_source(integrator.source, "mutants_true")
        return step_distance(true, module_from_source(mutant.source, "mutants_changed"), SEED)


def make_mutants(spec: str, source: str, count: int, seed: int) -> list[Mutant]:
    """The mutants of one scheme. Their seed is the scheme's own: another scheme more or less changes none."""
    return mutants(source, count, seed ^ zlib.crc32(spec.encode()))


def judge_scheme(spec: str, count: int, seed: int) -> dict[str, Any]:
    """Judge the mutants of one scheme."""
    integrator = ia.derive(spec)
    rows = [judge(integrator, mutant) for mutant in make_mutants(spec, integrator.source, count, seed)]
    return {"spec": spec, "body": body_hash(integrator.source), "count": count, "seed": seed, "rows": rows}


def judge_schemes(specs: Sequence[str], count: int, seed: int, jobs: int) -> Iterator[dict[str, Any]]:
    """The records of schemes in their order, made by ``jobs`` processes."""
    work = partial(judge_scheme, count=count, seed=seed)
    if jobs == 1:
        yield from map(work, specs)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, specs)


def read_committed(spec: str) -> str:
    """The source of a scheme in torch_backend/generated, which a test keeps up to date."""
    return Path(load(spec).module.__file__).read_text(encoding="utf-8")


def is_current(record: dict[str, Any] | None, spec: str, count: int, seed: int) -> bool:
    """Whether a kept record is of the source as it is committed.

    A record with a survivor is not: the claims may have become sharper.
    """
    if record is None or (record["count"], record["seed"]) != (count, seed) or find_survivors([record]):
        return False
    return bool(record["body"] == body_hash(read_committed(spec)))


def renew_lines(record: dict[str, Any]) -> dict[str, Any]:
    """A kept record with the lines of today's source: its header may have become longer or shorter."""
    made = make_mutants(record["spec"], read_committed(record["spec"]), record["count"], record["seed"])
    return record | {"rows": [row | {"line": m.line} for row, m in zip(record["rows"], made, strict=True)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("specs", nargs="*", help="schemes; all, and a new page, if none")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants per scheme")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    chosen = arguments.specs or list(ia.catalogue())
    count, seed = arguments.count, arguments.seed
    found = {record["spec"]: record for record in read_record(RECORD)}
    todo = [spec for spec in chosen if not is_current(found.get(spec), spec, count, seed)]
    found |= {spec: renew_lines(found[spec]) for spec in chosen if spec not in todo}
    say(f"{len(chosen) - len(todo)} of {len(chosen)} schemes are judged already")
    try:
        for n, record in enumerate(judge_schemes(todo, count, seed, arguments.jobs), start=1):
            found[record["spec"]] = record
            write_record(RECORD, found.values())
            left = len(find_survivors([record]))
            say(f"{n} of {len(todo)}: {record['spec']}, {len(record['rows'])} mutants, {left} survive")
    except KeyboardInterrupt:
        say("interrupted; what was judged is kept, the same command goes on from there")
        sys.exit(130)
    write_record(RECORD, found.values())
    ordered = [found[spec] for spec in chosen]
    if not arguments.specs:
        write_section("sources", page_of(ordered, ROUNDING))
    sys.exit(bool(find_survivors(ordered)))


if __name__ == "__main__":
    main()
