"""The face: it is lazy, its names do what the rooms behind it do, and what users read imports from it alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import integrator_analysis as ia

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HEAVY = ("sympy", "scipy", "torch", "numpy", "matplotlib", "mpmath")


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


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_import_from_the_face_alone(notebook: Path) -> None:
    """As README and docs do (tests/test_documents.py)."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    modules = re.findall(r"^\s*(?:from|import) ((?:integrator_analysis|torch_backend)[\w.]*)", code, re.MULTILINE)
    assert [
        name for name in modules if name not in ("integrator_analysis", "torch_backend", "torch_backend.scores")
    ] == []
