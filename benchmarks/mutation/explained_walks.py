"""Mutants of walks and schedulers that pass the checks, and why: they compute the same, or nothing is claimed."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXPLAINED"]

EXPLAINED: Mapping[tuple[str, str, str], str] = {
    (
        "_read_betas",
        "self.betas = torch.from_numpy(betas).float()",
        "self.betas = (torch.from_numpy(betas))",
    ): "The table as others read it, in float64 in place of float32; no walk reads it.",
    (
        "_entry_of_view",
        "return int(timestep.storage_offset() - schedule.storage_offset())",
        "return int((timestep.storage_offset() + schedule.storage_offset()))",
    ): "The time steps begin their storage: their offset is 0.",
    (
        "_advance",
        "reached = resume(self.scheme, self._start, t, s, row, self._outputs, self._noise, self._past)",
        "reached = resume(self.scheme, self._start, s, s, row, self._outputs, self._noise, self._past)",
    ): "A step hands its times to the network alone, and that has been called already.",
    (
        "_advance",
        "reached = resume(self.scheme, self._start, t, s, row, self._outputs, self._noise, self._past)",
        "reached = resume(self.scheme, self._start, t, t, row, self._outputs, self._noise, self._past)",
    ): "A step hands its times to the network alone, and that has been called already.",
    (
        "evaluation_times",
        "start, end = torch.tensor([t, s], dtype=torch.float64).unbind()",
        "start, end = torch.tensor([t, s]).unbind()",
    ): "Times in float32: so are the time steps that are made of them.",
}
"""(function, changed lines before, after) -> why no check has to fail."""
