"""The command: facts on stdout, one line on stderr for unusable arguments, and the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis import cli
from integrator_analysis.report.pictures.kinds import KINDS


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command, through its own entry point."""
    monkeypatch.setattr("sys.argv", ["integrator-analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


def test_derive_prints_the_facts_as_json(command) -> None:
    status, out, _ = command("derive", "psld/RVV", "--json")
    facts = json.loads(out)
    assert status == 0
    assert {k: facts[k] for k in ("spec", "order", "stochastic", "nfe_per_step")} == {
        "spec": "psld/RVV", "order": 1, "stochastic": False, "nfe_per_step": 2,
    }  # fmt: skip
    assert facts["local_error"]["exponents"] == {"x": 2, "m": 2}
    momentum = facts["local_error"]["leading"]["m"]
    assert momentum["text"] == "-beta**2*nu*(M*d_m s_m + 1)*(M*nu*s_m + m*nu + x)/16"
    assert r"\beta^{2} \nu" in momentum["latex"]
    assert facts["parameters"]["M"] == 0.25
    assert set(facts["coefficients"]) == set(ia.derive("psld/RVV").network_program.coefficients)
    assert "cholesky_xx(t)" in facts["definitions"]


def test_derive_shows_what_each_weight_integrates(command) -> None:
    definitions = json.loads(command("derive", "vp/DEIS-tAB2", "--json")[1])["definitions"]
    texts = [definitions[f"psi_{k}_xx(t, s)"] for k in range(3)]
    assert ["times x**" in text for text in texts] == [False, True, True]
    assert all("sqrt(u)" in text and "eta_xx(u)" in text for text in texts)


def test_derive_as_text_with_settings(command) -> None:
    status, out, _ = command("derive", "vp/lambda-DDIM-I", "--set", "lambda=0.25", "--set", "beta_max=10")
    assert status == 0
    assert "vp(beta_max=10.0)/lambda-DDIM-I(lambda=0.25)" in out
    assert "lambda = 0.25" in out
    assert "Order 1, 1 NFE per step" in out
    assert "integral over u from s to t" in out


@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/ROBA", "vp/conjugate(B=lambda*I, lambda=0.3)"])
def test_facts_have_one_leading_term_for_each_exponent(command, spec: str) -> None:
    facts = json.loads(command("derive", spec, "--json")[1])
    keys = {"spec", "order", "stochastic", "nfe_per_step", "local_error", "parameters", "derivation", "coefficients"}
    assert keys | {"definitions", "terms_hash", "walk_order"} == set(facts)
    assert facts["derivation"]
    assert facts["order"] == min(facts["local_error"]["exponents"].values()) - 1
    assert set(facts["local_error"]["exponents"]) == set(facts["local_error"]["leading"])
    assert all(set(term) == {"text", "latex"} for term in facts["local_error"]["leading"].values())


def test_list_names_the_catalogue(command) -> None:
    status, out, _ = command("list", "--json")
    assert status == 0
    assert [row["spec"] for row in json.loads(out)] == list(ia.catalogue())
    assert "psld/RVV" in command("list")[1]


def test_verify_passes_and_saves_certificates(command, tmp_path: Path) -> None:
    status, out, _ = command("verify", "vp/DDIM", "psld/RVV", "-o", tmp_path, "--json")
    assert status == 0
    assert [c["passed"] for c in json.loads(out)] == [True, True]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["claims.md", "psld_RVV.json", "vp_DDIM.json"]
    assert "| psld/RVV | order[x] | 1 | " in (tmp_path / "claims.md").read_text()


def test_verify_resumes_what_still_holds_and_writes_a_page(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sources in two processes, then again: only the certificate that was tampered with is made anew."""
    once = command("verify", "vp/DDIM", "vp/Euler", "-o", tmp_path, "--jobs", "2", "--json")
    assert once[0] == 0
    kept = tmp_path / "vp_DDIM.json"
    kept.write_text(kept.read_text().replace('"seed": 20231011', '"seed": 1'))
    other = tmp_path / "vp_Euler.json"
    other.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + 64 * "0", other.read_text(), count=1))
    page = tmp_path / "page.html"
    again = command("verify", "vp/DDIM", "vp/Euler", "-o", tmp_path, "--resume", "--json", "--html", page)
    assert [c["evidence"]["seed"] for c in json.loads(again[1])] == [1, 20231011]
    assert json.loads(other.read_text()) == json.loads(once[1])[1]
    assert "Certificates of 2 schemes" in page.read_text()


def test_an_unmeasurable_claim_is_null_in_json_and_its_text_is_not_markup(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("shape [/x] is not usable")

    monkeypatch.setattr("integrator_analysis.verification.checks.gaussian_map.farthest_entries", refuse)

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    status, out, _ = command("verify", "vp/Euler", "--json")
    claims = json.loads(out, parse_constant=no_constant)[0]["claims"]
    assert status == 1
    assert [c["error"] for c in claims if not c["passed"]] == [None]
    status, out, _ = command("verify", "vp/Euler")
    assert status == 1
    assert "[/x]" in out


VERIFY = """
import signal, sys
import integrator_analysis as ia
from integrator_analysis.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of a shell's background
verify = ia.verify

def verify_two(spec, **options):
    if spec not in ("vp/DDIM", "vp/Euler"):
        print("verifying the third", flush=True)
        sys.stdin.read()
    return verify(spec, **options)

ia.verify = verify_two
main()
"""


def test_an_interrupted_verification_keeps_its_certificates(tmp_path: Path) -> None:
    """SIGINT while the third scheme is verified: the child waits for its input there until the signal comes."""
    root = Path(cli.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", VERIFY, "verify", "vp/DDIM", "vp/Euler", "psld/RVV", "-o", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "verifying the third\n"
            process.send_signal(signal.SIGINT)
            err = process.stderr.read()
            assert process.wait() == cli.INTERRUPTED
        finally:
            process.kill()
    assert err.strip().splitlines()[-1] == "interrupted; what was finished is on disk"
    saved = sorted(tmp_path.iterdir())
    assert [path.name for path in saved] == ["vp_DDIM.json", "vp_Euler.json"]
    assert all(json.loads(path.read_text())["passed"] for path in saved)


def test_a_failed_verification_exits_one(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrator_analysis.verification.checks.gaussian_map.MAP_TOLERANCE", -1.0)
    status, out, _ = command("verify", "vp/Euler")
    assert status == 1
    assert "FAILED" in out


def test_export_writes_a_module(command, tmp_path: Path) -> None:
    target = tmp_path / "rvv.py"
    assert command("export", "vp/DDIM", "--format", "module", "-o", target)[0] == 0
    compile(target.read_text(), "rvv.py", "exec")


def test_export_writes_a_step_for_the_grid_that_is_asked_for(command, tmp_path: Path) -> None:
    target = tmp_path / "step.pt2"
    arguments = ("--format", "torch-export", "--steps", "4", "--grid", "quadratic", "-o", target)
    assert command("export", "vp/DDIM", *arguments)[0] == 0
    assert target.stat().st_size > 0
    assert list(tmp_path.iterdir()) == [target]


PLOTTED = {
    "stability": ["vp/DDIM"],
    "region": ["vp/DDIM", "vp/EDM-Heun"],
    "order-star": ["vp/DDIM"],
    "dispersion": ["vp/DDIM"],
    "growth": ["vp/DDIM"],
    "evaluations": ["vp/EM", "flow/Heun"],
    "spectrum": ["flow/Euler"],
    "convergence": ["flow/DDIM", "flow/Heun"],
    "constants": ["psld/RVV", "psld/Euler"],
    "global-error": ["vp/DDIM", "vp/UniPC-2"],
    "heat-map": ["vp/lambda-DDIM-I", "psld/RVV"],
    "work-precision": ["flow/Euler"],
}


@pytest.mark.parametrize(("kind", "specs"), PLOTTED.items())
def test_plots_are_written(
    command, kind: str, specs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [*PLOTTED] == [*KINDS]
    small = {"POINTS": 6, "RINGS": 20, "ANGLES": 21, "DEVIATIONS": np.array([0.1, 1.0]), "SAMPLES": 1, "EIGENVALUES": 2}
    for name, value in small.items():
        monkeypatch.setattr(f"integrator_analysis.report.pictures.stability.{name}", value)
    for name, value in {"GLOBAL_STEPS": (16, 32, 64), "PREDICTED_POINTS": 1}.items():
        monkeypatch.setattr(f"integrator_analysis.report.pictures.global_error.{name}", value)
    small = {"CONSTANT_TIMES": (0.2, 0.6), "CONSTANT_POINTS": 1}
    small |= {"LAMBDAS": (-1.0, 0.5, 1.0), "GAMMAS": (0.01, 1.0), "MAP_TIMES": (0.2, 0.6)}
    for name, value in small.items():
        monkeypatch.setattr(f"integrator_analysis.report.pictures.constants.{name}", value)
    target = tmp_path / "figure.png"
    given = {"samples": ("-n", 8), "steps": ("--steps", 2), "grid": ("--grid", "log-SNR")}
    options = [part for name in KINDS[kind].options for part in given[name]]
    assert command("plot", kind, *specs, "-o", target, *options, "--svg")[0] == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in target.with_suffix(".svg").read_bytes()


def test_a_plot_refuses_an_option_that_it_does_not_take(command, tmp_path: Path) -> None:
    status, _, error = command("plot", "stability", "vp/DDIM", "--grid", "karras", "-o", tmp_path / "figure.png")
    assert status == 2
    assert "takes no option 'grid'; accepted: none" in error
    assert not list(tmp_path.iterdir())


def test_sample_writes_digits_and_is_reproducible(command, tmp_path: Path) -> None:
    arrays = []
    for name in ("a.npy", "b.npy"):
        assert command("sample", "psld/ROBA", "--steps", 12, "-n", 3, "--seed", 5, "-o", tmp_path / name)[0] == 0
        arrays.append(np.load(tmp_path / name))
    assert arrays[0].shape == (3, 8, 8)
    assert np.array_equal(*arrays)
    status, out, _ = command("sample", "flow/DDIM", "--steps", 5, "-n", 3, "-o", tmp_path / "c.png")
    assert (status, out.splitlines()[0]) == (0, f"flow/DDIM, 5 steps, {ia.derive('flow/DDIM').to_torch().grid} grid")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "b.npy", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", "psld/RVW"], "did you mean RVV"),
        (["derive", "pslx/RVV"], "did you mean psld"),
        (["derive", "psld/RVV", "--set", "Gamma"], "NAME=NUMBER"),
        (["derive", "psld/RVV", "--set", "Gama=1"], "no parameter 'Gama'"),
        (["derive", "psld/RVV", "--set", "beta_max=1"], "no parameter 'beta_max'"),
        (["derive", "psld/RVV", "--set", "spec=1"], "no parameter 'spec'"),  # a keyword of derive itself
        (["derive", "psld/RVV", "--set", "self=1"], "no parameter 'self'"),
        (["derive", "psld/__import__('os')"], "expected a name"),
        (["derive"], "[Mm]issing"),
        (["derive", "psld/RVV", "more"], "unexpected"),
        (["derive", "psld/RVV", "--jsn"], "[Nn]o such option"),
        (["frobnicate"], "[Nn]o such command"),
        ([], "command is needed"),
        (["plot", "stabilty", "psld/RVV"], "did you mean stability"),
        (["plot", "region", "psld/ROBA", "-o", "x.png"], "stochastic"),
        (["plot", "evaluations", "vp/DDIM", "--grid", "quadratc", "-o", "x.png"], "did you mean quadratic"),
        (["plot", "convergence", "psld/ROBA", "-o", "x.png"], "stochastic"),
        (["plot", "heat-map", "psld/ROBA", "-o", "x.png"], "stochastic"),
        (["plot", "heat-map", "vp/DDIM", "-o", "x.png"], "no parameter lambda or Gamma"),
        (["plot", "convergence", "psld/RVV", "vp/DDIM", "-o", "x.png"], "one process"),
        (["plot", "stability", "psld/RVV", "-o", "x.pdf"], r"ends in \.png"),
        (["plot", "stability", "psld/RVV", "-o", "no/x.png"], "writable folder"),
        (["verify", "psld/RVV", "-o", "no"], "not a folder"),
        (["verify", "psld/RVV", "--resume"], "name it with --output"),
        (["verify", "psld/RVV", "--html", "page.txt"], "ends in .html"),
        (["export", "vp/DDIM", "-o", "no/x.py"], "writable folder"),
        (["export", "vp/DDIM", "-o", "x.py", "--format", "difusers"], "unknown export format"),
        (["export", "vp/conjugate(B=table)", "-o", "x.pt2", "--format", "torch-export"], "takes a B for every step"),
        (["export", "ve/DDIM", "-o", "x.py", "--format", "diffusers"], "vp, flow and phase space only"),
        (["export", "vp/DDIM", "-o", "x.py", "--format", "k-diffusion"], "as in edm/DDIM"),
        (["export", "vp/DDIM", "-o", "x.py", "--steps", "5"], "leave times out"),
        (["export", "vp/DDIM", "-o", "x.pt2", "--grid", "karras"], "lays no grid without --steps"),
        (["sample", "vp/DDIM", "-o", "x.gif"], r"\.png or \.npy"),
        (["sample", "vp(beta_max=1e300)/DDIM", "-o", "x.png", "-n", "1", "--steps", "2"], "parameters nearer"),
        (["sample", "vp/DDIM", "-o", "no/x.png"], "writable folder"),
        (["sample", "vp/DDIM", "-o", "x.png", "--steps", "0"], "positive integer"),
        (["sample", "vp/DDIM", "-o", "x.png", "--steps", "-3"], "positive integer"),
        (["sample", "vp/DDIM", "-o", "x.png", "--grid", "quadratc"], "did you mean 'quadratic'"),
    ],
)
def test_unusable_arguments_are_one_line_and_status_two(
    command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*arguments)
    assert status == 2
    last = err.strip().splitlines()
    assert len(last) == 1, err
    assert re.search(message, last[0])
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_refuses_is_one_line(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "x.npy")

    monkeypatch.setattr("numpy.save", full)
    status, out, err = command("sample", "vp/DDIM", "-n", 1, "--steps", 2, "-o", tmp_path / "x.npy")
    assert (status, out) == (2, "")
    assert err.strip().splitlines()[-1].startswith("error: cannot use x.npy: No space left on device")


def test_help_needs_no_torch() -> None:
    code = "import sys, integrator_analysis.cli; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    root = Path(cli.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_generate_check_tells_clean_from_stale(command, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the committed folder is what the catalogue derives is tested once, in test_codegen."""
    from integrator_analysis.report import generate

    folder = generate.generated_folder()
    files = {p.name: p.read_text(encoding="utf-8") for p in folder.glob("*.py") if p.name != "__init__.py"}
    monkeypatch.setattr(generate, "generated_sources", lambda *_: files)
    assert command("generate", "--check")[0] == 0
    monkeypatch.setattr(generate, "generated_sources", lambda *_: files | {"vp_DDIM.py": "changed\n"})
    assert command("generate", "--check")[0] == 1
