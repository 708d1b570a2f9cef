"""Do the tests notice a wrong derivation? Seeded mutants of the derivation's own modules, each given to tests.

    python benchmarks/mutation/of_derivation.py [--count 150] [--seed 20231011] [--jobs 1] [MODULE ...]

Works on copies of the project in a temporary folder, each with one mutant at a time, and without the cache of
derivations. It runs the tests that concern the module (TESTS), not the suite, and first on the true modules, where
they have to pass. Writes reports/derivation_mutants.json as it goes and a section of reports/mutants.md. A mutant is
not judged again while its text and its tests are what they were, unless it is a survivor that is not explained here:
exit status 1 if one is left.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import hashlib
import json
import os
import py_compile
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeGuard, TypeVar

from changes import Mutant, edited
from of_sources import OUTPUT, replaced, say

from integrator_analysis.files import write_text  # the program beside this one
from integrator_analysis.verification.bench import SEED

Item = TypeVar("Item")
ROOT = OUTPUT.parent
PACKAGE = "integrator_analysis"
COPIED = ("integrator_analysis", "torch_backend", "tests", "docs", "examples", "README.md", "pyproject.toml")
COUNT, LEAST = 150, 3
"""Mutants in all, and the fewest of a module: the others are shared out by the number of places that can be changed."""
LIMIT = 240
"""Seconds of computing for the tests of one mutant; on the true modules they take a third of that at most."""
NOT_IMPORTED, ENDLESS = "does not import", f"does not end within {LIMIT} s"

T, A, P = "tests/integrator_analysis/", "tests/integrator_analysis/analysis/", "tests/properties/"
COMMITTED = T + "test_codegen.py::test_the_committed_folder_is_what_the_catalogue_derives"
VERIFIED = [
    f"{T}test_certificate.py::test_every_catalogue_entry_is_verified[{spec}]"
    for spec in ("vp/DDIM", "vp/Euler", "vp/DEIS-tAB2", "vp/anchored-AB2", "psld/anchored-DDIM", "psld/Euler")
]
TESTS: Mapping[str, Sequence[str]] = {
    "conjugation.py": [
        T + "test_local_error.py",
        PACKAGE + "/conjugation.py",
        T + "test_bad_methods.py",
        T + "test_conjugation.py",
        A + "test_elementary_differentials.py",
        P + "test_transformed_ode.py",
        COMMITTED,
    ],
    "splitting.py": [
        T + "test_splitting.py",
        PACKAGE + "/splitting.py",
        T + "test_harmonic_oscillator.py",
        A + "test_leading_terms.py",
        P + "test_words.py",
        COMMITTED,
    ],
    "program.py": [T + "test_program.py", T + "test_splitting.py", P + "test_gaussian_map.py", COMMITTED],
    "analysis/coefficients.py": [
        T + "test_gaussian_and_stability.py",
        T + "test_bad_methods.py",
        T + "test_codegen.py::test_generated_table_equals_the_analysis_table",
        A + "test_elementary_differentials.py",
        P + "test_gaussian_map.py",
    ],
    "analysis/conditions.py": [T + "test_conditions.py", PACKAGE + "/analysis/conditions.py", A + "test_modified.py"],
    "analysis/cost.py": [A + "test_cost.py"],
    "analysis/exactness.py": VERIFIED,
    "analysis/expansion.py": [
        T + "test_local_error.py",
        A + "test_leading_terms.py",
        A + "test_elementary_differentials.py",
        A + "test_modified.py",
        PACKAGE + "/analysis/local_error.py",
    ],
    "analysis/frozen.py": [
        A + "test_amplification.py",
        A + "test_stability_limits.py",
        A + "test_growth_and_moments.py",
        PACKAGE + "/analysis/stability.py",
    ],
    "analysis/gaussian.py": [
        T + "test_gaussian_and_stability.py",
        PACKAGE + "/analysis/gaussian.py",
        P + "test_steps_by_hand.py::test_moments_after_many_steps_are_those_of_the_composed_maps",
        P + "test_steps_by_hand.py::test_a_full_covariance_is_treated_in_its_eigenbasis",
        P + "test_gaussian_map.py",
    ],
    "analysis/global_error.py": [A + "test_global_error.py"],
    "analysis/growth.py": [A + "test_growth_and_moments.py", PACKAGE + "/analysis/growth.py"],
    "analysis/limits.py": [
        A + "test_stability_limits.py",
        PACKAGE + "/analysis/limits.py",
        PACKAGE + "/analysis/stability.py",
    ],
    "analysis/local_error.py": [
        T + "test_local_error.py",
        PACKAGE + "/analysis/local_error.py",
        A + "test_leading_terms.py",
        A + "test_elementary_differentials.py",
        A + "test_modified.py",
    ],
    "analysis/modified.py": [A + "test_modified.py", PACKAGE + "/analysis/modified.py"],
    "analysis/problems.py": [A + "test_law_nodes.py", T + "test_local_error.py", A + "test_global_error.py"],
    "analysis/recall.py": [
        T + "test_cache.py::test_a_warm_start_says_what_the_cold_one_said",
        T + "test_cache.py::test_an_error_is_evaluated_at_any_precision_after_a_warm_start",
    ],
    "analysis/rounding.py": [T + "test_rounding.py"],
    "analysis/stability.py": [
        A + "test_amplification.py",
        T + "test_gaussian_and_stability.py",
        A + "test_stability_limits.py",
        A + "test_growth_and_moments.py",
        PACKAGE + "/analysis/stability.py",
    ],
    "analysis/trial.py": [
        "tests/torch_backend/test_export.py::test_the_answer_of_the_trial_is_that_of_the_kernels_drift"
    ],
}
"""Of each module the tests that are about it, the quick ones first: they end at the first failure. Doctests are not the
first: pytest would load their module a second time, under another name."""

EXPLAINED: Mapping[tuple[str, str, str], str] = {
    (
        "analysis/conditions.py",
        "rest = tuple(0 if n in positions else e for n, e in enumerate(exponents))",
        "rest = tuple(1 if n in positions else e for n, e in enumerate(exponents))",
    ): "It is what monomials are grouped by: any constant in the places of the free symbols will do.",
    (
        "analysis/exactness.py",
        "return bool(np.abs(result - exact).max() <= EXACT * max(1.0, np.abs(exact).max()))",
        "return bool((np.abs(result - exact).max() < EXACT * max(1.0, np.abs(exact).max())))",
    ): "A comparison of rounding errors with a tolerance: they are never equal.",
    (
        "analysis/expansion.py",
        "at = {b: self.state[name] for b, name in zip(self.program.blocks, names, strict=True)}",
        "at = {b: self.state[name] for b, name in zip(self.program.blocks, names, strict=False)}",
    ): "An assertion: a state has a name for every block.",
    (
        "analysis/growth.py",
        "shifted = z[..., None, None] * np.eye(matrix.shape[-1]) - matrix",
        "shifted = z[..., None, None] * np.eye(matrix.shape[(1)]) - matrix",
    ): "Both are the size of a square matrix.",
    (
        "analysis/global_error.py",
        "return replace(program, statements=(first, *program.statements), history=0, primed=False)",
        "return replace(program, statements=(first, *program.statements), history=0, primed=True)",
    ): "A step that takes its own first evaluation has the same leading error again after a second one; it "
    "only costs more.",
    (
        "analysis/global_error.py",
        "return float(center @ m @ center + np.sum(m * covariance) + np.array(self.vector) @ center + self.constant)",
        "return float(center @ m @ center + np.sum(m * covariance) + (center @ np.array(self.vector)) + self.constant)",
    ): "The inner product of two vectors, in the other order.",
    (
        "analysis/limits.py",
        "if found == 0 or excess(before := scan[found - 1]) > tolerance / 2:",
        "if found == 0 or excess(before := scan[found - 1]) > tolerance / 3:",
    ): "A threshold in a gap: growth that sets in slowly exceeds it by the whole tolerance, rounding falls below both.",
    (
        "analysis/coefficients.py",
        "values[symbol] = 0 if None in ends else self._weight(call.func, *ends)",
        "values[symbol] = 1 if None in ends else self._weight(call.func, *ends)",
    ): "A weight of a step that is missing is multiplied by the shares of its nodes, which are 0 then.",
    (
        "analysis/local_error.py",
        "for share, z in ((0.31, (0.4, -0.3, 0.2)), (0.63, (-0.7, 0.5, 0.1))):",
        "for share, z in ((0.31, (0.4, (0.3), 0.2)), (0.63, (-0.7, 0.5, 0.1))):",
    ): "Another point at which two errors are compared: any two without symmetry will do.",
    (
        "analysis/local_error.py",
        "number = mpmath.mpmathify(sympy.N(value, mpmath.mp.dps + 5))",
        "number = mpmath.mpmathify(sympy.N(value, (mpmath.mp.dps - 5)))",
    ): "Parameters to 35 digits in place of 45, for a result in float64.",
    (
        "analysis/gaussian.py",
        "if not np.all(np.isfinite(values)) or values.min() < -1e-12 * max(values.max(), 1e-300):",
        "if not np.all(np.isfinite(values)) or (values.min() <= -1e-12 * max(values.max(), 1e-300)):",
    ): "A comparison of a rounding error with a tolerance: they are never equal.",
    (
        "analysis/local_error.py",
        "if count - 1 not in self._found and count > 1:",
        "if count - 1 not in self._found and (count >= 1):",
    ): "It expands anew for a count of one, and keeps nothing of it.",
    (
        "analysis/trial.py",
        "knots = range(math.floor(first), math.ceil(last) - 1, -1) if process.tables else () # where the clock has a kink",  # noqa: E501
        "knots = range(math.floor(first), math.ceil(last) - 1, -2) if process.tables else () # where the clock has a kink",  # noqa: E501
    ): "DOP853 then finds every second kink itself, by shorter steps: on ddpm the answer moves by 4e-11.",
    (
        "analysis/problems.py",
        "score = (shares * pulls).sum(axis=0) / shares.sum(axis=0) * spreads.max()",
        "score = ((shares * pulls).sum(axis=0) / shares.sum(axis=0) / spreads.max())",
    ): "The unit of the score in the test that ends the refinement: another weight of its powers, to the "
    "same tolerance.",
    (
        "analysis/stability.py",
        "tolerance = 1e-7 if abs(unit.imag) < 1e-3 else 1e-10 # a double eigenvalue is known to half the digits",
        "tolerance = 1e-7 if (not (abs(unit.imag) < 0.001)) else 1e-10 # a double eigenvalue is known to half the digits",  # noqa: E501
    ): "A tolerance: crossings are found by root finding, and rounding of radii is met neither way in the "
    "schemes that are tried.",
    (
        "analysis/stability.py",
        "last, after, n = 0, 1, 1",
        "last, after, n = 1, 1, 1",
    ): "n = 1 is tried first: if it is not stable last becomes 1, and if all are, the answer is 1 either way.",
}
"""Why a survivor passes, by module and the lines before and after: it computes the same, or no claim is about it."""

BEGIN, END = "<!-- derivation: begin -->", "<!-- derivation: end -->"

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
KINDS = {
    "operator": "+ and -, * and /, ** to *",
    "comparison": "< and <=, == and !=, in and not in, is and is not",
    "connective": "and and or",
    "sign": "- or not left out",
    "constant": "an integer one larger, True and False",
    "branch": "a condition negated",
    "matrix": "factors of @ exchanged, .T left out",
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """What is made of one node: the kind of change, the expression and the text that takes its place."""
    match node:
        case ast.BinOp(left, ast.MatMult(), right):
            yield "matrix", node, f"({ast.unparse(ast.BinOp(right, node.op, left))})"
        case ast.BinOp(left, op, right) if type(op) in SWAPS:
            yield "operator", node, f"({ast.unparse(ast.BinOp(left, SWAPS[type(op)](), right))})"
        case ast.Compare(left, [op], right) if type(op) in SWAPS:
            yield "comparison", node, f"({ast.unparse(ast.Compare(left, [SWAPS[type(op)]()], right))})"
        case ast.BoolOp(op, values):
            yield "connective", node, f"({ast.unparse(ast.BoolOp(SWAPS[type(op)](), values))})"
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield "sign", node, f"({ast.unparse(operand)})"
        case ast.Constant(bool(value)):
            yield "constant", node, repr(not value)
        case ast.Constant(int(value)):
            yield "constant", node, repr(value + 1)
        case ast.Attribute(value, "T"):
            yield "matrix", node, ast.unparse(value)
        case ast.If(test) | ast.IfExp(test) | ast.While(test) if not _turned_already(test):
            yield "branch", test, f"(not ({ast.unparse(test)}))"


def _turned_already(test: ast.expr) -> bool:
    """Whether another kind of change negates the condition."""
    match test:
        case ast.UnaryOp(ast.Not()) | ast.Compare(_, [ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()]):
            return True
        case ast.Compare(_, [ast.Is() | ast.IsNot()]):
            return True
    return False


def places(node: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The nodes of function bodies, and the function each is in; not those of messages and other text."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise | ast.JoinedStr):
            continue
        if isinstance(child, ast.FunctionDef):
            yield from places(ast.Module(child.body, []), child.name)
            continue
        if function:
            yield function, child
        yield from places(child, function)


def text_of(module: str) -> str:
    return (ROOT / PACKAGE / module).read_text(encoding="utf-8")


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant that there is of a module's text."""
    return [
        edited(source, kind, function, node, after)
        for function, place in places(ast.parse(source))
        for kind, node, after in changes(place)
    ]


def sample(count: int, seed: int) -> dict[str, list[Mutant]]:
    """``count`` mutants in all, drawn without replacement within each module."""
    made = {module: mutants_of(text_of(module)) for module in TESTS}
    free, total = max(0, count - LEAST * len(made)), sum(map(len, made.values()))
    return {
        module: random.Random(f"{module} {seed}").sample(
            found, min(len(found), LEAST + round(free * len(found) / total))
        )
        for module, found in made.items()
    }


def changed_lines(source: str, mutant: str) -> tuple[str, str]:
    """The lines in which the two differ, in one line each."""
    old, new = source.splitlines(), mutant.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return " ".join(" ".join(old).split()), " ".join(" ".join(new).split())


def key_of(module: str, text: str) -> str:
    return hashlib.sha256(f"{module}\n{text}".encode()).hexdigest()


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


def judges(row: Mapping[str, Any]) -> Sequence[str]:
    """The tests on which a verdict depends: the one that failed, or all."""
    return [row["killed"]] if "::" in row["killed"] else TESTS[row["module"]]


def settled(row: Mapping[str, Any]) -> bool:
    """Whether a row's verdict stands: its tests are what they were, and it is a kill or an explained survivor."""
    return "killed" in row and bool(row["killed"] or explanation(row)) and row["tests"] == tests_hash(ROOT, judges(row))


def copied(folder: Path) -> Path:
    """A copy of the project, compiled: what is compiled is checked by the hash of its text, not by its time."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return folder


def killed(copy: Path, module: str, text: str) -> str:
    """The test that fails with the changed module, NOT_IMPORTED, ENDLESS, or "" where all pass.

    Exits where pytest says neither: a kill is the verdict of a test.
    """
    target = copy / PACKAGE / module
    true = target.read_text(encoding="utf-8")
    target.write_text(text, encoding="utf-8")
    limited = ["sh", "-c", f'ulimit -S -t {LIMIT}; exec "$@"', "sh"]  # of computing, however busy the machine is
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", *TESTS[module]]
    own = {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "INTEGRATOR_ANALYSIS_CACHE": "",  # neither read nor written: a mutant computes everything itself
    }
    try:
        done = subprocess.run([*limited, *command], cwd=copy, env=os.environ | own, capture_output=True, text=True)
    finally:
        target.write_text(true, encoding="utf-8")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    names = [line.split(" ", 1)[1].split(" - ")[0].partition("[")[0] for line in failed]
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGXCPU:
        return ENDLESS
    if done.returncode == 1 and names and "::" in names[0]:
        return names[0]
    if (done.returncode in (1, 2) and names) or "while loading conftest" in done.stderr:
        return NOT_IMPORTED
    say(f"{module}: pytest ends with status {done.returncode}, which is no verdict:\n{done.stdout}\n{done.stderr}")
    sys.exit(2)


def check_copy(copy: Path, module: str) -> None:
    """Exit unless the tests pass on the true module and fail where the module of the copy cannot be imported."""
    if failed := killed(copy, module, text_of(module)):
        say(f"the tests of {module} fail on the true module: {failed}")
        sys.exit(2)
    if killed(copy, module, "raise ImportError\n") != NOT_IMPORTED:
        say(f"the tests of {module} do not import the module of the copy")
        sys.exit(2)


@contextmanager
def borrowed(free: SimpleQueue[Path]) -> Iterator[Path]:
    copy = free.get()
    try:
        yield copy
    finally:
        free.put(copy)


def in_any_order(pool: Executor, work: Callable[[Item], Item], items: Iterable[Item]) -> Iterator[Item]:
    for future in as_completed([pool.submit(work, item) for item in items]):
        yield future.result()


# -- the page ----------------------------------------------------------------------------------------------------------
def explanation(row: Mapping[str, Any]) -> str:
    return EXPLAINED.get((row["module"], row["before"], row["after"]), "")


def page(rows: Sequence[Mapping[str, Any]], seed: int) -> str:
    same = [row for row in rows if not row["killed"] and explanation(row)]
    dead = [row for row in rows if row["killed"]]
    by = Counter(row["killed"] if row["killed"] in (NOT_IMPORTED, ENDLESS) else "a test" for row in dead)
    places = {module: len(mutants_of(text_of(module))) for module in TESTS}
    total = sum(places.values())
    share, rest = (100 * len(dead) / max(1, n) for n in (len(rows), len(rows) - len(same)))
    lines = [
        "## The derivation's own modules",
        "",
        f"{len(rows)} mutants, drawn from {total} by `python benchmarks/mutation/of_derivation.py` (seed {seed}): at "
        f"least {LEAST} of each module, the others in proportion to the places that can be changed. A mutant is one "
        "change in a function body. The tests that are about the module are run, not the suite, without the cache; "
        "they pass on the true modules.",
        "",
        f"**{len(dead)} of {len(rows)} mutants are killed ({share:.1f} %): {by['a test']} "
        f"by a failing test, {by[NOT_IMPORTED]} because a test file cannot be imported, {by[ENDLESS]} because the "
        f"tests do not end within {LIMIT} s of computing. {len(same)} of the {len(rows) - len(dead)} survivors are "
        f"explained below; of all others {rest:.1f} % are killed.**",
        "",
        "| module | places | mutants | killed | explained | survived |",
        "|---|---|---|---|---|---|",
    ]
    for module in TESTS:
        own = [row for row in rows if row["module"] == module]
        lines.append(_counts(f"{module} | {places[module]}", own))
    lines += ["", "| kind of change | mutants | killed | explained | survived |", "|---|---|---|---|---|"]
    for kind, text in KINDS.items():
        lines.append(_counts(f"{kind}: {text}", [row for row in rows if row["kind"] == kind]))
    lines += ["", "### Survivors of the derivation's tests", ""]
    lines += [f"- {_shown(row)}: {explanation(row) or 'Not explained.'}" for row in rows if not row["killed"]] or [
        "None."
    ]
    return "\n".join(lines) + "\n"


def _counts(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    dead = sum(bool(row["killed"]) for row in rows)
    same = sum(not row["killed"] and bool(explanation(row)) for row in rows)
    return f"| {name} | {len(rows)} | {dead} | {same} | {len(rows) - dead - same} |"


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['module']}, {row['function']} (line {row['line']}): `{row['before']}` to `{row['after']}`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="modules to judge; all if none, and only then a page is written")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants in all")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    arguments = parser.parse_args()
    store = OUTPUT / "derivation_mutants.json"
    kept = {row["key"]: row for row in json.loads(store.read_text(encoding="utf-8"))} if store.exists() else {}
    made = sample(arguments.count, arguments.seed)
    # One of each module in turn, so that an interrupted run has seen them all.
    chosen = arguments.modules or list(TESTS)
    order = [(m, made[m][n]) for n in range(max(map(len, made.values()))) for m in chosen if n < len(made[m])]
    rows: list[dict[str, Any]] = []
    for module, mutant in order:
        before, after = changed_lines(text_of(module), mutant.source)
        row = {"module": module, "kind": mutant.kind, "function": mutant.function, "line": mutant.line}
        row |= {"before": before, "after": after, "key": key_of(module, mutant.source)}
        rows.append(kept.get(row["key"], row))
    todo = [n for n, row in enumerate(rows) if not settled(row)]
    say(f"{len(rows) - len(todo)} of {len(rows)} mutants are judged already")
    try:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
            free: SimpleQueue[Path] = SimpleQueue()  # a copy for each job
            for job in range(arguments.jobs):
                free.put(copied(Path(folder) / str(job)))

            def judged(n: int) -> int:
                module, mutant = order[n]
                with borrowed(free) as copy:
                    rows[n]["killed"] = killed(copy, module, mutant.source)
                    rows[n]["tests"] = tests_hash(copy, judges(rows[n]))
                return n

            def checked(module: str) -> str:
                with borrowed(free) as copy:
                    check_copy(copy, module)
                return module

            try:
                for module in in_any_order(pool, checked, dict.fromkeys(rows[n]["module"] for n in todo)):
                    say(f"the tests of {module} pass on the true module")
                for done, n in enumerate(in_any_order(pool, judged, todo), start=1):
                    kept[rows[n]["key"]] = rows[n]
                    write_text(store, json.dumps([*kept.values()], indent=1) + "\n")
                    say(f"{done} of {len(todo)}: {_shown(rows[n])}: {rows[n]['killed'] or 'SURVIVES'}")
            finally:
                pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        say("interrupted; what was judged is kept, the same command goes on from there")
        sys.exit(130)
    if not arguments.modules:
        write_text(store, json.dumps(rows, indent=1) + "\n")  # without what is out of date
        target = OUTPUT / "mutants.md"
        write_text(target, replaced(target, BEGIN, END, page(rows, arguments.seed)))
    sys.exit(any(not row["killed"] and not explanation(row) for row in rows))


if __name__ == "__main__":
    main()
