"""Every notebook runs from top to bottom, and is committed without outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own start-up
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    clean = all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    assert clean, "clear the outputs before committing"
    nbformat.validate(notebook)  # format 4.5: every cell has an id, and no two share one
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=None, startup_timeout=3600, resources=resources).execute()
    nbformat.write(notebook, tmp_path / "executed.ipynb")


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
