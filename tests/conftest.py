"""Shared settings of the tests: seeded hypothesis without deadlines, one torch thread per worker."""

from __future__ import annotations

import hypothesis
import torch

hypothesis.settings.register_profile("project", derandomize=True, deadline=None)
hypothesis.settings.load_profile("project")
torch.set_num_threads(1)
