"""The facts of a scheme module: what must be stated, what may be left out, and that one place asks for them."""

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

import torch_backend
from torch_backend import load
from torch_backend.sampler import available
from torch_backend.scheme import SchemeModule, facts_of


@pytest.mark.parametrize("spec", available())
def test_generated_modules_state_facts(spec):
    module = load(spec).module
    facts = facts_of(module)
    assert (facts.spec, facts.blocks, facts.step) == (spec, module.BLOCKS, module.step)
    assert len(facts.coefficient_names) == len(module.COEFFICIENTS)
    assert facts.log_snr is module.log_snr


def test_what_is_not_stated_has_its_default(ddim):
    facts = facts_of(SimpleNamespace(**{name: value for name, value in vars(ddim).items() if name != "data_weights"}))
    stated = (
        facts.log_snr, facts.data_weights, facts.grid, facts.network, facts.primed, facts.mends, facts.variance,
        facts.takes_B,
    )  # fmt: skip
    assert stated == (None, None, "uniform", "eps", False, False, None, False)
    assert len(SchemeModule.__annotations__) + len(stated) == len(fields(facts))


@pytest.mark.parametrize(
    ("spec", "field", "name"),
    [
        ("psld/SPS-2M", "primed", "PRIMED"),
        ("vp/UniPC-2", "mends", "MENDS"),
        ("vp/anchored-DDIM", "variance", "VARIANCE"),
    ],
)
def test_what_is_stated_is_read(spec, field, name):
    module = load(spec).module
    assert getattr(facts_of(module), field) == vars(module)[name]


def test_facts_are_their_own_facts(ddim):
    facts = facts_of(ddim)
    assert facts_of(facts) is facts


def test_an_object_without_a_name_is_refused(ddim):
    lacking = {name: value for name, value in vars(ddim).items() if name not in ("ORDER", "step")}
    with pytest.raises(TypeError, match="is not a scheme module; it lacks ORDER, step"):
        facts_of(SimpleNamespace(**lacking))


def test_one_place_asks_a_module_for_what_it_may_leave_out():
    folder = Path(torch_backend.__file__).parent
    asking = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if "generated" not in path.parts
        and re.search(r'(?:getattr|hasattr)\(\w+, "(?:[A-Z_]+|log_snr)"', path.read_text(encoding="utf-8"))
    }
    # the second asks ComfyUI for its SAMPLER_NAMES, the others what is given as a kernel for its T_MAX and NETWORK
    others = {"export/exported_text/sigmas.py", "networks/guidance.py", "networks/training_noise.py"}
    assert asking == {"scheme.py", *others}
