"""What a step program says about itself: evaluations, noises, named coefficients, and a hash that sees every change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.program.network_program import NetworkProgram, in_network_outputs
from integrator_analysis.program.statements import (
    Block,
    Combine,
    Evaluate,
    Noise,
    Output,
    Term,
)
from integrator_analysis.program.step_program import StepProgram


def program(spec: str = "psld/RVV") -> StepProgram:
    return ia.derive(spec).program


def executed(spec: str = "psld/RVV") -> NetworkProgram:
    return in_network_outputs(program(spec))


@pytest.mark.parametrize(
    ("spec", "times", "noises"),
    [
        ("psld/NSE", "tt", ()),
        ("psld/RSE", "t", ()),
        ("psld/NVV", "ttt", ()),
        ("psld/RVV", "ts", ()),
        ("psld/NOBA", "tt", ("xi_x_1", "xi_m_1")),
        ("psld/ROBA", "t", ("xi_x_1", "xi_m_1")),
        ("psld/ABA(reduced)", "ts", ()),
        ("psld/ABOBA(reduced)", "ts", ("xi_x_1", "xi_m_1")),
        ("psld/BOBA(reduced)", "ts", ("xi_x_1", "xi_m_1")),
        ("psld/OBABO(reduced)", "ts", ("xi_x_1", "xi_m_1", "xi_x_2", "xi_m_2")),
        ("psld/EM", "t", ("xi_x", "xi_m")),
        ("vp/EM", "t", ("xi_x",)),
        ("psld/DDIM", "t", ()),
    ],
)
def test_when_the_network_is_called_and_what_is_drawn(spec: str, times: str, noises: tuple[str, ...]) -> None:
    p = program(spec)
    assert "".join(str(e.time) for e in p.evaluations) == times
    assert p.nfe_per_step == len(times)
    assert p.noises == noises
    assert p.stochastic == bool(noises)


def test_the_first_statement_of_a_splitting_is_its_first_letter() -> None:
    """Operator order: words read left to right, which palindromes hide."""
    changed = [st.updates[0][0] for st in program("psld/AB(reduced)").statements if isinstance(st, Combine)]
    assert changed == ["x", "m"]
    changed = [st.updates[0][0] for st in program("psld/BA(reduced)").statements if isinstance(st, Combine)]
    assert changed == ["m", "x"]


def test_a_network_program_names_coefficients_and_keeps_the_statements() -> None:
    found = executed("psld/RVV")
    assert found.unknown == "eps"
    beta, nu, mass = (sympy.Symbol(n, positive=True) for n in ("beta_0", "nu", "M"))
    for name, expected in {
        "decay_m_1": 1 + (t - s) * nu * beta / 4,
        "coupling_mx_3": (t - s) * beta / 4,
        "coupling_xm_2": -(t - s) * beta / (2 * mass),
    }.items():
        assert sympy.expand(found.definitions.resolve(found.coefficients[name]) - expected) == 0
    assert [type(st).__name__ for st in found.statements] == [
        "Evaluate", "Combine", "Combine", "Evaluate", "Combine",
    ]  # fmt: skip


def test_the_score_of_momentum_needs_no_position_component_of_eps() -> None:
    """C_out = -L^{-T} is upper triangular: s_m = -eps_m / l_mm, s_x mixes both."""
    operands = {
        (block, str(term.operand.component))
        for st in executed("psld/Euler").statements
        if isinstance(st, Combine)
        for block, terms in st.updates
        for term in terms
        if isinstance(term.operand, Output)
    }
    assert operands == {("x", "x"), ("x", "m"), ("m", "m")}


def tiny(terms: tuple[Term, ...]) -> StepProgram:
    return replace(program("vp/Euler"), statements=(Evaluate("eps_0", t), Combine((("x", terms),), "test")))


def test_like_operands_are_collected_and_ones_and_zeros_are_not_tabulated() -> None:
    x, noise = Block("x"), Noise("xi_x")
    half = sympy.Rational(1, 2)
    terms = (Term(half, x), Term(half, x), Term(h, noise), Term(-h, noise), Term(h, noise))
    found = in_network_outputs(tiny(terms))
    assert dict(found.coefficients) == {"noise_x": h}
    (update,) = [st.updates for st in found.statements if isinstance(st, Combine)]
    assert update == (("x", (Term(sympy.S.One, x), Term(sympy.Symbol("noise_x"), noise))),)


def test_the_hash_sees_coefficients_times_parameters_and_definitions() -> None:
    p = executed("psld/RVV")
    first = next(iter(p.definitions))
    name = next(iter(p.coefficients))
    symbol = next(iter(p.parameters))
    evaluate = p.statements[0]
    assert isinstance(evaluate, Evaluate)
    variants = [
        p,
        replace(p, coefficients={**p.coefficients, name: p.coefficients[name] * 2}),
        replace(p, statements=(replace(evaluate, time=s), *p.statements[1:])),
        replace(p, statements=p.statements[::-1]),
        replace(p, parameters={**p.parameters, symbol: p.parameters[symbol] + 1}),
        replace(p, definitions=p.definitions.with_({first: Definition((t,), p.definitions[first].body + 1)})),
    ]
    assert len({v.terms_hash for v in variants}) == len(variants)
    assert executed("psld/RVV").terms_hash == p.terms_hash


def test_the_hash_sees_a_changed_quadrature() -> None:
    p = executed("psld/DDIM")
    (q,) = p.quadratures
    assert replace(p, quadratures=(replace(q, nodes=16),)).terms_hash != p.terms_hash
    integrands = (2 * q.integrands[0], *q.integrands[1:])
    assert replace(p, quadratures=(replace(q, integrands=integrands),)).terms_hash != p.terms_hash


def test_definitions_resolve_through_each_other_and_replace_the_step() -> None:
    p = program("vp/DDIM")
    expression = sympy.Function("mean_x")(t) * h
    low, high = sympy.symbols("beta_min beta_max", positive=True)
    expected = sympy.exp(-(low * t + (high - low) * t**2 / 2) / 2) * (t - s)
    assert sympy.expand(sympy.log(p.definitions.resolve(expression) / expected)) == 0
