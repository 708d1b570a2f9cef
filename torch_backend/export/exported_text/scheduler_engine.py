"""The part of a diffusers scheduler that all schemes share: coefficients, the evaluations of a step, index and noise.

Knows the contract of diffusers and the facts of a scheme; knows neither a schedule nor a formula of a scheme.
Exported schedulers carry this text.
"""

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
from torch_backend.walk.table import tabulate
from torch_backend.walk.validation import usable_device


def falls(walk: Sequence[float], high: float, low: float) -> bool:
    """Whether ``walk`` is not empty and decreases from at most ``high`` to at least ``low``."""
    return bool(walk) and walk[0] <= high and walk[-1] >= low and all(a > b for a, b in pairwise(walk))


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

    def _lay_grid(self, times: Sequence[float], to_zero: bool, device: str | torch.device | None) -> None:
        """Tabulate the walk over ``times``, which decrease; with ``to_zero`` an entry at the last time ends it."""
        self._reset()
        self._times, self._to_zero = list(times), to_zero
        self._rows = self._tabulate(0)
        ends = zip(pairwise(self._times), self._rows, strict=True)
        places = [time for (t, s), row in ends for time in evaluation_times(self.scheme, t, s, row)]
        places += self._times[-1:] * to_zero
        self._conversions = torch.tensor([self._conversion(t) for t in places], dtype=torch.float64)
        values = [self._timestep(t) for t in places]
        whole = all(value == int(value) for value in values)
        self.timesteps = torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
        if device is not None:
            self.timesteps = self.timesteps.to(usable_device(device))
        self.num_inference_steps = len(self._times) - (not to_zero)

    def _tabulate(self, first: int) -> Tensor:
        """The coefficients of the steps from number ``first`` on; the steps before it leave no past."""
        walk = self._times[first:]
        if len(walk) == 1 and self._to_zero:
            return torch.zeros(0, len(self.scheme.coefficient_names), dtype=torch.float64)
        return tabulate(self.scheme.coefficients, walk, self.scheme.history)

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
        schedule = (self.timesteps if schedule_timesteps is None else schedule_timesteps).cpu()
        wanted = torch.as_tensor(timestep).cpu().to(schedule.dtype)
        for index in (schedule == wanted).nonzero().flatten().tolist():
            if index % self.order == 0:
                return int(index)
        raise ValueError(f"no step begins at time step {float(wanted):g}; pass an entry of timesteps[::order]")

    def _first_entry(self, timestep: float | Tensor, sample: Tensor) -> int:
        """The entry of ``timesteps`` that the walk begins with; sets the past that it begins without.

        Raises ValueError where no step begins.
        """
        index = self.index_for_timestep(timestep) if self._begin_index is None else self._begin_index
        first, stage = divmod(index, self.order)
        if stage or not 0 <= index < len(self.timesteps):
            raise ValueError(f"begin index {index} begins no step; multiples of {self.order} below {len(self)} do")
        if first and self.scheme.history:
            # A multistep scheme that begins in the middle has no past there: its rows are those of a first step.
            left_out = torch.zeros(first, self._rows.shape[1], dtype=torch.float64)
            self._rows, self._tables = torch.cat([left_out, self._tabulate(first)]), {}
        self._past = [torch.zeros_like(sample)] * self.scheme.history
        return index

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

    def _check_step(self, model_output: Tensor, sample: Tensor, eta: float) -> None:
        """Raise ValueError before ``set_timesteps``, for an eta, and for an output of another shape than the sample."""
        if self.num_inference_steps is None:
            raise ValueError("no time steps yet; call set_timesteps before step")
        if eta:
            raise ValueError(f"eta = {eta!r}: how much noise a step adds is part of the scheme; leave eta out")
        if model_output.shape != sample.shape:
            raise ValueError(
                f"the network returned shape {tuple(model_output.shape)} for a sample of shape {tuple(sample.shape)}; "
                "the same shape is needed, a predicted variance cut off"
            )

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> SchemeSchedulerOutput | tuple[Tensor, Tensor]:
        """Go on with the network's output at ``sample`` and ``timestep``: to where the next evaluation is due.

        ``timestep`` is read before the first step only, to find the entry it begins with; after that entries follow
        each other. ``generator``, or a list with one for each sample, draws the noise of a stochastic scheme.
        ``use_clipped_model_output`` is accepted for DDIMPipeline and changes nothing: with ``clip_sample`` the scheme
        always uses the clipped output. The result has the sample's dtype; the step is made in float32, or in float64
        where the sample is. Raises ValueError before ``set_timesteps``, after the last entry, and for an ``eta``.
        """
        self._check_step(model_output, sample, eta)
        z = sample.to(torch.float64 if sample.dtype == torch.float64 else torch.float32)
        if self._step_index is None:
            self._step_index = self._first_entry(timestep, z)
        number, stage = divmod(self._step_index, self.order)
        if self._step_index >= len(self.timesteps):
            raise ValueError(f"all {len(self.timesteps)} time steps are done; call set_timesteps to begin again")
        rows, ends, conversions = self._tables_on(z.device, z.dtype)
        wanted, x_0 = self._convert(model_output.to(z.dtype), z, conversions[self._step_index])
        after = x_0 if number == len(rows) else self._advance(number, stage, z, wanted, rows, ends, generator)
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
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        """Go on with step ``number``, of which ``stage`` evaluations are done, by the output ``wanted`` at z.

        Returns the state of the next evaluation or, after the last one, the state at the end of the step.
        """
        if stage == 0:
            self._start, self._outputs = z, []
            draws = [randn_tensor(z.shape, generator, z.device, z.dtype) for _ in range(self.scheme.noises)]
            self._noise = torch.stack(draws) if draws else None
        self._outputs.append(wanted)
        t, s, row = ends[number], ends[number + 1], rows[number]
        reached = resume(self.scheme, self._start, t, s, row, self._outputs, self._noise, self._past)
        if reached.kept is not None:
            self._past = [reached.kept, *self._past[:-1]]
        return reached.state
