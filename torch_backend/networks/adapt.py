"""A network trained on one process, run on another: any prediction, any time convention, any number of blocks.

Knows the two kernels and what the network returns; knows no scheme. The map is exact and needs no training: of x_0 a
state z of k blocks says only y = x_0 + n / |u|, with u = L^-1 psi the whitened mean, and that is a state of the
network's own process too. So phase-space samplers run on any network that was trained on data space, and a VP network
runs on EDM's or flow's path.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torch_backend.networks.guidance import BY_PROCESS
from torch_backend.networks.prediction import PREDICTIONS
from torch_backend.networks.training_noise import Training, read_training
from torch_backend.networks.whitened import lift, times_of_ratios, whiten
from torch_backend.source import load_kernel
from torch_backend.walk.grids import time_grid
from torch_backend.walk.noise import HIDDEN, PRIOR, number_samples
from torch_backend.walk.validation import unknown_name_message

__all__ = ["AdaptedNetwork", "adapt"]

BEYOND = ("mean", "refuse")
"""What is done at a noise level that the network does not know: see ``adapt``."""


def adapt(
    network: Any,
    trained_on: Any = "vp",
    prediction: str | None = None,
    run_on: Any = "psld",
    *,
    time: str | float | None = None,
    data_std: float | None = None,
    beyond: str = "mean",
    dtype: torch.dtype | None = None,
) -> "AdaptedNetwork":
    """The network(z, t) of the process ``run_on`` that a network trained on ``trained_on`` gives, exactly.

    - ``network(z, t)``: z of shape (n, c, ...), t of shape (n,); returns its prediction, of z's shape.
    - ``trained_on``: the name of a process of one block ("vp", "edm", "flow", ...), a kernel module, a tensor of
      alphas_cumprod, or a diffusers scheduler or its config.
    - ``prediction``: eps, x0, v, velocity, score or edm (EDM's F), or diffusers' names; None for what ``trained_on``
      says.
    - ``run_on``: the name or the kernel module of a process of any number of blocks. The result returns what networks
      of that process return: eps in the lower Cholesky frame, or the velocity on flow.
    - ``time``: what the network takes for its time: "t" (of its process), "index" (of a table), "sigma" (the ratio
      sigma / alpha), "c_noise" (its logarithm / 4), or a number that multiplies t; None for what ``trained_on`` says.
    - ``data_std``: of the data, for EDM's F and beyond the trained range; None for 1/2, or what a config says.
    - ``beyond``: at noise outside the trained range. "mean": where there is more noise, the network sees the expected
      state at its noisiest level, as it is for Gaussian data of deviation ``data_std``; where there is less, x_0 is
      what it predicts at its cleanest level. "refuse": ValueError. A walk within the range meets neither: begin with
      ``draw_start``, and take ``times``.
    - ``dtype``: what the network is called with, such as torch.float16; None for the state's.

    Raises ValueError and TypeError, one sentence: for names that are not known, for a ``trained_on`` of several blocks
    and for a kernel whose noise differs along the data. Source: z given y is Gaussian, with y a sufficient statistic;
    the eps convention of arXiv 2310.07894.
    """
    if beyond not in BEYOND:
        raise ValueError(unknown_name_message("beyond", beyond, BEYOND))
    kernel = load_kernel(run_on) if isinstance(run_on, str) else run_on
    return AdaptedNetwork(network, read_training(trained_on, prediction, time, data_std), kernel, beyond, dtype)


class AdaptedNetwork(nn.Module):
    """What ``adapt`` returns: call it like a network, move it like a module.

    Everything that it does to states is linear: the network sees ``to_network . z`` and the result is
    ``of_state z + of_output output``, over blocks. These numbers are computed in float64 on the CPU, then cast. Call
    ``prepare(times)`` before a walk on a GPU: then no call waits for the device.

    Attributes: ``t_first`` and ``t_last``, the times of ``run_on`` at which the network's range of noise begins and
    ends, within those of the process.
    """

    def __init__(self, network: Any, training: Training, kernel: Any, beyond: str, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.network, self.training_noise, self.kernel = network, training, kernel
        self.beyond, self.dtype = beyond, dtype
        self.blocks = len(whiten(kernel, torch.full((1,), kernel.T_MIN, dtype=torch.float64)).unit[0])
        self.wanted = self._prediction_of_run_on()
        ends = torch.tensor([training.first, training.last], dtype=torch.float64)
        self.lowest, self.highest = training.ratio(ends).tolist()
        self.t_first, self.t_last = self._times_of_range()
        self.prepared_times: Tensor | None = None
        self.prepared_rows: Tensor | None = None

    def _prediction_of_run_on(self) -> str:
        """Which of PREDICTIONS the result is: what the kernel of ``run_on`` says, eps on several blocks."""
        stated = getattr(self.kernel, "NETWORK", "eps")
        if stated not in BY_PROCESS or (self.blocks > 1 and stated != "eps"):
            known = "eps" if self.blocks > 1 else ", ".join(BY_PROCESS)
            raise ValueError(f"networks of {self.kernel.PROCESS} return {stated}; a run on {known} can be adapted")
        return BY_PROCESS[stated]

    def _times_of_range(self) -> tuple[float, float]:
        """Where ``run_on`` has the noise of the network's two ends, or its own ends where they come first."""
        ends = torch.tensor([self.kernel.T_MAX, self.kernel.T_MIN], dtype=torch.float64)
        least, most = whiten(self.kernel, ends).ratio.tolist()
        goals = torch.tensor([max(self.lowest, least), min(self.highest, most)], dtype=torch.float64)
        if goals[0] >= goals[1]:
            raise ValueError(
                f"{self.kernel.PROCESS} and {self.training_noise.name} have no level of noise in common: sigma / alpha "
                f"from {1 / most:.3g} to {1 / max(least, 1e-300):.3g}, and from {1 / self.highest:.3g} to "
                f"{1 / max(self.lowest, 1e-300):.3g}"
            )
        first, last = times_of_ratios(self.kernel, goals, self.kernel.T_MAX, self.kernel.T_MIN).tolist()
        return first if goals[0] > least else self.kernel.T_MAX, last if goals[1] < most else self.kernel.T_MIN

    def forward(
        self, z: Float[Tensor, "n channels *space"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n channels *space"]:
        """The prediction of ``run_on`` at (z, t), of z's shape and dtype, from one call of the network.

        Raises ValueError for a z that is not k blocks, for an output of another shape, and with ``beyond="refuse"``
        for a noise that the network does not know. After ``prepare``, the output at a time that was not prepared is
        NaN, which a walk reports.
        """
        if z.dim() < 2 or z.shape[1] % self.blocks or t.shape != z.shape[:1]:
            raise ValueError(
                f"z has shape {tuple(z.shape)} and t {tuple(t.shape)}; (n, {self.blocks} c, ...) and (n,) are needed"
            )
        work = torch.float64 if z.dtype == torch.float64 else torch.float32
        rows = self._rows_at(t).to(work).to(z.device)
        k = self.blocks
        entries = [entry.reshape(-1, *[1] * (z.dim() - 1)) for entry in rows.unbind(-1)]
        parts = z.to(work).chunk(k, 1)
        seen = entries[0] * parts[0]
        for weight, part in zip(entries[1:k], parts[1:], strict=True):
            seen = seen + weight * part
        given = self.dtype or z.dtype
        output = self.network(seen.to(given), rows[:, k].to(given).expand(z.shape[0]))
        if not isinstance(output, Tensor) or output.shape != seen.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the network returned {shape} for a state of {tuple(seen.shape)}; the same is needed")
        output = output.to(work)
        blocks = []
        for a in range(k):
            row = entries[k + 1 + a * (k + 1) : k + 1 + (a + 1) * (k + 1)]
            block = row[k] * output
            for weight, part in zip(row[:k], parts, strict=True):
                block = block + weight * part
            blocks.append(block)
        return torch.cat(blocks, 1).to(z.dtype)

    def prepare(
        self, times: Iterable[float] | None, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float64
    ) -> "AdaptedNetwork":
        """Compute the numbers of these times now, for states on ``device`` of ``dtype``; return self.

        Calls at these times wait for nothing. ``times``: of ``run_on``, all those at which the network will be called,
        in any order; None to forget them. float32 is for devices without float64, and for states in lower precision.
        """
        if times is None:
            self.prepared_times = self.prepared_rows = None
            return self
        at = torch.tensor(sorted(set(times)), dtype=torch.float64)
        self.prepared_times, self.prepared_rows = (x.to(dtype).to(device) for x in (at, self.rows(at)))
        return self

    def _rows_at(self, t: Tensor) -> Tensor:
        """``rows`` at the times of a batch, or one row where they are all one time."""
        once = t[:1] if t.dim() == 1 and t.stride(0) == 0 else t  # a batch at one time, as loops expand it
        known, rows = self.prepared_times, self.prepared_rows
        if known is None or rows is None:
            return self.rows(once.detach().cpu().double())
        distance, nearest = (once.to(known)[:, None] / known - 1).abs().min(1)
        missed = distance > 1e-6  # ten times what float32 makes of a time
        return torch.where(missed[:, None], torch.nan, rows[nearest])

    def rows(self, t: Float[Tensor, " m"]) -> Float[Tensor, "m numbers"]:
        """The numbers of the map at float64 times of ``run_on``: to_network (k), the network's time, and for each
        block of the result of_state (k) and of_output (1).

        With w = u . L^-1 z / |u| and r = |u|, y = w / r is x_0 + n / r. The network is asked at the level r' of its own
        process, r where it knows r. Its state is sigma' g w, from which follow x_0 and, by w = r x_0 + e, the noise e
        along u. The rest of L^-1 z is noise as it stands, so that nothing cancels at small noise.
        """
        kernel, training = whiten(self.kernel, t), self.training_noise
        r = kernel.ratio
        within = (r >= self.lowest * (1 - 1e-12)) & (r <= self.highest * (1 + 1e-12))
        if self.beyond == "refuse" and not within.all():
            at = float(t[~within][0])
            raise ValueError(
                f"at t = {at:.6g} {self.kernel.PROCESS} has a noise that the network does not know; its range is "
                f"t = {self.t_last:.6g} to {self.t_first:.6g}"
            )
        own_time = training.time_at(r.clamp(self.lowest, self.highest))
        alpha, sigma = training.alpha_sigma(own_time)
        p, q = training.terms(alpha, sigma)
        # along u alone: x_0 = of_w w + of_out out, and the same for e
        x0_w, x0_out, e_w, e_out, seen = self._along_u(r, within, alpha, sigma, p, q)
        to_network = (training.input_scale(alpha, sigma) * seen)[:, None] * kernel.along
        a, s = self._first_block(t)
        x_share, e_share = (torch.as_tensor(v, dtype=t.dtype).expand_as(t) for v in PREDICTIONS[self.wanted](a, s))
        along = kernel.unit[:, :, None]
        share = along @ kernel.along[:, None, :]  # of z, along u
        rest = kernel.inverse - share if self.blocks > 1 else torch.zeros_like(share)
        of_state = rest + share * (x_share * x0_w + e_share * e_w)[:, None, None]
        of_output = along * (x_share * x0_out + e_share * e_out)[:, None, None]
        time = training.time(own_time, alpha, sigma)
        return torch.cat([to_network, time[:, None], torch.cat([of_state, of_output], 2).flatten(1)], 1)

    def _along_u(
        self, r: Tensor, within: Tensor, alpha: Tensor, sigma: Tensor, p: Tensor, q: Tensor
    ) -> tuple[Tensor, ...]:
        """x_0 and e as (factor of w, factor of the output) each, and the factor of w in the network's state."""
        ratio = alpha / sigma  # of the network, r where it knows r
        variance = self.training_noise.data_std**2
        noisier = ~within & (r < ratio)
        # the share of y that is left in its expectation at the network's noisiest level; one everywhere else
        left = (variance + 1 / ratio**2) * r / (variance * r**2 + 1)
        share = torch.where(noisier, left * r, 1.0)
        growth = torch.where(noisier, left * ratio, torch.where(within, 1.0, ratio / r))
        whole = alpha * q - sigma * p
        state = sigma * growth
        x0_w, x0_out = q / whole * state, -sigma / whole
        relative = torch.where(within, 1.0, r / ratio)
        e_w = 1 - share - relative * p / whole * state
        e_out = relative * alpha / whole
        return x0_w, x0_out, e_w, e_out, state

    def _first_block(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of ``run_on`` where it has one block; on several the result is eps, which needs neither."""
        return self.kernel.mean(t)[0], self.kernel.cholesky(t)[0]

    def times(self, steps: int, grid: str = "quadratic") -> list[float]:
        """``steps + 1`` times of ``run_on`` for a walk within the network's range, the last one 0: x_0 as predicted."""
        log_ratio = lambda t: whiten(self.kernel, t.reshape(-1)).ratio.log().reshape(t.shape)  # noqa: E731
        inner = time_grid(grid, steps - 1, self.t_first, self.t_last, log_ratio) if steps > 1 else [self.t_first]
        return [*inner, 0.0]

    def lift(
        self, state: Float[Tensor, "n channels *space"], t: float, seed: int | Sequence[int]
    ) -> Float[Tensor, "n blocks_channels *space"]:
        """A state of ``run_on`` at time t for a state of the network's own process with the same noise.

        Drawn from the exact law of z given ``state``: L (w + noise across u); on one block nothing is drawn. The own
        time of ``state`` is ``own_time(t)``. ``seed``: one for the batch or one for each sample, as in ``sample``.
        """
        at = torch.full((1,), float(t), dtype=torch.float64)
        sigma = float(self.training_noise.alpha_sigma(self._own_times(at))[1])
        noise = number_samples(seed, None, len(state), state.device).normals(HIDDEN, self.blocks, state.shape[1:])
        return lift(self.kernel, float(t), state / sigma, noise.to(state))

    def own_time(self, t: float) -> float:
        """The time of the network's own process that has the noise of ``run_on`` at t, or its nearest end."""
        return float(self._own_times(torch.full((1,), float(t), dtype=torch.float64)))

    def _own_times(self, t: Tensor) -> Tensor:
        return self.training_noise.time_at(whiten(self.kernel, t).ratio.clamp(self.lowest, self.highest))

    def draw_start(
        self, n: int, shape: tuple[int, ...], seed: int | Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n blocks_channels *space"]:
        """n states of ``run_on`` at ``t_first``, on the CPU, where walks within the network's range begin.

        They are lifted from Gaussian states of the network's own process, with the deviation that data of deviation
        ``data_std`` have there.
        """
        noise = number_samples(seed, None, n).normals(PRIOR, 1, shape)[0].to(dtype)
        alpha, sigma = self.training_noise.alpha_sigma(torch.tensor(self.own_time(self.t_first), dtype=torch.float64))
        deviation = math.hypot(float(sigma), float(alpha) * self.training_noise.data_std)
        return self.lift(deviation * noise, self.t_first, seed)
