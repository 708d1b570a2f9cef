"""The recipes of CONTRIBUTING, followed to the letter in a copy of the packages: one new file, one entry in one list.

A recipe is three blocks of code, each after a comment. ``<!-- recipe: NAME, file PATH -->`` stands before the new file,
``<!-- recipe: NAME, list PATH -->`` before the entry, in a list whose other entries are ``...``, and
``<!-- recipe: NAME, try -->`` before a program that prints what its comments say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^<!-- recipe: (\w+), (file|list|try) ?(\S*) -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RECIPES: dict[str, dict[str, tuple[str, str]]] = {}
for _name, _part, _path, _code in BLOCK.findall(TEXT):
    RECIPES.setdefault(_name, {})[_part] = (_path, _code)


def add_to_list(path: Path, entry: str) -> None:
    """Put the imports of ``entry`` before the list that it shows, and what stands behind its dots at the list's end."""
    imports, shown = re.fullmatch(r"((?:from [^\n]*\n)*)(.*)", entry, re.DOTALL).groups()  # type: ignore[union-attr]
    before, behind = shown.split("...,")
    text = path.read_text(encoding="utf-8")
    # The lines may be broken elsewhere in the file than on the page.
    opening = re.compile(r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", before))))
    places = list(opening.finditer(text))
    assert len(places) == 1, f"{path.name} has {len(places)} times {before!r}"
    start, inner = places[0].span()
    end = inner + find_closing_bracket(text[inner:])
    others = text[inner:end].rstrip().removesuffix(",")
    new = behind[: find_closing_bracket(behind)].strip()
    path.write_text(f"{text[:start]}{imports}{text[start:inner]}{others}, {new}{text[end:]}", encoding="utf-8")


def find_closing_bracket(text: str) -> int:
    """The place in ``text`` of the bracket that closes one opened before it."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return place
    raise AssertionError("no bracket closes the list")


def test_there_are_four_recipes_of_one_file_and_one_list() -> None:
    assert list(RECIPES) == ["process", "scheme", "check", "figure"]
    assert all(list(parts) == ["file", "list", "try"] for parts in RECIPES.values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_followed_to_the_letter_works(name: str, tmp_path: Path) -> None:
    for package in ("integrator_analysis", "torch_backend"):
        shutil.copytree(ROOT / package, tmp_path / package)
    path, code = RECIPES[name]["file"]
    assert not (tmp_path / path).exists()
    (tmp_path / path).write_text(code, encoding="utf-8")
    path, entry = RECIPES[name]["list"]
    add_to_list(tmp_path / path, entry)

    _, program = RECIPES[name]["try"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment["INTEGRATOR_ANALYSIS_CACHE"] = ""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.+)", program)
