"""The command: facts on stdout, one line on stderr for unusable arguments, and the exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import integrator_analysis as ia
from integrator_analysis import cli


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
    assert set(facts["coefficients"]) == set(ia.derive("psld/RVV").program.lowered().coefficients)
    assert "cholesky_xx(t)" in facts["definitions"]


def test_derive_as_text_with_settings(command) -> None:
    status, out, _ = command("derive", "vp/lambda-DDIM-I", "--set", "lambda=0.25", "--set", "beta_max=10")
    assert status == 0
    assert "vp(beta_max=10.0)/lambda-DDIM-I(lambda=0.25)" in out
    assert "lambda = 0.25" in out
    assert "Order 1, 1 NFE per step" in out
    assert "integral over u from s to t" in out


def test_list_names_the_catalogue(command) -> None:
    status, out, _ = command("list", "--json")
    assert status == 0
    assert [row["spec"] for row in json.loads(out)] == list(ia.catalogue())
    assert "psld/RVV" in command("list")[1]


def test_verify_passes_and_saves_certificates(command, tmp_path: Path) -> None:
    status, out, _ = command("verify", "vp/DDIM", "psld/RVV", "-o", tmp_path, "--json")
    assert status == 0
    assert [c["passed"] for c in json.loads(out)] == [True, True]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["psld_RVV.json", "vp_DDIM.json"]


def test_a_failed_verification_exits_one(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrator_analysis.certificate.MAP_TOLERANCE", -1.0)
    status, out, _ = command("verify", "vp/Euler")
    assert status == 1
    assert "FAILED" in out


def test_export_writes_a_module(command, tmp_path: Path) -> None:
    target = tmp_path / "rvv.py"
    assert command("export", "vp/DDIM", "--format", "module", "-o", target)[0] == 0
    compile(target.read_text(), "rvv.py", "exec")


@pytest.mark.parametrize(
    ("kind", "specs"), [("stability", ["vp/DDIM"]), ("convergence", ["vp/DDIM"]), ("work-precision", ["vp/EM"])]
)
def test_plots_are_written(
    command, kind: str, specs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrator_analysis.report.pictures.STABILITY_POINTS", 6)
    monkeypatch.setattr("integrator_analysis.report.pictures.GLOBAL_STEPS", (16, 32, 64))
    target = tmp_path / "figure.png"
    assert command("plot", kind, *specs, "-o", target, "-n", 8)[0] == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_sample_writes_digits_and_is_reproducible(command, tmp_path: Path) -> None:
    arrays = []
    for name in ("a.npy", "b.npy"):
        assert command("sample", "psld/ROBA", "--steps", 12, "-n", 3, "--seed", 5, "-o", tmp_path / name)[0] == 0
        arrays.append(np.load(tmp_path / name))
    assert arrays[0].shape == (3, 8, 8)
    assert np.array_equal(*arrays)
    assert command("sample", "vp/DDIM", "--steps", 5, "-n", 3, "-o", tmp_path / "c.png")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "b.npy", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", "psld/RVW"], "did you mean RVV"),
        (["derive", "pslx/RVV"], "did you mean psld"),
        (["derive", "psld/RVV", "--set", "Gamma"], "NAME=NUMBER"),
        (["derive", "psld/RVV", "--set", "Gama=1"], "no parameter 'Gama'"),
        (["derive"], "[Mm]issing"),
        (["derive", "psld/RVV", "more"], "unexpected"),
        (["derive", "psld/RVV", "--jsn"], "[Nn]o such option"),
        (["frobnicate"], "[Nn]o such command"),
        ([], "command is needed"),
        (["plot", "stabilty", "psld/RVV"], "did you mean stability"),
        (["plot", "convergence", "psld/ROBA", "-o", "x.png"], "stochastic"),
        (["plot", "convergence", "psld/RVV", "vp/DDIM", "-o", "x.png"], "one process"),
        (["plot", "stability", "psld/RVV", "-o", "x.pdf"], "ends in .png"),
        (["plot", "stability", "psld/RVV", "-o", "no/x.png"], "writable folder"),
        (["verify", "psld/RVV", "-o", "no"], "not a folder"),
        (["export", "vp/DDIM", "-o", "no/x.py"], "writable folder"),
        (["export", "vp/DDIM", "-o", "x.py", "--format", "difusers"], "unknown export format"),
        (["sample", "vp/DDIM", "-o", "x.gif"], r"\.png or \.npy"),
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


def test_generate_check_is_clean_on_the_committed_sources(command) -> None:
    assert command("generate", "--check")[0] == 0
