"""Checks of a process before anything is derived from it: shapes, signs, domains. One sentence for each refusal.

Knows the fields of a process and asks for its kernel; knows no file and no sampler. For processes of a user's own.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

import numpy as np
import sympy
from sympy.polys.polyerrors import BasePolynomialError

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError
from integrator_analysis.processes.equation import clock
from integrator_analysis.processes.forward_process import Process

__all__ = ["UNDERIVABLE", "check_name", "check_parameter_name", "check_process"]

UNDERIVABLE = (ArithmeticError, NotImplementedError, ValueError, TypeError, BasePolynomialError)
"""What a derivation raises where it has no closed form: its own refusals, and those of sympy's polynomials."""

BLOCK = re.compile(r"[mpqrvwxy]")
"""A block's name: a letter that means nothing else in formulas and generated source."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")

STEMS = frozenset(
    re.findall(
        r"\w+",
        "advance anchor back carried carry cholesky clock coefficients cosh coupling covariance d damped decay "
        "difference discriminant drift e elapsed eps eta even f frozen growth h information marginal math mean mend "
        "moment network noise o odd ordered past phi propagator psi pull ratio rise s scale share sinhc skip slip "
        "slope spread t time torch transition u unit unknown used v weight x0",
    )
)
"""First parts of the names that derived formulas and generated source use themselves."""

WORDS = frozenset(
    re.findall(
        r"\w+",
        "B BETAS BLOCKS COEFFICIENTS Callable DAMPED_RULE GRID HISTORY MENDS NETWORK NFE_PER_STEP NOISES ORDER "
        "PANEL_RULE PRIMED PRIOR_STD PROCESS RULE SPEC STOCHASTIC Sequence T_MAX T_MIN Tensor VARIANCE a abs b beta c "
        "cos data_weights ends exp expm1 factor float found int k lambda_ len list log log1p log_snr node panel panels "
        "partial pieces points print r range read score self sin sqrt step sum t_max t_min total tuple values velocity "
        "w width x y z zip",
    )
)
"""Whole names that derived formulas and generated source use themselves."""

TWO_BLOCKS = frozenset(["angle", "turn"])
"""Names of the rotating frame, which only a process on two blocks has."""

BETA_AT = re.compile(r"beta_(t|s|u|p\d)(_\d+)?|b_[a-z]{2}|B_\d+|t_\d+|p\d")
"""Other names that they use: beta at a time, entries of B, times within a step and before it."""

EDGE = 1e9
"""Largest accepted beta(t), and largest accepted parameter."""

SHARES = np.linspace(0.01, 0.99, 50)
"""Of t_max: where a schedule is looked at. Ends are left out: that of rectified flow is infinite at t_max."""

DEFINITE = 1e-13
"""Smallest eigenvalue over the largest below which a covariance counts as singular; rounding leaves 1e-16."""


def check_name(name: object, what: str) -> None:
    """Raise InputError unless ``name`` can stand in a spec and in the name of a Python module."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"{what} {name!r} is not a name; accepted: up to 40 letters, digits and _, a letter first")


def check_parameter_name(name: object, blocks: Sequence[str] = ()) -> None:
    """Raise InputError unless ``name`` can be a parameter's: derived source has names of its own."""
    check_name(name, "parameter")
    assert isinstance(name, str)
    own = name in WORDS or name in blocks or name.partition("_")[0] in STEMS or (len(blocks) > 1 and name in TWO_BLOCKS)
    if own or keyword.iskeyword(name) or BETA_AT.fullmatch(name) or name.startswith("_"):
        raise InputError(f"parameter {name!r}: derived formulas use this name themselves; choose another, such as b0")


def check_process(process: Process) -> None:
    """Raise InputError, one sentence, unless every scheme can be derived on ``process``."""
    _check_blocks(process)
    _check_symbols(process)
    _check_covariances(process)
    _check_schedule(process)
    _check_kernel(process)


def _check_blocks(process: Process) -> None:
    """The state has one block, x, or two that are each called by a letter."""
    blocks = process.blocks
    two = len(blocks) == 2 and blocks[0] != blocks[1] and all(BLOCK.fullmatch(b) for b in blocks)
    if blocks != ("x",) and not two:
        raise InputError(
            f"process {process.name} has the blocks {blocks}; accepted: x alone, or two letters of m p q r v w x y"
        )


def _check_symbols(process: Process) -> None:
    """Matrices are k x k and hold parameters alone, a schedule time as well; every parameter is a number."""
    k, known = len(process.blocks), set(process.parameters)
    for symbol, value in process.parameters.items():
        check_parameter_name(symbol.name, process.blocks)
        number = _number(value)
        if number is None or abs(number) > EDGE:
            raise InputError(
                f"parameter {symbol} of process {process.name} is {value}; accepted: up to {EDGE:g} in size"
            )
    for label, matrix in _matrices(process).items():
        if not isinstance(matrix, sympy.MatrixBase) or matrix.shape != (k, k):
            shape = " x ".join(map(str, getattr(matrix, "shape", ("?",))))
            raise InputError(f"the {label} of process {process.name} is {shape}; {k} block(s) need {k} x {k}")
        rest = matrix.xreplace({clock(t): sympy.S.One}) if k == 1 and label == "diffusion" else matrix
        _refuse_symbols(process, label, rest.free_symbols - known)
        if rest.has(sympy.zoo, sympy.oo, sympy.nan, sympy.I):
            raise InputError(f"the {label} of process {process.name} divides by zero or is not real")
    for label, e in {"schedule": process.schedule, "clock": process.integrated}.items():
        if e is not None:
            _refuse_symbols(process, label, e.free_symbols - known - {t})


def _refuse_symbols(process: Process, label: str, unknown: set[sympy.Symbol]) -> None:
    """Raise InputError if there are symbols that the ``label``, a matrix or the schedule, may not contain."""
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise InputError(
            f"the {label} of process {process.name} contains {names}; accepted there: its parameters"
            + (" and t" if label in ("schedule", "clock") else ", because beta(t) multiplies all of it")
        )


def _matrices(process: Process) -> dict[str, sympy.Matrix]:
    """The matrices of a process, under the names that refusals call them by."""
    named = {
        "drift": process.drift_per_unit,
        "diffusion": process.diffusion_per_unit,
        "initial covariance": process.initial_covariance,
        "prior covariance": process.prior_covariance,
    }
    if process.prior_covariance is None:
        raise InputError(f"process {process.name} has no prior covariance, from which samplers start; give one")
    if process.stationary_covariance is not None:
        named["stationary covariance"] = process.stationary_covariance
    return named


def _check_covariances(process: Process) -> None:
    """D and all covariances are symmetric. D and Sigma(0) are positive semi-definite, the others positive definite.

    D and the covariance of the prior are diagonal.
    """
    for label, matrix in _matrices(process).items():
        values = _values(process, label, matrix)
        if label == "drift":
            continue
        if not np.array_equal(values, values.T):
            raise InputError(f"the {label} of process {process.name} is not symmetric: {values.tolist()}")
        if label in ("diffusion", "prior covariance") and np.count_nonzero(values - np.diag(np.diag(values))):
            raise InputError(
                f"the {label} of process {process.name} is not diagonal: {values.tolist()}; a block's noise is its own"
            )
        lowest, highest = np.linalg.eigvalsh(values)[[0, -1]]
        semi = label in ("diffusion", "initial covariance")
        if lowest < 0 if semi else lowest <= DEFINITE * highest:
            kind = "positive semi-definite" if semi else "symmetric positive definite"
            raise InputError(f"the {label} of process {process.name} is not {kind}: {values.tolist()}")
        if label == "diffusion" and highest <= 0:
            raise InputError(f"the diffusion of process {process.name} is zero; a diffusion process needs noise")


def _values(process: Process, label: str, matrix: sympy.Matrix) -> np.ndarray:
    """The entries as float64; a diffusion that depends on the clock at clock = 1."""
    entries = [_number(e.xreplace({clock(t): sympy.S.One}).xreplace(dict(process.parameters))) for e in matrix]
    if any(e is None or abs(e) > EDGE for e in entries):
        raise InputError(
            f"the {label} of process {process.name} is not real, or larger than {EDGE:g}: {matrix.tolist()}"
        )
    return np.array(entries, dtype=float).reshape(matrix.shape)


def _number(e: sympy.Expr) -> float | None:
    """An expression without symbols as a float; None if it is not a finite real number."""
    value = sympy.N(e, 20)
    if not (value.is_Float or value.is_Integer or value.is_Rational) or not value.is_finite:
        return None
    return float(value) if abs(value) < sympy.Float(10) ** 300 else float("inf")


def _check_schedule(process: Process) -> None:
    """beta(t) is real, not negative and not huge inside (0, t_max), and positive somewhere."""
    if process.schedule is None:
        raise InputError(f"process {process.name} has neither a schedule beta(t) nor a clock, its integral; give one")
    schedule = process.schedule.xreplace(dict(process.parameters))
    positive = False
    for share in SHARES:
        time = share * process.t_max
        value = _number(schedule.xreplace({t: sympy.Float(time, 20)}))
        if value is None or not 0 <= value <= EDGE:
            shown = "not a real number" if value is None else f"{value:.6g}"
            raise InputError(
                f"the schedule beta(t) of process {process.name} is {shown} at t = {time:.6g}; accepted: 0 to {EDGE:g} "
                f"on (0, {process.t_max:g})"
            )
        positive |= value > 0
    if not positive:
        raise InputError(f"the schedule beta(t) of process {process.name} is zero; nothing diffuses")


def _check_kernel(process: Process) -> None:
    """Mean and covariance can be derived, and the covariance of z_t is positive definite at t_min and at t_max."""
    try:
        with np.errstate(all="ignore"):
            found = [process.covariance(time) for time in (process.t_min, process.t_max)]
    except InputError:
        raise
    except UNDERIVABLE as error:
        raise InputError(
            f"process {process.name}: no mean and covariance in closed form ({' '.join(str(error).split())}); a "
            "polynomial schedule, or a stated clock, is accepted"
        ) from error
    for time, covariance in zip((process.t_min, process.t_max), found, strict=True):
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise InputError(
                f"the covariance of process {process.name} at t = {time:g} is not positive definite: noise does not "
                "reach every block, or t_min is too small"
            )
