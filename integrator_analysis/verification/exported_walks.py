"""The walk claims of an exported file: the same states walked through the file's own loop.

Knows how the forms of export are called, and the table of betas that a scheduler of diffusers has by default. A file is
loaded as an import would; its text is this project's own.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq

from integrator_analysis.verification.bench import SEED, Bench
from integrator_analysis.verification.certificate import Claim
from integrator_analysis.verification.checks.walk_error import TOLERANCES
from integrator_analysis.verification.derived_walk import Walk, default_walk, lowers_final_orders, why_no_walk
from integrator_analysis.verification.walk_claims import EVALUATIONS, POINTS, Ends, Network, Start, claim_walks, laws_of

if TYPE_CHECKING:
    import torch

__all__ = ["FileWalks", "measure_file"]


@dataclass(frozen=True)
class FileWalks:
    """The claims about walks through a file; what is reported beside them, and what of it cannot be measured."""

    claims: tuple[Claim, ...]
    remarks: tuple[str, ...]


def measure_file(bench: Bench, form: str, text: str) -> FileWalks:
    """Walk through the exported ``text`` of a ``form``, and compare with the derived walks of the scheme.

    Claimed are file_gaussian_walk[n], file_mixture_walk[n] and file_walk_evaluations, as of the source.
    """
    reason = why_no_walk(bench.properties) or _why_not_measured(bench, form)
    if reason is not None:
        return FileWalks((), (f"Walks through this file were not measured: {reason}.",))
    from torch_backend.source import module_from_source

    file = module_from_source(text, f"exported_{bench.properties.name}")
    if form == "diffusers":
        return _measure_scheduler(bench, file)
    ends = _ends_of_module(file) if form == "module" else _ends_of_sigmas(file, bench)
    made = {most: walk for most in EVALUATIONS if (walk := default_walk(bench.properties, most))}
    return FileWalks(tuple(claim_walks(bench, made, ends, TOLERANCES, "file_")), ())


def _why_not_measured(bench: Bench, form: str) -> str | None:
    if form == "torch-export":
        return "a program makes single steps, and its caller the walk"
    if form == "diffusers":
        if importlib.util.find_spec("diffusers") is None:
            return "diffusers is not installed where it was made"
        if len(bench.program.blocks) > 1:
            return "its pipeline hands the network to the walk of the scheme, which the claims above are about"
        if bench.process.name != "vp":
            return "its grid is that of its config and of the pipeline"
    return None


@contextmanager
def _draws(file: ModuleType, name: str, noise: np.ndarray) -> Iterator[None]:
    """Inside, the file's function ``name`` returns the chosen ``noise`` (steps, draws, n), one entry a call."""
    import torch

    entries = iter(torch.from_numpy(noise))
    kept = getattr(file, name)
    setattr(file, name, lambda *_, **__: next(entries)[..., None])
    try:
        yield
    finally:
        setattr(file, name, kept)


def _called(network: Network) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A network in numpy as torch code calls it."""
    import torch

    return lambda z, t: torch.from_numpy(network(float(t.reshape(-1)[0]), z.numpy()))


def _ends_of_module(file: Any) -> Ends:
    """A module is called for a number of steps, with nothing else said."""
    import torch

    def ends(walk: Walk, network: Network, start: Start) -> np.ndarray:
        options = {"generator": torch.Generator()} if file.STOCHASTIC else {}
        with _draws(file, "normal", start.noise), warnings.catch_warnings():
            warnings.simplefilter("ignore", file.ImplausibleOutputWarning)  # these states are no draws of the prior
            reached = file.sample(_called(network), torch.from_numpy(start.z), steps=walk.steps, **options)
        return np.asarray(reached.numpy()[:, 0])

    return ends


def _ends_of_sigmas(file: Any, bench: Bench) -> Ends:
    """A function of k-diffusion is called with the sigmas of the default walk: the noise at its times, over alpha.

    It shows the network x = x_0 + sigma noise alone. A state on phase space with this x says the same of x_0; that it
    begins with is handed over as the noise which the file would have drawn for the other blocks.
    """
    import torch

    from torch_backend.export.kdiffusion import sampler_name

    sample = getattr(file, f"sample_{sampler_name(file.SPEC)}")
    kernel, k = laws_of(bench)[0].numbers.kernel, len(file.BLOCKS)

    def whitened(time: float) -> tuple[np.ndarray, np.ndarray]:
        psi, sigma = kernel(time)
        factor = np.linalg.cholesky(sigma)
        return factor, np.linalg.solve(factor, psi)

    def ends(walk: Walk, network: Network, start: Start) -> np.ndarray:
        at = {_level(whitened(time)[1]): time for time in walk.times if time > 0}
        levels = [*at, *[0.0] * walk.to_zero]

        def denoised(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            level = float(sigma.reshape(-1)[0])
            factor, u = whitened(_time_at(lambda time: _level(whitened(time)[1]), level, at, file.T_MAX))
            w, unit = x.numpy() / level, u * level
            eps = network(_time_at(lambda time: _level(whitened(time)[1]), level, at, file.T_MAX), w * (factor @ unit))
            return torch.from_numpy((w - (eps @ unit)[:, None]) * level)

        entries = iter(torch.from_numpy(start.noise.reshape(-1, len(start.z), 1)))
        options = {"noise_sampler": lambda *_: next(entries)} if file.STOCHASTIC else {}
        factor, u = whitened(walk.times[0])
        zeta = np.linalg.solve(factor, start.z.T)
        x = torch.from_numpy((u @ zeta)[:, None] * levels[0] ** 2)
        hidden = torch.from_numpy(zeta[..., None])
        with _hidden(file, hidden) if k > 1 else nullcontext():
            reached = sample(denoised, x, levels, disable=True, **options)
        return np.asarray(reached.numpy()[:, 0])

    return ends


def _level(u: np.ndarray) -> float:
    """sigma / alpha of what a state says of x_0."""
    return float(1 / np.linalg.norm(u))


def _time_at(level: Callable[[float], float], wanted: float, known: Mapping[float, float], t_max: float) -> float:
    """The time of a level of noise: one of the walk's own where it is one, else by root finding, to rounding."""
    nearest = min(known, key=lambda one: abs(one / wanted - 1))
    if abs(nearest / wanted - 1) < 1e-12:
        return known[nearest]
    return float(brentq(lambda time: math.log(level(time) / wanted), 1e-12, t_max, xtol=1e-300, rtol=1e-15))


@contextmanager
def _hidden(file: ModuleType, noise: torch.Tensor) -> Iterator[None]:
    """Inside, the file draws ``noise`` for the blocks that its caller does not see."""
    kept = file.hidden_noise
    file.hidden_noise = lambda *_: noise  # type: ignore[attr-defined]
    try:
        yield
    finally:
        file.hidden_noise = kept  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Table:
    """The table of betas of diffusers' default config; between two entries log(alpha) is linear."""

    bench: Bench
    log_bars: np.ndarray

    def time(self, timestep: float) -> float:
        """The time of vp at which alpha and sigma are those of a time step."""
        log_bar = float(np.interp(timestep, np.arange(len(self.log_bars)), self.log_bars))
        goal, kernel = (log_bar - math.log(-math.expm1(log_bar))) / 2, laws_of(self.bench)[0].numbers.kernel

        def miss(time: float) -> float:
            (alpha,), sigma = kernel(time)
            return math.log(alpha) - math.log(sigma[0, 0]) / 2 - goal

        return float(brentq(miss, 1e-9, 2 * self.bench.process.t_max, xtol=1e-300, rtol=1e-15))


def _table_of(bench: Bench, config: Mapping[str, Any]) -> _Table:
    betas = np.linspace(config["beta_start"], config["beta_end"], config["num_train_timesteps"])
    return _Table(bench, np.cumsum(np.log1p(-betas)))


def _measure_scheduler(bench: Bench, file: Any) -> FileWalks:
    """A scheduler on its default config and grid, in the loop of a pipeline; beside it its counterpart in diffusers."""
    from torch_backend.measuring.walk_checks import CLOSE

    kind, each = getattr(file, file.__all__[0]), bench.properties.nfe_per_step
    table, made, laid = _table_of(bench, kind().config), {}, {}
    for most in EVALUATIONS:
        if (most - 1) // each:
            scheduler = kind()
            scheduler.set_timesteps(1 + (most - 1) // each)
            made[most] = _walk_of(bench, table, scheduler)
            laid[made[most]] = scheduler
    claims = tuple(claim_walks(bench, made, _ends_of_scheduler(file, table, laid), TOLERANCES, "file_", CLOSE))
    return FileWalks(claims, () if bench.program.stochastic else (_beside(bench, table, made),))


def _walk_of(bench: Bench, table: _Table, scheduler: Any) -> Walk:
    """The walk that a scheduler makes on the grid that it has laid: to no noise, or to the first entry of the table."""
    program, timesteps = bench.properties.network_program, scheduler.timesteps.tolist()
    times = [table.time(k) for k in timesteps[:: bench.properties.nfe_per_step]]
    times.append(0.0 if scheduler.config.final_sigmas_type == "zero" else table.time(0.0))
    lowered = lowers_final_orders(program, len(times) - 1)
    return Walk(tuple(times), lowered, len(timesteps), f"{scheduler.config.timestep_spacing} time steps")


def _ends_of_scheduler(file: Any, table: _Table, laid: Mapping[Walk, Any]) -> Ends:
    """A scheduler is stepped over its time steps, as a pipeline does."""
    import torch

    from torch_backend.measuring.scheduler_walks import walk_scheduler

    def ends(walk: Walk, network: Network, start: Start) -> np.ndarray:
        def called(z: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(network(table.time(float(timestep)), z.numpy()))

        with _draws(file, "randn_tensor", start.noise.reshape(-1, len(start.z))):
            return np.asarray(walk_scheduler(laid[walk], called, torch.from_numpy(start.z)).numpy()[:, 0])

    return ends


def _beside(bench: Bench, table: _Table, made: Mapping[int, Walk]) -> str:
    """One sentence on the counterpart in diffusers: its RMSE on the mixture, for the same table and evaluations."""
    import diffusers

    from torch_backend.export.exported_text.counterparts import counterpart

    facts = bench.properties.network_program
    name, same = counterpart(bench.properties.spec, facts.history, bench.properties.nfe_per_step)
    steps = "makes the same steps" if same else "is the nearest"
    where = f"{name} of diffusers {diffusers.__version__}, which {steps}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # diffusers uses what numpy and torch have deprecated
            errors = [_error_of_counterpart(bench, table, name, walk.evaluations) for walk in made.values()]
    except Exception as error:  # whatever another's scheduler raises is no verdict on this file
        return f"Beside them {where}, was not measured: {type(error).__name__}."
    shown = ", ".join(f"[{most}] {error:.3g}" for most, error in zip(made, errors, strict=True))
    return f"Beside file_mixture_walk: {where}, has the RMSE {shown}."


def _error_of_counterpart(bench: Bench, table: _Table, name: str, evaluations: int) -> float:
    """The RMSE of a scheduler of diffusers on the mixture, from the law at its own first time step."""
    import diffusers
    import torch

    from torch_backend.measuring.scheduler_walks import walk_scheduler

    kind, program = getattr(diffusers, name), bench.properties.network_program
    known = inspect.signature(kind.__init__).parameters
    wanted = {
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "clip_sample": False,
        "lower_order_final": True,
        "solver_order": max(1, min(3, program.history + (not program.cycle))),  # diffusers has no higher one
        "solver_type": "bh1" if "bh1" in bench.properties.spec else None,
        "predict_x0": "eps" not in bench.properties.spec,
    }
    given = {key: value for key, value in wanted.items() if key in known and value is not None}
    scheduler = kind(**given)
    scheduler.set_timesteps((evaluations + scheduler.order - 1) // scheduler.order)
    law, first = laws_of(bench)[1], table.time(float(scheduler.timesteps[0]))
    z = law.sample(POINTS, first, SEED)
    # schedulers on x_0 + sigma noise scale what the network sees: the first state is such that it sees z
    state = torch.from_numpy(z) / float(getattr(scheduler, "init_noise_sigma", 1.0))
    if hasattr(scheduler, "scale_model_input"):
        state = state / float(scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), scheduler.timesteps[0]))

    def called(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(law.linearise(table.time(float(timestep)), x.double().numpy())[1])

    reached = walk_scheduler(scheduler, called, state).double().numpy()[:, 0]
    return float(np.sqrt(np.mean((reached - law.solve(z, first)) ** 2)))
