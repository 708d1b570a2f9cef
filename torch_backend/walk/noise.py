"""Standard normal noise as a pure function of numbers: seed, sample, place in the walk, block, element.

Knows Philox4x32-10 and the transform of Box and Muller; knows no scheme and keeps no state. So a sample's noise is the
same in any batch, order, division among machines, and on every device. Exported files carry this text.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
"""The largest 32-bit word. Words are held in int64, which torch has on every device."""

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
"""The constants of Philox4x32. Source: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3
(SC 2011)."""

BLOCKS_FROM = 2**31
"""The last counter word of block 0. torch's generator on CUDA is Philox4x32-10 too, with the seed as its key and 0 in
this word: a z_T that a caller drew there from the same seed must not come back as noise."""

PRIOR, FIRST_STEP, HIDDEN = 0, 1, WORD
"""Places in a walk: the draw of z_T; step 0, step i being at ``FIRST_STEP + i``; and the draw of what a caller on data
space does not see of a state on phase space."""


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int]) -> list[Tensor | int]:
    """The four random words that Philox4x32-10 makes of four counter words and two key words, all in [0, 2^32).

    Words are numbers or int64 tensors that broadcast against each other.
    """
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        # A product of two words may exceed int64; its bits are then those of the unsigned product: no more is read.
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (second >> 32) & WORD ^ b ^ k, second & WORD, (first >> 32) & WORD ^ d ^ m, first & WORD
        k, m = (k + KEY_STEPS[0]) & WORD, (m + KEY_STEPS[1]) & WORD
    return [a, b, c, d]


@dataclass(frozen=True)
class NumberedSamples:
    """The samples of a batch as their noise knows them: the key of each, from its seed, and its number."""

    key: tuple[Tensor | int, Tensor | int]
    """Low and high word of the seed: two numbers, or two int64 tensors (n, 1) for seeds that differ."""
    numbers: Tensor
    """int64, (n, 1), on the device where noise is made."""

    def normals(self, place: int, blocks: int, shape: Sequence[int]) -> Tensor:
        """Standard normal draws at a place in the walk, ``(blocks, n, *shape)``, float64.

        Element e of a block's sample is normal number e % 4 of the counter (e // 4, number of the sample, place,
        ``BLOCKS_FROM`` + block). Two words v and w become r cos(a) and r sin(a) with r = sqrt(-2 log p) and
        a = 2 pi q, where p = (v + 1/2) / 2^32 and q = (w + 1/2) / 2^32, in float64: at most 6.77 in size. Devices
        differ by rounding of that alone.
        """
        size, device = math.prod(shape), self.numbers.device
        quads = torch.arange((size + 3) // 4, device=device)
        block = torch.arange(BLOCKS_FROM, BLOCKS_FROM + blocks, device=device)[:, None, None]
        words = philox((quads, self.numbers, place, block), self.key)
        p, q, p_2, q_2 = ((word + 0.5) * 2.0**-32 for word in map(_in_float64, words))
        pairs = [(p, q), (p_2, q_2)]
        polar = [((-2 * torch.log(p)).sqrt_(), 2 * math.pi * q) for p, q in pairs]
        normals = torch.stack([part for r, angle in polar for part in (r * angle.cos(), r * angle.sin())], dim=-1)
        return normals.flatten(-2)[..., :size].reshape(blocks, len(self.numbers), *shape)

    def draws_of_steps(self, noises: int, shape: Sequence[int]) -> Callable[[int], Tensor]:
        """The function that gives the noise of step i of a walk, ``(noises, n, *shape)``, float64."""
        return lambda i: self.normals(FIRST_STEP + i, noises, shape)


def _in_float64(word: Tensor | int) -> Tensor:
    return torch.as_tensor(word).to(torch.float64)


def number_samples(
    seed: object, indices: Iterable[int] | None, count: int, device: torch.device | str = "cpu"
) -> NumberedSamples:
    """The ``count`` samples of a batch, numbered by ``indices``, or 0, 1, ... where there are none.

    ``seed``: an integer in [0, 2^64), or a sequence with one for each sample, of which each is then sample 0 of its
    own seed. Noise is made on the device, or on the CPU for a device without float64.

    Raises TypeError for a seed or an index that is no integer, ValueError for one out of range, for another number of
    them than samples, and for indices beside a sequence of seeds.
    """
    where = torch.device(device)
    where = torch.device("cpu") if where.type == "mps" else where
    several = isinstance(seed, Iterable) and not isinstance(seed, str | bytes)
    if not several:
        numbers = list(range(count)) if indices is None else [_word("index", one, 2**32) for one in indices]
        whole = _word("seed", seed, 2**64, ", nor a sequence with one for each sample")
        key: tuple[Tensor | int, Tensor | int] = (whole & WORD, whole >> 32)
    elif indices is not None:
        raise ValueError("indices number the samples of one seed; pass an integer as seed, or leave indices out")
    else:
        seeds = [_word("seed", one, 2**64) for one in seed]  # type: ignore[attr-defined]
        _check_count("seeds", len(seeds), count)
        numbers = [0] * count
        low, high = torch.tensor([[one & WORD, one >> 32] for one in seeds], device=where).reshape(-1, 2).T
        key = (low[:, None], high[:, None])
    _check_count("indices", len(numbers), count)
    return NumberedSamples(key, torch.tensor(numbers, dtype=torch.int64, device=where)[:, None])


def _check_count(kind: str, found: int, count: int) -> None:
    if found != count:
        raise ValueError(f"{found} {kind} for a batch of {count}; one for each sample is needed")


def _word(name: str, value: object, limit: int, otherwise: str = "") -> int:
    """The number as an int in [0, limit). Raises TypeError where it is no integer, ValueError where it is outside."""
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} = {value!r} is no integer{otherwise}")
    number = int(value.__index__())
    if not 0 <= number < limit:
        raise ValueError(f"{name} = {number} is not in [0, 2^{limit.bit_length() - 1})")
    return number
