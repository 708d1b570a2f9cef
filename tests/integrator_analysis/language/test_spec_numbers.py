"""Numbers that reach a spec by keyword, and options that would be read and then ignored."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.language.spec import parse


def test_a_keyword_replaces_the_value_in_the_text() -> None:
    spec = parse("psld(Gamma=0.02)/lambda-DDIM-I(lambda=0.3)", Gamma=0.03, lambda_=0.4)
    assert spec.text == "psld(Gamma=0.03)/lambda-DDIM-I(lambda=0.4)"
    assert {p.name: v for p, v in spec.process.parameters.items()}["Gamma"] == sympy.Rational(3, 100)


def test_a_float_is_read_as_the_decimal_it_prints() -> None:
    """0.1 + 0.2 is not 0.3, and 1e-7 keeps its value."""
    spec = parse("psld(gamma=1e-7)/RVV", Gamma=0.1 + 0.2)
    values = {p.name: v for p, v in spec.process.parameters.items()}
    assert values["gamma"] == sympy.Rational(1, 10**7)
    assert values["Gamma"] == sympy.Rational("0.30000000000000004")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.3", True, 1j])
def test_a_strength_that_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ia.InputError, match="not a finite number"):
        ia.derive("vp/lambda-DDIM-I", lambda_=value)


@pytest.mark.parametrize(
    "text", ["psld(Gamma=1e999)/RVV", "vp/conjugate(B=1e999*I)", "vp/lambda-DDIM-I(lambda=-1e999)"]
)
def test_numbers_beyond_float_are_refused(text: str) -> None:
    with pytest.raises(ia.InputError, match="not a finite number"):
        ia.derive(text)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("psld/RVV", {"Gamma": np.float64(0.02)}),
        ("psld/RVV", {"nu": 4}),
        ("vp/lambda-DDIM-I", {"lambda_": np.float64(0.3)}),
        ("vp/lambda-DDIM-I", {"lambda_": 1}),
    ],
    ids=["numpy", "int", "numpy strength", "int strength"],
)
def test_canonical_text_reads_back_whatever_the_number_type(text: str, parameters: dict) -> None:
    canonical = parse(text, **parameters).text
    assert parse(canonical).text == canonical


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("psld/OBA(reduced)", {"lambda_": 0.3}),
        ("vp/conjugate", {"lambda_": 0.3}),
        ("vp/conjugate(B=0, lambda=0.3)", {}),
        ("vp/conjugate(B=0.3*I, lambda=0.7)", {}),
        ("vp/conjugate(B=0.3*I)", {"lambda_": 0.7}),
    ],
)
def test_a_strength_that_has_no_effect_is_refused(text: str, parameters: dict) -> None:
    with pytest.raises(ia.InputError):
        ia.derive(text, **parameters)
