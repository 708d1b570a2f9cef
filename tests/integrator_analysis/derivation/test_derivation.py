"""The derivation as text, Markdown and HTML: complete, well-formed, escaped; names as a mathematician writes them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import sympy
from sympy.core.function import AppliedUndef

import integrator_analysis as ia
from integrator_analysis.algebra import notation
from integrator_analysis.algebra.symbols import t
from integrator_analysis.derivation.document import RENDERERS, Derivation, Formula, Section

SPECS = ("psld/RVV", "psld/ROBA", "vp/UniPC-2", "psld/gDDIM", "vp/SDE-DPM-Solver++2M")
X, M = sympy.symbols("x M")


@pytest.mark.parametrize(
    ("expression", "latex"),
    [
        (sympy.Symbol("beta") * X, r"\beta x"),
        (sympy.Symbol("d_xm s_x"), r"\partial_{xm}s_{x}"),
        (sympy.Symbol("t_1"), "t_{1}"),
        (sympy.Symbol("lambda"), r"\lambda"),
        (sympy.Symbol("Gamma") / M, r"\frac{\Gamma}{M}"),
        (sympy.Symbol("psi_0"), r"\psi_{0}"),
        (sympy.Symbol("x0_x"), "x_{0,x}"),
        (sympy.Function("psi_0_xm")(*sympy.symbols("t s")) ** 2, r"\psi_{0,xm}^{2}\left(s, t\right)"),
        (sympy.Symbol("eps_m@-1"), r"\epsilon_{m}^{(-1)}"),
        (sympy.Symbol("a}b$_c%"), r"\mathrm{a b }_{c }"),
    ],
)
def test_names_in_latex(expression: sympy.Expr, latex: str) -> None:
    assert notation.latex(expression) == latex


def plain(expression: object) -> str:
    """The characters of the MathML, without marks and invisible ones."""
    text = "".join(ElementTree.fromstring(f"<math>{notation.mathml(expression)}</math>").itertext())
    return re.sub("[\u2061-\u2063]", "", text)


def test_names_in_mathml() -> None:
    assert plain(sympy.Symbol("d_xm s_x") * sympy.Symbol("beta")) == "β∂xmsx"
    assert plain(sympy.Function("psi_0_xx")(*sympy.symbols("t s"))) == "ψ0xx(s,t)"
    assert plain(sympy.exp(-X) - 1) == "e−x−1"
    assert plain(sympy.Integral(sympy.Function("beta")(X), (X, 0, t))) == "∫0tβ(x)ⅆx"
    assert plain(sympy.Symbol("<b>_&amp")) == "<b>&amp"
    assert plain(sympy.Matrix([[X, 0], [M, 1]])) == "[x0M1]"


@pytest.mark.parametrize("spec", SPECS)
def test_every_part_is_there_in_every_format(spec: str) -> None:
    i = ia.derive(spec)
    d = i.derivation
    text = d.text()
    for part in (i.spec, i.process.title, "C_skip", "Update from t to s", f"rder {i.order}, {i.nfe_per_step} NFE"):
        assert part in text
    for name, expression in i.network_program.coefficients.items():
        assert f"{name} = {notation.text(expression)}" in text
    assert all(line in text for line in i.program.account)
    assert all(f"error_{block} = h**{n}*" in text for block, n in i.local_error.exponents.items())
    formulas = [item for section in d.sections for item in section.items if isinstance(item, Formula)]
    defined = {f.left.func for f in formulas if isinstance(f.left, AppliedUndef)}
    called = {c.func for f in formulas if f.note != "one evaluation" for c in f.right.atoms(AppliedUndef)}
    assert {f for f in called if not str(f).startswith("d_")} <= defined  # derivatives stand for themselves
    markdown, page = d.markdown(), d.html()
    assert markdown.count("$$") == 2 * len(formulas)
    root = ElementTree.fromstring(page.replace("<!DOCTYPE html>", ""))
    assert len(list(root.iter("math"))) == len(formulas)
    assert not re.search(r"<script|https?:|src=|href=", page)
    for mathematics in re.findall(r"\$\$(.*?)\$\$", markdown):
        assert balanced(mathematics)


def balanced(latex: str) -> bool:
    depth = 0
    for mark in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if mark == "{" else -1
        if depth < 0:
            return False
    return (
        depth == 0
        and len(re.findall(r"\\left(?!arrow)", latex)) == latex.count(r"\right")
        and not re.search(r"_\{[^{}]*\}_\{", latex)
    )


def test_text_from_outside_is_escaped() -> None:
    section = Section("<i>&", ("<script>alert(1)</script> $x$ `a` [b](c)", Formula(sympy.Symbol("<b>"), X, note="<u>")))
    d = Derivation("<h1>", "a & b", (section,))
    page = d.html()
    assert not re.search("<script>|<i>|<u>|<b>|<h1><h1>", page)
    root = ElementTree.fromstring(page.replace("<!DOCTYPE html>", ""))
    assert "<script>alert(1)</script>" in "".join(root.itertext())
    assert r"\<script\>alert(1)\</script\> \$x\$ \`a\` \[b\](c)" in d.markdown()


def test_a_long_leading_term_is_cut_and_says_so() -> None:
    text = ia.derive("vp/UniPC-3").derivation.text()
    assert (
        "These are 6 of 134 terms of x, those of the smallest trees; c_1 to c_3 are coefficients of more than two"
        in text
    )
    assert max(len(line) for line in text.splitlines() if line.startswith("  error_")) < 700
    assert "Start-up: the step reads 3 earlier evaluations" in text


def test_the_command_writes_each_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from integrator_analysis import cli

    def status(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["integrator-analysis", "derive", "vp/DDIM", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    d = ia.derive("vp/DDIM").derivation
    for form, renderer in RENDERERS.items():
        target = tmp_path / form
        assert status("--format", form, "-o", str(target)) == (0, f"{target}\n", "")
        assert target.read_text(encoding="utf-8") == renderer(d)
    assert status()[1] == d.text()
    assert status("--format", "pdf")[0] == 2
    code, _, err = status("--budget", "0.0001")
    assert code == 2
    assert re.fullmatch(r"error: the expansion .* is expected to take about .* allow it .*--budget.*\n", err)


def test_a_wrong_coefficient_shows() -> None:
    i = ia.derive("psld/RSE")
    first = i.program.statements[1]
    wrong = replace(first, updates=(("m", first.updates[0][1][:-1]),))  # type: ignore[union-attr]
    i.program = replace(i.program, statements=(i.program.statements[0], wrong, *i.program.statements[2:]))
    assert i.derivation.text() != ia.derive("psld/RSE").derivation.text()
