"""Where measurements run: the versions of the packages behind them, and the device on which steps are made."""

from __future__ import annotations

import platform

from integrator_analysis.codegen.header import package_version
from integrator_analysis.inputs import InputError

__all__ = ["describe_device", "versions"]


def versions() -> dict[str, str]:
    """The versions of this project, of Python and of the packages that a measurement depends on, by name."""
    import numpy
    import scipy
    import sympy
    import torch

    packages = {module.__name__: module.__version__ for module in (torch, sympy, numpy, scipy)}
    return {"integrator-analysis": package_version(), "python": platform.python_version(), **packages}


def describe_device(device: str) -> str:
    """Check that float64 arithmetic works on ``device``; return the device's name for the certificate.

    Raises InputError where it does not.
    """
    import torch

    from torch_backend.measuring.device import check_device

    try:
        check_device(device)
    except ValueError as error:
        raise InputError(f"{error}; accepted: cpu, or a device that torch finds here and that has float64") from error
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
