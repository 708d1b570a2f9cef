"""A walk with a generated scheme: which times, which noise, the steps, and the prior that it begins with.

Knows what a user may choose for a walk; the steps themselves are taken in ``loop``. Exported files carry this text.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.grids import START, is_count, time_grid
from torch_backend.walk.loop import Callback, Ending, Generators, Network, Progress, integrate, step_to_no_noise
from torch_backend.walk.noise import PRIOR, number_samples
from torch_backend.walk.prior_check import JUDGED, root_mean_square, warn_unless_plausible
from torch_backend.walk.start_up import check_start, grid_with_start
from torch_backend.walk.table import priming_row, tabulate_scheme
from torch_backend.walk.validation import check_times, usable_device, without_zero


def sample_scheme(
    scheme: Scheme,
    network: Network,
    z_T: Tensor,
    steps: int | None = None,
    times: Iterable[float] | None = None,
    grid: str | None = None,
    end_at_zero: bool | None = None,
    seed: int | Sequence[int] | None = None,
    indices: Iterable[int] | None = None,
    generator: Generators | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
    lower_order_final: bool | None = None,
    B: object = None,
    start: str | None = None,
) -> Tensor:
    """Walk z_T from the first time to the last with one scheme; return the state there, in z_T's dtype and device.

    - ``network(z, t)``: z of shape ``(n, k * c, ...)``, t of shape ``(n,)``, forward diffusion times; returns eps, or
      the velocity on rectified flow, of z's shape. The scheme has k blocks of c channels.
    - ``z_T``: the state at the first time, ``(n, k * c, ...)``, floating point; the walk runs on its device.
    - ``steps`` in all, on a named ``grid``, or the ``times`` themselves, decreasing, in ``(0, T_MAX]``; a last time of
      0 is a step to no noise. ``grid``: None for the scheme's own.
    - ``end_at_zero``: whether the last step is one to no noise: the network is evaluated at the last positive time,
      and the result is the predicted x_0 (other blocks: 0), which is of order one. None: yes for ``steps``, and as they
      end for ``times``. False: ``steps`` end at T_MIN. True: times that end above 0 get one such step more.
    - ``seed`` or ``generator``: one of them where the scheme is stochastic; a deterministic scheme draws nothing. With
      a seed, noise is a function of seed, index of the sample, step, block and element, the same in any batch and on
      any device; see ``noise``. ``indices``: one for each sample of z_T, None for 0, 1, ... A sequence of seeds or of
      generators has one for each sample.
    - ``callback(step_index, s, z)`` after every step: index from 0, the time reached, the state (not to be changed).
    - ``progress``: True for a line on stderr, or a callable that takes (done, total).
    - ``lower_order_final``: the last step of a multistep scheme has order one, the one before it two, ..., as at its
      start; the step to no noise counts. None: yes for a multistep scheme below 15 steps and for a predictor-corrector,
      as in diffusers. A scheme that reads no earlier steps refuses True.
    - ``B``: for a scheme with B = table, and no other: a matrix for every step but one to no noise, ``(n, k, k)``.
    - ``start``: where the first of the ``steps`` lie, of as many in all. "plain": where the grid has them. "halved":
      the first interval of a grid with one step less is divided in the middle. "graded", for multistep schemes of order
      three and above: it is divided so that they keep their order, though their first steps have a lower one. None: as
      derived, plain for most schemes. ``times`` are walked as given.

    Gradients are off. Issues an ``ImplausibleOutputWarning`` where the first output on the prior has not the size of
    eps or a velocity. Raises ValueError, TypeError or FloatingPointError, one sentence each: what was wrong, where,
    and what would be accepted.
    """
    facts = facts_of(scheme)
    walk = choose_times(facts, steps, times, grid, end_at_zero, start)
    generator, draw = choose_noise(facts, z_T, seed, indices, generator)
    watched = _FirstOutput(network)
    with torch.no_grad():
        z = integrate(
            facts.step,
            tabulate_scheme(facts, walk, lower_order_final, B),
            walk,
            watched,
            z_T,
            blocks=len(facts.blocks),
            noises=facts.noises,
            history=facts.history,
            primed=priming_row(facts, walk),
            ending=choose_ending(facts, walk),
            generator=generator,
            draw=draw,
            callback=callback,
            progress=progress,
        )
    watched.judge(walk[0], facts)
    return z


class _FirstOutput:
    """A network that notes the size of its first output, on the device: nothing waits for it before ``judge``."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.size: Tensor | None = None
        self.entries = 0

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        output = self.network(z, t)
        if self.size is None and isinstance(output, Tensor):
            self.size, self.entries = root_mean_square(output), output.numel()
        return output

    def judge(self, t: float, facts: SchemeFacts) -> None:
        """Warn the caller of ``sample`` where the first output, at time t, does not have the size that it should."""
        if self.size is not None and facts.network in JUDGED:
            warn_unless_plausible(self.size, self.entries, t, facts.t_max, facts.spec, stacklevel=4)


def choose_times(
    facts: SchemeFacts,
    steps: int | None,
    times: Iterable[float] | None,
    grid: str | None = None,
    end_at_zero: bool | None = None,
    start: str | None = None,
) -> list[float]:
    """The times of a walk: those given, or of ``steps`` on the named ``grid``; the last is 0 for a step to no noise.

    Raises ValueError unless one of ``steps`` and ``times`` is given, as ``grid_with_start`` and ``check_times`` do, for
    a ``start`` beside times, for times that end in 0 with ``end_at_zero=False``, and for a step to no noise where the
    process states none.
    """
    if steps is not None and times is not None:
        raise ValueError("both of steps and times given; pass exactly one of them")
    if times is not None:
        if grid is not None:
            raise ValueError(f"grid = {grid!r} beside times, which are the grid; pass steps with it, or leave it out")
        if start is not None:
            raise ValueError(f"start = {start!r} beside times, which are walked as given; pass steps, or leave it out")
        walk = check_times(times, facts.t_max, to_zero=True)
        if walk[-1] == 0 and end_at_zero is False:
            raise ValueError("times end in 0 and end_at_zero is False; leave one of them out")
        if walk[-1] > 0 and end_at_zero:
            walk = [*walk, 0.0]
    elif steps is None:
        raise ValueError("neither of steps and times given; pass exactly one of them")
    else:
        walk = grid_of_steps(facts, steps, grid, end_at_zero is not False, start)
    if walk[-1] == 0:
        choose_ending(facts, walk)
    return walk


def grid_of_steps(
    facts: SchemeFacts, steps: int, grid: str | None = None, end_at_zero: bool = True, start: str | None = None
) -> list[float]:
    """The ``steps + 1`` times of a named grid, None for the scheme's own, with a start, None for the derived one.

    They run from T_MAX to T_MIN, or, with ``end_at_zero``, to T_MIN in one step less and then to 0; one step alone goes
    from T_MAX to 0. A scheme that has no step from T_MAX begins at ``first_time``. Raises ValueError as
    ``grid_with_start``.
    """
    name = facts.grid if grid is None else grid
    full = steps - 1 if end_at_zero and is_count(steps) else steps
    if full == 0 and is_count(steps):
        time_grid(name, 1, facts.t_max, facts.t_min, facts.log_snr)  # for its refusals alone
        if start is not None:
            check_start(start, 0, facts.spec, facts.order, facts.history)
        return [facts.t_max, 0.0]
    scheme: dict[str, Any] = {"spec": facts.spec, "order": facts.order, "history": facts.history}
    walk = grid_with_start(name, full, first_time(facts), facts.t_min, facts.log_snr, start, **scheme)
    return [*walk, 0.0] if end_at_zero else walk


def first_time(facts: SchemeFacts) -> float:
    """The time that named grids begin at: T_MAX, or 0.999 T_MAX for a scheme that has no step from T_MAX.

    The second holds for most schemes on rectified flow, whose state at t = 1 says nothing of the data.
    """
    k = len(facts.blocks)
    options = {"B": [[0.0] * k] * k} if facts.takes_B else {}
    ends = torch.tensor([facts.t_max, (facts.t_max + facts.t_min) / 2], dtype=torch.float64)
    row = facts.coefficients(*ends, **options)
    return facts.t_max if row.isfinite().all() else START * facts.t_max


def choose_ending(facts: SchemeFacts, walk: Sequence[float]) -> Ending | None:
    """The step to no noise of a walk whose last time is 0; None for any other walk.

    Raises ValueError for a scheme without ``data_weights``, and where the network's output does not tell x_0.
    """
    return step_to_no_noise(weights_at_end(facts, walk)) if walk[-1] == 0 else None


def weights_at_end(facts: SchemeFacts, walk: Sequence[float]) -> list[float]:
    """The 2k ``data_weights`` at the last positive time of a walk. Raises ValueError as ``choose_ending`` does."""
    if facts.data_weights is None:
        raise ValueError(
            f"{facts.spec} states no data_weights(t), so that it has no step to no noise; pass end_at_zero=False, or "
            "times that end above 0"
        )
    t = without_zero(list(walk))[-1]
    weights = facts.data_weights(torch.tensor(t, dtype=torch.float64)).tolist()
    if not all(map(math.isfinite, weights)):
        raise ValueError(
            f"{facts.spec}: the network's output at time {t!r} does not tell x_0, so that no step to no noise starts "
            "there; take more steps, or times whose last positive one is lower"
        )
    return weights


def choose_noise(
    facts: SchemeFacts,
    z_T: object,
    seed: int | Sequence[int] | None,
    indices: Iterable[int] | None,
    generator: Generators | None,
) -> tuple[Generators | None, Callable[[int], Tensor] | None]:
    """Where a walk's noise comes from: a generator, or one per sample, or a function of the step made from ``seed``.

    Raises ValueError for both of seed and generator, for neither where the scheme is stochastic, for indices without a
    seed, and for a sequence of another length than the batch.
    """
    if seed is not None and generator is not None:
        raise ValueError("both seed and generator given; pass one of them")
    if facts.stochastic and seed is None and generator is None:
        raise ValueError(f"{facts.spec} is stochastic; pass seed or generator")
    if indices is not None and seed is None:
        raise ValueError("indices number the samples of a seed; pass seed with them")
    if not isinstance(z_T, Tensor) or not z_T.dim():
        return None, None  # the walk itself refuses it
    if seed is not None:
        numbered = number_samples(seed, indices, len(z_T), z_T.device)
        channels = z_T.shape[1:2].numel() // len(facts.blocks)
        return None, numbered.draws_of_steps(facts.noises, (channels, *z_T.shape[2:]))
    if generator is None or isinstance(generator, torch.Generator):
        return generator, None
    several = list(generator)
    if len(several) != len(z_T):
        raise ValueError(f"{len(several)} generators for a batch of {len(z_T)}; one for each sample is needed")
    return several, None


def draw_prior(
    scheme: Scheme,
    n: int,
    shape: Iterable[int],
    seed: int | Sequence[int],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    indices: Iterable[int] | None = None,
) -> Tensor:
    """n draws of z_T from a scheme's prior, for data of shape ``(c, ...)``: blocks concatenated on dimension 1.

    A draw is a function of seed, index of the sample, block and element: samples do not depend on each other or on the
    device, and processes share their position noise under one seed. No step of ``sample_scheme`` draws the same noise
    from the same seed. ``indices``: one for each sample, None for 0, 1, ... A sequence of n seeds has one for each
    sample. Raises ValueError for a device that is not there, and ValueError and TypeError as ``number_samples``.
    """
    numbered = number_samples(seed, indices, n, usable_device(device))
    spreads = facts_of(scheme).prior_std
    blocks = numbered.normals(PRIOR, len(spreads), tuple(shape))
    z = torch.cat([std * block for std, block in zip(spreads, blocks, strict=True)], dim=1)
    return z.to(dtype).to(device)
