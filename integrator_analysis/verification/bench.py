"""The bench: one generated source under test, with the problem and the networks on which the checks measure it.

Knows the properties of a scheme and how to load a source; makes no claim. Each check is a file of checks/.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.parametrisation.prediction_conversion import network_from_eps
from integrator_analysis.processes import Process
from integrator_analysis.properties import Properties
from integrator_analysis.verification.environment import describe_device, versions

__all__ = ["GAUSSIAN", "SEED", "TIMES", "WEAK_TIMES", "Bench"]

T = TypeVar("T")

TIMES = (0.1, 0.4)
"""Fractions of t_max at which steps are measured. Later, near equilibrium, factors such as 1 + d_x s_x vanish and take
the leading constants of some schemes with them: there h**2 wins over h**3 only below rounding."""

WEAK_TIMES = (0.35, 0.7)
"""The same for weak errors, which are averages over the law of z_t: at 0.1 it takes more nodes."""

SEED = 20231011
"""Of all random states and draws."""

GAUSSIAN = (0.3, 0.2)
"""Mean and variance of the Gaussian data, for which one step is an affine map."""


@dataclass(frozen=True)
class _ByContent:
    """A process that is equal to another where all that is derived from it is."""

    content: tuple[object, ...]
    process: Process = field(compare=False)


class _OnProcess:
    """The problem on one process, and reference solutions of it that all schemes on the process are compared with."""

    def __init__(self, process: Process) -> None:
        self.problem = MixtureProblem(process)
        self.references: dict[Any, Any] = {}


@lru_cache(maxsize=16)
def _on_process(key: _ByContent) -> _OnProcess:
    return _OnProcess(key.process)


class Bench:
    """One source under test: its module, the networks that it is run with, and the evidence that checks gather.

    Derived numbers come from ``properties``, measured ones from ``module``; steps are made on ``device``. ``salt``
    changes everything that is drawn. Raises InputError for a device that is not there or has no float64.
    """

    def __init__(self, properties: Properties, source: str, device: str = "cpu", salt: tuple[int, ...] = ()) -> None:
        self.properties, self.source, self.device, self.salt = properties, source, device, salt
        self.program, self.process = properties.program, properties.process
        self._shared = _on_process(_ByContent(self.process.content, self.process))
        self.problem = self._shared.problem
        stochastic = self.program.stochastic
        self.evidence: dict[str, Any] = {
            "source_hash": None,
            "terms_hash": properties.network_program.terms_hash,
            "versions": versions(),
            "device": describe_device(device),
            "dtype": "float64",
            "seed": SEED,
            "problem": "exact score of 0.35 N(-0.9, 0.09) + 0.65 N(0.6, 0.25), one dimension per block",
            "reference": "closed-form expectations" if stochastic else "scipy DOP853, rtol 2.3e-14",
            "times": [float(time) for time in self.start_times(WEAK_TIMES if stochastic else TIMES)],
        }

    def recall(self, *key: Any, find: Callable[[], T]) -> T:
        """The result of ``find``, computed once for a scheme and kept under ``key``.

        It may depend on the scheme alone: the next source of the same scheme is compared with the same result.
        """
        return _recall(self.properties.references, key, find)

    def recall_on_process(self, *key: Any, find: Callable[[], T]) -> T:
        """The same for what depends on the process and ``key`` alone: the next scheme is compared with it too."""
        return _recall(self._shared.references, key, find)

    @cached_property
    def plain_module(self) -> ModuleType:
        """The source as a module that computes wherever its tensors are."""
        return self.new_module()

    def new_module(self) -> ModuleType:
        """The source as one more module, none of whose functions has been called."""
        from torch_backend.source import module_from_source

        return module_from_source(self.source, f"certified_{self.properties.name}")

    @cached_property
    def module(self) -> ModuleType:
        """The source as a module that takes tensors on the CPU and makes its steps on the device."""
        from torch_backend.measuring.device import module_stepping_on

        return self.plain_module if self.device == "cpu" else module_stepping_on(self.device, self.plain_module)

    @cached_property
    def kernel(self) -> ModuleType:
        """The transition kernel of the process as a torch module, which the exact scores are made of."""
        return self.recall_on_process("kernel", find=partial(_load_kernel, self.process))

    @cached_property
    def network(self) -> Callable:
        """The network that knows the exact score of ``problem``."""
        import torch

        from torch_backend.scores.mixture import MixtureScore

        means, variances, weights = (
            torch.tensor(values, dtype=torch.float64)
            for values in (self.problem.means, self.problem.variances, self.problem.weights)
        )
        return self._network_from_eps(MixtureScore(self.kernel, means[:, None], variances, weights))

    @cached_property
    def gaussian_network(self) -> Callable:
        """The network that knows the exact score of data with the mean and variance of GAUSSIAN."""
        import torch

        from torch_backend.scores.gaussian import GaussianScore

        mean, variance = GAUSSIAN
        data = torch.tensor([[mean], [variance]], dtype=torch.float64)
        return self._network_from_eps(GaussianScore(self.kernel, data[0], data[1]))

    def _network_from_eps(self, eps: Callable) -> Callable:
        """The network that returns what networks of this process return, made from an exact eps."""
        import torch

        if self.process.network == "eps":
            return eps
        convert = network_from_eps(self.process)

        def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            skip, scale = (torch.from_numpy(m) for m in convert(float(t[0])))
            return z @ skip.T + eps(z, t) @ scale.T

        return network

    @cached_property
    def prior_covariance(self) -> np.ndarray:
        """The covariance of the prior, k x k."""
        return np.array(self.process.prior_covariance.subs(dict(self.process.parameters))).astype(float)

    @cached_property
    def state_size(self) -> float:
        """The size of states, for rounding: one, or the prior's standard deviation where that is larger."""
        return max(1.0, float(np.sqrt(self.prior_covariance.max())))

    @cached_property
    def step_unit(self) -> float:
        """The unit of step sizes: t_max, or so much less that steps stay within one segment of a table of betas."""
        return 3.0 if self.process.tables else self.process.t_max

    def draw(self, name: str, *shape: int) -> np.ndarray:
        """Numbers in [0, 1) that depend on the body of the source, so that no source can be right at them alone.

        ``name`` tells one set of them from another.
        """
        from torch_backend.source import body_hash

        seed = int(body_hash(self.source)[:15], 16), zlib.crc32(name.encode()), *self.salt
        return np.random.default_rng(seed).random(shape)

    def start_times(self, fractions: Sequence[float] = TIMES) -> list[float]:
        """These fractions of t_max; on a table of betas, the middles of the segments that they fall into."""
        times = [fraction * self.process.t_max for fraction in fractions]
        # at the edge of a segment beta jumps, and a step has no order there
        return [np.floor(time) + 0.5 for time in times] if self.process.tables else times


def _recall(known: dict[Any, Any], key: tuple[Any, ...], find: Callable[[], T]) -> T:
    if key not in known:
        known[key] = find()
    return cast(T, known[key])


def _load_kernel(process: Process) -> ModuleType:
    from integrator_analysis.codegen import kernel_source
    from torch_backend.source import module_from_source

    return module_from_source(kernel_source(process), f"certified_kernel_{process.name}")
