"""Sources that are wrong only in some shape, size, order or call are rejected, each by its own claim."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import integrator_analysis as ia
from integrator_analysis.verification.certify import certify_thoroughly, first_failure
from integrator_analysis.verification.remeasure import check_again

STEP = "def step("
"""Changes stand in front of a step's first statement."""


@cache
def source(spec: str) -> str:
    return ia.derive(spec).source


def changed(spec: str, statement: str) -> str:
    """The source with a statement in front of the others of its step; ``z`` is the state."""
    head, _, rest = source(spec).partition(STEP)
    signature, docstring, body = re.split(r'("""\n)', rest, maxsplit=1)
    return f"{head}{STEP}{signature}{docstring}    {statement}\n{body}"


WRONG = {
    "a batch of one": ("vp/DDIM", "z = z * (1 + (z.shape[0] == 1) * 1e-6)", "shapes"),
    "large batches": ("vp/DDIM", "z = z * (1 + (z.shape[0] > 100) * 1e-6)", "shapes"),
    "three channels": ("vp/DDIM", "z = z * (1 + (z.shape[1] == 3) * 1e-6)", "shapes"),
    "videos": ("psld/RVV", "z = z * (1 + (z.dim() == 5) * 1e-6)", "shapes"),
    "strided states": ("vp/DDIM", "z = z * (1 + (not z.is_contiguous()) * 1e-6)", "shapes"),
    "float32 images": ("vp/DDIM", "z = z * (1 + (z.dtype == torch.float32 and z.dim() > 2) * 1e-2)", "shapes[float32]"),
    "large states": ("vp/DDIM", "z = z.clamp(-1e4, 1e4)", "growth"),
    "small states": ("vp/DDIM", "z = torch.where(z.abs() < 1e-6, torch.zeros_like(z), z)", "growth"),
    "detached": ("vp/DDIM", "z = z.detach()", "gradient"),
    "random numbers": ("vp/DDIM", "torch.rand(())", "side_effects"),
    "arguments": ("vp/DDIM", "z.mul_(1 + 1e-7)", "same_step"),  # refused by the gradient, before it is measured
    "many calls": (
        "vp/DDIM",
        "globals()['_n'] = globals().get('_n', 0) + 1; z = z * (1 + (globals()['_n'] > 200) * 1e-6)",
        "side_effects",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_some_circumstances_is_rejected(name: str) -> None:
    spec, statement, claim = WRONG[name]
    certificate = ia.derive(spec).verify(source=changed(spec, statement))
    assert claim in {c.name for c in certificate.claims if not c.passed}


def test_adjacent_rows_exchanged_are_rejected() -> None:
    """Only in calls for four steps or more, the last two of them."""
    exchanged = """def _exchanged(rows):
    if rows.dim() < 2 or len(rows) < 4:
        return rows
    return torch.cat([rows[:-2], rows[-1:], rows[-2:-1]])


def coefficients("""
    text = source("vp/DDIM").replace(
        "return _stack(t, [decay_x, weight_xx])", "return _exchanged(_stack(t, [decay_x, weight_xx]))"
    )
    text = text.replace("def coefficients(", exchanged)
    assert text.count("_exchanged(") == 2
    assert first_failure(ia.derive("vp/DDIM"), text) is not None


def test_a_source_that_ignores_its_table_is_rejected() -> None:
    text = source("vp/conjugate(B=table)")
    assert first_failure(ia.derive("vp/conjugate(B=table)"), text) is None
    ignoring = re.sub(r"(def coefficients\(.*?\"\"\"\n)", r"\1    B = [[0.3]]\n", text, count=1, flags=re.DOTALL)
    certificate = ia.derive("vp/conjugate(B=table)").verify(source=ignoring)
    assert not certificate.claim("given_table").passed


@pytest.mark.parametrize("where", ["t == T_MAX", "s == T_MIN"])
def test_ends_of_the_interval_are_looked_at(where: str) -> None:
    text = source("vp/DDIM").replace("    h = t - s\n", f"    h = (t - s) * (1 + ({where}) * 1e-6)\n")
    assert text != source("vp/DDIM")
    assert first_failure(ia.derive("vp/DDIM"), text) is not None


def test_thorough_rounds_find_a_window() -> None:
    """A window of a tenth of the interval in which a coefficient is wrong; every round draws other steps."""
    integrator = ia.derive("vp/DDIM")
    text = source("vp/DDIM").replace("    h = t - s\n", "    h = (t - s) * (1 + ((t > 0.62) & (t < 0.72)) * 1e-6)\n")
    found = certify_thoroughly(integrator, text, seed=1, go_on=lambda rounds: rounds < 4)
    assert found.claim("thorough").measured > 0
    right = certify_thoroughly(integrator, source("vp/DDIM"), seed=1, go_on=lambda rounds: rounds < 2)
    assert right.passed
    assert right.claim("thorough").problem == "2 rounds of other draws, seed 1"


def test_a_file_with_other_numbers_is_refused(tmp_path: Path) -> None:
    integrator = ia.derive("vp/DDIM")
    path = integrator.verify().save(tmp_path / "DDIM.json")
    loaded = ia.Certificate.load(path)
    assert check_again(loaded, integrator, integrator.source, path).passed
    text = path.read_text(encoding="utf-8")
    measured = loaded.claim("constant[x]").measured
    path.write_text(text.replace(repr(measured), repr(measured * 1.01)), encoding="utf-8")
    with pytest.raises(ia.InputError, match=r"DDIM.json: constant\[x\] says measured .*, measured anew it is"):
        check_again(ia.Certificate.load(path), integrator, integrator.source, path)


def test_certificates_say_what_they_cover() -> None:
    text = ia.derive("vp/DDIM").verify().coverage
    assert "covered: times from 0.001 to 1, both ends among them" in text
    assert "not covered: a source that is wrong in a window of times" in text
