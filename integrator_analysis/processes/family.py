"""A family of processes: one builder and the published values of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from integrator_analysis.inputs import InputError, Parameter, as_rational, as_table
from integrator_analysis.processes.forward_process import Process

__all__ = ["ProcessFamily", "one_block"]


def one_block(drift: sympy.Expr, diffusion: sympy.Expr, initial: sympy.Expr, stationary: object) -> dict[str, Any]:
    """The fields of a process on one block x: N, D, Sigma(0) and the stationary covariance, which may be None."""
    return {
        "blocks": ("x",),
        "drift_per_unit": sympy.Matrix([[drift]]),
        "diffusion_per_unit": sympy.Matrix([[diffusion]]),
        "initial_covariance": sympy.Matrix([[initial]]),
        "stationary_covariance": None if stationary is None else sympy.Matrix([[stationary]]),
    }


@dataclass(frozen=True)
class ProcessFamily:
    """A process with its published parameters: ``build(**parameters)`` makes one, for these or for others.

    A parameter whose default is None may be left out; those named in ``tables`` take a sequence of numbers.
    """

    name: str
    summary: str
    defaults: Mapping[str, float | None]
    build: Callable[..., Process]
    tables: tuple[str, ...] = ()

    def __call__(self, **parameters: Parameter) -> Process:
        """The process for ``parameters`` on top of the published ones. Raises InputError for an unknown name."""
        for name in parameters:
            if name not in self.defaults:
                accepted = ", ".join(self.defaults)
                raise InputError(f"process {self.name} has no parameter {name!r}; accepted: {accepted}")
        values = {name: self._exact_value(name, parameters.get(name, value)) for name, value in self.defaults.items()}
        return self.build(**values)

    def _exact_value(self, name: str, value: Parameter) -> sympy.Rational | tuple[sympy.Rational, ...] | None:
        """A parameter as the exact decimal that was typed, a table as a tuple of them."""
        if value is None and self.defaults[name] is None:
            return None
        return as_table(value, name) if name in self.tables else as_rational(value, name)
