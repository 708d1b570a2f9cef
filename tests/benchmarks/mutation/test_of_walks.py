"""The walk checks accept every exported scheduler as it is and reject named faults and a seeded sample of mutants."""

from __future__ import annotations

import of_walks
import pytest

FAULTS = {
    "wrong ending": ("flow/Heun", "self._lay_grid(times, True, device)", "self._lay_grid(times, False, device)"),
    "stale history": ("vp/DPM-Solver++3M", "self._past = [torch.zeros_like(sample)] * self.scheme.history", "pass"),
    "past in the wrong order": (
        "vp/DPM-Solver++3M",
        "self._past = [reached.kept, *self._past[:-1]]",
        "self._past = [*self._past[1:], reached.kept]",
    ),
    "noise drawn once": (
        "vp/DDIM-eta",
        "self._noise = torch.stack(draws) if draws else None",
        "self._noise = getattr(self, '_noise', torch.stack(draws)) if draws else None",
    ),
    "generator ignored": ("vp/DDIM-eta", "randn_tensor(z.shape, source, ", "randn_tensor(z.shape, None, "),
    "clipped state": ("vp/DDIM", "skip_from_0 * z + scale_from_0 * x_0, x_0", "skip * z + scale * output, x_0"),
    "shift applied twice": (
        "flow/UniPC-2",
        "times = [shift * sigma / (1 + (shift - 1) * sigma) for sigma in walk]",
        "times = [shift**2 * sigma / (1 + (shift**2 - 1) * sigma) for sigma in walk]",
    ),
    "order of a final step": (
        "vp/DPM-Solver++3M",
        "known, left = min(i, history), count - 1 - i",
        "known, left = min(i, history), count - i",
    ),
    "wrong device": ("vp/DDIM", "self.timesteps = self.timesteps.to(usable_device(device))", "usable_device(device)"),
    "dtype of the result": ("vp/DDIM", "after.to(sample.dtype), x_0.to(sample.dtype)", "after, x_0"),
}  # fmt: skip
"""Faults that were made in other samplers, or here: the spec, and the text before and after."""


@pytest.mark.parametrize("spec", of_walks.SUBJECTS)
def test_exported_schedulers_pass(spec: str) -> None:
    assert of_walks.judge_text(spec, of_walks.exported_text(spec)) is None


@pytest.mark.parametrize(("spec", "before", "after"), FAULTS.values(), ids=FAULTS)
def test_named_faults_are_rejected(spec: str, before: str, after: str) -> None:
    text = of_walks.exported_text(spec)
    assert text.count(before) == 1
    assert of_walks.judge_text(spec, text.replace(before, after)) is not None


def test_a_seeded_sample_of_mutants_is_rejected_or_explained() -> None:
    drawn = of_walks.draw_mutants(6, of_walks.SEED)  # the first of the program's
    assert drawn == of_walks.draw_mutants(6, of_walks.SEED)
    assert len({mutant.kind for _, mutant, _ in drawn}) == 6
    assert of_walks.find_survivors(of_walks.judge(*one) for one in drawn) == []
