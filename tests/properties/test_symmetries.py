"""A step treats points and directions alike: it commutes with permutations of the batch and rotations of the data."""

from __future__ import annotations

from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from torch_backend import load
from torch_backend.measuring.one_step import take_step

CHANNELS = 3
SPECS = (
    *("vp/DDIM", "vp/EM", "vp/DPM-Solver++2S", "vp/UniPC-2", "subvp/DDIM", "ve/Heun", "edm/EDM-Heun", "flow/EM"),
    *(
        "psld/RVV",
        "psld/gDDIM",
        "psld/SPS-2S",
        "psld/BAOAB(reduced)",
        "psld(Gamma=1.0, nu=3.0)/ABA(reduced)",
        "cld/SSCS",
    ),
    *("vp/conjugate(B=lambda*I, lambda=0.3)", "psld/CVV-each"),
)
TIMES = st.tuples(st.floats(0.05, 0.9), st.floats(0.1, 0.95)).map(lambda p: (p[0], p[0] * p[1]))


@cache
def module(spec: str) -> object:
    return load(spec).module if spec in ia.catalogue() else ia.derive(spec).to_torch(dtype=torch.float64).module


def isotropic(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A network whose output turns with its input: every block times a function of all lengths and of t."""
    blocks = z.unflatten(1, (-1, CHANNELS))
    gram = blocks @ blocks.mT
    return (torch.tanh(gram) @ blocks * (1 + t[:, None, None])).flatten(1)


def rotated(z: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    return (z.unflatten(-1, (-1, CHANNELS)) @ rotation.T).flatten(-2)


@settings(max_examples=60)
@given(st.sampled_from(SPECS), TIMES, st.integers(0, 999))
def test_steps_commute_with_rotations_and_permutations(spec: str, times: tuple[float, float], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scheme, n = module(spec), 5
    scale = scheme.T_MAX
    start, end = times[0] * scale, times[1] * scale
    z, noise = random(n, len(scheme.BLOCKS) * CHANNELS), random(scheme.NOISES, n, CHANNELS)
    rotation = torch.linalg.qr(random(CHANNELS, CHANNELS))[0]
    order = torch.randperm(n, generator=generator)
    result = take_step(scheme, isotropic, z, start, end, noise)
    size = float(result.abs().max().clamp(min=1.0))
    turned = take_step(scheme, isotropic, rotated(z, rotation), start, end, rotated(noise, rotation))
    torch.testing.assert_close(turned, rotated(result, rotation), rtol=0, atol=1e-12 * size)
    mixed = take_step(scheme, isotropic, z[order], start, end, noise[:, order])
    torch.testing.assert_close(mixed, result[order], rtol=0, atol=1e-13 * size)


def test_a_network_that_prefers_a_direction_breaks_it() -> None:
    scheme, z = module("vp/DDIM"), torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def biased(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z * torch.arange(CHANNELS))

    left, right = (take_step(scheme, biased, y, 0.5, 0.4) for y in (rotated(z, turn), z))
    assert (left - rotated(right, turn)).abs().max() > 0.01
