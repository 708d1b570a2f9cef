"""What diffusers asks of every scheduler of its own, clause by clause, of exported ones; and devices without float64.

Written from the contract. test_diffusers_own_tests.py runs their text, where a checkout of diffusers is at hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_schedulers
from torch_backend import load
from torch_backend.loop import integrate, tabulate_scheme, usable
from torch_backend.sigmas import sample_on_sigmas

TABLE = ("vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "vp/EDM-Heun", "vp/RK4", "vp/SDE-DPM-Solver++2M")
FLOW = ("flow/Heun", "flow/conjugate(predict=velocity)", "flow/DPM-Solver++2M")
EVERY = (*TABLE, *FLOW)


@pytest.fixture(scope="module")
def scheduler_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    with exported_schedulers(tmp_path_factory.mktemp("contract"), prefix="contract") as build:
        yield lambda spec: getattr(build(spec), build(spec).__all__[0])


def walk(scheduler: Any, **options: Any) -> list[Any]:
    """Outputs of every step of a walk from one state, with one seed and a network that depends on both arguments."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 8, 8, generator=generator) * scheduler.init_noise_sigma
    found = []
    for t in scheduler.timesteps:
        eps = torch.sin(scheduler.scale_model_input(x, t) + t / 1000)
        found.append(scheduler.step(eps, t, x, generator=generator, **options))
        x = found[-1].prev_sample if hasattr(found[-1], "prev_sample") else found[-1][0]
    return found


@pytest.mark.parametrize("spec", EVERY)
def test_what_a_pipeline_reads_is_there(scheduler_class: Any, spec: str) -> None:
    scheduler = scheduler_class(spec)()
    asked = {"model_output", "timestep", "sample", "return_dict"}
    assert asked <= set(inspect.signature(scheduler.step).parameters)
    assert {"num_inference_steps", "device"} <= set(inspect.signature(scheduler.set_timesteps).parameters)
    assert isinstance(scheduler, diffusers.SchedulerMixin)
    assert isinstance(scheduler.init_noise_sigma, float)
    assert isinstance(scheduler.order, int)
    assert len(scheduler) == scheduler.config.num_train_timesteps == 1000
    assert scheduler.timesteps.ndim == 1
    x = torch.randn(2, 3)
    assert torch.equal(scheduler.scale_model_input(x, scheduler.timesteps[0]), x)


@pytest.mark.parametrize("spec", EVERY)
def test_the_tuple_has_the_entries_of_the_output_class(scheduler_class: Any, spec: str) -> None:
    scheduler = scheduler_class(spec)()
    scheduler.set_timesteps(6)
    outputs = walk(scheduler)
    scheduler.set_timesteps(6)
    for output, entries in zip(outputs, walk(scheduler, return_dict=False), strict=True):
        assert isinstance(entries, tuple)
        assert all(torch.equal(a, b) for a, b in zip(output.to_tuple(), entries, strict=True))


@pytest.mark.parametrize("spec", EVERY)
@pytest.mark.parametrize("steps", [1, 2, 3, 25, 1000])
def test_every_number_of_steps_up_to_that_of_training(scheduler_class: Any, spec: str, steps: int) -> None:
    scheduler = scheduler_class(spec)()
    scheduler.set_timesteps(steps)
    assert scheduler.num_inference_steps == steps
    assert bool(torch.isfinite(walk(scheduler)[-1].prev_sample).all()) if steps < 1000 else len(scheduler.timesteps)


@pytest.mark.parametrize("spec", EVERY)
def test_a_setting_asked_of_the_scheduler_itself_is_that_of_its_config(scheduler_class: Any, spec: str) -> None:
    scheduler = scheduler_class(spec)()
    with pytest.warns(FutureWarning, match="num_train_timesteps"):
        assert scheduler.num_train_timesteps == scheduler.config.num_train_timesteps
    with pytest.raises(AttributeError, match="nonsense"):
        scheduler.nonsense  # noqa: B018


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy on tensors, in diffusers
@pytest.mark.parametrize("spec", ["vp/DDIM", "vp/EDM-Heun", "flow/Heun"])
def test_a_config_goes_through_every_compatible_class_and_back(scheduler_class: Any, spec: str) -> None:
    """What the network was trained with survives all of them, which set their own defaults for what was not passed."""
    ours = scheduler_class(spec)
    scheduler = ours(num_train_timesteps=500)
    others = [other for other in scheduler.compatibles if other.__module__.startswith("diffusers.schedulers")]
    assert len(others) > (10 if spec.startswith("vp") else 1)
    for other in others:
        theirs = other.from_config(scheduler.config)
        assert theirs.config.num_train_timesteps == 500
        assert (
            dict(ours.from_config(theirs.config).config).items()
            >= {key: value for key, value in scheduler.config.items() if key != "_use_default_values"}.items()
        )
        for key in ("beta_start", "beta_end", "beta_schedule"):
            assert key not in theirs.config or theirs.config[key] == scheduler.config[key]


@pytest.mark.parametrize("spec", EVERY)
def test_saved_settings_are_those_that_were_passed(scheduler_class: Any, spec: str, tmp_path: Any) -> None:
    scheduler = scheduler_class(spec)(num_train_timesteps=123)
    scheduler.save_pretrained(tmp_path)
    loaded = scheduler_class(spec).from_pretrained(tmp_path)
    left = {key: value for key, value in scheduler.config.items() if key != "_use_default_values"}
    assert {key: value for key, value in loaded.config.items() if key != "_use_default_values"} == left


@pytest.mark.parametrize("spec", TABLE)
def test_trained_betas_are_the_table(scheduler_class: Any, spec: str) -> None:
    given = torch.linspace(1e-4, 0.02, 10, dtype=torch.float64).tolist()
    scheduler = scheduler_class(spec)(trained_betas=given, num_train_timesteps=10)
    torch.testing.assert_close(scheduler.betas.double(), torch.tensor(given, dtype=torch.float64), rtol=1e-7, atol=0)


def test_two_grids_at_once_are_refused(scheduler_class: Any) -> None:
    with pytest.raises(ValueError, match="two grids; choose one"):
        scheduler_class("vp/DDIM")(use_karras_sigmas=True, use_exponential_sigmas=True)


def test_a_flow_network_that_returns_epsilon_starts_below_one(scheduler_class: Any) -> None:
    """x_0 = (x - sigma eps) / (1 - sigma) says nothing at sigma = 1."""
    scheduler = scheduler_class("flow/Heun")(prediction_type="epsilon")
    scheduler.set_timesteps(5)
    assert scheduler.timesteps[0] == 999
    assert bool(torch.isfinite(walk(scheduler)[-1].prev_sample).all())


# --- devices ----------------------------------------------------------------------------------------------------------


class NoFloat64(TorchDispatchMode):
    """The device meta as one that has no float64, like Apple's MPS: a tensor of that kind on it is an error."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.device.type == "meta" and value.dtype == torch.float64:
                raise TypeError(f"{func} made a float64 tensor on a device that has none")
        return result


@pytest.mark.parametrize("spec", EVERY)
def test_a_scheduler_brings_no_float64_to_a_device(scheduler_class: Any, spec: str) -> None:
    scheduler = scheduler_class(spec)()
    with NoFloat64():
        scheduler.set_timesteps(4, device="meta")
        scheduler.set_begin_index(0)
        x = torch.empty(2, 3, device="meta")
        noised = scheduler.add_noise(x, x, torch.tensor([3, 500], device="meta"))
        for t in scheduler.timesteps:
            x = scheduler.step(x, t, x).prev_sample
    assert x.dtype == noised.dtype == torch.float32


@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/RVV", "psld/SSCS", "vp/UniPC-2", "psld/gDDIM"])
def test_a_walk_brings_no_float64_to_a_device(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme, times = load(spec).module, [0.9, 0.5, 0.2]
    monkeypatch.setattr("torch_backend.loop._Watch.settle", lambda self: None)  # it reads what meta does not have
    with NoFloat64():
        z = torch.empty(2, 3 * len(scheme.BLOCKS), 4, device="meta")
        draws = torch.empty(scheme.NOISES, 2, 3, 4)
        settings = {"blocks": len(scheme.BLOCKS), "noises": scheme.NOISES, "history": scheme.HISTORY}
        table = tabulate_scheme(scheme, times)
        z = integrate(scheme.step, table, times, lambda y, t: y, z, draw=lambda i: draws, **settings)
    assert (z.device.type, z.dtype) == ("meta", torch.float32)


def test_sigmas_bring_no_float64_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_backend.loop._Watch.settle", lambda self: None)
    with NoFloat64():
        x = torch.empty(2, 3, device="meta")
        sigmas = torch.tensor([10.0, 3.0, 0.5, 0.0], dtype=torch.float64)
        x = sample_on_sigmas(ia.derive("edm/DPM-Solver++2M").to_torch().module, lambda y, sigma, **_: y, x, sigmas)
    assert x.dtype == torch.float32


@pytest.mark.parametrize("device", ["mps", "mps:0", "cuda:77", "nonsense", ""])
def test_a_device_that_is_not_there_is_one_sentence(scheduler_class: Any, device: str) -> None:
    sentence = rf"^device '{device}' cannot be used here; available: cpu[a-z, ]*$"
    with pytest.raises(ValueError, match=sentence):
        usable(device)
    with pytest.raises(ValueError, match=sentence):
        scheduler_class("vp/DDIM")().set_timesteps(5, device=device)
    with pytest.raises(ValueError, match=sentence):
        load("psld/RVV", device=device).prior(2, (1, 2, 2), seed=0)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_every_name_of_the_cpu_is_taken(scheduler_class: Any, device: Any) -> None:
    scheduler = scheduler_class("vp/DDIM")()
    scheduler.set_timesteps(5, device=device)
    assert scheduler.timesteps.device.type == "cpu"
    assert load("psld/RVV", device=device).prior(2, (1, 2, 2), seed=0).device.type == "cpu"
