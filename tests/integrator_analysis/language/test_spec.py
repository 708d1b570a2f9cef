"""The grammar of specs: what it reads, what it refuses and how, and that nothing in it is ever evaluated."""

from __future__ import annotations

import builtins

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from integrator_analysis.inputs import InputError
from integrator_analysis.language.spec import parse
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.splitting.splitting import Splitting


@pytest.mark.parametrize("text", list(ia.catalogue()))
def test_catalogue_specs_read_back_as_themselves(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" psld / RVV ", "psld/RVV"),
        ("psld(nu=4.02, Gamma=0.02)/RVV", "psld(Gamma=0.02, nu=4.02)/RVV"),
        ("psld(Gamma=0.01)/RVV", "psld/RVV"),
        ("psld(beta=4)/NSE", "psld(beta=4.0)/NSE"),
        ("vp/conjugate", "vp/conjugate(B=0)"),
        ("vp/conjugate(B=lambda*I, lambda=0.3)", "vp/conjugate(B=lambda*I, lambda=0.3)"),
        ("vp/conjugate(B=0.3*I)", "vp/conjugate(B=lambda*I, lambda=0.3)"),
        ("psld/conjugate(lambda=-2e-1, B=lambda*ones)", "psld/conjugate(B=lambda*ones, lambda=-0.2)"),
        ("psld/conjugate(B=lambda*diag( 1,-2e0 ), lambda=1)", "psld/conjugate(B=lambda*diag(1.0, -2.0), lambda=1.0)"),
        ("psld/conjugate(base=Euler, B=table)", "psld/conjugate(B=table)"),
        ("vp/conjugate(B=0.3*diag(.5))", "vp/conjugate(B=lambda*diag(0.5), lambda=0.3)"),
        ("psld/OBA(reduced)", "psld/OBA(reduced)"),
        ("psld/BAB", "psld/BAB(naive)"),
        ("psld/B A  B(exact,reduced)", "psld/BAB(reduced, exact)"),
        ("psld/B(1/4)A(1/2)B( 1/2 ) A(1/2) B(1/4) (reduced)", "psld/B(1/4) A(1/2) B(1/2) A(1/2) B(1/4)(reduced)"),
        ("psld/A@0 B B @ 1/2[2, -1] A[2,-1](euler)", "psld/A@0 B B@1/2[2,-1] A[2,-1]"),
        ("psld/B A B@1", "psld/B A B@1"),
        ("psld(nu=4.02, Gamma=0.02)/OBA(lambda_s=0.5, noise=1)", "psld(Gamma=0.02, nu=4.02)/OBA(naive, lambda_s=0.5)"),
        ("psld/RVV(exact)", "psld/RVV(exact)"),
        ("psld/ROBA(noise=0.5, exact)", "psld/ROBA(exact, noise=0.5)"),
        ("psld/ROBA(lambda_s=2, reading=exponent)", "psld/ROBA(lambda_s=2.0, reading=exponent)"),
        ("vp/OSO", "vp/OSO(naive)"),
        ("psld/conjugate(B=0)+BAB(reduced)", "psld/conjugate(B=0)+BAB(reduced)"),
        (
            "psld/conjugate(meaning=whole, B=0.5*ones) + OBA(lambda_s=2,exact,reduced)",
            "psld/conjugate(B=lambda*ones, lambda=0.5, meaning=whole)+OBA(reduced, lambda_s=2.0)",
        ),
        ("psld/conjugate(B=0)+A@0 B B@1/2[2,-1] A[2,-1]", "psld/conjugate(B=0)+A@0 B B@1/2[2,-1] A[2,-1]"),
        ("vp/lambda-DDIM-I(lambda=0.7)", "vp/lambda-DDIM-I(lambda=0.7)"),
        ("vp/lambda-DDIM-I(lambda=0.5)", "vp/lambda-DDIM-I"),
    ],
)
def test_specs_have_one_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).text == canonical
    assert parse(canonical).text == canonical


def test_methods_and_parameters() -> None:
    assert parse("psld/OBA(reduced)").scheme.method == Splitting("OBA", "reduced")
    assert parse("vp/conjugate(B=0.3*I)").scheme.method == Conjugate("lambda*I", strength=0.3)
    process = parse("psld/RVV", Gamma=0.02).process
    assert {str(p): v for p, v in process.parameters.items()}["Gamma"] == sympy.Rational(1, 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a process name"),
        ("psld", "expected '/'"),
        ("psld/", "expected a scheme name"),
        ("psld/RVV/RVV", "expected the end"),
        ("psld/RVV;", "at ';'"),
        ("psld/RVV(", "an option name"),
        ("psld/RVV(a b)", "',' or ')'"),
        ("psld(Gamma)/RVV", "needs a value"),
        ("psld(Gamma=x)/RVV", "is not a number"),
        ("psld(Gamma=1, Gamma=2)/RVV", "given twice"),
        ("pslld/RVV", "did you mean psld"),
        ("psld/rvv", "did you mean RVV"),
        ("psld/RVV(lambda=1)", "unknown option"),
        ("psld/ROBA(lambda=1)", "unknown option"),
        ("vp/lambda-DDIM-I(mu=1)", "accepts lambda=number"),
        ("vp/conjugate(B=lambda*I)", "needs lambda=number"),
        ("vp/conjugate(B=lambda*diag(1))", "needs lambda=number"),
        ("vp/conjugate(B=lambda*diag())", "at ')' (character 28) expected a number"),
        ("vp/conjugate(B=lambda*diag(1, x))", "at 'x' (character 31) expected a number"),
        ("vp/conjugate(B=lambda*diag(1, 2)", "at its end (character 33) expected ',' or ')'"),
        ("vp/conjugate(B=lambda*diag(1e999))", "diag = inf is not a finite number"),
        (
            "vp/conjugate(B=diag(1))",
            "accepted: 0, lambda*I, lambda*ones, table, lambda*diag(a, b), or a number for lambda",
        ),
        ("vp/conjugate(B=table, lambda=1)", "conjugate(B=table) has no lambda to set"),
        ("vp/conjugate(B=2*table)", "B = '2*table' is not a known family"),
        ("vp/conjugate(B=lambda*I(1))", "B = 'lambda*I(1.0)' is not a known family"),
        ("vp/conjugate(B=sin)", "accepted: 0"),
        ("vp/conjugate(B=lambda*I*I, lambda=1)", "accepted: 0"),
        ("psld/OBA(eager)", "flags naive, reduced"),
        ("psld/OBA(reduced, naive)", "one each of the flags"),
        ("psld/B A B@1(reduced)", "one each of the flags euler, exact"),
        ("psld/BAB(noise=0.5)", "belong to O"),
        ("psld/OBA(noise=0)", "needs noise > 0"),
        ("psld/OBA(lambda_s=-1)", "accepted: 0 or more"),
        ("psld/OBA(lambda_s=2, reading=loud)", "known: exponent, factor, mid-time"),
        ("psld/OBA(kappa=1)", "unknown option"),
        ("psld/B(1/3) A B(1/3)", "sum to 2/3"),
        ("psld/B(1/2) A B", "give all or none"),
        ("psld/B@2 A", "from 0 to 1"),
        ("psld/B@0 A[2,1]", "sum to 3"),
        ("psld/B@0 A[2,-1]", "there are 1"),
        ("psld/O@0 B A", "O uses no score"),
        ("psld/conjugate(base=Heun)+BAB", "no option 'base'"),
        ("psld/conjugate(meaning=other)+BAB", "known: each, whole"),
        ("psld/conjugate(B=0)+RVV", "with a splitting word"),
        ("psld/lambda-DDIM-I(lambda=1)+BAB", "accepted is conjugate(...)+word"),
        ("psld/conjugate(B=0)+BAB(euler)", "has flow exact"),
        ("psld/conjugate(B=0)+OSO", "no rows to conjugate"),
        ("psld/conjugate(meaning=whole)+BAOAB", "not in between"),
        ("psld/conjugate(B=table)+BAB", "no table of B"),
        ("psld/conjugate(B=lambda*diag(1), lambda=1)+BAB", "has shape (1, 1)"),
        ("vp/conjugate(B=0)+BAB", "needs a phase-space process"),
        ("psld/conjugate(B=0)+", "a splitting word"),
        ("psld/O B A@1", "takes its first evaluation itself"),
        ("psld/AAA", "splitting word"),
        ("vp/BA", "phase-space process"),
        ("psld/__import__('os')", "at"),
        ("psld/RVV" + " " * 300, "at most 200 characters"),
    ],
)
def test_bad_specs_are_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ia.derive(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=400)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "psld",
                    "vp",
                    "/",
                    "(",
                    ")",
                    ",",
                    "=",
                    "*",
                    "RVV",
                    "conjugate",
                    "B",
                    "lambda",
                    "I",
                    "0.3",
                    "-",
                    "OBA",
                    "reduced",
                    " ",
                ]
            ),
            max_size=14,
        ).map("".join),
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        canonical = parse(text).text
    except InputError as refusal:
        message = str(refusal)
    else:
        message = ""
        assert parse(canonical).text == canonical
    assert "\n" not in message.replace(text, "")


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("text from outside was evaluated")

    for module, name in [(builtins, "eval"), (builtins, "exec"), (sympy, "sympify"), (sympy, "parse_expr")]:
        monkeypatch.setattr(module, name, forbidden)
    parse("psld(Gamma=0.02, nu=4.02)/conjugate(B=lambda*ones, lambda=0.3)")


def test_a_registered_scheme_can_be_named_and_a_taken_name_is_refused() -> None:
    scheme = ia.Scheme("TESTWORD", Splitting("AB", "reduced"), (), "a test", "this test")
    ia.register(scheme)
    assert ia.derive("psld/TESTWORD").nfe_per_step == 1
    with pytest.raises(InputError, match="in the catalogue already"):
        ia.register(scheme)
