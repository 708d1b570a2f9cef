"""Rounding in float32 and bfloat16: predicted from the operations of the step program, measured on the source."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import integrator_analysis as ia
from integrator_analysis.verification.certify import certify
from integrator_analysis.verification.rounding_bound import rounding_bound
from torch_backend.measuring.device import module_stepping_on
from torch_backend.measuring.maps import affine_map
from torch_backend.measuring.walks import end_of_walk

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]
SPECS = ("vp/DDIM", "vp/UniPC-2", "vp/RK4", "psld/RVV", "vp/DPM-Solver++2M", "psld/gDDIM", "psld/SSCS")


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """z / 2 + 1/4: the product is exact, so that the network rounds once, in whatever precision it is asked."""
    return z / 2 + 0.25


@cache
def derived(spec: str) -> ia.Integrator:
    return ia.derive(spec)


def states(spec: str, steps: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """200 states and the noise of a walk, numbers of ``dtype``."""
    program, generator = derived(spec).program, torch.Generator().manual_seed(2)
    z = torch.randn(200, len(program.blocks), generator=generator)
    return z.to(dtype), torch.randn(steps, len(program.noises), 200, generator=generator).to(dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("times", [[0.5, 0.45], [0.5, 0.45, 0.4, 0.35, 0.3]], ids=["one step", "a walk"])
def test_what_low_precision_loses_is_what_the_operations_predict(
    spec: str, dtype: str, device: str, times: list[float]
) -> None:
    i = derived(spec)
    z, noise = states(spec, len(times) - 1, getattr(torch, dtype))
    value, bound = rounding_bound(i.table, z.double().numpy(), times, noise.double().numpy(), dtype)
    module = i.to_torch().module
    exact = end_of_walk(module, network, z.double(), times, noise.double())
    np.testing.assert_allclose(exact, value, rtol=0, atol=1e-12 * np.abs(value).max())
    low = end_of_walk(module, network, z.to(device), times, noise)
    share = np.abs(low - exact) / bound
    assert share.max() <= 1
    assert share.max() >= 0.05  # a bound, and not a wish


def test_the_bound_of_one_step_by_hand() -> None:
    """x <- a x + b eps(x): six roundings of u |.| each, three of a sum of two, and one of eps, which b carries."""
    i = derived("vp/DDIM")
    z, u = np.array([[0.8125], [-2.0]]), 2.0**-24
    a, b = np.real(i.table(0.5, 0.45))
    eps = z / 2 + 0.25
    expected = 3 * u * (np.abs(a * z) + np.abs(b * eps)) + np.abs(b) * u * np.abs(eps)
    _, bound = rounding_bound(i.table, z, [0.5, 0.45], np.zeros((1, 0, 2)), "float32")
    np.testing.assert_allclose(bound, expected, rtol=1e-14)


def test_errors_that_cancel_are_not_added_up() -> None:
    """x_0 on phase space is z and eps, each 500-fold, and their difference: what z has lost before hardly matters."""
    i = derived("psld/DPM-Solver++2S")
    z, noise = states(i.spec, 4, torch.float32)
    _, bound = rounding_bound(
        i.table, z.double().numpy(), [0.5, 0.45, 0.4, 0.35, 0.3], noise.double().numpy(), "float32"
    )
    assert bound.max() < 1e-2


def test_one_rounding_more_than_the_program_has_is_seen() -> None:
    """Coefficients that were rounded to bfloat16 exceed the bound for float32 by far."""
    true = derived("psld/RVV").source
    changed = true.replace(
        "\n\ndef step(",
        "\n\nexact_coefficients = coefficients\n\n\ndef coefficients(t: Tensor, s: Tensor) -> Tensor:\n"
        "    return exact_coefficients(t, s).bfloat16().double()\n\n\ndef step(",
    )
    claim = certify(derived("psld/RVV"), changed).claim("rounding[float32]")
    assert not claim.passed
    assert claim.error > 100


@pytest.mark.parametrize("device", ["cuda:99", "mps", "meta", "nonsense"])
def test_a_device_that_cannot_measure_is_one_sentence(device: str) -> None:
    with pytest.raises(ia.InputError, match=rf"^device '{device}' [^\n]+; accepted: cpu, or a device"):
        ia.verify("vp/DDIM", device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/RVV", "psld/ROBA", "vp/UniPC-2"])
def test_the_certificate_holds_on_cuda(spec: str) -> None:
    certificate = ia.verify(spec, device="cuda")
    assert certificate.passed
    assert certificate.evidence["device"].startswith("cuda (")
    assert {c.name for c in certificate.claims} == {c.name for c in ia.verify(spec).claims}


class There(torch.Tensor):
    """A tensor on a device that stands in for one that this machine lacks."""


@pytest.mark.parametrize("spec", ["psld/SSCS", "vp/UniPC-2"])
def test_steps_are_made_on_the_device_and_the_network_on_the_cpu(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = derived(spec).to_torch().module
    true = module.step

    def step(
        z: torch.Tensor, t: torch.Tensor, s: torch.Tensor, c: torch.Tensor, net: Any, noise: Any, *kept: Any
    ) -> Any:
        used = [z, t, s, c, *([] if noise is None else [noise]), *(k for past in kept for k in past)]
        assert all(isinstance(x, There) for x in used)
        return true(z, t, s, c, net, noise, *kept)

    def here(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert not isinstance(z, There)
        assert not isinstance(t, There)
        return network(z, t)

    expected = affine_map(module, network, 0.5, 0.4, [0.6, 0.7, 0.8][: module.HISTORY])
    monkeypatch.setattr(module, "step", step)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self.as_subclass(There))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: self.as_subclass(torch.Tensor))
    found = affine_map(module_stepping_on("there", module), here, 0.5, 0.4, [0.6, 0.7, 0.8][: module.HISTORY])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
