"""A walk with its network, or a step without it, as one torch module that compiles and exports; and the .pt2 file.

Knows how torch.export wants a module: no value of a tensor is read, shapes are dynamic where they may differ. Knows no
formula of a scheme: the step that it exports is the generated one.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from torch_backend.export.exported_text.stages import evaluation_times
from torch_backend.export.text import check_certified
from torch_backend.scheme import Scheme, facts_of
from torch_backend.source import facts_of_source
from torch_backend.walk.loop import take_steps
from torch_backend.walk.sample_scheme import choose_ending, choose_times, weights_at_end
from torch_backend.walk.table import priming_row, tabulate_scheme
from torch_backend.walk.validation import without_zero

__all__ = [
    "STEPS",
    "SamplingLoop",
    "StepWithoutNetwork",
    "check_program",
    "export_loop",
    "export_step",
    "program_file",
    "step_facts",
    "step_program",
]

STEPS = 50
"""Steps of the scheme's own grid whose coefficients go into the file, where no times are asked for."""


class SamplingLoop(nn.Module):
    """The walk of a generated ``scheme`` over ``times`` with its network, as one module without a check inside.

    ``forward(z)``, or ``forward(z, noise)`` for a stochastic scheme, with z of shape ``(n, k * c, ...)`` in ``dtype``
    and noise of shape ``(n_steps, NOISES, n, c, ...)``, standard normal; returns the state at the last time. A last
    time of 0 is a step to no noise, which takes no noise. It compiles with ``fullgraph=True``, exports, and can be
    captured in a CUDA graph: no value of a tensor is read. ``lower_order_final``: as for ``sample_scheme``. Raises
    ValueError as ``tabulate_scheme`` and ``choose_times`` do.
    """

    table: Tensor
    ends: Tensor
    first: Tensor | None

    def __init__(
        self,
        scheme: Scheme,
        network: Callable[[Tensor, Tensor], Tensor],
        times: Iterable[float],
        dtype: torch.dtype = torch.float32,
        lower_order_final: bool | None = None,
    ) -> None:
        super().__init__()
        facts = facts_of(scheme)
        walk = choose_times(facts, None, times)
        first = priming_row(facts, walk) if walk[1] > 0 else None
        self.scheme, self.network, self.ending = facts, network, choose_ending(facts, walk)
        self.register_buffer("table", tabulate_scheme(facts, walk, lower_order_final).to(dtype))
        self.register_buffer("ends", torch.tensor(walk, dtype=torch.float64).to(dtype))
        self.register_buffer("first", None if first is None else first.to(dtype))

    def forward(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """The state at the last time, of z's shape."""
        step, ends = self.scheme.step, self.ends.unbind()
        past = [torch.zeros_like(z)] * self.scheme.history
        if self.first is not None:
            past = [step(z, ends[0], ends[0], self.first, self._evaluate, None, past)[1]] * self.scheme.history

        def draw(i: int) -> Tensor | None:
            return None if noise is None else noise[i]

        z = take_steps(step, self.table.unbind(), ends, self._evaluate, z, past, draw, lambda i, z: None)
        return z if self.ending is None else self.ending(z, ends[-2], self._evaluate)

    def _evaluate(self, z: Tensor, t: Tensor) -> Tensor:
        """The network's output at z, with the time t given to every sample."""
        return self.network(z, t.expand(z.shape[0]))


class StepWithoutNetwork(nn.Module):
    """Step ``index`` of a scheme over ``times``, for a caller that has the network: a step's evaluations, one by one.

    ``forward(z, index, outputs)``: outputs of shape ``(NFE_PER_STEP, *z.shape)``, of which those not known yet may hold
    anything; returns the states at which the evaluations are due, in the same shape, and the state at the end of the
    step. State k depends on the outputs before k. So: evaluate at state 0, fill in output 0, call again, and so on.
    Stochastic schemes take ``noise`` of shape ``(NOISES, n, c, ...)``; multistep ones ``past`` of shape
    ``(HISTORY, *z.shape)``, newest first, zeros at the start, and return what to put in front of it as a third tensor.
    A step to no noise, after ``times`` that end in 0, is the caller's: one evaluation, and the sum that ``step_facts``
    has the weights of. Raises ValueError as ``tabulate_scheme`` does, for times between which there is no step, and for
    a scheme whose first step needs an evaluation before it.
    """

    table: Tensor
    ends: Tensor

    def __init__(
        self,
        scheme: Scheme,
        times: Iterable[float],
        dtype: torch.dtype = torch.float32,
        lower_order_final: bool | None = None,
    ) -> None:
        super().__init__()
        facts = facts_of(scheme)
        walk = choose_times(facts, None, times)
        if facts.primed:
            raise ValueError(f"{facts.spec} reads an evaluation before its first step; export the loop with a network")
        if walk[1] == 0:
            raise ValueError(f"times {walk!r} hold no step of {facts.spec}; two times above 0 are needed")
        self.scheme = facts
        self.register_buffer("table", tabulate_scheme(facts, walk, lower_order_final).to(dtype))
        self.register_buffer("ends", torch.tensor(walk, dtype=torch.float64).to(dtype))

    def forward(
        self, z: Tensor, index: Tensor, outputs: Tensor, noise: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The states of the evaluations, the state at the end and, for a multistep scheme, what it keeps."""
        states: list[Tensor] = []

        def network(state: Tensor, time: Tensor) -> Tensor:
            states.append(state)
            return outputs[len(states) - 1]

        place = index.reshape(1)  # as a tensor: plain indexing by a 0-d tensor would read its value
        row = self.table.index_select(0, place).squeeze(0)
        t, s = self.ends.index_select(0, torch.cat([place, place + 1])).unbind()
        if past is None:
            end = self.scheme.step(z, t, s, row, network, noise)
            return torch.stack(states), end
        end, kept = self.scheme.step(z, t, s, row, network, noise, past.unbind())
        return torch.stack(states), end, kept


def export_loop(
    loop: SamplingLoop, z: Tensor, noise: Tensor | None = None, largest: int | None = None
) -> ExportedProgram:
    """Export the loop for states of z's shape, any number of them or at most ``largest``.

    A network that branches on the size of the batch needs a ``largest`` on one side of it, or torch.export refuses:
    upsampling in diffusers' UNets does at 64, so 63 is what they take.
    """
    n = Dim("n", min=1, max=largest)
    if noise is None:
        return torch.export.export(loop, (z,), dynamic_shapes=({0: n},))
    return torch.export.export(loop, (z, noise), dynamic_shapes=({0: n}, {2: n}))


def export_step(
    scheme: Scheme,
    times: Iterable[float],
    dtype: torch.dtype = torch.float32,
    lower_order_final: bool | None = None,
) -> ExportedProgram:
    """Export a step without its network, for data of any shape and any number of them.

    A step does the same to every number of a block, so the program takes the state as ``(n, k, d)``, which is
    ``z.reshape(n, k, -1)`` of the usual ``(n, k * c, ...)``; noise is ``(NOISES, n, 1, d)``.
    """
    facts = facts_of(scheme)
    k, n, d = len(facts.blocks), Dim("n", min=1), Dim("d", min=1)
    # Example inputs: every size that may differ is neither 0 nor 1, which torch.export would take for constants.
    z, index = torch.zeros((3, k, 5), dtype=dtype), torch.tensor(0)
    outputs, given = torch.zeros((facts.nfe_per_step, *z.shape), dtype=dtype), {}
    dynamic: dict[str, Any] = {"z": {0: n, 2: d}, "index": None, "outputs": {1: n, 3: d}}
    if facts.noises:
        given["noise"], dynamic["noise"] = torch.zeros((facts.noises, 3, 1, 5), dtype=dtype), {1: n, 3: d}
    if facts.history:
        given["past"], dynamic["past"] = torch.zeros((facts.history, *z.shape), dtype=dtype), {1: n, 3: d}
    step = StepWithoutNetwork(facts, times, dtype, lower_order_final)
    return torch.export.export(step, (z, index, outputs), given, dynamic_shapes=dynamic)


def step_facts(scheme: Scheme, times: Iterable[float]) -> dict[str, Any]:
    """What a caller of an exported step needs to know, as plain data: the times of every evaluation among it.

    ``step_to_no_noise`` is None unless the times end in 0. Else it has the ``evaluation_time`` of the step that follows
    those of the program and its ``weights``, a of the k blocks of the state and b of the output's: the predicted x_0 is
    sum a_i z_i + sum b_i output_i.
    """
    facts = facts_of(scheme)
    walk = choose_times(facts, None, times)
    full, rows = without_zero(walk), tabulate_scheme(facts, walk)
    ending = None
    if walk[-1] == 0:
        ending = {"evaluation_time": full[-1], "weights": weights_at_end(facts, walk)}
    return {
        "spec": facts.spec,
        "order": facts.order,
        "blocks": list(facts.blocks),
        "evaluations_per_step": facts.nfe_per_step,
        "history": facts.history,
        "noises": facts.noises,
        "prior_std": list(facts.prior_std),
        "times": walk,
        "evaluation_times": [
            evaluation_times(facts, t, s, row) for (t, s), row in zip(pairwise(full), rows, strict=True)
        ],
        "step_to_no_noise": ending,
    }


def program_file(program: ExportedProgram, facts: dict[str, Any]) -> bytes:
    """The content of a .pt2 file: the program and, under the name facts.json, the facts beside it."""
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={"facts.json": json.dumps(facts)})
    return stream.getvalue()


def check_program(source: str) -> None:
    """Raise ValueError, one sentence, for a scheme whose step cannot stand without its network."""
    facts = facts_of_source(source)
    if facts.primed:
        raise ValueError(
            f"{facts.spec} reads an evaluation before its first step; export a module, or the loop with its network"
        )
    if facts.takes_B:
        raise ValueError(f"{facts.spec} takes a B for every step; export a module")


def step_program(source: str, certificate: Mapping[str, Any], times: Sequence[float] | None = None) -> bytes:
    """The content of a .pt2 file with the step of a generated ``source`` over ``times``, its facts and its certificate.

    Raises ValueError as ``check_program`` and ``check_times`` do, and for a certificate of another source.
    """
    check_program(source)
    check_certified(source, certificate)
    facts = facts_of_source(source)
    walk = choose_times(facts, STEPS, None) if times is None else times
    return program_file(export_step(facts, walk), {**step_facts(facts, walk), "certificate": dict(certificate)})
