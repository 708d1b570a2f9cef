"""Loading generated source: names, hashes, the warning for changed code, tracebacks and compilation."""

import hashlib
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch

import torch_backend
from torch_backend import Sampler, load, sampler, source
from torch_backend.sampler import UncertifiedSourceWarning, available, body_hash, module_from_source
from torch_backend.source import load_kernel

BODY = '''
import math
import torch
SPEC = "toy/lambda-X"
PROCESS = "toy"; BLOCKS = ("x",); ORDER = 1; STOCHASTIC = False; NFE_PER_STEP = 1; HISTORY = 0; NOISES = 0
T_MAX = 1.0; T_MIN = 0.1; PRIOR_STD = (1.0,); COEFFICIENTS = ("h",)


def coefficients(t, s):
    return torch.stack([torch.log(t / s)], -1)


def step(z, t, s, c, network, noise):
    """One step."""
    return z + c[0] * network(z, t)
'''


def printed(body=BODY, hashed=None):
    digest = hashlib.sha256((hashed or body).encode()).hexdigest()
    return f'"""A toy.\n\nBody hash: sha256:{digest}\nTerms hash: sha256:{"0" * 64}\n"""{body}'


@pytest.fixture
def generated(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "GENERATED", tmp_path)
    (tmp_path / "toy_lambda_X.py").write_text(printed())
    (tmp_path / "__init__.py").write_text('"""Nothing."""\n')
    (tmp_path / "kernel_toy.py").write_text('"""A kernel."""\n\nPROCESS = "toy"\n')
    return tmp_path


def test_load_by_spec(generated):
    loaded = load("toy/lambda-X", dtype=torch.float64)
    assert isinstance(loaded, Sampler)
    assert (loaded.spec, loaded.dtype) == ("toy/lambda-X", torch.float64)
    assert loaded.sample(lambda z, t: -z, torch.ones(1, 1), steps=3, end_at_zero=False).shape == (1, 1)
    assert available() == ["toy/lambda-X"]


def test_load_by_path(generated):
    path = generated / "toy_lambda_X.py"
    assert load(path).spec == load(str(path)).spec == "toy/lambda-X"
    with pytest.raises(FileNotFoundError):
        load(generated / "missing.py")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("toy/lambda-Y", "unknown spec 'toy/lambda-Y'; did you mean 'toy/lambda-X'. Known: toy/lambda-X"),
        ("toy/lambda_X", "unknown spec 'toy/lambda_X'"),  # the same file name is not the same spec
        ("../../etc", "unknown spec '../../etc'; Known"),
    ],
)
def test_an_unknown_spec(generated, spec, message):
    with pytest.raises(ValueError, match=message):
        load(spec)


def test_changed_code_says_so_before_it_runs(generated):
    changed = printed(BODY.replace("c[0]", "2 * c[0]"), hashed=BODY) + "\nraise RuntimeError('ran')\n"
    (generated / "toy_lambda_X.py").write_text(changed)
    with (
        pytest.warns(UncertifiedSourceWarning, match="the code is not the code that was certified; its body"),
        pytest.raises(RuntimeError, match="ran"),
    ):
        load("toy/lambda-X")


def test_code_without_a_hash_says_so(generated):
    (generated / "toy_lambda_X.py").write_text(f'"""A toy."""{BODY}')
    with pytest.warns(UncertifiedSourceWarning, match="header carries no body hash"):
        load("toy/lambda-X")


def test_load_kernel(generated):
    assert load_kernel("toy").PROCESS == "toy"
    with pytest.raises(ValueError, match="unknown process 'ty'; did you mean 'toy'"):
        load_kernel("ty")


def test_the_body_hash_is_that_of_the_text_after_the_docstring():
    assert body_hash(printed()) == hashlib.sha256(BODY.encode()).hexdigest()
    assert body_hash(printed()) == body_hash('"""Another header."""' + BODY)
    for text in ("x = 1", '"""never closed', 'x = 1\n"""late"""\n'):
        with pytest.raises(ValueError, match="must begin with a docstring"):
            body_hash(text)


def test_tracebacks_show_the_line():
    module = module_from_source(BODY, "test_source_traceback")
    with pytest.raises(TypeError, match="must be Tensor") as raised:
        module.coefficients(-1.0, 1.0)
    shown = "".join(traceback.format_exception(raised.value))
    assert "<generated test_source_traceback>" in shown
    assert "return torch.stack([torch.log(t / s)], -1)" in shown


def test_a_walk_compiles_whole():
    """Inlining a step makes torch.compile import the step's module by name, for its globals."""
    module = module_from_source(BODY.replace("z + c[0]", "z + ORDER * c[0]"), "test_source_compile")
    z, t, s, c = torch.ones(2, 2), torch.tensor(1.0), torch.tensor(0.5), torch.tensor([0.1])

    def walk(z):
        return module.step(module.step(z, t, s, c, lambda z, t: -z, None), t, s, c, lambda z, t: -z, None)

    torch.testing.assert_close(torch.compile(walk, backend="eager", fullgraph=True)(z), 0.81 * z)


def test_estimating_orders_needs_no_torch():
    program = "import sys, torch_backend.measuring.convergence; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(torch_backend.__file__).parents[1]).returncode == 0


def test_the_public_face_is_lazy():
    assert torch_backend.__all__ == ["Sampler", "load", "load_kernel", "module_from_source"]
    assert torch_backend.Sampler is sampler.Sampler
    assert "load" in dir(torch_backend)
    with pytest.raises(AttributeError, match="attribute Smapler"):
        torch_backend.Smapler  # noqa: B018
