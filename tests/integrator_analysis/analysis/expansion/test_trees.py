"""Trees against scalar jets: on blocks of one number both are the same Taylor expansion, computed in two ways."""

from __future__ import annotations

import math

import pytest
import sympy
from sympy.polys.rings import PolyElement

from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.expansion.jets import JetRing
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Forest, TreeAlgebra, size

T, S, H = sympy.symbols("t s h", positive=True)
A = sympy.Symbol("a", positive=True)
BLOCKS, COMPONENTS, ORDER = ("x", "m"), ("s_x", "s_m"), 4


def ring(unknown: tuple[str, ...], linear: bool) -> JetRing:
    return JetRing(
        blocks=BLOCKS, order=ORDER, time=T, end=S, parameters=(A,), step=H, functions={"f": False},
        unknown=unknown, linear=linear,
    )  # fmt: skip


def two_stages(algebra: JetRing | TreeAlgebra) -> dict[str, Series | Forest]:
    """s at (z + h (f s + a L z), t - h/2), the inner s at z: every kind of child and a moved time."""
    jets = algebra.scalars
    f, a = jets.expand(sympy.Function("f")(T)) * jets.h, jets.expand(A) * jets.h
    z = algebra.initial_state()
    inner = algebra.unknown_at(z, jets.constant(0))
    x = z["x"] + inner["s_x"] * f + z["m"] * a
    m = z["m"] + inner["s_m"] * f - z["x"] * a
    return algebra.unknown_at({"x": x, "m": m}, -jets.h.scale(jets.ring(1) / 2))


def projected(forest: Forest, power: int, jets: JetRing) -> PolyElement:
    """The coefficient of h**power with every tree replaced by its product of scalar jets."""
    total, own = jets.ring(0), ring((), False)
    for tree, element in forest.coefficient(power).items():
        keys = ElementaryDifferential(tree, BLOCKS, COMPONENTS).jets()
        moved = sum(
            math.prod([jets[own.keys[n]] ** e for n, e in enumerate(exponents)], start=jets.ring(coefficient))
            for exponents, coefficient in element.terms()
        )
        total += math.prod([jets[key] for key in keys], start=moved)
    return total


@pytest.mark.parametrize("linear", [False, True])
def test_projected_trees_are_the_scalar_expansion(linear: bool) -> None:
    jets, algebra = ring(COMPONENTS, linear), TreeAlgebra(ring((), False), COMPONENTS, linear)
    scalar, vector = two_stages(jets), two_stages(algebra)
    for component in COMPONENTS:
        for power in range(ORDER + 1):
            assert projected(vector[component], power, jets) == scalar[component].coefficients[power] != 0


def test_a_linear_field_has_no_branches() -> None:
    general, linear = (two_stages(TreeAlgebra(ring((), False), COMPONENTS, flag))["s_x"] for flag in (False, True))
    kept = {t: c for t, c in general.terms.items() if ElementaryDifferential(t, BLOCKS, COMPONENTS).linear}
    assert linear.terms == kept
    assert len(kept) < len(general.terms)


def test_a_state_that_does_not_tend_to_the_point_is_refused() -> None:
    algebra = TreeAlgebra(ring((), False), COMPONENTS)
    z = algebra.initial_state()
    with pytest.raises(NotImplementedError, match="does not tend to x"):
        algebra.unknown_at({"x": z["x"] + z["m"], "m": z["m"]}, algebra.scalars.constant(0))


def test_equal_differentials_are_equal_trees() -> None:
    """d_xm s_x[u, v] is built from either order of the displacements."""
    algebra = TreeAlgebra(ring((), False), COMPONENTS)
    found = two_stages(algebra)["s_x"].terms
    assert all(tuple(sorted(tree[2])) == tree[2] for tree in found)
    names = [str(ElementaryDifferential(tree, BLOCKS, COMPONENTS)) for tree in found]
    assert len(set(names)) == len(names)
    assert max(map(size, found)) == 1 + ORDER  # s with a child or a t for every power of h
