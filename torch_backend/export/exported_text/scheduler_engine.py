"""The part of a diffusers scheduler that all schemes share: coefficients, the evaluations of a step, index and noise.

Knows the contract of diffusers and the facts of a scheme; knows neither a schedule nor a formula of a scheme.
Exported schedulers carry this text.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from torch_backend.export.exported_text.stages import evaluation_times, resume
from torch_backend.networks.prediction import PREDICTIONS, from_state
from torch_backend.scheme import SchemeFacts
from torch_backend.walk.table import lowers_final_order, tabulate
from torch_backend.walk.validation import usable_device

Generators = torch.Generator | Sequence[torch.Generator] | None
"""What draws noise: one generator for the batch, a list with one per sample, or, with None, torch's own."""


def falls(walk: Sequence[float], high: float, low: float) -> bool:
    """Whether ``walk`` is not empty and decreases from at most ``high`` to at least ``low``."""
    return bool(walk) and walk[0] <= high and walk[-1] >= low and all(a > b for a, b in pairwise(walk))


def shorten(values: Sequence[float]) -> str:
    """A list of numbers for an error message: all of up to six, else the first three, the last and how many.

    >>> shorten([3.0, 1.5]), shorten(range(1000))
    ('[3, 1.5]', '[0, 1, 2, ..., 999] (1000 numbers)')
    """
    shown = [f"{value:.6g}" for value in values]
    if len(shown) <= 6:
        return f"[{', '.join(shown)}]"
    return f"[{', '.join(shown[:3])}, ..., {shown[-1]}] ({len(shown)} numbers)"


def timestep_value(timestep: float | Tensor, whole: bool) -> float:
    """A time step as a number, in float32 unless ``timesteps`` are ``whole``; reads it from its device.

    Raises ValueError for a tensor whose entries, one per sample, are not all the same, or that has none.
    """
    if isinstance(timestep, Tensor) and timestep.numel() != 1:
        values = set(timestep.flatten().tolist())
        if len(values) != 1:
            raise ValueError(
                f"timestep has shape {tuple(timestep.shape)} and {len(values)} different values; all samples make "
                "the same step, pass one time step"
            )
        timestep = values.pop()
    timestep = float(timestep)
    return timestep if whole else float(struct.unpack("f", struct.pack("f", timestep))[0])  # as a float32


def entry_of_view(timestep: float | Tensor, schedule: Tensor) -> int | None:
    """The entry of a ``schedule`` that a tensor is a view of, as a loop over time steps gives; None for any other.

    The tensor is not read: on a device that would wait for it.
    """
    if not isinstance(timestep, Tensor) or timestep.dim() or timestep.dtype != schedule.dtype:
        return None
    if timestep.device != schedule.device:
        return None
    if timestep.untyped_storage().data_ptr() != schedule.untyped_storage().data_ptr():
        return None
    return int(timestep.storage_offset() - schedule.storage_offset())


def check_step(model_output: Tensor, sample: Tensor, eta: float, generator: Generators) -> None:
    """Raise ValueError for an eta, and for an output or generators that do not fit."""
    if eta:
        raise ValueError(f"eta = {eta!r}: how much noise a step adds is part of the scheme; leave eta out")
    if model_output.shape != sample.shape:
        raise ValueError(
            f"the network returned shape {tuple(model_output.shape)} for a sample of shape {tuple(sample.shape)}; "
            "the same shape is needed, a predicted variance cut off"
        )
    if isinstance(generator, list | tuple) and len(generator) != len(sample):
        raise ValueError(f"{len(generator)} generators for a batch of {len(sample)}; one each is needed")


@dataclass
class SchemeSchedulerOutput(BaseOutput):
    """``prev_sample``: the state for the next evaluation; ``pred_original_sample``: x_0 as predicted by this one."""

    prev_sample: Tensor
    pred_original_sample: Tensor | None = None


class SchemeScheduler(SchedulerMixin, ConfigMixin):
    """Drives ``scheme`` from outside. A subclass gives the times, and alpha, sigma and time step at a time.

    A step of the scheme takes ``order`` network evaluations, hence as many entries of ``timesteps``: ``order`` is that
    number, as diffusers means it, and no order of accuracy. Coefficients are tabulated in float64 by
    ``set_timesteps``, and go to the sample's device with the first ``step``; later steps move nothing and wait for
    nothing. Between the entries of one step the scheduler keeps the state that it started from, as diffusers' Heun
    does. The last entry evaluates at the last time and returns the predicted x_0, which is the step to no noise.

    ``lower_order_final``, as in diffusers: True lowers the order of a multistep scheme's last steps, a
    predictor-corrector's always and another's in walks below 15 steps; with False no step's order is lowered.
    """

    scheme: SchemeFacts
    order = 1
    asked = "epsilon"
    """What the scheme's step wants from the network, by its name in PREDICTIONS."""
    init_noise_sigma = 1.0

    num_inference_steps: int | None
    timesteps: Tensor
    _step_index: int | None
    _begin_index: int | None
    _times: list[float]
    _to_zero: bool
    _stays: bool
    _entries: list[float]
    _rows: Tensor
    _conversions: Tensor
    _tables: dict[tuple[torch.device, torch.dtype], tuple[Any, ...]]
    _start: Tensor
    _outputs: list[Tensor]
    _noise: Tensor | None
    _past: list[Tensor]

    def _alpha_sigma(self, t: float) -> tuple[float, float]:
        """alpha and sigma of z = alpha x_0 + sigma noise at the scheme's time t."""
        raise NotImplementedError

    def _timestep(self, t: float) -> float:
        """What diffusers calls the scheme's time t: an entry of ``timesteps``."""
        raise NotImplementedError

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def step_index(self) -> int | None:
        """The entry of ``timesteps`` that comes next; None before the first step."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """The entry that a pipeline has said to begin with; None where it has not."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin with this entry of ``timesteps``; ``step`` raises ValueError unless it is a multiple of ``order``."""
        self._begin_index = begin_index  # read by step

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The sample as it is: the network takes the state in the coordinates of the process."""
        return sample

    def _check_settings(self) -> None:
        """Raise ValueError for a prediction type or a number of training steps that is none."""
        given, count = self.config.prediction_type, self.config.num_train_timesteps
        if given not in PREDICTIONS:
            raise ValueError(f"prediction_type {given!r} is not known; accepted: {', '.join(PREDICTIONS)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise ValueError(f"num_train_timesteps = {count!r}; an integer of at least 2 is needed")

    def _reset(self) -> None:
        """Go back to where no grid is laid and no step is made."""
        self.num_inference_steps, self._step_index, self._begin_index = None, None, None
        self._tables, self._past, self._outputs = {}, [], []

    def _lay_grid(
        self, times: Sequence[float], to_zero: bool, device: str | torch.device | None, stays: bool = False
    ) -> None:
        """Tabulate the walk over ``times``, which decrease.

        With ``to_zero`` an entry at the last time ends it, which returns the predicted x_0; with ``stays`` an entry
        there that leaves the state as it is, for walks whose last evaluation is due where they end.
        """
        self._reset()
        self._times, self._to_zero, self._stays = list(times), to_zero, stays
        self._rows = self._tabulate(0)
        ends = zip(pairwise(self._times), self._rows, strict=True)
        places = [time for (t, s), row in ends for time in evaluation_times(self.scheme, t, s, row)]
        places += self._times[-1:] * (to_zero or stays)
        self._conversions = torch.tensor([self._conversion(t) for t in places], dtype=torch.float64)
        values = [self._timestep(t) for t in places]
        whole = all(value == int(value) for value in values)
        self.timesteps = torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
        self._entries = self.timesteps.tolist()
        if device is not None:
            self.timesteps = self.timesteps.to(usable_device(device))
        self.num_inference_steps = len(self._times) - 1 + (to_zero or stays)

    def _tabulate(self, first: int) -> Tensor:
        """The coefficients of the steps from number ``first`` on; the steps before it leave no past."""
        walk, closes = self._times[first:], self._to_zero or self._stays
        if len(walk) == 1 and closes:
            return torch.zeros(0, len(self.scheme.coefficient_names), dtype=torch.float64)
        # a config's True is the rule of diffusers, which looks at the number of steps
        wanted = False if self.config.get("lower_order_final") is False else None
        lower = lowers_final_order(self.scheme, len(self._times) - 1 + closes, wanted)
        scheme = self.scheme
        return tabulate(scheme.coefficients, walk, scheme.history, scheme.mends, lower, closes)

    def _conversion(self, t: float) -> tuple[float, ...]:
        """Three pairs (skip, scale), each for a value skip z + scale y at the scheme's time t.

        In order: what the scheme asks for, y the network's output; x_0, y the output; what it asks for, y being x_0.
        """
        given, at = self.config.prediction_type, self._alpha_sigma(t)
        return (
            *from_state(given, self.asked, *at),
            *from_state(given, "sample", *at),
            *from_state("sample", self.asked, *at),
        )

    def index_for_timestep(self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None) -> int:
        """The entry of ``timesteps`` with this value that begins a step of the scheme.

        Time steps occur twice where one step ends and the next begins. Raises ValueError where no step begins.
        """
        schedule = self._entries if schedule_timesteps is None else schedule_timesteps.tolist()
        view = entry_of_view(timestep, self.timesteps)
        if schedule_timesteps is None and view is not None and view % self.order == 0:
            return view
        wanted = timestep_value(timestep, self.timesteps.dtype == torch.int64)
        for index, entry in enumerate(schedule):
            if entry == wanted and index % self.order == 0:
                return index
        raise ValueError(f"no step begins at time step {wanted:g}; pass an entry of timesteps[::order]")

    def _next_entry(self, timestep: float | Tensor, sample: Tensor) -> int:
        """The entry of ``timesteps`` that this call goes on with; sets the past where it is not the expected one.

        Expected is the entry after that of the call before, first of all the begin index. Another one is a step of
        its own, which a scheme makes that reads no earlier step and is not inside a step; otherwise, and for a time
        step that begins no step, raises ValueError.
        """
        expected, begun = self._step_index, self._step_index is not None
        if expected is None and self._begin_index is not None:
            expected = self._begin_index
            if expected % self.order or not 0 <= expected < len(self._entries):
                raise ValueError(
                    f"begin index {expected} begins no step; multiples of {self.order} below {len(self._entries)} do"
                )
        found = entry_of_view(timestep, self.timesteps)
        if found is None or found != expected:
            found = self._entry_by_value(timestep, expected)
        if not begun or found != expected:
            self._begin_at(found // self.order, sample)
        return found

    def _entry_by_value(self, timestep: float | Tensor, expected: int | None) -> int:
        """The entry that a time step's value names, the ``expected`` one if it can; ValueError where none may begin."""
        if expected is None:
            return self.index_for_timestep(timestep)
        done, value = expected >= len(self._entries), timestep_value(timestep, self.timesteps.dtype == torch.int64)
        if not done and value == self._entries[expected]:
            return expected
        if done and self.scheme.history:
            raise ValueError(f"all {len(self._entries)} time steps are done; call set_timesteps to begin again")
        if self.scheme.history or (expected % self.order and not done):
            why = f"{self.scheme.spec} reads earlier steps" if self.scheme.history else "the step is not done"
            raise ValueError(
                f"time step {value:g} is out of order, {self._entries[expected]:g} comes next and {why}; "
                "call set_timesteps to begin again"
            )
        return self.index_for_timestep(timestep)

    def _begin_at(self, first: int, sample: Tensor) -> None:
        """Make step number ``first`` the first of the walk: it has no past."""
        if first and self.scheme.history:
            # A multistep scheme that begins in the middle has no past there: its rows are those of a first step.
            left_out = torch.zeros(first, self._rows.shape[1], dtype=torch.float64)
            self._rows, self._tables = torch.cat([left_out, self._tabulate(first)]), {}
        self._past = [torch.zeros_like(sample)] * self.scheme.history

    def _tables_on(self, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        """The rows, the ends of the steps and the conversions as 0-d tensors on a device, uploaded once."""
        if (device, dtype) not in self._tables:
            ends = torch.tensor(self._times, dtype=torch.float64).to(dtype).to(device).unbind()
            rows, conversions = (table.to(dtype).to(device) for table in (self._rows, self._conversions))
            self._tables[device, dtype] = rows.unbind(), ends, [row.unbind() for row in conversions]
        return self._tables[device, dtype]

    def _convert(self, output: Tensor, z: Tensor, conversion: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the scheme asks for, and x_0, from the network's output at z; both clipped if the config says so."""
        skip, scale, skip_0, scale_0, skip_from_0, scale_from_0 = conversion
        x_0 = skip_0 * z + scale_0 * output
        if not self.config.clip_sample:
            return skip * z + scale * output, x_0
        x_0 = x_0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return skip_from_0 * z + scale_from_0 * x_0, x_0

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchemeSchedulerOutput | tuple[Tensor, Tensor]:
        """Go on with the network's output at ``sample`` and ``timestep``: to where the next evaluation is due.

        A loop over ``timesteps`` passes them in order, and they are not read from the device. Any other time step is
        read: where it begins a step, a scheme that reads no earlier steps makes that step; a multistep scheme refuses
        it, as does any scheme inside a step of several evaluations. ``generator``, or a list with one for each sample,
        draws the noise of a stochastic scheme. ``use_clipped_model_output`` is accepted for DDIMPipeline and changes
        nothing: with ``clip_sample`` the scheme always uses the clipped output. The result has the sample's dtype; the
        step is made in float32, or in float64 where the sample is. Raises ValueError before ``set_timesteps``, for
        such a time step, for time steps that differ between samples, for another number of generators than samples,
        for an output of another shape, and for an ``eta``.
        """
        if self.num_inference_steps is None:
            raise ValueError("no time steps yet; call set_timesteps before step")
        check_step(model_output, sample, eta, generator)
        z = sample.to(torch.float64 if sample.dtype == torch.float64 else torch.float32)
        self._step_index = self._next_entry(timestep, z)
        number, stage = divmod(self._step_index, self.order)
        rows, ends, conversions = self._tables_on(z.device, z.dtype)
        wanted, x_0 = self._convert(model_output.to(z.dtype), z, conversions[self._step_index])
        if number == len(rows):
            after = x_0 if self._to_zero else z
        else:
            after = self._advance(number, stage, z, wanted, rows, ends, generator)
        self._step_index += 1
        after, x_0 = after.to(sample.dtype), x_0.to(sample.dtype)
        return SchemeSchedulerOutput(after, x_0) if return_dict else (after, x_0)

    def _advance(
        self,
        number: int,
        stage: int,
        z: Tensor,
        wanted: Tensor,
        rows: Sequence[Tensor],
        ends: Sequence[Tensor],
        generator: Generators,
    ) -> Tensor:
        """Go on with step ``number``, of which ``stage`` evaluations are done, by the output ``wanted`` at z.

        Returns the state of the next evaluation or, after the last one, the state at the end of the step.
        """
        if stage == 0:
            self._start, self._outputs = z, []
            source = [*generator] if isinstance(generator, tuple) else generator
            draws = [randn_tensor(z.shape, source, z.device, z.dtype) for _ in range(self.scheme.noises)]
            self._noise = torch.stack(draws) if draws else None
        self._outputs.append(wanted)
        t, s, row = ends[number], ends[number + 1], rows[number]
        reached = resume(self.scheme, self._start, t, s, row, self._outputs, self._noise, self._past)
        if reached.kept is not None:
            self._past = [reached.kept, *self._past[:-1]]
        return reached.state
