"""Pictures of leading error constants, over diffusion time and over the strength lambda."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import sympy
from matplotlib.figure import Figure

import integrator_analysis as ia
from integrator_analysis import figures
from integrator_analysis.analysis.accuracy.local_error import LocalError
from integrator_analysis.analysis.accuracy.problems import MixtureProblem
from integrator_analysis.report.pictures.frame import Integrators, common_deterministic_process, save_picture
from integrator_analysis.verification.bench import SEED, TIMES
from integrator_analysis.verification.certificate import Certificate

__all__ = ["constants_figure", "heat_map_figure"]

CONSTANT_TIMES = tuple(float(v) for v in np.linspace(0.05, 0.95, 9))

CONSTANT_POINTS = 5

CONSTANT_DIGITS = 20

LAMBDAS = tuple(float(v) for v in np.linspace(-3, 3, 24))  # an even number: at 0 the expansion has other terms

GAMMAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

MAP_TIMES = tuple(float(v) for v in np.linspace(0.04, 0.96, 16))

MAP_NODES, MAP_TOLERANCE = 2, 0.1
"""A colour on a logarithmic scale shows no more."""


def heat_map_figure(members: Integrators) -> Figure:
    """One panel per scheme and block: the leading constant over time and lambda; over Gamma where there is no lambda.

    Root mean square over the law of z_t, by a few Gauss-Hermite nodes. Gamma varies with nu - Gamma fixed, which keeps
    critical damping. Raises InputError for a stochastic scheme and for one with neither parameter.
    """
    panels = [(spec, block) for spec, i in members.items() for block in i.program.blocks]
    maps = {spec: _constant_map(spec, integrator) for spec, integrator in members.items()}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with figures.style():
        figure = figures.new_figure(5.0 * columns, 3.8 * rows)
        axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for ax, (spec, block) in zip(axes, panels, strict=False):
            name, values, times, constants = maps[spec]
            power = members[spec].local_error.exponents[block]
            figures.constant_map(
                ax,
                values,
                times,
                constants[..., members[spec].program.blocks.index(block)],
                title=f"{spec}, block {block}",
                xlabel=name,
                label=f"|coefficient of h^{power} in {block}|, RMS",
            )
        for ax in axes[len(panels) :]:
            ax.remove()
    return figure


def constants_figure(members: Integrators) -> Figure:
    """One panel per block: the leading constants of several schemes over time, root mean square over draws of z_t."""
    made = common_deterministic_process(members)
    times, values = _constants_by_time(made, members)
    with figures.style():
        figure = figures.new_figure(8.0, 3.8 * len(made.blocks))
        for b, (ax, block) in enumerate(
            zip(np.atleast_1d(figure.subplots(len(made.blocks))), made.blocks, strict=True)
        ):
            figures.constants_over_time(
                ax,
                times,
                {spec: found[:, b] for spec, found in values.items()},
                title=f"Leading constant of the one-step error in {block} on {made.name}",
                ylabel=f"|coefficient of h^(order + 1) in {block}|, RMS",
            )
    return figure


def _constant_map(spec: str, integrator: ia.Integrator) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The parameter's name, its values (n), times (m) and constants (m, n, blocks)."""
    if integrator.stochastic:
        raise ia.InputError(f"{spec} is stochastic; the heat map shows constants of deterministic schemes")
    names = {p.name: p for p in integrator.program.parameters}
    if "lambda" in names:
        name, values = "lambda", np.array(LAMBDAS)
        family = [_with_lambda(integrator.local_error, names["lambda"], v) for v in values]
    elif {"Gamma", "nu"} <= set(names):
        name, values = "Gamma", np.array(GAMMAS)
        apart = float(integrator.process.parameters[names["nu"]] - integrator.process.parameters[names["Gamma"]])
        family = [ia.derive(spec, Gamma=g, nu=g + apart).local_error for g in values]
    else:
        raise ia.InputError(
            f"{spec} has no parameter lambda or Gamma to draw over; try a lambda-DDIM or a scheme on psld"
        )
    times = np.array(MAP_TIMES) * integrator.process.t_max
    columns = []
    for error in family:
        problem = MixtureProblem(error.program.process)
        laws = [problem.nodes(x, MAP_NODES, MAP_TOLERANCE) for x in times]
        columns.append(np.sqrt(_mean_squares(error, problem, times, laws)))
    return name, values, times, np.stack(columns, axis=1)


def _with_lambda(error: LocalError, symbol: sympy.Symbol, value: float) -> LocalError:
    """The same terms with another number for lambda: the terms keep it as a symbol."""
    parameters = {**error.program.parameters, symbol: sympy.Rational(value)}
    return replace(error, program=replace(error.program, parameters=parameters))


def constants_pictures(
    output: Path, process: str, members: Integrators, certificates: Mapping[str, Certificate]
) -> dict[str, str]:
    blocks = next(iter(members.values())).program.blocks
    values = {
        block: [
            np.abs(certificates[spec].evidence.get(f"errors[{block}]", {}).get("constants_derived", [np.nan])).max()
            for spec in members
        ]
        for block in blocks
    }
    with figures.style():
        figure = figures.new_figure(7.5, 0.5 + 0.45 * len(members))
        figures.error_constants(
            figure.subplots(), list(members), values, title=f"Leading local error constants on {process}"
        )
    caption = f"{process}: the derived coefficient of h^2, largest of eight states of the mixture, at {TIMES} of t_max."
    return save_picture(output, figure, f"error_constants_{process}", caption)


def constants_over_time_pictures(output: Path, process: str, members: Integrators) -> list[dict[str, str]]:
    """Root mean square of the derived constants over draws of z_t, as the sampler walks from prior to data."""
    made = next(iter(members.values())).process
    times, found = _constants_by_time(made, members)
    out = []
    for b, block in enumerate(made.blocks):
        with figures.style():
            figure = figures.new_figure(8.0, 4.4)
            figures.constants_over_time(
                figure.subplots(),
                times,
                {spec: values[:, b] for spec, values in found.items()},
                title=f"Leading constant of the one-step error in {block} on {process}",
                ylabel=f"|coefficient of h^(order + 1) in {block}|, RMS over z_t",
            )
        caption = (
            f"{process}, block {block}: the derived coefficient of h^(order + 1) over diffusion time, root mean square "
            f"of {CONSTANT_POINTS} draws of z_t from the mixture. Among schemes of one order, this is what ranks them."
        )
        out.append(save_picture(output, figure, f"constants_over_time_{process}_{block}", caption))
    return out


def _constants_by_time(made: ia.Process, members: Integrators) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times (m), and per scheme the root mean squares (m, blocks) of the leading constants there."""
    problem, times = MixtureProblem(made), np.array(CONSTANT_TIMES) * made.t_max
    laws = [(problem.sample(CONSTANT_POINTS, x, SEED), np.full(CONSTANT_POINTS, 1 / CONSTANT_POINTS)) for x in times]
    return times, {spec: np.sqrt(_mean_squares(i.local_error, problem, times, laws)) for spec, i in members.items()}


def _mean_squares(
    error: LocalError, problem: MixtureProblem, times: np.ndarray, laws: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Means (m, blocks) of the squared leading constants over states with weights, one set for each time."""
    field, blocks = problem.field(error.program.unknown), error.program.blocks

    def squares(z: np.ndarray, time: float) -> list[float]:
        values = error.evaluate(list(z), float(time), field, digits=CONSTANT_DIGITS)
        return [values[block] ** 2 for block in blocks]

    return np.array(
        [w @ np.array([squares(z, time) for z in states]) for time, (states, w) in zip(times, laws, strict=True)]
    )
