"""What benchmarks/mutation/of_derivation.py changes and what it calls killed, on a module and a test of a few lines."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

SOURCE = '''"""Not 1 + 1 of these."""
SIZE = 2 + 2


def mean(values: list[float | int], weights=(1, 2)):
    """The mean of 3 * 4 numbers."""
    if not values:
        raise ValueError(f"{len(values) + 5} values, " + "6")
    return sum(values) / max(len(values), 1)
'''

TEST = """
from integrator_analysis.thing import mean

def test_mean():
    assert mean([1, 2, 6]) == 3
"""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks" / "mutation"))
    return importlib.import_module("of_derivation")


def test_changes_are_single_ones_in_function_bodies_and_not_in_messages(program) -> None:
    made = program.mutants_of(SOURCE)
    assert {(m.kind, m.function, m.before, m.after) for m in made} == {
        ("sign", "mean", "not values", "(values)"),
        ("operator", "mean", "sum(values) / max(len(values), 1)", "(sum(values) * max(len(values), 1))"),
        ("constant", "mean", "1", "2"),
    }
    assert len(made) == 3
    (constant,) = (m for m in made if m.kind == "constant")
    line = "return sum(values) / max(len(values), {})"
    assert program.changed_lines(SOURCE, constant.source) == (line.format(1), line.format(2))


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("a @ b", {"(b @ a)"}),
        ("a.T", {"a"}),
        ("a ** 2", {"(a * 2)", "3"}),
        ("-a if a < b else True", {"(a)", "(a <= b)", "(not (a < b))", "False"}),
        ("a and b is None", {"(a or b is None)", "(b is not None)"}),
    ],
)
def test_changes_by_kind(program, text: str, changes: set[str]) -> None:
    found = {m.after for m in program.mutants_of(f"def f(a, b):\n    return {text}\n")}
    assert found == changes


def test_the_sample_is_seeded_and_has_mutants_of_every_module(program) -> None:
    made = program.sample(60, seed=5)
    assert made == program.sample(60, seed=5)
    assert made != program.sample(60, seed=6)
    assert min(map(len, made.values())) >= program.LEAST


def test_every_module_of_the_analysis_has_its_tests(program) -> None:
    folder = program.ROOT / program.PACKAGE
    modules = {path.relative_to(folder).as_posix() for path in folder.glob("analysis/*.py")}
    assert modules - {"analysis/__init__.py"} <= set(program.TESTS)
    files = {test.partition("::")[0] for tests in program.TESTS.values() for test in tests}
    assert [file for file in files if not (program.ROOT / file).exists()] == []


def test_a_verdict_stands_while_the_tests_that_gave_it_do(
    program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setitem(program.TESTS, "thing.py", ["test_thing.py"])
    monkeypatch.setattr(program, "EXPLAINED", {("thing.py", "a", "b"): "the same"})
    file = tmp_path / "test_thing.py"
    file.write_text(TEST)
    one = {"module": "thing.py", "before": "a", "after": "b"}
    rows = [one | {"killed": verdict} for verdict in ("test_thing.py::test_mean", program.NOT_IMPORTED, "")]
    rows = [row | {"tests": program.tests_hash(tmp_path, program.judges(row))} for row in rows]
    assert all(map(program.settled, rows))
    assert not program.settled(one)
    assert not program.settled(rows[2] | {"before": "c"})  # a survivor that is not explained
    file.write_text(TEST + "\n\ndef test_other():\n    pass\n")
    assert [program.settled(row) for row in rows] == [True, False, False]
    file.write_text(TEST.replace("== 3", "== 4"))
    assert not any(map(program.settled, rows))


def test_a_kill_is_the_verdict_of_a_test(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(program.TESTS, "thing.py", ["test_thing.py"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # five quick starts
    module = tmp_path / "integrator_analysis" / "thing.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").touch()
    module.write_text(SOURCE)
    (tmp_path / "test_thing.py").write_text(TEST)
    assert program.killed(tmp_path, "thing.py", SOURCE) == ""
    assert program.killed(tmp_path, "thing.py", SOURCE.replace(" / ", " * ")) == "test_thing.py::test_mean"
    assert program.killed(tmp_path, "thing.py", "raise ImportError\n") == program.NOT_IMPORTED
    monkeypatch.setattr(program, "LIMIT", 3)  # of which pytest takes half a second to start
    assert program.killed(tmp_path, "thing.py", "def mean(values):\n    while True:\n        pass\n") == program.ENDLESS
    assert module.read_text() == SOURCE
    (tmp_path / "test_thing.py").write_text("")  # no test, no verdict
    with pytest.raises(SystemExit):
        program.killed(tmp_path, "thing.py", SOURCE)
