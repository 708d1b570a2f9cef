"""Certificates: each derived claim about a sampler beside its measurement, saved and loaded as JSON.

Knows claims and files; measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from integrator_analysis.files import check, read_json, write_text
from integrator_analysis.inputs import InputError

__all__ = ["Certificate", "Claim", "schema"]


ALWAYS = (
    "stated_facts",
    "nfe_per_step",
    "log_snr",
    "gaussian_map",
    "spectral_radius",
    "shapes",
    "shapes[float32]",
    "growth",
    "gradient",
    "rows",
    "rows[log_snr]",
    "side_effects",
    "rounding[float32]",
    "rounding[bfloat16]",
    "walk_evaluations",
)
"""Claims that every certificate makes, beside order and constant of every block or average that it has terms of."""


@dataclass(frozen=True)
class Claim:
    """A derived number or text and what was measured. ``error`` is their distance, in the units of ``tolerance``."""

    name: str
    derived: Any
    measured: Any
    error: float
    tolerance: float
    problem: str

    @property
    def passed(self) -> bool:
        """Whether the claim holds; an error that is not a number does not."""
        return bool(self.error <= self.tolerance)

    @property
    def margin(self) -> float:
        """tolerance / error: how far the claim is from failing."""
        return float("inf") if self.error == 0 else self.tolerance / self.error


@dataclass(frozen=True)
class Certificate:
    """The claims about one source of one spec, with the evidence: step sizes, errors, seeds, versions, hashes."""

    spec: str
    claims: tuple[Claim, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(claim.passed for claim in self.claims)

    @property
    def coverage(self) -> str:
        """What the claims are about, and what they say nothing of, in words; empty in files of older versions."""
        covers = self.evidence.get("coverage", {})
        lines = [f"{part}: {'; '.join(covers[part])}." for part in ("covered", "not covered") if part in covers]
        return "\n".join(lines)

    def claim(self, name: str) -> Claim:
        """The claim with this name. Raises KeyError if it was not made."""
        return next(c for c in self.claims if c.name == name)

    def missing_claims(self) -> list[str]:
        """The names of the claims that a certificate of this scheme has to make and that this one does not make."""
        blocks = list(self.evidence.get("local_error") or ["x"])
        due = [*ALWAYS, *(f"{claim}[{block}]" for claim in ("order", "constant") for block in blocks)]
        return [name for name in due if name not in {claim.name for claim in self.claims}]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        claims = [
            {key: _json_value(value) for key, value in asdict(c).items()}
            | {"passed": c.passed, "margin": _json_value(c.margin)}
            for c in self.claims
        ]
        evidence = {key: _json_value(value) for key, value in self.evidence.items()}
        return {"format": 1, "spec": self.spec, "passed": self.passed, "claims": claims, "evidence": evidence}

    def save(self, path: str | Path) -> Path:
        """Write the certificate as JSON. Raises InputError if the path cannot be written; nothing is left half-done."""
        return write_text(path, self.as_json())

    def as_json(self) -> str:
        """The text that ``save`` writes."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """The certificate that ``save`` wrote. Raises InputError, one sentence, for a file that is none.

        What the file says of its claims is recomputed: a file whose verdicts are not those of its numbers is refused,
        and so is one that passes for want of a claim.
        """
        document = read_json(path)
        try:
            check(document, schema(), "the certificate")
            claims = tuple(_read_claim(entry) for entry in document["claims"])
            loaded = cls(document["spec"], claims, document["evidence"])
            said = [document["passed"], *(entry["passed"] for entry in document["claims"])]
            if said != [loaded.passed, *(claim.passed for claim in claims)]:
                raise InputError("its verdicts are not those of its errors and tolerances; verify anew")
            if loaded.passed and (missing := loaded.missing_claims()):
                raise InputError(f"it lacks the claim(s) {', '.join(missing)}, so that it proves nothing; verify anew")
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return loaded

    def check_source(self, source: str) -> None:
        """Raise InputError, one sentence, unless ``source`` is the text that was measured, header aside."""
        from torch_backend.source import body_hash

        try:
            found = f"sha256:{body_hash(source)}"
        except ValueError as error:
            raise InputError(f"{error}, so that it is not what the certificate of {self.spec} is about") from error
        if found != self.evidence.get("source_hash"):
            raise InputError(
                f"the code is not the code that was certified: the certificate of {self.spec} is for "
                f"{self.evidence.get('source_hash')}, the code has {found}; verify it anew"
            )


def schema() -> dict[str, Any]:
    """The JSON schema of saved certificates, which ships with the package."""
    text = files("integrator_analysis.verification").joinpath("certificate.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _read_claim(entry: Mapping[str, Any]) -> Claim:
    """The claim of an entry that follows the schema; its verdict is left out, since a claim computes its own."""
    error = np.inf if entry["error"] is None else float(entry["error"])
    tolerance = float(entry["tolerance"])
    return Claim(entry["name"], entry["derived"], entry["measured"], error, tolerance, entry["problem"])


def _json_value(value: Any) -> Any:
    """``value`` as JSON can hold it: None in the place of infinity and NaN."""
    if isinstance(value, Mapping):
        return {key: _json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
