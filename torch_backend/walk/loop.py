"""The sampling loop: time grids, coefficient tables and the walk over the steps, on the standard library and torch.

Knows no process and no scheme, and imports nothing of this project: standalone exports carry this text as it is.
"""

import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from torch_backend.walk.validation import check_state, check_times

Network = Callable[[Tensor, Tensor], Tensor]

Step = Callable[..., Tensor]

Callback = Callable[[int, float, Tensor], object]

Progress = bool | Callable[[int, int], object]


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
    check_state(z, blocks)
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
