"""Specs that compose a conjugation with a base method: canonical text, the method behind it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from integrator_analysis.catalogue import SCHEMES
from integrator_analysis.catalogue.tableaux import BASES
from integrator_analysis.inputs import InputError
from integrator_analysis.language.spec import parse
from integrator_analysis.methods.base_methods import VARIABLES
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (
            "vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0)",
            "vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0)",
        ),
        ("psld/conjugate(base=Heun, variable=rho)", "psld/conjugate(B=0, base=Heun, variable=rho)"),
        ("vp/conjugate(variable=rho,base=Heun)", "vp/conjugate(B=0, base=Heun, variable=rho)"),
        ("vp/conjugate(base=Euler, predict=eps)", "vp/conjugate(B=0)"),
        ("vp/conjugate(base=AB2, variable=t)", "vp/conjugate(B=0, base=AB2)"),
        ("vp/conjugate(base=ERK2, variable=log-SNR)", "vp/conjugate(B=0, base=ERK2)"),
        ("vp/conjugate(base=ERK2, variable=t)", "vp/conjugate(B=0, base=ERK2, variable=t)"),
        ("vp/conjugate(B=0.3*I, base=RK4)", "vp/conjugate(B=lambda*I, lambda=0.3, base=RK4)"),
        (
            "psld(beta=4)/conjugate(lambda=-0.2, predict=velocity, B=lambda*ones, base=midpoint)",
            "psld(beta=4.0)/conjugate(B=lambda*ones, lambda=-0.2, base=midpoint, predict=velocity)",
        ),
        ("psld/conjugate(predict=eps-rotated)", "psld/conjugate(B=0, predict=eps-rotated)"),
    ],
)
def test_composed_specs_have_one_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).text == canonical
    assert parse(canonical).text == canonical
    assert parse(canonical).scheme.method == parse(text).scheme.method


@settings(max_examples=150)
@given(
    st.sampled_from(["0", "lambda*I", "lambda*ones", "lambda*diag(2, -0.5)", "table"]),
    st.floats(-2, 2),
    st.sampled_from([None, *BASES]),
    st.sampled_from([None, *VARIABLES]),
    st.sampled_from([None, *PARAMETRISATIONS]),
)
def test_every_combination_reads_back_or_is_refused(
    family: str, strength: float, base: str | None, variable: str | None, predict: str | None
) -> None:
    options = {"B": family, "base": base, "variable": variable, "predict": predict}
    options["lambda"] = repr(strength) if "lambda" in family else None
    text = "vp/conjugate(" + ", ".join(f"{k}={v}" for k, v in options.items() if v is not None) + ")"
    try:
        spec = parse(text)
    except InputError:
        return
    assert parse(spec.text).text == spec.text
    assert parse(spec.text).scheme == spec.scheme
    assert isinstance(spec.scheme.method, Conjugate)
    assert spec.scheme.method.base.variable == (variable or BASES[base or "Euler"].variable)


@pytest.mark.parametrize(
    ("composed", "named"),
    [
        ("conjugate(base=AB2-middle, predict=x0)", "DPM-Solver++2M"),
        ("conjugate(base=AB3, variable=log-SNR, predict=x0)", "DPM-Solver++3M"),
        ("conjugate(base=AB2)", "DEIS-tAB1"),
        ("conjugate(base=AB3, variable=rho)", "DEIS-rhoAB2"),
        ("conjugate(base=ERK2-middle)", "DPM-Solver-2"),
        ("conjugate(base=ERK3)", "DPM-Solver-3"),
        ("conjugate(base=ERK2)", "ERK2"),
        ("conjugate(base=Heun, variable=rho)", "EDM-Heun"),
        ("conjugate(base=RK4, predict=velocity)", "RK4"),
        ("conjugate", "DDIM"),
    ],
)
def test_published_methods_are_points_of_the_grammar(composed: str, named: str) -> None:
    assert parse(f"vp/{composed}").scheme.method == SCHEMES[named].method


@pytest.mark.parametrize("base", ["RK4", "RK3", "Ralston", "AB4"])
def test_a_base_method_keeps_its_order(base: str) -> None:
    order = {"RK4": 4, "RK3": 3, "Ralston": 2, "AB4": 4}[base]
    assert ia.derive(f"vp/conjugate(base={base}, predict=velocity)").order == order


def test_a_composed_scheme_is_verified() -> None:
    assert ia.verify("vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0)").passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("base=Huen", "unknown base of conjugate 'Huen'; did you mean Heun"),
        ("base=2", "unknown base of conjugate '2'; did you mean AB2"),
        ("base=lambda*Heun", "unknown base"),
        ("base=Heun, variable=logsnr", "did you mean log-SNR"),
        ("base=Heun, variable=sigma", "known: log-SNR, rho, t"),
        ("predict=x1", "did you mean x0"),
        ("predict=noise", "unknown predict of conjugate"),
        ("bas=Heun", "no option 'bas'; accepted: B=0"),
        ("Heun", "no option 'Heun'; accepted: B=0"),
        ("variable=rho", "takes no variable"),
        ("base=Euler, variable=rho", "takes no variable"),
        ("B=lambda*I, lambda=1, base=AB2", "needs a one-step method in t"),
        ("B=lambda*I, lambda=1, base=Heun, variable=rho", "needs a one-step method in t"),
        ("B=0, lambda=1, base=Heun", "has no lambda to set"),
        ("base=Heun, base=RK4", "given twice"),
        ("base", "no option 'base'"),
        ("base=", "expected a value"),
        ("B=lambda*diag(1, 2), lambda=1", "B has shape (2, 2); process vp has 1 block(s)"),
        ("B=table, base=AB2", "B = table needs a one-step method in t"),
        ("B=table, predict=anchor", "B = table takes a prediction that needs no variance of the data, not anchor"),
        ("B=eye", "accepted: 0, lambda*I, lambda*ones"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(options: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ia.derive(f"vp/conjugate({options})")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("predict", ["v", "eps-rotated"])
def test_a_prediction_without_meaning_on_a_process_is_refused(predict: str) -> None:
    process = {"v": "psld", "eps-rotated": "vp"}[predict]
    if predict == "eps-rotated":  # on one block it is eps
        assert ia.derive(f"{process}/conjugate(predict={predict})").order == 1
        return
    with pytest.raises(InputError, match="defined on one block"):
        ia.derive(f"{process}/conjugate(predict={predict})")


BETAS = tuple(np.linspace(1e-4, 0.02, 40))


@pytest.mark.parametrize("betas", [list(BETAS), BETAS, np.array(BETAS)], ids=["list", "tuple", "array"])
def test_a_table_of_betas_comes_by_keyword(betas: object) -> None:
    i = ia.derive("ddpm/DDIM", betas=betas)
    assert i.process.t_max == 40
    assert i.process.mean(40.0)[0, 0] ** 2 == pytest.approx(np.prod(1 - np.array(BETAS)), rel=1e-13)
    assert i.spec.startswith("ddpm(betas=table-")
    assert i.spec != ia.derive("ddpm/DDIM", betas=[*BETAS[:-1], 0.03]).spec
    assert i.spec == ia.derive("ddpm/DDIM", betas=BETAS).spec


def test_a_sampler_on_given_betas_is_verified() -> None:
    assert ia.verify("ddpm/DPM-Solver++2M", betas=np.linspace(1e-3, 0.1, 60)).passed


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("ddpm(betas=0.1)/DDIM", {}, "pass it from Python: betas="),
        ("ddpm(betas=table-12345678)/DDIM", {}, "pass it from Python: betas="),
        ("ddpm/DDIM", {"betas": "0.1, 0.2"}, "is not a sequence of numbers"),
        ("ddpm/DDIM", {"betas": 0.1}, "is not a sequence of numbers"),
        ("ddpm/DDIM", {"betas": []}, "is empty"),
        ("ddpm/DDIM", {"betas": [0.1, float("nan")]}, "betas[1]"),
        ("ddpm/DDIM", {"betas": [0.1, "0.2"]}, "betas[1]"),
        ("ddpm/DDIM", {"betas": [0.1, 1.5]}, "every beta in (0, 1)"),
        ("ddpm/DDIM", {"betas": [0.1, 0.2], "steps": 20}, "either betas or steps"),
        ("vp/DDIM", {"betas": [0.1, 0.2]}, "not a finite number"),
        ("vp/DDIM", {"beta_max": None}, "not a finite number"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(text: str, parameters: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ia.derive(text, **parameters)
    assert message in str(caught.value)


def test_a_parameter_that_may_be_left_out_may_be_none() -> None:
    assert parse("psld/RVV", M=None).text == "psld/RVV"
    assert parse("ddpm/DDIM", betas=None).text == "ddpm/DDIM"


@pytest.mark.parametrize("text", [None, 3, b"vp/DDIM", ["vp/DDIM"]])
def test_a_spec_is_text(text: object) -> None:
    with pytest.raises(InputError, match="a spec is text"):
        parse(text)  # type: ignore[arg-type]
