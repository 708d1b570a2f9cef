"""Shared settings of the tests: seeded hypothesis without deadlines, one torch thread per worker, no cache on disk."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

os.environ["INTEGRATOR_ANALYSIS_CACHE"] = ""  # a test that replaces a part of a derivation must neither read nor write

hypothesis.settings.register_profile("project", derandomize=True, deadline=None)
hypothesis.settings.load_profile("project")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=600, help="cases for each reader of text from outside")
