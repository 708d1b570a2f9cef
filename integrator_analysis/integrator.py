"""The integrator: one spec, derived. Ask it for its order, error, stability, coefficients, source, sampler, export.

Knows every reading of a step program; imports torch only where a sampler or an export is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from integrator_analysis.analysis.accuracy.cost import BUDGET
from integrator_analysis.codegen import kernel_source, scheme_source
from integrator_analysis.derivation.account import derivation_of
from integrator_analysis.derivation.document import Derivation
from integrator_analysis.files import write_bytes
from integrator_analysis.inputs import InputError, did_you_mean
from integrator_analysis.language.spec import parse
from integrator_analysis.program.given_table import table_of
from integrator_analysis.properties import Properties
from integrator_analysis.verification.bench import Bench
from integrator_analysis.verification.certificate import Certificate
from integrator_analysis.verification.certify import certify, certify_thoroughly, check_names
from integrator_analysis.verification.exported_walks import measure_file
from integrator_analysis.verification.trial import trial_of

if TYPE_CHECKING:
    import torch

    from torch_backend import Sampler

__all__ = ["Integrator", "derive", "verify"]


class Integrator(Properties):
    """A derived sampler on a process: its properties, its derivation, its torch source, certificate and exports.

    Attributes are computed when first asked for, and kept.
    """

    @cached_property
    def derivation(self) -> Derivation:
        """The derivation that a person can follow: sections of prose and formulas; text, Markdown, HTML."""
        return derivation_of(self)

    @cached_property
    def source(self) -> str:
        """The generated torch module, as text."""
        checks = check_names(self.stochastic)
        scheme, programs = self.scheme, (self.program, self.network_program)
        return scheme_source(self.spec, scheme.summary, scheme.citation, *programs, self.local_error, checks)

    def to_torch(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Sampler:
        """A sampler that runs the generated source on ``device``; float32 unless ``dtype`` says otherwise."""
        import torch

        from torch_backend import Sampler
        from torch_backend.source import module_from_source

        module = module_from_source(self.source, f"integrator_analysis_{self.name}")
        return Sampler(module, device=device, dtype=torch.float32 if dtype is None else dtype)

    def verify(
        self, source: str | None = None, device: str = "cpu", thorough: float | None = None, seed: int = 0
    ) -> Certificate:
        """Measure the generated source, or the ``source`` given, against the derived claims, with steps on ``device``.

        ``thorough``: for how many seconds to go on with other times, steps, pasts and states, drawn from ``seed``.
        Raises InputError for a device that is not there or has no float64.
        """
        text = self.source if source is None else source
        if thorough is None:
            return certify(self, text, device)
        begun = monotonic()
        return certify_thoroughly(self, text, seed, lambda rounds: monotonic() - begun < thorough, device)

    def export(self, path: str | Path, format: str = "module", times: Sequence[float] | None = None) -> Path:
        """Write this sampler to ``path`` in a form that runs without this project; see docs/export.md.

        ``format``: "module", one Python file that needs torch alone; "diffusers", a scheduler class; "k-diffusion", a
        function on sigmas, which ComfyUI loads too; "torch-export", a step as an ExportedProgram, for the grid
        ``times`` or 50 steps of the scheme's own grid. The file carries the claims of a certificate made on the spot,
        the hash of the code, and an example that imports it by the name of ``path``. Raises InputError for an unknown
        format, a scheme that cannot take it, times where the format needs none, or a path that cannot be written,
        ArithmeticError if a claim does not hold.
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
        if FORMATS[format].on_trial and not self.stochastic and not len(table_of(self.network_program)):
            options["trial"] = trial_of(self.process)
        if FORMATS[format].with_kernel and len(self.process.blocks) > 1:
            options["kernel"] = kernel_source(self.process)
        if FORMATS[format].imported:
            options["file"] = Path(path).name
        record = certificate.as_dict()
        content = FORMATS[format].write(self.source, record, **options)
        if isinstance(content, str):
            walked = measure_file(Bench(self, self.source), format, content)
            failed = ", ".join(claim.name for claim in walked.claims if not claim.passed)
            if failed:
                raise ArithmeticError(f"{self.spec}: the file for {format} fails ({failed}); nothing is exported")
            whole = replace(certificate, claims=(*certificate.claims, *walked.claims))
            content = FORMATS[format].write(self.source, {**whole.as_dict(), "remarks": walked.remarks}, **options)
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
