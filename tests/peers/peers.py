"""The schedulers of the package diffusers as peers: their steps in float64, on a grid and a network of the caller's.

Every update is computed by the peer's own code. Its tables (``sigmas``, ``timesteps``, ``alphas_cumprod``, ...) are
overwritten with float64 values of the wanted grid. The casts to float32 that five of the ``step`` methods hold
(DPMSolverMultistep, EulerDiscrete, EDMEuler, FlowMatchEulerDiscrete, FlowMatchHeunDiscrete) are met by giving the
peer's module, while it steps, a ``torch`` whose ``float32`` is ``float64``; nothing is rounded to 24 bits then, unless
the caller asks for the casts to stay.

The grid is a decreasing sequence of ratios sigma/alpha, all positive. A run starts at the first and ends at the last:
no step to ratio zero, no lower order at the end. States are variance preserving: x = alpha x0 + sigma noise with
alpha**2 + sigma**2 = 1; peers that walk x/alpha or x/(alpha + sigma) are converted at both ends.

>>> import torch
>>> schedule = LinearVP()
>>> mixture = Mixture.example()
>>> ratios = schedule.uniform_ratios(8, start=1.0, end=1e-3)
>>> x = run_peer("DDIM", mixture.eps, torch.ones(2, 3, dtype=torch.float64), ratios)
>>> x.dtype, tuple(x.shape)
(torch.float64, (2, 3))
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import diffusers
import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
Ratios = Sequence[float] | Tensor


# --- the problem -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearVP:
    """Variance preserving process with beta(t) = low + (high - low) t: alpha = exp(-b/2), b the integral of beta."""

    low: float = 0.1
    high: float = 20.0

    def integral(self, t: Tensor) -> Tensor:
        """b(t), the integral of beta from 0 to t."""
        return self.low * t + (self.high - self.low) / 2 * t**2

    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the data at time t."""
        return torch.exp(-self.integral(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise at time t, without cancellation at small t."""
        return torch.sqrt(-torch.expm1(-self.integral(t)))

    def ratio(self, t: Tensor) -> Tensor:
        """sigma/alpha at time t."""
        return torch.sqrt(torch.expm1(self.integral(t)))

    def time(self, ratio: Tensor) -> Tensor:
        """The time at which sigma/alpha is ``ratio``."""
        b = torch.log1p(ratio**2)
        return 2 * b / (self.low + torch.sqrt(self.low**2 + 2 * (self.high - self.low) * b))

    def uniform_ratios(self, steps: int, start: float = 1.0, end: float = 1e-3) -> Tensor:
        """Ratios of ``steps + 1`` points from time ``start`` to time ``end``, uniform in log(alpha/sigma)."""
        ends = self.ratio(torch.tensor([start, end], dtype=torch.float64)).log()
        return torch.linspace(float(ends[0]), float(ends[1]), steps + 1, dtype=torch.float64).exp()


@dataclass(frozen=True)
class Mixture:
    """Isotropic Gaussian mixture as data: its noise prediction eps = -sigma grad log p_t in closed form, float64."""

    weights: Tensor
    means: Tensor
    deviations: Tensor
    schedule: LinearVP = field(default_factory=LinearVP)

    @classmethod
    def example(cls) -> Mixture:
        """Three components in three dimensions, smooth enough for slopes to be read off few steps."""
        return cls(
            weights=torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
            means=torch.tensor([[1.0, -0.5, 0.3], [-0.8, 0.7, 0.2], [0.1, 0.4, -1.1]], dtype=torch.float64),
            deviations=torch.tensor([0.5, 0.7, 0.6], dtype=torch.float64),
        )

    def eps(self, x: Tensor, t: Tensor) -> Tensor:
        """Noise prediction at states x of shape (n, d) and times t of shape (n,) or ()."""
        t = torch.as_tensor(t, dtype=torch.float64).expand(len(x))
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        variance = alpha**2 * self.deviations**2 + sigma**2
        away = x[:, None, :] - alpha[:, :, None] * self.means
        log_density = -0.5 * (away**2).sum(-1) / variance - 0.5 * x.shape[1] * variance.log()
        share = torch.softmax(self.weights.log() + log_density, dim=1)
        return sigma * (share[:, :, None] * away / variance[:, :, None]).sum(1)


# --- float64 in the peer's code --------------------------------------------------------------------------------------


class _WideTorch:
    """torch, but for ``float32``, which is float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextlib.contextmanager
def float64_code(scheduler: Any, noise: Iterator[Tensor], casts: bool = False) -> Iterator[None]:
    """While open, the scheduler's module draws its normal numbers from ``noise``, and casts to float64 for float32.

    With ``casts`` it casts as it is written.
    """
    module = sys.modules[type(scheduler).__module__]
    kept = {name: getattr(module, name) for name in ("torch", "randn_tensor") if hasattr(module, name)}
    module.torch = torch if casts else _WideTorch()  # type: ignore[attr-defined]
    if "randn_tensor" in kept:
        module.randn_tensor = lambda *args, **kwargs: next(noise)  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # DEIS calls numpy on tensors
            yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


# --- the peers -------------------------------------------------------------------------------------------------------

Coordinates = Literal["x", "x/alpha", "x/(alpha+sigma)"]
Place = Callable[[Any, Tensor], Tensor]


def alpha_sigma(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of the variance preserving process at a ratio sigma/alpha."""
    root = torch.sqrt(1 + ratio**2)
    return 1 / root, ratio / root


@dataclass(frozen=True)
class Peer:
    """One scheduler in one setting.

    - ``scheduler``: class name in diffusers; ``config``: its constructor arguments.
    - ``place(scheduler, ratios)``: writes the grid into the scheduler; returns the ratios of the network evaluations.
    - ``coordinates``: what the scheduler walks; ``output``: what it wants to be told.
    - ``multiple``: the number of grid intervals must be a multiple of it; ``stages``: calls of ``step`` an interval.
    - ``history``: how many past states a full-order step uses; ``noisy``: the step draws a normal number.
    """

    scheduler: str
    place: Place
    config: Mapping[str, Any] = field(default_factory=dict)
    coordinates: Coordinates = "x"
    output: Literal["eps", "v", "flow"] = "eps"
    options: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 1
    stages: int = 1
    history: int = 0
    noisy: bool = False

    def build(self, steps: int) -> Any:
        """The scheduler for ``steps`` grid intervals, before its grid is overwritten."""
        config = dict(self.config)
        if self.scheduler == "DDIMScheduler":
            config["num_train_timesteps"] = steps
        else:
            config.setdefault("num_train_timesteps", max(1000, 2 * steps))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # dpmsolver and sde-dpmsolver are deprecated, and still run
            warnings.simplefilter("ignore", DeprecationWarning)  # they call numpy on tensors
            scheduler = getattr(diffusers, self.scheduler)(**config)
            scheduler.set_timesteps(steps)
        return scheduler


def _place_sigmas(scheduler: Any, ratios: Tensor) -> Tensor:
    """``sigmas`` are the ratios; as many timesteps as intervals."""
    alpha, sigma = alpha_sigma(ratios)
    scheduler.sigmas = ratios.clone()
    scheduler.timesteps = torch.arange(len(ratios) - 1, 0, -1, dtype=torch.float64)
    for name, value in {"alpha_t": alpha, "sigma_t": sigma, "lambda_t": -ratios.log()}.items():
        if hasattr(scheduler, name):
            setattr(scheduler, name, value)
    if hasattr(scheduler, "get_order_list"):
        scheduler.order_list = scheduler.get_order_list(len(ratios) - 1)
    scheduler.set_begin_index(0)
    return ratios[:-1]


def _place_alphas(scheduler: Any, ratios: Tensor) -> Tensor:
    """``alphas_cumprod`` by integer timestep, which counts the grid points from the end: n, n - 1, ..., 0."""
    scheduler.alphas_cumprod = (1 / (1 + ratios**2)).flip(0)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.timesteps = torch.arange(len(ratios) - 1, 0, -1)
    return ratios[:-1]


def _place_pairs(scheduler: Any, ratios: Tensor) -> Tensor:
    """Two calls an interval, both named by the interval's ends (Heun)."""
    scheduler.sigmas = torch.cat([ratios[:1], ratios[1:].repeat_interleave(2)])
    scheduler.timesteps = torch.arange(2 * len(ratios) - 2, 0, -1, dtype=torch.float64)
    scheduler.set_begin_index(0)
    return scheduler.sigmas[:-1]


def _place_middles(scheduler: Any, ratios: Tensor) -> Tensor:
    """As for Heun, with the second evaluation at the geometric mean of the interval's ratios (KDPM2)."""
    _place_pairs(scheduler, ratios)
    middles = torch.sqrt(ratios[1:] * ratios[:-1])
    scheduler.sigmas_interpol = torch.cat([ratios[:1], middles.repeat_interleave(2)])
    return torch.stack([ratios[:-1], middles], dim=1).flatten()


def _place_flow(scheduler: Any, ratios: Tensor) -> Tensor:
    """Straight paths: sigma of (1 - sigma) x0 + sigma noise is ratio/(1 + ratio)."""
    scheduler.sigmas = ratios / (1 + ratios)
    scheduler.timesteps = torch.arange(len(ratios) - 1, 0, -1, dtype=torch.float64)
    scheduler.set_begin_index(0)
    return ratios[:-1]


def _place_flow_pairs(scheduler: Any, ratios: Tensor) -> Tensor:
    """Two calls an interval (Heun) on straight paths."""
    evaluations = _place_pairs(scheduler, ratios)
    scheduler.sigmas = scheduler.sigmas / (1 + scheduler.sigmas)
    return evaluations


_PLAIN_END = {"lower_order_final": False, "final_sigmas_type": "sigma_min"}


def _multistep(algorithm: str, order: int, solver: str = "midpoint", noisy: bool = False) -> Peer:
    config = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver, **_PLAIN_END}
    return Peer("DPMSolverMultistepScheduler", _place_sigmas, config, history=order - 1, noisy=noisy)


def _singlestep(algorithm: str, order: int, solver: str = "midpoint", noisy: bool = False) -> Peer:
    config = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver, **_PLAIN_END}
    return Peer("DPMSolverSinglestepScheduler", _place_sigmas, config, multiple=order, noisy=noisy)


def _unipc(order: int, solver: str, predict_x0: bool = True) -> Peer:
    config = {"solver_order": order, "solver_type": solver, "predict_x0": predict_x0, **_PLAIN_END}
    return Peer("UniPCMultistepScheduler", _place_sigmas, config, history=order - 1)


def _deis(order: int) -> Peer:
    config = {"solver_order": order, "lower_order_final": False}
    return Peer("DEISMultistepScheduler", _place_sigmas, config, history=order - 1)


def _ddim(eta: float = 0.0) -> Peer:
    options = {"eta": eta}
    return Peer("DDIMScheduler", _place_alphas, {"clip_sample": False}, options=options, noisy=eta > 0)


def _edm_multistep(algorithm: str, order: int, solver: str = "midpoint", noisy: bool = False) -> Peer:
    config = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver, **_PLAIN_END, **_EDM}
    name = "EDMDPMSolverMultistepScheduler"
    return Peer(name, _place_sigmas, config, "x/alpha", "v", history=order - 1, noisy=noisy)


def _lms(order: int) -> Peer:
    return Peer("LMSDiscreteScheduler", _place_sigmas, {}, "x/alpha", options={"order": order}, history=order - 1)


_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def _flow(peer: Peer) -> Peer:
    """The same on straight paths."""
    config = {**peer.config, **_FLOW}
    return replace(peer, place=_place_flow, config=config, coordinates="x/(alpha+sigma)", output="flow")


# Data of unit deviation: the EDM scalings are then those of the variance preserving v-prediction.
_EDM = {"sigma_data": 1.0, "prediction_type": "v_prediction"}
_scaled = partial(Peer, coordinates="x/alpha")

PEERS: dict[str, Peer] = {
    "DDIM": _ddim(),
    "DDIM-eta=0.5": _ddim(0.5),
    "DDIM-eta=1": _ddim(1.0),
    "DPM-Solver-1": _multistep("dpmsolver", 1),
    "DPM-Solver-2M(middle)": _multistep("dpmsolver", 2),
    "DPM-Solver-2M(integral)": _multistep("dpmsolver", 2, "heun"),
    "DPM-Solver-3M": _multistep("dpmsolver", 3),
    "DPM-Solver-3M(integral)": _multistep("dpmsolver", 3, "heun"),
    "DPM-Solver++1": _multistep("dpmsolver++", 1),
    "DPM-Solver++2M": _multistep("dpmsolver++", 2),
    "DPM-Solver++2M(integral)": _multistep("dpmsolver++", 2, "heun"),
    "DPM-Solver++3M": _multistep("dpmsolver++", 3),
    "DPM-Solver++3M(integral)": _multistep("dpmsolver++", 3, "heun"),
    "SDE-DPM-1": _multistep("sde-dpmsolver", 1, noisy=True),
    "SDE-DPM-2M": _multistep("sde-dpmsolver", 2, noisy=True),
    "SDE-DPM-2M(integral)": _multistep("sde-dpmsolver", 2, "heun", noisy=True),
    "SDE-DPM++1": _multistep("sde-dpmsolver++", 1, noisy=True),
    "SDE-DPM++2M": _multistep("sde-dpmsolver++", 2, noisy=True),
    "SDE-DPM++2M(integral)": _multistep("sde-dpmsolver++", 2, "heun", noisy=True),
    "SDE-DPM++3M": _multistep("sde-dpmsolver++", 3, noisy=True),
    "SDE-DPM++3M(integral)": _multistep("sde-dpmsolver++", 3, "heun", noisy=True),
    "DPM-Solver-2S": _singlestep("dpmsolver", 2),
    "DPM-Solver-2S(integral)": _singlestep("dpmsolver", 2, "heun"),
    "DPM-Solver-3S": _singlestep("dpmsolver", 3),
    "DPM-Solver-3S(integral)": _singlestep("dpmsolver", 3, "heun"),
    "DPM-Solver++2S": _singlestep("dpmsolver++", 2),
    "DPM-Solver++2S(integral)": _singlestep("dpmsolver++", 2, "heun"),
    "DPM-Solver++3S": _singlestep("dpmsolver++", 3),
    "DPM-Solver++3S(integral)": _singlestep("dpmsolver++", 3, "heun"),
    "SDE-DPM++3S(integral)": _singlestep("sde-dpmsolver++", 3, "heun", noisy=True),
    "DEIS-1": _deis(1),
    "DEIS-2": _deis(2),
    "DEIS-3": _deis(3),
    "UniPC-1-bh1": _unipc(1, "bh1"),
    "UniPC-1-bh2": _unipc(1, "bh2"),
    "UniPC-2-bh1": _unipc(2, "bh1"),
    "UniPC-2-bh2": _unipc(2, "bh2"),
    "UniPC-3-bh1": _unipc(3, "bh1"),
    "UniPC-3-bh2": _unipc(3, "bh2"),
    "UniPC-2-bh1(eps)": _unipc(2, "bh1", predict_x0=False),
    "UniPC-2-bh2(eps)": _unipc(2, "bh2", predict_x0=False),
    "UniPC-3-bh1(eps)": _unipc(3, "bh1", predict_x0=False),
    "UniPC-3-bh2(eps)": _unipc(3, "bh2", predict_x0=False),
    "Euler": _scaled("EulerDiscreteScheduler", _place_sigmas),
    "Heun": _scaled("HeunDiscreteScheduler", _place_pairs, stages=2),
    "KDPM2": _scaled("KDPM2DiscreteScheduler", _place_middles, stages=2),
    "EDM-Euler": _scaled("EDMEulerScheduler", _place_sigmas, _EDM, output="v"),
    "EDM-DPM++2M": _edm_multistep("dpmsolver++", 2),
    "EDM-DPM++2M(integral)": _edm_multistep("dpmsolver++", 2, "heun"),
    "EDM-DPM++3M": _edm_multistep("dpmsolver++", 3),
    "EDM-DPM++3M(integral)": _edm_multistep("dpmsolver++", 3, "heun"),
    "EDM-SDE-DPM++2M": _edm_multistep("sde-dpmsolver++", 2, noisy=True),
    "FlowMatch-Euler": Peer("FlowMatchEulerDiscreteScheduler", _place_flow, {}, "x/(alpha+sigma)", "flow"),
    "FlowMatch-Heun": Peer(
        "FlowMatchHeunDiscreteScheduler", _place_flow_pairs, {}, "x/(alpha+sigma)", "flow", stages=2
    ),
    "Flow-DPM++2M": _flow(_multistep("dpmsolver++", 2)),
    "Flow-UniPC-2-bh2": _flow(_unipc(2, "bh2")),
    "LMS-2": _lms(2),
    "LMS-3": _lms(3),
    "LMS-4": _lms(4),
}


# --- running them ----------------------------------------------------------------------------------------------------


def scale(coordinates: Coordinates, ratio: Tensor) -> Tensor:
    """A state in these coordinates is x divided by this."""
    alpha, sigma = alpha_sigma(ratio)
    return {"x": torch.ones_like(alpha), "x/alpha": alpha, "x/(alpha+sigma)": alpha + sigma}[coordinates]


def told(output: str, x: Tensor, eps: Tensor, ratio: Tensor) -> Tensor:
    """What is told in place of eps: itself, v = alpha eps - sigma x0, or the straight path's eps - x0."""
    if output == "eps":
        return eps
    alpha, sigma = alpha_sigma(ratio)
    x0 = (x - sigma * eps) / alpha
    return alpha * eps - sigma * x0 if output == "v" else eps - x0


@torch.no_grad()
def run_peer(
    scheduler: str | Peer,
    network: Network,
    z: Tensor,
    ratios: Ratios,
    *,
    time: Callable[[Tensor], Tensor] = LinearVP().time,
    noise: Tensor | None = None,
    past: Sequence[Tensor] = (),
    casts: bool = False,
) -> Tensor:
    """The peer's state at the last ratio, computed by its own code in float64.

    - ``scheduler``: a name of ``PEERS``, or a peer.
    - ``network(x, t)``: eps at x of shape (n, d), t of shape (n,); ``time`` gives the t of a ratio.
    - ``z``: the state at ``ratios[len(past)]``, float64 of shape (n, d).
    - ``ratios``: the grid, decreasing and positive, of sigma/alpha.
    - ``noise``: one normal number per call of a noisy step, shape (calls, n, d); zero where not given.
    - ``past``: states at ``ratios[0], ratios[1], ...`` before the start: the peer evaluates the network there, its own
      results are thrown away, and it goes on from z with its history filled.
    - ``casts``: leave the casts to float32 that the peer's code holds.
    """
    peer = PEERS[scheduler] if isinstance(scheduler, str) else scheduler
    grid = torch.as_tensor(ratios, dtype=torch.float64)
    steps = len(grid) - 1
    if steps < 1 or not bool((grid[1:] < grid[:-1]).all()) or not bool(grid[-1] > 0):
        raise ValueError("ratios must decrease, stay positive and have at least two entries")
    if steps % peer.multiple:
        raise ValueError(f"{steps} intervals are not a multiple of {peer.multiple}")
    if z.dtype != torch.float64:
        raise ValueError(f"the state must be float64, not {z.dtype}")
    if past and (peer.stages, peer.multiple) != (1, 1):
        raise ValueError("only multistep peers take past states")
    if len(past) >= steps:
        raise ValueError("no interval is left after the past states")
    if noise is not None and not peer.noisy:
        raise ValueError("this peer draws no noise")

    machine = peer.build(steps)
    evaluations = peer.place(machine, grid)
    states = [*past, z]
    x = z / scale(peer.coordinates, grid[len(past)])
    silence = iter(lambda: torch.zeros_like(z), None)
    draws = iter(noise) if noise is not None else silence
    for call, ratio in enumerate(evaluations):
        if call < len(states):
            x = states[call] / scale(peer.coordinates, grid[call])
        if call == len(past) and past and hasattr(machine, "last_sample"):
            machine.last_sample = None  # UniPC corrects no exact state
        with float64_code(machine, draws if call >= len(past) else silence, casts):
            if peer.coordinates == "x/alpha":
                entry = machine.scale_model_input(x, machine.timesteps[call])
            else:
                entry = x * scale(peer.coordinates, ratio)
        eps = network(entry, time(ratio).expand(len(z)))
        step = int(machine.timesteps[call]) if peer.place is _place_alphas else machine.timesteps[call]
        with float64_code(machine, draws if call >= len(past) else silence, casts):
            x = machine.step(told(peer.output, entry, eps, ratio), step, x, **peer.options).prev_sample
        if x.dtype != torch.float64:
            raise TypeError(f"{peer.scheduler} left float64 for {x.dtype}")
    return x * scale(peer.coordinates, grid[-1])
