"""Exported standalone modules: they run where only torch can be imported, and equal the sampler they came from."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
import textwrap
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.verification.trial import trial_of
from torch_backend import load
from torch_backend.export import standalone_module
from torch_backend.source import UncertifiedSourceWarning, module_from_source

PRIORS = {"vp": 1.0, "psld": 1.0, "flow": 1.0, "edm": 80.0}
BY_HAND = {  # F and G G^T over beta(t), from the papers
    "vp": (np.array([[-0.5]]), np.array([[1.0]])),
    "psld": (np.array([[-0.01, 4.0], [-1.0, -4.01]]) / 2, np.diag([0.01, 4.01 / 4])),
    "edm": (np.array([[0.0]]), np.array([[1.0]])),
}

SPECS = ("vp/DDIM", "psld/RVV", "vp/EM", "vp/UniPC-2")

ISOLATED = """
import importlib.abc, sys, warnings
warnings.simplefilter("ignore")
class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"integrator_analysis", "torch_backend", "sympy", "scipy", "sklearn", "jaxtyping"}:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Closed())
sys.path.insert(0, ".")
import torch
import exported
z = torch.load("start.pt", weights_only=True)
seed = 7 if exported.STOCHASTIC else None
options = {"steps": 12, "grid": "quadratic", "seed": seed, "lower_order_final": exported.HISTORY > 0}
out = exported.sample(lambda y, t: torch.sin(y) * t[:, None, None, None], z, **options)
assert exported.source_hash() == exported.CERTIFIED_HASH
torch.save(out, "end.pt")
"""


@pytest.fixture(scope="module", params=SPECS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("export") / "exported.py"
    ia.derive(request.param).export(path)
    return request.param, path


def test_runs_with_torch_alone_and_equals_the_sampler(exported: tuple[str, Path]) -> None:
    spec, path = exported
    sampler = load(spec)
    z = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.save(z, path.parent / "start.pt")
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(ISOLATED)], cwd=path.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seed = 7 if sampler.stochastic else None
    options = {"steps": 12, "grid": "quadratic", "seed": seed, "lower_order_final": sampler.module.HISTORY > 0}
    expected = sampler.sample(lambda y, t: torch.sin(y) * t[:, None, None, None], z, **options)
    assert torch.equal(torch.load(path.parent / "end.pt", weights_only=True), expected)


def test_its_sample_takes_the_arguments_of_the_samplers(exported: tuple[str, Path]) -> None:
    spec, path = exported
    module = module_from_source(path.read_text(encoding="utf-8"), f"signature_{path.parent.name}")
    theirs, ours = (list(inspect.signature(f).parameters.values()) for f in (module.sample, load(spec).sample))
    assert [str(one) for one in theirs] == [str(one) for one in ours]


def test_docstring_carries_claims_and_hash(exported: tuple[str, Path]) -> None:
    _, path = exported
    text = path.read_text(encoding="utf-8")
    docstring = text.split('"""')[1]
    assert "Certificate: passed" in docstring
    assert re.search(r"constant\[\w\]: derived \S+, measured \S+, error", docstring)
    certified = re.search(r"Certified source: (sha256:[0-9a-f]{64})", docstring)
    assert certified
    assert f'CERTIFIED_HASH = "{certified[1]}"' in text
    assert "Do not edit: `integrator-analysis generate`" not in text


@pytest.mark.parametrize("exported", ["vp/DDIM"], indirect=True)
def test_an_edited_file_says_that_it_is_not_what_was_certified(exported: tuple[str, Path], tmp_path: Path) -> None:
    _, path = exported
    text = path.read_text(encoding="utf-8")
    body = text.index("def step(")
    edited = tmp_path / "edited.py"
    edited.write_text(text[:body] + text[body:].replace(" * ", " * 1.01 * ", 1), encoding="utf-8")
    for file, status in ((path, 0), (edited, 1)):
        done = subprocess.run([sys.executable, "-I", file], capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert "1 is due" in done.stdout
        assert ("NOT the code that was certified" in done.stdout) == bool(status)


def test_a_file_measures_its_own_order_and_sees_a_wrong_coefficient(exported: tuple[str, Path]) -> None:
    spec, path = exported
    text, name = path.read_text(encoding="utf-8"), path.parent.name
    assert measured(module_from_source(text, f"right_{name}")).converges()
    if not load(spec).stochastic:
        begin = text.index('"""', text.index("One step from t to s"))
        wrong = text[:begin] + text[begin:].replace(" * ", " * 1.001 * ", 1)
        assert not measured(module_from_source(wrong, f"wrong_{name}")).converges()


def measured(module: ModuleType) -> ModuleType:
    """``module`` with all of its trials, however long they take: it stops early on a slow machine."""
    module.trial_errors = partial(module.trial_errors, seconds=math.inf)
    return module


@pytest.mark.parametrize("name", ["vp", "psld", "flow", "edm"])
def test_the_answer_of_the_trial_is_that_of_the_kernels_drift(name: str) -> None:
    """scipy's other high-order solver, on the velocity -score G G^T/2 + F z with the kernel's numbers by hand."""
    process = ia.process(name)
    trial = trial_of(process)
    k = len(process.blocks)

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        z = flat.reshape(-1, k)
        output = (0.5 + time / process.t_max) * np.sin(z / PRIORS[name]) + 0.2
        if name == "flow":
            return output.ravel()
        beta = {"vp": 0.1 + 19.9 * time, "psld": 8.0, "edm": 2 * time}[name]
        drift, diffusion = BY_HAND[name]
        score = -np.linalg.solve(np.linalg.cholesky(process.covariance(time)).T, output.T).T
        return (beta * (z @ drift.T - score @ diffusion.T / 2)).ravel()

    solved = solve_ivp(slope, trial["times"], np.ravel(trial["start"]), method="Radau", rtol=1e-9, atol=1e-9)
    assert np.abs(solved.y[:, -1] - np.ravel(trial["end"])).max() < 1e-6 * np.abs(trial["end"]).max()


def test_an_edited_byte_is_said_when_the_file_is_imported_or_loaded(exported: tuple[str, Path], tmp_path: Path) -> None:
    _, path = exported
    data = path.read_bytes()
    edited = tmp_path / "edited.py"
    spot = data.index(b"One step", data.index(b"def step("))
    edited.write_bytes(data[:spot] + b"A" + data[spot + 1 :])  # one byte, and none that changes what is computed
    unmarked = tmp_path / "unmarked.py"
    unmarked.write_bytes(data.replace(b"# ---- certified source: end ----", b"# ---- the end ----", 1))
    code = f"import sys; sys.path[:0] = [{str(path.parent)!r}, {str(tmp_path)!r}]; import exported, edited, unmarked"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"(\w+)\.py: the code is not the code that was certified", done.stderr)
    assert said == ["edited", "unmarked"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path).spec == exported[0]
    for file in (edited, unmarked):
        with pytest.warns(UserWarning, match="not the code that was certified") as said:
            load(file)
        assert said[0].category is UncertifiedSourceWarning  # before it runs; the file's own warning follows


def test_prior_of_the_exported_module_equals_the_samplers(exported: tuple[str, Path]) -> None:
    spec, path = exported
    module = module_from_source(path.read_text(encoding="utf-8"), f"exported_{path.parent.name}")
    assert torch.equal(module.prior(2, (1, 3, 3), seed=5), load(spec).prior(2, (1, 3, 3), seed=5))


def test_certificate_of_another_source_is_refused() -> None:
    integrator = ia.derive("vp/DDIM")
    certificate = integrator.verify().as_dict()
    with pytest.raises(ValueError, match="verify this source first"):
        standalone_module(integrator.source.replace("ORDER = 1", "ORDER = 2"), certificate)


def test_unwritable_path_and_unknown_format_are_one_clear_error(tmp_path: Path) -> None:
    integrator = ia.derive("vp/DDIM")
    with pytest.raises(ia.InputError, match="writable folder"):
        integrator.export(tmp_path / "missing" / "x.py")
    with pytest.raises(ia.InputError, match="did you mean module"):
        integrator.export(tmp_path / "x.py", format="modul")
    assert list(tmp_path.iterdir()) == []
