"""The example in the docstring of an exported file runs, as it stands there, where the file was written."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import pytest

import integrator_analysis as ia

MODULE = "import torch\nnetwork = lambda z, t: torch.sin(z)\n"
SCHEDULER = """
from types import SimpleNamespace
import diffusers
pipeline = SimpleNamespace(scheduler=diffusers.DDIMScheduler())
"""
UNET = """
import diffusers
unet = diffusers.UNet2DModel(
    sample_size=8, in_channels=2, out_channels=2, block_out_channels=(32,), layers_per_block=1,
    down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
)
"""
SIGMAS = """
import torch
model = lambda x, sigma: 0.25 + 0 * x
x, sigmas = torch.randn(2, 3), torch.tensor([9.0, 1.0, 0.0])
"""
CASES = {
    "vp/DDIM": ("module", MODULE, "assert z_0.shape == (4, 3, 32, 32)"),
    "vp/EM": ("module", MODULE, "assert z_0.isfinite().all()"),
    "vp/DPM-Solver++2M": ("diffusers", SCHEDULER, "assert pipeline.scheduler.order == 1"),
    "psld/RVV": ("diffusers", UNET, "assert len(images) == 4"),
    "edm/DPM-Solver++2M": ("k-diffusion", SIGMAS, "assert torch.allclose(x_0, torch.tensor(0.25))"),
}
"""By spec: the format, what stands before the example, and what holds after it."""


@pytest.mark.parametrize("spec", CASES)
def test_the_example_of_a_file_runs_beside_it(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form, before, after = CASES[spec]
    path = ia.derive(spec).export(tmp_path / "my_sampler.py", format=form)
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False) or ""
    assert len(docstring.partition("\nExported by")[0].splitlines()) <= 40
    example = example_in(docstring)
    assert "from my_sampler import" in example
    # As a script beside the file would, but in this process, which has torch and diffusers already.
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_sampler", raising=False)
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        exec(f"{before}\n{example}\n{after}", names)
        assert Path(sys.modules["my_sampler"].__file__ or "") == path
    finally:
        sys.modules.pop("my_sampler", None)


def test_a_name_that_python_cannot_import_is_not_in_the_example(tmp_path: Path) -> None:
    path = ia.derive("vp/DDIM").export(tmp_path / "my sampler.py")
    assert "from vp_ddim import prior, sample" in path.read_text(encoding="utf-8")


def example_in(docstring: str) -> str:
    """The indented lines below the sentence on what the file needs."""
    lines = docstring[docstring.index("\nNeeds Python") + 1 :].splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))
