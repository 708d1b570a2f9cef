"""Every setting of every scheduler that diffusers ships is honoured, idle or refused, and docs/export.md says which."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest

from tests.torch_backend.export.test_schedulers import on_table
from torch_backend.export.exported_text.config_keys import FOREIGN, HONOURED, SETTINGS, Idle, Refused
from torch_backend.export.exported_text.scheduler_table import TableScheduler

PAGE = Path(__file__).parents[3] / "docs" / "export.md"


def schedulers() -> Iterator[type]:
    """Every scheduler class in the package, but of modules that need a package which is not installed."""
    for module in pkgutil.walk_packages(diffusers.schedulers.__path__, "diffusers.schedulers."):
        try:
            names = vars(importlib.import_module(module.name))
        except ImportError:
            continue
        for value in names.values():
            here = isinstance(value, type) and value.__module__ == module.name
            if here and issubclass(value, diffusers.SchedulerMixin) and value is not diffusers.SchedulerMixin:
                yield value


def settings_of(scheduler: type) -> set[str]:
    parameters = inspect.signature(scheduler.__init__).parameters.values()
    return {p.name for p in parameters if p.kind != p.VAR_KEYWORD} - {"self"}


def table_of_settings() -> str:
    """The table of docs/export.md: what becomes of each setting."""
    rows = ["| setting of diffusers | here |", "| --- | --- |"]
    for key, rule in sorted(SETTINGS.items()):
        if isinstance(rule, Idle):
            rows.append(f"| {key} | changes nothing: {rule.why} |")
        else:
            accepted = " or ".join(repr(one) for one in (*rule.accepted, None))
            rows.append(f"| {key} | refused unless {accepted}: {rule.why} |")
    return "\n".join(rows)


def test_every_setting_of_every_scheduler_has_a_rule() -> None:
    found = {key for scheduler in schedulers() for key in settings_of(scheduler)}
    known = HONOURED | set(SETTINGS) | FOREIGN
    assert found - known == set()
    assert known - found == set()
    assert len(HONOURED) + len(SETTINGS) + len(FOREIGN) == len(known)
    assert len(found) > 100


def test_what_is_honoured_is_what_the_scheduler_takes() -> None:
    assert settings_of(TableScheduler) == HONOURED


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table_of_settings() in page, f"the table is now\n{table_of_settings()}"
    listed = re.search(r"Honoured: ([^.]*)\.", page.replace("\n", " "))
    assert listed is not None
    assert {name.strip("` ") for name in listed[1].split(",")} == HONOURED


CONFIG = {key: value for key, value in diffusers.DDIMScheduler().config.items() if not key.startswith("_")}


@pytest.mark.parametrize("key", [key for key, rule in SETTINGS.items() if isinstance(rule, Refused)])
def test_what_is_refused_is_one_sentence_and_its_accepted_value_none(key: str) -> None:
    scheduler, rule = type(on_table("vp/DDIM")), SETTINGS[key]
    for accepted in (*rule.accepted, None):
        scheduler.from_config({**CONFIG, key: accepted})
    with pytest.raises(ValueError, match=rf"^the config has {key} = 'another', which is not covered \(.*would be$"):
        scheduler.from_config({**CONFIG, key: "another"})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"timestep_type": "continuous", "sigma_max": 700.0}, "timestep_type = 'continuous'"),
        ({"sigma_max": 700.0}, "none of which is set"),
        ({"variance_type": "learned_range"}, "variance_type=None"),
        ({"rho": 7.0}, "without a table of betas"),
        ({"steps_offset": -1}, "at least 0"),
        ({"euler_at_final": True, "final_sigmas_type": "sigma_min"}, "euler_at_final"),
        ({"timestep_spacing": "derived", "use_karras_sigmas": True}, "two grids"),
        ({"beta_schedule": "sigmoid"}, "others go in as trained_betas"),
        ({"beta_schedule": None}, "no betas"),
    ],
)
def test_what_would_change_network_or_grid_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        type(on_table("vp/DDIM")).from_config({**CONFIG, **settings})


def test_the_config_of_a_scheduler_with_betas_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="no betas"):
        type(on_table("vp/DDIM")).from_config(diffusers.IPNDMScheduler().config)


def test_sigmas_that_leave_the_table_are_refused() -> None:
    scheduler = on_table("vp/DDIM", use_karras_sigmas=True, sigma_max=700.0)
    for laid in ({"num_inference_steps": 8}, {"sigmas": [700.0, 1.0, 0.0]}, {"sigmas": [1.0, 1e-4]}):
        with pytest.raises(ValueError, match=r"do not decrease within the table, which has sigma/alpha from 157\.4"):
            scheduler.set_timesteps(**laid)
