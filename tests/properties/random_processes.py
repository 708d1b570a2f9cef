"""Random processes with valid F and G, as a text file or as a ``Process``, each beside its paper in numpy.

F = beta(t) N and G G^T = beta(t) D: constant or moving schedules, one block or two, with and without a stationary
distribution, with coupled, decoupled and defective N, noise in one block or in both, with and without a start variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import sympy
from sympy.codegen.cfunctions import expm1

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import t as time
from integrator_analysis.language.text_file import read_text
from integrator_analysis.processes import _FAMILIES
from integrator_analysis.processes.equation import clock
from tests.properties.on_paper import Paper

__all__ = ["NAME", "RandomProcess", "random_process", "registered"]

NAME = "drawn"
"""What every random process is called: one is registered at a time."""

Rows = tuple[tuple[Decimal, ...], ...]


@dataclass(frozen=True)
class Schedule:
    """beta in the parameters b0 and b1: as text, as a formula over sympy or math, and its integral from 0 by hand."""

    text: str
    formula: Callable[[Any, Any, Any, Any], Any] = field(repr=False)
    integral: Callable[[float, float, float], float] = field(repr=False)


SCHEDULES = (
    Schedule("b0", lambda m, a, b, t: a + 0 * t, lambda a, b, t: a * t),
    Schedule("b0 + b1*t", lambda m, a, b, t: a + b * t, lambda a, b, t: a * t + b * t**2 / 2),
    Schedule(
        "b0*(1 + b1*t)**2",
        lambda m, a, b, t: a * (1 + b * t) ** 2,
        lambda a, b, t: a * ((1 + b * t) ** 3 - 1) / (3 * b),
    ),
    Schedule("b0*exp(b1*t)", lambda m, a, b, t: a * m.exp(b * t), lambda a, b, t: a * math.expm1(b * t) / b),
    Schedule("b0*exp(-b1*t)", lambda m, a, b, t: a * m.exp(-b * t), lambda a, b, t: -a * math.expm1(-b * t) / b),
    Schedule(
        "b0*(2 + sin(3*t))",
        lambda m, a, b, t: a * (2 + m.sin(3 * t)),
        lambda a, b, t: a * (6 * t + 1 - math.cos(3 * t)) / 3,
    ),
    Schedule(
        "b0*sqrt(1 + b1*t)",
        lambda m, a, b, t: a * m.sqrt(1 + b * t),
        lambda a, b, t: 2 * a * ((1 + b * t) ** 1.5 - 1) / (3 * b),
    ),
)


@dataclass(frozen=True)
class RandomProcess:
    """All numbers are decimals, so that text, sympy and numpy hold the same ones.

    ``fade``: D is D (1 - exp(-fade clock)), which a text file cannot say; None for a constant D. ``as_text`` says
    whether it is read from TOML. ``stationary``: whether ``prior`` is the limit of the covariance.
    """

    drift: Rows
    diffusion: Rows
    start: Rows
    prior: Rows
    schedule: Schedule
    b0: Decimal
    b1: Decimal
    t_max: Decimal
    network: str
    stationary: bool
    fade: Decimal | None
    as_text: bool

    @property
    def blocks(self) -> tuple[str, ...]:
        return ("x", "m")[: len(self.drift)]

    def toml(self) -> str:
        """The [process] table."""
        matrices = {"drift": self.drift, "diffusion": self.diffusion}
        matrices |= {"initial_covariance": self.start, "prior_covariance": self.prior}
        rows = {key: [[str(entry) for entry in row] for row in rows] for key, rows in matrices.items()}
        lines = [f"{key} = {str(value).replace(chr(39), chr(34))}" for key, value in rows.items()]
        return "\n".join(
            [
                "[process]",
                f'name = "{NAME}"',
                f"blocks = {list(self.blocks)}".replace("'", '"'),
                f'schedule = "{self.schedule.text}"',
                *lines,
                f"t_max = {self.t_max}",
                f'network = "{self.network}"',
                "[process.parameters]",
                f"b0 = {self.b0}",
                f"b1 = {self.b1}",
                "",
            ]
        )

    def process(self) -> ia.Process:
        """The same, from sympy."""
        b0, b1 = sympy.symbols("b0 b1", positive=True)

        def matrix(rows: Rows) -> sympy.Matrix:
            return sympy.Matrix([[sympy.Rational(str(entry)) for entry in row] for row in rows])

        diffusion = matrix(self.diffusion)
        if self.fade is not None:
            diffusion *= -expm1(-sympy.Rational(str(self.fade)) * clock(time))
        return ia.Process(
            name=NAME,
            title="a random process",
            blocks=self.blocks,
            drift_per_unit=matrix(self.drift),
            diffusion_per_unit=diffusion,
            schedule=self.schedule.formula(sympy, b0, b1, time),
            initial_covariance=matrix(self.start),
            stationary_covariance=matrix(self.prior) if self.stationary else None,
            prior_covariance=matrix(self.prior),
            parameters={b0: sympy.Rational(str(self.b0)), b1: sympy.Rational(str(self.b1))},
            t_max=float(self.t_max),
            t_min=1e-3,
            source="a test",
            network=self.network,
        )

    def paper(self) -> Paper:
        """The same, in numpy."""
        n, d, start, prior = (
            np.array(rows, dtype=float) for rows in (self.drift, self.diffusion, self.start, self.prior)
        )
        a, b, high = float(self.b0), float(self.b1), float(self.t_max)

        def integral(t: float) -> float:
            return self.schedule.integral(a, b, t)

        noise, covariance = (lambda _: d), None
        if self.fade is not None:
            fade, rate = float(self.fade), 2 * n[0, 0]
            noise = lambda t: -d * math.expm1(-fade * integral(t))  # noqa: E731

            def covariance(t: float) -> np.ndarray:
                """int_0^c exp(rate (c - r)) d (1 - exp(-fade r)) dr + exp(rate c) Sigma(0)."""
                c = integral(t)
                plain = math.expm1(rate * c) / rate if rate else c
                faded = (math.exp(rate * c) - math.exp(-fade * c)) / (fade + rate)
                return d * (plain - faded) + start * math.exp(rate * c)

        return Paper(
            spec=NAME,
            drift=n,
            noise=noise,
            beta=lambda t: self.schedule.formula(math, a, b, t),
            start=start,
            prior=prior if self.stationary else None,
            times=(0.08 * high, high),
            covariance=covariance,
            integral=integral,
        )


@contextmanager
def registered(drawn: RandomProcess) -> Iterator[None]:
    """Specs can name the process inside the block. Raises InputError where it is refused."""
    if drawn.as_text:
        read_text(drawn.toml())
    else:
        made = drawn.process()
        ia.register_process(ia.ProcessFamily(NAME, "a random process", {}, lambda: made))
    try:
        yield
    finally:
        del _FAMILIES[NAME]


def number(r: Random, low: float, high: float) -> Decimal:
    return Decimal(str(round(r.uniform(low, high), 2)))


ZERO, HALF = Decimal(0), Decimal("0.5")


def random_process(r: Random, blocks: int | None = None, network: str | None = None) -> RandomProcess:
    """One of one block or two; ``network`` is what its networks return, drawn if None."""
    k = blocks or r.choice([1, 2])
    made = _one_block(r) if k == 1 else _two_blocks(r)
    b0 = number(r, 0.4, 2)
    known = ["eps", "eps", "x0", "score", *(["v", "velocity"] if k == 1 else [])]
    common: dict[str, Any] = {
        "schedule": r.choice(SCHEDULES),
        "b0": b0,
        "b1": number(r, 0.2, 2),
        "t_max": r.choice([Decimal(1), Decimal(1), Decimal("1.5")]),
        "network": network or r.choice(known),
        "fade": None,
        "as_text": r.random() < 0.5,
    }
    return RandomProcess(**(common | made))


def _one_block(r: Random) -> dict[str, Any]:
    n = r.choice([ZERO, -HALF, -number(r, 0.1, 1.5), number(r, 0.1, 0.5)])
    d = number(r, 0.3, 2)
    stationary = n < 0 and r.random() < 0.7
    if stationary:
        d = -2 * n * number(r, 0.3, 2)
    prior = d / (-2 * n) if stationary else number(r, 0.5, 2)
    made: dict[str, Any] = {
        "drift": ((n,),),
        "diffusion": ((d,),),
        "start": ((r.choice([ZERO, ZERO, number(r, 0.01, 0.3)]),),),
        "prior": ((prior,),),
        "stationary": stationary,
    }
    if n < 0 and r.random() < 0.15:  # D moves with the clock, at other rates than the drift's
        made |= {"fade": -n * r.choice([1, 3, 4]), "as_text": False, "stationary": False}
    return made


def _two_blocks(r: Random) -> dict[str, Any]:
    kind = r.choice(["langevin", "langevin", "general", "decoupled", "defective"])
    start = ((ZERO, ZERO), (ZERO, number(r, 0.02, 0.3)))
    if r.random() < 0.3:
        start = ((number(r, 0.1, 0.3), Decimal("0.05")), (Decimal("0.05"), number(r, 0.1, 0.3)))
    if kind == "langevin":
        g, nu, mass = (
            r.choice([ZERO, number(r, 0.1, 1)]),
            number(r, 0.3, 3),
            Decimal(r.choice(["0.25", "0.5", "1", "2"])),
        )
        return {
            "drift": ((-g, 1 / mass), (Decimal(-1), -nu)),
            "diffusion": ((2 * g, ZERO), (ZERO, 2 * mass * nu)),
            "start": start,
            "prior": ((Decimal(1), ZERO), (ZERO, mass)),
            "stationary": True,
        }
    diagonal, off = [-number(r, 0.1, 1.5), -number(r, 0.1, 1.5)], [number(r, 0.3, 1.2), number(r, -1.2, 1.2)]
    noises = [number(r, 0.3, 1.5), number(r, 0.3, 1.5)]
    if kind == "general":
        noises[0] *= r.choice([0, 1])
    elif kind == "decoupled":
        off = [ZERO, ZERO]
    else:
        diagonal[1], off[1] = diagonal[0], ZERO
    return {
        "drift": ((diagonal[0], off[0]), (off[1], diagonal[1])),
        "diffusion": ((noises[0], ZERO), (ZERO, noises[1])),
        "start": start,
        "prior": ((number(r, 0.5, 2), ZERO), (ZERO, number(r, 0.3, 1))),
        "stationary": False,
    }
