"""What a network returns, and what an integrator freezes: s(z, t) = C_skip(t) z + C_out(t) n(z, t).

Knows the kernel's mean and covariance; knows no sampler. With it the probability-flow ODE reads z' = L z + eta n,
L = F - (1/2) G G^T C_skip, eta = -(1/2) G G^T C_out (arXiv 2310.07894, section 2 and equation 8). A network of one
parametrisation serves an integrator of another through n' = skip z + scale n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.parametrisation.signal_to_noise import log_snr, measures, ratio, slope_of
from integrator_analysis.processes import Process

__all__ = ["PLAIN", "VELOCITY", "Parametrisation"]

VELOCITY = "velocity"
"""The name of the parametrisation whose network returns z' of the probability-flow ODE itself."""

PLAIN = ("score", "residual")
"""Those whose C_skip and C_out are constants: L and eta are then written out, and not named."""


@dataclass(frozen=True)
class Parametrisation:
    """C_skip and C_out, k x k in functions of t, and what follows from them.

    ``drift`` is L and ``eta`` the factor of the network, both in named functions of t.
    Closed forms are stated where there are any (None where not), and measured by check.py:
    ``homogeneous`` is a solution of m' = L m on one block, and ``power`` is p where in addition eta = m d(rho**p)/dt;
    then the weights have closed forms.
    ``frame`` is a lower Cholesky factor K, and ``turning`` is theta' where K Rot(theta) solves R' = L R on two blocks.
    ``constant`` is R = K Rot(angle) where R n_0 solves the ODE for every constant n_0; then
    psi_0(s, t) = R_s - E(s, t) R_t.
    ``inverse`` is that of C_out, where it is known without asking sympy.
    ``parameters`` are those that the parametrisation brings with it, ``extra`` defines further functions.
    ``noise`` is kappa of the SDE dz = [F z - (1 + kappa**2)/2 G G^T s] dt + kappa G dw whose marginals are those of
    the process for every kappa; 0 is the probability-flow ODE (arXiv 2303.01748, appendix; 2206.00364, equation 6).
    """

    name: str
    process: Process
    c_skip: sympy.ImmutableMatrix
    c_out: sympy.ImmutableMatrix
    homogeneous: sympy.Expr | None = None
    power: sympy.Rational | None = None
    noise: sympy.Rational = field(default=sympy.S.Zero)
    turning: sympy.Expr | None = None
    frame: sympy.ImmutableMatrix | None = None
    constant: sympy.ImmutableMatrix | None = None
    inverse: sympy.Matrix | None = None
    parameters: Mapping[sympy.Symbol, sympy.Rational] = field(default_factory=dict)
    extra: Mapping[sympy.Function, Definition] = field(default_factory=dict)

    @cached_property
    def c_out_inverse(self) -> sympy.Matrix:
        """C_out^{-1}."""
        return self.c_out**-1 if self.inverse is None else self.inverse

    @cached_property
    def drift(self) -> sympy.ImmutableMatrix:
        """L(t): F itself where C_skip = 0, else named functions drift_ij(t); with noise, less kappa**2 lambda'."""
        if self._plain_drift:
            return (self.drift_expression - self.noise**2 * self.process.diffusion * self.c_skip / 2).as_immutable()
        named = self._by_entries("drift", self.drift_expression)
        if self.noise == 0:
            return named
        return (named - self.noise**2 * slope_of(log_snr)(t) * sympy.eye(named.rows)).as_immutable()

    @cached_property
    def eta(self) -> sympy.ImmutableMatrix:
        """-(1/2) (1 + kappa**2) G G^T C_out in named functions eta_ij(t); itself where the network is the score."""
        if self.name in PLAIN:
            return (self.eta_expression * (1 + self.noise**2)).as_immutable()
        return (self._by_entries("eta", self.eta_expression) * (1 + self.noise**2)).as_immutable()

    def noisy(self, noise: sympy.Rational) -> Parametrisation:
        """This parametrisation for the SDE of strength ``noise`` (kappa). Raises InputError where it has no meaning.

        Of score and eps nothing but eta depends on it, of residual the drift as well.
        """
        if noise == 0:
            return self
        if self.name in (*PLAIN, "eps"):
            return replace(self, noise=noise, homogeneous=None, power=None, turning=None, constant=None)
        if self.name != "x0" or self.homogeneous is None:
            raise InputError(
                f"noise = {noise} with parametrisation {self.name} on process {self.process.name}: the weights of the "
                "reverse SDE are derived for x0 on one block"
            )
        q = 1 + noise**2
        return replace(self, noise=noise, homogeneous=sympy.Function("mean_x")(t) * ratio(t) ** q, power=-q)

    @cached_property
    def definitions(self) -> Definitions:
        """What drift_ij, eta_ij, rho and lambda stand for."""
        table = dict(measures(self.process)) | dict(self.extra)
        for name, matrix in (("drift", self.drift_expression), ("eta", self.eta_expression)):
            if (name == "eta" and self.name not in PLAIN) or (name == "drift" and not self._plain_drift):
                for named, e in zip(self._by_entries(name, matrix), matrix, strict=True):
                    if named.args and named != e:
                        table[named.func] = Definition((t,), e)
        return Definitions(table)

    @property
    def _plain_drift(self) -> bool:
        """Whether L is written out where it stands, and gets no name of its own."""
        return self.name in (VELOCITY, *PLAIN) or not any(self.c_skip)

    @cached_property
    def drift_expression(self) -> sympy.Matrix:
        """L(t) without noise, written out in the kernel's functions."""
        if self.name == VELOCITY:
            return sympy.zeros(*self.c_skip.shape)
        return (self.process.drift - self.process.diffusion * self.c_skip / 2).as_mutable()

    @cached_property
    def eta_expression(self) -> sympy.Matrix:
        """-(1/2) G G^T C_out, written out in the kernel's functions."""
        if self.name == VELOCITY:
            return sympy.eye(self.c_skip.rows)
        return (-self.process.diffusion * self.c_out / 2).as_mutable()

    def _by_entries(self, name: str, matrix: sympy.Matrix) -> sympy.ImmutableMatrix:
        """The matrix by named entries name_ij(t); rational entries stay numbers."""
        blocks = self.process.blocks
        return sympy.ImmutableMatrix(
            matrix.rows,
            matrix.cols,
            lambda i, j: (
                matrix[i, j] if matrix[i, j].is_Rational else sympy.Function(f"{name}_{blocks[i]}{blocks[j]}")(t)
            ),
        )
