"""A generated scheme as a sampler: validation, seeds, priors and time grids around the one loop.

Knows the names a generated scheme module carries; does not know any scheme's formulas or how they were derived.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from torch_backend import source
from torch_backend.source import UncertifiedSourceWarning, body_hash, module_from_source
from torch_backend.walk.grids import time_grid
from torch_backend.walk.loop import Callback, Network, Progress
from torch_backend.walk.sample_scheme import draw_prior, sample_scheme
from torch_backend.walk.table import tabulate_scheme
from torch_backend.walk.validation import unknown, usable

__all__ = ["Sampler", "UncertifiedSourceWarning", "available", "body_hash", "load", "module_from_source"]

_NAMES = (
    "SPEC",
    "PROCESS",
    "BLOCKS",
    "ORDER",
    "STOCHASTIC",
    "NFE_PER_STEP",
    "HISTORY",
    "NOISES",
    "T_MAX",
    "T_MIN",
    "PRIOR_STD",
    "COEFFICIENTS",
    "coefficients",
    "step",
)


class Sampler:
    """One scheme on one process, ready to run.

    Wraps a generated module (or any object with the same names). ``device`` and ``dtype`` are those of the priors
    it draws; a walk runs where its ``z_T`` lives.

    Attributes: ``spec``, ``process``, ``blocks`` (names of the k blocks), ``order`` (weak order where
    ``stochastic``), ``nfe_per_step``, ``t_max`` and ``t_min`` (forward diffusion time), ``prior_std`` (per block),
    ``coefficient_names`` (one per column of ``table``).

    Raises TypeError for a module in which a name is missing, ValueError for a device that is not there.
    """

    def __init__(self, module: Any, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        missing = [name for name in _NAMES if not hasattr(module, name)]
        if missing:
            raise TypeError(f"{module!r} is not a scheme module; it lacks {', '.join(missing)}")
        self.module, self.device, self.dtype = module, usable(device), dtype
        self.spec: str = module.SPEC
        self.process: str = module.PROCESS
        self.blocks: tuple[str, ...] = tuple(module.BLOCKS)
        self.order: int = module.ORDER
        self.stochastic: bool = module.STOCHASTIC
        self.nfe_per_step: int = module.NFE_PER_STEP
        self.t_max: float = module.T_MAX
        self.t_min: float = module.T_MIN
        self.prior_std: tuple[float, ...] = tuple(module.PRIOR_STD)
        self.coefficient_names: tuple[str, ...] = tuple(module.COEFFICIENTS)

    def __repr__(self) -> str:
        kind = "stochastic" if self.stochastic else "deterministic"
        return f"<Sampler {self.spec}: {kind}, order {self.order}, {self.nfe_per_step} evaluation(s) per step>"

    def times(self, steps: int, grid: str = "uniform") -> list[float]:
        """The ``steps + 1`` times of a named grid, t_max down to t_min. Raises ValueError as ``time_grid`` does."""
        return time_grid(grid, steps, self.t_max, self.t_min, getattr(self.module, "log_snr", None))

    def table(
        self, times: Iterable[float], lower_order_final: bool = False, B: ArrayLike | None = None
    ) -> Float[Tensor, "n_steps n_coefficients"]:
        """The scheme's coefficients on a grid, float64 on the CPU. Raises ValueError for times not in (0, t_max]."""
        return tabulate_scheme(self.module, times, lower_order_final, B)

    def prior(self, n: int, shape: Iterable[int], seed: int) -> Float[Tensor, "n channels *space"]:
        """n draws of z_T from the prior, for data of shape ``(c, ...)``: blocks concatenated on dimension 1.

        The blocks are drawn one after the other, so that processes share their position noise under one seed.
        The stream is not the one that ``sample`` draws from the same seed.
        """
        return draw_prior(self.module, n, shape, seed, self.device, self.dtype)

    def sample(
        self,
        network: Network,
        z_T: Float[Tensor, "n channels *space"],
        steps: int | None = None,
        times: Iterable[float] | None = None,
        grid: str = "uniform",
        seed: int | None = None,
        generator: torch.Generator | None = None,
        callback: Callback | None = None,
        progress: Progress = False,
        lower_order_final: bool = False,
        B: ArrayLike | None = None,
    ) -> Float[Tensor, "n channels *space"]:
        """Walk z_T from the first time to the last; returns the state at the last time, in z_T's dtype and device.

        - ``network(z, t)``: z of shape ``(n, k * c, ...)``, t of shape ``(n,)``; returns eps of z's shape.
        - either ``steps`` of a named ``grid`` from t_max to t_min, or the ``times`` themselves, in (0, t_max].
        - ``seed`` or ``generator``: one of them where the scheme is stochastic; a deterministic scheme draws nothing.
        - ``callback`` and ``progress``: see ``torch_backend.loop.integrate``.
        - ``lower_order_final``: the last step of a multistep scheme has order one, the one before it two, ...; a
          scheme that reads no earlier steps refuses it.
        - ``B``: for a scheme with B = table, and no other: a matrix for every step, ``(n_steps, k, k)``.

        Gradients are off. Raises ValueError, TypeError or FloatingPointError, one sentence each: what was wrong,
        where, and what would be accepted.
        """
        return sample_scheme(
            self.module, network, z_T, steps, times, grid, seed, generator, callback, progress, lower_order_final, B
        )


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
        raise ValueError(unknown("spec", spec_or_path, specs))
    return Sampler(source.load_file(path), device, dtype)
