"""A generated scheme as a sampler: the public object around the walk, and how samplers are found by their specs.

Knows where generated schemes are; the walk, its arguments and what it refuses are in ``torch_backend.walk``.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Concatenate, ParamSpec

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from torch_backend import source
from torch_backend.scheme import Scheme, SchemeModule, facts_of
from torch_backend.source import UncertifiedSourceWarning, body_hash, module_from_source
from torch_backend.walk.sample_scheme import choose_times, draw_prior, sample_scheme
from torch_backend.walk.table import tabulate_scheme
from torch_backend.walk.validation import unknown_name_message, usable_device

__all__ = ["Sampler", "UncertifiedSourceWarning", "available", "body_hash", "load", "module_from_source"]

Arguments = ParamSpec("Arguments")


def _method_from(
    function: Callable[Concatenate[Scheme, Arguments], Tensor], name: str
) -> Callable[Concatenate["Sampler", Arguments], Tensor]:
    """The method ``name`` of a sampler, which calls ``function`` with the sampler's scheme before all other arguments.

    Arguments, defaults and docstring are those of the function, so that they are written once; ``inspect.signature``
    and ``help`` show them.
    """

    def method(self: "Sampler", *args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        return function(self.module, *args, **kwargs)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(function)
    others = list(signature.parameters.values())[1:]
    vars(method)["__signature__"] = signature.replace(parameters=[own, *others])
    method.__name__, method.__qualname__, method.__doc__ = name, f"Sampler.{name}", function.__doc__
    return method


class Sampler:
    """One scheme on one process, ready to run.

    Wraps a generated module (or any object with the same names). ``device`` and ``dtype`` are those of the priors
    it draws; a walk runs where its ``z_T`` lives.

    Attributes: ``spec``, ``process``, ``blocks`` (names of the k blocks), ``order`` (weak order where
    ``stochastic``), ``nfe_per_step``, ``t_max`` and ``t_min`` (forward diffusion time), ``grid`` (the name of its
    default grid), ``prior_std`` (per block), ``coefficient_names`` (one per column of ``table``).

    Raises TypeError for a module in which a name is missing, ValueError for a device that is not there.
    """

    def __init__(
        self,
        module: SchemeModule | ModuleType,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        facts = facts_of(module)
        self.module, self.device, self.dtype = module, usable_device(device), dtype
        self.spec, self.process, self.blocks = facts.spec, facts.process, facts.blocks
        self.order, self.stochastic, self.nfe_per_step = facts.order, facts.stochastic, facts.nfe_per_step
        self.t_max, self.t_min, self.prior_std = facts.t_max, facts.t_min, facts.prior_std
        self.coefficient_names, self.grid = facts.coefficient_names, facts.grid

    def __repr__(self) -> str:
        kind = "stochastic" if self.stochastic else "deterministic"
        return f"<Sampler {self.spec}: {kind}, order {self.order}, {self.nfe_per_step} evaluation(s) per step>"

    def times(
        self, steps: int, grid: str | None = None, end_at_zero: bool = True, start: str | None = None
    ) -> list[float]:
        """The ``steps + 1`` times that ``sample`` takes for ``steps`` on a named ``grid``, None for ``self.grid``.

        They begin at t_max, or at 0.999 t_max where the scheme has no step from there. The last is 0, a step to no
        noise, after t_min; with ``end_at_zero=False`` it is t_min. Raises ValueError as ``sample`` does.
        """
        return choose_times(facts_of(self.module), steps, None, grid, end_at_zero, start)

    def table(
        self, times: Iterable[float], lower_order_final: bool | None = None, B: ArrayLike | None = None
    ) -> Float[Tensor, "n_steps n_coefficients"]:
        """The coefficients of the scheme's steps on a grid, float64 on the CPU; a step to no noise has none.

        Arguments are those of ``sample``. Raises ValueError for times not in (0, t_max], but for a last 0.
        """
        return tabulate_scheme(self.module, times, lower_order_final, B)

    def prior(
        self, n: int, shape: Iterable[int], seed: int | Sequence[int], indices: Iterable[int] | None = None
    ) -> Float[Tensor, "n channels *space"]:
        """n draws of z_T from the prior, for data of shape ``(c, ...)``: blocks concatenated on dimension 1.

        Sample i of a seed is the same on every device and beside any others; ``indices`` are the i of the n samples,
        None for 0, ..., n - 1. Processes share their position noise under one seed. No noise of ``sample`` is a copy
        of it under the same seed. A sequence of n seeds has one per sample.
        """
        return draw_prior(self.module, n, shape, seed, self.device, self.dtype, indices)

    sample = _method_from(sample_scheme, "sample")


def available() -> list[str]:
    """The specs of all generated schemes, sorted."""
    texts = (path.read_text(encoding="utf-8") for path in source.GENERATED.glob("*.py"))
    found = (re.search(r"^SPEC = [\"'](.+)[\"']$", text, re.MULTILINE) for text in texts)
    return sorted(match[1] for match in found if match)


def load(spec_or_path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Sampler:
    """The sampler of a generated scheme, by its spec (``"psld/RVV"``) or by the path of a ``.py`` file.

    A file is run as by an import: pass only a path that you trust. Issues an UncertifiedSourceWarning where the
    code is not the code that was certified. Raises ValueError for a spec that was not generated, naming the
    nearest and all there are, and FileNotFoundError for a missing file.
    """
    if isinstance(spec_or_path, Path) or spec_or_path.endswith(".py"):
        return Sampler(source.load_file(Path(spec_or_path)), device, dtype)
    path = source.GENERATED / (re.sub(r"[^0-9A-Za-z]+", "_", spec_or_path).strip("_") + ".py")
    specs = available()
    if spec_or_path not in specs:
        raise ValueError(unknown_name_message("spec", spec_or_path, specs))
    return Sampler(source.load_file(path), device, dtype)
