"""Single changes of the generated RVV source: each runs, moves the result, and is rejected by a measured claim.

The changes are spelled out, so that a reader sees what a certificate catches; a survivor names itself.
"""

from __future__ import annotations

import json
import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from changes import KINDS, mutants
from distance import step_distance

import integrator_analysis as ia
from integrator_analysis.verification.certify import first_failure
from torch_backend.measuring.one_step import take_step
from torch_backend.source import module_from_source

RVV: dict[str, tuple[str, str]] = {
    "factor": ("decay_m_1 = h * nu * beta_t / 4 + 1", "decay_m_1 = 1.0001 * (h * nu * beta_t / 4) + 1"),
    "sign": ("coupling_mx_1 = h * beta_t / 4", "coupling_mx_1 = -h * beta_t / 4"),
    "dropped term": ("decay_x_2 = Gamma * h * beta_t / 2 + 1", "decay_x_2 = 1.0"),
    "power of the step": ("coupling_mx_3 = h * beta_s / 4", "coupling_mx_3 = h**2 * beta_s / 4"),
    "half step made whole": ("decay_m_3 = h * nu * beta_s / 4 + 1", "decay_m_3 = h * nu * beta_s / 2 + 1"),
    "start for end in the factor": (
        "weight_mm_3 = -M * h * nu * beta_s / (4 * cholesky_mm_s)",
        "weight_mm_3 = -M * h * nu * beta_s / (4 * cholesky_mm_t)",
    ),
    "end for start in the network's time": (
        "eps_1_m = network(torch.cat((x, m), dim=1), s)",
        "eps_1_m = network(torch.cat((x, m), dim=1), t)",
    ),
    "swapped blocks": (
        "weight_xx_2 * eps_0_x + weight_xm_2 * eps_0_m",
        "weight_xx_2 * eps_0_m + weight_xm_2 * eps_0_x",
    ),
    "wrong factor of Sigma": (
        "weight_xx_2 = -Gamma * h * beta_t / (2 * cholesky_xx_t)",
        "weight_xx_2 = -Gamma * h * beta_t / (2 * cholesky_mm_t)",
    ),
    "missing off-diagonal of C_out": ("cholesky_mx_t / (2 * cholesky_mm_t * cholesky_xx_t)", "0"),
    "parameter": ("\nnu = 4.01\n", "\nnu = 4.02\n"),
    "moment of the kernel": ("moment_2 = 2 * clock**3", "moment_2 = 3 * clock**3"),
    "stale state": ("network(torch.cat((x, m), dim=1), s)", "network(z, s)"),
    "old momentum in A": ("x = decay_x_2 * x + coupling_xm_2 * m", "x = decay_x_2 * x + coupling_xm_2 * z[:, 1:]"),
}
MEASURED = ("order", "constant", "gaussian_map")


@cache
def rvv() -> ia.Integrator:
    return ia.derive("psld/RVV")


def mutant(old: str, new: str) -> str:
    """RVV's source with one change; the old text occurs once below the header. Raises ValueError otherwise.

    log_snr(t) and data_weights(t), which serve time grids and endings and no step, are left as they are.
    """
    header, body = rvv().source.split("import math\n", 1)
    before, mark, rest = body.partition("def log_snr(")
    inside, end, after = rest.partition("\n\n\ndef step(")
    if before.count(old) + after.count(old) != 1:
        raise ValueError(f"{old!r} occurs {before.count(old) + after.count(old)} times")
    return header + "import math\n" + before.replace(old, new) + mark + inside + end + after.replace(old, new)


def moved(source: str) -> float:
    """The largest change of a step against the true source, on random states and a smooth network."""

    def network(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ torch.tensor([[0.7, -0.4], [0.5, 0.9]], dtype=torch.float64) + t[:, None])

    z = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    modules = [module_from_source(text, f"mutant_{n}") for n, text in enumerate((rvv().source, source))]
    return max(
        float((take_step(modules[0], network, z, t, s) - take_step(modules[1], network, z, t, s)).abs().max())
        for t, s in ((0.9, 0.6), (0.3, 0.2))
    )


@pytest.mark.parametrize(("old", "new"), RVV.values(), ids=RVV)
def test_every_single_change_is_rejected_by_a_measurement(old: str, new: str) -> None:
    source = mutant(old, new)
    assert moved(source) > 1e-7
    certificate = rvv().verify(source=source)
    rejected = [c for c in certificate.claims if not c.passed]
    assert not certificate.passed
    assert any(c.name.startswith(MEASURED) and np.isfinite(c.error) for c in rejected), [c.name for c in rejected]


def test_the_true_source_passes_the_same_examination() -> None:
    assert moved(rvv().source) == 0
    certificate = rvv().verify()
    assert certificate.passed
    assert min(c.margin for c in certificate.claims) > 1.5


HEUN = '''"""Heun's method on the probability flow of VP, in eps, with the claims of Euler."""
import math
import torch
SPEC, PROCESS, BLOCKS, ORDER, STOCHASTIC, NFE_PER_STEP = "vp/Euler", "vp", ("x",), 1, False, 1
HISTORY, NOISES, T_MAX, T_MIN, PRIOR_STD, COEFFICIENTS = 0, 0, 1.0, 0.001, (1.0,), ("h",)


def _slopes(t):
    beta, clock = 0.1 + 19.9 * t, 0.1 * t + 19.9 * t**2 / 2
    return beta / 2, beta / 2 / torch.sqrt(-torch.expm1(-clock))


def coefficients(t, s):
    return torch.stack([t - s], -1)


def step(z, t, s, c, network, noise=None):
    (h,), (a, b), (p, q) = c, _slopes(t), _slopes(s)
    first = a * z - b * network(z, t)
    end = z + h * first
    second = p * end - q * network(end, s)
    return z + h * (first + second) / 2
'''


def test_a_method_of_higher_order_is_no_proof_of_a_claim_of_order_one() -> None:
    """A claim is an equality: second order with Euler's claims is a wrong claim, although the sampler is better."""
    certificate = ia.derive("vp/Euler").verify(source=HEUN)
    assert certificate.claim("order[x]").measured == pytest.approx(2, abs=0.1)
    assert not certificate.claim("order[x]").passed
    assert not certificate.claim("constant[x]").passed


def test_noise_of_the_wrong_size_is_rejected() -> None:
    i = ia.derive("vp/EM")
    source = re.sub(r"(    noise_x = .*)\n", r"\1 / 2\n", i.source)
    assert source.count("/ 2\n") == i.source.count("/ 2\n") + 1
    assert not i.verify(source=source).claim("gaussian_map").passed


def test_saved_rejections_are_json_too(tmp_path: Path) -> None:
    certificate = rvv().verify(source=mutant(*RVV["sign"]))
    assert json.loads(certificate.save(tmp_path / "c.json").read_text())["passed"] is False


# A sample of the mutants that benchmarks/mutation/of_sources.py makes of the whole catalogue.
SAMPLED = ("vp/DDIM", "vp/UniPC-2", "vp/SDE-DPM-Solver++2M", "psld/RVV", "psld/SPS-2M")


@cache
def derived(spec: str) -> ia.Integrator:
    return ia.derive(spec)


def distance(spec: str, source: str) -> float:
    true = module_from_source(derived(spec).source, "mutants_true")
    return step_distance(true, module_from_source(source, "mutants_changed"), seed=7)


@pytest.mark.parametrize("spec", SAMPLED)
def test_seeded_mutants_are_rejected(spec: str) -> None:
    made = mutants(derived(spec).source, 5, seed=zlib.crc32(spec.encode()))
    assert len({m.kind for m in made}) == 5
    changed = [m for m in made if m.kind == "stated fact" or distance(spec, m.source) > 1e-12]
    assert [m for m in changed if first_failure(derived(spec), m.source) is None] == []
    assert changed


def test_mutants_are_seeded_single_edits_of_every_kind() -> None:
    """PSLD's SDE-like step has all kinds but one: only words of a predictor-corrector read earlier outputs."""
    source = derived("psld/SPS-2M").source
    made = mutants(source, 60, seed=3)
    assert made == mutants(source, 60, seed=3)
    assert made != mutants(source, 60, seed=4)
    assert {m.kind for m in made} == set(KINDS) - {"dropped noise", "reused noise"}
    assert {m.kind for m in mutants(derived("psld/ROBA").source, 60, seed=3)} >= {"dropped noise", "reused noise"}
    for m in made:
        assert source.count("\n") == m.source.count("\n") + m.before.count("\n") - m.after.count("\n")
        assert m.after in m.source
        compile(m.source, m.kind, "exec")


def edited(spec: str, old: str, new: str) -> str:
    source = derived(spec).source
    assert source.count(old) == 1, source.count(old)
    return source.replace(old, new)


FOUND = {
    "log-SNR": ("vp/DDIM", "-torch.log(ratio)", "torch.log(ratio)", "log_snr"),
    "start of a walk": (
        "vp/UniPC-2",
        "mend_11 * mend_line * psi_0_xx_p1_t",
        "mend_12 * mend_line * psi_0_xx_p1_t",
        "gaussian_map",
    ),
    "recurrence of phi, long steps": ("vp/UniPC-2", "for j in range(1, k):", "for j in range(2, k):", "gaussian_map"),
    "fewer steps read": ("vp/UniPC-2", "past[:min(1, read)]", "past[:1]", "lower_order_row"),
}
"""Changes that passed until the claim named last was made, or made on more steps."""


@pytest.mark.parametrize(("spec", "old", "new", "claim"), FOUND.values(), ids=FOUND)
def test_changes_that_once_passed(spec: str, old: str, new: str, claim: str) -> None:
    source = edited(spec, old, new)
    assert distance(spec, source) > 1e-6
    failed = first_failure(derived(spec), source)
    assert failed is not None
    assert failed.name == claim


def test_the_distance_of_steps_sees_what_a_step_gives_and_nothing_else() -> None:
    for spec in SAMPLED:
        assert distance(spec, derived(spec).source) == 0
    assert (
        distance("psld/RVV", edited("psld/RVV", "coupling_mx_1 = h * beta_t / 4", "coupling_mx_1 = h * beta_s / 4"))
        == 0
    )
    assert (
        distance("psld/RVV", edited("psld/RVV", "    x, m = z.chunk", "    return None\n    x, m = z.chunk")) == np.inf
    )


def test_the_first_failure_is_one_that_a_certificate_shows() -> None:
    source = edited("vp/DDIM", "decay_x = propagator_xx", "decay_x = 1.001 * propagator_xx")
    failed = first_failure(derived("vp/DDIM"), source)
    assert failed == derived("vp/DDIM").verify(source=source).claim("gaussian_map")
    assert first_failure(derived("vp/DDIM"), derived("vp/DDIM").source) is None


def refuse_constant(name: str) -> None:
    """Sources that do not run are saved too: without NaN and infinity, which JSON does not have."""
    raise ValueError(f"JSON has no {name}")


def test_unmeasurable_claims_are_saved_as_json(tmp_path: Path) -> None:
    broken = rvv().source.replace("def step(", "def no_step(")
    path = rvv().verify(source=broken).save(tmp_path / "c.json")
    json.loads(path.read_text(), parse_constant=refuse_constant)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import torch\n", "import torch\nimport not_installed\n"),
        ("    x, m = z.chunk", "    {}['missing']\n    x, m = z.chunk"),
        ("    x, m = z.chunk", "    assert False\n    x, m = z.chunk"),
        (
            '"""',
            "",
        ),
    ],
    ids=["missing import", "missing key", "assertion", "no docstring"],
)
def test_source_that_cannot_run_fails_its_claims(old: str, new: str) -> None:
    assert not rvv().verify(source=rvv().source.replace(old, new, 1)).passed


BLIND_SPOTS = {
    "NaN on long steps": (
        "    return torch.cat((x, m), dim=1)",
        "    x = x + 0 * torch.log(0.05 - (t - s))\n    return torch.cat((x, m), dim=1)",
    ),
    "blocks split along the last axis": ("z.chunk(2, dim=1)", "z.chunk(2, dim=-1)"),
    "prior": ("PRIOR_STD = (1.0, 0.5)", "PRIOR_STD = (1.0, 7.5)"),
    "interval": ("T_MIN = 0.001", "T_MIN = 0.2"),
    "stated order": ("ORDER = 1", "ORDER = 2"),
    "stated cost": ("NFE_PER_STEP = 2", "NFE_PER_STEP = 1"),
}


@pytest.mark.parametrize(("old", "new"), BLIND_SPOTS.values(), ids=BLIND_SPOTS)
def test_blind_spots(old: str, new: str) -> None:
    assert not rvv().verify(source=mutant(old, new)).passed
