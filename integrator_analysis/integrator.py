"""The integrator: one spec, derived. Ask it for its order, error, stability, coefficients, source, sampler, export.

Knows every reading of a step program; imports torch only where a sampler or an export is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.cost import BUDGET
from integrator_analysis.analysis.gaussian import GaussianError, gaussian_error
from integrator_analysis.analysis.global_error import GlobalError, Observable, global_error, weak_global_error
from integrator_analysis.analysis.local_error import LocalError, derive_local_error, linear_order
from integrator_analysis.analysis.modified import ModifiedODE, ModifiedSDE, modified_equation
from integrator_analysis.analysis.problems import MixtureProblem
from integrator_analysis.analysis.recall import facts_of, kept
from integrator_analysis.analysis.stability import Stability
from integrator_analysis.analysis.trial import trial_of
from integrator_analysis.cache import find, key_of
from integrator_analysis.certificate import Certificate, certify, check_names, write_bytes
from integrator_analysis.codegen import module_name, scheme_source
from integrator_analysis.codegen.lower import table_of
from integrator_analysis.derivation import Derivation, derivation_of
from integrator_analysis.program import StepProgram
from integrator_analysis.spec import Spec, parse
from integrator_analysis.symbols import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from torch_backend import Sampler

__all__ = ["Integrator", "derive", "verify"]


class Integrator:
    """A derived sampler on a process. Attributes are computed when first asked for, and kept.

    What is known of the spec from an earlier derivation is read from the cache (cache.py): then lowering waits until
    the program is asked for. ``budget`` is how many seconds a derivation may be expected to take.
    """

    def __init__(self, spec: Spec, budget: float = BUDGET) -> None:
        self.spec = spec.text
        self.process = spec.process
        self.scheme = spec.scheme
        self.budget = budget
        self._record = find(key_of(spec))
        self.references: dict[Any, Any] = {}
        """Reference solutions and derived numbers that every verification of this scheme compares with."""
        if not self._record.facts:
            _ = self.program  # a spec that cannot be lowered is refused now

    @cached_property
    def program(self) -> StepProgram:
        """The step program."""
        return self.scheme.method.lower(self.process)

    def __repr__(self) -> str:
        return f"<Integrator {self.spec}: order {self.order}, {self.nfe_per_step} evaluations per step>"

    @property
    def name(self) -> str:
        """The spec as a Python module name."""
        return module_name(self.spec)

    @property
    def nfe_per_step(self) -> int:
        """Network evaluations in one step, as executed."""
        return int(self._fact("nfe_per_step", lambda: self.program.nfe_per_step))

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return bool(self._fact("stochastic", lambda: self.program.stochastic))

    @cached_property
    def local_error(self) -> LocalError:
        """The local error for an unknown smooth score: the leading terms, and the next ones when asked for.

        Raises InputError where it is expected to exceed the budget.
        """
        record = self._record
        if "exponents" in record.facts:
            return kept(record.facts, record.keep, lambda: self.program)
        program = self.program
        error = derive_local_error(program, budget=self.budget)
        record.keep(nfe_per_step=program.nfe_per_step, stochastic=program.stochastic, **facts_of(error))
        return kept(record.facts, record.keep, lambda: program, error)

    def _fact(self, name: str, compute: Callable[[], Any]) -> Any:
        """A fact that is known already, or is computed now."""
        return self._record.facts[name] if name in self._record.facts else compute()

    @property
    def order(self) -> int:
        """Order for a general smooth score; weak order if stochastic."""
        return self.local_error.order

    @cached_property
    def linear_order(self) -> int:
        """Order for a score that is linear in the state, that of Gaussian data; weak order if stochastic."""
        return linear_order(self.program, budget=self.budget)

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

    @property
    def spectral_radius(self) -> float:
        """Of one step of t_max/10 from t_max/2, for a position score with the eigenvalue -2: one number to compare."""
        if "spectral_radius" not in self._record.facts:
            whole = self.process.t_max
            radius = self.stability.radius(whole / 10, -2.0, whole / 2)
            if not self._record.facts:  # a record holds the local error, if anything
                _ = self.local_error
            self._record.keep(spectral_radius=radius)
        return float(self._record.facts["spectral_radius"])

    def gaussian_error(self, times: Sequence[float], mean: Any, covariance: Any) -> GaussianError:
        """The exact error in mean and covariance on Gaussian data after the steps of ``times``, without sampling."""
        return gaussian_error(self.program, times, mean, covariance)

    def global_error(
        self,
        problem: MixtureProblem,
        z: np.ndarray,
        grid: str = "uniform",
        interval: tuple[float, float] | None = None,
    ) -> GlobalError:
        """The predicted error of the trajectories from z (points, blocks) at the end: constant / n**order for n steps.

        ``interval`` is (start, end) in forward diffusion time, (t_max, t_min) if None. Raises InputError for a
        stochastic scheme and for predictor-correctors; see analysis.global_error.
        """
        return global_error(self.local_error, problem, z, grid, interval)

    def weak_global_error(
        self,
        mean: float,
        variance: float,
        observable: Observable,
        grid: str = "uniform",
        interval: tuple[float, float] | None = None,
        nodes: int = 6,
    ) -> GlobalError:
        """The predicted error in E f of a stochastic scheme at the end, for data N(mean, variance) in one direction."""
        return weak_global_error(self.local_error, mean, variance, observable, grid, interval, nodes)

    @cached_property
    def derivation(self) -> Derivation:
        """The derivation that a person can follow: sections of prose and formulas; text, Markdown, HTML."""
        return derivation_of(self)

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

    def verify(self, source: str | None = None, device: str = "cpu") -> Certificate:
        """Measure the generated source, or the ``source`` given, against the derived claims, with steps on ``device``.

        Raises InputError for a device that is not there or has no float64.
        """
        return certify(self, source, device)

    def export(self, path: str | Path, format: str = "module", times: Sequence[float] | None = None) -> Path:
        """Write this sampler to ``path`` in a form that runs without this project; see docs/export.md.

        ``format``: "module", one Python file that needs torch alone; "diffusers", a scheduler class; "k-diffusion", a
        function on sigmas, which ComfyUI loads too; "torch-export", a step as an ExportedProgram, for the grid
        ``times`` or 50 uniform steps. The file carries the claims of a certificate made on the spot, and the hash of
        the code. Raises InputError for an unknown format, a scheme that cannot take it, times where the format needs
        none, or a path that cannot be written, ArithmeticError if a claim does not hold.
        """
        from torch_backend.export import FORMATS

        if format not in FORMATS:
            raise did_you_mean(format, FORMATS, "export format")
        options: dict[str, Any] = {} if times is None else {"times": times}
        if options and not FORMATS[format].on_a_grid:
            raise InputError(f"a file of format {format!r} computes its coefficients for any grid; leave times out")
        try:
            FORMATS[format].check(self.source)
        except ValueError as error:
            raise InputError(str(error)) from error
        certificate = self.verify()
        if not certificate.passed:
            failed = ", ".join(c.name for c in certificate.claims if not c.passed)
            raise ArithmeticError(f"{self.spec} fails its verification ({failed}); nothing is exported")
        if FORMATS[format].on_trial and not self.stochastic and not len(table_of(self.program.lowered())):
            options["trial"] = trial_of(self.process)
        content = FORMATS[format].write(self.source, certificate.as_dict(), **options)
        return write_bytes(path, content if isinstance(content, bytes) else content.encode())


def derive(spec: str, *, budget: float = BUDGET, **parameters: float) -> Integrator:
    """Derive the sampler that ``spec`` names, with the process's published parameters or those given.

    ``lambda_`` sets the strength of a lambda-DDIM. Raises InputError for a spec that cannot be read or derived. A local
    error that is expected to take more than ``budget`` seconds is refused with the estimate when it is asked for.

    >>> derive("psld/RVV").order
    1
    >>> derive("vp/DDIM").local_error.text()["x"]
    'eta_xx*(beta*d_x eps_x*x - 2*d_t eps_x - 2*d_x eps_x*eps_x*eta_xx)/4'
    """
    return Integrator(parse(spec, **parameters), budget)


def verify(spec: str, *, device: str = "cpu", **parameters: float) -> Certificate:
    """Derive, generate, measure: the certificate of ``spec``, with steps on ``device``."""
    return derive(spec, **parameters).verify(device=device)
