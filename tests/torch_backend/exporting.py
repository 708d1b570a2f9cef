"""Exported files with the kept certificate of a spec, if it is this source's, else with one of no claims."""

import importlib
import json
import re
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import integrator_analysis as ia
from torch_backend.export import FORMATS
from torch_backend.export.diffusers import class_name
from torch_backend.source import GENERATED, body_hash

REPORTS = Path(__file__).parents[2] / "reports" / "certificates"


def exported_text(spec, form):
    name = re.sub(r"[^0-9A-Za-z]+", "_", spec).strip("_")
    source, kept = GENERATED / f"{name}.py", REPORTS / f"{name}.json"
    text = source.read_text(encoding="utf-8") if source.exists() else ia.derive(spec).source
    certificate = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    if certificate is None or certificate["evidence"]["source_hash"] != f"sha256:{body_hash(text)}":
        evidence = {"source_hash": f"sha256:{body_hash(text)}", "versions": {}, "dtype": "", "device": "", "seed": 0}
        certificate = {"passed": True, "evidence": evidence, "claims": []}
    options = {}
    if FORMATS[form].with_kernel and (kernel := GENERATED / f"kernel_{spec.partition('/')[0]}.py").exists():
        options["kernel"] = kernel.read_text(encoding="utf-8")
    return FORMATS[form].write(text, certificate, **options)


@contextmanager
def exported_schedulers(folder, prefix="exported"):
    """spec -> the module that it is exported to for diffusers, written to ``folder`` and imported from there once."""
    sys.path.insert(0, str(folder))

    @cache
    def build(spec):
        name = f"{prefix}_{class_name(spec).lower()}"
        (folder / f"{name}.py").write_text(exported_text(spec, "diffusers"), encoding="utf-8")
        return importlib.import_module(name)

    try:
        yield build
    finally:
        sys.path.remove(str(folder))
