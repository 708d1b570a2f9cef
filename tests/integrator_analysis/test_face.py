"""The face: it is lazy, its names do what the rooms behind it do, and what users read imports from it alone."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import integrator_analysis as ia

ROOT = Path(__file__).parents[2]
READ_BY_USERS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "examples").glob("*.py")),
]
HEAVY = ("sympy", "scipy", "torch", "numpy", "matplotlib", "mpmath")
FACES = ("integrator_analysis", "torch_backend", "torch_backend.scores", "torch_backend.networks")
"""The packages that users import from."""


def test_importing_the_package_loads_no_heavy_package_and_no_room() -> None:
    code = "import integrator_analysis, torch_backend, sys; print('\\n'.join(sys.modules))"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = done.stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
    assert [name for name in loaded if name.startswith(("integrator_analysis.", "torch_backend."))] == []


def test_every_public_name_is_there_and_listed() -> None:
    assert {"derive", "verify", "catalogue", "processes", "process", "register", "Splitting", "Stage", "t"} <= set(
        ia.__all__
    )
    assert [name for name in ia.__all__ if not hasattr(ia, name)] == []
    assert set(ia.__all__) <= set(dir(ia))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ia.nonsense  # type: ignore[attr-defined]


def test_a_room_does_not_hide_the_function_of_its_name() -> None:
    import integrator_analysis.catalogue
    import integrator_analysis.processes  # noqa: F401

    assert "psld/RVV" in ia.catalogue()
    assert "psld" in ia.processes()


def code_of(document: Path) -> list[str]:
    """The Python that a document shows: its fenced blocks, a notebook's cells, or the file itself."""
    text = document.read_text(encoding="utf-8")
    if document.suffix == ".md":
        return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if document.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [text]


def imported(block: str) -> set[str]:
    """The modules that a block imports from; a line that is not Python (a notebook's magic) is none."""
    found = set()
    for node in ast.walk(ast.parse("\n".join(line for line in block.splitlines() if not line.startswith(("%", "!"))))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("document", READ_BY_USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_users_read_imports_from_the_faces_alone(document: Path) -> None:
    ours = {
        name
        for block in code_of(document)
        for name in imported(block)
        if name.partition(".")[0] in ("integrator_analysis", "torch_backend")
    }
    assert ours - set(FACES) == set()
