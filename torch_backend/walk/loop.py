"""The sampling loop: one step after the other down the times, with a watch for values that are not finite.

Knows steps as functions and their coefficients as rows of a table; knows no process and no scheme. Exported files carry
this text.
"""

import sys
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from torch_backend.walk.validation import check_state, check_times, without_zero

Network = Callable[[Tensor, Tensor], Tensor]
"""network(z, t): z of shape (n, k * c, ...), forward diffusion times t of shape (n,); returns eps of z's shape."""

Generators = torch.Generator | Sequence[torch.Generator]
"""One of torch's generators for the whole batch, or one for each sample: its noise then does not depend on the batch.
Noise of a seed comes from ``walk.noise`` instead, through ``draw``."""

Step = Callable[..., Tensor]
"""step(z, t, s, c, network, noise): one step from time t to s < t, 0-d tensors; c is a row of the coefficient table.

With a history it also takes ``past``, earlier outputs newest first, zeros where there was no step; it then returns the
state and what is to be kept.
"""

Ending = Callable[[Tensor, Tensor, Network], Tensor]
"""ending(z, t, network): the step from time t, a 0-d tensor, to no noise: one evaluation, and the predicted x_0."""

Callback = Callable[[int, float, Tensor], object]
"""callback(step_index, s, z): the step that is done, the time that it reached (0: no noise), the state there."""

Progress = bool | Callable[[int, int], object]
"""False for none, True for a line on stderr, or a callable that takes (done, total)."""


def reporter(progress: Progress) -> Callable[[int, int], object]:
    """The function to call with (done, total) after every step, as ``progress`` asks for it.

    Raises TypeError for a ``progress`` that is neither a bool nor callable.
    """
    if callable(progress):
        return progress
    if progress is True:
        return _write_line
    if progress is False:
        return lambda done, total: None
    raise TypeError(f"progress = {progress!r}; it must be True, False or a callable taking (done, total)")


def _write_line(done: int, total: int) -> None:
    """Write over the line on stderr; end it with the last step."""
    print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


class _Watch:
    """The network as a step calls it, which notes of every output and every state whether it is finite.

    The network is called in the caller's dtype, with one time per sample. Notes stay on the device, so that nothing
    waits for it inside the loop; ``settle`` waits once and reports the first value that was not finite.
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
        """Note whether a value is finite, and where it stands: at an evaluation at time t, or, without t, a state."""
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
    """Take one ``step`` per row of coefficients; return the last state. Tensor operations only, so it can be traced.

    - ``ends``: the times as 0-d tensors, one more than rows; step i goes from ends[i] to ends[i + 1].
    - ``past``: what earlier steps kept, newest first; empty for a scheme without history.
    - ``noise(i)`` gives the draws of step i, or None; ``after(i, z)`` is called with the state that it reached.
    """
    for i, row in enumerate(rows):
        if past:
            z, kept = step(z, ends[i], ends[i + 1], row, network, noise(i), past)
            past = [kept, *past[:-1]]
        else:
            z = step(z, ends[i], ends[i + 1], row, network, noise(i))
        after(i, z)
    return z


def step_to_no_noise(weights: Sequence[float]) -> Ending:
    """The step to no noise with a process's ``data_weights`` at the time that it starts from.

    Of 2k weights a and b for k blocks: the first block becomes the predicted x_0, which is sum a_i z_i + sum b_i
    output_i, and the others 0. Tensor operations only, so it can be traced.
    """
    blocks = len(weights) // 2

    def ending(z: Tensor, t: Tensor, network: Network) -> Tensor:
        parts = [*z.chunk(blocks, 1), *network(z, t).chunk(blocks, 1)]
        data = weights[0] * parts[0]
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            data = data + weight * part
        return torch.cat([data, *[torch.zeros_like(data)] * (blocks - 1)], dim=1)

    return ending


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
    ending: Ending | None = None,
    generator: Generators | None = None,
    draw: Callable[[int], Tensor] | None = None,
    callback: Callback | None = None,
    progress: Progress = False,
) -> Tensor:
    """Walk the state z down the times, one ``step`` per row of the coefficient table; return the last state.

    - ``table``: ``(n_steps, n_coefficients)`` or, for coefficients that differ along the last dimension of the state,
      ``(n_steps, n_coefficients, d)``, float64; ``times``: the ``n_steps + 1`` forward diffusion times. They may be
      followed by 0: the ``ending``, a step to no noise, is then made after the last row.
    - ``z``: ``(n, blocks * c, ...)``, floating point: the state at ``times[0]``, and the device of the whole walk.
    - ``history``: how many earlier outputs a step reads. ``primed``: the coefficients of a step of no length at the
      start, which is made first for what it keeps.
    - ``noises``: standard-normal draws per step, ``(noises, n, c, ...)``, from ``generator`` on its own device, or
      from one generator per sample, or ``draw(step_index)`` in place of it.

    The state is held in float64 where z is, else in float32; the result has z's dtype. Nothing inside the loop
    waits for the device: whether all values were finite is read once, after the last step.

    Raises ValueError for unusable times, table, shapes or a missing generator, TypeError for a z that is not
    floating point, and FloatingPointError naming the first step and evaluation whose values were not finite.
    """
    walk, report = check_times(times, to_zero=ending is not None), reporter(progress)
    check_state(z, blocks)
    count = len(without_zero(walk)) - 1
    if table.shape[:1] != (count,):
        raise ValueError(f"the table has shape {tuple(table.shape)}; {count} steps need as many rows")
    if noises and generator is None and draw is None:
        raise ValueError("a stochastic scheme draws noise from a generator; pass one")

    dtype, state = z.dtype, torch.float64 if z.dtype == torch.float64 else torch.float32
    # All uploads are before the loop, and cast before: not every device has float64.
    ends = torch.tensor(walk, dtype=torch.float64).to(state).to(z.device).unbind()
    rows = table.to(state).to(z.device).unbind()
    watch, z = _Watch(network, dtype, walk), z.to(state)
    watch.close_step(z)
    past = [torch.zeros_like(z)] * history
    if primed is not None and rows:
        past = [step(z, ends[0], ends[0], primed.to(state).to(z.device), watch, None, past)[1]] * history
    if noises and draw is None:
        draw = _draws_from(generator, (noises, z.shape[0], z.shape[1] // blocks, *z.shape[2:]), state)

    def after(i: int, reached: Tensor) -> None:
        watch.close_step(reached)
        if callback is not None:
            callback(i, walk[i + 1], reached)
        report(i + 1, len(walk) - 1)

    z = take_steps(step, rows, ends, watch, z, past, _noise_beside(z, draw if noises else None), after)
    if ending is not None and walk[-1] == 0:
        z = ending(z, ends[-2], watch)
        after(count, z)
    watch.settle()
    return z.to(dtype)


def _draws_from(generator: Generators | None, shape: tuple[int, ...], dtype: torch.dtype) -> Callable[[int], Tensor]:
    """Standard normal draws for every step, on the generator's own device; of several, one for each sample."""
    assert generator is not None
    if isinstance(generator, torch.Generator):
        return lambda i: normal(shape, generator, dtype)
    if len(generator) != shape[1]:
        raise ValueError(f"{len(generator)} generators for a batch of {shape[1]}; one for each sample is needed")
    one = (shape[0], 1, *shape[2:])
    return lambda i: torch.cat([normal(one, of_sample, dtype) for of_sample in generator], dim=1)


def normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Standard normal draws from a generator, on its own device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def _noise_beside(z: Tensor, draw: Callable[[int], Tensor] | None) -> Callable[[int], Tensor | None]:
    """The draws of every step with the device and the dtype of z; None for every step where nothing is drawn."""
    return lambda i: None if draw is None else draw(i).to(z.device, z.dtype)
