"""README, CONTRIBUTING and docs: code runs and prints what it says, imports come from the face, links lead somewhere.

What a block prints stands behind the print, or in the comment lines under it. A block that is not run says why, in
an HTML comment before it: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import integrator_analysis as ia
from torch_backend import load

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>not run|recipe): [^\n]+ -->\n)?```python\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
FACE = {
    "integrator_analysis",
    *("torch_backend", "torch_backend.scores", "torch_backend.networks", "torch_backend.export"),
    "torch_backend.training",
}
"""What a page may import of this project."""
ADDED_BY_RECIPES = set(re.findall(r"<!-- recipe: \w+, file (\S+) -->", PAGES[1].read_text(encoding="utf-8")))


def blocks_to_run(page: Path) -> str:
    """The Python of a page, without recipes (tests/test_recipes.py) and blocks that say why they are not run."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(found["code"] for found in BLOCK.finditer(text) if found["kind"] is None)


def stated_output(code: str) -> list[str]:
    """What the comments say is printed: those behind a print, and the whole lines of comment that follow one."""
    stated: list[str] = []
    after_print = False
    for line in code.splitlines():
        statement, _, output = line.partition("  # ")
        if statement.lstrip().startswith("print("):
            stated += [output] if output else []
            after_print = not output
        elif after_print and line.startswith("# "):
            stated.append(line[2:])
        else:
            after_print = False
    return stated


PAGES_THAT_RUN = [page for page in PAGES if blocks_to_run(page)]


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda page: page.name)
def test_code_blocks_run_and_print_what_they_say(page: Path, tmp_path: Path) -> None:
    for folder in ("examples", "reports"):  # pages read from them; what they write stays in tmp_path
        (tmp_path / folder).symlink_to(ROOT / folder)
    code = blocks_to_run(page)
    expected = stated_output(code)
    assert expected
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment["INTEGRATOR_ANALYSIS_CACHE"] = ""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


def test_pages_that_show_code_are_run() -> None:
    shown = ["README", "derivations", "errors", "export", "own", "paper", "splittings", "stability"]
    assert {page.stem for page in PAGES_THAT_RUN} >= set(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_from_the_face_alone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = "\n".join(found["code"] for found in BLOCK.finditer(text) if found["kind"] != "recipe")
    modules = re.findall(r"^\s*(?:from|import) ((?:integrator_analysis|torch_backend)[\w.]*)", code, re.MULTILINE)
    assert [module for module in modules if module not in FACE] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"))
    code = " ".join(re.findall(r"```.*?```|`[^`\n]*`|^    [^\n]*$", text, re.DOTALL | re.MULTILINE))
    rooms = "integrator_analysis|torch_backend|tests|benchmarks|docs|reports|examples|notebooks"
    named = set(re.findall(rf"(?<![\w/.])(?:{rooms})/[\w./-]*\w", code)) - ADDED_BY_RECIPES
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_readme_is_short_and_has_one_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 90
    assert len(re.findall(r"!\[", readme)) == 1


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"]({name})" not in index] == []


def test_the_table_of_schemes_in_the_docs_has_every_scheme_with_what_its_source_states() -> None:
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    table = page.split("<!-- catalogue: begin -->\n")[1].split("<!-- catalogue: end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    stated = [(spec, load(spec)) for spec in ia.catalogue()]
    assert rows == [[spec, str(s.nfe_per_step), f"{s.order}{' (weak)' * s.stochastic}"] for spec, s in stated]


def test_every_claim_of_the_catalogue_is_explained() -> None:
    certificates = [
        json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "reports" / "certificates").iterdir()
    ]
    names = {claim["name"].partition("[")[0] for certificate in certificates for claim in certificate["claims"]}
    page = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if not re.search(rf"^\| .*`{name}[`\[].*\|", page, re.MULTILINE)] == []
