"""Shared settings of the tests: seeded hypothesis without a clock, one torch thread per worker, no cache on disk."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

os.environ["INTEGRATOR_ANALYSIS_CACHE"] = ""  # a test that replaces a part of a derivation must neither read nor write

hypothesis.settings.register_profile(
    "project", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("project")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=600, help="cases for each reader of text from outside")
    parser.addoption(
        "--more-examples", type=int, default=1, help="times as many examples of every property, drawn anew"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    factor = config.getoption("--more-examples")
    for item in items if factor > 1 else ():
        test = getattr(item, "obj", None)
        if isinstance(given := getattr(test, "_hypothesis_internal_use_settings", None), hypothesis.settings):
            more = hypothesis.settings(
                given, max_examples=factor * given.max_examples, derandomize=False, database=None
            )
            test._hypothesis_internal_use_settings = more  # type: ignore[union-attr]
