"""What benchmarks/mutation/of_derivation.py changes and what it calls killed, on a module and a test of a few lines."""

from __future__ import annotations

from pathlib import Path

import expressions
import of_derivation
import pytest
import trials
from expressions import changes_of
from tests_of_modules import TESTS

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


@pytest.fixture(scope="module")
def possible() -> dict[str, list[expressions.Change]]:
    """Every change of every module in TESTS."""
    return of_derivation.all_changes()


def test_changes_are_single_ones_in_function_bodies_and_not_in_messages() -> None:
    made = changes_of(SOURCE)
    assert {(c.mutant.kind, c.mutant.function, c.mutant.before, c.mutant.after) for c in made} == {
        ("sign", "mean", "not values", "(values)"),
        ("operator", "mean", "sum(values) / max(len(values), 1)", "(sum(values) * max(len(values), 1))"),
        ("constant", "mean", "1", "2"),
    }
    assert len(made) == 3
    (constant,) = (c for c in made if c.mutant.kind == "constant")
    line = "return sum(values) / max(len(values), {})"
    assert (constant.before, constant.after) == (line.format(1), line.format(2))


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
def test_changes_by_kind(text: str, changes: set[str]) -> None:
    found = {c.mutant.after for c in changes_of(f"def f(a, b):\n    return {text}\n")}
    assert found == changes


@pytest.mark.parametrize(
    ("old", "new"),
    [("aab", "aXab"), ("aab", "ab"), ("ab", "aab"), ("abc", "aXc"), ("a", "b"), ("aba", "aba")],
)
def test_the_changed_lines_are_those_between_the_equal_ends(old: str, new: str) -> None:
    before, after = expressions.changed_lines("\n".join(old), "\n".join(new))
    assert len(old) - len(before.split()) == len(new) - len(after.split())
    assert old.replace("".join(before.split()), "", 1) == new.replace("".join(after.split()), "", 1)


def test_comments_are_no_part_of_a_change() -> None:
    plain = changes_of("def f(a):\n    return a + 'x # y'\n")
    remarked = changes_of("def f(a):\n    return a + 'x # y'  # the end\n")
    assert [c.key for c in plain] == [c.key for c in remarked]
    assert plain[0].before == "return a + 'x # y'"


def test_the_verdict_of_a_change_hangs_on_its_function_alone() -> None:
    keys = [c.key for c in changes_of(SOURCE)]
    elsewhere = SOURCE.replace("SIZE = 2 + 2", "def other(x):\n    return [x]").replace("numbers", "values")
    assert [c.key for c in changes_of(elsewhere.replace("def mean", "def average"))] == keys
    assert not {c.key for c in changes_of(SOURCE.replace("weights=(1, 2)", "weights=()"))} & set(keys)


def test_equal_changes_of_one_function_are_told_apart() -> None:
    made = changes_of("def f(a):\n    a += 1\n    a *= 2\n    a += 1\n    return a\n")
    assert [c.occurrence for c in made if c.before == "a += 1"] == [0, 1]
    assert len({c.key for c in made}) == len(made)


def test_new_mutants_are_drawn_by_the_seed_and_of_every_module() -> None:
    population = {"small.py": changes_of(SOURCE), "large.py": changes_of(SOURCE + SOURCE.replace("1)", "1) + 4 + 5"))}
    one = of_derivation.draw_rows([], population, 6, seed=5)
    assert one == of_derivation.draw_rows([], population, 6, seed=5)
    assert one != of_derivation.draw_rows([], population, 6, seed=6)
    assert len(one) == 6
    assert {row["module"] for row, _ in of_derivation.draw_rows([], population, 1, seed=5)} == set(population)
    assert len(of_derivation.draw_rows([], population, 100, seed=5)) == sum(map(len, population.values()))


def test_a_recorded_mutant_stays_while_its_lines_do() -> None:
    """Renamed and moved, a function keeps the mutants of it; an edited one keeps them without their verdicts."""
    population = {"thing.py": changes_of(SOURCE)}
    rows = [row | {"killed": "a::test", "tests": "?"} for row, _ in of_derivation.draw_rows([], population, 3, seed=1)]
    renamed = {"other.py": changes_of(SOURCE.replace("mean", "average"))}
    kept = [row for row, _ in of_derivation.draw_rows(rows, renamed, 3, seed=1)]
    assert [(r["module"], r["function"], r["key"], r["killed"]) for r in kept] == [
        ("other.py", "average", row["key"], "a::test") for row in rows
    ]
    edited = {"thing.py": changes_of(SOURCE.replace("if not values", "weights = values\n    if not values"))}
    for row, _ in of_derivation.draw_rows(rows, edited, 3, seed=1):
        assert "killed" not in row
        assert row["earlier"] == "a::test"
    gone = {"thing.py": changes_of(SOURCE.replace("return sum", "return 0 + sum"))}
    assert [("earlier" in row) for row, _ in of_derivation.draw_rows(rows, gone, 3, seed=1)] == [True, False, False]


def test_every_module_that_derives_has_its_tests(possible: dict[str, list[expressions.Change]]) -> None:
    folder = of_derivation.ROOT / of_derivation.PACKAGE
    rooms = [folder / room for room in ("analysis", "methods", "program")]
    modules = {path.relative_to(folder).as_posix(): path for room in rooms for path in room.rglob("*.py")}
    assert len(modules) > 30
    others = {module: path.read_text(encoding="utf-8") for module, path in modules.items() if module not in TESTS}
    assert [module for module, text in others.items() if changes_of(text)] == []
    assert [module for module, found in possible.items() if not found] == []
    files = {test.partition("::")[0] for tests in TESTS.values() for test in tests}
    assert [file for file in files if not (of_derivation.ROOT / file).exists()] == []


def test_every_explained_survivor_is_a_change_that_can_be_made(possible: dict[str, list[expressions.Change]]) -> None:
    lines = {(c.before, c.after) for found in possible.values() for c in found}
    assert [own for own in of_derivation.EXPLAINED if own not in lines] == []


def test_a_verdict_stands_while_the_tests_that_gave_it_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_derivation, "ROOT", tmp_path)
    monkeypatch.setitem(TESTS, "thing.py", ["test_thing.py"])
    monkeypatch.setattr(of_derivation, "EXPLAINED", {("a", "b"): "the same"})
    file = tmp_path / "test_thing.py"
    file.write_text(TEST)
    one = {"module": "thing.py", "before": "a", "after": "b"}
    rows = [one | {"killed": verdict} for verdict in ("test_thing.py::test_mean", trials.NOT_IMPORTED, "")]
    rows = [row | {"tests": of_derivation.tests_hash(tmp_path, of_derivation.deciding_tests(row))} for row in rows]
    assert all(map(of_derivation.is_settled, rows))
    assert not of_derivation.is_settled(one)
    assert not of_derivation.is_settled(rows[2] | {"before": "c"})  # a survivor that is not explained
    file.write_text(TEST + "\n\ndef test_other():\n    pass\n")
    assert [of_derivation.is_settled(row) for row in rows] == [True, False, False]
    file.write_text(TEST.replace("== 3", "== 4"))
    assert not any(map(of_derivation.is_settled, rows))


def test_what_killed_before_is_tried_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_derivation, "ROOT", tmp_path)
    monkeypatch.setitem(TESTS, "thing.py", ["test_thing.py::test_cases[one]", "test_thing.py::test_cases[two]"])
    file = tmp_path / "test_thing.py"
    file.write_text(TEST)
    row = of_derivation.unsettle({"module": "thing.py", "killed": "test_thing.py::test_mean", "tests": "?"})
    assert of_derivation.earlier_killers(row) == ["test_thing.py::test_mean"]
    assert of_derivation.earlier_killers(row | {"earlier": ""}) == []
    file.write_text(TEST.replace("test_mean", "test_other"))
    assert of_derivation.earlier_killers(row) == []
    file.write_text(TEST.replace("test_mean", "test_cases"))
    assert of_derivation.earlier_killers(row | {"earlier": "test_thing.py::test_cases"}) == TESTS["thing.py"]


def test_a_kill_is_the_verdict_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = ["test_thing.py"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # five quick starts
    monkeypatch.setattr(trials, "LIMIT", 3)  # of which pytest takes half a second to start
    module = tmp_path / "integrator_analysis" / "thing.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").touch()
    module.write_text(SOURCE)
    (tmp_path / "test_thing.py").write_text(TEST)
    copy = trials.Trials(tmp_path, imported=["pytest"])
    try:
        copy.check_true_modules(tests)
        copy.check_imports(tests, "thing.py")
        assert copy.failing_test(tests, "thing.py", SOURCE) == ""
        assert copy.failing_test(tests, "thing.py", SOURCE.replace(" / ", " * ")) == "test_thing.py::test_mean"
        assert copy.failing_test(tests, "thing.py", "raise ImportError\n") == trials.NOT_IMPORTED
        endless = "def mean(values):\n    while True:\n        pass\n"
        assert copy.failing_test(tests, "thing.py", endless) == trials.ENDLESS
        assert module.read_text() == SOURCE
        (tmp_path / "test_thing.py").write_text("")  # no test, no verdict
        with pytest.raises(SystemExit):
            copy.failing_test(tests, "thing.py", SOURCE)
        (tmp_path / "test_thing.py").write_text(TEST.replace("== 3", "== 4"))
        with pytest.raises(SystemExit):
            copy.check_true_modules(tests)
    finally:
        copy.close()
