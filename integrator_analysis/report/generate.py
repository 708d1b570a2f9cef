"""Writes torch_backend/generated: one kernel module per process, one scheme module per catalogue entry.

Knows the catalogue and where the files go. A module is written only if its text differs, and a file that no entry
accounts for is removed, so that the folder is exactly the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source, module_name
from integrator_analysis.files import write_text

__all__ = ["differences", "generated_folder", "generated_sources", "write_generated"]


def generated_folder() -> Path:
    """The folder torch_backend/generated of the installed package."""
    import torch_backend

    return Path(torch_backend.__file__).parent / "generated"


def generated_sources(integrators: Mapping[str, ia.Integrator] | None = None) -> dict[str, str]:
    """File name -> text of everything in the folder but its __init__.py; ``integrators`` saves deriving them again."""
    chosen = integrators or {spec: ia.derive(spec) for spec in ia.catalogue()}
    files = {f"kernel_{module_name(name)}.py": kernel_source(ia.process(name)) for name in ia.processes()}
    return files | {f"{integrator.name}.py": integrator.source for integrator in chosen.values()}


def write_generated(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Bring ``folder`` to exactly ``files`` (and its __init__.py); returns the names that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = differences(folder, files)
    for name in changed:
        if name in files:
            write_text(folder / name, files[name])
        else:
            (folder / name).unlink()
    return changed


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """The names whose text in ``folder`` is not that of ``files``, missing and left-over files included."""
    present = {
        path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "__init__.py"
    }
    return sorted(name for name in present.keys() | files.keys() if present.get(name) != files.get(name))
