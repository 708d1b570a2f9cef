"""Errors by rooted trees: Butcher's numbers, orders that scalar problems do not show, vector fields in high precision.

What is derived is compared with Butcher's formula for each tree, written down here from a tableau's a and b alone, and
with one-step errors of a random vector field on blocks of dimension two, measured in 60 digits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache, partial

import mpmath
import numpy as np
import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import s as end
from integrator_analysis.algebra.symbols import t as start
from integrator_analysis.analysis.accuracy.local_error import LocalError, derive_local_error, linear_order
from integrator_analysis.analysis.coefficients import CoefficientTable
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential
from integrator_analysis.methods.base_methods import RungeKutta
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.program.statements import Block, Evaluate, Output
from integrator_analysis.program.step_program import StepProgram

# Butcher's theory: a rooted tree is "t" (a leaf that stands for time) or the sorted tuple of its subtrees
Rooted = str | tuple
TAU: Rooted = ()


def ordered(tree: Rooted) -> Rooted:
    """With subtrees in the order of ``forests``."""
    return "t" if tree == "t" else tuple(sorted(map(ordered, tree), key=repr))


def order(tree: Rooted) -> int:
    return 1 if tree == "t" else 1 + sum(map(order, tree))


def density(tree: Rooted) -> int:
    """gamma: the product of the orders of all subtrees."""
    return 1 if tree == "t" else order(tree) * math.prod(map(density, tree))


def symmetry(tree: Rooted) -> int:
    """sigma."""
    if tree == "t":
        return 1
    return math.prod(math.factorial(n) * symmetry(u) ** n for u in set(tree) for n in [tree.count(u)])


def stages(tree: Rooted, a: Sequence[Sequence[Fraction]]) -> list[Fraction]:
    """The elementary weight of a tree grafted onto each stage: a time leaf counts c, as tau does."""
    if tree == "t":
        return [Fraction(1)] * len(a)
    product = [Fraction(1)] * len(a)
    for child in tree:
        values = stages(child, a)
        summed = [sum((w * v for w, v in zip(row, values, strict=False)), Fraction(0)) for row in a]
        product = [p * q for p, q in zip(product, summed, strict=True)]
    return product


def weight(tree: Rooted, a: Sequence[Sequence[Fraction]], b: Sequence[Fraction]) -> Fraction:
    """Phi."""
    return sum((w * v for w, v in zip(b, stages(tree, a), strict=True)), Fraction(0))


@cache
def forests(total: int) -> frozenset[tuple[Rooted, ...]]:
    """Multisets of trees and time leaves of this order in all."""
    if total == 0:
        return frozenset({()})
    found = set()
    for first in range(1, total + 1):
        for tree in (*trees(first), *(["t"] if first == 1 else [])):
            for rest in forests(total - first):
                found.add(ordered((tree, *rest)))
    return frozenset(found)


def trees(n: int) -> Iterator[Rooted]:
    """All trees of order n whose root is the field."""
    yield from forests(n - 1)


def rooted(d: ElementaryDifferential) -> Rooted:
    def convert(tree: tuple) -> Rooted:
        _, times, children = tree
        return ordered((*(convert(child) for _, child in children), *["t"] * times))

    return convert(d.tree)


def lowered(a: Sequence[Sequence[Fraction]], b: Sequence[Fraction]) -> StepProgram:
    """The tableau on rectified flow, whose network returns z' itself."""
    tableau = RungeKutta(tuple(tuple(row) for row in a), tuple(b))
    return Conjugate(base=tableau, parametrisation="velocity").lower(ia.process("flow"))


F = Fraction
TABLEAUX = {
    "Euler": (((),), (F(1),)),
    "midpoint": (((), (F(1, 2),)), (F(0), F(1))),
    "Heun": (((), (F(1),)), (F(1, 2), F(1, 2))),
    "Kutta": (((), (F(1, 2),), (F(-1), F(2))), (F(1, 6), F(2, 3), F(1, 6))),
    "RK4": (((), (F(1, 2),), (F(0), F(1, 2)), (F(0), F(0), F(1))), (F(1, 6), F(1, 3), F(1, 3), F(1, 6))),
}


@pytest.mark.parametrize("name", TABLEAUX)
def test_error_constants_of_tableaux_are_butchers(name: str) -> None:
    """Per tree (Phi - 1/gamma)/sigma; times (-1)**order, as h runs against time. No tree is left out."""
    a, b = TABLEAUX[name]
    error = derive_local_error(lowered(a, b))
    for terms in error.through(2):
        n = terms.exponents["x"]
        expected = {tree: (weight(tree, a, b) - F(1, density(tree))) / symmetry(tree) * (-1) ** n for tree in trees(n)}
        found = {rooted(term.differential): F(str(term.coefficient)) for term in terms.terms["x"]}
        assert found == {tree: value for tree, value in expected.items() if value}
    assert error.order == {"Euler": 1, "midpoint": 2, "Heun": 2, "Kutta": 3, "RK4": 4}[name]


def test_rk4_on_the_bushy_and_the_tall_tree() -> None:
    """Hairer, Norsett and Wanner, II.3: Phi - 1/gamma is 1/120 for f''''(f, f, f, f) and -1/120 for f'f'f'f'f."""
    error = derive_local_error(lowered(*TABLEAUX["RK4"]))
    terms = {str(term.differential): term.coefficient for term in error.terms["x"]}
    bushy = "d_xxxx velocity_x[velocity_x, velocity_x, velocity_x, velocity_x]"
    tall = "d_x velocity_x[d_x velocity_x[d_x velocity_x[d_x velocity_x[velocity_x]]]]"
    assert (terms[bushy], terms[tall]) == (-sympy.Rational(1, 120) / 24, sympy.Rational(1, 120))


# orders that one-dimensional or linear problems do not show
TREES_TO_FIVE = [tree for n in range(1, 6) for tree in trees(n) if "t" not in repr(tree)]


def solved_tableau(defects: Mapping[Rooted, Fraction]) -> tuple[list[list[Fraction]], list[Fraction]]:
    """A tableau of 17 stages whose 17 conditions of order five hold but for ``defects``: linear equations for b."""
    chosen, size = random.Random(4), len(TREES_TO_FIVE)
    a = [[F(chosen.randint(-2, 3), 2 * i + 2) for _ in range(i)] for i in range(size)]
    for row in a:
        while row and not 0 <= sum(row) <= 1:
            row[chosen.randrange(len(row))] = F(chosen.randint(-2, 3), 2 * len(row) + 2)
    rows = [stages(tree, a) for tree in TREES_TO_FIVE]
    right = [F(1, density(tree)) + defects.get(tree, F(0)) for tree in TREES_TO_FIVE]
    matrix = sympy.Matrix([[sympy.Rational(v.numerator, v.denominator) for v in row] for row in rows])
    solution = matrix.LUsolve(sympy.Matrix([sympy.Rational(v.numerator, v.denominator) for v in right]))
    return a, [F(int(v.p), int(v.q)) for v in solution]


INNER: Rooted = ordered(((TAU, (TAU,)),))
"""f'f''(f, f'f)."""
OUTER: Rooted = ordered((TAU, ((TAU,),)))
"""f''(f, f'f'f)."""
PAIR: Rooted = ((TAU,), (TAU,))
"""f''(f'f, f'f)."""
TALL: Rooted = ((((TAU,),),),)
"""f'f'f'f'f."""


def test_order_five_on_scalars_is_order_four_on_vectors() -> None:
    """f'f''(f, f'f) and f''(f, f'f'f) are one number on a scalar problem; for vectors each has its own condition."""
    assert symmetry(INNER) == symmetry(OUTER) == 1
    error = derive_local_error(lowered(*solved_tableau({INNER: F(1), OUTER: F(-1)})))
    assert error.order == 4
    assert {str(term.coefficient) for term in error.terms["x"]} == {"1", "-1"}
    assert error.leading["x"] == 0  # with blocks of one number nothing is left at h**5
    assert derive_local_error(lowered(*solved_tableau({}))).order == 5


def test_a_defect_of_two_branches_is_not_seen_by_a_linear_field() -> None:
    program = lowered(*solved_tableau({PAIR: F(1)}))
    assert (derive_local_error(program).order, linear_order(program)) == (4, 5)
    program = lowered(*solved_tableau({TALL: F(1)}))
    assert (derive_local_error(program).order, linear_order(program)) == (4, 4)


@pytest.mark.parametrize("spec", ["vp/DDIM", "psld/DDIM", "vp/DEIS-tAB1"])
def test_exact_for_a_constant_eps(spec: str) -> None:
    """Every term, of the leading power and of the next, holds a derivative of eps."""
    error = ia.derive(spec).local_error
    for terms in error.through(2):
        for found in terms.terms.values():
            assert found
            assert all("d_" in str(term.differential) for term in found)


def test_euler_is_not_exact_for_a_constant_score() -> None:
    terms = ia.derive("vp/Euler").local_error.terms["x"]
    assert any("d_" not in str(term.differential) for term in terms)


# vector fields in high precision
Vector = list[mpmath.mpf]
Field = Callable[[Sequence[mpmath.mpf], mpmath.mpf], Vector]
SIZE = 2
"""Numbers per block."""


def random_field(count: int, seed: int) -> Field:
    """tanh network of (z, t) with ``count`` inputs and outputs."""
    rng = np.random.default_rng(seed)
    first, bias, second = rng.normal(size=(3, count + 1)) * 0.7, rng.normal(size=3), rng.normal(size=(count, 3))
    first, bias, second = ([[mpmath.mpf(v) for v in row] for row in np.atleast_2d(m)] for m in (first, bias, second))

    def field(z: Sequence[mpmath.mpf], time: mpmath.mpf) -> Vector:
        inputs = [*z, time]
        hidden = [mpmath.tanh(mpmath.fdot(row, inputs) + b) for row, b in zip(first, bias[0], strict=True)]
        return [mpmath.fdot(row, hidden) for row in second]

    return field


def blockwise(matrix: mpmath.matrix, z: Sequence[mpmath.mpf]) -> Vector:
    """A k x k matrix times a state of k blocks."""
    k = matrix.rows
    return [sum(matrix[i, j] * z[j * SIZE + n] for j in range(k)) for i in range(k) for n in range(SIZE)]


def taken(
    table: CoefficientTable, network: Field, past: Vector | None, z: Vector, times: Sequence[mpmath.mpf]
) -> Vector:
    """One step of the lowered program on blocks of SIZE numbers; ``past`` is the unknown field one step before."""
    program, (t, s) = table.program, times[:2]
    blocks = program.blocks
    values = dict(zip(table.names, table(t, s, tuple(times[2:])), strict=True))
    state = {b: z[n * SIZE : (n + 1) * SIZE] for n, b in enumerate(blocks)}
    outputs: dict[tuple[str, str], Vector] = {}

    def remember(name: str, out: Vector) -> None:
        outputs.update({(name, b): out[n * SIZE : (n + 1) * SIZE] for n, b in enumerate(blocks)})

    if past is not None:
        remember("past_1", past)
    for statement in program.statements:
        if isinstance(statement, Evaluate):
            time = {start: t, end: s}.get(statement.time) or values[f"time_{statement.name}"]
            remember(statement.name, network([v for b in statement.state or blocks for v in state[b]], time))
            continue
        before = dict(state)
        for block, terms in statement.updates:
            total = [mpmath.mpf(0)] * SIZE
            for term in terms:
                factor = values.get(str(term.coefficient), mpmath.mpf(1))
                match term.operand:
                    case Block(name):
                        operand = before[name]
                    case Output(evaluation, component):
                        operand = outputs[evaluation, component]
                total = [a + factor * b for a, b in zip(total, operand, strict=True)]
            state[block] = total
    return [v for b in blocks for v in state[b]]


def gauss_step(slope: Field, z: Vector, t: mpmath.mpf, h: mpmath.mpf, count: int = 7) -> Vector:
    """z(t + h) by Gauss-Legendre collocation of order 14, by fixed-point iteration: error about h**15."""
    nodes, _ = np.polynomial.legendre.leggauss(count)
    c = [mpmath.findroot(lambda x: mpmath.legendre(count, x), mpmath.mpf(v)) / 2 + mpmath.mpf(1) / 2 for v in nodes]

    def lagrange(j: int) -> list[mpmath.mpf]:
        coefficients = [mpmath.mpf(1)]
        for m in range(count):
            if m != j:
                shifted = zip([*coefficients, 0], [0, *coefficients], strict=True)
                coefficients = [(a - c[m] * b) / (c[j] - c[m]) for a, b in shifted]
        return coefficients  # highest power first

    def integral(coefficients: Sequence[mpmath.mpf], x: mpmath.mpf) -> mpmath.mpf:
        return sum(v * x ** (count - n) / (count - n) for n, v in enumerate(coefficients))

    basis = [lagrange(j) for j in range(count)]
    a = [[integral(p, x) for p in basis] for x in c]
    b = [integral(p, mpmath.mpf(1)) for p in basis]
    slopes = [slope(z, t)] * count
    for _ in range(16):
        slopes = [
            slope([v + h * mpmath.fdot(row, [k[n] for k in slopes]) for n, v in enumerate(z)], t + x * h)
            for row, x in zip(a, c, strict=True)
        ]
    return [v + h * mpmath.fdot(b, [k[n] for k in slopes]) for n, v in enumerate(z)]


def oracle(spec: str, on_paper: Callable) -> tuple[Field, Field, Field]:
    """(network, unknown, right-hand side in forward time), the unknown a random field, the process as on paper."""
    name = spec.partition("/")[0]
    if name == "flow":
        velocity = random_field(SIZE, 5)
        return velocity, velocity, velocity
    paper = on_paper(name)
    unknown, kind = random_field(len(paper.names) * SIZE, 5), ia.derive(spec).program.unknown

    def score(z: Sequence[mpmath.mpf], t: mpmath.mpf) -> Vector:
        out = unknown(z, t)
        match kind:
            case "score":
                return out
            case "eps":
                return blockwise(paper.c_out(t), out)
            case "residual":
                return [a - b for a, b in zip(out, blockwise(paper.prior**-1, z), strict=True)]
            case "x0":
                alpha = mpmath.exp(-paper.clock(t) / 2)
                return [(alpha * a - b) / (1 - alpha**2) for a, b in zip(out, z, strict=True)]
        raise AssertionError

    def network(z: Sequence[mpmath.mpf], t: mpmath.mpf) -> Vector:
        return blockwise(paper.c_out(t) ** -1, score(z, t))

    def slope(z: Sequence[mpmath.mpf], t: mpmath.mpf) -> Vector:
        drift, pull = blockwise(paper.drift(t), z), blockwise(paper.diffusion(t), score(z, t))
        return [a - b / 2 for a, b in zip(drift, pull, strict=True)]

    return network, unknown, slope


@pytest.mark.parametrize(
    "spec",
    ["psld/RVV", "psld/SPS-2S", "vp/DEIS-tAB1", "vp/DPM-Solver++2M", "flow/conjugate(base=RK4, predict=velocity)"],
)
def test_leading_and_next_term_on_blocks_of_two_numbers(spec: str, on_paper: Callable) -> None:
    """error / h**power is c_0 + c_1 h + ...: the polynomial through six step sizes gives c_0 and c_1 to rounding."""
    integrator = ia.derive(spec)
    k, count = len(integrator.program.blocks), 6
    terms = integrator.local_error.through(2)
    power = integrator.order + 1
    with mpmath.workdps(60):
        network, unknown, slope = oracle(spec, on_paper)
        table = CoefficientTable(integrator.network_program, "mpmath")
        z, t = [mpmath.mpf(v) / 10 for v in (4, -3, 7, 2)][: k * SIZE], mpmath.mpf("0.37")
        ratios, sizes = [], [mpmath.mpf(2) ** -n / 500 for n in range(count)]
        for h in sizes:
            times, past = [t, t - h], None
            if integrator.program.history:
                times.append(t + h)
                past = unknown(gauss_step(slope, z, t, h), t + h)
            error = zip(taken(table, network, past, z, times), gauss_step(slope, z, t, -h), strict=True)
            ratios.append([(a - b) / h**power for a, b in error])
        matrix = mpmath.matrix([[h**n for n in range(count)] for h in sizes])
        measured = [mpmath.lu_solve(matrix, mpmath.matrix([row[n] for row in ratios])) for n in range(k * SIZE)]
    for n, found in enumerate(terms):
        derived = found.evaluate_blocks([float(v) for v in z], 0.37, unknown)
        assert set(found.exponents.values()) == {power + n}
        got = np.concatenate([derived[b] for b in integrator.program.blocks])
        np.testing.assert_allclose(got, [float(m[n]) for m in measured], rtol=(1e-9, 1e-7)[n])


def test_splittings_with_euler_sub_flows_have_the_stated_constants_for_vectors() -> None:
    """x' = F, m' = G in reverse time r. B A B with scores at the middle time: x: -F_x F / 2, m: -G_m G / 4;
    A at the start, then B at the end: x: -(F_x F + F_m G + F_r) / 2, m: (G_x F - G_m G + G_r) / 2.
    """
    gamma, nu, mass, beta = (mpmath.mpf(v) for v in ("0.01", "4.01", "0.25", "8"))
    score = random_field(2 * SIZE, 8)
    z, t = [mpmath.mpf(v) / 10 for v in (4, -3, 7, 2)], mpmath.mpf("0.37")

    def right(y: Sequence[mpmath.mpf], time: mpmath.mpf) -> np.ndarray:
        s, x, m = score(y, time), y[:SIZE], y[SIZE:]
        f = [beta / 2 * (gamma * a - b / mass + gamma * c) for a, b, c in zip(x, m, s[:SIZE], strict=True)]
        g = [beta / 2 * (a + nu * b + mass * nu * c) for a, b, c in zip(x, m, s[SIZE:], strict=True)]
        return np.array([f, g])

    def along(direction: Sequence[mpmath.mpf], reverse: int) -> np.ndarray:
        """The derivative of (F, G) along a direction of the state, or in reverse time."""

        def moved(e: mpmath.mpf, n: int) -> mpmath.mpf:
            return right([a + e * b for a, b in zip(z, direction, strict=True)], t - reverse * e).ravel()[n]

        return np.array([float(mpmath.diff(partial(moved, n=n), 0)) for n in range(2 * SIZE)]).reshape(2, SIZE)

    def derived(word: str) -> np.ndarray:
        found = ia.derive(f"psld/{word}").local_error.evaluate_blocks([float(v) for v in z], 0.37, score)
        return np.array([found["x"], found["m"]])

    with mpmath.workdps(40):
        f, g = right(z, t)
        zero = [mpmath.mpf(0)] * SIZE
        by_x, by_m, by_r = along([*f, *zero], 0), along([*zero, *g], 0), along([*zero, *zero], 1)
    expected = np.array([-by_x[0] / 2, -by_m[1] / 4])
    np.testing.assert_allclose(derived("B@1/2 A@1/2 B@1/2"), expected, rtol=1e-12)
    expected = np.array([-(by_x + by_m + by_r)[0], (by_x - by_m + by_r)[1]]) / 2
    np.testing.assert_allclose(derived("A@0 B@1"), expected, rtol=1e-12)


def test_a_state_of_another_length_is_refused() -> None:
    error: LocalError = ia.derive("psld/RVV").local_error
    for z in ([0.1], [0.1, 0.2, 0.3], []):
        with pytest.raises(ia.InputError, match="numbers"):
            error.evaluate_blocks(z, 0.3, random_field(2, 0))
    with pytest.raises(ia.InputError, match="one for each of x, m"):
        error.evaluate([0.1, 0.2, 0.3, 0.4], 0.3, random_field(2, 0))
    with pytest.raises(ia.InputError, match="one or more"):
        error.through(0)


def test_further_powers_may_be_asked_for_one_after_another() -> None:
    error, other = (ia.derive("vp/Euler").local_error for _ in range(2))
    assert error.through(2)[1].text() == error.next.text()
    assert [terms.text() for terms in error.through(3)] == [terms.text() for terms in other.through(3)]
    assert [terms.exponents["x"] for terms in error.through(3)] == [2, 3, 4]


def test_terms_read_as_a_sum() -> None:
    error = ia.derive("vp/DDIM").local_error
    assert error.terms_text()["x"] == ("beta*eta_xx/4*d_x eps_x[x] - eta_xx/2*d_t eps_x - eta_xx**2/2*d_x eps_x[eps_x]")
    assert r"\partial_{x}\epsilon_{x}\left[\epsilon_{x}\right]" in error.terms_latex()["x"]
    weak = ia.derive("vp/EM").local_error
    assert [str(term.differential) for term in weak.terms["f"]] == ["d_x f", "d_xx f"]
    rebuilt = sum(term.coefficient * sympy.Symbol(str(term.differential)) for term in weak.terms["f"])
    assert sympy.expand(rebuilt - weak.leading["f"]) == 0
