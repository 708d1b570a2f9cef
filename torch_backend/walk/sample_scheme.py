"""A walk with a generated scheme: which times, which noise, the steps, and the prior that it begins with.

Knows what a user may choose for a walk; the steps themselves are taken in ``loop``. Exported files carry this text.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from torch_backend.scheme import Scheme, SchemeFacts, facts_of
from torch_backend.walk.grids import time_grid
from torch_backend.walk.loop import Callback, Network, Progress, integrate
from torch_backend.walk.table import priming_row, tabulate_scheme
from torch_backend.walk.validation import check_times, usable_device


def sample_scheme(
    scheme: Scheme,
    network: Network,
    z_T: Tensor,
    steps: int | None = None,
    times: Iterable[float] | None = None,
    grid: str = "uniform",
    seed: int | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
    lower_order_final: bool = False,
    B: object = None,
) -> Tensor:
    """Walk z_T from the first time to the last with one scheme; return the state there, in z_T's dtype and device.

    - ``network(z, t)``: z of shape ``(n, k * c, ...)``, t of shape ``(n,)``, forward diffusion times; returns eps of
      z's shape. The scheme has k blocks of c channels.
    - ``z_T``: the state at the first time, ``(n, k * c, ...)``, floating point; the walk runs on its device.
    - ``steps`` of a named ``grid`` from T_MAX to T_MIN, or the ``times`` themselves, decreasing, in ``(0, T_MAX]``.
    - ``seed`` or ``generator``: one of them where the scheme is stochastic; a deterministic scheme draws nothing.
    - ``callback(step_index, s, z)`` after every step: index from 0, the time reached, the state (not to be changed).
    - ``progress``: True for a line on stderr, or a callable that takes (done, total).
    - ``lower_order_final``: the last step of a multistep scheme has order one, the one before it two, ..., as at its
      start; a scheme that reads no earlier steps refuses it.
    - ``B``: for a scheme with B = table, and no other: a matrix for every step, ``(n_steps, k, k)``.

    Gradients are off. Raises ValueError, TypeError or FloatingPointError, one sentence each: what was wrong, where,
    and what would be accepted.
    """
    facts = facts_of(scheme)
    walk = choose_times(facts, steps, times, grid)
    if seed is not None and generator is not None:
        raise ValueError("both seed and generator given; pass one of them")
    if facts.stochastic and seed is None and generator is None:
        raise ValueError(f"{facts.spec} is stochastic; pass seed or generator")
    if seed is not None and isinstance(z_T, Tensor):
        generator = torch.Generator(z_T.device).manual_seed(seed)
    with torch.no_grad():
        return integrate(
            facts.step,
            tabulate_scheme(facts, walk, lower_order_final, B),
            walk,
            network,
            z_T,
            blocks=len(facts.blocks),
            noises=facts.noises,
            history=facts.history,
            primed=priming_row(facts, walk),
            generator=generator,
            callback=callback,
            progress=progress,
        )


def choose_times(facts: SchemeFacts, steps: int | None, times: Iterable[float] | None, grid: str) -> list[float]:
    """The times of a walk: those given, or ``steps`` of the named ``grid``. Raises ValueError unless one is given."""
    if steps is not None and times is None:
        return time_grid(grid, steps, facts.t_max, facts.t_min, facts.log_snr)
    if times is not None and steps is None:
        return check_times(times, facts.t_max)
    given = "neither" if steps is None else "both"
    raise ValueError(f"{given} of steps and times given; pass exactly one of them")


PRIOR_STREAM = 0x1D872B41C5F3A96E
"""Added to a prior's seed: one seed for prior and walk must not make the first noise a copy of z_T."""


def draw_prior(
    scheme: Scheme,
    n: int,
    shape: Iterable[int],
    seed: int,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """n draws of z_T from a scheme's prior, for data of shape ``(c, ...)``: blocks concatenated on dimension 1.

    The blocks are drawn one after the other, so that processes share their position noise under one seed. The stream
    is not the one that ``sample_scheme`` draws from the same seed. Raises ValueError for a device that is not there.
    """
    device = usable_device(device)
    generator = torch.Generator(device).manual_seed((seed + PRIOR_STREAM) % 2**63)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    spreads = facts_of(scheme).prior_std
    draws = [std * torch.randn((n, *shape), generator=generator, device=device, dtype=wide) for std in spreads]
    return torch.cat(draws, dim=1).to(dtype)
