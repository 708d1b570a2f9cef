"""Do the tests notice a wrong derivation? Seeded mutants of the derivation's own modules, each given to tests.

    python benchmarks/derivation_mutants.py [--count 6] [--seed 20231011]

Works on a copy of the project in a temporary folder, one mutant at a time, and runs the few tests that concern the
module (TESTS), not the whole suite: a mutant that they do not kill may still be killed by others. Writes
reports/derivation_mutants.json as it goes (an interrupted run goes on where it stopped) and a section of
reports/mutants.md. Exit status 1 if the tests fail on the true modules.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from integrator_analysis.certificate import SEED, write_text

ROOT = Path(__file__).parent.parent
T = "tests/integrator_analysis/"
TESTS = {
    "conjugation.py": [T + "test_conjugation.py", T + "test_spec_base_methods.py", T + "test_local_error.py"],
    "splitting.py": [T + "test_splitting.py", "tests/properties/test_words.py"],
    "program.py": [T + "test_program.py", T + "test_codegen.py", "tests/properties/test_gaussian_map.py"],
    "analysis/gaussian.py": [T + "test_gaussian_and_stability.py", "tests/properties/test_gaussian_map.py"],
    "analysis/stability.py": [T + "test_gaussian_and_stability.py"],
    "analysis/local_error.py": [T + "test_local_error.py", T + "test_harmonic_oscillator.py"],
    "analysis/coefficients.py": [T + "test_exponential.py", "tests/properties/test_gaussian_map.py"],
    "analysis/exactness.py": [
        f"{T}test_certificate.py::test_every_catalogue_entry_is_verified[{spec}]"
        for spec in ("vp/DDIM", "vp/Euler", "vp/DEIS-tAB2", "psld/anchored-DDIM")
    ],
}
"""Of each module, the tests that are about it."""
LIMIT = 300
"""Seconds for the tests of one mutant; one that makes them take longer is killed by that."""
BEGIN, END = "<!-- derivation: begin -->", "<!-- derivation: end -->"
START = time.perf_counter()

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
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


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:5.0f} s] {text}", file=sys.stderr, flush=True)


def edits(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Expressions of function bodies and what replaces them: an operator, a constant, a sign, a condition."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    seen = {id(n) for f in functions for n in ast.walk(ast.Module(f.body, []))}
    messages = {id(n) for r in ast.walk(tree) if isinstance(r, ast.Raise | ast.JoinedStr) for n in ast.walk(r)}
    for node in ast.walk(tree):
        if id(node) not in seen or id(node) in messages or not isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            yield node, f"({ast.unparse(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))})"
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
            yield node, f"({ast.unparse(ast.Compare(node.left, [SWAPS[type(node.ops[0])]()], node.comparators))})"
        elif isinstance(node, ast.BoolOp):
            yield node, f"({ast.unparse(ast.BoolOp(SWAPS[type(node.op)](), node.values))})"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield node, f"({ast.unparse(node.operand)})"
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield node, repr(node.value + 1)
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield node, repr(not node.value)


def sample(module: str, count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` mutants of one module: line, text before and after, and the module's whole text."""
    text = (ROOT / "integrator_analysis" / module).read_text(encoding="utf-8")
    sites = list(edits(ast.parse(text)))
    chosen = random.Random(f"{module} {seed}").sample(sites, min(count, len(sites)))
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    found, data = [], text.encode()  # columns count bytes
    for node, after in chosen:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        changed = (data[:begin] + after.encode() + data[end:]).decode()
        found.append(
            {"module": module, "line": node.lineno, "before": data[begin:end].decode(), "after": after, "text": changed}
        )
    return found


def killed(copy: Path, module: str, text: str) -> str:
    """The first test that fails with the changed module, "time" where they do not end, "" where all pass."""
    target = copy / "integrator_analysis" / module
    true = target.read_text(encoding="utf-8")
    target.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", *TESTS[module]]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "time"
    finally:
        target.write_text(true, encoding="utf-8")
    if done.returncode == 0:
        return ""
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].partition("[")[0] if failed else f"exit status {done.returncode}"


def page(rows: list[dict[str, Any]], seed: int) -> str:
    dead = [row for row in rows if row["killed"]]
    lines = [
        "## The derivation's own modules",
        "",
        f"{len(rows)} mutants, a sample by `python benchmarks/derivation_mutants.py` (seed {seed}): one operator, "
        "constant, sign or condition in a function body is changed, and the tests that are about the module are run, "
        "not the suite.",
        "",
        f"**{len(dead)} of {len(rows)} are killed ({100 * len(dead) / max(1, len(rows)):.0f} %).**",
        "",
        "| module | mutants | killed |",
        "|---|---|---|",
    ]
    for module in TESTS:
        of = [row for row in rows if row["module"] == module]
        lines.append(f"| {module} | {len(of)} | {sum(bool(row['killed']) for row in of)} |")
    lines += ["", "### Survivors of those tests", ""]
    alive = [row for row in rows if not row["killed"]]
    for row in alive:
        before, after = (" ".join(row[key].split()) for key in ("before", "after"))
        lines.append(f"- {row['module']}, line {row['line']}: `{before}` to `{after}`")
    return "\n".join(lines if alive else [*lines, "None."]) + "\n"


def main() -> None:
    from mutants import replaced  # the program beside this one

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=6, help="mutants per module")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    store = ROOT / "reports" / "derivation_mutants.json"
    kept = {row["key"]: row for row in json.loads(store.read_text(encoding="utf-8"))} if store.exists() else {}
    rows: list[dict[str, Any]] = []
    # One of each module in turn, so that an interrupted run has seen them all.
    samples = [sample(module, arguments.count, arguments.seed) for module in TESTS]
    todo = [made[n] for n in range(arguments.count) for made in samples if n < len(made)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        for name in ("integrator_analysis", "torch_backend", "tests", "docs", "examples"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        try:
            for module in TESTS:
                true = (ROOT / "integrator_analysis" / module).read_text(encoding="utf-8")
                if failed := killed(copy, module, true):
                    say(f"the tests of {module} fail on the true module: {failed}")
                    sys.exit(1)
            say("the tests pass on the true modules")
            for n, mutant in enumerate(todo, start=1):
                text = mutant.pop("text")
                key = hashlib.sha256(text.encode()).hexdigest()
                if key not in kept:
                    kept[key] = {**mutant, "key": key, "killed": killed(copy, mutant["module"], text)}
                    write_text(store, json.dumps([*kept.values()], indent=1) + "\n")
                    say(f"{n} of {len(todo)}: {mutant['module']}, {kept[key]['killed'] or 'SURVIVES'}")
                rows.append(kept[key])
        except KeyboardInterrupt:
            say("interrupted; what was judged is kept, the same command goes on from there")
            sys.exit(130)
    target = ROOT / "reports" / "mutants.md"
    write_text(target, replaced(target, BEGIN, END, page(rows, arguments.seed)))


if __name__ == "__main__":
    main()
