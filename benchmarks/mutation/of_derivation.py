"""Do the tests notice a wrong derivation? Seeded mutants of the derivation's own modules, each given to tests.

    python benchmarks/mutation/of_derivation.py [--count 165] [--seed 20231011] [--jobs 1] [--until HH:MM] [MODULE ...]

Works on copies of the project in a temporary folder, each with one mutant at a time, and without the cache of
derivations. Runs the tests that concern the module (tests_of_modules.py), not the suite, and first those that killed
the mutant the last time. A test that kills has to pass on the true modules. Writes reports/derivation_mutants.json as
it goes, and a section of reports/mutants.md.

The record is the population: a recorded mutant stays for as long as its function still holds the lines that it changes,
in whichever module, and others are drawn where some are missing. A mutant is not judged again while the function and
the tests that judged it are what they were, unless it is a survivor that is not explained (explained_survivors.py).
Exit status 1 if one is left, or if some are not judged.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeGuard

from derivation_page import page_of
from explained_survivors import EXPLAINED
from expressions import Change, changes_of
from records import ROOT, read_record, say, write_record, write_section
from tests_of_modules import TESTS
from trials import PACKAGE, Trials

from integrator_analysis.verification.bench import SEED

COUNT, LEAST = 165, 1
"""Mutants in all, and the fewest of a module: the others are shared out by the number of places that can be changed."""
RECORD = "derivation_mutants.json"
Row = dict[str, Any]
Population = Mapping[str, Sequence[Change]]
"""Of each module every change that can be made."""


def read_module(module: str) -> str:
    return (ROOT / PACKAGE / module).read_text(encoding="utf-8")


def all_changes() -> dict[str, list[Change]]:
    """Of each module in TESTS every change that can be made."""
    return {module: changes_of(read_module(module)) for module in TESTS}


def find_change(row: Row, population: Population) -> tuple[str, Change] | None:
    """The recorded change as it is in the modules today, and the module that holds it; None where it is not there.

    Looked for where it was recorded, then elsewhere in the module, then in all others: functions are renamed and moved.
    """
    identity = (row["kind"], row["before"], row["after"], row["occurrence"])
    same = [(module, c) for module, found in population.items() for c in found if c.identity == identity]
    for where in (
        [(m, c) for m, c in same if m == row["module"] and c.mutant.function == row["function"]],
        [(m, c) for m, c in same if m == row["module"]],
        [(m, c) for m, c in same if c.mutant.function == row["function"]],
        same,
    ):
        if len(where) == 1:
            return where[0]
    return None


def share_out(count: int, places: Mapping[str, int]) -> dict[str, int]:
    """How many mutants each module should have, by the places that it offers."""
    offering = {module: n for module, n in places.items() if n}
    free, total = max(0, count - LEAST * len(offering)), sum(offering.values())
    return {module: min(n, LEAST + round(free * n / total)) for module, n in offering.items()}


def draw_rows(recorded: Sequence[Row], population: Population, count: int, seed: int) -> list[tuple[Row, Change]]:
    """The recorded mutants that still exist, and new ones of the modules that have fewest for their places.

    Every module has LEAST, even if that makes more than ``count``. What is drawn anew depends on the seed, on the
    module and on what the record holds of it, and on no other module's text.
    """
    rows: list[tuple[Row, Change]] = []
    for row in recorded:
        place = find_change(row, population)
        if place is not None and all(change is not place[1] for _, change in rows):
            rows.append((describe_change(*place, earlier=row), place[1]))
    wanted = share_out(count, {module: len(found) for module, found in population.items()})
    waiting = {}
    for module in wanted:
        known = {change.key for row, change in rows if row["module"] == module}
        drawn = random.Random(f"{module} {seed}").sample(population[module], len(population[module]))
        waiting[module] = [change for change in drawn if change.key not in known]
    while True:
        have = {module: sum(row["module"] == module for row, _ in rows) for module in wanted}
        able = [module for module in wanted if waiting[module]]
        neediest = min(able, key=lambda module: have[module] / wanted[module], default=None)
        if neediest is None or (len(rows) >= count and have[neediest] >= LEAST):
            return rows
        change = waiting[neediest].pop(0)
        rows.append((describe_change(neediest, change), change))


def describe_change(module: str, change: Change, earlier: Row | None = None) -> Row:
    """The row of a change, with the verdict that an earlier row of it holds.

    ``killed`` is the verdict on the function as it is; what was said of the function before an edit is ``earlier``.
    """
    mutant = change.mutant
    row: Row = {"module": module, "kind": mutant.kind, "function": mutant.function, "line": mutant.line}
    row |= {"before": change.before, "after": change.after, "occurrence": change.occurrence, "key": change.key}
    if earlier is None:
        return row
    if "killed" in earlier and earlier["key"] == change.key:
        return row | {"killed": earlier["killed"], "tests": earlier["tests"]}
    verdict = earlier.get("killed", earlier.get("earlier"))
    return row if verdict is None else row | {"earlier": verdict}


def tests_hash(root: Path, tests: Iterable[str]) -> str:
    """A hash of the text of tests: their files, other tests than a named one left out, and what they share.

    That is the conftests of the folders in tests/, which hold fixtures; the one in tests/ itself holds settings.
    """
    digest = hashlib.sha256()
    for test in tests:
        file, _, name = test.partition("[")[0].partition("::")
        digest.update(f"{test}\n{_without_others((root / file).read_text(encoding='utf-8'), name)}\n".encode())
        for folder in (root / file).parents:
            if root / "tests" in folder.parents and (folder / "conftest.py").exists():
                digest.update((folder / "conftest.py").read_bytes())
    return digest.hexdigest()


def _without_others(source: str, name: str) -> str:
    if not name:
        return source
    others = [n for n in ast.parse(source).body if not _is_test(n) or n.name == name]
    return "\n".join(map(ast.unparse, others))


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def deciding_tests(row: Row) -> Sequence[str]:
    """The tests on which a verdict depends: the one that failed, or all of the module."""
    return [row["killed"]] if "::" in row["killed"] else TESTS[row["module"]]


def explain(row: Row) -> str:
    """Why a survivor passes; "" if it is not explained."""
    return EXPLAINED.get((row["before"], row["after"]), "")


def is_settled(row: Row) -> bool:
    """Whether a row's verdict stands: its tests are what they were, and it is a kill or an explained survivor."""
    if "killed" not in row or not (row["killed"] or explain(row)):
        return False
    tests = deciding_tests(row)
    exist = all((ROOT / test.partition("::")[0]).exists() for test in tests)
    return exist and row["tests"] == tests_hash(ROOT, tests)


def unsettle(row: Row) -> Row:
    """The row without a verdict that no longer stands; it is kept as ``earlier``."""
    if "killed" not in row:
        return row
    return {key: value for key, value in row.items() if key not in ("killed", "tests")} | {"earlier": row["killed"]}


def earlier_killers(row: Row) -> list[str]:
    """The tests that killed the mutant the last time: of a test with parameters, the cases that are the module's."""
    test = row.get("earlier", "")
    file, _, name = test.partition("::")
    # A doctest is named by its module and function, a test by its function.
    if not name or not (ROOT / file).exists() or name.rpartition(".")[2] not in (ROOT / file).read_text("utf-8"):
        return []
    return [own for own in TESTS[row["module"]] if own.startswith(f"{test}[")] or [test]


class Judge:
    """Gives mutants to tests, on as many copies of the project as there are jobs; ``rows`` are all that it will get."""

    def __init__(self, copies: Sequence[Trials], rows: Iterable[Row]) -> None:
        self._free: SimpleQueue[Trials] = SimpleQueue()
        for copy in copies:
            self._free.put(copy)
        self._checked: set[str] = set()
        self._killers = dict.fromkeys(test for row in rows for test in earlier_killers(row))

    @contextmanager
    def borrow_copy(self) -> Iterator[Trials]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def judge(self, row: Row, change: Change) -> Row:
        """The row with its verdict."""
        module, text = row["module"], change.mutant.source
        with self.borrow_copy() as copy:
            killers = earlier_killers(row)
            killed = ""
            if killers:
                self._check_killers(copy, killers[0].partition("::")[0])
                killed = copy.failing_test(killers, module, text)
            if not killed:
                self._check_module(copy, module)
                killed = copy.failing_test(TESTS[module], module, text)
        judged = {key: value for key, value in row.items() if key != "earlier"} | {"killed": killed}
        return judged | {"tests": tests_hash(ROOT, deciding_tests(judged))}

    def _check_killers(self, copy: Trials, file: str) -> None:
        """Exit unless the tests of a file that killed before pass on the true modules."""
        if file not in self._checked:
            copy.check_true_modules([test for test in self._killers if test.startswith(f"{file}::")])
            self._checked.add(file)

    def _check_module(self, copy: Trials, module: str) -> None:
        """Exit unless all tests of a module pass on the true modules, and import it from the copy."""
        if module not in self._checked:
            copy.check_true_modules(TESTS[module])
            copy.check_imports(TESTS[module], module)
            self._checked.add(module)


def rank_effort(row: Row) -> tuple[bool, int, str]:
    """Sorts the mutants that one test has killed before to the front, and those of quick tests before others."""
    files = [test.partition("::")[0] for test in TESTS[row["module"]]]
    own = [test.partition("::")[0] for test in earlier_killers(row)]
    return (not own, files.index(own[0]) if own and own[0] in files else len(files), "".join(own[:1]))


def judge_all(
    rows: list[Row], changes: Sequence[Change], jobs: int, more: Callable[[], bool], chosen: Iterable[str]
) -> None:
    """Judge the rows of the chosen modules that have no verdict, and write the record after each, while ``more()``."""
    todo = [n for n, row in enumerate(rows) if "killed" not in row and row["module"] in chosen]
    todo.sort(key=lambda n: rank_effort(rows[n]))
    say(f"{sum('killed' in row for row in rows)} of {len(rows)} mutants are judged already")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies = [Trials.on_a_copy(Path(folder) / str(job)) for job in range(jobs)]
        judge = Judge(copies, [rows[n] for n in todo])

        def judge_in_time(n: int) -> tuple[int, Row]:
            return n, judge.judge(rows[n], changes[n]) if more() else rows[n]

        try:
            futures = [pool.submit(judge_in_time, n) for n in todo]
            for done, future in enumerate(as_completed(futures), start=1):
                n, rows[n] = future.result()
                if "killed" in rows[n]:
                    write_record(RECORD, rows)
                    where = f"{rows[n]['module']}, {rows[n]['function']} (line {rows[n]['line']})"
                    say(f"{done} of {len(todo)}: {where}: {rows[n]['killed'] or 'SURVIVES'}")
        finally:
            pool.shutdown(cancel_futures=True)
            for copy in copies:
                copy.close()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="modules to judge; all if none")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants in all")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--until", metavar="HH:MM", default="99", help="begin no mutant after this time of the day")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    population = all_changes()
    drawn = draw_rows(read_record(RECORD), population, arguments.count, arguments.seed)
    rows = [row if is_settled(row) else unsettle(row) for row, _ in drawn]
    try:
        judge_all(
            rows,
            [change for _, change in drawn],
            arguments.jobs,
            lambda: time.strftime("%H:%M") < arguments.until,
            arguments.modules or TESTS,
        )
    except KeyboardInterrupt:
        say("interrupted; what was judged is kept, the same command goes on from there")
        sys.exit(130)
    write_record(RECORD, rows)
    places = {module: len(found) for module, found in population.items() if found}
    write_section("derivation", page_of(rows, places, arguments.seed, explain))
    sys.exit(any(not is_settled(row) for row in rows))


if __name__ == "__main__":
    main()
