"""Walk claims of exported files: through the file's own loop, beside diffusers, and failing where the loop is wrong."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import integrator_analysis as ia
from integrator_analysis.codegen import kernel_source
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.exported_walks import FileWalks, measure_file
from integrator_analysis.verification.walk_claims import EVALUATIONS
from torch_backend.export import FORMATS

diffusers = pytest.importorskip("diffusers")


@cache
def exported(spec: str, form: str) -> tuple[Bench, str]:
    """The bench of a scheme, and the text of a file with a certificate of no claims."""
    i = ia.derive(spec)
    bench = Bench(i, i.source)
    from torch_backend.source import body_hash

    evidence = {**bench.evidence, "source_hash": f"sha256:{body_hash(i.source)}"}
    kernel = {"kernel": kernel_source(i.process)} if FORMATS[form].with_kernel and len(i.process.blocks) > 1 else {}
    return bench, FORMATS[form].write(i.source, {"passed": True, "evidence": evidence, "claims": []}, **kernel)


def walked(spec: str, form: str, *change: str) -> FileWalks:
    bench, text = exported(spec, form)
    if change:
        assert change[0] in text
        text = text.replace(*change)
    return measure_file(bench, form, text)


def failing(found: FileWalks) -> set[str]:
    return {claim.name for claim in found.claims if not claim.passed}


FILES = [
    *((spec, "module") for spec in ("vp/UniPC-3", "vp/DDIM-eta", "psld/SPS-2M", "psld/SSCS", "flow/Euler")),
    *((spec, "diffusers") for spec in ("vp/DDIM", "vp/DPM-Solver++3M", "vp/UniPC-2", "vp/EDM-Heun", "vp/DEIS-tAB2")),
    *((spec, "diffusers") for spec in ("vp/SDE-DPM-Solver++2M", "vp/RK4")),
    *(
        (spec, "k-diffusion")
        for spec in ("edm/DPM-Solver++2M", "edm/UniPC-2", "edm/DDIM-eta", "edm/Heun", "psld/RVV", "psld/ROBA")
    ),
]


@pytest.mark.parametrize(("spec", "form"), FILES)
def test_the_walks_of_a_file_are_those_that_were_derived(spec: str, form: str) -> None:
    found = walked(spec, form)
    assert failing(found) == set()
    kinds = ["gaussian_walk"] if ia.derive(spec).stochastic else ["gaussian_walk", "mixture_walk"]
    expected = {f"file_{kind}[{n}]" for kind in kinds for n in EVALUATIONS}
    assert {claim.name for claim in found.claims} == expected | {"file_walk_evaluations"}


@pytest.mark.parametrize("spec", ["vp/DPM-Solver++2M", "vp/UniPC-2", "vp/UniPC-3", "vp/EDM-Heun"])
def test_the_counterpart_that_makes_the_same_steps_has_the_same_error(spec: str) -> None:
    """diffusers' own scheduler, an independent implementation, on the same table and states."""
    found = walked(spec, "diffusers")
    (remark,) = found.remarks
    theirs = {int(n): float(error) for n, error in re.findall(r"\[(\d+)\] ([\d.e-]+\d)", remark)}
    ours = {n: c.measured for n in EVALUATIONS for c in found.claims if c.name == f"file_mixture_walk[{n}]"}
    assert theirs == pytest.approx(ours, rel=0.02)
    assert "makes the same steps" in remark


@pytest.mark.parametrize(
    ("spec", "form", "before", "after"),
    [
        ("vp/DPM-Solver++3M", "module", "FEW_STEPS = 15", "FEW_STEPS = 5"),
        ("vp/DDIM", "module", 'GRID = "quadratic"', 'GRID = "uniform"'),
        ("vp/DDIM", "module", "data = weights[0] * parts[0]", "data = parts[0]"),
        ("psld/SPS-2M", "module", "if primed is not None and rows:", "if False:"),
        ("vp/DPM-Solver++2M", "diffusers", "self._past = [reached.kept, *self._past[:-1]]", "pass"),
        ("vp/DDIM", "diffusers", "after = x_0 if self._to_zero else z", "after = z"),
        ("edm/DPM-Solver++3M", "k-diffusion", "FEW_STEPS = 15", "FEW_STEPS = 5"),
        ("edm/DDIM", "k-diffusion", "return network.denoised(x, values[-2].expand(x.shape[0]))", "return x"),
    ],
)
def test_a_wrong_loop_in_a_file_is_rejected(spec: str, form: str, before: str, after: str) -> None:
    """What stands around the certified source in the file may be wrong though the source is right."""
    wrong = failing(walked(spec, form, before, after))
    assert {"file_gaussian_walk[8]", "file_mixture_walk[8]"} <= wrong


def test_a_file_whose_walks_cannot_be_measured_says_why() -> None:
    found = walked("psld/RVV", "diffusers")
    assert found.claims == ()
    assert found.remarks[0].startswith("Walks through this file were not measured: its pipeline hands the network")
    (remark,) = walked("flow/Euler", "diffusers").remarks
    assert remark.endswith("its grid is that of its config and of the pipeline.")


@pytest.mark.parametrize(("spec", "form"), [("vp/DDIM", "module"), ("vp/DPM-Solver++2M", "diffusers")])
def test_an_exported_file_carries_the_claims_of_its_walks(spec: str, form: str, tmp_path: Path) -> None:
    docstring = ia.derive(spec).export(tmp_path / "sampler.py", form).read_text(encoding="utf-8").split('"""')[1]
    for n in EVALUATIONS:
        assert f"\n    file_gaussian_walk[{n}]: derived " in docstring
        assert f"\n    mixture_walk[{n}]: derived " in docstring
    assert ("DPMSolverMultistepScheduler of diffusers" in docstring) == (form == "diffusers")
    assert max(map(len, docstring.splitlines())) <= 160
