"""Schedulers on flow against diffusers': sigmas and samples of each counterpart, configs, and errors of whole walks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import integrator_analysis as ia
from torch_backend.export.exported_text.config_keys import Idle
from torch_backend.export.exported_text.flow_counterparts import flow_counterpart
from torch_backend.export.exported_text.scheduler_flow import FLOW_SETTINGS, FlowScheduler
from torch_backend.scheme import facts_of

# numpy on tensors, in schedulers of diffusers
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

EULER, HEUN = "flow/conjugate(predict=velocity)", "flow/Heun"
MULTISTEP, UNIPC = "flow/DPM-Solver++2M", "flow/UniPC-2"


@cache
def scheduler_class(spec: str) -> Any:
    facts = facts_of(ia.derive(spec).to_torch().module)
    return type("Scheduler", (FlowScheduler,), {"scheme": facts, "order": facts.nfe_per_step})


def scheduler(spec: str, **settings: Any) -> Any:
    return scheduler_class(spec)(**settings)


def theirs(name: str, **settings: Any) -> Any:
    """A scheduler of diffusers, on flow."""
    if "FlowMatch" not in name:
        settings = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", **settings}
    return getattr(diffusers, name)(**settings)


# --- walks on a mixture, with the exact velocity ---------------------------------------------------------------------


MEANS = torch.tensor([[1.5, 0.5], [-1.0, 1.0], [0.3, -1.3]], dtype=torch.float64)
START = torch.randn(48, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def velocity(z: Tensor, sigma: float) -> Tensor:
    """noise - x_0, expected at z = (1 - sigma) x_0 + sigma noise, data of three Gaussians, deviation 0.2."""
    if sigma == 1:
        return z - MEANS.mean(0)
    variance = (0.2 * (1 - sigma)) ** 2 + sigma**2
    centres = (1 - sigma) * MEANS
    share = torch.softmax(-((z[:, None] - centres) ** 2).sum(-1) / (2 * variance), 1)
    x_0 = share @ MEANS + 0.04 * (1 - sigma) / variance * (z - share @ centres)
    return (z - x_0) / sigma


@cache
def converged() -> Tensor:
    def slope(t: float, z: np.ndarray) -> np.ndarray:
        return velocity(torch.from_numpy(z).reshape(START.shape), t).flatten().numpy()

    end = solve_ivp(slope, (1.0, 1e-6), START.flatten().numpy(), method="DOP853", rtol=1e-6, atol=1e-7).y[:, -1]
    return torch.from_numpy(end).reshape(START.shape)


def drive(one: Any, z: Tensor = START, model: Any = velocity, sigmas: Sequence[float] | None = None) -> Tensor:
    """The loop of a pipeline; the network is told sigma, from the scheduler's own list or from its time steps."""
    at = one.timesteps / len(one) if sigmas is None else sigmas
    generator = torch.Generator().manual_seed(0)
    for t, sigma in zip(one.timesteps, at, strict=False):
        options = {} if "FlowMatch" in type(one).__name__ else {"generator": generator}
        if "UniPC" in type(one).__name__ or "DEIS" in type(one).__name__ or "Single" in type(one).__name__:
            options = {}
        z = one.step(model(z.double(), float(sigma)), t, z, return_dict=False, **options)[0]
    return z.double()


def error(end: Tensor) -> float:
    return float((end - converged()).square().mean().sqrt())


PEERS: list[tuple[str, str, dict[str, Any]]] = [
    (EULER, "FlowMatchEulerDiscreteScheduler", {}),
    (HEUN, "FlowMatchHeunDiscreteScheduler", {}),
    (MULTISTEP, "DPMSolverMultistepScheduler", {}),
    (UNIPC, "UniPCMultistepScheduler", {}),
]


@pytest.mark.parametrize(("spec", "name", "settings"), PEERS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_default_walk_is_no_worse_than_that_of_its_counterpart(
    spec: str, name: str, settings: dict[str, Any], shift: float
) -> None:
    for steps in (8, 20):
        ours = scheduler(spec, shift=shift)
        peer = theirs(name, **{"shift" if "FlowMatch" in name else "flow_shift": shift}, **settings)
        ours.set_timesteps(steps), peer.set_timesteps(steps)
        found, due = error(drive(ours)), error(drive(peer, sigmas=_told(peer)))
        assert found <= 1.02 * due
        assert len(ours.timesteps) == len(peer.timesteps)


def _told(peer: Any) -> list[float]:
    """The exact sigmas of a peer's evaluations: those with DPM-Solver's name truncate their time steps to integers."""
    return (peer.timesteps / 1000 if "FlowMatch" in type(peer).__name__ else peer.sigmas).tolist()


def test_multistep_walks_beat_euler() -> None:
    """They did not while they shared its sigmas: a step of full order to the last of these spoils them."""
    errors = {}
    for spec in (EULER, MULTISTEP, UNIPC, "flow/DEIS-tAB2", "flow/DEIS-rhoAB2"):
        one = scheduler(spec)
        one.set_timesteps(20)
        errors[spec] = error(drive(one))
    assert all(errors[spec] < 0.5 * errors[EULER] for spec in errors if spec != EULER), errors


@pytest.mark.parametrize("spec", ["flow/DPM-Solver-2", "flow/DPM-Solver++2S", "flow/ERK2", "flow/Heun"])
def test_walks_of_two_evaluations_a_step_beat_euler_at_equal_evaluations(spec: str) -> None:
    for steps in (8, 20):
        one, plain = scheduler(spec), scheduler(EULER)
        one.set_timesteps(steps)
        plain.set_timesteps(len(one.timesteps))
        assert error(drive(one)) < 0.7 * error(drive(plain))


@pytest.mark.parametrize(("spec", "name", "settings"), PEERS[2:])
def test_samples_are_those_of_the_counterpart(spec: str, name: str, settings: dict[str, Any]) -> None:
    ours, peer = scheduler(spec, shift=3.0), theirs(name, flow_shift=3.0, **settings)
    if name == "UniPCMultistepScheduler":  # it begins at 1 - 1e-6
        for one in (ours, peer):
            one.set_timesteps(sigmas=np.array([0.99, 0.9, 0.7, 0.5, 0.3, 0.1]))
    else:
        ours.set_timesteps(10), peer.set_timesteps(10)
    torch.testing.assert_close(ours.sigmas, peer.sigmas.float())
    torch.testing.assert_close(drive(ours), drive(peer, sigmas=peer.sigmas.tolist()), rtol=0, atol=2e-5)


def test_noise_is_that_of_the_counterpart() -> None:
    ours = scheduler("flow/SDE-DPM-Solver++2M", shift=3.0)
    peer = theirs("DPMSolverMultistepScheduler", flow_shift=3.0, algorithm_type="sde-dpmsolver++")
    ours.set_timesteps(10), peer.set_timesteps(10)
    z = START.float()
    torch.testing.assert_close(drive(ours, z), drive(peer, z, sigmas=peer.sigmas.tolist()), rtol=0, atol=2e-5)


# --- sigmas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("conjugate(predict=velocity)", "FlowMatchEulerDiscreteScheduler"),
        ("DDIM", "FlowMatchEulerDiscreteScheduler"),
        ("Heun", "FlowMatchHeunDiscreteScheduler"),
        ("DPM-Solver-2", "DPMSolverSinglestepScheduler"),
        ("DPM-Solver++2M", "DPMSolverMultistepScheduler"),
        ("DEIS-tAB1", "DEISMultistepScheduler"),
        ("UniPC-2", "UniPCMultistepScheduler"),
    ],
)
def test_default_sigmas_are_those_of_the_counterpart(scheme: str, name: str) -> None:
    for shift in (1.0, 3.0):
        ours = scheduler(f"flow/{scheme}", shift=shift)
        peer = theirs(name, **{"shift" if "FlowMatch" in name else "flow_shift": shift})
        for steps in (1, 8, 50):
            ours.set_timesteps(steps)
            peer.set_timesteps(len(ours.timesteps) if "Singlestep" in name else steps)
            starts = ours.sigmas[:-1][:: ours.order]
            due = peer.sigmas[:-1][:: ours.order if "Singlestep" in name else peer.order].float()
            assert ours.sigmas[-1] == 0
            if scheme in ("DDIM", "UniPC-2"):  # they have no step from 1; UniPC of diffusers begins at 1 - 1e-6
                due[0] = 1.0 if steps == 1 else 0.999
            torch.testing.assert_close(starts, due, rtol=1e-6, atol=1e-7)
    assert flow_counterpart(ours.scheme)[0] == name


def test_schemes_that_are_not_listed_are_taken_for_their_kind() -> None:
    for spec, kind in [
        ("flow/DPM-Solver++2M", "DPMSolverMultistepScheduler"),
        ("flow/UniPC-2", "UniPCMultistepScheduler"),
        ("flow/RK4", "FlowMatchHeunDiscreteScheduler"),
        ("flow/DDIM", "FlowMatchEulerDiscreteScheduler"),
    ]:
        assert flow_counterpart(dataclasses.replace(scheduler_class(spec).scheme, spec="flow/mine")) == (kind, False)


def test_as_many_steps_as_in_training_go_to_the_last_time_of_training() -> None:
    """Where diffusers' Euler ends at 0.047, having shifted its sigmas twice, and takes the rest in one step."""
    for spec in (EULER, HEUN):
        one = scheduler(spec, shift=7.0)
        one.set_timesteps(1000)
        assert one.sigmas[-2].item() == pytest.approx(7 / 1006, rel=1e-6)
        assert one.sigmas[0] == 1
        assert len(one.sigmas[::1].unique()) == 1001


def test_the_derived_spacing_is_the_grid_of_sampler_shifted() -> None:
    for spec in (EULER, MULTISTEP):
        one, sampler = scheduler(spec, shift=3.0, timestep_spacing="derived"), ia.derive(spec).to_torch()
        one.set_timesteps(9)
        own = torch.tensor(sampler.times(9), dtype=torch.float64)
        torch.testing.assert_close(one.sigmas, (3 * own / (1 + 2 * own)).float())
        one.set_timesteps(1)
        assert len(one.timesteps) == 1
    with pytest.raises(ValueError, match="'derived' or None is needed"):
        scheduler(EULER, timestep_spacing="trailing")


def test_one_step_goes_from_noise_to_data() -> None:
    for spec in (EULER, HEUN, "flow/DDIM", MULTISTEP, UNIPC):
        one = scheduler(spec)
        one.set_timesteps(1)
        assert len(one.timesteps) == 1
        assert one.timesteps[0] >= 999
        sigma = one.timesteps[0].item() / 1000
        torch.testing.assert_close(drive(one), START - sigma * velocity(START, sigma))


def their_euler(**settings: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({"shift": 3.0}, {}),
        ({"use_dynamic_shifting": True}, {"mu": 0.9}),
        ({"use_dynamic_shifting": True, "time_shift_type": "linear"}, {"mu": 1.7}),
        ({"use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "shift_terminal": 0.1}, {"mu": 1.5}),
        ({"use_karras_sigmas": True, "shift": 3.0}, {}),
        ({"use_exponential_sigmas": True}, {}),
        ({"use_beta_sigmas": True, "shift": 2.0}, {}),
        ({"invert_sigmas": True, "shift": 2.0}, {}),
        ({"use_dynamic_shifting": False}, {"mu": 0.9}),  # pipelines pass it always
        ({"use_dynamic_shifting": True}, {"mu": 0.9, "sigmas": np.linspace(1, 1 / 12, 12)}),
        ({"shift": 3.0}, {"sigmas": [1.0, 0.7, 0.2]}),
    ],
)
def test_settings_of_flow_matching_give_its_sigmas_and_samples(settings: dict[str, Any], call: dict[str, Any]) -> None:
    peer = their_euler(**settings)
    ours = scheduler_class(EULER).from_config(peer.config)
    count = {} if "sigmas" in call else {"num_inference_steps": 12}
    peer.set_timesteps(**count, **call), ours.set_timesteps(**count, **call)
    torch.testing.assert_close(ours.sigmas, peer.sigmas, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.timesteps.float(), peer.timesteps, rtol=1e-5, atol=1e-3)

    def told(z: Tensor, sigma: float) -> Tensor:
        return -velocity(z, 1 - sigma) if settings.get("invert_sigmas") else velocity(z, sigma)

    z = START.float()
    torch.testing.assert_close(drive(ours, z, told), drive(peer, z, told), rtol=1e-4, atol=2e-5)
    x_0, at = torch.ones(1, 2), ours.timesteps[4:5] if count else ours.timesteps[1:2]
    mixed = ours.scale_noise(x_0, at, -x_0)
    sigma = ours.sigmas[4 if count else 1]
    sigma = 1 - sigma if settings.get("invert_sigmas") else sigma
    torch.testing.assert_close(mixed, (1 - 2 * sigma) * x_0)


def test_the_settings_hold_on_the_grid_of_another_counterpart() -> None:
    """LTX's terminal sigma with UniPC, against diffusers' own."""
    settings = {"use_dynamic_shifting": True, "shift_terminal": 0.1}
    ours, peer = scheduler(UNIPC, **settings), theirs("UniPCMultistepScheduler", **settings)
    ours.set_timesteps(9, mu=1.5), peer.set_timesteps(9, mu=1.5)
    torch.testing.assert_close(ours.sigmas[1:], peer.sigmas[1:].float(), rtol=1e-5, atol=1e-6)
    assert ours.sigmas[-2].item() == pytest.approx(0.1, rel=1e-6)


def test_time_steps_given_are_what_the_network_is_told() -> None:
    one = scheduler(EULER, shift=3.0)
    one.set_timesteps(timesteps=[900, 500, 100])
    assert one.timesteps.tolist() == [900, 500, 100]
    torch.testing.assert_close(one.sigmas, torch.tensor([0.9, 0.5, 0.1, 0.0]))  # theirs: shifted away from them
    for spec in (EULER, MULTISTEP):  # as CogView4: other time steps than sigmas
        settings = {"use_dynamic_shifting": True, "time_shift_type": "linear"}
        peer, ours = their_euler(**settings), scheduler(spec, **settings)
        call = {"timesteps": [1000.0, 600.0, 150.0], "sigmas": [1.0, 0.6, 0.15], "mu": 2.0}
        peer.set_timesteps(**call), ours.set_timesteps(**call)
        assert ours.timesteps.tolist() == peer.timesteps.tolist()
        torch.testing.assert_close(ours.sigmas[1:], peer.sigmas[1:])
        x_0 = torch.ones(1, 2)
        mixed = ours.scale_noise(x_0, torch.tensor([600.0]), -x_0)
        torch.testing.assert_close(mixed, (1 - 2 * peer.sigmas[1]) * x_0)


# --- configs ---------------------------------------------------------------------------------------------------------


WAN = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize("spec", [EULER, MULTISTEP, UNIPC])
@pytest.mark.parametrize("name", ["UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "DEISMultistepScheduler"])
def test_configs_of_wan_and_sana_are_honoured(spec: str, name: str) -> None:
    """As made, and as read from a file, where every setting stands and none is known to be a default."""
    peer = getattr(diffusers, name)(**WAN)
    from_file = {key: value for key, value in peer.config.items() if key != "_use_default_values"}
    for config in (peer.config, from_file):
        ours = scheduler_class(spec).from_config(config)
        assert (ours.config.shift, ours.config.flow_shift) == (3.0, 3.0)
        assert ours.config.prediction_type == "flow_prediction"
        again = getattr(diffusers, name).from_config(ours.config)
        assert {key: again.config[key] for key in WAN} == WAN
        assert diffusers.FlowMatchEulerDiscreteScheduler.from_config(ours.config).config.shift == 3.0
        other = scheduler_class(spec).from_config(config, shift=5.0)
        assert (other.config.shift, other.config.flow_shift) == (5.0, 5.0)
    kept = scheduler_class(spec).from_config(getattr(diffusers, name)(use_flow_sigmas=True).config)
    assert kept.config.prediction_type == "epsilon"  # their default, with which the network was used


ON_FLOW = (
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "SASolverScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)


def test_every_setting_of_every_scheduler_on_flow_is_honoured_idle_or_refused() -> None:
    own = set(FlowScheduler._get_init_keys(FlowScheduler))
    theirs = set().union(*(getattr(diffusers, name)._get_init_keys(getattr(diffusers, name)) for name in ON_FLOW))
    assert theirs - own == set(FLOW_SETTINGS) - own
    page = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    assert _table_of_settings() in page, f"the table in docs/export.md is not this one:\n\n{_table_of_settings()}"


def _table_of_settings() -> str:
    """The settings that the scheduler has no part in, by what becomes of them and why, as docs/export.md shows them."""
    rows: dict[str, list[str]] = {}
    for key, rule in FLOW_SETTINGS.items():
        fate = "no effect" if isinstance(rule, Idle) else f"refused unless {_either(rule.accepted)}"
        rows.setdefault(f"{fate}: {rule.why}", []).append(f"`{key}`")
    lines = [f"| {', '.join(keys)} | {fate} |" for fate, keys in rows.items()]
    return "\n".join(["| setting | what becomes of it |", "| --- | --- |", *lines])


def _either(accepted: tuple[object, ...]) -> str:
    return " or ".join(f"{one!r}" for one in accepted) or "None"


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, "stochastic_sampling = True"),
        ("DPMSolverMultistepScheduler", {"thresholding": True}, "thresholding = True, which is not covered"),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "use_lu_lambdas = True"),
        ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}, "'zero' would be"),
        ("DPMSolverMultistepScheduler", {"variance_type": "learned"}, "variance_type = 'learned'"),
        ("UniPCMultistepScheduler", {"use_karras_sigmas": True}, "over a table of betas"),
        ("UniPCMultistepScheduler", {"disable_corrector": [0]}, "disable_corrector"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": False}, "no shift and no use_flow_sigmas"),
        ("UniPCMultistepScheduler", {"prediction_type": "v_prediction"}, "no output on straight paths"),
        ("FlowMatchLCMScheduler", {"scale_factors": [0.5, 1.0]}, "scale_factors"),
    ],
)
def test_settings_that_are_not_covered_are_refused(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        scheduler_class(MULTISTEP).from_config(theirs(name, **settings).config)


def test_a_setting_of_another_class_that_is_not_known_is_refused() -> None:
    """diffusers drops it in silence: its configs of other kinds of flow have a shift too."""
    names = [name for name in dir(diffusers) if name.endswith("Scheduler")]
    known = set(FlowScheduler._get_init_keys(FlowScheduler)) | set(FLOW_SETTINGS)
    refused = []
    for name in names:
        other = getattr(diffusers, name)
        keys = getattr(other, "_get_init_keys", lambda one: set())(other)
        for key in sorted(keys - known - {"self", "kwargs"}):
            with pytest.raises(ValueError, match=rf"{key}, a setting of {name} that"):
                scheduler_class(EULER).from_config({"_class_name": name, "shift": 3.0, key: 1})
            refused.append(name)
    assert len(set(refused)) > 10


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shift": 0.0}, "positive number"),
        ({"shift": 3.0, "flow_shift": 5.0}, "name one number"),
        ({"shift_terminal": 1.0}, "between 0 and 1"),
        ({"time_shift_type": "cubic"}, "Known: exponential, linear"),
        ({"use_flow_sigmas": False}, "no other sigmas"),
        ({"use_karras_sigmas": True, "use_beta_sigmas": True}, "2 grids; choose one"),
    ],
)
def test_bad_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        scheduler(EULER, **settings)


def test_bad_calls_are_one_sentence() -> None:
    plain, linear = scheduler(EULER), scheduler(EULER, use_dynamic_shifting=True, time_shift_type="linear")
    for call, sentence in [
        ({"num_inference_steps": 0}, "from 1 to 1000"),
        ({"num_inference_steps": 1001}, "from 1 to 1000"),
        ({"num_inference_steps": 2.5}, "from 1 to 1000"),
        ({"num_inference_steps": True}, "from 1 to 1000"),
        ({}, "from 1 to 1000"),
        ({"num_inference_steps": 3, "sigmas": [1.0, 0.5]}, "3, but 2 sigmas"),
        ({"sigmas": [0.5, 1.0]}, "sigmas .* do not decrease"),
        ({"sigmas": [1.5, 1.0]}, "from at most 1"),
        ({"timesteps": [1500, 10]}, "time steps .* from at most 1000"),
        ({"timesteps": [0]}, "time steps .* to above 0"),
        ({"sigmas": [1.0, 0.5], "timesteps": [900]}, "1 time steps .* for 2 sigmas"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            plain.set_timesteps(**call)
    for mu, sentence in ((None, "needs mu"), (-1.0, "a positive number")):
        with pytest.raises(ValueError, match=sentence):
            linear.set_timesteps(4, mu=mu)
    with pytest.raises(ValueError, match="not covered where invert_sigmas"):
        scheduler(EULER, invert_sigmas=True).set_timesteps(timesteps=[900, 100])


def test_sigmas_of_flux_go_through_schemes_that_have_no_step_from_one() -> None:
    """Its pipeline gives sigmas from 1 on."""
    for scheme in ("DDIM", "DPM-Solver++2M", "UniPC-2", "DEIS-tAB1", "DPM-Solver-2"):
        one = scheduler(f"flow/{scheme}", use_dynamic_shifting=True)
        one.set_timesteps(sigmas=np.linspace(1, 1 / 12, 12), mu=math.log(3.0))
        assert one.timesteps[0] == 999
        assert error(drive(one)) < 0.15


def test_errors_show_a_few_of_many_numbers() -> None:
    scheduler = scheduler_class("flow/DDIM")()
    with pytest.raises(ValueError, match="1000 numbers") as caught:
        scheduler.set_timesteps(sigmas=[0.5] * 1000)
    assert len(str(caught.value)) < 200
