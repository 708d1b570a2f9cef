"""The common tests that diffusers runs on its own schedulers, run on exported ones out of a checkout of diffusers.

    DIFFUSERS_CHECKOUT=/path/to/diffusers make test PYTEST_ARGS="tests/torch_backend/test_diffusers_own_tests.py"

The archive on PyPI holds no tests, hence the checkout, at the tag of the installed version. Every test of their class
SchedulerCommonTest runs on every scheme that can be exported on vp and flow, and on one of phase space. What does not
apply stands in DOES_NOT_APPLY, with the reason, and has to fail: nothing is left out that would pass.
"""

import importlib
import os
import sys
import types
import unittest
import warnings
from pathlib import Path

import pytest
from diffusers.utils import DummyObject

import integrator_analysis as ia
from tests.torch_backend.exporting import exported_schedulers
from torch_backend.sampler import available

CHECKOUT = os.environ.get("DIFFUSERS_CHECKOUT")
if not CHECKOUT:
    pytest.skip("set DIFFUSERS_CHECKOUT to a checkout of diffusers, whose tests these are", allow_module_level=True)

# numpy on tensors, in schedulers of diffusers
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def common_tests(checkout):
    """Their class, imported under a package of another name, so that their ``tests`` do not stand for ours."""
    file = Path(checkout, "tests", "schedulers", "test_schedulers.py")
    if not file.is_file():
        raise FileNotFoundError(f"DIFFUSERS_CHECKOUT = {checkout}: {file} is not there")
    package = types.ModuleType("checkout_of_diffusers")
    package.__path__ = [str(file.parents[1])]
    sys.modules[package.__name__] = package
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the helpers that they import
        return importlib.import_module(f"{package.__name__}.schedulers.test_schedulers").SchedulerCommonTest


Common = common_tests(CHECKOUT)
Common.__test__ = False  # pytest would collect the class itself, which has no schedulers
NAMES = unittest.defaultTestLoader.getTestCaseNames(Common)

VP = [spec for spec in available() if spec.startswith("vp/") and spec != "vp/SSCS"]
FLOW = ["flow/conjugate(predict=velocity)", *(spec.replace("vp", "flow") for spec in VP if "anchored" not in spec)]
KINDS = ("vp/DDIM", "vp/DPM-Solver++2M", "vp/UniPC-2", "vp/EDM-Heun", "vp/RK4", "vp/SDE-DPM-Solver++2M", "flow/Heun")
"""Multistep, predictor-corrector, several evaluations a step, noise, and flow."""

CONFIG = {
    "vp": {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
    "flow": {"num_train_timesteps": 1000, "shift": 3.0},
    "psld": {"grid": "quadratic", "timestep_scale": 1000.0},
}

NO_STEP = "a scheduler of phase space has no step: its pipeline hands the network to the scheme's walk"
DOES_NOT_APPLY = {
    "vp": {},
    "flow": {"test_trained_betas": "straight paths have no betas"},
    "psld": {
        "test_add_noise_device": NO_STEP,
        "test_compatibles": "diffusers has no other scheduler of phase space",
        "test_from_save_pretrained": NO_STEP,
        "test_scheduler_outputs_equivalence": NO_STEP,
        "test_scheduler_public_api": NO_STEP,
        "test_step_shape": NO_STEP,
        "test_trained_betas": "processes on phase space have no betas",
    },
}

OVER = {
    "vp": [
        *({"num_train_timesteps": count} for count in (25, 100, 999)),
        *({"beta_start": start, "beta_end": end} for start, end in ((1e-5, 2e-4), (1e-3, 0.02), (0.01, 0.2))),
        *({"beta_schedule": name} for name in ("scaled_linear", "squaredcos_cap_v2")),
        *({"prediction_type": name} for name in ("epsilon", "sample", "v_prediction")),
        *({"clip_sample": True, "clip_sample_range": size} for size in (0.5, 1.0, 2.0)),
        *({"timestep_spacing": name} for name in ("linspace", "leading", "trailing")),
        *({"timestep_spacing": "leading", "steps_offset": offset} for offset in (0, 1)),
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        *({"final_sigmas_type": name} for name in ("zero", "sigma_min")),
        {"set_alpha_to_one": False},
    ],
    "flow": [
        *({"num_train_timesteps": count} for count in (25, 100, 999)),
        *({"shift": shift} for shift in (0.5, 1.0, 6.0)),
        *({"prediction_type": name} for name in ("flow_prediction", "sample", "epsilon")),
        *({f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta")),
        {"shift_terminal": 0.1},
        {"invert_sigmas": True},
        {"timestep_spacing": "derived"},
        {"clip_sample": True},
    ],
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    with exported_schedulers(tmp_path_factory.mktemp("own_tests"), prefix="own_tests") as build:
        yield build


@pytest.fixture
def case(build, monkeypatch):
    """(spec, name of a test) -> their test case for the spec's scheduler."""

    def make(spec, name="runTest"):
        module = build(spec)
        scheduler = getattr(module, module.__all__[0])
        # without the package torchsde, DPMSolverSDEScheduler is a name that raises when it is used
        usable = [one.__name__ for one in scheduler._get_compatibles() if not isinstance(one, DummyObject)]
        monkeypatch.setattr(scheduler, "_compatibles", usable)

        class Case(Common):
            scheduler_classes = (scheduler,)
            forward_default_kwargs = (("num_inference_steps", 25),)

            def get_scheduler_config(self, **settings):
                # trained_betas are given for two time steps
                trained = {"num_train_timesteps": 2} if name == "test_trained_betas" and "vp/" in spec else {}
                return {**CONFIG[spec.split("/")[0]], **trained, **settings}

            def runTest(self):
                """Nothing: the case is made for its helpers."""

        return Case(name)

    return make


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", [*VP, *FLOW, "psld/RVV"])
def test_common(case, request, spec, name):
    reason = DOES_NOT_APPLY[spec.split("/")[0]].get(name)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    case(spec, name).debug()


@pytest.mark.parametrize("spec", KINDS)
def test_over_configs(case, spec):
    one = case(spec)
    for settings in OVER[spec.split("/")[0]]:
        scheduler = one.scheduler_classes[0](**one.get_scheduler_config(**settings))
        scheduler.set_timesteps(25)
        one.check_over_configs(time_step=scheduler.timesteps[0], **settings)


@pytest.mark.parametrize("spec", KINDS)
def test_over_numbers_of_steps(case, spec):
    one = case(spec)
    for steps in (1, 2, 3, 5, 10, 100, 999, 1000):
        scheduler = one.scheduler_classes[0](**one.get_scheduler_config())
        scheduler.set_timesteps(steps)
        for place in {0, len(scheduler.timesteps) // 2 // scheduler.order * scheduler.order}:
            one.check_over_forward(time_step=scheduler.timesteps[place], num_inference_steps=steps)


def test_what_does_not_apply_is_there():
    assert all(set(reasons) <= set(NAMES) for reasons in DOES_NOT_APPLY.values())


@pytest.mark.parametrize("spec", ["flow/anchored-DDIM", "flow/anchored-AB2"])
def test_members_left_out_cannot_be_derived(spec):
    with pytest.raises(ia.InputError, match="flow is not accepted"):
        ia.derive(spec)
