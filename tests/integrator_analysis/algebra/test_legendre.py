"""Gauss-Legendre rules for mpmath: exact for polynomials to the precision asked for, and mpmath's own."""

from __future__ import annotations

import mpmath
import pytest
from mpmath.calculus.quadrature import GaussLegendre

from integrator_analysis.algebra.legendre import legendre_rule


@pytest.mark.parametrize(("degree", "bits"), [(1, 40), (3, 53), (4, 300), (6, 130)])
def test_a_rule_of_n_nodes_integrates_even_powers_below_2n(degree: int, bits: int) -> None:
    pairs = legendre_rule(mpmath.mp).calc_nodes(degree, bits)
    assert len(pairs) == 3 * 2 ** (degree - 1)
    with mpmath.workprec(bits + 40):
        for power in range(0, 2 * len(pairs), 2):
            integral = mpmath.fsum(weight * node**power for node, weight in pairs)
            assert abs(integral - mpmath.mpf(2) / (power + 1)) < mpmath.ldexp(1, -bits)
        own = sorted(GaussLegendre(mpmath.mp).calc_nodes(degree, bits))
        apart = [abs(ours - theirs) for (ours, _), (theirs, _) in zip(sorted(pairs), own, strict=True)]
        assert max(apart) < mpmath.ldexp(1, -bits)
