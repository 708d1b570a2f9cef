"""Text files: expressions read by our own parser, processes and schemes made of them, and refusals in one sentence."""

from __future__ import annotations

import builtins
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis import cli
from integrator_analysis.algebra.symbols import t
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.codegen import kernel_source
from integrator_analysis.inputs import InputError
from integrator_analysis.language.expression import read_expression
from integrator_analysis.language.text_file import MAX_FILE, load_text, read_text
from integrator_analysis.methods.base_methods import Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.splitting.splitting import Splitting
from integrator_analysis.processes import _FAMILIES
from torch_backend.source import module_from_source

EXAMPLES = Path(__file__).parents[3] / "examples"
b0, b1 = sympy.symbols("b0 b1")
NAMES = {"b0": b0, "b1": b1, "t": t}


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = dict(_FAMILIES), dict(_SCHEMES)
    yield
    restore(kept)


def restore(kept: tuple[dict, dict]) -> None:
    for table, before in zip((_FAMILIES, _SCHEMES), kept, strict=True):
        table.clear()
        table.update(before)


# expressions
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", sympy.Integer(1)),
        ("0.1", sympy.Rational(1, 10)),
        (".5e-3", sympy.Rational(1, 2000)),
        ("1/2 + 1/3", sympy.Rational(5, 6)),
        ("-t**2", -(t**2)),
        ("(-t)**2", t**2),
        ("2**-3", sympy.Rational(1, 8)),
        ("2*-3", sympy.Integer(-6)),
        ("--2", sympy.Integer(2)),
        ("1 - 2 - 3", sympy.Integer(-4)),
        ("8/4/2", sympy.Integer(1)),
        ("2*t/b0*b1", 2 * t / b0 * b1),
        ("b0 + (b1 - b0)*t", b0 + (b1 - b0) * t),
        ("exp(-b0*t)*sin(t) + cos(t)/sqrt(1 + t) + log(1 + t)",
         sympy.exp(-b0 * t) * sympy.sin(t) + sympy.cos(t) / sympy.sqrt(1 + t) + sympy.log(1 + t)),
        ("\tb0\n*t ", b0 * t),
        (3, sympy.Integer(3)),
        (0.1, sympy.Rational(1, 10)),
    ],
)  # fmt: skip
def test_an_expression_is_read_exactly(text: object, value: sympy.Expr) -> None:
    assert read_expression(text, NAMES, "schedule") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: expected a number, a name or a bracket, found its end"),
        ("1 +", "character 4: expected a number"),
        ("1 2", "character 3: expected an operation"),
        ("2t", "character 1: expected"),
        ("1.2.3", "character 1: expected"),
        ("b2*t", "character 1: unknown name 'b2'; known: b0, b1, t"),
        ("b0*tan(t)", "character 4: unknown function 'tan'; known: exp, log, sqrt, sin, cos"),
        ("exp t", "character 1: unknown name 'exp'"),
        ("sin(t", "character 6: expected ')'"),
        ("(t))", "character 4: expected an operation"),
        ("t**0.5", "character 4: expected an integer power (there is sqrt for roots)"),
        ("t**t", "character 4: expected an integer power"),
        ("t**2**3", "character 5: expected an operation"),
        ("t**999999999", "character 4: the power 999999999 is too high"),
        ("t**33", "accepted: -32 to 32"),
        ("1e9999", "character 1: expected"),
        ("9" * 41, "a number has 41 characters; accepted: at most 40"),
        ("((((9**32)**32)**32)**32)**32", "too large"),
        ("(1 + t + b0 + b1)**32", "too large"),
        ("(1+t)*" * 7 + "1", "too large"),
        ("t + " * 200, "has 800 characters; accepted: at most 500"),
        ("(" * 30 + "t" + ")" * 30, "nested more than 20 deep"),
        ("1/0", "character 2: divides by zero"),
        ("1/(t - t)", "character 2: divides by zero"),
        ("0**-1", "character 2: divides by zero"),
        ("sqrt(-1)", "not a finite real number"),
        ("log(0)", "not a finite real number"),
        ("exp(exp(t))", "exp inside exp"),
        ("sin(exp(9**30))", "exp inside sin"),
        ("__import__('os')", "character 12: expected"),
        ("t.real", "character 2: expected"),
        ("t; t", "character 2: expected"),
        ("x" * 100, "unknown name"),
        ("\u0661", "character 1: expected"),
        (None, "schedule is a NoneType; accepted: an expression as text"),
        (True, "schedule is true or false"),
        ([1], "schedule is a list"),
        (float("nan"), "not a finite number"),
        (10**50, "more than 40 digits"),
    ],
)  # fmt: skip
def test_an_expression_outside_the_grammar_is_one_sentence(text: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_expression(text, NAMES, "schedule")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("text from outside was evaluated")

    for module, name in [(builtins, "eval"), (builtins, "exec"), (sympy, "sympify"), (sympy, "parse_expr")]:
        monkeypatch.setattr(module, name, forbidden)
    read_expression("b0 + b1*t**2 + exp(-t)/sqrt(1 + t)", NAMES, "schedule")


def trees() -> st.SearchStrategy[tuple[str, Callable[[mpmath.mpf], mpmath.mpf]]]:
    """Expressions as text in t, and the same function written in Python."""
    numbers = st.integers(0, 9).map(lambda n: (str(n), lambda _, n=n: mpmath.mpf(n)))
    leaves = st.one_of(numbers, st.just(("t", lambda time: time)))

    def grow(inner: st.SearchStrategy) -> st.SearchStrategy:
        marks = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
        pairs = st.tuples(inner, st.sampled_from(list(marks)), inner).map(
            lambda p: (f"({p[0][0]} {p[1]} {p[2][0]})", lambda time, p=p: marks[p[1]](p[0][1](time), p[2][1](time)))
        )
        powers = st.tuples(inner, st.integers(0, 3)).map(
            lambda p: (f"({p[0][0]})**{p[1]}", lambda time, p=p: p[0][1](time) ** p[1])
        )
        sines = inner.map(lambda p: (f"sin({p[0]})", lambda time, p=p: mpmath.sin(p[1](time))))
        return st.one_of(pairs, powers, sines, inner.map(lambda p: (f"-{p[0]}", lambda time, p=p: -p[1](time))))

    return st.recursive(leaves, grow, max_leaves=8)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
def test_an_expression_means_what_python_means(tree: tuple[str, Callable]) -> None:
    text, function = tree
    try:
        e = read_expression(text, NAMES, "schedule")
    except InputError as refusal:
        if not re.search(r"too large|deep|terms", str(refusal)):
            raise
        return
    with mpmath.workdps(30):
        time = mpmath.mpf(3) / 7
        assert mpmath.almosteq(sympy.N(e.subs(t, sympy.Rational(3, 7)), 30)._to_mpmath(100), function(time), 1e-20)


PIECES = ["b0", "b1", "t", "1", "0", "2.5", "1e9", "32", "9" * 39, "+", "-", "*", "/", "**", "(", ")", "exp(", "log("]
PIECES += ["sqrt(", "sin(", "cos(", " ", "x", "_", ".", "'", "\x00", "\u0665", "lambda"]


@settings(max_examples=500)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    message = ""
    try:
        e = read_expression(text, NAMES, "schedule")
    except InputError as refusal:
        message = str(refusal)
    else:
        assert e.free_symbols <= {b0, b1, t}
    assert "\n" not in message


# files
VP = (EXAMPLES / "my_vp.toml").read_text(encoding="utf-8")
LANGEVIN = (EXAMPLES / "my_langevin.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples_load_and_their_specs_are_derived(path: Path) -> None:
    loaded = load_text(path)
    assert loaded.process or loaded.scheme
    for spec in loaded.specs[:5]:
        assert ia.derive(spec).nfe_per_step > 0


def test_a_process_from_text_is_the_catalogues_where_it_says_the_same() -> None:
    read_text(VP.replace("b0 + b1*t**2", "b0 + (b1 - b0)*t").replace("b1 = 30.0", "b1 = 20"))
    read_text(
        LANGEVIN.replace("b0*(1 + t)", "b0")
        .replace('["0", "1/M"], ["-1", "-nu"]', '["-G/2", "1/M/2"], ["-1/2", "-nu/2"]')
        .replace('["0", "0"], ["0", "2*M*nu"]', '["G", "0"], ["0", "M*nu"]')
        .replace('"M/25"', '"0.04*M"')
        .replace("b0 = 3.0\nnu = 4.0", "b0 = 8\nG = 0.01\nnu = 4.01")
        .replace('"4/nu**2"', '"4/(G - nu)**2"')
    )  # fmt: skip
    for own, name in (("my_vp", "vp"), ("my_langevin", "psld")):
        for time in (1e-3, 0.2, 1.0):
            mine, theirs = ia.process(own), ia.process(name)
            assert mine.mean(time) == pytest.approx(theirs.mean(time), rel=1e-12)
            assert mine.covariance(time) == pytest.approx(theirs.covariance(time), rel=1e-10)
        assert mine.stationary_covariance is not None


@pytest.mark.parametrize(
    ("schedule", "parameters"),
    [
        ("b0 + b1*t**2 + exp(-t)", {}),
        ("b0 + b1*sin(3*t)**1", {}),
        ("b0*exp(2*t) + cos(t/2)", {}),
        ("b1*(1 + t)**3", {}),
        ("b1*sqrt(1 + t)", {}),
        ("b1/(2 + t)**2", {}),
        ("b1*exp(-b0*t)", {}),
        ("2/(1 + t)", {}),
        ("1 + 4/(3 + 2*t)", {}),
        ("(1 + t**2)**2 + b0*(1 + t)*t", {}),
    ],
)
def test_a_schedule_is_integrated(schedule: str, parameters: dict) -> None:
    read_text(VP.replace("b0 + b1*t**2", schedule))
    process = ia.process("my_vp", **parameters)
    beta = sympy.lambdify(t, process.schedule.xreplace(dict(process.parameters)), "mpmath")
    expected = mpmath.exp(-mpmath.quad(beta, [0, 0.8]) / 2)
    assert process.mean(0.8)[0, 0] == pytest.approx(float(expected), rel=1e-12)
    assert ia.derive("my_vp/DDIM").order == 1


@pytest.mark.parametrize(
    ("schedule", "drift", "diffusion", "start"),
    [("b0 + sqrt(1 + t)", "-1/2", "1", "0"), ("b0 + t", "-sqrt(2)", "exp(1)", "exp(-5)")],
)
def test_roots_and_irrational_numbers_have_a_source(schedule: str, drift: str, diffusion: str, start: str) -> None:
    """Kernel and scheme: a power of 3/2 comes with the integral of a root, sqrt(2) and e are no tensors."""
    text = VP.replace("b0 + b1*t**2", schedule).replace('[["-1/2"]]', f'[["{drift}"]]')
    text = text.replace('diffusion = [["1"]]', f'diffusion = [["{diffusion}"]]')
    read_text(text.replace('initial_covariance = [["0"]]', f'initial_covariance = [["{start}"]]'))
    assert ia.verify("my_vp/DPM-Solver++2M").passed
    kernel = module_from_source(kernel_source(ia.process("my_vp")), "kernel_irrational")
    (found,) = kernel.covariance(torch.tensor([0.5], dtype=torch.float64))
    assert found.item() == pytest.approx(ia.process("my_vp").covariance(0.5).item(), rel=1e-13)


def test_irrational_entries_on_phase_space_are_parameters_of_their_own() -> None:
    """Local errors are rational in the parameters: an entry's log, exp or root used to end in a traceback."""
    text = LANGEVIN.replace('["0", "1/M"], ["-1", "-nu"]', '["-log(nu)", "sqrt(2)"], ["-exp(-1)", "-nu"]')
    read_text(text.replace("nu = 4.0", "nu = 4.0\nnumber_1 = 3.0").replace('["0", "2*M*nu"]', '["0", "sqrt(2)"]'))
    process = ia.process("my_langevin")
    values = {str(symbol): float(value) for symbol, value in process.parameters.items()}
    assert values | {"number_1": 3.0} == values
    assert {round(v, 12) for v in values.values()} >= {round(v, 12) for v in (np.log(4), np.sqrt(2), np.exp(-1))}
    assert not process.drift_per_unit.has(sympy.log, sympy.exp)
    assert ia.verify("my_langevin/SL").passed


def test_a_clock_may_be_stated_instead() -> None:
    read_text(VP.replace('schedule = "b0 + b1*t**2"', 'clock = "b0*t + b1*t**3/3"'))
    assert ia.process("my_vp").schedule.equals(ia.process("my_vp").integrated.diff(t))
    assert ia.verify("my_vp/DDIM").passed


@pytest.mark.parametrize("network", ["x0", "score", "velocity"])
def test_networks_may_return_something_else_than_eps(network: str) -> None:
    read_text(VP.replace("t_min = 0.001", f't_min = 0.001\nnetwork = "{network}"'))
    assert ia.verify("my_vp/DPM-Solver++2M").passed


SCHEMES = {
    'B = "lambda*I"\nlambda = 0.3\nbase = "RK4"': Conjugate("lambda*I", 0.3, ia.derive("vp/RK4").scheme.method.base),
    'B = "lambda*diag(1, -0.5)"\nlambda = 0.3': Conjugate("lambda*diag(1, -0.5)", 0.3),
    'B = "table"\nbase = "Heun"': Conjugate("table", base=ia.derive("vp/Heun").scheme.method.base),
    'predict = "x0"': Conjugate(parametrisation="x0"),
    'stages = [{share = "1/2"}, {through = [0, 1], rule = "middle"}]\nvariable = "log-SNR"': Conjugate(
        base=Interpolatory((Stage(Fraction(1, 2)), Stage(through=(0, 1), rule="middle")), "log-SNR")
    ),
    'tableau = {a = [[], ["1/2"], [-1, 2]], b = ["1/6", "2/3", "1/6"]}\nvariable = "rho"': Conjugate(
        base=RungeKutta(
            ((), (Fraction(1, 2),), (Fraction(-1), Fraction(2))),
            (Fraction(1, 6), Fraction(2, 3), Fraction(1, 6)),
            "rho",
        )
    ),
    'word = "OBA"\npolicy = "reduced"': Splitting("OBA", "reduced"),
    'word = "BAB"': Splitting("BAB", "naive"),
    'B = [["3 - t"]]': Conjugate(sympy.ImmutableMatrix([[3 - t]])),
}


@pytest.mark.parametrize("keys", SCHEMES)
def test_a_scheme_from_text_is_the_one_in_python(keys: str) -> None:
    loaded = read_text(f'[scheme]\nname = "own-1"\n{keys}')
    assert loaded.scheme == "own-1"
    assert _SCHEMES["own-1"].method == SCHEMES[keys]


def test_a_matrix_that_depends_on_time_is_a_b() -> None:
    read_text('[scheme]\nname = "own-B"\nB = [["3 - t"]]\nprocesses = ["vp"]')
    assert ia.derive("vp/own-B").order == 1
    with pytest.raises(InputError, match=r"own-B .*accepts no options|shape"):
        ia.derive("vp/own-B(lambda=2)")
    with pytest.raises(InputError, match="must be 2 x 2"):
        ia.derive("psld/own-B")


def test_a_diagonal_b_on_a_growing_schedule_has_an_ordered_exponential() -> None:
    """B - F does not commute with its integral: dE/dt = E (B - F) by scipy; the step's linear part is E (I - h B)."""
    load_text(EXAMPLES / "my_langevin.toml")
    read_text('[scheme]\nname = "own-B"\nB = "lambda*diag(1, -0.5)"\nlambda = 2\nprocesses = ["my_langevin"]')
    b, drift, t, s = np.diag([2.0, -1.0]), np.array([[0.0, 4.0], [-1.0, -4.0]]), 0.8, 0.5

    def slope(time: float, e: np.ndarray) -> np.ndarray:
        return (e.reshape(2, 2) @ (b - 3 * (1 + time) * drift)).ravel()

    e = solve_ivp(slope, (s, t), np.eye(2).ravel(), "DOP853", rtol=1e-13, atol=1e-15).y[:, -1].reshape(2, 2)
    sampler = ia.derive("my_langevin/own-B").to_torch(dtype=torch.float64)
    found = sampler.sample(lambda z, time: 0 * z, torch.eye(2, dtype=torch.float64), times=[t, s]).numpy()
    np.testing.assert_allclose(found.T, e @ (np.eye(2) - (t - s) * b), rtol=1e-11)
    assert ia.verify("my_langevin/own-B(lambda=0.5)").passed


def test_a_file_with_both_lists_its_scheme_on_its_process() -> None:
    loaded = read_text(VP + '\n[scheme]\nname = "own-2"\nbase = "Heun"\n')
    assert loaded.processes == ("my_vp",)
    assert "my_vp/own-2" in loaded.specs
    assert "my_vp/DPM-Solver++2M" in loaded.specs


def change(old: str, new: str, text: str = VP) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


BAD_FILES = {
    "": "neither a [process] nor a [scheme]",
    "x = 1": "unknown key in the file 'x'; known: process, scheme",
    "process = 3": "[process] is a number; a table is needed",
    "[[process]]": "[process] is a list; a table is needed",
    "[process": "not a TOML file: ",
    "[process]": "[process] has no name; give one",
    "a = " + "[" * 5000: "not a TOML file",
    "a = " + "9" * 5000: "not a TOML file",
    change('title = "v', 'titel = "x"\ntitle = "v'): "did you mean title?",
    change('name = "my_vp"', 'name = "vp"'): "known already",
    change('name = "my_vp"', "name = 3"): "name in [process] is a number; text is needed",
    change('name = "my_vp"', 'name = "my vp"'): "process 'my vp' is not a name",
    change("variance preserving, quadratic beta", 'a\\"\\"\\"b'): "title in [process] is not a line",
    change("variance preserving, quadratic beta", "a\\nb"): "title in [process] is not a line",
    change('drift = [["-1/2"]]', 'drift = "-1/2"'): "drift in [process] is text; a list is needed",
    change('drift = [["-1/2"]]', 'drift = ["-1/2"]'): "is not a 1 x 1 matrix",
    change('drift = [["-1/2"]]', 'drift = [["-1/2", "1"]]'): "is not a 1 x 1 matrix",
    change('drift = [["-1/2"]]', 'drift = [["-t/2"]]'): "unknown name 't'; known: b0, b1",
    change('drift = [["-1/2"]]', "drift = [[true]]"): "drift[0][0] is true or false",
    change('drift = [["-1/2"]]', "drift = [[1979-05-27]]"): "drift[0][0] is a date",
    change('drift = [["-1/2"]]', 'drift = [["1+b0+b1+b0**2+b1**2+b0*b1+b0**3"]]'): "7 terms when multiplied out",
    change('drift = [["-1/2"]]\n', ""): "[process] has no drift",
    change('schedule = "b0 + b1*t**2"\n', ""): "neither a schedule, beta(t), nor a clock",
    change('"b0 + b1*t**2"', '"b0 - b1*t**2"'): "the schedule beta(t) of process my_vp is -",
    change('"b0 + b1*t**2"', '"b0*(b1"'): "schedule = 'b0*(b1', character 7: expected ')'",
    change('"b0 + b1*t**2"', '"exp(sin(t))"'): "the integral of exp(sin(t)) is not known here; give clock",
    change('"b0 + b1*t**2"', '"1/(1 - 2*t)"'): "the schedule beta(t) of process my_vp is -",
    change('"b0 + b1*t**2"', '"exp(9**32*t)"'): "accepted: 0 to 1e+09",
    change('"b0 + b1*t**2"', '"0"'): "is zero; nothing diffuses",
    change('schedule = "b0 + b1*t**2"', 'clock = "1 + t"'): "is not 0 at t = 0",
    change('schedule = "b0 + b1*t**2"', 'clock = "t**2"\nschedule = "t"'): "not the integral of its schedule",
    change('diffusion = [["1"]]', 'diffusion = [["-1"]]'): "is not positive semi-definite",
    change('initial_covariance = [["0"]]', 'initial_covariance = [["-b0"]]'): "is not positive semi-definite",
    change('prior_covariance = [["1"]]', 'prior_covariance = [["0"]]'): "is not symmetric positive definite",
    change("t_max = 1.0", "t_max = 0.0001"): "0 < t_min < t_max",
    change("t_max = 1.0", "t_max = inf"): "parameter t_max = inf is not a finite number",
    change("t_max = 1.0", 't_max = "1"'): "t_max in [process] is text; a number is needed",
    change("t_max = 1.0", "t_max = " + "9" * 400): "parameter t_max is beyond the largest float; pass a smaller number",
    change("b0 = 0.1", "b0 = 1e300"): "accepted: up to 1e+09",
    change("b0 = 0.1", "b0 = nan"): "not a finite number",
    change("b0 = 0.1", "b0 = [1]"): "parameter b0 is a list; a number is needed",
    change("b0 = 0.1", "beta = 1\nb0 = 0.1"): "parameter 'beta': derived formulas use this name",
    change("b0 = 0.1", '"b 0" = 1\nb0 = 0.1'): "parameter 'b 0' is not a name",
    change("b0 = 0.1", "\n".join(f"n{k} = 1" for k in range(12)) + "\nb0 = 0.1"): "accepted: at most 12",
    change("b1 = 30.0", 'b1 = "b2"'): "unknown name 'b2'; known: b0",
    change("b1 = 30.0", 'b1 = "exp(99*99*b0)"'): "accepted: up to 1e+09",
    change('t_min = 0.001', 't_min = 0.001\nnetwork = "noise"'): "unknown network in [process] 'noise'",
    change('t_min = 0.001', 't_min = 0.001\nblocks = ["x", "m", "q"]'): "is not a 3 x 3 matrix",
    change('t_min = 0.001', 't_min = 0.001\nblocks = [1]'): "accepted: one or two letters",
    change('t_min = 0.001', 't_min = 0.001\nblocks = ["t"]'): "x alone, or two letters",
    change('["0", "M/25"]', '["1", "M/25"]', LANGEVIN): "is not symmetric",
    change('["1", "0"], ["0", "M"]', '["1", "1/10"], ["1/10", "M"]', LANGEVIN): "is not diagonal",
    change('["0", "0"], ["0", "2*M*nu"]', '["0", "0"], ["0", "0"]', LANGEVIN): "is zero; a diffusion process",
    change('["0", "1/M"]', '["0", "0"]', LANGEVIN): "noise does not reach every block",
    change('["0", "0"], ["0", "2*M*nu"]', '["(2 - b0)**-2", "0"], ["0", "2*M*nu"]', LANGEVIN): "closed form",
    change('blocks = ["x", "m"]', 'blocks = ["x", "m"]\nnetwork = "v"', LANGEVIN): "defined on one block",
}  # fmt: skip

BAD_SCHEMES = {
    'name = "DDIM"': "in the catalogue already",
    'name = "ABA"': "cannot have this name",
    'name = "conjugate"': "cannot have this name",
    'name = "a/b"': "cannot have this name",
    'name = "own"\nwort = "AB"': "did you mean word?",
    'name = "own"\nword = "AXB"': "splitting word 'AXB'",
    'name = "own"\nword = "AA"': "splitting word 'AA'",
    'name = "own"\nword = ""': "made of 1 to 24 of the letters",
    'name = "own"\nword = "AB"\npolicy = "eager"': "unknown policy in [scheme] 'eager'; known: naive, reduced",
    'name = "own"\nword = "AB"\nbase = "Heun"': "a splitting or a conjugation",
    'name = "own"\npolicy = "naive"': "has policy and no word",
    'name = "own"\nB = "lambda*I"': "which needs lambda",
    'name = "own"\nlambda = 0.3': "has no lambda to set",
    'name = "own"\nB = "table"\nlambda = 0.3': "has B = table, which has no lambda to set",
    'name = "own"\nB = "lambda*diag(1, 2)"': "which needs lambda",
    'name = "own"\nB = "lambda*diag(1, t)"\nlambda = 1': "B = 'lambda*diag(1, t)' in [scheme] is not known",
    'name = "own"\nB = "lambda*diag(1, 2)"\nlambda = 1\nprocesses = ["vp"]': "must be 1 x 1",
    'name = "own"\nB = "lambda*T"\nlambda = 1': "B = 'lambda*T' in [scheme] is not known",
    'name = "own"\nB = 0': "is not known; accepted: 0, lambda*I, lambda*ones, table, lambda*diag(a, b) as text",
    'name = "own"\nB = [["1", "2"]]': "is not known; accepted: 0, lambda*I",
    'name = "own"\nB = [["b"]]': "B[0][0] = 'b', character 1: unknown name 'b'; known: t",
    'name = "own"\nB = [["1"]]\nprocesses = ["psld"]': "must be 2 x 2",
    'name = "own"\nB = [["1"]]\nbase = "AB2"': "needs a one-step method",
    'name = "own"\nB = "lambda*I"\nlambda = "1"': "lambda in [scheme] is text; a number is needed",
    'name = "own"\nB = "lambda*I"\nlambda = 1\nbase = "AB2"': "needs a one-step method in t",
    'name = "own"\npredict = "x1"': "did you mean x0",
    'name = "own"\nvariable = "rho"': "takes no variable",
    'name = "own"\nbase = "Heun"\nvariable = "log"': "did you mean log-SNR",
    'name = "own"\nbase = "Huen"': "did you mean Heun",
    'name = "own"\nbase = "Heun"\nstages = [{}]': "[scheme] has base and stages; a base method is one of them",
    'name = "own"\nmend = [0, -1]': "give its stages",
    'name = "own"\nstages = []': "has 0 stages",
    'name = "own"\nstages = [1]': "stage 1 is a number; a table is needed",
    'name = "own"\nstages = [{shar = 1}]': "did you mean share?",
    'name = "own"\nstages = [{share = "1/2"}]': "stage 1 of 1 lies at 1/2",
    'name = "own"\nstages = [{share = "sqrt(2)/2"}, {}]': "is not a fraction",
    'name = "own"\nstages = [{through = [1]}]': "accepted: distinct numbers from 0 to 0",
    'name = "own"\nstages = [{through = [0, -2]}]': "without a gap",
    'name = "own"\nstages = [{through = [0.5]}]': "whole numbers",
    'name = "own"\nstages = [{through = [true]}]': "whole numbers",
    'name = "own"\nstages = [{through = [0, -1, -2, -3, -4, -5, -6]}]': "accepted: 1 to 6 whole numbers",
    'name = "own"\nstages = [{rule = "trapez"}]': "unknown rule 'trapez'",
    'name = "own"\nstages = [{share = "1/2"}, {}]\nmend = [0, -1]': "a predictor-corrector has one stage, not 2",
    'name = "own"\ntableau = {a = [[], ["1/2", "1/2"]], b = ["0", "1"]}': "an explicit tableau has 1 there",
    'name = "own"\ntableau = {a = [[], ["1/2"]], b = ["1/2", "1"]}': "sum to 3/2; a consistent tableau has the sum 1",
    'name = "own"\ntableau = {a = [[], ["1/2"]], b = ["1"]}': "2 stages and 1 weights b",
    'name = "own"\ntableau = {a = [[], ["3/2"]], b = ["0", "1"]}': "accepted: from 0 to 1",
    'name = "own"\ntableau = {a = [], b = []}': "accepted: 1 to 8",
    'name = "own"\ntableau = {a = [3], b = ["1"]}': "row 1 of the tableau is a number",
    'name = "own"\ntableau = {a = [[]], b = ["one"]}': "b[0] = 'one', character 1: unknown name 'one'; known: none",
    'name = "own"\ntableau = {a = [[]], b = [1], c = [0]}': "unknown key in [tableau] 'c'",
    'name = "own"\ntableau = {a = [[]]}': "[tableau] has no b",
    'name = "own"\nprocesses = ["pslt"]': "did you mean psld",
    'name = "own"\nprocesses = [["vp"]]': "unknown process in processes",
    'name = "own"\nword = "AB"\nprocesses = ["vp"]': "needs a phase-space process",
}


@pytest.mark.parametrize(
    ("text", "message"), [*BAD_FILES.items(), *((f"[scheme]\n{k}", m) for k, m in BAD_SCHEMES.items())]
)
def test_a_bad_file_is_one_sentence_and_registers_nothing(text: str, message: str) -> None:
    before = dict(_FAMILIES), dict(_SCHEMES)
    with pytest.raises(InputError) as caught:
        read_text(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert dict(_FAMILIES) == before[0]
    assert dict(_SCHEMES) == before[1]


def test_a_bad_scheme_keeps_a_good_process_out() -> None:
    with pytest.raises(InputError, match="cannot have this name"):
        read_text(VP + '\n[scheme]\nname = "AB"\n')
    assert "my_vp" not in _FAMILIES


def test_parameters_off_their_domain_are_refused_when_they_are_given() -> None:
    read_text(VP)
    with pytest.raises(InputError, match=r"the schedule beta\(t\) of process my_vp is -"):
        ia.derive("my_vp(b0=-5)/DDIM")
    with pytest.raises(InputError, match="no parameter 'b2'; accepted: b0, b1, t_max, t_min"):
        ia.derive("my_vp(b2=1)/DDIM")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"\xff\xfe\x00", "is not text in UTF-8 (byte 1)"),
        (b"#" * (MAX_FILE + 1), f"the file has more than {MAX_FILE} bytes"),
        (VP.encode(), ""),
    ],
    ids=["missing", "binary", "huge", "good"],
)
def test_a_file_that_cannot_be_read(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)
    if not message:
        assert load_text(str(path)).process == "my_vp"
        return
    with pytest.raises(InputError) as caught:
        load_text(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        load_text(tmp_path)


# any file
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.toml"))]
VALUES = [
    '"t"',
    '"b0**9"',
    '"1/b1"',
    "-1",
    "0",
    "1e308",
    "nan",
    '""',
    "[]",
    "[[]]",
    "{}",
    "true",
    '"x"',
    "[[1, 0], [0, 1]]",
]
VALUES += ['"exp(t)"', '"sqrt(t)"', '"log(1 + t)"', '"0"', '"-1/2"', "[0, -1]", '"lambda*I"', '"log-SNR"', "1979-05-27"]


@st.composite
def files(draw: st.DrawFn) -> str:
    """An example with values exchanged, or with characters lost and put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 2))):
        if draw(st.booleans()):
            lines = text.splitlines()
            at = draw(st.integers(0, len(lines) - 1))
            key, equals, _ = lines[at].partition(" = ")
            lines[at] = f"{key} = {draw(st.sampled_from(VALUES))}" if equals else ""
            text = "\n".join(lines) + "\n"
        else:
            at = draw(st.integers(0, len(text) - 1))
            text = text[:at] + draw(st.text('"[]={}*/-+()t019. \n', max_size=3)) + text[at + 1 :]
    return text


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.one_of(files(), st.text(max_size=80)))
def test_any_file_is_read_or_refused(text: str) -> None:
    kept = dict(_FAMILIES), dict(_SCHEMES)
    try:
        loaded = read_text(text)
    except InputError as refusal:
        message = str(refusal)
    else:
        message = ""
        assert {loaded.process, loaded.scheme} - {""} <= {*_FAMILIES, *_SCHEMES}
        assert "process" in tomllib.loads(text) or "scheme" in tomllib.loads(text)
    finally:
        restore(kept)
    assert "\n" not in message


# the command
@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """(exit status, stdout, stderr) of the command, through its own entry point."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["integrator-analysis", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run


def test_the_command_derives_on_a_file(command) -> None:
    ralston = EXAMPLES / "my_ralston.toml"
    files = ("--file", EXAMPLES / "my_vp.toml", "--file", ralston)
    status, out, _ = command("derive", *files, "my_vp/my-Ralston", "--set", "b1=10", "--json")
    facts = json.loads(out)
    assert status == 0
    assert (facts["spec"], facts["order"]) == ("my_vp(b1=10.0)/my-Ralston", 2)


def test_the_command_verifies_and_exports_on_a_file(command, tmp_path: Path) -> None:
    status, out, _ = command("verify", "--file", EXAMPLES / "my_vp.toml", "my_vp/DDIM", "--json")
    assert status == 0
    assert json.loads(out)[0]["passed"]
    restore(({k: v for k, v in _FAMILIES.items() if k != "my_vp"}, dict(_SCHEMES)))
    target = tmp_path / "sampler.py"
    assert command("export", "--file", EXAMPLES / "my_vp.toml", "my_vp/DDIM", "-o", target)[0] == 0
    compile(target.read_text(), "sampler.py", "exec")


def test_the_command_lists_what_a_file_adds(command) -> None:
    status, out, _ = command("list", "--file", EXAMPLES / "my_corrector.toml", "--json")
    assert status == 0
    assert [(row["spec"], row["order"]) for row in json.loads(out)] == [("vp/my-PC2", 3)]


def test_the_command_samples_and_plots_on_a_file(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrator_analysis.report.pictures.stability.POINTS", 6)
    target = tmp_path / "x.npy"
    vp = EXAMPLES / "my_vp.toml"
    assert command("sample", "my_vp/DDIM", "--file", vp, "-n", 2, "--steps", 4, "-o", target)[0] == 0
    corrector = EXAMPLES / "my_ralston.toml"
    assert command("plot", "stability", "my_vp/my-Ralston", "--file", corrector, "-o", tmp_path / "x.png")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", "--file", "no.toml", "my_vp/DDIM"], "error: no.toml: there is no such file"),
        (["derive", "my_vp/DDIM"], "unknown process 'my_vp'"),
        (["derive", "--file", "VP", "--file", "VP", "my_vp/DDIM"], "known already"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_status_two(
    command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = command(*(str(EXAMPLES / "my_vp.toml") if a == "VP" else a for a in arguments))
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert message in err
