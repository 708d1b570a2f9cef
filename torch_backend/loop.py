"""The sampling loop: time grids, coefficient tables and the walk over the steps, on the standard library and torch.

Knows no process and no scheme, and imports nothing of this project: standalone exports carry this text as it is.
"""

import difflib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
Step = Callable[..., Tensor]
Callback = Callable[[int, float, Tensor], object]
Progress = bool | Callable[[int, int], object]
Grid = Callable[[int, float, float], list[float]]


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence for a name that is not known: what was given, the nearest name, and every name there is.

    >>> unknown("grid", "quadratc", ["quadratic", "uniform"])
    "unknown grid 'quadratc'; did you mean 'quadratic'? Known: quadratic, uniform"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} Known: {', '.join(names) or 'none'}"


def usable(device: str | torch.device) -> torch.device:
    """The device, with its index, once a tensor has been made on it. Raises ValueError, one sentence, where none can.

    >>> usable("cpu")
    device(type='cpu')
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, and names what a build lacks
        here = ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]
        raise ValueError(f"device {str(device)!r} cannot be used here; available: {', '.join(here)}") from error


def power_grid(exponent: float) -> Grid:
    """The grid whose times are equidistant in t^(1 / exponent); a larger exponent puts more steps near the data."""

    def grid(steps: int, t_max: float, t_min: float) -> list[float]:
        first, last = t_max ** (1 / exponent), t_min ** (1 / exponent)
        return [(first + (last - first) * i / steps) ** exponent for i in range(steps + 1)]

    return grid


def cosine_grid(steps: int, t_max: float, t_min: float) -> list[float]:
    """Dense near the data, like the quadratic grid there, and nearly uniform far from them: a quarter of a cosine."""
    return [t_min + (t_max - t_min) * (1 - math.sin(math.pi * i / (2 * steps))) for i in range(steps + 1)]


class MeasuredGrid:
    """A grid whose times are equidistant in a function of the log-SNR lambda(t) of the process."""

    def __init__(self, place: Callable[[float], float]) -> None:
        self.place = place

    def __call__(self, steps: int, t_max: float, t_min: float, log_snr: Callable[[float], float]) -> list[float]:
        """``steps + 1`` times, found by bisection: lambda falls as t grows. Raises ValueError where it is infinite."""
        first, last = self.place(log_snr(t_max)), self.place(log_snr(t_min))
        if not math.isfinite(first) or not math.isfinite(last):
            raise ValueError(f"the log-SNR is not finite at t_max = {t_max!r}; give times that start below it")
        times = [t_max]
        for i in range(1, steps):
            goal, high, low = first + (last - first) * i / steps, times[-1], t_min
            while low < (middle := (high + low) / 2) < high:
                beyond = (self.place(log_snr(middle)) - goal) * (last - first) > 0
                low, high = (middle, high) if beyond else (low, middle)
            times.append(middle)
        return [*times, t_min]


GRIDS: dict[str, Grid | MeasuredGrid] = {
    "uniform": power_grid(1),
    "quadratic": power_grid(2),
    "karras": power_grid(7),  # the grid of Karras et al. (2206.00364, eq. 5) on processes where sigma(t) = t
    "cosine": cosine_grid,
    "log-SNR": MeasuredGrid(lambda x: x),
    "EDM": MeasuredGrid(lambda x: math.exp(-x / 7)),  # the same equation in rho = sigma/alpha, on every process
}
"""Time grids by name. Extensible: ``GRIDS["mine"] = f`` with ``f(steps, t_max, t_min)`` giving ``steps + 1`` times, or
``MeasuredGrid(f)`` for times that are equidistant in ``f(log_snr)``."""


def time_grid(
    name: str, steps: int, t_max: float, t_min: float, log_snr: Callable[[float], float] | None = None
) -> list[float]:
    """The ``steps + 1`` forward diffusion times of a named grid, from exactly ``t_max`` down to exactly ``t_min``.

    ``log_snr(t)`` is asked for by grids that are measured in it. Raises ValueError for a name that is not in
    ``GRIDS``, a number of steps that is not a positive integer, and for a grid that breaks what ``check_times`` asks.

    >>> time_grid("uniform", 4, 1.0, 0.5)
    [1.0, 0.875, 0.75, 0.625, 0.5]
    """
    if name not in GRIDS:
        raise ValueError(unknown("grid", name, GRIDS))
    if not _is_count(steps):
        raise ValueError(f"steps = {steps!r} is not a number of steps; a positive integer is needed")
    grid = GRIDS[name]
    if isinstance(grid, MeasuredGrid):
        if log_snr is None:
            raise ValueError(f"grid {name!r} is measured in the log-SNR; pass the process's log_snr(t)")
        times = grid(steps, t_max, t_min, log_snr)
    else:
        times = list(grid(steps, t_max, t_min))
    if len(times) != steps + 1:
        raise ValueError(f"grid {name!r} gave {len(times)} times for {steps} steps; it must give {steps + 1}")
    return check_times([t_max, *times[1:-1], t_min])


def _is_count(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral) and int(value) > 0


def check_times(times: Iterable[float], t_max: float = math.inf) -> list[float]:
    """The times as Python floats, once they are known to be a walk from noise to data.

    Raises TypeError for a single number, and ValueError unless there are at least two times, all finite, all in
    ``(0, t_max]`` and strictly decreasing.
    """
    if isinstance(times, int | float):
        raise TypeError(f"times = {times!r} is one number; pass the sequence of times, or a number of steps as steps")
    values = [float(t) for t in times]
    if len(values) < 2:
        raise ValueError(f"times has {len(values)} entries; at least two are needed, the start and the end")
    for i, t in enumerate(values):
        if not math.isfinite(t) or not 0 < t <= t_max:
            bound = "finite and positive" if t_max == math.inf else f"in (0, {t_max!r}]"
            raise ValueError(f"times[{i}] = {t!r} is not a usable diffusion time; every time must be {bound}")
        if i and t >= values[i - 1]:
            raise ValueError(
                f"times[{i}] = {t!r} is not below times[{i - 1}] = {values[i - 1]!r}; times must decrease strictly"
            )
    return values


def tabulate(
    coefficients: Callable[..., Sequence[float]],
    times: Iterable[float],
    history: int = 0,
    mends: bool = False,
    lower_order_final: bool = False,
) -> Tensor:
    """The scheme's coefficients on a grid: a float64 CPU tensor of shape ``(n_steps, n_coefficients)``.

    ``coefficients(t, s)`` gives the numbers of the step from time t to s < t; a multistep scheme, with ``history``,
    also takes the times at which that many steps before started, newest first. With ``lower_order_final`` a step reads
    at most as many of them as steps follow; a predictor-corrector, which ``mends``, is told that number apart, since
    it first corrects the step before, which read one more. Raises ValueError for times that ``check_times`` refuses,
    for a coefficient that is not finite or does not exist, and for ``lower_order_final`` without ``history``.
    """
    walk = check_times(times)
    if lower_order_final and not history:
        raise ValueError("this scheme reads no earlier steps, so that it has no lower_order_final; leave it out")
    rows = []
    for i, (t, s) in enumerate(pairwise(walk)):
        past, left = walk[max(0, i - history) : i][::-1], len(walk) - 2 - i
        read: tuple[object, ...] = (past,) if history else ()
        if lower_order_final:
            read = (past[: left + 2], left) if mends else (past[:left],)
        try:
            rows.append(tuple(coefficients(t, s, *read)))
        except ArithmeticError as error:  # where a process ends, as rectified flow at 1, alpha may be 0
            raise ValueError(
                f"the coefficients of step {i}, from time {t!r} to {s!r}, do not exist ({error}); "
                "the scheme has no such step, take other times"
            ) from error
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            if not math.isfinite(value):
                raise ValueError(
                    f"coefficient {j} of step {i}, from time {walk[i]!r} to {walk[i + 1]!r}, is {value!r}; "
                    "the scheme has no such step, take other times"
                )
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1)


def reporter(progress: Progress) -> Callable[[int, int], object]:
    """What to call with (done, total): nothing for False, a line on stderr rewriting itself for True, or the callable.

    Raises TypeError for anything else.
    """
    if callable(progress):
        return progress
    if progress is True:
        return _write_line
    if progress is False:
        return lambda done, total: None
    raise TypeError(f"progress = {progress!r}; it must be True, False or a callable taking (done, total)")


def _write_line(done: int, total: int) -> None:
    print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


class _Watch:
    """The network as a step calls it: in the caller's dtype, on a batch of times, every output noted as finite or not.

    The notes stay on the device; ``settle`` is the one place that waits for it.
    """

    def __init__(self, network: Network, dtype: torch.dtype, times: Sequence[float]) -> None:
        self.network, self.dtype, self.times = network, dtype, times
        self.finite: list[Tensor] = []
        self.places: list[tuple[int, int, Tensor | None]] = []  # step, evaluation, time; time None: the state itself
        self.step, self.evaluation = -1, 0

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        if self.evaluation:  # a state inside the step; the one it began with has been noted
            self._note(z, None)
        eps = self.network(z.to(self.dtype), t.expand(z.shape[0]))
        if not isinstance(eps, Tensor):
            raise TypeError(f"the network returned {type(eps).__name__}; it must return a tensor of its input's shape")
        if eps.shape != z.shape:
            raise ValueError(
                f"the network returned shape {tuple(eps.shape)} for input of shape {tuple(z.shape)}; "
                "it must return one eps component per entry of the state"
            )
        self._note(eps, t)
        self.evaluation += 1
        return eps.to(z.dtype)

    def close_step(self, z: Tensor) -> None:
        """Note whether the state is finite after a step, or before the first, and go on to the next step."""
        self._note(z, None)
        self.step, self.evaluation = self.step + 1, 0

    def _note(self, value: Tensor, t: Tensor | None) -> None:
        self.finite.append(torch.isfinite(value).all())
        self.places.append((self.step, self.evaluation, t))

    def settle(self) -> None:
        """Wait for the device and raise FloatingPointError at the first value that was not finite."""
        finite = torch.stack(self.finite)
        if finite.all():
            return
        step, evaluation, t = self.places[finite.tolist().index(False)]
        if step < 0:
            raise FloatingPointError("the state holds NaN or infinity before the first step")
        where = f"step {step} of {self.step} (counted from 0), from time {self.times[step]:.6g} to "
        where += f"{self.times[step + 1]:.6g}"
        if t is None:
            raise FloatingPointError(
                f"the state left the finite numbers in {where}, though every network output until then was finite: "
                "the scheme is unstable on this grid, take more steps"
            )
        raise FloatingPointError(
            f"the network returned NaN or infinity in evaluation {evaluation} (counted from 0), at time "
            f"{float(t):.6g}, of {where}"
        )


def take_steps(
    step: Step,
    rows: Sequence[Tensor],
    ends: Sequence[Tensor],
    network: Network,
    z: Tensor,
    past: Sequence[Tensor],
    noise: Callable[[int], Tensor | None],
    after: Callable[[int, Tensor], object],
) -> Tensor:
    """The loop and nothing else: z after one ``step`` per row; tensor operations only, so that it can be traced.

    ``past`` is empty for a scheme without history; ``noise(i)`` gives the draws of step i, ``after(i, z)`` its end.
    """
    for i, row in enumerate(rows):
        if past:
            z, kept = step(z, ends[i], ends[i + 1], row, network, noise(i), past)
            past = [kept, *past[:-1]]
        else:
            z = step(z, ends[i], ends[i + 1], row, network, noise(i))
        after(i, z)
    return z


def integrate(
    step: Step,
    table: Tensor,
    times: Iterable[float],
    network: Network,
    z: Tensor,
    *,
    blocks: int = 1,
    noises: int = 0,
    history: int = 0,
    primed: Tensor | None = None,
    generator: torch.Generator | None = None,
    draw: Callable[[int], Tensor] | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
) -> Tensor:
    """Walk the state z down the times, one ``step`` per row of the coefficient table; returns the last state.

    - ``step(z, t, s, c, network, noise)``: one step from time t to s < t; t, s are 0-d tensors, c is a table row.
    - ``table``: ``(n_steps, n_coefficients)`` or, for coefficients that differ along the last dimension of the state,
      ``(n_steps, n_coefficients, d)``, float64; ``times``: the ``n_steps + 1`` forward diffusion times.
    - ``network(z, t)``: eps of z's shape; z in the caller's dtype, t of shape ``(n,)`` in the state's dtype.
    - ``z``: ``(n, blocks * c, ...)``, floating point: the state at ``times[0]``, and the device of the whole walk.
    - ``history``: how many earlier outputs a step reads; it then takes them as ``past``, newest first, zeros where
      there was no step, and returns ``(z, kept)``. ``primed``: the coefficients of a step of no length at the start,
      which is made first for what it keeps.
    - ``noises``: standard-normal draws per step, ``(noises, n, c, ...)``, from ``generator`` on its own device, or
      ``draw(step_index)`` in place of it.
    - ``callback(step_index, s, z)`` after every step: index from 0, the time reached, the state (not to be changed).
    - ``progress``: True, False or a callable; on a GPU it counts the steps issued, which run behind.

    The state is held in float64 where z is, else in float32; the result has z's dtype. Nothing inside the loop
    waits for the device: whether all values were finite is read once, after the last step.

    Raises ValueError for unusable times, table, shapes or a missing generator, TypeError for a z that is not
    floating point, and FloatingPointError naming the first step and evaluation whose values were not finite.
    """
    walk = check_times(times)
    _check_state(z, blocks)
    if table.shape[:1] != (len(walk) - 1,):
        raise ValueError(f"the table has shape {tuple(table.shape)}; {len(walk) - 1} steps need as many rows")
    if noises and generator is None and draw is None:
        raise ValueError("a stochastic scheme draws noise from a generator; pass one")
    report = reporter(progress)

    dtype, state = z.dtype, torch.float64 if z.dtype == torch.float64 else torch.float32
    # all uploads are before the loop, and cast before: not every device has float64
    ends = torch.tensor(walk, dtype=torch.float64).to(state).to(z.device).unbind()
    rows = table.to(state).to(z.device).unbind()
    noise_shape = (noises, z.shape[0], z.shape[1] // blocks, *z.shape[2:])
    watch = _Watch(network, dtype, walk)
    z = z.to(state)
    watch.close_step(z)
    past = [torch.zeros_like(z)] * history
    if primed is not None:
        past = [step(z, ends[0], ends[0], primed.to(state).to(z.device), watch, None, past)[1]] * history

    def noise(i: int) -> Tensor | None:
        if noises and draw is not None:
            return draw(i).to(z.device, state)
        if noises and generator is not None:
            return torch.randn(noise_shape, generator=generator, device=generator.device, dtype=state).to(z.device)
        return None

    def after(i: int, reached: Tensor) -> None:
        watch.close_step(reached)
        if callback is not None:
            callback(i, walk[i + 1], reached)
        report(i + 1, len(walk) - 1)

    z = take_steps(step, rows, ends, watch, z, past, noise, after)
    watch.settle()
    return z.to(dtype)


def tabulate_scheme(scheme: Any, times: Iterable[float], lower_order_final: bool = False, B: object = None) -> Tensor:
    """The coefficients of a generated ``scheme`` module on a grid; ``B`` for a scheme that takes one for every step.

    ``B``: numbers of shape ``(n_steps, k, k)``, k blocks. Raises ValueError as ``tabulate`` does, and for a B that is
    missing, not taken, of another shape or not finite. ``lower_order_final`` is refused where every step needs a past.
    """
    walk, coefficients = check_times(times, scheme.T_MAX), scheme.coefficients
    if hasattr(scheme, "B"):
        shape = (len(walk) - 1, len(scheme.BLOCKS), len(scheme.BLOCKS))
        if B is None:
            raise ValueError(f"{scheme.SPEC} takes a B for every step; pass B of shape {shape}")
        table = torch.as_tensor(B, dtype=torch.float64)
        if table.shape != shape or not table.isfinite().all():
            raise ValueError(f"B has shape {tuple(table.shape)}; finite numbers of shape {shape} are needed")
        of_step = dict(zip(walk, table.tolist(), strict=False))

        def coefficients(t: float, s: float) -> Sequence[float]:
            return scheme.coefficients(t, s, B=of_step[t])
    elif B is not None:
        raise ValueError(f"{scheme.SPEC} takes no B; leave it out")
    if lower_order_final and getattr(scheme, "PRIMED", False):
        raise ValueError(f"{scheme.SPEC} reads an earlier evaluation in every step; leave lower_order_final out")
    return tabulate(coefficients, walk, scheme.HISTORY, getattr(scheme, "MENDS", False), lower_order_final)


def primer(scheme: Any, walk: Sequence[float]) -> Tensor | None:
    """The coefficients of a step of no length, for a scheme whose first step needs a past; None for others."""
    if not getattr(scheme, "PRIMED", False):
        return None
    return torch.tensor(scheme.coefficients(walk[0], walk[0]), dtype=torch.float64)


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


def _check_state(z: object, blocks: int) -> None:
    if not isinstance(z, Tensor) or not z.is_floating_point():
        raise TypeError(f"the state is {getattr(z, 'dtype', type(z).__name__)}; a floating-point tensor is needed")
    if z.dim() < 2 or z.shape[1] == 0 or z.shape[1] % blocks:
        raise ValueError(
            f"the state has shape {tuple(z.shape)}; dimension 1 must hold {blocks} block(s) of channels, "
            f"shape (n, {blocks} * c, ...)"
        )
