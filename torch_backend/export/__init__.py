"""Exports of a generated scheme to forms that run without this project. FORMATS maps a name to its writer."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch_backend.export.diffusers import check_schedulable, scheduler_module
from torch_backend.export.kdiffusion import check_on_sigmas, sampler_function
from torch_backend.export.module import standalone_module
from torch_backend.export.torch_program import SamplingLoop, check_program, export_loop, step_program

__all__ = [
    "FORMATS",
    "Format",
    "SamplingLoop",
    "export_loop",
    "sampler_function",
    "scheduler_module",
    "standalone_module",
    "step_program",
]


class Format(NamedTuple):
    """One form of export."""

    write: Callable[..., str | bytes]
    """(generated source, certificate as plain data) -> the content of the exported file."""
    check: Callable[[str], None]
    """Raises ValueError, one sentence, for a generated source that cannot take this form; costs no verification."""
    imported: bool = False
    """Whether the file is imported: its example does so, by the name that ``write`` then takes as ``file``."""
    on_a_grid: bool = False
    """Whether the file holds for one grid, which ``write`` then takes as ``times``."""
    on_trial: bool = False
    """Whether the file measures its own order, on a problem that ``write`` then takes as ``trial``."""
    with_kernel: bool = False
    """Whether ``write`` takes the source of the process's ``kernel`` for a scheme on several blocks."""


FORMATS: Mapping[str, Format] = {
    "module": Format(standalone_module, lambda source: None, imported=True, on_trial=True),
    "diffusers": Format(scheduler_module, check_schedulable, imported=True),
    "k-diffusion": Format(sampler_function, check_on_sigmas, imported=True, with_kernel=True),
    "torch-export": Format(step_program, check_program, on_a_grid=True),
}
