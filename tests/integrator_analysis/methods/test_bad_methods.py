"""Methods, matrices and grids in Python that cannot be used: one sentence says what was wrong and what is accepted.

Those that reach the same checks from a spec or from a text file are in test_spec_base_methods.py and test_textfile.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.base_methods import EULER, Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.ancestral import Ancestral
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from torch_backend import load

ONE, HALF, THIRD = Fraction(1), Fraction(1, 2), Fraction(1, 3)
x = sympy.Symbol("x")


def refused(make: Callable[[], object], *parts: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        (((HALF,),), (ONE,), ("row 1 of the tableau has 1 entries", "an explicit tableau has 0 there")),
        (((), (HALF, HALF)), (HALF, HALF), ("row 2 of the tableau has 2 entries", "an explicit tableau has 1 there")),
        (((), ()), (HALF, HALF), ("row 2 of the tableau has 0 entries", "has 1 there")),
        (((), (ONE,)), (HALF, THIRD), ("sum to 5/6", "a consistent tableau has the sum 1")),
        ((), (), ("sum to 0", "a consistent tableau has the sum 1")),
        (((), (ONE,)), (ONE,), ("2 stages and 1 weights b", "as many are needed")),
        (((), (-HALF,)), (HALF, HALF), ("nodes c = 0, -1/2", "accepted: from 0 to 1")),
        (((), (0.5,)), (ONE, ONE), ("a and b hold 0.5", "accepted: integers and fractions")),
        (((), (HALF,)), (0.1, 0.9), ("a and b hold 0.1", "accepted: integers and fractions")),
    ],
)
def test_a_tableau_that_is_not_explicit_consistent_or_exact(a: tuple, b: tuple, parts: tuple[str, ...]) -> None:
    refused(lambda: RungeKutta(a, b), *parts)


def test_whole_numbers_are_fractions() -> None:
    whole, exact = RungeKutta(((), (1,)), (0, 1)), RungeKutta(((), (ONE,)), (Fraction(0), ONE))  # type: ignore[arg-type]
    process = ia.process("vp")
    assert whole == exact
    assert Conjugate(base=whole).lower(process).statements == Conjugate(base=exact).lower(process).statements


@pytest.mark.parametrize(
    ("stages", "parts"),
    [
        ((Stage(ONE), Stage(HALF)), ("stage 1 of 2 lies at 1", "the last one at 1")),
        ((Stage(HALF), Stage(THIRD, (0, 1))), ("stage 2 of 2 lies at 1/3", "the last one at 1")),
        ((Stage(Fraction(0)), Stage()), ("stage 1 of 2 lies at 0", "between 0 and 1")),
        ((), ("no stages", "at least one stage")),
        ((Stage(0.5), Stage()), ("shares of the stages hold 0.5", "accepted: integers and fractions")),
        ((Stage(HALF), Stage(through=(0, 2))), ("stage 2 interpolates", "(0, 2)", "distinct numbers from 0 to 1")),
        ((Stage(HALF, (0, 1)), Stage()), ("stage 1 interpolates", "(0, 1)", "from 0 to 0")),
        ((Stage(through=(-1, 0)),), ("stage 1 interpolates", "(-1, 0)", "then -1, -2, ... without a gap")),
        ((Stage(through=(-1,)),), ("stage 1 interpolates", "(-1,)", "from 0 to 0")),
        ((Stage(through=(0, 0)),), ("stage 1 interpolates", "(0, 0)", "distinct numbers")),
        ((Stage(through=()),), ("stage 1 interpolates", "()", "from 0 to 0")),
        ((Stage(HALF), Stage(HALF), Stage(through=(1, 2))), ("stage 3", "two lie at one time", "needs distinct ones")),
        ((Stage(through=tuple(range(0, -6, -1))),), ("5 earlier steps are read", "at most 4 are kept")),
        ((Stage(rule="midle"),), ("unknown rule 'midle'", "did you mean middle")),
    ],
)
def test_stages_that_make_no_step(stages: tuple[Stage, ...], parts: tuple[str, ...]) -> None:
    refused(lambda: Interpolatory(stages), *parts)


@pytest.mark.parametrize(
    ("stages", "mend", "parts"),
    [
        ((Stage(),), (0, 1), ("mend interpolates the evaluations (0, 1)", "from 0 to 0")),
        ((Stage(),), (-1,), ("mend interpolates the evaluations (-1,)", "then -1, -2")),
        ((Stage(),), (0, -2), ("mend interpolates the evaluations (0, -2)", "without a gap")),
        ((Stage(HALF), Stage()), (0, -1), ("a predictor-corrector has one stage, not 2",)),
        ((Stage(),), tuple(range(0, -6, -1)), ("5 earlier steps are read", "at most 4 are kept")),
        # what a step used is one step older when the next one mends it
        ((Stage(through=(0, -1, -2, -3, -4)),), (0, -1), ("5 earlier steps are read", "at most 4 are kept")),
    ],
)
def test_correctors_that_have_nothing_to_mend(
    stages: tuple[Stage, ...], mend: tuple[int, ...], parts: tuple[str, ...]
) -> None:
    refused(lambda: Interpolatory(stages, "log-SNR", mend), *parts)


def test_the_deepest_history_that_is_kept_makes_a_step() -> None:
    for base in (
        Interpolatory((Stage(through=(0, -1, -2, -3, -4)),)),
        Interpolatory((Stage(through=(0, -1, -2, -3)),), "log-SNR", (0, -1, -2, -3, -4)),
    ):
        program = Conjugate(base=base).lower(ia.process("vp"))
        assert program.history == 4
        assert program.past == ("past_1", "past_2", "past_3", "past_4")


def test_stages_may_come_in_any_order_of_time() -> None:
    """Order is that of evaluation: a stage at 2/3 may precede one at 1/3."""
    stages = (Stage(2 * THIRD), Stage(THIRD, (0, 1)), Stage(through=(0, 2)))
    program = Conjugate(base=Interpolatory(stages, "log-SNR")).lower(ia.process("vp"))
    assert [node.share for node in program.nodes] == [sympy.Rational(2, 3), sympy.Rational(1, 3)]


@pytest.mark.parametrize(
    ("B", "parts"),
    [
        (sympy.ImmutableMatrix([[x * t]]), ("B = [[t*x]] holds other symbols than t", "numbers and")),
        (
            sympy.ImmutableMatrix([[sympy.Symbol("t")]]),
            ("other symbols than t", "integrator_analysis.t, which is positive"),
        ),
        (sympy.ImmutableMatrix([[sympy.Function("g")(t)]]), ("B = [[g(t)]] is not finite and real", "functions of t")),
        (sympy.ImmutableMatrix([[sympy.I]]), ("B = [[I]] is not finite and real", "functions of t")),
        (sympy.ImmutableMatrix([[sympy.nan]]), ("B = [[nan]] is not finite and real", "functions of t")),
        (sympy.ImmutableMatrix([[sympy.oo]]), ("B = [[oo]] is not finite and real", "functions of t")),
        (np.eye(1), ("B = array([[1.]]) is not a known family", "a sympy matrix in t")),
        ([[1]], ("B = [[1]] is not a known family", "a sympy matrix in t")),
        (0, ("B = 0 is not a known family", "accepted: 0, lambda*I")),
    ],
)
def test_a_b_that_is_no_matrix_of_functions_of_t(B: object, parts: tuple[str, ...]) -> None:
    refused(lambda: Conjugate(B), *parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("process", "rows", "parts"),
    [
        ("psld", [[1]], ("B has shape (1, 1)", "psld has 2 block(s)", "must be 2 x 2")),
        ("vp", [[1, 2]], ("B has shape (1, 2)", "vp has 1 block(s)", "must be 1 x 1")),
        ("vp", [[1, 0], [0, 1]], ("B has shape (2, 2)", "must be 1 x 1")),
        ("cld", [[1, 0], [0, 1], [t, 0]], ("B has shape (3, 2)", "must be 2 x 2")),
    ],
)
def test_a_b_of_the_wrong_shape(process: str, rows: list, parts: tuple[str, ...]) -> None:
    refused(lambda: Conjugate(sympy.ImmutableMatrix(rows)).lower(ia.process(process)), *parts)


AB2 = Interpolatory((Stage(through=(0, -1)),))


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Conjugate(base="Heun"), ("base = 'Heun' is not a base method", "an Interpolatory or a RungeKutta")),
        (lambda: Conjugate(sympy.ImmutableMatrix([[t]]), base=AB2), ("needs a one-step method in t", "takes B = 0")),
        (lambda: Conjugate(parametrisation="x1").lower(ia.process("vp")), ("'x1'", "did you mean x0")),
        (lambda: Conjugate(parametrisation="v").lower(ia.process("cld")), ("one block", "accepted there: eps,")),
        (lambda: Conjugate("lambda*I", math.nan).lower(ia.process("vp")), ("lambda = nan", "an int or a float")),
        (lambda: Conjugate("lambda*I", math.inf).lower(ia.process("vp")), ("lambda = inf", "an int or a float")),
        (lambda: Conjugate(base=EULER, noise=1.0), ("noise = 1.0 needs B = 0 and polynomials in log-SNR",)),
        (
            lambda: Conjugate(base=Interpolatory((Stage(HALF), Stage()), "log-SNR"), parametrisation="x0", noise=1.0),
            ("noise = 1.0", "one stage without a corrector"),
        ),
        (lambda: Ancestral(0.0), ("eta = 0.0", "accepted: 0 < eta <= 1")),
        (lambda: Ancestral(math.nan), ("eta = nan", "accepted: 0 < eta <= 1")),
        (lambda: Ancestral(0.5).lower(ia.process("psld")), ("on process psld", "x0 on one block")),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together(make: Callable[[], object], parts: tuple[str, ...]) -> None:
    refused(make, *parts)


@pytest.mark.parametrize(
    ("spec", "times", "parts"),
    [
        ("vp/DDIM", [1.5, 0.5], ("time 1.5 at index 0 is beyond t_max = 1",)),
        ("vp_cosine/DDIM", [1.0, 0.5], ("time 1 at index 0 is beyond t_max = 0.9946",)),
        ("ddpm/DDIM", [1000.5, 3.0], ("time 1000.5 at index 0 is beyond t_max = 1000",)),
        ("vp/DDIM", [1.0, 0.0], ("time 0 at index 1 is not positive", "t_min > 0")),
        ("vp/DDIM", [0.5, -0.1], ("time -0.1 at index 1 is not positive", "t_min > 0")),
        ("vp/DDIM", [0.5, math.nan], ("at least two finite times",)),
    ],
)
def test_a_grid_that_leaves_the_process(spec: str, times: list[float], parts: tuple[str, ...]) -> None:
    refused(lambda: ia.derive(spec).coefficients(times), *parts)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.5, 0.5], r"times\[0\] = 1.5 is not a usable diffusion time; every time must be in \(0, 1.0\]"),
        ([1.0, 0.0, 0.5], r"times\[1\] = 0.0 is not a usable diffusion time; every time must be in \(0, 1.0\]"),
    ],
)
def test_a_sampler_on_a_grid_that_leaves_the_process(times: list[float], message: str) -> None:
    sampler = load("vp/DDIM")
    with pytest.raises(ValueError, match=message):
        sampler.table(times)
    with pytest.raises(ValueError, match=message):
        sampler.sample(lambda z, _: z, torch.zeros(1, 1), times=times)


def test_t_min_is_where_samplers_stop_unless_told_and_not_a_bound() -> None:
    assert load("vp/DDIM").table([0.5, 1e-5]).isfinite().all()
    assert np.isfinite(ia.derive("vp/DDIM").coefficients([0.5, 1e-5])).all()


def test_a_step_from_where_there_is_no_signal_left() -> None:
    """alpha = 0 at the end of rectified flow, so x_0 over alpha is no start; its velocity is."""
    message = r"coefficient 2 of step 0, from time 1.0 to 0.5, is inf; the scheme has no such step, take other"
    with pytest.raises(ValueError, match=message):
        ia.derive("flow/DDIM").to_torch().table([1.0, 0.5])
    assert ia.derive("flow/conjugate(predict=velocity)").to_torch().table([1.0, 0.5]).tolist() == [[-0.5]]


@pytest.mark.parametrize("rule", ["middle", "end"])
def test_a_rule_for_lines_leaves_a_parabola_within_a_step_alone(rule: str) -> None:
    first, second = Stage(Fraction(1, 3)), Stage(Fraction(2, 3), (0, 1))

    def lower(rule: str) -> object:
        base = Interpolatory((first, second, Stage(through=(0, 1, 2), rule=rule)), "log-SNR")
        return Conjugate(base=base).lower(ia.process("vp"))

    assert lower(rule) == lower("integral")
