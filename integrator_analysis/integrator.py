"""The integrator: one spec, derived. Ask it for its order, error, stability, coefficients, source, sampler, export.

Knows every reading of a step program; imports torch only where a sampler or an export is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.gaussian import GaussianError, gaussian_error
from integrator_analysis.analysis.local_error import LocalError, derive_local_error, linear_order
from integrator_analysis.analysis.modified import ModifiedODE, ModifiedSDE, modified_equation
from integrator_analysis.analysis.stability import Stability
from integrator_analysis.certificate import Certificate, certify, check_names, write_text
from integrator_analysis.codegen import module_name, scheme_source
from integrator_analysis.program import StepProgram
from integrator_analysis.spec import Spec, parse
from integrator_analysis.symbols import did_you_mean

if TYPE_CHECKING:
    import torch

    from torch_backend import Sampler

__all__ = ["Integrator", "derive", "verify"]


class Integrator:
    """A derived sampler on a process. Attributes are computed when first asked for, and kept."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec.text
        self.process = spec.process
        self.scheme = spec.scheme
        self.program: StepProgram = spec.scheme.method.lower(spec.process)

    def __repr__(self) -> str:
        return f"<Integrator {self.spec}: order {self.order}, {self.nfe_per_step} evaluations per step>"

    @property
    def name(self) -> str:
        """The spec as a Python module name."""
        return module_name(self.spec)

    @property
    def nfe_per_step(self) -> int:
        """Network evaluations in one step, as executed."""
        return self.program.nfe_per_step

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.program.stochastic

    @cached_property
    def local_error(self) -> LocalError:
        """The local error for an unknown smooth score: the leading terms, and the next ones when asked for."""
        return derive_local_error(self.program)

    @property
    def order(self) -> int:
        """Order for a general smooth score; weak order if stochastic."""
        return self.local_error.order

    @cached_property
    def linear_order(self) -> int:
        """Order for a score that is linear in the state, that of Gaussian data; weak order if stochastic."""
        return linear_order(self.program)

    @cached_property
    def modified_equation(self) -> ModifiedODE | ModifiedSDE:
        """The equation that uniform steps of size h solve one order better."""
        return modified_equation(self.local_error)

    @cached_property
    def table(self) -> CoefficientTable:
        """The coefficients as a function of (t, s), evaluated from the symbols and not from generated source."""
        return CoefficientTable(self.program)

    def coefficients(self, times: Sequence[float]) -> np.ndarray:
        """float64 (len(times) - 1, coefficients) for a decreasing grid of forward diffusion times."""
        return self.table.on_grid(times)

    @cached_property
    def stability(self) -> Stability:
        """Amplification, regions and limits, transient growth, second moments, stable steps: see docs/stability.md."""
        return Stability(self.program)

    def gaussian_error(self, times: Sequence[float], mean: Any, covariance: Any) -> GaussianError:
        """The exact error in mean and covariance on Gaussian data after the steps of ``times``, without sampling."""
        return gaussian_error(self.program, times, mean, covariance)

    @cached_property
    def source(self) -> str:
        """The generated torch module, as text."""
        checks = check_names(self.stochastic)
        return scheme_source(self.spec, self.scheme.summary, self.scheme.source, self.program, self.local_error, checks)

    def to_torch(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Sampler:
        """A sampler that runs the generated source on ``device``; float32 unless ``dtype`` says otherwise."""
        import torch

        from torch_backend import Sampler
        from torch_backend.source import module_from_source

        module = module_from_source(self.source, f"integrator_analysis_{self.name}")
        return Sampler(module, device=device, dtype=torch.float32 if dtype is None else dtype)

    def verify(self, source: str | None = None) -> Certificate:
        """Measure the generated source, or the ``source`` given, against the derived claims."""
        return certify(self, source)

    def export(self, path: str | Path, format: str = "module") -> Path:
        """Write a standalone sampler to ``path``. ``format`` "module" is one Python file that needs torch alone.

        The file carries the claims of a certificate made on the spot, and the hash of the code. Raises InputError for
        an unknown format or a path that cannot be written, ArithmeticError if a claim does not hold.
        """
        from torch_backend.export import FORMATS

        if format not in FORMATS:
            raise did_you_mean(format, FORMATS, "export format")
        certificate = self.verify()
        if not certificate.passed:
            failed = ", ".join(c.name for c in certificate.claims if not c.passed)
            raise ArithmeticError(f"{self.spec} fails its verification ({failed}); nothing is exported")
        return write_text(path, FORMATS[format](self.source, certificate.as_dict()))


def derive(spec: str, **parameters: float) -> Integrator:
    """Derive the sampler that ``spec`` names, with the process's published parameters or those given.

    ``lambda_`` sets the strength of a lambda-DDIM. Raises InputError for a spec that cannot be read or derived.

    >>> derive("psld/RVV").order
    1
    >>> derive("vp/DDIM").local_error.text()["x"]
    'eta_xx*(beta*d_x eps_x*x - 2*d_t eps_x - 2*d_x eps_x*eps_x*eta_xx)/4'
    """
    return Integrator(parse(spec, **parameters))


def verify(spec: str, **parameters: float) -> Certificate:
    """Derive, generate, measure: the certificate of ``spec``."""
    return derive(spec, **parameters).verify()
