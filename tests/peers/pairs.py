"""Which of our specs is which of the peers, and what it takes to run both on one grid, one score and one start.

A ``Pair`` says that a spec and a peer are one method; a ``Misprint`` that they should be and are not. Compared are
states, in float64, on the score of a Gaussian mixture. Where a step of ours covers several intervals of the peer's
grid, the inner points lie at the shares of the step, in log-SNR, at which ours has its stages.

>>> difference(Pair("vp/DDIM", "DDIM"))[0] < 1e-12
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import diffusers
import numpy as np
import torch
from torch import Tensor

from integrator_analysis.catalogue import Scheme
from integrator_analysis.catalogue.tableaux import HALF, THIRD, TWO_THIRDS, adams
from integrator_analysis.integrator import Integrator
from integrator_analysis.language.spec import Spec, parse
from integrator_analysis.methods.base_methods import Interpolatory, Stage
from integrator_analysis.methods.conjugation.ancestral import Ancestral
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.method import Method
from integrator_analysis.processes import process
from tests.peers.first_principles import PRINTED, Array, Flow, run_method
from tests.peers.first_principles import Method as FirstPrinciples
from tests.peers.peers import PEERS, Coordinates, LinearVP, Mixture, run_peer, scale, told
from torch_backend import Sampler, load
from torch_backend.sampler import available
from torch_backend.walk.table import tabulate

VP = LinearVP()
MIXTURE = Mixture.example()
BETAS = np.linspace(1e-4, 0.02, 1000)
"""DDPM's table, as the process ddpm has it."""
DDPM_ALPHAS = torch.from_numpy(np.cumprod(1 - BETAS))
DDPM_RATIOS = torch.sqrt((1 - DDPM_ALPHAS) / DDPM_ALPHAS)


# --- our side --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """How a process writes the problem: its time at a ratio sigma/alpha and back, and its states.

    ``velocity``: its networks return the velocity, not eps. ``start`` and ``end`` are the ratios that grids go between.
    """

    time: Callable[[Tensor], Tensor]
    ratio: Callable[[Tensor], Tensor]
    coordinates: Coordinates
    start: float
    end: float
    velocity: bool = False

    def scale(self, ratio: Tensor) -> Tensor:
        """The process's state is the variance preserving one divided by this."""
        return scale(self.coordinates, ratio)

    def network(self, z: Tensor, t: Tensor) -> Tensor:
        """What a perfect network of the process returns for the mixture."""
        ratio = self.ratio(t)[:, None]
        x = z * self.scale(ratio)
        eps = MIXTURE.eps(x, VP.time(ratio[:, 0]))
        return told("flow", x, eps, ratio) if self.velocity else eps


def _table_time(ratio: Tensor) -> Tensor:
    return (torch.searchsorted(DDPM_RATIOS, ratio - 1e-9) + 1).to(torch.float64)


_GROWTH = math.log(50.0 / 0.01)
_TOP, _BOTTOM = (float(VP.ratio(torch.tensor(t, dtype=torch.float64))) for t in (0.98, 0.001))

FRAMES = {
    "vp": Frame(VP.time, VP.ratio, "x", _TOP, _BOTTOM),
    "ddpm": Frame(_table_time, lambda t: DDPM_RATIOS[t.long() - 1], "x", float(DDPM_RATIOS[-1]), float(DDPM_RATIOS[0])),
    "edm": Frame(lambda r: r, lambda t: t, "x/alpha", 80.0, 0.01),
    "ve": Frame(lambda r: (100 * r).log() / _GROWTH, lambda t: 0.01 * (_GROWTH * t).exp(), "x/alpha", 49.0, 0.011),
    "flow": Frame(lambda r: r / (1 + r), lambda t: t / (1 - t), "x/(alpha+sigma)", 80.0, 0.01, velocity=True),
}


def _stages(*stages: Stage, mend: tuple[int, ...] = (), x0: bool = False) -> Conjugate:
    return Conjugate(base=Interpolatory(stages, "log-SNR", mend), parametrisation="x0" if x0 else "eps")


def _three(second: str, last: tuple[int, ...], inner: Fraction = TWO_THIRDS, x0: bool = False) -> Conjugate:
    return _stages(Stage(THIRD), Stage(inner, (0, 1), second), Stage(through=last), x0=x0)


BUILT: dict[str, Method] = {
    "3S-middle": _three("middle", (0, 2)),
    "3S-quadratic": _three("integral", (0, 1, 2)),
    "3S++middle": _three("middle", (0, 2), x0=True),
    "3S++quadratic": _three("integral", (0, 1, 2), x0=True),
    "3S-middle-at-half": _three("middle", (0, 2), HALF),
    "UniPC-1": _stages(Stage(rule="middle"), mend=(0, -1), x0=True),
    "UniPC-1-bh1": _stages(Stage(rule="end"), mend=(0, -1), x0=True),
    "UniPC-3-bh1": Conjugate(base=adams(3, "log-SNR", "end", (0, -1, -2, -3)), parametrisation="x0"),
    "UniPC-eps-2-bh1": Conjugate(base=adams(2, "log-SNR", "end", (0, -1, -2))),
    "UniPC-eps-3": Conjugate(base=adams(3, "log-SNR", "middle", (0, -1, -2, -3))),
    "rhoAB1": Conjugate(base=adams(2, "rho")),
    "rhoAB3": Conjugate(base=adams(4, "rho")),
    "SDE++2M-integral": Conjugate(base=adams(2, "log-SNR"), parametrisation="x0", noise=1.0),
    "SDE++3M": Conjugate(base=adams(3, "log-SNR"), parametrisation="x0", noise=1.0),
    "DDIM-eta-half": Ancestral(0.5),
}
"""Methods that are built from the library here, since no spec names them."""


@cache
def ours(spec: str) -> Sampler:
    """The float64 sampler of a spec, of a generated scheme, or of ``process/name`` with a name in ``BUILT``."""
    if spec in available():
        return load(spec, dtype=torch.float64)
    return derived(spec).to_torch(dtype=torch.float64)


@cache
def derived(spec: str) -> Integrator:
    """The integrator of a spec, or of ``process/name`` with a name in ``BUILT``."""
    on, _, name = spec.partition("/")
    if name in BUILT:
        scheme = Scheme(name, BUILT[name], (on,), describe(spec), "built in tests/peers/pairs.py")
        return Integrator(Spec(spec, process(on), scheme))
    return Integrator(parse(spec))


def describe(spec: str) -> str:
    """A method of ``BUILT`` in words; empty for a spec that can be typed."""
    method = BUILT.get(spec.partition("/")[2])
    if method is None:
        return ""
    if isinstance(method, Ancestral):
        return f"Ancestral({method.eta})"
    assert isinstance(method, Conjugate)
    assert isinstance(method.base, Interpolatory)
    stages = ", ".join(
        f"at {stage.share} through {stage.through}" + (f" ({stage.rule})" if stage.rule != "integral" else "")
        for stage in method.base.stages
    )
    mend = f", mended through {method.base.mend}" if method.base.mend else ""
    noise = f", noise {method.noise:g}" if method.noise else ""
    return f"polynomials of {method.parametrisation} in {method.base.variable}: {stages}{mend}{noise}"


def walk(
    spec: str, z: Tensor, ratios: Tensor, noise: Tensor | None = None, lower_order_final: bool | None = False
) -> Tensor:
    """Our state at the last ratio, from z at the first; both variance preserving. ``noise`` is (steps, 1, n, d)."""
    sampler, frame = ours(spec), FRAMES[spec.partition("/")[0]]
    start = z / frame.scale(ratios[0])
    times = frame.time(ratios).tolist()
    if noise is None:
        end = sampler.sample(frame.network, start, times=times, lower_order_final=lower_order_final)
    else:
        end = drive(sampler, frame.network, start, times, noise=noise)
    return end * frame.scale(ratios[-1])


def drive(
    sampler: Sampler,
    network: Callable[[Tensor, Tensor], Tensor],
    z: Tensor,
    times: Sequence[float],
    past: Sequence[Tensor] = (),
    noise: Tensor | None = None,
) -> Tensor:
    """The generated step by hand, from z at ``times[len(past)]``: the steps from the ``past`` states are thrown away.

    They leave what a multistep method keeps. ``noise`` is (steps, 1, n, d), zero where not given.
    """
    module, states, x = sampler.module, [*past, z], z
    instants = torch.tensor(times, dtype=torch.float64).unbind()
    kept = [torch.zeros_like(z)] * module.HISTORY
    silence = torch.zeros((max(1, module.NOISES), *z.shape), dtype=z.dtype)
    with torch.no_grad():
        for i, row in enumerate(tabulate(module.coefficients, times, module.HISTORY).unbind()):
            x = states[i] if i < len(states) else x
            draw = silence if noise is None else noise[i]
            step = (x, instants[i], instants[i + 1], row, lambda x, t: network(x, t.expand(len(x))), draw)
            if module.HISTORY:
                x, output = module.step(*step, kept)
                kept = [output, *kept[:-1]]
            else:
                x = module.step(*step)
    return x


# --- both sides ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A spec of ours and a peer that are one method.

    ``intervals`` of the peer's grid are one step of ours, with inner points at ``shares`` of it (equal if not given).
    """

    spec: str
    peer: str
    intervals: int = 1
    shares: tuple[float, ...] = ()

    @property
    def frame(self) -> Frame:
        """Of the spec's process."""
        return FRAMES[self.spec.partition("/")[0]]

    @property
    def strength(self) -> float:
        """1 + kappa**2 of the diffusion that the pair solves, 1 for the flow; as in ``Flow``."""
        return {"DDIM-eta=0.5": 1.25}.get(self.peer, 2.0 if PEERS[self.peer].noisy else 1.0)

    @property
    def runs(self) -> list[Run]:
        """The grids and exact states that slopes are measured on."""
        shares = self.shares or tuple(k / self.intervals for k in range(1, self.intervals))
        history = max(PEERS[self.peer].history, ours(self.spec).module.HISTORY)
        return runs(self.strength, history, shares)

    def __str__(self) -> str:
        return f"{self.spec} = {self.peer}"


PAIRS = (
    *(
        Pair("vp/DDIM", name)
        for name in ("DDIM", "DPM-Solver-1", "DPM-Solver++1", "DEIS-1", "Euler", "EDM-Euler", "FlowMatch-Euler")
    ),
    Pair("vp/DPM-Solver-2", "DPM-Solver-2S", 2),
    Pair("vp/DPM-Solver-2", "KDPM2"),
    Pair("vp/ERK2", "DPM-Solver-2S(integral)", 2),
    Pair("vp/3S-middle", "DPM-Solver-3S", 3),
    Pair("vp/3S-quadratic", "DPM-Solver-3S(integral)", 3),
    Pair("vp/DPM-Solver++2S", "DPM-Solver++2S", 2),
    Pair("vp/conjugate(base=ERK2, predict=x0)", "DPM-Solver++2S(integral)", 2),
    Pair("vp/3S++middle", "DPM-Solver++3S", 3),
    Pair("vp/3S++quadratic", "DPM-Solver++3S(integral)", 3),
    Pair("vp/conjugate(base=AB2-middle)", "DPM-Solver-2M(middle)"),
    Pair("vp/conjugate(base=AB2, variable=log-SNR)", "DPM-Solver-2M(integral)"),
    Pair("vp/DPM-Solver++2M", "DPM-Solver++2M"),
    Pair("vp/DPM-Solver++2M", "EDM-DPM++2M"),
    Pair("vp/conjugate(base=AB2, variable=log-SNR, predict=x0)", "DPM-Solver++2M(integral)"),
    Pair("vp/conjugate(base=AB2, variable=log-SNR)", "DEIS-2"),
    Pair("vp/conjugate(base=AB3, variable=log-SNR)", "DEIS-3"),
    Pair("vp/rhoAB1", "LMS-2"),
    Pair("vp/DEIS-rhoAB2", "LMS-3"),
    Pair("vp/rhoAB3", "LMS-4"),
    Pair("vp/UniPC-1", "UniPC-1-bh2"),
    Pair("vp/UniPC-1-bh1", "UniPC-1-bh1"),
    Pair("vp/UniPC-2", "UniPC-2-bh2"),
    Pair("vp/UniPC-2-bh1", "UniPC-2-bh1"),
    Pair("vp/UniPC-3", "UniPC-3-bh2"),
    Pair("vp/UniPC-3-bh1", "UniPC-3-bh1"),
    Pair("vp/UniPC-eps-2", "UniPC-2-bh2(eps)"),
    Pair("vp/UniPC-eps-2-bh1", "UniPC-2-bh1(eps)"),
    Pair("vp/UniPC-eps-3", "UniPC-3-bh2(eps)"),
    Pair("vp/EDM-Heun", "Heun"),
    Pair("ddpm/DDIM", "DDIM"),
    Pair("ddpm/DPM-Solver++2M", "DPM-Solver++2M"),
    Pair("edm/DDIM", "EDM-Euler"),
    Pair("edm/Euler", "EDM-Euler"),
    Pair("edm/EDM-Heun", "Heun"),
    Pair("edm/Heun", "Heun"),
    Pair("edm/DPM-Solver-2", "KDPM2"),
    Pair("edm/DPM-Solver++2M", "EDM-DPM++2M"),
    Pair("edm/conjugate(base=AB2, variable=log-SNR, predict=x0)", "EDM-DPM++2M(integral)"),
    Pair("edm/DEIS-rhoAB2", "LMS-3"),
    Pair("ve/DDIM", "Euler"),
    Pair("ve/EDM-Heun", "Heun"),
    Pair("ve/DPM-Solver++2M", "EDM-DPM++2M"),
    Pair("flow/DDIM", "FlowMatch-Euler"),
    Pair("flow/Euler", "FlowMatch-Euler"),
    Pair("flow/Heun", "FlowMatch-Heun"),
    Pair("flow/DPM-Solver++2M", "Flow-DPM++2M"),
    Pair("flow/UniPC-2", "Flow-UniPC-2-bh2"),
    Pair("vp/DDIM-eta", "DDIM-eta=1"),
    Pair("vp/DDIM-eta", "SDE-DPM++1"),
    Pair("vp/DDIM-eta-half", "DDIM-eta=0.5"),
    Pair("vp/SDE-DPM-Solver++2M", "SDE-DPM++2M"),
    Pair("vp/SDE++2M-integral", "SDE-DPM++2M(integral)"),
    Pair("edm/SDE-DPM-Solver++2M", "EDM-SDE-DPM++2M"),
    Pair("vp/3S-middle-at-half", "DPM-Solver-3S", 3, (1 / 3, 1 / 2)),
)


def start_state() -> Tensor:
    """Four states of unit size."""
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def refine(outer: Tensor, intervals: int, shares: Sequence[float] = ()) -> Tensor:
    """Every interval of a grid cut, in log-SNR, at ``shares``, or into equal parts."""
    cuts = shares or [k / intervals for k in range(1, intervals)]
    logs = outer.log()
    points = [logs[:-1], *(logs[:-1] + (logs[1:] - logs[:-1]) * cut for cut in cuts)]
    return torch.cat([torch.stack(points, dim=1).flatten(), logs[-1:]]).exp()


def jittered(frame: Frame, steps: int, seed: int = 0) -> Tensor:
    """Ratios between the frame's ends: uniform in log-SNR, then each inner point moved by up to a quarter step."""
    logs = torch.linspace(math.log(frame.start), math.log(frame.end), steps + 1, dtype=torch.float64)
    jitter = torch.rand(steps + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
    jitter[[0, -1]] = 0.0
    ratios = (logs + jitter / 2 * (logs[1] - logs[0])).exp()
    return frame.ratio(frame.time(ratios)) if frame is FRAMES["ddpm"] else ratios


def difference(pair: Pair, steps: int = 24, casts: bool = False) -> tuple[float, Tensor, Tensor]:
    """The largest difference of the two states at the end, over their largest entry; and the states.

    Both have their own start-up. Where a step draws noise, both are given the same normal numbers.
    """
    outer = jittered(pair.frame, steps // pair.intervals)
    grid = refine(outer, pair.intervals, pair.shares)
    z = start_state()
    draws = None
    if PEERS[pair.peer].noisy:
        draws = torch.randn(len(outer) - 1, 1, *z.shape, generator=torch.Generator().manual_seed(2), dtype=z.dtype)
    mine = walk(pair.spec, z, outer, draws)
    theirs = run_peer(pair.peer, MIXTURE.eps, z, grid, noise=None if draws is None else draws[:, 0], casts=casts)
    return relative(mine, theirs), mine, theirs


def shipped_ddim(alphas: Tensor | None, steps: int = 50) -> float:
    """How far ddpm/DDIM is from DDIM as it is shipped, with its own time steps, relative.

    ``alphas`` are put in place of its ``alphas_cumprod``; None leaves its float32 table.
    """
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False, set_alpha_to_one=False)
    if alphas is not None:
        scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = alphas, alphas[0]
    scheduler.set_timesteps(steps)
    z, x, network = start_state(), start_state(), FRAMES["ddpm"].network
    for step in scheduler.timesteps:
        x = scheduler.step(network(x, (step + 1).expand(len(x))), int(step), x).prev_sample
    times = [float(step) + 1 for step in scheduler.timesteps]
    return relative(ours("ddpm/DDIM").sample(network, z, times=times), x)


def relative(a: Tensor, b: Tensor) -> float:
    """The largest difference over the largest entry."""
    return float((a - b).abs().max() / b.abs().max())


# --- convergence -----------------------------------------------------------------------------------------------------

SPAN = (0.6, 0.1)
"""Times of the vp process between which errors are measured."""
STEPS = (40, 80, 160, 320)


def network_of_arrays(x: Array, t: float) -> Array:
    """The mixture's eps in numpy."""
    return np.asarray(MIXTURE.eps(torch.from_numpy(x), torch.tensor(t, dtype=torch.float64)))


def time_of_ratio(ratio: float) -> float:
    """The time of the vp process at a ratio."""
    return float(VP.time(torch.tensor(ratio, dtype=torch.float64)))


@dataclass(frozen=True)
class Run:
    """A grid, and the exact states at its first points: as many as a multistep method wants, and one more."""

    grid: Tensor
    states: list[Tensor]
    end: Tensor


@cache
def runs(strength: float, history: int, shares: tuple[float, ...] = (), steps: tuple[int, ...] = STEPS) -> list[Run]:
    """Grids uniform in log-SNR over ``SPAN``, each step cut at ``shares``; the exact flow by DOP853."""
    flow, z, made = Flow(network_of_arrays, time_of_ratio, strength), start_state().numpy(), []
    for n in steps:
        outer = VP.uniform_ratios(n, *SPAN)
        states = flow.states(z, outer[: history + 1].tolist())
        end = flow.states(z, [float(outer[0]), float(outer[-1])])[-1]
        grid = refine(outer, len(shares) + 1, shares)
        made.append(Run(grid, [torch.from_numpy(state) for state in states], torch.from_numpy(end)))
    return made


def slope(errors: Sequence[float], steps: Sequence[int] = STEPS) -> float:
    """The order by least squares of log error against log steps."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def our_errors(spec: str, cases: Sequence[Run], intervals: int = 1) -> list[float]:
    """Largest error at the end of every run, from exact past states; all normal numbers zero."""
    sampler, frame, errors = ours(spec), FRAMES[spec.partition("/")[0]], []
    for case in cases:
        outer = case.grid[::intervals]
        first = [state / frame.scale(ratio) for state, ratio in zip(case.states, outer, strict=False)]
        end = drive(sampler, frame.network, first[-1], frame.time(outer).tolist(), first[:-1])
        errors.append(float((end * frame.scale(outer[-1]) - case.end).abs().max()))
    return errors


def their_errors(peer: str, cases: Sequence[Run]) -> list[float]:
    """The same for a peer."""
    return [float((their_end(peer, case) - case.end).abs().max()) for case in cases]


def their_end(peer: str, case: Run) -> Tensor:
    """The peer's state at the end of a run."""
    return run_peer(peer, MIXTURE.eps, case.states[-1], case.grid, past=case.states[:-1])


def first_principles_end(method: str | FirstPrinciples, case: Run) -> Tensor:
    """The state of a method of first_principles.py at the end of a run."""
    past = [state.numpy() for state in case.states]
    end = run_method(method, network_of_arrays, past[-1], case.grid.tolist(), time=time_of_ratio, past=past[:-1])
    return torch.from_numpy(end)


@dataclass(frozen=True)
class Misprint:
    """A peer whose formula is not the one that its name promises.

    ``place`` is file:line in diffusers 0.42.1, ``line`` what stands there, ``due`` what would be right. ``spec`` is our
    member, empty where we have none. ``order`` is what the method has, ``theirs`` what the peer has; ``strength`` as in
    ``Flow``; ``stages`` grid intervals a step. Orders of stochastic methods are with all normal numbers zero.
    """

    peer: str
    spec: str
    order: int
    theirs: int
    place: str
    line: str
    due: str
    strength: float = 1.0
    stages: int = 1

    @property
    def runs(self) -> list[Run]:
        """The grids and exact states it is measured on."""
        shares = tuple(k / self.stages for k in range(1, self.stages))
        return runs(self.strength, PEERS[self.peer].history, shares)

    @property
    def printed(self) -> FirstPrinciples:
        """The first-principles method with the misprint in it."""
        return PRINTED[self.peer]


_X0_LINE = "- (alpha_t * ((torch.exp(-h) - 1.0 + h) / h**2 - 0.5)) * D2"
_X0_DUE = "- 2 * (alpha_t * ((torch.exp(-h) - 1.0 + h) / h**2 - 0.5)) * D2"

MISPRINTS = (
    Misprint(
        "DPM-Solver-3M(integral)",
        "vp/conjugate(base=AB3, variable=log-SNR)",
        3,
        2,
        "scheduling_dpmsolver_multistep.py:1131",
        "- (sigma_t * ((torch.exp(h) - 1.0 - h) / h**2 - 0.5)) * D2",
        "- 2 * (sigma_t * ((torch.exp(h) - 1.0 - h) / h**2 - 0.5)) * D2",
    ),
    Misprint(
        "DPM-Solver++3M(integral)",
        "vp/DPM-Solver++3M",
        3,
        2,
        "scheduling_dpmsolver_multistep.py:1123",
        _X0_LINE,
        _X0_DUE,
    ),
    Misprint(
        "EDM-DPM++3M(integral)",
        "edm/DPM-Solver++3M",
        3,
        2,
        "scheduling_edm_dpmsolver_multistep.py:667",
        _X0_LINE,
        _X0_DUE,
    ),
    Misprint(
        "SDE-DPM++3M(integral)",
        "vp/SDE++3M",
        3,
        1,
        "scheduling_dpmsolver_multistep.py:1139",
        "+ (alpha_t * ((1.0 - torch.exp(-2.0 * h) - 2.0 * h) / (2.0 * h) ** 2 - 0.5)) * D2",
        "+ 2 * (alpha_t * ((1.0 - torch.exp(-2.0 * h) - 2.0 * h) / (2.0 * h) ** 2 + 0.5)) * D2",
        strength=2.0,
    ),
    Misprint(
        "SDE-DPM++3S(integral)",
        "",
        3,
        1,
        "scheduling_dpmsolver_singlestep.py:1063",
        "+ (alpha_t * ((1.0 - torch.exp(-2.0 * h) + (-2.0 * h)) / (-2.0 * h) ** 2 - 0.5)) * D2",
        "+ (alpha_t * ((1.0 - torch.exp(-2.0 * h) + (-2.0 * h)) / (-2.0 * h) ** 2 + 0.5)) * D2",
        strength=2.0,
        stages=3,
    ),
)

CITED = {place.place: place.line for place in MISPRINTS} | {
    "scheduling_dpmsolver_multistep.py:1116": "D2 = (1.0 / (r0 + r1)) * (D1_0 - D1_1)",
    "scheduling_dpmsolver_singlestep.py:1018": "D2 = 2.0 * (D1_1 - D1_0) / (r0 - r1)",
    "scheduling_dpmsolver_singlestep.py:1014": "r0, r1 = h_0 / h, h_1 / h",
    "scheduling_dpmsolver_multistep.py:1133": 'elif self.config.algorithm_type == "sde-dpmsolver++":',
    "scheduling_dpmsolver_multistep.py:1241": "or (self.config.lower_order_final and len(self.timesteps) < 15)",
    "scheduling_edm_dpmsolver_multistep.py:661": 'if self.config.algorithm_type == "dpmsolver++":',
    "scheduling_edm_dpmsolver_multistep.py:660": "D2 = (1.0 / (r0 + r1)) * (D1_0 - D1_1)",
    "scheduling_deis_multistep.py:767": "coef1 = ind_fn(rho_t, rho_s0, rho_s1) - ind_fn(rho_s0, rho_s0, rho_s1)",
    "scheduling_deis_multistep.py:765": "return t * (-np.log(c) + np.log(t) - 1) / (np.log(b) - np.log(c))",
    "scheduling_unipc_multistep.py:938": "rhos_p = torch.ones(1, dtype=x.dtype, device=device) * 0.5",
    "scheduling_unipc_multistep.py:1076": "rhos_c = torch.ones(1, dtype=x.dtype, device=device) * 0.5",
    "scheduling_heun_discrete.py:636": "derivative = (self.prev_derivative + derivative) / 2",
    "scheduling_k_dpm_2_discrete.py:327": "sigmas_interpol = sigmas.log().lerp(sigmas.roll(1).log(), 0.5).exp()",
    "scheduling_dpmsolver_multistep.py:1254": "sample = sample.to(torch.float32)",
    "scheduling_euler_discrete.py:751": "sample = sample.to(torch.float32)",
    "scheduling_edm_euler.py:492": "sample = sample.to(torch.float32)",
    "scheduling_flow_match_euler_discrete.py:493": "sample = sample.to(torch.float32)",
    "scheduling_flow_match_heun_discrete.py:289": "sample = sample.to(torch.float32)",
}
"""What stands where in diffusers 0.42.1, for every place that docs/peers.md names."""
