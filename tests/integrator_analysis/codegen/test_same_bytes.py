"""Generated source is the same text in every process: whatever the hash seed, in another order, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import sys

sys.modules["torch"] = None  # an import of it fails

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source
from integrator_analysis.report.generate import generated_folder

folder = generated_folder()
for name in sys.argv[1:]:
    if "/" in name:
        integrator = ia.derive(name)
        file, text = f"{integrator.name}.py", integrator.source
    else:
        file, text = f"kernel_{name}.py", kernel_source(ia.process(name))
    assert (folder / file).read_bytes() == text.encode(), name
"""
NAMES = [
    *("vp", "vp_cosine", "psld", "vp/DDIM", "vp/DPM-Solver++3M", "vp/UniPC-2", "vp/SDE-DPM-Solver++2M", "cld/SSCS"),
    *("psld/anchored-DDIM", "psld/RVV", "psld/SPS-2M", "psld/DEIS-tAB1", "psld/lambda-DDIM-II", "psld/COBA-whole"),
]


@pytest.mark.parametrize(("seed", "names"), [("0", NAMES), ("4242", NAMES[::-1])])
def test_source_does_not_depend_on_the_hash_seed_or_on_what_came_before(seed: str, names: list[str]) -> None:
    """Names of sets and symbols are ordered by text: the committed files come out, byte by byte, where torch is not."""
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "INTEGRATOR_ANALYSIS_CACHE": ""}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
