"""Checks of an exported diffusers scheduler as a whole: its grids, its walks, its noise, its contract.

Knows the contract of diffusers, the generated step of the scheme and the exact predictions of a mixture; shares no code
with the walk that is checked. ``counterpart`` is the scheduler of diffusers whose grids the scheme takes; what a walk
gives is computed here from the step alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_backend.measuring.scheduler_walks import OUTPUTS, Mixture, walk_scheduler
from torch_backend.scheme import SchemeFacts

__all__ = ["CHECKS", "Subject", "first_failure"]

LAW = Mixture(
    torch.tensor([[1.0, -0.6, 0.2], [-0.8, 0.3, 0.5], [0.1, 0.9, -1.1]], dtype=torch.float64),
    torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64),
    0.04,
)
STATES = torch.randn(4, 3, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
CLOSE = 2e-5
"""Relative to the largest entry: time steps inside a step are float32, to 6e-5 of an index of the table."""


@dataclass(frozen=True)
class Subject:
    """What is checked: an exported class, the facts of its scheme as generated, and its counterpart in diffusers.

    ``config``: keys that both classes take; ``grids``: sets of more of them, on each of which both have the same grid;
    ``more_grids``: others, where the network is told rounded time steps, so that walks are not compared.
    """

    kind: Any
    facts: SchemeFacts
    counterpart: Any
    config: Mapping[str, Any]
    grids: Sequence[Mapping[str, Any]]
    more_grids: Sequence[Mapping[str, Any]] = ()

    def make(self, **keys: Any) -> Any:
        """A scheduler of the exported class with the config and ``keys``."""
        return self.kind(**{**self.config, **keys})

    @property
    def on_table(self) -> bool:
        """Whether time steps are indices of a table of betas."""
        return self.facts.process != "flow"


def log_ratios(config: Mapping[str, Any]) -> np.ndarray:
    """log(sigma/alpha) of the table of scaled_linear betas."""
    betas = np.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, 1000) ** 2
    log_bars = np.cumsum(np.log1p(-betas))
    return np.asarray((np.log(-np.expm1(log_bars)) - log_bars) / 2)


def place(subject: Subject, timestep: float) -> tuple[float, float]:
    """alpha and sigma at a time step; between two entries of a table log(alpha) is linear."""
    if not subject.on_table:
        return 1 - timestep / 1000, timestep / 1000
    ratios = log_ratios(subject.config)
    log_bar = float(np.interp(timestep, np.arange(1000), -np.log1p(np.exp(2 * ratios))))
    return math.exp(log_bar / 2), math.sqrt(-math.expm1(log_bar))


def scheme_time(subject: Subject, timestep: float) -> float:
    """The scheme's time at a time step: where its log-SNR is that of the table."""
    if not subject.on_table:
        return timestep / 1000
    alpha, sigma = place(subject, timestep)
    assert subject.facts.log_snr is not None
    low, high, goal = (
        torch.tensor(1e-9, dtype=torch.float64),
        torch.tensor(4.0, dtype=torch.float64),
        math.log(alpha / sigma),
    )
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if subject.facts.log_snr(middle) > goal else (low, middle)
    return float(low)


def exact_network(subject: Subject, kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The network of the law at a time step, with outputs of a prediction type."""

    def network(z: Tensor, timestep: Tensor) -> Tensor:
        alpha, sigma = place(subject, float(timestep))
        return OUTPUTS[kind](*LAW.predict(z.double(), alpha, sigma), alpha, sigma).to(z.dtype)

    return network


def walk_by_steps(
    subject: Subject, timesteps: Sequence[float], z: Tensor, lowered: bool, clip: float = math.inf, draws: Any = None
) -> list[Tensor]:
    """The states that the generated step reaches down the ``timesteps`` that begin one, and x_0 at the last of them.

    ``lowered``: the final steps read at most as many earlier steps as follow them.
    """
    facts = subject.facts
    times = [scheme_time(subject, k) for k in timesteps]

    def predict(z: Tensor, t: float) -> tuple[Tensor, Tensor]:
        if subject.on_table:
            assert facts.log_snr is not None
            ratio = float(facts.log_snr(torch.tensor(t, dtype=torch.float64)))
            alpha, sigma = 1 / math.sqrt(1 + math.exp(-2 * ratio)), 1 / math.sqrt(1 + math.exp(2 * ratio))
        else:
            alpha, sigma = 1 - t, t
        x_0 = LAW.predict(z, alpha, sigma)[0].clamp(-clip, clip)
        return x_0, (z - alpha * x_0) / sigma

    def network(z: Tensor, t: Tensor) -> Tensor:
        x_0, eps = predict(z, float(t))
        return eps if subject.on_table else eps - x_0

    states, past = [], [torch.zeros_like(z)] * facts.history
    for i, (t, s) in enumerate(pairwise(times)):
        before, left = times[max(0, i - facts.history) : i][::-1], len(times) - 1 - i
        read: tuple[Any, ...] = (before,) if facts.history else ()
        if lowered and facts.history:
            read = (before[: left + 2], left) if facts.mends else (before[:left],)
        ends = torch.tensor([t, s], dtype=torch.float64)
        row = facts.coefficients(*ends, *read)
        noise = None if draws is None else draws()
        if facts.history:
            z, kept = facts.step(z, ends[0], ends[1], row, network, noise, past)
            past = [kept, *past[:-1]]
        else:
            z = facts.step(z, ends[0], ends[1], row, network, noise)
        states.append(z)
    return [*states, predict(z, times[-1])[0]]


def differ(a: Tensor, b: Tensor, close: float = CLOSE) -> bool:
    """Whether two results differ in shape or by more than ``close`` of the largest entry; NaN differs."""
    return a.shape != b.shape or not float((a.double() - b.double()).abs().max()) <= close * float(b.abs().max())


def is_lowered(subject: Subject, evaluations: int) -> bool:
    """Whether diffusers lowers the order of the final steps by default."""
    return subject.facts.history > 0 and (subject.facts.mends or evaluations < 15)


def options_of(subject: Subject, seed: int = 5) -> dict[str, Any]:
    """The generator of a stochastic scheme's steps."""
    return {"generator": torch.Generator().manual_seed(seed)} if subject.facts.noises else {}


def draws_of(subject: Subject, z: Tensor, seed: int = 5) -> Any:
    """The noise that ``options_of`` leads to."""
    if not subject.facts.noises:
        return None
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.stack(
        [torch.randn(z.shape, generator=generator, dtype=z.dtype) for _ in range(subject.facts.noises)]
    )


def kinds_of(subject: Subject) -> tuple[str, ...]:
    """The prediction types that the process has."""
    return ("epsilon", "sample", "v_prediction") if subject.on_table else ("flow_prediction", "epsilon", "sample")


def check_grids(subject: Subject) -> Iterator[str]:
    """Time steps are those of the counterpart, up to rounding to integers; before, all that were trained."""
    before = subject.make().timesteps.tolist()
    if before != list(range(999, -1, -1) if subject.on_table else range(1000, 0, -1)):
        yield "time steps before set_timesteps"
    for keys in (*subject.grids, *subject.more_grids):
        # diffusers may put one leading or linspace step at time step 0 or 1, which leaves the noise as it is
        for count in (2 if keys.get("timestep_spacing") in ("leading", "linspace") else 1, 5, 8, 10, 20, 50):
            ours, theirs = subject.make(**keys), subject.counterpart(**{**subject.config, **keys})
            ours.set_timesteps(count)
            theirs.set_timesteps(count)
            found, wanted = (s.timesteps.double() for s in (ours, theirs))
            if len(found) != len(wanted) or not float((found - wanted).abs().max()) <= 1.0:
                yield f"grid {dict(keys)}, {count} steps"
            if ours.num_inference_steps != count:
                yield "number of steps"


def check_walks(subject: Subject) -> Iterator[str]:
    """Walks with every prediction type end where the generated step takes them; every state between does too."""
    for kind in kinds_of(subject):
        for keys in subject.grids:
            for count in (2, 5, 14, 15) if kind == kinds_of(subject)[0] else (5,):
                scheduler = subject.make(prediction_type=kind, **keys)
                scheduler.set_timesteps(count)
                starts = scheduler.timesteps[:: subject.facts.nfe_per_step].tolist()
                states = []
                z, options = STATES, options_of(subject)
                for k in scheduler.timesteps:
                    z = scheduler.step(exact_network(subject, kind)(z, k), k, z, return_dict=False, **options)[0]
                    states.append(z)
                wanted = walk_by_steps(
                    subject, starts, STATES, is_lowered(subject, count), draws=draws_of(subject, STATES)
                )
                found = [*states[subject.facts.nfe_per_step - 1 :: subject.facts.nfe_per_step], states[-1]][:count]
                if len(found) != len(wanted) or any(map(differ, found, wanted)):
                    yield f"walk, {kind}, {dict(keys)}, {count} steps"


def check_full_order(subject: Subject) -> Iterator[str]:
    """With lower_order_final=False no step's order is lowered."""
    if not subject.facts.history:
        return
    kind = kinds_of(subject)[0]
    scheduler = subject.make(prediction_type=kind, lower_order_final=False, **subject.grids[0])
    scheduler.set_timesteps(8)
    starts = scheduler.timesteps[:: subject.facts.nfe_per_step].tolist()
    found = walk_scheduler(scheduler, exact_network(subject, kind), STATES, **options_of(subject))
    if differ(found, walk_by_steps(subject, starts, STATES, lowered=False)[-1]):
        yield "lower_order_final=False"


def check_clipping(subject: Subject) -> Iterator[str]:
    """With clip_sample the scheme reads the clipped x_0."""
    keys = {"clip_sample": True, "clip_sample_range": 0.5, "prediction_type": kinds_of(subject)[0], **subject.grids[0]}
    scheduler = subject.make(**keys)
    scheduler.set_timesteps(5)
    starts = scheduler.timesteps[:: subject.facts.nfe_per_step].tolist()
    found = walk_scheduler(scheduler, exact_network(subject, kinds_of(subject)[0]), STATES, **options_of(subject))
    wanted = walk_by_steps(subject, starts, STATES, is_lowered(subject, 5), 0.5, draws_of(subject, STATES))
    if differ(found, wanted[-1]):
        yield "clipping"


def check_beginnings(subject: Subject) -> Iterator[str]:
    """A walk that begins in the middle, by index or by time step, after an earlier walk or not, has no past there."""
    network, each = exact_network(subject, kinds_of(subject)[0]), subject.facts.nfe_per_step
    scheduler = subject.make(prediction_type=kinds_of(subject)[0], **subject.grids[0])
    for used, by_index in ((False, True), (True, True), (True, False), (False, False)):
        if not used:
            scheduler = subject.make(prediction_type=kinds_of(subject)[0], **subject.grids[0])
        scheduler.set_timesteps(6)
        if scheduler.step_index is not None or scheduler.begin_index is not None:
            yield "a new grid keeps an index"
        if by_index:
            scheduler.set_begin_index(2 * each)
        z, options = STATES, options_of(subject)
        for number, k in enumerate(scheduler.timesteps[2 * each :]):
            z = scheduler.step(network(z, k), k if by_index else float(k), z, **options).prev_sample
            if scheduler.step_index != 2 * each + number + 1:
                yield "step index"
        starts = scheduler.timesteps[::each].tolist()[2:]
        lowered = is_lowered(subject, 6)
        if differ(z, walk_by_steps(subject, starts, STATES, lowered, draws=draws_of(subject, STATES))[-1]):
            yield "begin index" if by_index else "first time step"


def check_predictions(subject: Subject) -> Iterator[str]:
    """What a step says of x_0 is the exact prediction."""
    for kind in kinds_of(subject):
        scheduler = subject.make(prediction_type=kind, **subject.grids[0])
        scheduler.set_timesteps(5)
        z, options = STATES, options_of(subject)
        for k in scheduler.timesteps:
            alpha, sigma = place(subject, float(k))
            out = scheduler.step(exact_network(subject, kind)(z, k), k, z, **options)
            if differ(out.pred_original_sample, LAW.predict(z, alpha, sigma)[0], 1e-4):
                yield f"predicted x_0, {kind}"
            z = out.prev_sample


def check_tensors(subject: Subject) -> Iterator[str]:
    """Images, half precision, one sample and a device without values go through; the result has the sample's dtype."""
    kind = kinds_of(subject)[0]
    network, keys = exact_network(subject, kind), {"prediction_type": kind, **subject.grids[0]}
    scheduler = subject.make(**keys)
    scheduler.set_timesteps(5)
    exact = walk_scheduler(scheduler, network, STATES)
    scheduler.set_timesteps(5)
    half, output = STATES.half(), network(STATES, scheduler.timesteps[0]).half()
    ends = []
    for cast in (torch.float16, torch.float32):  # a step on half precision is one in float32, rounded once
        scheduler.set_timesteps(5)
        given = (output.to(cast), scheduler.timesteps[0], half.to(cast))
        ends.append(scheduler.step(*given, **options_of(subject)).prev_sample.half())
    if not subject.facts.noises and not torch.equal(*ends):
        yield "a step in float16"
    for dtype, close in ((torch.float32, 1e-4), (torch.float16, 3e-2)):
        scheduler.set_timesteps(5)
        found = walk_scheduler(scheduler, network, STATES.to(dtype))
        if found.dtype != dtype or (not subject.facts.noises and differ(found, exact, close)):
            yield f"result in {dtype}"
    scheduler.set_timesteps(5)
    images = STATES[:, :, None, None].expand(4, 3, 2, 2).to(torch.float32)
    found = walk_scheduler(scheduler, lambda z, k: z * 0.1, images)
    if found.shape != images.shape or (not subject.facts.noises and bool((found - found[:, :, :1, :1]).any())):
        yield "images"
    scheduler.set_timesteps(5, device="meta")
    if scheduler.timesteps.device.type != "meta":
        yield "device of the time steps"
    scheduler.set_begin_index(0)
    z = torch.empty(2, 3, device="meta")
    for k in scheduler.timesteps:
        z = scheduler.step(torch.empty_like(z), k, z).prev_sample
    if z.device.type != "meta":
        yield "device of the result"


def check_noise(subject: Subject) -> Iterator[str]:
    """Noise comes from the generator, anew in every step, for each sample from its own where a list is given."""
    if not subject.facts.noises:
        return
    kind = kinds_of(subject)[0]
    network, scheduler = exact_network(subject, kind), subject.make(prediction_type=kind, **subject.grids[0])

    def end(z: Tensor, generator: Any) -> Tensor:
        scheduler.set_timesteps(5)
        return walk_scheduler(scheduler, network, z, generator=generator)

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    if differ(end(STATES, seeded(1)), end(STATES, seeded(1)), 0.0) or not differ(
        end(STATES, seeded(1)), end(STATES, seeded(2))
    ):
        yield "seed"
    batch = end(STATES, [seeded(n) for n in range(4)])
    alone = torch.cat([end(STATES[n : n + 1], [seeded(n)]) for n in range(4)])
    if differ(batch, alone, 1e-12):
        yield "a generator for each sample"
    torch.manual_seed(3)
    first = end(STATES, None)
    if not differ(first, end(STATES, None)):
        yield "torch's own generator"


def check_noising(subject: Subject) -> Iterator[str]:
    """add_noise gives alpha x_0 + sigma eps at a time step for each sample."""
    scheduler = subject.make(**subject.grids[0])
    scheduler.set_timesteps(10)
    steps = scheduler.timesteps[:: subject.facts.nfe_per_step][[1, 3, 5, 8]]
    eps = torch.randn(STATES.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted = torch.stack(
        [a * x + s * e for x, e, (a, s) in zip(STATES, eps, [place(subject, float(k)) for k in steps], strict=True)]
    )
    if differ(scheduler.add_noise(STATES, eps, steps), wanted):
        yield "add_noise"
    found = scheduler.add_noise(STATES.half(), eps.half(), steps)
    if found.dtype != torch.float16 or differ(found, wanted, 1e-2):
        yield "add_noise in float16"
    if scheduler.scale_model_input(STATES, steps[0]) is not STATES or scheduler.init_noise_sigma != 1:
        yield "coordinates"


def check_configs(subject: Subject) -> Iterator[str]:
    """A config goes through another scheduler of diffusers, and comes back, without a change of the walk."""
    kind, keys = kinds_of(subject)[0], subject.grids[-1]
    direct = subject.make(prediction_type=kind, **keys)
    through = subject.kind.from_config(subject.counterpart(**subject.config, **keys).config, prediction_type=kind)
    again = subject.kind.from_config(direct.config)
    ends = []
    for scheduler in (direct, through, again):
        scheduler.set_timesteps(7)
        ends.append(walk_scheduler(scheduler, exact_network(subject, kind), STATES, **options_of(subject)))
    if any(differ(end, ends[0], 1e-9) for end in ends):
        yield "config"
    if len(direct) != 1000 or direct.order != subject.facts.nfe_per_step:
        yield "facts"


def wrong_uses(subject: Subject) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Uses that must be refused, by ValueError."""
    kind = kinds_of(subject)[0]

    def fresh(**keys: Any) -> Any:
        return subject.make(prediction_type=kind, **subject.grids[0], **keys)

    def lay(*steps: Any, **given: Any) -> None:
        fresh().set_timesteps(*steps, **given)

    def laid(count: int = 5) -> Any:
        scheduler = fresh()
        scheduler.set_timesteps(count)
        return scheduler

    for count in (0, 1001, -1, 2.5, True, None):
        yield f"{count!r} steps", partial(lay, count)
    for sigmas in ([0.5, 0.7], [-0.1], [], [0.5, 0.5]):
        yield f"sigmas {sigmas}", partial(lay, sigmas=sigmas)
    yield "time steps that grow", lambda: fresh().set_timesteps(timesteps=[10, 20])
    yield "prediction type", lambda: subject.make(prediction_type="none")
    yield "training steps", lambda: subject.make(num_train_timesteps=1)
    yield "no grid", lambda: fresh().step(STATES, 999, STATES)
    yield "eta", lambda: (s := laid()).step(STATES, s.timesteps[0], STATES, eta=1.0)
    yield "shape", lambda: (s := laid()).step(STATES[:, :2], s.timesteps[0], STATES)
    yield "generators", lambda: (s := laid()).step(STATES, s.timesteps[0], STATES, generator=[torch.Generator()] * 3)
    yield "unknown time step", lambda: laid().step(STATES, 0.123, STATES)
    yield "differing time steps", lambda: laid().step(STATES, torch.tensor([999, 100, 100, 100]), STATES)

    def out_of_order() -> None:
        scheduler = laid()
        first = scheduler.timesteps[0]
        scheduler.step(STATES, first, STATES)
        scheduler.step(STATES, first if scheduler.order > 1 else scheduler.timesteps[3], STATES)
        if not subject.facts.history and scheduler.order == 1:
            raise ValueError("a scheme without past may make any step")

    yield "time step out of order", out_of_order

    def beyond() -> None:
        scheduler = laid()
        walk_scheduler(scheduler, exact_network(subject, kind), STATES)
        scheduler.step(STATES, 0.123, STATES)

    yield "step after the end", beyond

    def begin(index: int) -> None:
        scheduler = laid()
        scheduler.set_begin_index(index)
        scheduler.step(STATES, scheduler.timesteps[0], STATES)

    yield "begin index beyond", lambda: begin(1000)
    yield "negative begin index", lambda: begin(-subject.facts.nfe_per_step)
    if subject.facts.nfe_per_step > 1:
        yield "begin index inside a step", lambda: begin(1)


def check_refusals(subject: Subject) -> Iterator[str]:
    """Wrong uses raise ValueError, and nothing else."""
    for name, use in wrong_uses(subject):
        try:
            use()
        except ValueError:
            continue
        yield f"accepts {name}"


CHECKS: Mapping[str, Callable[[Subject], Iterator[str]]] = {
    "grids": check_grids,
    "walks": check_walks,
    "beginnings": check_beginnings,
    "full order": check_full_order,
    "clipping": check_clipping,
    "predictions": check_predictions,
    "noise": check_noise,
    "noising": check_noising,
    "tensors": check_tensors,
    "configs": check_configs,
    "refusals": check_refusals,
}
"""Name -> check: yields what is wrong with a subject, nothing where all is right."""


def first_failure(subject: Subject) -> str | None:
    """The first check that the subject fails, with what is wrong, or what it raises; None where it passes all."""
    for name, check in CHECKS.items():
        try:
            for wrong in check(subject):
                return f"{name}: {wrong}"
        except Exception as error:  # whatever a changed scheduler raises is a failure
            return f"{name}: raises {type(error).__name__}"
    return None
