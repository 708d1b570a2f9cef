"""Exported text with the kept certificate of a spec, if it is this source's, else with one of no claims."""

import json
import re
from pathlib import Path

import integrator_analysis as ia
from torch_backend.export import FORMATS
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
    return FORMATS[form].write(text, certificate)
