"""What a device must do for measurements, and steps that are made on it.

Knows devices and the ``step`` of a generated module; does not know what is measured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from torch_backend.walk.loop import Network
from torch_backend.walk.validation import usable_device

__all__ = ["check_device", "module_stepping_on", "one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread inside the block: states here are a few numbers each, and a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Raise ValueError, in one sentence, for a device that is not there or does not compute in float64."""
    there = usable_device(device)
    try:
        total = float(torch.ones(2, dtype=torch.float64, device=there).sum())
    except (RuntimeError, TypeError) as error:  # torch raises either
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    if total != 2.0:
        raise ValueError(f"device {device!r} adds 1 and 1 to {total}")


def module_stepping_on(device: str, module: ModuleType) -> ModuleType:
    """A copy of a scheme module whose ``step`` runs on ``device``, for callers that stay on the CPU.

    Tensors go to the device before a step and come back after it; the network is called on the CPU.
    """
    moved = ModuleType(module.__name__)
    vars(moved).update(vars(module))

    def to_device(value: Any) -> Any:
        return [v.to(device) for v in value] if isinstance(value, list) else value.to(device)

    def step(z: Tensor, t: Tensor, s: Tensor, c: Tensor, network: Network, noise: Tensor | None, *kept: Any) -> Any:
        def network_on_cpu(y: Tensor, time: Tensor) -> Tensor:
            return network(y.cpu(), time.cpu()).to(device)

        draws = None if noise is None else to_device(noise)
        result = module.step(*map(to_device, (z, t, s, c)), network_on_cpu, draws, *map(to_device, kept))
        return tuple(r.cpu() for r in result) if isinstance(result, tuple) else result.cpu()

    vars(moved)["step"] = step
    return moved
