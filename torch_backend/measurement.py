"""Measurements of a generated scheme module in float64: what one step does, and how many evaluations it takes.

Knows how to run a step; does not know what the results should be, nor where the module came from.
States here are (n, k): n points, one number per block.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_backend.loop import Network, integrate, primer, tabulate, usable

__all__ = [
    "Past",
    "affine_map",
    "check_device",
    "count_evaluations",
    "layout_error",
    "local_errors",
    "mended_step",
    "on_device",
    "one_thread",
    "step_distance",
    "take_step",
    "trajectory",
    "walk_in_its_precision",
    "weak_errors",
]

Array = NDArray[np.float64]


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: states here are a few numbers each, and a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Raises ValueError, in one sentence, for a device that is not there or does not compute in float64."""
    there = usable(device)
    try:
        total = float(torch.ones(2, dtype=torch.float64, device=there).sum())
    except (RuntimeError, TypeError) as error:  # torch raises either
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    if total != 2.0:
        raise ValueError(f"device {device!r} adds 1 and 1 to {total}")


def on_device(module: ModuleType, device: str) -> ModuleType:
    """The module with its ``step`` made on ``device``: tensors go there and come back, the network stays on the CPU."""
    moved = ModuleType(module.__name__)
    vars(moved).update(vars(module))

    def there(value: Any) -> Any:
        return [v.to(device) for v in value] if isinstance(value, list) else value.to(device)

    def step(z: Tensor, t: Tensor, s: Tensor, c: Tensor, network: Network, noise: Tensor | None, *kept: Any) -> Any:
        def beside(y: Tensor, time: Tensor) -> Tensor:
            return network(y.cpu(), time.cpu()).to(device)

        draws = None if noise is None else there(noise)
        result = module.step(*map(there, (z, t, s, c)), beside, draws, *map(there, kept))
        return tuple(r.cpu() for r in result) if isinstance(result, tuple) else result.cpu()

    vars(moved)["step"] = step
    return moved


class Past(NamedTuple):
    """What a multistep scheme has behind it: start times of earlier steps, newest first, and the exact states there."""

    times: Sequence[float]
    states: Sequence[Tensor]


def take_step(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    noise: Tensor | None = None,
    past: Past | None = None,
) -> Tensor:
    """One step of the generated source from ``start`` to ``end``: z (n, k) float64, noise (noises, n, 1) or None.

    A multistep scheme steps from ``past``, or as if it had none.
    """
    if not module.HISTORY:
        return _call(module, network, z, start, end, (), noise, [])
    times, kept = kept_outputs(module, network, z, start, past)
    return _call(module, network, z, start, end, times, noise, kept)[0]


def primed(module: ModuleType) -> bool:
    """Whether the past of a first step is an evaluation at its start."""
    return getattr(module, "PRIMED", False)


def _primed_pair(module: ModuleType, network: Network, z: Tensor, start: float, end: float, past: Past) -> Tensor:
    """What a second step adds to the error of a first, from an exact state one step before ``start``; plus z's flow.

    The first step goes from past.times[0] to ``start``, where the exact state is z; the sum is to be compared with the
    exact state at ``end``.
    """
    before, state = past.times[0], past.states[0]
    _, first = _call(module, network, state, before, before, (), None, [torch.zeros_like(z)])
    middle, kept = _call(module, network, state, before, start, (), None, [first])
    last, _ = _call(module, network, middle, start, end, (before,), None, [kept])
    return last - (middle - z)


def kept_outputs(
    module: ModuleType, network: Network, z: Tensor, start: float, past: Past | None
) -> tuple[Sequence[float], list[Tensor]]:
    """The times of ``past``, and what the steps from there would have kept; zeros where there was no step."""
    zeros = [torch.zeros_like(z)] * module.HISTORY
    if past is None:
        return (), zeros
    ends = [start, *past.times]
    kept = [
        _call(module, network, state, time, end, (), None, zeros)[1]
        for state, time, end in zip(past.states, past.times, ends, strict=False)
    ]
    return past.times, kept


def _call(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    times: Sequence[float],
    noise: Tensor | None,
    kept: list[Tensor],
    change: Callable[[Tensor], Tensor] = lambda row: row,
) -> Any:
    """The generated ``step`` on one row of coefficients, ``change`` applied to the row."""
    ends = torch.tensor([start, end], dtype=torch.float64)
    values = _coefficients(module, start, end, times)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"the coefficients of the step from {start!r} to {end!r} are not finite: {values}")
    row = change(torch.tensor(values, dtype=torch.float64))
    extra = (kept,) if module.HISTORY else ()
    return module.step(z, ends[0], ends[1], row, lambda y, t: network(y, t.expand(len(y))), noise, *extra)


def _coefficients(module: ModuleType, start: float, end: float, times: Sequence[float]) -> Sequence[float]:
    """The row of one step; ``times`` are those at which earlier ones started."""
    return tuple(module.coefficients(start, end, times) if module.HISTORY else module.coefficients(start, end))


def mended_step(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    past: Past,
    mending: Sequence[bool],
    still: Sequence[float],
) -> Tensor:
    """The state at ``end`` of a predictor-corrector: one step without mending, then the mending alone.

    Per coefficient, ``mending`` tells those of the mending from those of the step, and ``still`` gives the latter
    the values with which the step stands still.
    """
    first = torch.tensor(mending)
    at_rest = torch.tensor(still, dtype=torch.float64)
    times, kept = kept_outputs(module, network, z, start, past)
    predicted, now = _call(module, network, z, start, end, times, None, kept, lambda row: row.masked_fill(first, 0.0))
    later = ([start, *times][: module.HISTORY], [now, *kept][: module.HISTORY])
    beyond = end - (start - end)

    def mend_only(row: Tensor) -> Tensor:
        return torch.where(first | at_rest.isnan(), row, at_rest)

    return _call(module, network, predicted, end, beyond, later[0], None, later[1], mend_only)[0]


def count_evaluations(module: ModuleType, start: float, end: float) -> int:
    """How often one step calls the network."""
    calls = 0

    def network(z: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(z)

    z = torch.zeros(1, len(module.BLOCKS), dtype=torch.float64)
    take_step(module, network, z, start, end, torch.zeros(module.NOISES, 1, 1, dtype=torch.float64))
    return calls


def affine_map(
    module: ModuleType, network: Network, start: float, end: float, past: Sequence[float] = ()
) -> tuple[Array, Array, Array]:
    """Matrix, offset and noise factor of one step with a network that is affine in z.

    For a multistep scheme with ``past`` times behind it, on z followed by the kept outputs: k (1 + history) in all.
    Unit vectors are as long as the offset is large, in which they would be lost to rounding.
    """
    k, noises, history = len(module.BLOCKS), module.NOISES, module.HISTORY
    size = k * (1 + history)

    def images(units: Tensor) -> Array:
        """What becomes of zero, of z and the kept outputs along ``units``, and of noises along them."""
        inputs = torch.cat([torch.zeros(1, size), units[:size, :size], torch.zeros(noises, size)]).double()
        noise = torch.cat([torch.zeros(1 + size, noises), units[:noises, :noises]]).double().T[..., None]
        z, *kept = inputs.split(k, dim=1)
        result = _call(module, network, z, start, end, past, noise, kept)
        return (torch.cat([*result, *kept[:-1]], dim=1) if history else result).numpy()

    units = torch.eye(max(size, noises))
    found = images(units)
    offset = found[0]
    length = 2.0 ** np.ceil(np.log2(max(1.0, np.abs(offset).max())))
    if length > 1.0:
        found = images(length * units)
    columns = (found[1:] - offset).T / length
    return columns[:, :size], offset, columns[:, size:]


def layout_error(module: ModuleType, network: Network, start: float, end: float, seed: int) -> float:
    """Largest difference between a step on images and the same step on their entries; inf where it is not a number.

    Images are (2, k * 2, 2, 3): two channels a block. ``network`` takes points (n, k), and is applied entry by entry.
    """
    k, shape = len(module.BLOCKS), (2, 2, 2, 3)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape[0], k * shape[1], *shape[2:], generator=generator, dtype=torch.float64)
    noise = torch.randn(module.NOISES, *shape, generator=generator, dtype=torch.float64)

    def points(z: Tensor) -> Tensor:
        return z.reshape(shape[0], k, -1).movedim(1, 2).reshape(-1, k)

    def image(z: Tensor) -> Tensor:
        return z.reshape(shape[0], -1, k).movedim(2, 1).reshape(images.shape)

    whole = take_step(
        module, lambda z, t: image(network(points(z), t[:1].expand(len(points(z))))), images, start, end, noise
    )
    single = take_step(module, network, points(images), start, end, noise.flatten(1)[..., None])
    error = float((whole - image(single)).abs().max())
    return error if np.isfinite(error) else np.inf


def local_errors(
    module: ModuleType,
    network: Network,
    z: Array,
    start: float,
    ends: Sequence[float],
    exact: Array,
    pasts: Sequence[Past | None],
    mending: tuple[Sequence[bool], Sequence[float]] | None = None,
) -> Array:
    """One-step errors, numerical minus exact: (len(ends), n, k) for exact solutions of that shape.

    ``pasts``: per end, the exact past of a multistep scheme; ``mending``: see ``mended_step``.
    """
    state = torch.from_numpy(z)
    found = []
    for end, past in zip(ends, pasts, strict=True):
        if primed(module) and past is not None:
            found.append(_primed_pair(module, network, state, start, end, past).numpy())
        elif mending is None:
            found.append(take_step(module, network, state, start, end, past=past).numpy())
        else:
            assert past is not None
            found.append(mended_step(module, network, state, start, end, past, *mending).numpy())
    return np.stack(found) - exact


def weak_errors(
    module: ModuleType,
    network: Network,
    nodes: tuple[Array, Array],
    normal: tuple[Array, Array],
    start: float,
    ends: Sequence[float],
    observables: Sequence[Callable[[Array], Array]],
    exact: Array,
) -> Array:
    """E f(numerical) minus ``exact`` (len(ends), observables), by cubature over the start's law and the noise.

    ``nodes``: points (n, k) and weights (n) of the law at ``start``; ``normal``: points (m, noises) and weights (m).
    One step to each end; a multistep scheme begins without a past and takes as many steps of the same size as it takes
    to fill it, so that ``exact`` is then meant for the last of them. No random numbers are drawn.
    """
    (points, weights), (draws, shares) = nodes, normal
    z = torch.from_numpy(np.repeat(points, len(draws), axis=0))
    noise = torch.from_numpy(np.tile(draws, (len(points), 1)).T.copy())[..., None]
    law = np.outer(weights, shares).ravel()
    out = []
    for end in ends:
        times = [start - n * (start - end) for n in range(module.HISTORY + 2)]
        out.append(_walk(module, network, z, times, noise.split(module.NOISES)).numpy())
    return np.array([[law @ f(state) for f in observables] for state in out]) - exact


def step_distance(first: ModuleType, second: ModuleType, seed: int, steps: int = 10) -> float:
    """How far the steps of two modules are apart, relative to the largest term of a result; inf where one fails.

    That is the result itself, the largest coefficient, as states and outputs are of size one, or one. On ``steps``
    random pairs of times between T_MIN and T_MAX of ``first``, evenly in log t, with a smooth network that is not
    linear, random states, noises and kept outputs, and a past of every length up to HISTORY. The log-SNR is compared
    too, and the rows of coefficients of a predictor-corrector whose steps read fewer earlier ones.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k, n, history = len(first.BLOCKS), 4, first.HISTORY
    mixing, shift = random(2 * k, 2 * k), random(2 * k)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(z @ mixing + shift * t[:, None])

    worst, low, high = 0.0, math.log(first.T_MIN), math.log(0.99 * first.T_MAX)
    for _ in range(steps):
        places = torch.rand(2, generator=generator, dtype=torch.float64)
        start, end = sorted((math.exp(low + (high - low) * float(x)) for x in places), reverse=True)
        past = [start + (first.T_MAX - start) * (j + 1) / (history + 1) for j in range(history)]
        z, kept, noise = random(n, 2 * k), [random(n, 2 * k) for _ in range(history)], random(first.NOISES, n, 2)
        for known in range(history + 1):
            try:
                both = [
                    _everything(module, network, z, start, end, past[:known], noise, kept) for module in (first, second)
                ]
                unit = max(1.0, *map(abs, _coefficients(first, start, end, past[:known])))
                apart = float(max(((a - b).abs() / a.abs().clamp(min=unit)).max() for a, b in zip(*both, strict=True)))
            except TimeoutError:  # the caller's patience, not the module's doing
                raise
            except Exception:  # whatever a changed module raises sets it apart
                return math.inf
            worst = max(worst, math.inf if math.isnan(apart) else apart)
    return worst


def _everything(
    module: ModuleType,
    network: Network,
    z: Tensor,
    start: float,
    end: float,
    times: Sequence[float],
    noise: Tensor,
    kept: list[Tensor],
) -> list[Tensor]:
    """What a module says of one step: the new state, what it keeps, the log-SNR, and rows that read less."""
    result = _call(module, network, z, start, end, times, noise, list(kept))
    shown = [*result] if module.HISTORY else [result]
    rows = [module.coefficients(start, end, times, read) for read in range(len(times))] if reads(module) else []
    return [*shown, torch.tensor([module.log_snr(start)], dtype=torch.float64), *map(torch.tensor, rows)]


def reads(module: ModuleType) -> bool:
    """Whether the coefficients take, beside past times, how many of them the step reads: a predictor-corrector."""
    return "read" in inspect.signature(module.coefficients).parameters


def _walk(module: ModuleType, network: Network, z: Tensor, times: Sequence[float], noises: Sequence[Tensor]) -> Tensor:
    """Steps along ``times`` from no past, with given noises (noises, n, 1) for every step."""
    if not module.HISTORY:
        return take_step(module, network, z, times[0], times[1], noises[0])
    kept = [torch.zeros_like(z)] * module.HISTORY
    for i, noise in enumerate(noises):
        past = times[:i][::-1]
        z, now = _call(module, network, z, times[i], times[i + 1], past, noise, kept)
        kept = [now, *kept[:-1]]
    return z


def walk_in_its_precision(
    module: ModuleType, network: Network, z: Tensor, times: Sequence[float], noise: Tensor | None = None
) -> Array:
    """A walk of z (n, k) as a sampler makes it, on its device and in its dtype; ``noise``: (steps, noises, n)."""
    z = integrate(
        module.step,
        tabulate(module.coefficients, times, module.HISTORY),
        times,
        network,
        z,
        blocks=len(module.BLOCKS),
        noises=module.NOISES,
        history=module.HISTORY,
        primed=primer(module, times),
        draw=None if noise is None else lambda i: noise[i, ..., None],
    )
    return z.double().cpu().numpy()


def trajectory(module: ModuleType, network: Network, z: Array, times: Sequence[float]) -> Array:
    """The state (n, k) at the last of ``times``, for a deterministic scheme."""
    return walk_in_its_precision(module, network, torch.from_numpy(z), times)
