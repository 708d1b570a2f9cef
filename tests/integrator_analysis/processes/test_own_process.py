"""A process of one's own: registered, derived, verified, refused where it is none; the text files of docs/own.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import t
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.inputs import InputError
from integrator_analysis.processes import _FAMILIES
from integrator_analysis.processes.family import one_block
from integrator_analysis.processes.process_checks import check_parameter_name, check_process

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "own.md").read_text(encoding="utf-8")

b0, b1, nu, start = sympy.symbols("b0 b1 nu start", positive=True)


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = dict(_FAMILIES), dict(_SCHEMES)
    yield
    for table, before in zip((_FAMILIES, _SCHEMES), kept, strict=True):
        table.clear()
        table.update(before)


def quadratic(**changes: object) -> ia.Process:
    """VP with beta = b0 + b1 t**2, or what ``changes`` make of it."""
    fields = {
        "name": "own",
        "title": "an own process",
        **one_block(-sympy.S.Half, 1, 0, 1),
        "schedule": b0 + b1 * t**2,
        "parameters": {b0: sympy.Rational(1, 10), b1: sympy.Integer(30)},
        "t_max": 1.0,
        "t_min": 1e-3,
        "source": "a test",
    }
    return ia.Process(**(fields | changes))


def langevin(**changes: object) -> ia.Process:
    """Langevin diffusion of unit mass, at critical damping."""
    fields = {
        "blocks": ("x", "m"),
        "drift_per_unit": sympy.Matrix([[0, 1], [-1, -nu]]),
        "diffusion_per_unit": sympy.diag(0, 2 * nu),
        "schedule": b0 * (1 + t),
        "initial_covariance": sympy.diag(0, start),
        "stationary_covariance": sympy.eye(2),
        "parameters": {b0: sympy.Integer(3), nu: sympy.Integer(2), start: sympy.Rational(1, 25)},
    }
    return quadratic(**(fields | changes))


def family(build: object = quadratic, name: str = "own") -> ia.ProcessFamily:
    return ia.ProcessFamily(name, "an own process", {}, build)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [quadratic, langevin])
def test_mean_and_covariance_solve_their_equations(build) -> None:
    ia.register_process(family(build))
    process = ia.process("own")
    k, values = len(process.blocks), dict(process.parameters)
    schedule = sympy.lambdify(t, process.schedule.xreplace(values))
    n, d, begin = (
        np.array(m.xreplace(values)).astype(float)
        for m in (process.drift_per_unit, process.diffusion_per_unit, process.initial_covariance)
    )

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        sigma = flat.reshape(k, k)
        return (schedule(time) * (n @ sigma + sigma @ n.T + d)).ravel()

    end = solve_ivp(slope, (0, 0.7), begin.ravel(), method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    assert process.covariance(0.7) == pytest.approx(end.reshape(k, k), rel=1e-9)


@pytest.mark.parametrize(
    ("build", "scheme"),
    [
        (quadratic, "DDIM"),
        (quadratic, "DPM-Solver++2M"),
        (quadratic, "EM"),
        (quadratic, "conjugate(base=AB2, variable=rho)"),
        (langevin, "DDIM"),
        (langevin, "DPM-Solver-2"),
        (langevin, "RVV"),
    ],
)
def test_schemes_on_an_own_process_are_verified(build, scheme: str) -> None:
    ia.register_process(family(build))
    assert ia.verify(f"own/{scheme}").passed


@pytest.mark.parametrize("friction", ["2", "2.000000000001", "1.9", "3"])
def test_damping_at_near_and_off_the_critical_one(friction: str) -> None:
    """Mean and covariance by van Loan's exponential in 40 digits; either form is found without registration."""
    value = sympy.Rational(friction)
    process = langevin(parameters={b0: sympy.Integer(3), nu: value, start: sympy.Rational(1, 25)})
    with mpmath.workdps(40):
        damping, b = mpmath.mpf(friction), 3 * (mpmath.mpf("0.7") + mpmath.mpf("0.49") / 2)
        n, block = mpmath.matrix([[0, 1], [-1, -damping]]), mpmath.zeros(4)
        block[:2, :2], block[2:, 2:], block[1, 3] = -n * b, n.T * b, 2 * damping * b
        block = mpmath.expm(block)
        transition = block[2:, 2:].T
        exact = transition * (block[:2, 2:] + mpmath.diag([0, mpmath.mpf("0.04")]) * transition.T)
        transition, exact = (np.array(m.tolist()).astype(float) for m in (transition, exact))
    np.testing.assert_allclose(process.mean(0.7), transition, rtol=1e-12)
    np.testing.assert_allclose(process.covariance(0.7), exact, rtol=1e-12)


@pytest.mark.parametrize("names", [("q", "p"), ("x", "v"), ("r", "w"), ("y", "m")])
def test_the_letters_of_blocks_are_free(names: tuple[str, ...]) -> None:
    ia.register_process(family(lambda: langevin(blocks=names)))
    assert ia.verify("own/DDIM").passed
    assert ia.verify("own/EDM-Heun").passed


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (quadratic, {"blocks": ("x", "m")}, "2 block(s) need 2 x 2"),
        (quadratic, {"blocks": ("x1",)}, "x alone, or two letters"),
        (langevin, {"blocks": ("x", "x")}, "x alone, or two letters"),
        (quadratic, {"blocks": ()}, "x alone, or two letters"),
        (quadratic, {"blocks": ("z",)}, "letters of m p q r v w x y"),
        (quadratic, {"schedule": b0 + nu * t}, "contains nu; accepted there: its parameters and t"),
        (quadratic, {"drift_per_unit": sympy.Matrix([[-t]])}, "contains t; accepted there: its parameters, because"),
        (quadratic, {"schedule": b0 - b1 * t}, "beta(t) of process own is -"),
        (quadratic, {"schedule": b0 * 0}, "is zero; nothing diffuses"),
        (quadratic, {"schedule": sympy.log(t - 2)}, "not a real number"),
        (quadratic, {"schedule": None}, "neither a schedule"),
        (quadratic, {"schedule": sympy.exp(sympy.sin(t))}, "closed form"),
        (quadratic, {"integrated": b0 * t}, "not the integral of its schedule"),
        (quadratic, {"diffusion_per_unit": sympy.Matrix([[0]]), "stationary_covariance": None,
                     "prior_covariance": sympy.eye(1)}, "is zero; a diffusion process needs noise"),
        (quadratic, {"diffusion_per_unit": sympy.Matrix([[-1]])}, "is not positive semi-definite"),
        (quadratic, {"initial_covariance": sympy.Matrix([[-1]])}, "is not positive semi-definite"),
        (quadratic, {"stationary_covariance": None}, "no prior covariance"),
        (quadratic, {"prior_covariance": sympy.Matrix([[0]])}, "is not symmetric positive definite"),
        (quadratic, {"stationary_covariance": sympy.Matrix([[2]])}, "not the limit of its covariance"),
        (quadratic, {"parameters": {b0: sympy.oo, b1: sympy.Integer(1)}}, "parameter b0 of process own is oo"),
        (quadratic, {"parameters": {b0: sympy.Integer(10) ** 12, b1: sympy.Integer(1)}}, "accepted: up to 1e+09"),
        (langevin, {"initial_covariance": sympy.Matrix([[0, 1], [0, 1]])}, "is not symmetric"),
        (langevin, {"initial_covariance": sympy.Matrix([[1, 2], [2, 1]])}, "is not positive semi-definite"),
        (langevin, {"prior_covariance": sympy.Matrix([[1, 2], [2, 1]])}, "is not diagonal"),
        (langevin, {"prior_covariance": sympy.diag(1, 0)}, "is not symmetric positive definite"),
        (langevin, {"diffusion_per_unit": sympy.Matrix([[1, 1], [1, 2]])}, "is not diagonal"),
        (langevin, {"diffusion_per_unit": sympy.diag(2 * nu, 0), "drift_per_unit": sympy.diag(-nu, -1),
                    "initial_covariance": sympy.zeros(2), "stationary_covariance": None,
                    "prior_covariance": sympy.eye(2)}, "noise does not reach every block"),
        (langevin, {"drift_per_unit": sympy.Matrix([[0, 1]])}, "is 1 x 2"),
    ],
)  # fmt: skip
def test_a_process_that_is_none_is_one_sentence(build, changes: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ia.register_process(family(lambda: build(**changes)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "own" not in ia.processes()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (family(name="vp"), "is known already"),
        (family(name="my vp"), "is not a name"),
        (family(name="1vp"), "is not a name"),
        (family(name=""), "is not a name"),
        (family(name="x" * 50), "is not a name"),
        (family(name="other"), "builds a process named 'own'"),
    ],
)
def test_names_of_processes(made: ia.ProcessFamily, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        ia.register_process(made)


def test_a_name_is_taken_once() -> None:
    ia.register_process(family())
    with pytest.raises(InputError, match="is known already"):
        ia.register_process(family())


@pytest.mark.parametrize(
    "name",
    [
        "t",
        "s",
        "h",
        "beta",
        "beta_t",
        "eta_xx",
        "lambda",
        "for",
        "math",
        "x",
        "_b",
        "weight_0",
        "RULE",
        "b_xx",
        "r",
        "b",
    ],
)
def test_parameters_do_not_take_the_names_of_derived_formulas(name: str) -> None:
    with pytest.raises(InputError, match=r"derived formulas use this name|is not a name"):
        check_parameter_name(name, ("x",))


@pytest.mark.parametrize("name", ["b0", "beta_0", "beta_min", "Gamma", "nu", "M", "sigma_max", "start", "speed"])
def test_usual_names_of_parameters_are_free(name: str) -> None:
    check_parameter_name(name, ("x", "m"))


@pytest.mark.parametrize("name", list(ia.processes()))
def test_the_catalogues_processes_pass_the_same_checks(name: str) -> None:
    check_process(ia.process(name))


# the document
def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_documents_text_files_are_the_examples() -> None:
    files = {path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.toml")}
    assert set(blocks("toml")) == files


def test_the_document_names_every_key() -> None:
    from integrator_analysis.language import text_file

    for key in (*text_file.PROCESS_KEYS, *text_file.SCHEME_KEYS):
        assert re.search(rf"\| .*\b{key}\b.*\|", DOCUMENT), key
