"""Generated source: current, self-contained, accurate at tiny steps, and refused where there is no spelling."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.terms_to_print import errors_to_print
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.codegen import module_name
from integrator_analysis.codegen.header import header
from integrator_analysis.codegen.printer import SourcePrinter
from integrator_analysis.report.generate import differences, generated_folder, generated_sources, write_generated
from torch_backend import load
from torch_backend.source import body_hash

ROOT = Path(__file__).parents[3]
SPECS = [
    *("vp/Euler", "vp/EM", "vp/DDIM", "vp/lambda-DDIM-I", "vp/DPM-Solver++2M", "vp/UniPC-2", "vp/DPM-Solver-3"),
    *("vp/DEIS-tAB1", "vp/EDM-Heun", "psld/DDIM", "psld/lambda-DDIM-II", "psld/RVV", "psld/ROBA", "psld/DEIS-tAB1"),
]
"""One of every kind of the catalogue: the whole of it is compared with the committed files, and verified elsewhere."""


@pytest.fixture(scope="module")
def integrators() -> dict[str, ia.Integrator]:
    """The catalogue, each scheme derived once for all tests of this file."""
    return {spec: ia.derive(spec) for spec in ia.catalogue()}


@pytest.fixture(scope="module")
def sources(integrators: dict[str, ia.Integrator]) -> dict[str, str]:
    return generated_sources(integrators)


def test_the_committed_folder_is_what_the_catalogue_derives(sources: dict[str, str]) -> None:
    assert differences(generated_folder(), sources) == [], "run `make generate`, and review the difference"


def test_write_generated_adds_changes_and_removes(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "stale.py").write_text("")
    (tmp_path / "same.py").write_text("1\n")
    assert write_generated(tmp_path, {"same.py": "1\n", "new.py": "2\n"}) == ["new.py", "stale.py"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["__init__.py", "new.py", "same.py"]


def test_generated_modules_import_only_torch_and_the_standard_library(sources: dict[str, str]) -> None:
    for name, text in sources.items():
        imported = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert imported <= {"math", "torch", "collections.abc", "functools", "typing"}, name


@pytest.mark.parametrize("spec", SPECS)
def test_header_states_the_derivation_and_the_hash_of_the_body(spec: str) -> None:
    i = ia.derive(spec)
    header = i.source.split('"""')[1]
    assert f"Body hash: sha256:{body_hash(i.source)}" in header
    assert i.network_program.terms_hash in header
    assert re.search(rf"(Weak o|O)rder {i.order} for a general smooth score", header)
    assert "Do not edit" in header
    assert "Operations:" in header


HEADERS = {
    path.stem: path.read_text(encoding="utf-8").split('"""')[1]
    for path in sorted((ROOT / "torch_backend" / "generated").glob("[!_]*.py"))
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_a_header_is_short(text: str) -> None:
    lines = text.strip("\n").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 119  # the kernels' templates are laid out by hand
    assert "the whole account is printed" not in text  # no account of the catalogue is cut


def test_an_account_without_room_gives_way_to_a_pointer() -> None:
    i = ia.derive("psld/RVV")
    long = replace(i.program, account=tuple(f"Sentence {n} of a long account. " * 8 for n in range(12)))
    lines = header(i.spec, "a test", "a test", long, i.network_program, i.local_error, ("order",), 1, "").splitlines()
    assert len(lines) == 40
    assert "...: the whole account is printed by `integrator-analysis derive psld/RVV`." in lines
    assert lines[-1].startswith("Body hash:")


@pytest.mark.parametrize("spec", list(ia.catalogue()))
def test_a_header_states_at_most_six_differentials_and_counts_the_others(
    spec: str, integrators: dict[str, ia.Integrator]
) -> None:
    error = integrators[spec].local_error
    printed = errors_to_print(error)
    assert sum(len(p.terms) for p in printed.values()) <= 6
    text = " ".join(HEADERS[module_name(spec)].split())
    for block, p in printed.items():
        terms = [str(p.whole)] if p.whole is not None else [str(term).removeprefix("-") for term in p.terms]
        assert all(term in text for term in terms)
        assert len(terms[0]) <= 340 or p.whole is None
        assert p.total == len(error.terms[block])
        if p.whole is None and len(p.terms) < p.total:
            assert f"{len(p.terms)} of {p.total} terms of {block}" in text
    counted = {block: int(n) for n, block in re.findall(r"\d of (\d+) terms of (\w+)", text)}
    assert counted == {b: len(error.terms[b]) for b, p in printed.items() if p.whole is None and p.total > len(p.terms)}
    if counted:
        assert f"All {sum(counted.values())} stand in the certificate" in text
    for name in (name for p in printed.values() for name in p.named):
        assert f"{name}*" in text
        assert re.search(r"c_1( and c_2| to c_\d)? (is a|are) coefficients? of more than two lines", text)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("t", "h"), [(0.7, 1e-6), (0.1, 1e-6), (0.001 + 1e-6, 1e-6), (0.01, 0.009), (1.0, 0.3)])
def test_no_coefficient_cancels(spec: str, t: float, h: float) -> None:
    """Every coefficient of the generated source against the same symbols in 40 digits, tiny steps included."""
    s = t - h
    module = load(spec).module
    with mpmath.workdps(40):
        exact = CoefficientTable(ia.derive(spec).network_program, "mpmath")(mpmath.mpf(t), mpmath.mpf(s))
    for name, measured, value in zip(module.COEFFICIENTS, module.coefficients(t, s).tolist(), exact, strict=True):
        assert measured == pytest.approx(float(value), rel=1e-12), name


@pytest.mark.parametrize("spec", [*SPECS, "psld/DPM-Solver++2M", "vp/anchored-AB2"])  # the last two integrate in log u
def test_generated_table_equals_the_analysis_table(spec: str) -> None:
    times = np.sort(np.random.default_rng(0).uniform(1e-3, 1, 6))[::-1]
    assert load(spec).table(times.tolist(), lower_order_final=False).numpy() == pytest.approx(
        ia.derive(spec).coefficients(times), rel=1e-12
    )


@pytest.mark.parametrize("spec", ["psld(Gamma=0.02, nu=4.02)/RVV", "psld/BAOAB(reduced)", "vp/conjugate(B=2*I)"])
def test_other_parameters_and_words_generate_too(spec: str) -> None:
    i = ia.derive(spec)
    sampler = i.to_torch()
    times = [0.9, 0.5, 0.2]
    assert sampler.table(times, lower_order_final=False).numpy() == pytest.approx(i.coefficients(times), rel=1e-12)


X, T = sympy.symbols("x t")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (sympy.Rational(1, 3) * X, "x / 3"),
        (-X / 2 + 1, "1 - x / 2"),
        (sympy.sqrt(X), "math.sqrt(x)"),
        (1 / sympy.sqrt(X), "1 / math.sqrt(x)"),
        (sympy.exp(-X * T), "torch.exp(-t * x)"),
        (X**2 / (1 + X), "x**2 / (x + 1)"),
        (X / (2 * sympy.Symbol("y") * (X + 1)), "x / (2 * y * (x + 1))"),
        (sympy.exp(-X) * 3, "3 * math.exp(-x)"),
        (sympy.Symbol("lambda") * X, "lambda_ * x"),
    ],
)
def test_printer_spelling(expression: sympy.Expr, text: str) -> None:
    assert SourcePrinter({X}).doprint(expression) == text


@pytest.mark.parametrize("expression", [sympy.gamma(X), sympy.Float(0.1) * X, X ** sympy.Rational(1, 3), sympy.oo * X])
def test_printer_refuses_what_it_cannot_spell(expression: sympy.Expr) -> None:
    with pytest.raises(ValueError, match=r"no source|float"):
        SourcePrinter().doprint(expression)
