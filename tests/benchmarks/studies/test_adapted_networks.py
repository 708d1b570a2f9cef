"""The study of adapted networks in small: one scheme a setting, four evaluations, few images."""

from __future__ import annotations

import math

import adapted_networks
import pytest


def test_small_study_makes_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {setting: specs[:1] for setting, specs in adapted_networks.SETTINGS.items()}
    monkeypatch.setattr(adapted_networks, "SETTINGS", settings)
    records = adapted_networks.measure([4], seeds=1, images=16)
    assert len(records) == 4 * len(adapted_networks.GRIDS)
    assert all(math.isfinite(distance) for record in records for distance in record["distances"])
    page = adapted_networks.page(records, [4], 1, 16, " --evaluations 4 --seeds 1 --images 16")
    assert page.count("| psld/DPM-Solver++2M | adapted, within the range | 0.") == 2
    assert "On the VP network at 4 evaluations the best of phase space is psld/DPM-Solver++2M on the" in page
