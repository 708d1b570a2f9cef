"""The committed generated samplers on every precision and device: the same walk, to that precision's rounding."""

from __future__ import annotations

import pytest
import torch

from torch_backend import load
from torch_backend.sampler import available

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]
TIMES = [0.9, 0.7, 0.55, 0.45, 0.4]


def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.tanh(z) * (1 + t.to(z.dtype)[:, None, None, None]) / 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 8e-2)])
@pytest.mark.parametrize("spec", available())
def test_every_precision_gives_the_float64_walk(spec: str, dtype: torch.dtype, tolerance: float, device: str) -> None:
    sampler = load(spec)
    z = sampler.prior(6, (2, 4, 4), seed=3).double()
    z = z.to(dtype).double()  # the same start, representable in both

    def run(start: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(11) if sampler.stochastic else None
        return sampler.sample(network, start, times=TIMES, generator=generator)

    low = run(z.to(device, dtype))
    assert low.dtype == dtype
    assert low.device.type == device
    if sampler.stochastic and dtype != torch.float64:
        # float32 and float64 draw different numbers from one seed: compare with the float32 walk instead.
        exact = run(z.to(device, torch.float32)).double()
    else:
        exact = run(z.to(device))
    assert (low.double() - exact).abs().max() <= tolerance * exact.abs().max()


@pytest.mark.parametrize("spec", available())
def test_loading_is_silent_and_an_edited_file_is_not(spec: str, tmp_path, recwarn: pytest.WarningsRecorder) -> None:
    sampler = load(spec)
    assert not recwarn.list
    edited = tmp_path / "edited.py"
    with open(sampler.module.__file__, encoding="utf-8") as stream:
        text = stream.read()
    edited.write_text(text.replace("T_MIN = 0.001", "T_MIN = 0.002"), encoding="utf-8")
    with pytest.warns(UserWarning, match="not the code that was certified"):
        load(edited)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spec", ["psld/RVV", "vp/DDIM"])
def test_a_batch_is_sampled_alike_alone_or_with_others(spec: str, device: str) -> None:
    sampler = load(spec, device=device, dtype=torch.float64)
    z = sampler.prior(5, (1, 3, 3), seed=0)
    whole = sampler.sample(network, z, steps=6)
    torch.testing.assert_close(whole[2:3], sampler.sample(network, z[2:3], steps=6), rtol=1e-12, atol=1e-12)
