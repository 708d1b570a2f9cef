"""Exported schedulers: equal to Sampler and to diffusers' own, and true to the contract that pipelines rely on.

The contract's tests are written from its documentation and from what pipelines do; see docs/export.md for the list of
what diffusers asks of its own schedulers and where each is shown here.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib.util
import inspect
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_schedulers
from torch_backend import load
from torch_backend.export.exported_text.counterparts import counterpart
from torch_backend.export.exported_text.scheduler_table import TableScheduler
from torch_backend.sampler import available
from torch_backend.scheme import facts_of

TABLE = ("vp/DPM-Solver++2M", "vp/DPM-Solver++2S", "vp/EDM-Heun", "vp/UniPC-2")
EVERY = ("vp/DDIM", "vp/DPM-Solver++2M", "vp/EDM-Heun", "vp/DDIM-eta", "flow/Heun")


@pytest.fixture(scope="session")
def scheduler_class(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with exported_schedulers(tmp_path_factory.mktemp("schedulers")) as build:
        yield lambda spec: getattr(build(spec), build(spec).__all__[0])


BARS = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def predicted(x: Tensor, index: Tensor | float) -> Tensor:
    """A network on the time steps of a table, fractions allowed: eps of Gaussian data, and something not linear."""
    place = torch.as_tensor(index, dtype=torch.float64)
    below = place.long().clamp(0, 998)
    bar = torch.lerp(BARS[below].log(), BARS[below + 1].log(), place - below).exp().to(x.dtype)
    return (1 - bar).sqrt() * x / (1 - 0.75 * bar) + 0.1 * torch.sin(3 * x)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """A network on straight paths."""
    return 0.8 * x + 0.1 * torch.sin(3 * x) * (1 + t / 1000)


def drive(scheduler: Any, x: Tensor, network: Any = predicted, **options: Any) -> Tensor:
    """The loop of a pipeline."""
    x = x * getattr(scheduler, "init_noise_sigma", 1.0)
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(scaled, t), t, x, **options).prev_sample
    return x


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


# --- the same samples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TABLE)
def test_samples_are_those_of_sampler_on_the_table(scheduler_class: Any, spec: str) -> None:
    scheduler = scheduler_class(spec)(timestep_spacing="trailing", lower_order_final=False)
    scheduler.set_timesteps(12)
    starts = scheduler.timesteps[:: scheduler.order].tolist()
    sampler = ia.derive(spec.replace("vp", "ddpm")).to_torch(dtype=torch.float64)

    def network(z: Tensor, t: Tensor) -> Tensor:
        return predicted(z, t[:, None] - 1)

    x = noise(3, 5)
    near = sampler.sample(network, x, times=[index + 1 for index in starts], lower_order_final=False)
    bar = BARS[int(starts[-1])]
    expected = (near - (1 - bar).sqrt() * predicted(near, starts[-1])) / bar.sqrt()
    # float32 holds the time steps inside a step: to 6e-5 of an index
    assert relative(drive(scheduler, x), expected) < (1e-6 if spec == "vp/DPM-Solver++2S" else 1e-10)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("spec", [spec for spec in available() if spec.startswith("vp/") and spec != "vp/SSCS"])
def test_every_member_takes_its_steps_on_the_table(spec: str, schedule: str) -> None:
    """Schemes in t walk the certified time: the reference is Sampler on vp, at the times where the log-SNR agrees."""
    sampler, seen = load(spec), []

    class Scheduler(TableScheduler):
        scheme, order = facts_of(sampler.module), sampler.nfe_per_step

    scheduler = Scheduler(beta_schedule=schedule, lower_order_final=False, final_sigmas_type="zero")
    scheduler.set_timesteps(timesteps=[950, 700.5, 420, 111, 30, 4])
    bars = torch.cumprod(1 - scheduler.betas.double(), 0)
    times = [ratio_time(index, bars) for index in scheduler.timesteps[:: scheduler.order]]

    def network(z: Tensor, t: Tensor) -> Tensor:
        seen.append(t[:1])
        return torch.sin(z + 3 * t[:1].clamp(max=1))

    x, seed = noise(3, 5), 6
    seeded = {"generator": torch.Generator().manual_seed(seed)} if sampler.stochastic else {}
    near = sampler.sample(network, x, times=times, lower_order_final=False, **seeded)
    expected = (near - (1 - bars[4]).sqrt() * network(near, torch.tensor(times[-1:]))) / bars[4].sqrt()
    at = iter(list(seen))
    found = drive(scheduler, x, lambda z, t: network(z, next(at)), generator=torch.Generator().manual_seed(seed))
    assert relative(found, expected) < 1e-5
    assert next(at, None) is None


def ratio_time(index: Tensor, bars: Tensor) -> float:
    """The time of vp, with beta from 0.1 to 20, at which alpha^2 is the table's: the root of its quadratic integral."""
    below = index.long()
    log_bar = torch.lerp(bars[below].log(), bars[below + 1].log(), index.double() - below)
    return float(2 * -log_bar / (0.1 + torch.sqrt(0.01 + 2 * 19.9 * -log_bar)))


def _their_ddim(eta: float = 0.0) -> Any:
    theirs = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    return theirs, {"eta": eta}


def _their_multistep() -> Any:
    theirs = diffusers.DPMSolverMultistepScheduler(
        beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing", lower_order_final=False
    )
    return theirs, {}


def _their_heun() -> Any:
    theirs = diffusers.HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing")
    return theirs, {}


@pytest.mark.parametrize(
    ("spec", "peer"),
    [("vp/DDIM", _their_ddim), ("vp/DPM-Solver++2M", _their_multistep), ("vp/EDM-Heun", _their_heun)],
)
def test_samples_are_those_of_diffusers_own(scheduler_class: Any, spec: str, peer: Any) -> None:
    theirs, options = peer()
    theirs.set_timesteps(10)
    ours = scheduler_class(spec).from_config(theirs.config)
    ours.set_timesteps(10)
    assert torch.equal(ours.timesteps.float(), theirs.timesteps.float())
    x = noise(3, 5, dtype=torch.float32)
    bar = ours.alphas_cumprod[ours.timesteps[0]]
    scale = bar.rsqrt() / theirs.init_noise_sigma if spec == "vp/EDM-Heun" else 1.0  # theirs walks x / alpha
    found, expected = drive(ours, x), drive(theirs, x * scale, **options)
    assert relative(found, expected) < 2e-5
    assert relative(drive_again(ours, x, 11), expected) > 1e-3


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Any:
    """Some of diffusers' own schedulers call numpy on tensors, which warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
        yield


def drive_again(scheduler: Any, x: Tensor, steps: int) -> Tensor:
    scheduler.set_timesteps(steps)
    return drive(scheduler, x)


def test_noise_is_that_of_ddim_with_eta_one(scheduler_class: Any) -> None:
    theirs, options = _their_ddim(eta=1.0)
    theirs.set_timesteps(10)
    ours = scheduler_class("vp/DDIM-eta").from_config(theirs.config)
    ours.set_timesteps(10)
    x = noise(3, 5, dtype=torch.float32)
    found = drive(ours, x, generator=torch.Generator().manual_seed(1))
    assert relative(found, drive(theirs, x, generator=torch.Generator().manual_seed(1), **options)) < 2e-5
    assert relative(drive_again(ours, x, 10), found) > 1e-2


@pytest.mark.parametrize(("spec", "name"), [("flow/conjugate(predict=velocity)", "Euler"), ("flow/Heun", "Heun")])
def test_flow_samples_are_those_of_diffusers_own(scheduler_class: Any, spec: str, name: str) -> None:
    theirs = getattr(diffusers, f"FlowMatch{name}DiscreteScheduler")(shift=1.0 if name == "Heun" else 3.0)
    theirs.set_timesteps(10)
    ours = scheduler_class(spec).from_config(theirs.config)
    ours.set_timesteps(10)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps.float())
    x = noise(3, 5, dtype=torch.float32)
    assert relative(drive(ours, x, velocity), drive(theirs, x, velocity)) < 2e-5


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
@pytest.mark.parametrize("spec", ["vp/DPM-Solver++2M", "vp/EDM-Heun"])
def test_every_prediction_type_gives_the_same_samples(scheduler_class: Any, spec: str, prediction: str) -> None:
    plain, other = scheduler_class(spec)(), scheduler_class(spec)(prediction_type=prediction)

    def told(x: Tensor, t: Tensor) -> Tensor:
        eps, alpha, sigma = predicted(x, t), BARS[int(t)].sqrt(), (1 - BARS[int(t)]).sqrt()
        x_0 = (x - sigma * eps) / alpha
        return x_0 if prediction == "sample" else alpha * eps - sigma * x_0

    x = noise(2, 4)
    plain.set_timesteps(10), other.set_timesteps(10)
    assert relative(drive(other, x, told), drive(plain, x)) < 1e-9


def test_a_clipped_sample_is_clipped_before_the_scheme_reads_it(scheduler_class: Any) -> None:
    theirs = diffusers.DDIMScheduler(clip_sample=True, clip_sample_range=0.5, timestep_spacing="trailing")
    ours = scheduler_class("vp/DDIM").from_config(theirs.config)
    theirs.set_timesteps(10), ours.set_timesteps(10)
    x = 2 * noise(3, 5, dtype=torch.float32)
    expected = drive(theirs, x, use_clipped_model_output=True)
    assert expected.abs().max() <= 0.5
    assert relative(drive(ours, x), expected) < 2e-5
    assert relative(drive(theirs, x), expected) > 1e-3  # without: the clipped x_0 beside the unclipped eps


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", EVERY)
def test_shape_dtype_batch_and_generators(scheduler_class: Any, spec: str) -> None:
    """1-d, non-square and 3-d data, half precision, a batch in one piece or split, tuple or output class."""
    for shape in [(2, 1, 7), (2, 3, 4, 6), (2, 1, 3, 2, 4)]:
        ends = []
        for part in (slice(0, 2), slice(0, 1), slice(1, 2)):
            scheduler = scheduler_class(spec)()
            scheduler.set_timesteps(5, device="cpu")
            generators = [torch.Generator().manual_seed(k) for k in range(2)][part]
            ends.append(drive(scheduler, noise(*shape)[part], generator=generators))
        torch.testing.assert_close(ends[0], torch.cat(ends[1:]), rtol=1e-12, atol=1e-12)
    for dtype in (torch.float16, torch.bfloat16):
        scheduler = scheduler_class(spec)()
        scheduler.set_timesteps(3)
        t, x = scheduler.timesteps[0], noise(2, 3, 4, 4).to(dtype)
        pair = scheduler.step(predicted(x, t), t, x, generator=torch.Generator().manual_seed(0), return_dict=False)
        scheduler.set_timesteps(3)
        output = scheduler.step(predicted(x, t), t, x, generator=torch.Generator().manual_seed(0))
        assert pair[0].dtype == output.prev_sample.dtype == dtype
        assert torch.equal(pair[0], output.prev_sample)
        assert torch.equal(pair[1], output.pred_original_sample)


@pytest.mark.parametrize("spec", EVERY)
def test_no_step_waits_for_the_device(scheduler_class: Any, spec: str) -> None:
    """Tensors of the device meta have no values: whatever would read one raises."""
    scheduler = scheduler_class(spec)()
    scheduler.set_timesteps(4, device="meta")
    assert scheduler.timesteps.device.type == "meta"
    scheduler.set_begin_index(0)
    x = torch.empty(2, 3, device="meta")
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x).prev_sample
    assert len(scheduler._tables) == 1
    assert scheduler.step_index == len(scheduler.timesteps) == (4 - 1) * scheduler.order + 1


@pytest.mark.parametrize("spec", EVERY)
def test_saved_and_loaded_it_samples_the_same(scheduler_class: Any, spec: str, tmp_path: Any) -> None:
    options = {} if spec.startswith("flow") else {"beta_schedule": "scaled_linear", "trained_betas": None}
    scheduler = scheduler_class(spec)(num_train_timesteps=500, **options)
    scheduler.save_pretrained(tmp_path)
    copies = [scheduler_class(spec).from_pretrained(tmp_path), copy.deepcopy(scheduler), scheduler]
    copies.append(pickle.loads(pickle.dumps(scheduler)))
    ends = []
    for one in copies:
        one.set_timesteps(4)
        ends.append(drive(one, noise(2, 3), generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(end, ends[0]) for end in ends)
    assert len(copies[0]) == 500


def test_a_time_step_out_of_order_is_honoured_without_a_past(scheduler_class: Any) -> None:
    """In closed form: DDIM's step from 500 to the next entry, 400, from an output that is not used elsewhere."""
    scheduler, x, eps = scheduler_class("vp/DDIM")(), noise(2, 3), noise(2, 3, seed=1)
    scheduler.set_timesteps(timesteps=[900, 800, 700, 500, 400, 100])
    (a_t, s_t), (a_s, s_s) = ((BARS[k].sqrt(), (1 - BARS[k]).sqrt()) for k in (500, 400))
    expected = a_s * (x - s_t * eps) / a_t + s_s * eps
    for _ in range(2):  # after the last entry too
        scheduler.step(eps, 900, x)
        for t in (500, 500.0, torch.tensor(500), torch.tensor([500.0, 500.0]), scheduler.timesteps[3]):
            torch.testing.assert_close(scheduler.step(eps, t, x).prev_sample, expected, rtol=1e-12, atol=1e-12)
            assert scheduler.step_index == 4
        assert torch.equal(scheduler.step(eps, 400, x).prev_sample, scheduler.step(eps, 400, x).prev_sample)
        scheduler.step(eps, 100, x)
    scheduler.set_begin_index(2)
    torch.testing.assert_close(scheduler.step(eps, 500, x).prev_sample, expected, rtol=1e-12, atol=1e-12)


def test_a_time_step_out_of_order_is_refused_with_a_past_or_inside_a_step(scheduler_class: Any) -> None:
    x = noise(2, 3)
    for spec, sentence in [("vp/DPM-Solver++2M", "reads earlier steps"), ("vp/EDM-Heun", "the step is not done")]:
        scheduler = scheduler_class(spec)()
        scheduler.set_timesteps(5, device="cpu")
        begins = scheduler.timesteps[:: scheduler.order].tolist()
        x = scheduler.step(x, begins[0], x).prev_sample
        for wrong in (begins[3], begins[0] + 0.5, torch.tensor(begins[2])):
            with pytest.raises(ValueError, match=f"out of order, {begins[1]:g} comes next and .*{sentence}"):
                scheduler.step(x, wrong, x)
        assert scheduler.step_index == 1
        scheduler.step(x, float(begins[1]), x)  # the right one goes on
    for differing in (torch.tensor([500, 400]), torch.tensor([])):
        with pytest.raises(ValueError, match="different values; all samples make the same step"):
            scheduler.step(x, differing, x)


@pytest.mark.parametrize("spec", ["vp/DDIM", "vp/DDIM-eta"])
def test_generators_are_one_per_sample(scheduler_class: Any, spec: str) -> None:
    x, scheduler = noise(3, 4), scheduler_class(spec)()
    scheduler.set_timesteps(4)
    for kind in (list, tuple):
        whole, parts = (kind(torch.Generator().manual_seed(k) for k in range(3)) for _ in range(2))
        t = scheduler.timesteps[1]
        found = scheduler.step(x, t, x, generator=whole).prev_sample
        each = [scheduler.step(x[k : k + 1], t, x[k : k + 1], generator=parts[k]).prev_sample for k in range(3)]
        assert torch.equal(found, torch.cat(each))
        with pytest.raises(ValueError, match="2 generators for a batch of 3; one each is needed"):
            scheduler.step(x, t, x, generator=whole[:2])


@pytest.mark.parametrize("steps", [8, 16])
@pytest.mark.parametrize(
    ("spec", "name"), [("vp/DPM-Solver++2M", "DPMSolverMultistep"), ("vp/UniPC-2", "UniPCMultistep")]
)
def test_the_final_order_is_lowered_as_in_diffusers(scheduler_class: Any, spec: str, name: str, steps: int) -> None:
    """True: DPM-Solver's below 15 steps only, UniPC's always. Seen where the walk ends above zero."""
    ends, x = {}, noise(3, 5, dtype=torch.float32)
    for lower in (True, False):
        theirs = getattr(diffusers, f"{name}Scheduler")(
            beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing", lower_order_final=lower,
            final_sigmas_type="sigma_min",
        )  # fmt: skip
        ours = scheduler_class(spec).from_config(theirs.config)
        theirs.set_timesteps(steps), ours.set_timesteps(steps)
        ends[lower] = drive(ours, x)
        assert relative(ends[lower], drive(theirs, x)) < 2e-5
    differ = relative(ends[True], ends[False])
    assert differ == 0 if (name, steps) == ("DPMSolverMultistep", 16) else differ > 0.1


def test_begin_in_the_middle_is_a_shorter_walk(scheduler_class: Any) -> None:
    """Image to image: the entries from step 4 on, by begin index or by their first time step, with an empty past."""
    for spec in ("vp/DPM-Solver++2M", "vp/EDM-Heun"):
        scheduler = scheduler_class(spec)()
        scheduler.set_timesteps(10)
        schedule, order = scheduler.timesteps, scheduler.order
        short = scheduler_class(spec)()
        short.set_timesteps(timesteps=schedule[4 * order :: order].tolist())
        expected = drive(short, noise(2, 3))
        for begin in (4 * order, None):
            scheduler.set_timesteps(10)
            if begin is not None:
                scheduler.set_begin_index(begin)
            x = noise(2, 3)
            for t in schedule[4 * order :]:
                x = scheduler.step(predicted(x, t), t, x).prev_sample
            torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)
    assert scheduler.index_for_timestep(schedule[8]) == 8  # EDM-Heun's entries 7 and 8 are the same time step
    assert schedule[7] == schedule[8]


def test_noise_is_added_as_the_table_says(scheduler_class: Any) -> None:
    theirs, ours = diffusers.DDIMScheduler(), scheduler_class("vp/DDIM")()
    x, e, steps = noise(3, 2, 4), noise(3, 2, 4, seed=1), torch.tensor([0, 500, 999])
    torch.testing.assert_close(ours.add_noise(x, e, steps), theirs.add_noise(x, e, steps), rtol=1e-5, atol=1e-5)
    flow = scheduler_class("flow/Heun")()
    quarter = flow.add_noise(x, e, torch.full((3,), 250.0))
    torch.testing.assert_close(quarter, 0.75 * x + 0.25 * e, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_betas_are_those_of_diffusers(scheduler_class: Any, schedule: str) -> None:
    theirs = diffusers.DDIMScheduler(beta_schedule=schedule)
    ours = scheduler_class("vp/DDIM").from_config(theirs.config)
    torch.testing.assert_close(ours.betas, theirs.betas, rtol=2e-5, atol=1e-9)


def on_table(spec: str, **settings: Any) -> Any:
    """A scheduler of any scheme on vp, not from a file."""
    module = load(spec).module
    return type("Scheduler", (TableScheduler,), {"scheme": facts_of(module), "order": module.NFE_PER_STEP})(**settings)


@pytest.mark.parametrize("spacing", [None, "linspace", "leading", "trailing"])
@pytest.mark.parametrize("spec", [spec for spec in available() if spec.startswith("vp/") and spec != "vp/SSCS"])
def test_steps_begin_at_the_time_steps_of_the_counterpart(spec: str, spacing: str | None) -> None:
    """One time step apart: linspace and leading of one are 0 in some of theirs, which gives noise back."""
    ours = on_table(spec, timestep_spacing=spacing, steps_offset=1)
    theirs = getattr(diffusers, counterpart(spec, ours.scheme.history, ours.order)[0])
    settings = {"timestep_spacing": spacing, "steps_offset": 1} if spacing else {}
    settings = {key: value for key, value in settings.items() if key in inspect.signature(theirs).parameters}
    if spacing not in (None, "linspace") and not settings:
        return  # DPMSolverSinglestepScheduler knows linspace alone
    theirs = theirs(beta_start=1e-4, beta_end=0.02, **settings)
    assert spacing is not None or ours.config.timestep_spacing == theirs.config.get("timestep_spacing", "linspace")
    if spacing is None:
        ours = on_table(spec)
    for steps in (1, 2, 7, 8, 50):
        theirs.set_timesteps(steps), ours.set_timesteps(steps)
        expected = theirs.timesteps.float().unique().flip(0) if steps > 1 else torch.tensor([999.0])
        if "KDPM2" in type(theirs).__name__ and steps > 1:  # every other is in the middle of a step
            expected = torch.cat([theirs.timesteps[:1], theirs.timesteps[2::2]]).float()
        assert torch.equal(ours.timesteps[:: ours.order].float(), expected)
        assert ours.num_inference_steps == steps == len(expected)


SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""Stable Diffusion 1.x; with DDIM's settings, which its config has."""


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (spec, {"timestep_spacing": spacing, **more})
        for spec in ("vp/DPM-Solver++2M", "vp/UniPC-2")
        for spacing, more in [
            ("trailing", {}), ("linspace", {}), ("leading", {}), ("trailing", {"use_karras_sigmas": True}),
        ]
    ] + [
        ("vp/DDIM", {"timestep_spacing": "trailing"}), ("vp/DDIM", {}),
        ("vp/EDM-Heun", {"timestep_spacing": "linspace"}),
        ("vp/EDM-Heun", {"timestep_spacing": "linspace", "use_karras_sigmas": True}),
        ("vp/DPM-Solver++2M", {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}),
        ("vp/DPM-Solver++2M", {"timestep_spacing": "trailing", "use_lu_lambdas": True}),
        ("vp/DPM-Solver++2M", {"timestep_spacing": "linspace", "lambda_min_clipped": -2.0}),
    ],
)  # fmt: skip
def test_a_config_of_stable_diffusion_gives_the_counterparts_samples(spec: str, settings: dict[str, Any]) -> None:
    """Grid and ending: set_alpha_to_one=False binds DDIM alone, and Karras' sigmas run over the whole table.

    ``predicted`` stands for the network; which table it was trained on does not matter here.
    """
    base = diffusers.DDIMScheduler(**SD1, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    ours = on_table(spec)
    name, _ = counterpart(spec, ours.scheme.history, ours.order)
    theirs = getattr(diffusers, name).from_config(base.config, **settings)
    ours = type(ours).from_config(base.config, **settings)
    x = noise(3, 5)
    scale = float(ours.alphas_cumprod[-1].double().rsqrt()) if spec == "vp/EDM-Heun" else 1.0  # theirs walks x / alpha
    for steps in (8, 20):
        theirs.set_timesteps(steps), ours.set_timesteps(steps)
        assert ours.num_inference_steps == steps == len(ours.timesteps[:: ours.order])
        assert relative(drive(ours, x), drive_unscaled(theirs, x * scale)) < 1e-4  # theirs is a float32 table


def drive_unscaled(scheduler: Any, x: Tensor) -> Tensor:
    """The loop of a pipeline on a state that has the scale of the first sigma."""
    for t in scheduler.timesteps:
        x = scheduler.step(predicted(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    return x


def test_one_step_goes_from_noise_to_data() -> None:
    x, eps = noise(2, 3), noise(2, 3, seed=1)
    expected = (x - (1 - BARS[999]).sqrt() * eps) / BARS[999].sqrt()
    for spec in ("vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "vp/EDM-Heun"):
        for spacing in ("linspace", "leading", "trailing", "derived"):
            scheduler = on_table(spec, timestep_spacing=spacing, steps_offset=1)
            scheduler.set_timesteps(1)
            assert scheduler.timesteps.tolist() == [999]
            torch.testing.assert_close(scheduler.step(eps, 999, x).prev_sample, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("spec", ["vp/DDIM", "vp/DPM-Solver++2M", "vp/EDM-Heun"])
def test_as_many_steps_as_trained_are_every_entry(spec: str, spacing: str) -> None:
    scheduler = on_table(spec, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(1000)
    assert scheduler.timesteps[:: scheduler.order].tolist() == list(range(999, -1, -1))


def test_an_error_lists_no_hundreds_of_numbers() -> None:
    scheduler = on_table("vp/DDIM")
    for bad in ({"timesteps": range(1000)}, {"sigmas": [700.0 - k / 10 for k in range(1000)]}):
        with pytest.raises(ValueError, match=r"\.\.\., .*\(1000 numbers\)") as error:
            scheduler.set_timesteps(**bad)
        assert len(str(error.value)) < 200


def test_the_derived_grid_is_the_schemes_own_over_the_table() -> None:
    """Equidistant in the log-SNR, whose values at the table's ends are those of its betas."""
    scheduler = on_table("vp/DPM-Solver++2M", timestep_spacing="derived")
    scheduler.scheme = dataclasses.replace(scheduler.scheme, grid="log-SNR")
    log_snr = (BARS.log() - (1 - BARS).log()) / 2
    for ending, last in (("zero", 0), ("sigma_min", 1)):
        scheduler.register_to_config(final_sigmas_type=ending)
        scheduler.set_timesteps(9)
        expected = np.linspace(float(log_snr[-1]), float(log_snr[0]), 9 + last)[:9]
        found = np.interp(scheduler.timesteps.numpy(), np.arange(1000), log_snr.numpy())
        assert np.abs(found - expected).max() < 5e-3  # between entries log(alpha) is linear, not the log-SNR
        assert (scheduler.num_inference_steps, len(scheduler.timesteps)) == (9, 9)


@pytest.mark.parametrize("key", ["use_exponential_sigmas", "use_beta_sigmas"])
def test_sigmas_are_those_of_diffusers_over_the_whole_table(key: str) -> None:
    """Theirs are told to the network as whole time steps below; here as what they are."""
    theirs = diffusers.DPMSolverMultistepScheduler(**SD1, **{key: True}, timestep_spacing="trailing")
    ours = type(on_table("vp/DPM-Solver++2M")).from_config(theirs.config)
    theirs.set_timesteps(20), ours.set_timesteps(20)
    log_bars = torch.log1p(-ours.betas.double()).cumsum(0).numpy()
    bar = np.exp(np.interp(ours.timesteps.double().numpy(), np.arange(1000), log_bars))
    torch.testing.assert_close(
        torch.from_numpy(((1 - bar) / bar) ** 0.5), theirs.sigmas[:-1].double(), rtol=1e-3, atol=0
    )
    bounded = on_table("vp/DPM-Solver++2M", **{key: True}, sigma_min=0.1, sigma_max=50.0)
    bounded.set_timesteps(5)
    ratio = lambda k: float(((1 - BARS[k]) / BARS[k]).sqrt())  # noqa: E731
    first, last = (float(t) for t in bounded.timesteps[[0, -1]])
    assert ratio(int(first)) <= 50.0 <= ratio(int(first) + 1)
    assert ratio(int(last)) <= 0.1 <= ratio(int(last) + 1)


def test_grids_in_sigma_and_the_end_at_the_first_entry(scheduler_class: Any) -> None:
    from_table = diffusers.HeunDiscreteScheduler(use_karras_sigmas=True, beta_end=0.02)
    from_table.set_timesteps(8)
    ours = scheduler_class("vp/EDM-Heun").from_config(from_table.config)
    ours.set_timesteps(8)
    assert (ours.timesteps - from_table.timesteps).abs().max() < 0.5  # theirs: linear in log sigma between entries
    by_sigmas = scheduler_class("vp/EDM-Heun").from_config(from_table.config)
    by_sigmas.set_timesteps(sigmas=[*from_table.sigmas[0:-1:2].tolist(), 0.0])
    torch.testing.assert_close(by_sigmas.timesteps, ours.timesteps, rtol=0, atol=1e-2)
    ended = scheduler_class("vp/DDIM")(final_sigmas_type="sigma_min", timestep_spacing="trailing")
    theirs = diffusers.DDIMScheduler(set_alpha_to_one=False, clip_sample=False, timestep_spacing="trailing")
    ended.set_timesteps(10), theirs.set_timesteps(10)
    x = noise(2, 3, dtype=torch.float32)
    assert relative(drive(ended, x), drive(theirs, x)) < 2e-5


# --- pipelines -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    return diffusers.UNet2DModel(sample_size=(8, 16), in_channels=1, out_channels=1, **sizes, **blocks)


@pytest.mark.parametrize("pipeline", [diffusers.DDPMPipeline, diffusers.DDIMPipeline])
@pytest.mark.parametrize("spec", ["vp/DPM-Solver++2M", "vp/EDM-Heun", "vp/DDIM-eta"])
def test_a_pipeline_takes_the_scheduler_in_one_line(scheduler_class: Any, unet: Any, pipeline: Any, spec: str) -> None:
    pipe = pipeline(unet, diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler_class(spec).from_config(pipe.scheduler.config)
    assert pipe.scheduler.config.clip_sample
    images = [
        pipe(batch_size=2, num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="np").images
        for _ in range(2)
    ]
    assert images[0].shape == (2, 8, 16, 1)
    assert np.isfinite(images[0]).all()
    assert np.array_equal(*images)


def test_a_saved_pipeline_comes_back_with_the_scheduler(scheduler_class: Any, unet: Any, tmp_path: Any) -> None:
    pipe = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())
    pipe.scheduler = scheduler_class("vp/DPM-Solver++2M").from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path)
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    assert type(again.scheduler) is scheduler_class("vp/DPM-Solver++2M")
    assert dict(again.scheduler.config)["clip_sample"]


def test_the_docstring_names_the_counterpart(scheduler_class: Any) -> None:
    assert "DDIMScheduler, which makes the same steps." in scheduler_class("vp/DDIM").__doc__
    assert "FlowMatchHeunDiscreteScheduler, which makes the same steps." in scheduler_class("flow/Heun").__doc__


def test_the_file_imports_torch_numpy_and_diffusers_only(scheduler_class: Any) -> None:
    for spec in ("vp/DDIM", "flow/Heun"):
        text = Path(sys.modules[scheduler_class(spec).__module__].__file__).read_text(encoding="utf-8")
        packages = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                packages |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                packages.add(node.module.partition(".")[0])
        assert packages - sys.stdlib_module_names == {"torch", "numpy", "diffusers"}


def test_the_certified_source_stands_in_the_file(scheduler_class: Any, tmp_path: Any) -> None:
    module = sys.modules[scheduler_class("vp/DDIM").__module__]
    assert module.source_hash() == module.CERTIFIED_HASH
    edited = tmp_path / "edited.py"
    text = Path(module.__file__).read_text(encoding="utf-8")
    begin = text.index("def step(", text.index("certified source: begin"))
    edited.write_text(text[:begin] + text[begin:].replace("decay_x *", "1.01 * decay_x *", 1), encoding="utf-8")
    specification = importlib.util.spec_from_file_location("edited_export", edited)
    other = importlib.util.module_from_spec(specification)
    with pytest.warns(UserWarning, match="not the code that was certified"):
        specification.loader.exec_module(other)
    assert other.source_hash() != other.CERTIFIED_HASH


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_settings_are_one_sentence(scheduler_class: Any) -> None:
    table, flow = scheduler_class("vp/DDIM"), scheduler_class("flow/Heun")
    for settings, sentence in [
        ({"prediction_type": "noise"}, "accepted: epsilon, sample"),
        ({"prediction_type": "flow_prediction"}, "process flow"),
        ({"beta_schedule": "linaer"}, "did you mean 'linear'"),
        ({"timestep_spacing": "even"}, "Known: derived, leading, linspace, trailing"),
        ({"trained_betas": [0.1, 0.2]}, "1000 numbers between 0 and 1"),
        ({"beta_end": 1.0}, "numbers between 0 and 1"),
        ({"num_train_timesteps": 1}, "at least 2"),
        ({"final_sigmas_type": "none"}, "Known: sigma_min, zero"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            table(**settings)
    with pytest.raises(ValueError, match="process vp"):
        flow(prediction_type="v_prediction")
    with pytest.raises(ValueError, match="positive number"):
        flow(shift=-1.0)


def test_configs_of_other_models_are_refused(scheduler_class: Any) -> None:
    table, flow = scheduler_class("vp/DDIM"), scheduler_class("flow/Heun")
    for other, sentence in [
        (diffusers.FlowMatchEulerDiscreteScheduler(), "and no betas"),
        (diffusers.EDMEulerScheduler(), "and no betas"),
        (diffusers.VQDiffusionScheduler(num_vec_classes=4), "and no betas"),
        (diffusers.DDIMScheduler(rescale_betas_zero_snr=True), "rescale_betas_zero_snr = True"),
        (diffusers.DDPMScheduler(thresholding=True), "thresholding = True"),
        (diffusers.LCMScheduler(), "original_inference_steps = 50"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            table.from_config(other.config)
    with pytest.raises(ValueError, match="no shift and no use_flow_sigmas"):
        flow.from_config(diffusers.DDPMScheduler().config)


def test_bad_calls_are_one_sentence(scheduler_class: Any) -> None:
    table, flow = scheduler_class("vp/EDM-Heun")(), scheduler_class("flow/Heun")(use_dynamic_shifting=True)
    x = noise(1, 2)
    with pytest.raises(ValueError, match="call set_timesteps"):
        table.step(x, 0, x)
    for steps in (0, -1, 1001, 2.5, True):
        with pytest.raises(ValueError, match="from 1 to 1000"):
            table.set_timesteps(steps)
    for bad in ([1, 2], [1000.0], [5.0, -1.0], []):
        with pytest.raises(ValueError, match="do not decrease"):
            table.set_timesteps(timesteps=bad)
    with pytest.raises(ValueError, match="exactly one"):
        table.set_timesteps()
    with pytest.raises(ValueError, match="needs mu"):
        flow.set_timesteps(4)
    flow.set_timesteps(sigmas=[1.0, 0.5], mu=0.7)
    assert flow.timesteps[1] == pytest.approx(1000 * np.exp(0.7) / (np.exp(0.7) + 1), rel=1e-6)
    table.set_timesteps(3)
    with pytest.raises(ValueError, match="no step begins"):
        table.step(x, 3, x)
    with pytest.raises(ValueError, match="leave eta out"):
        table.step(x, table.timesteps[0], x, eta=0.5)
    with pytest.raises(ValueError, match="predicted variance"):
        table.step(torch.cat([x, x], 1), table.timesteps[0], x)
    table.set_begin_index(1)
    with pytest.raises(ValueError, match="begins no step"):
        table.step(x, table.timesteps[0], x)
    multistep = scheduler_class("vp/DPM-Solver++2M")()
    multistep.set_timesteps(1)
    x = multistep.step(x, multistep.timesteps[0], x).prev_sample
    with pytest.raises(ValueError, match="are done"):
        multistep.step(x, multistep.timesteps[0], x)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ve/DDIM", "vp, flow and phase space only"),
        ("ddpm/DDIM", "export the scheme on vp"),
        ("vp/SSCS", "moves the state before its first evaluation"),
        ("vp/conjugate(B=table)", "takes a B for every step"),
    ],
)
def test_schemes_that_no_pipeline_can_drive_are_refused(spec: str, sentence: str, tmp_path: Any) -> None:
    with pytest.raises(ia.InputError, match=sentence):
        ia.derive(spec).export(tmp_path / "x.py", format="diffusers")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bounds", [{"sigma_min": 0.0}, {"sigma_max": 0.0}, {"sigma_min": 2.0, "sigma_max": 1.0}])
def test_bounds_of_sigmas_that_do_not_fall_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="two falling numbers are needed"):
        on_table("vp/DDIM", use_karras_sigmas=True, **bounds).set_timesteps(8)


@pytest.mark.parametrize("key", ["use_karras_sigmas", "use_exponential_sigmas"])
def test_a_predictor_corrector_refuses_to_leave_out_its_last_correction(key: str) -> None:
    """Its counterpart corrects there."""
    scheduler = on_table("vp/UniPC-2", **{key: True}, final_sigmas_type="sigma_min")
    with pytest.raises(ValueError, match="corrects a step by the evaluation at its end, which is not covered"):
        scheduler.set_timesteps(8)
    on_table("vp/UniPC-2", final_sigmas_type="sigma_min").set_timesteps(8)
