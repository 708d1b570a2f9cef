"""A walk with a generated scheme: prior, table, steps, ending, and what is returned."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_backend.walk.grids import time_grid
from torch_backend.walk.loop import Callback, Network, Progress, integrate
from torch_backend.walk.table import primer, tabulate_scheme
from torch_backend.walk.validation import check_times, usable


def sample_scheme(
    scheme: Any,
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
    """Walk z_T from the first time to the last with a generated ``scheme`` module, gradients off.

    Either ``steps`` of a named ``grid`` from T_MAX to T_MIN, or the ``times`` themselves, in ``(0, T_MAX]``. A
    stochastic scheme needs a ``seed`` or a ``generator``. With ``lower_order_final`` the last step of a multistep
    scheme has order one, the one before two, ..., as at its start; see ``tabulate``. ``B``: see ``tabulate_scheme``;
    for the rest ``integrate``. Raises ValueError, TypeError or FloatingPointError, one sentence each: what was wrong,
    where, and what would be accepted.
    """
    if steps is not None and times is None:
        walk = time_grid(grid, steps, scheme.T_MAX, scheme.T_MIN, getattr(scheme, "log_snr", None))
    elif times is not None and steps is None:
        walk = check_times(times, scheme.T_MAX)
    else:
        given = "neither" if steps is None else "both"
        raise ValueError(f"{given} of steps and times given; pass exactly one of them")
    if seed is not None and generator is not None:
        raise ValueError("both seed and generator given; pass one of them")
    if scheme.STOCHASTIC and seed is None and generator is None:
        raise ValueError(f"{scheme.SPEC} is stochastic; pass seed or generator")
    if seed is not None and isinstance(z_T, Tensor):
        generator = torch.Generator(z_T.device).manual_seed(seed)
    with torch.no_grad():
        return integrate(
            scheme.step,
            tabulate_scheme(scheme, walk, lower_order_final, B),
            walk,
            network,
            z_T,
            blocks=len(scheme.BLOCKS),
            noises=scheme.NOISES,
            history=scheme.HISTORY,
            primed=primer(scheme, walk),
            generator=generator,
            callback=callback,
            progress=progress,
        )


PRIOR_STREAM = 0x1D872B41C5F3A96E
"""Added to a prior's seed: one seed for prior and walk must not make the first noise a copy of z_T."""


def draw_prior(
    scheme: Any,
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
    device = usable(device)
    generator = torch.Generator(device).manual_seed((seed + PRIOR_STREAM) % 2**63)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    draws = [std * torch.randn((n, *shape), generator=generator, device=device, dtype=wide) for std in scheme.PRIOR_STD]
    return torch.cat(draws, dim=1).to(dtype)
