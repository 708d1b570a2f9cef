"""One step of a scheme, taken from outside: it stops where it needs the network, and goes on once it has the output.

Knows the step of a generated scheme as a function that calls a network; knows no formula of a scheme. The step is not
taken apart. It is run again from its start with the outputs known so far: that costs a few multiply-adds, and every
formula is written once. Exported files carry this text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_backend.scheme import SchemeFacts


class Stage(NamedTuple):
    """Where a step stands: at the ``state`` and ``time`` of its next evaluation, or, with no time, at its end."""

    state: Tensor
    time: Tensor | None
    kept: Tensor | None
    """What later steps of a multistep scheme are to get as past; None before the end, and for schemes without."""


class _Wanted(Exception):
    """Leaves a step at an evaluation whose output is not known yet; carries the evaluation's state and time."""

    def __init__(self, state: Tensor, time: Tensor) -> None:
        super().__init__("the step needs one more network output")
        self.state, self.time = state, time


def resume(
    scheme: SchemeFacts,
    z: Tensor,
    t: Tensor,
    s: Tensor,
    row: Tensor,
    outputs: Sequence[Tensor],
    noise: Tensor | None = None,
    past: Sequence[Tensor] = (),
) -> Stage:
    """Run the step of ``scheme`` from z at time t to s < t as far as the network's ``outputs`` reach.

    ``row``, ``noise`` and ``past`` are what ``integrate`` passes to the step. Outputs beyond those
    that the step asks for are not read.
    """
    known = iter(outputs)

    def network(state: Tensor, time: Tensor) -> Tensor:
        for output in known:
            return output
        raise _Wanted(state, time)

    try:
        if not scheme.history:
            return Stage(scheme.step(z, t, s, row, network, noise), None, None)
        end, kept = scheme.step(z, t, s, row, network, noise, past)
        return Stage(end, None, kept)
    except _Wanted as wanted:
        return Stage(wanted.state, wanted.time, None)


def evaluation_times(scheme: SchemeFacts, t: float, s: float, row: Tensor) -> list[float]:
    """The times of the evaluations of the step from t to s, found by taking it on zeros."""
    z = torch.zeros(1, len(scheme.blocks), dtype=torch.float64)
    noise = torch.ones(scheme.noises, 1, 1, dtype=torch.float64) if scheme.noises else None
    start, end = torch.tensor([t, s], dtype=torch.float64).unbind()
    past = [z] * scheme.history
    times: list[float] = []
    while True:
        stage = resume(scheme, z, start, end, row.double(), [z] * len(times), noise, past)
        if stage.time is None:
            return times
        times.append(float(stage.time))


def check_starts_with_evaluation(scheme: SchemeFacts, t: float, s: float, row: Tensor) -> None:
    """Raise ValueError unless a step's first evaluation is at the state and the time that the step starts from.

    Any other is one that no caller can make before the step begins.
    """
    z, ends = torch.ones(1, len(scheme.blocks), dtype=torch.float64), torch.tensor([t, s], dtype=torch.float64)
    noise = torch.ones(scheme.noises, 1, 1, dtype=torch.float64) if scheme.noises else None
    stage = resume(scheme, z, ends[0], ends[1], row.double(), [], noise, [z] * scheme.history)
    if stage.time is None or float(stage.time) != t or not torch.equal(stage.state, z):
        raise ValueError(
            f"{scheme.spec} moves the state before its first evaluation; nothing outside can evaluate there"
        )
