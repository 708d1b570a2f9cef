"""Numbered noise: the published vectors of Philox4x32-10, the law of the normals, and samples made in any company."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from torch_backend import Sampler, load
from torch_backend.walk.noise import BLOCKS_FROM, FIRST_STEP, PRIOR, number_samples, philox

VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
"""Counter, key and output. Source: kat_vectors of Random123 (Salmon et al., SC 2011)."""

FALSE_ALARM = 1e-4
"""How often one of the statistical tests here would fail on true normals, were its seed not fixed."""


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def philox_of_integers(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in unbounded integers, one round after the other as figure 2 of the paper has it."""
    left_1, right_1, left_2, right_2 = counter[1], counter[0], counter[3], counter[2]
    for turn in range(10):
        k = (key[0] + turn * 0x9E3779B9) % 2**32, (key[1] + turn * 0xBB67AE85) % 2**32
        high_1, low_1 = divmod(0xD2511F53 * right_1, 2**32)
        high_2, low_2 = divmod(0xCD9E8D57 * right_2, 2**32)
        right_1, left_1, right_2, left_2 = high_2 ^ left_1 ^ k[0], low_2, high_1 ^ left_2 ^ k[1], low_1
    return [right_1, left_1, right_2, left_2]


@pytest.mark.parametrize(("counter", "key", "output"), VECTORS)
def test_philox_gives_the_published_vectors(counter: str, key: str, output: str, device: str) -> None:
    tensors = [[torch.tensor([word], device=device) for word in words(text)] for text in (counter, key)]
    assert [int(word) for word in philox(*tensors)] == words(output)  # type: ignore[arg-type]
    assert philox(words(counter), words(key)) == words(output)
    assert philox_of_integers(words(counter), words(key)) == words(output)


def test_normals_are_the_stated_function_of_all_numbers(device: str) -> None:
    """Every element against the counter and the transform that the docstring states, in Python's own arithmetic."""
    seed, numbers, place, blocks, shape = 0x123456789ABCDEF0, [3, 2**32 - 1], FIRST_STEP + 7, 2, (3, 3)
    found = number_samples(seed, numbers, 2, device).normals(place, blocks, shape)
    assert (found.dtype, found.shape) == (torch.float64, (blocks, 2, *shape))
    for block in range(blocks):
        for n, number in enumerate(numbers):
            for e in range(9):
                counter = [e // 4, number, place, BLOCKS_FROM + block]
                drawn = philox_of_integers(counter, [seed % 2**32, seed // 2**32])
                p, q = ((word + 0.5) / 2**32 for word in (drawn[:2] if e % 4 < 2 else drawn[2:]))
                expected = np.sqrt(-2 * np.log(p)) * (np.sin, np.cos)[e % 2 == 0](2 * np.pi * q)
                assert float(found[block, n].flatten()[e]) == pytest.approx(expected, rel=1e-13, abs=1e-14)


def test_the_normals_are_standard_normal_and_independent() -> None:
    """50 samples of 2 blocks of 400 elements at 3 places, each test with the stated false-alarm probability."""
    numbered = number_samples(20, None, 50)
    whole = torch.stack([numbered.normals(place, 2, (400,)) for place in (PRIOR, FIRST_STEP, FIRST_STEP + 1)])
    draws, wide = whole.flatten().numpy(), stats.norm.isf(FALSE_ALARM / 2)
    assert stats.kstest(draws, "norm").pvalue > FALSE_ALARM
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((draws**power).mean() - mean) < wide * np.sqrt(variance / len(draws))
    for axis in range(4):  # neighbours along place, block, sample, element: products of independent normals
        here, there = (np.take(whole.numpy(), at, axis) for at in (range(1), range(1, 2)))
        for a, b in ((here, there), (here**2 - 1, there**2 - 1)):
            product = (a * b).ravel()
            assert abs(product.mean()) < wide * np.sqrt((a**2).mean() * (b**2).mean() / len(product))


def chaotic(z: Tensor, t: Tensor) -> Tensor:
    return torch.sin(z)


@pytest.fixture(scope="module", params=["vp/EM", "psld/EM", "psld/SSCS"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return load(request.param, dtype=torch.float32)


def made(sampler: Sampler, indices: list[int] | None, n: int | None = None, seed: Any = 7) -> Tensor:
    """Samples by number, from the draw of z_T to the end of the walk."""
    count = len(indices or ()) or n or len(seed)
    z = sampler.prior(count, (2, 3), seed, indices)
    return sampler.sample(chaotic, z, steps=4, seed=seed, indices=indices)


def test_samples_do_not_depend_on_where_they_are_made(sampler: Sampler) -> None:
    """Alone, in another order, in two ranks, the rest after a killed run: the same samples, and no two alike."""
    whole = made(sampler, None, n=4)
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(made(sampler, [0]), whole[:1], **close)
    torch.testing.assert_close(made(sampler, [2, 0, 3, 1]), whole[[2, 0, 3, 1]], **close)
    ranks = [made(sampler, list(range(rank, 4, 2))) for rank in range(2)]
    torch.testing.assert_close(torch.stack(ranks, 1).flatten(0, 1), whole, **close)
    torch.testing.assert_close(torch.cat([whole[:1], made(sampler, [1, 2, 3])]), whole, **close)
    assert len({tuple(sample.flatten().tolist()) for sample in whole}) == 4
    assert not torch.allclose(made(sampler, None, n=4, seed=8), whole)


def test_a_seed_for_each_sample_is_sample_0_of_that_seed(sampler: Sampler) -> None:
    several = made(sampler, None, seed=[7, 2**63])
    for one, seed in zip(several, (7, 2**63), strict=True):
        torch.testing.assert_close(made(sampler, [0], seed=seed)[0], one, rtol=1e-6, atol=1e-6)


def test_float32_walks_draw_the_noise_of_float64_walks(sampler: Sampler) -> None:
    low = sampler.prior(2, (2, 3), seed=1)
    high = Sampler(sampler.module, dtype=torch.float64).prior(2, (2, 3), seed=1)
    assert torch.equal(high.float(), low)


def test_the_same_noise_on_every_device_to_rounding(device: str) -> None:
    here, there = (number_samples(3, None, 4, d).normals(FIRST_STEP, 2, (64,)).cpu() for d in ("cpu", device))
    torch.testing.assert_close(here, there, rtol=1e-14, atol=1e-14)


def test_noise_reads_nothing_back_from_the_device() -> None:
    """On meta, which holds no values, any look at one fails."""
    numbered = number_samples([1, 2], None, 2, "meta")
    assert numbered.draws_of_steps(3, (5,))(0).shape == (3, 2, 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"seed = -1 is not in \[0, 2\^64\)"),
        ({"seed": 2**64}, ValueError, r"seed = 18446744073709551616 is not in \[0, 2\^64\)"),
        ({"seed": 1.0}, TypeError, "seed = 1.0 is no integer, nor a sequence with one for each sample"),
        ({"seed": 1, "indices": [0]}, ValueError, "1 indices for a batch of 2; one for each sample is needed"),
        ({"seed": 1, "indices": [0, 2**32]}, ValueError, r"index = 4294967296 is not in \[0, 2\^32\)"),
        ({"seed": 1, "indices": [0, 0.5]}, TypeError, "index = 0.5 is no integer"),
        ({"seed": [1, 2], "indices": [0, 1]}, ValueError, "indices number the samples of one seed; pass an integer"),
        ({"indices": [0, 1], "generator": torch.Generator()}, ValueError, "indices number the samples of a seed"),
    ],
)
def test_what_is_refused(
    euler_maruyama: SimpleNamespace, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Sampler(euler_maruyama).sample(chaotic, torch.ones(2, 3), steps=2, **options)
