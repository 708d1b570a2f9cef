"""What diffusers asks of every scheduler of its own, clause by clause, of exported ones; and devices without float64.

Written from the contract. test_diffusers_own_tests.py runs their text, where a checkout of diffusers is at hand.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_schedulers
from torch_backend import load
from torch_backend.export.exported_text.sigmas import sample_on_sigmas
from torch_backend.networks.authors import AuthorsNetwork
from torch_backend.source import load_kernel
from torch_backend.walk.loop import integrate
from torch_backend.walk.table import tabulate_scheme
from torch_backend.walk.validation import usable_device

TABLE = ("vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "vp/EDM-Heun", "vp/RK4", "vp/SDE-DPM-Solver++2M")
FLOW = ("flow/Heun", "flow/conjugate(predict=velocity)", "flow/DPM-Solver++2M")
EVERY = (*TABLE, *FLOW)
EXACT = (*TABLE[:4], *FLOW)
"""Exact at the end of every step where the predicted x_0 and eps stay what they are."""


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
    scheduler = ours(num_train_timesteps=500, **({"shift": 3.0} if spec.startswith("flow") else {}))
    others = [other for other in scheduler.compatibles if other.__module__.startswith("diffusers.schedulers")]
    assert len(others) > (10 if spec.startswith("vp") else 1)
    for other in others:
        theirs = other.from_config(scheduler.config)
        assert theirs.config.num_train_timesteps == 500
        assert (
            dict(ours.from_config(theirs.config).config).items()
            >= {key: value for key, value in scheduler.config.items() if key != "_use_default_values"}.items()
        )
        for key in ("beta_start", "beta_end", "beta_schedule", "shift", "flow_shift", "use_flow_sigmas"):
            assert not {key} <= {*theirs.config} & {*scheduler.config} or theirs.config[key] == scheduler.config[key]


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


# --- settings, whole loops, and loops from the middle ----------------------------------------------------------------


SETTINGS = {
    "vp": [
        *({"num_train_timesteps": count} for count in (25, 100, 999)),
        *({"beta_start": start, "beta_end": end} for start, end in ((1e-5, 2e-3), (1e-3, 0.03))),
        *({"beta_schedule": name} for name in ("scaled_linear", "squaredcos_cap_v2")),
        *({"prediction_type": name} for name in ("sample", "v_prediction")),
        {"clip_sample": True, "clip_sample_range": 0.5},
        *({"timestep_spacing": name} for name in ("leading", "trailing")),
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"final_sigmas_type": "sigma_min", "timestep_spacing": "trailing"},
        {"set_alpha_to_one": False, "timestep_spacing": "trailing"},
    ],
    "flow": [
        *({"shift": shift} for shift in (0.5, 3.0)),
        {"shift_terminal": 0.05},
        *({f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta")),
        {"invert_sigmas": True},
        *({"prediction_type": name} for name in ("sample", "epsilon")),
        {"clip_sample": True, "clip_sample_range": 0.5},
    ],
}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with exported_schedulers(tmp_path_factory.mktemp("contract"), prefix="contract") as build:

        def made(spec: str, steps: int | None = None, **settings: Any) -> Any:
            scheduler = getattr(build(spec), build(spec).__all__[0])(**settings)
            if steps is not None:
                scheduler.set_timesteps(steps)
            return scheduler

        yield made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What diffusers logs while it reads a config; its loggers hand nothing on to the root."""
    logger = logging.getLogger("diffusers.configuration_utils")
    level = logger.level
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.WARNING)
    yield lambda: sorted({record.getMessage() for record in caplog.records})
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (2, 3, 4)), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network(z: Tensor, t: Tensor) -> Tensor:
    return 0.5 * z + 0.2 * torch.sin(2 * z) + (t / 2000).to(z)


def loop(
    scheduler: Any, z: Tensor | None = None, seed: int = 1, model: Any = network, begin: int = 0, times: Any = None
) -> Tensor:
    """A pipeline's loop, from an entry of ``timesteps`` on, or over time steps of one's own."""
    z, generator = noise(0) if z is None else z, torch.Generator().manual_seed(seed)
    for t in scheduler.timesteps[begin:] if times is None else times:
        output = model(scheduler.scale_model_input(z, t), t)
        z = scheduler.step(output, t, z, generator=generator).prev_sample
    return z


@pytest.mark.parametrize("spec", EVERY)
def test_every_setting_has_its_effect_and_keeps_it_when_loaded(make: Any, spec: str, tmp_path: Path) -> None:
    process = spec.split("/")[0]
    base = {"vp": {"timestep_spacing": "linspace"}, "flow": {}}[process]
    plain = loop(make(spec, 10, **base))
    for settings in SETTINGS[process]:
        scheduler = make(spec, 10, **base | settings)
        scheduler.save_pretrained(tmp_path)
        again = type(scheduler).from_pretrained(tmp_path)
        again.set_timesteps(10)
        found = loop(scheduler)
        assert found.isfinite().all()
        assert torch.equal(loop(again), found)
        assert not torch.allclose(found, plain, rtol=1e-4, atol=1e-4), settings


@pytest.mark.parametrize("spec", ["vp/DDIM", "flow/Heun"])
def test_a_setting_that_is_not_known_is_named_and_left_out(make: Any, spec: str, tmp_path: Path, said: Any) -> None:
    scheduler = make(spec)
    scheduler.save_pretrained(tmp_path)
    file = tmp_path / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "unexpected": True}))
    again = type(scheduler).from_pretrained(tmp_path)
    assert len(said()) == 1
    assert "'unexpected': True" in said()[0]
    assert "not expected and will be ignored" in said()[0]
    assert all(
        again.config[name] == scheduler.config[name] for name in type(scheduler)._get_init_keys(scheduler) - {"self"}
    )


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy on tensors, in diffusers
def test_what_a_network_was_trained_with_is_replaced_by_no_other_default(make: Any) -> None:
    """KDPM2 has betas of its own by default, 0.00085 ... 0.012; a config of ours says 0.0001 ... 0.02."""
    other = diffusers.KDPM2DiscreteScheduler.from_config(make("vp/DDIM").config)
    assert (other.config.beta_start, other.config.beta_end) == (1e-4, 0.02)
    assert not diffusers.DDIMScheduler.from_config(make("vp/DDIM").config).config.clip_sample  # True by default


@pytest.mark.parametrize("spec", EVERY)
def test_no_argument_is_deprecated_or_swallowed(make: Any, spec: str) -> None:
    parameters = inspect.signature(type(make(spec)).__init__).parameters.values()
    assert not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    assert type(make(spec))._deprecated_kwargs == []
    with pytest.raises(TypeError, match="unexpected keyword argument 'predict_epsilon'"):
        make(spec, predict_epsilon=True)


@pytest.mark.parametrize("spec", EVERY)
def test_laid_again_the_grid_has_no_memory(make: Any, spec: str) -> None:
    scheduler = make(spec, 6)
    first = loop(scheduler)
    scheduler.set_timesteps(4)
    loop(scheduler, begin=scheduler.order)
    scheduler.set_timesteps(6)
    assert torch.equal(loop(scheduler), first)


@pytest.mark.parametrize("spec", EVERY)
def test_a_step_leaves_its_arguments_as_they_are(make: Any, spec: str) -> None:
    scheduler = make(spec, 4)
    z, output = noise(0), noise(1)
    before = z.clone(), output.clone()
    for t in scheduler.timesteps:
        scheduler.step(output, t, z, generator=torch.Generator().manual_seed(0))
        assert torch.equal(z, before[0])
        assert torch.equal(output, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spec", EVERY)
def test_the_whole_loop_keeps_half_precision(make: Any, spec: str, dtype: torch.dtype) -> None:
    found, exact = loop(make(spec, 10), noise(0).to(dtype)), loop(make(spec, 10), noise(0).to(dtype).float())
    assert found.dtype == dtype
    # each state and each output is rounded; x_0 from eps multiplies that by 1/alpha = 158 at the table's end
    assert (found.float() - exact).abs().max() < 200 * torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize("spec", EVERY)
def test_every_prediction_type_gives_the_same_samples(make: Any, spec: str) -> None:
    """Told x_0, eps, v or the velocity of one and the same data: of point data here, which no network sees as it is."""
    ends, x_0 = [], noise(3, dtype=torch.float64)
    own = "flow_prediction" if spec in FLOW else "v_prediction"
    for prediction in ("sample", "epsilon", own):
        scheduler = make(spec, prediction_type=prediction)
        grid = {"sigmas": [0.95, 0.6, 0.3, 0.1]} if spec in FLOW else {"timesteps": [900, 500, 250, 40]}
        scheduler.set_timesteps(**grid)

        def told(z: Tensor, t: Tensor, scheduler: Any = scheduler, kind: str = prediction) -> Tensor:
            alpha, sigma = _alpha_sigma(scheduler, t)
            shown = x_0 + 0.1 * torch.sin(z)
            eps = (z - alpha * shown) / sigma
            kinds = {"sample": shown, "epsilon": eps, "v_prediction": alpha * eps - sigma * shown}
            return {**kinds, "flow_prediction": eps - shown}[kind]

        ends.append(loop(scheduler, noise(0, dtype=torch.float64), model=told))
    # time steps inside a step are float32: 6e-5 of one, and alpha and sigma are read there by the network
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-5, atol=1e-5)


def _alpha_sigma(scheduler: Any, t: Tensor) -> tuple[Tensor, Tensor]:
    """From what the contract says: the table's, in logarithm linear between entries, or the straight path's."""
    if not hasattr(scheduler, "betas"):
        return 1 - t.double() / 1000, t.double() / 1000
    log_bars = torch.log1p(-torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumsum(0)
    below = t.long().clamp(0, 998)
    bar = torch.lerp(log_bars[below], log_bars[below + 1], t.double() - below).exp()
    return bar.sqrt(), (1 - bar).sqrt()


@pytest.mark.parametrize("spec", EXACT)
def test_from_any_step_on_a_noised_image_goes_along_its_own_noise(make: Any, spec: str) -> None:
    """Image to image: add_noise at an entry, begin there; with point data the state keeps its x_0 and its eps."""
    x_0, eps = noise(3, dtype=torch.float64), noise(4, dtype=torch.float64)
    for first in range(6):
        scheduler = make(spec, 6)
        begin = first * scheduler.order
        schedule = scheduler.timesteps[begin:]
        z = scheduler.add_noise(x_0, eps, schedule[:1].repeat(2))
        scheduler.set_begin_index(begin)
        for k, t in enumerate(schedule):
            if k % scheduler.order == 0:
                alpha, sigma = _alpha_sigma(scheduler, t)
                torch.testing.assert_close(z, alpha * x_0 + sigma * eps, rtol=1e-4, atol=1e-4)
            output = eps - x_0 if spec in FLOW else eps
            z = scheduler.step(output, t, z).prev_sample
        torch.testing.assert_close(z, x_0, rtol=1e-3, atol=1e-3)  # add_noise is float32; 1/alpha is 158 at the end
        assert (scheduler.begin_index, scheduler.step_index) == (begin, 5 * scheduler.order + 1)


@pytest.mark.parametrize("spec", EVERY)
def test_without_a_begin_index_the_time_step_says_where(make: Any, spec: str) -> None:
    """Of two entries with the same time step, as schemes of several evaluations have, the one that begins a step."""
    for first in range(1, 5):
        told, found = make(spec, 5), make(spec, 5)
        begin = first * told.order
        told.set_begin_index(begin)
        assert found.index_for_timestep(found.timesteps[begin]) == begin
        assert torch.equal(loop(found, begin=begin), loop(told, begin=begin))


@pytest.mark.parametrize("spec", EVERY)
def test_a_grid_of_ones_own_as_pipelines_hand_it_over(make: Any, spec: str) -> None:
    laid, given = make(spec, 7), make(spec)
    starts = laid.timesteps[:: laid.order].tolist()
    own = {"sigmas": [t / 1000 for t in starts]} if spec in FLOW else {"timesteps": starts}
    assert set(own) <= set(inspect.signature(given.set_timesteps).parameters)  # what pipelines ask
    given.set_timesteps(device="cpu", **own)
    assert len(given.timesteps) == 6 * laid.order + 1
    torch.testing.assert_close(given.timesteps.float(), laid.timesteps.float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loop(given), loop(laid), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", EVERY)
def test_noise_is_added_in_every_precision_and_shape(make: Any, spec: str) -> None:
    scheduler = make(spec, 10)
    for shape in [(4, 3, 8, 8), (4, 7), (4, 2, 3, 4, 5)]:
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            x_0, eps = noise(0, *shape).to(dtype), noise(1, *shape).to(dtype)
            for t in (scheduler.timesteps[5 * scheduler.order][None], torch.tensor([1, 10, 500, 900])):
                found = scheduler.add_noise(x_0, eps, t)
                alpha, sigma = (part.reshape(-1, *[1] * (len(shape) - 1)) for part in _alpha_sigma(scheduler, t))
                assert (found.dtype, found.shape) == (dtype, x_0.shape)
                expected = alpha * x_0.double() + sigma * eps.double()
                torch.testing.assert_close(found.double(), expected, rtol=0, atol=max(4 * torch.finfo(dtype).eps, 1e-5))


# --- devices ----------------------------------------------------------------------------------------------------------


class NoFloat64(TorchDispatchMode):
    """A device, meta if not told, as one that has no float64, like Apple's MPS: such a tensor on it is an error."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.device.type == self.device and value.dtype == torch.float64:
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
    monkeypatch.setattr("torch_backend.walk.loop._Watch.settle", lambda self: None)  # it reads what meta does not have
    with NoFloat64():
        z = torch.empty(2, 3 * len(scheme.BLOCKS), 4, device="meta")
        draws = torch.empty(scheme.NOISES, 2, 3, 4)
        settings = {"blocks": len(scheme.BLOCKS), "noises": scheme.NOISES, "history": scheme.HISTORY}
        table = tabulate_scheme(scheme, times)
        z = integrate(scheme.step, table, times, lambda y, t: y, z, draw=lambda i: draws, **settings)
    assert (z.device.type, z.dtype) == ("meta", torch.float32)


def test_sigmas_bring_no_float64_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_backend.walk.loop._Watch.settle", lambda self: None)
    with NoFloat64():
        x = torch.empty(2, 3, device="meta")
        sigmas = torch.tensor([10.0, 3.0, 0.5, 0.0], dtype=torch.float64)
        x = sample_on_sigmas(ia.derive("edm/DPM-Solver++2M").to_torch().module, lambda y, sigma, **_: y, x, sigmas)
    assert x.dtype == torch.float32


@pytest.mark.parametrize("device", ["mps", "mps:0", "cuda:77", "nonsense", ""])
def test_a_device_that_is_not_there_is_one_sentence(scheduler_class: Any, device: str) -> None:
    sentence = rf"^device '{device}' cannot be used here; available: cpu[a-z, ]*$"
    with pytest.raises(ValueError, match=sentence):
        usable_device(device)
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


def waits(run: Callable[[], object]) -> int:
    """How often a run reads a value, for which a device would be waited for."""

    class Count(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Count.reads += func.overloadpacket.__name__ in {"_local_scalar_dense", "is_nonzero", "equal", "nonzero"}
            return func(*args, **(kwargs or {}))

    with Count():
        run()
    return Count.reads


@pytest.mark.parametrize("spec", EVERY)
def test_reads_of_values_do_not_grow_with_the_steps(make: Any, spec: str) -> None:
    """A loop over the scheduler's own time steps reads no value, whether a pipeline has said where it begins or not.

    Time steps of one's own are read, one a step.
    """
    counts, told, own = [], [], []
    for steps in (3, 9):
        scheduler = make(spec, steps)
        counts.append(waits(lambda scheduler=scheduler: loop(scheduler)))
        scheduler.set_timesteps(steps)
        scheduler.set_begin_index(0)
        told.append(waits(lambda scheduler=scheduler: loop(scheduler)))
        scheduler.set_timesteps(steps)
        copies = [t.clone() for t in scheduler.timesteps]
        own.append(waits(lambda scheduler=scheduler, copies=copies: loop(scheduler, times=copies)) - len(copies))
    assert counts == told == own == [0, 0]


@pytest.mark.parametrize("spec", ["psld/RVV", "psld/SSCS", "psld/DEIS-tAB2"])
def test_a_walk_on_phase_space_reads_two_values_whatever_the_steps(make: Any, spec: str) -> None:
    """Whether all values were finite, after the last step; and on the host whether all coefficients are."""
    counts = []
    for steps in (3, 9):
        scheduler, generator = make(spec, steps), torch.Generator().manual_seed(0)
        z = scheduler.prior((2, 1, 4, 4), generator, "cpu", torch.float32)
        counts.append(waits(lambda s=scheduler, z=z, g=generator: s.walk(lambda y, t: 0.5 * y, z, g)))
    assert counts == [2, 2]


def test_a_network_that_needs_the_kernel_brings_no_float64_to_mps() -> None:
    """Tensors that have the device mps, and no values; the kernel is evaluated in float64 on the CPU."""
    turned = AuthorsNetwork(lambda u, time: u, factor="upper", kernel=load_kernel("psld"))
    with FakeTensorMode(allow_non_fake_inputs=True), NoFloat64("mps"):
        z, t = torch.empty(2, 2, 4, 4, device="mps"), torch.empty(2, device="mps:0")
        eps = turned(z, t)
    assert (str(eps.device), eps.dtype) == ("mps:0", torch.float32)
