"""Whether a step is the same whatever it comes with: shape, batch, memory layout, size of numbers, calls before it.

Knows how to run a step; what the step should be is measured elsewhere, on a few points at a time. Distances are
relative to the largest number compared, or to one.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.one_step import Step, call_step
from torch_backend.scheme import Scheme, SchemeFacts, facts_of

__all__ = ["Found", "gradient_error", "growth_error", "row_error", "shape_error", "side_effects", "time_error"]

FEW = 3
"""Points of a batch in the reference: as many as where the maps of steps are measured."""

SHAPES: dict[str, tuple[int, ...]] = {
    "a batch of one": (1, 1),
    "one image": (1, 3, 4, 4),
    "grey images": (2, 1, 3, 4),
    "a batch of 130": (130, 1),
    "sequences": (2, 2, 5),
    "images of 4 channels": (2, 4, 3, 2),
    "videos": (2, 2, 2, 3, 2),
}
"""(n, channels, ...) of one block, by name; 3-d and 4-d ones are tried with other strides too."""

CALLS = 260
"""Calls of one step after which it should give what it gave at first."""


class Found(NamedTuple):
    """The largest distance, and where it was found."""

    distance: float
    where: str


def _worst(found: Iterator[Found]) -> Found:
    """The one with the largest distance; one that is not a number counts as infinite."""
    known = [Found(one.distance if one.distance >= 0 else float("inf"), one.where) for one in found]
    return max(known, key=lambda one: one.distance)


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest distance of two tensors; infinite where one of them is not a number, or has another shape."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    distance = float((a - b).abs().max() / b.abs().max().clamp(min=1))
    return distance if distance >= 0 else float("inf")


class _Inputs(NamedTuple):
    """What a step is given: the state (n, k c, ...), the noise (noises, n, c, ...) and the past outputs."""

    z: Tensor
    noise: Tensor
    kept: list[Tensor]

    def scaled(self, factor: float) -> "_Inputs":
        return _Inputs(factor * self.z, factor * self.noise, [factor * one for one in self.kept])


def _points(facts: SchemeFacts, count: int, seed: int, dtype: torch.dtype = torch.float64) -> _Inputs:
    generator, k = torch.Generator().manual_seed(seed), len(facts.blocks)
    z, noise, kept = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((count, k), (facts.noises, count, 1), (facts.history, count, k))
    )
    return _Inputs(z, noise, list(kept.unbind(0)))


def _network(blocks: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A network that mixes the blocks, treats every entry alike, and knows the time."""

    def network(z: Tensor, t: Tensor) -> Tensor:
        parts, when = z.chunk(blocks, 1), 1 + 0.5 * torch.sin(5 * t.reshape(-1, *[1] * (z.dim() - 1)))
        return torch.cat([torch.sin(part + 0.3 * parts[i - 1]) * when for i, part in enumerate(parts)], 1)

    return network


def _run(facts: SchemeFacts, step: Step, given: _Inputs, network: Any) -> Tensor:
    """The state after the step, and what it keeps behind it, as one tensor along dimension 1."""
    start, end, past = step
    noise = given.noise if facts.noises else None
    known = given.kept
    result = call_step(facts, network, given.z, start, end, past, noise, known, lambda row: row.to(given.z.dtype))
    return torch.cat(result, 1) if facts.history else result


def shape_error(scheme: Scheme, step: Step, seed: int, dtype: torch.dtype = torch.float64) -> Found:
    """How far a step on images, sequences, single states and large batches is from the same step on few points."""
    facts = facts_of(scheme)
    k, most = len(facts.blocks), max(int(np.prod(shape)) for shape in SHAPES.values())
    points = _points(facts, most, seed, dtype)
    chunks = zip(*(x.split(FEW) for x in (points.z, *points.kept)), points.noise.split(FEW, 1), strict=True)
    few = [_run(facts, step, _Inputs(z, noise, list(kept)), _network(k)) for z, *kept, noise in chunks]
    reference = torch.cat(few)
    results = reference.shape[1] // k

    def images(values: Tensor, shape: Sequence[int]) -> Tensor:
        """Rows (points, m), block by block, as (n, m c, ...)."""
        n, *rest = shape
        rows = values[: int(np.prod(shape))].reshape(n, -1, values.shape[1])
        return rows.movedim(2, 1).reshape(n, values.shape[1] * rest[0], *rest[1:])

    def found() -> Iterator[Found]:
        for name, shape in SHAPES.items():
            noise = points.noise[:, : int(np.prod(shape))].reshape(facts.noises, *shape)
            given = _Inputs(images(points.z, shape), noise, [images(one, shape) for one in points.kept])
            due = torch.cat([images(part, shape) for part in reference.split(k, 1)], 1) if results else reference
            for layout, laid in _layouts(given):
                yield Found(_apart(_run(facts, step, laid, _network(k)), due), name + layout)
        # the first point several times, as tensors that share its memory
        one = _Inputs(points.z[:1], points.noise[:, :1], [past[:1] for past in points.kept])
        same = _Inputs(one.z.expand(5, -1), one.noise.expand(-1, 5, -1), [past.expand(5, -1) for past in one.kept])
        yield Found(_apart(_run(facts, step, same, _network(k)), reference[:1].expand(5, -1)), "equal samples")

    return _worst(found())


def _layouts(given: _Inputs) -> Iterator[tuple[str, _Inputs]]:
    """The inputs as they are, and where they have dimensions enough, channels last and as a part of a larger tensor."""
    yield "", given
    if given.z.dim() < 3:
        return

    def last(x: Tensor) -> Tensor:
        return x.movedim(1, -1).contiguous().movedim(-1, 1)

    def part(x: Tensor) -> Tensor:
        return torch.stack([x, -x], -1)[..., 0]

    yield ", channels last", _Inputs(last(given.z), given.noise, [last(one) for one in given.kept])
    yield ", every other entry", _Inputs(part(given.z), part(given.noise), [part(one) for one in given.kept])


def _linear(z: Tensor, t: Tensor, shift: float = 0.25) -> Tensor:
    """A network that is affine in the state, with a slope that depends on the time."""
    return 0.5 * (1 + 0.5 * torch.sin(5 * t[0])) * z + shift


def growth_error(scheme: Scheme, step: Step, seed: int) -> Found:
    """How far a step with an affine network is from growing with its inputs, for factors that are powers of two.

    At a state of zeros it is compared with what two other states say of an affine map there.
    """
    facts = facts_of(scheme)
    points = _points(facts, FEW, seed)

    def run(factor: float) -> Tensor:
        return _run(facts, step, points.scaled(factor), lambda z, t: _linear(z, t, 0.25 * factor))

    def at(factor: float) -> Tensor:
        return _run(facts, step, points._replace(z=factor * points.z), _linear)

    due = run(1.0)
    found = [
        Found(_apart(run(2.0**power) / 2.0**power, due), f"numbers of size 2**{power}") for power in (-30, -8, 8, 30)
    ]
    return _worst(iter([*found, Found(_apart(at(0.0), 2 * at(1.0) - at(2.0)), "a state of zeros")]))


def gradient_error(scheme: Scheme, step: Step, seed: int) -> Found:
    """How far gradients through a step, with a linear network, are from the differences of its results."""
    facts = facts_of(scheme)
    points = _points(facts, FEW, seed)

    def run(z: Tensor) -> Tensor:
        return _run(facts, step, points._replace(z=z), _linear)

    with torch.no_grad():
        base, k = run(points.z), points.z.shape[1]
        columns = [run(points.z + torch.eye(k, dtype=torch.float64)[j]) - base for j in range(k)]
    with torch.enable_grad():
        z = points.z.clone().requires_grad_(True)
        result = run(z)
        if not result.requires_grad:
            return Found(float("inf"), "no gradient reaches the result")
        weights = torch.linspace(1, 2, result.shape[1], dtype=torch.float64)
        (found,) = torch.autograd.grad((result * weights).sum(), z)
    return Found(_apart(found, torch.stack([(column * weights).sum(1) for column in columns], 1)), "of the state")


def row_error(scheme: Scheme, steps: Sequence[Step], **options: Any) -> Found:
    """How far coefficients of many steps at once are from those of each step alone, in every arrangement tried."""
    facts = facts_of(scheme)
    t, s, *past = torch.tensor([[a, b, *c] for a, b, c in steps], dtype=torch.float64).unbind(1)

    def rows(order: Tensor) -> Tensor:
        earlier = ([one[order] for one in past],) if facts.history else ()
        found: Tensor = facts.coefficients(t[order], s[order], *earlier, **options)
        return found

    whole = torch.arange(len(steps))
    alone = torch.stack([rows(index) for index in whole])

    def found() -> Iterator[Found]:
        for where, order in (
            ("in one call", whole),
            ("in reverse", whole.flip(0)),
            ("each twice", whole.repeat_interleave(2)),
            ("in a square", whole[: len(whole) // 2 * 2].reshape(2, -1)),
            ("a few", whole[:2]),
        ):
            yield Found(_apart(rows(order), alone[order]), f"steps {where}")

    return _worst(found())


def time_error(function: Callable[[Tensor], Tensor], times: Sequence[float]) -> Found:
    """How far a function of time at many times at once, on a line or in a square, is from each of them alone."""
    t = torch.tensor(times[: len(times) // 2 * 2], dtype=torch.float64)
    alone = torch.stack([function(time) for time in t])
    square = function(t.reshape(2, -1))
    found = [
        Found(_apart(function(t), alone), "in one call"),
        Found(_apart(square.reshape(alone.shape), alone), "in a square"),
        Found(_apart(function(t.flip(0)), alone.flip(0)), "in reverse"),
    ]
    return _worst(iter(found))


def side_effects(scheme: Scheme, steps: Sequence[Step], seed: int) -> list[str]:
    """What a step changes beside its result, in words: arguments, generators of random numbers, later results.

    ``scheme`` should not have been called before: its first call is compared with later ones.
    """
    facts = facts_of(scheme)
    points, found = _points(facts, FEW, seed), []
    network = _network(len(facts.blocks))
    with _known_world(seed):
        before, first = _world(), _run(facts, steps[0], points, network)
        if _world() != before:
            found.append("a generator of random numbers, the default dtype or whether gradients are on")
    fresh = _points(facts, FEW, seed)
    for name, now, then in (("state", points.z, fresh.z), ("noise", points.noise, fresh.noise)):
        if not torch.equal(now, then):
            found.append(f"the {name} that it is given")
    if not all(map(torch.equal, points.kept, fresh.kept)):
        found.append("the past that it is given")
    for step in steps[1:]:
        _run(facts, step, points, network)
    for _ in range(CALLS):
        again = _run(facts, steps[0], fresh, network)
    if not torch.equal(again, first):
        found.append("what it gives for the same arguments later")
    return found


@contextmanager
def _known_world(seed: int) -> Iterator[None]:
    """Inside, a state of torch that no code would set by itself; afterwards it is as before."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        torch.rand(3)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)


def _world() -> tuple[Any, ...]:
    """What a step must leave alone."""
    return (
        torch.random.get_rng_state().numpy().tobytes(),
        repr(random.getstate()),
        repr(np.random.get_state()),  # noqa: NPY002
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )
