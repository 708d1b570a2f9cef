"""A process from the table of a text file: blocks, drift, diffusion, schedule, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from integrator_analysis.algebra.matrices import is_zero
from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError, as_float
from integrator_analysis.language.expression import kind_of, read_expression
from integrator_analysis.language.scheme_file import check_lowering
from integrator_analysis.language.toml_table import MAX_ENTRY_TERMS, MAX_PARAMETERS, TomlTable
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS, parametrisation
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily
from integrator_analysis.processes.equation import assumptions
from integrator_analysis.processes.process_checks import check_name, check_parameter_name, check_process

PROCESS_KEYS = (
    "name",
    "title",
    "source",
    "blocks",
    "parameters",
    "schedule",
    "clock",
    "drift",
    "diffusion",
    "initial_covariance",
    "prior_covariance",
    "t_max",
    "t_min",
    "network",
)


@dataclass(frozen=True)
class _ProcessTable:
    """A [process] table whose types are checked; its expressions are read anew for each choice of parameters."""

    name: str
    title: str
    source: str
    blocks: tuple[str, ...]
    numbers: Mapping[str, float]
    dependent: Mapping[str, str]
    matrices: Mapping[str, list[Any]]
    times: Mapping[str, str]
    network: str

    def build(self, t_max: sympy.Rational, t_min: sympy.Rational, **numbers: sympy.Rational) -> Process:
        """The process for these parameters. Raises InputError for values off their domain."""
        names, values = self._parameters(numbers)
        matrices = {key: self._matrix(key, names) for key in self.matrices}
        drift, diffusion, prior = (matrices[key] for key in ("drift", "diffusion", "prior_covariance"))
        balance = drift * prior + prior * drift.T + diffusion
        made = Process(
            name=self.name,
            title=self.title,
            blocks=self.blocks,
            drift_per_unit=drift,
            diffusion_per_unit=diffusion,
            **self._schedule({**names, "t": t}),
            initial_covariance=matrices["initial_covariance"],
            stationary_covariance=prior if all(is_zero(entry) for entry in balance) else None,
            prior_covariance=prior,
            parameters=values,
            t_max=float(t_max),
            t_min=float(t_min),
            source=self.source,
            network=self.network,
        )
        check_process(made)
        parametrisation(self.network, made)
        return made

    def _parameters(
        self, numbers: Mapping[str, sympy.Rational]
    ) -> tuple[dict[str, sympy.Symbol], dict[sympy.Symbol, sympy.Expr]]:
        """Symbols by name, and their values: the numbers given, then what is stated in terms of them."""
        exact: dict[str, sympy.Expr] = dict(numbers)
        for name, text in self.dependent.items():
            exact[name] = read_expression(text, exact, f"parameter {name}")
        names = {name: sympy.Symbol(name, **assumptions(value)) for name, value in exact.items()}
        return names, {names[name]: value for name, value in exact.items()}

    def _matrix(self, key: str, names: Mapping[str, sympy.Expr]) -> sympy.Matrix:
        """The k x k matrix of a key, its entries read in the parameters' names."""
        k, rows = len(self.blocks), self.matrices[key]
        if len(rows) != k or any(not isinstance(row, list) or len(row) != k for row in rows):
            raise InputError(
                f"{key} of process {self.name} is not a {k} x {k} matrix; {k} block(s) need {k} list(s) of {k}"
            )
        return sympy.Matrix(k, k, lambda i, j: read_expression(rows[i][j], names, f"{key}[{i}][{j}]", MAX_ENTRY_TERMS))

    def _schedule(self, names: Mapping[str, sympy.Expr]) -> dict[str, sympy.Expr]:
        """beta(t) and its integral."""
        read = {key: read_expression(text, names, key) for key, text in self.times.items()}
        if "clock" in read:
            if not is_zero(read["clock"].subs(t, 0)):
                raise InputError(
                    f"clock = {self.times['clock']!r} is not 0 at t = 0; it is the integral of beta from 0"
                )
            return {"schedule": read.get("schedule", read["clock"].diff(t)), "integrated": read["clock"]}
        return {"schedule": read["schedule"], "integrated": _integrate(read["schedule"], self.times["schedule"])}


def _integrate(schedule: sympy.Expr, text: str) -> sympy.Expr:
    """The integral of beta from 0 to t, term by term: powers, exponentials, sines and cosines of a + b t."""
    total = sympy.S.Zero
    for term in sympy.Add.make_args(sympy.expand_mul(schedule)):
        constant, rest = term.as_independent(t, as_Add=False)
        parts = [rest] if _antiderivative(rest) is not None else sympy.Add.make_args(sympy.expand(rest))
        for part in parts:
            factor, power = part.as_independent(t, as_Add=False)
            primitive = _antiderivative(power)
            if primitive is None:
                raise InputError(
                    f"schedule = {text!r}: the integral of {part} is not known here; give clock, the integral from 0"
                )
            total += constant * factor * (primitive - primitive.subs(t, 0))
    return total


def _antiderivative(e: sympy.Expr) -> sympy.Expr | None:
    """An antiderivative in t of a power, an exponential, a sine or a cosine of a + b t; None for anything else."""
    if not e.has(t):
        return e * t
    power = e.exp if e.is_Pow and not e.exp.has(t) else sympy.S.One
    table = {sympy.exp: sympy.exp, sympy.sin: lambda z: -sympy.cos(z), sympy.cos: sympy.sin}
    inner = e.args[0] if e.func in table else e.base if e.is_Pow else e
    slope = inner.diff(t)
    if slope.has(t):
        return None
    if e.func in table:
        return table[e.func](inner) / slope
    if power != -1:
        return inner ** (power + 1) / ((power + 1) * slope)
    ratio = inner / inner.subs(t, 0)  # one at t = 0; the logarithm is that of something that falls, as kernels need it
    return -sympy.log(1 / ratio) / slope if slope.is_positive else sympy.log(ratio) / slope


def read_process(table: TomlTable) -> ProcessFamily:
    """The family that a [process] table describes, its published parameters checked."""
    name = table.get("name", str)
    check_name(name, "process")
    if name in FAMILIES:
        raise InputError(f"a process named {name!r} is known already; choose another name")
    blocks = table.get("blocks", list, ["x"])
    if not all(isinstance(block, str) for block in blocks):
        raise InputError(f'blocks in [process] is {blocks!r:.60}; accepted: one or two letters, such as ["x", "m"]')
    numbers, dependent = _read_parameters(table, blocks)
    if "schedule" not in table and "clock" not in table:
        raise InputError("[process] has neither a schedule, beta(t), nor a clock, its integral from 0; give one")
    matrices = {key: table.get(key, list) for key in ("drift", "diffusion", "initial_covariance", "prior_covariance")}
    text = _ProcessTable(
        name=name,
        title=table.label("title", name),
        source=table.label("source", "a text file"),
        blocks=tuple(blocks),
        numbers=numbers,
        dependent=dependent,
        matrices=matrices,
        times={key: table.get(key, str) for key in ("schedule", "clock") if key in table},
        network=table.one_of("network", PARAMETRISATIONS, "eps"),
    )
    defaults: dict[str, float | None] = {
        **numbers,
        "t_max": table.number("t_max", 1.0),
        "t_min": table.number("t_min", 1e-3),
    }
    family = ProcessFamily(name, text.title, defaults, text.build)
    check_lowering(Conjugate(), family())
    return family


def _read_parameters(table: TomlTable, blocks: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """The parameters that are numbers, and the texts of those that are stated in terms of them."""
    declared = table.get("parameters", dict, {})
    if len(declared) > MAX_PARAMETERS:
        raise InputError(f"[process.parameters] has {len(declared)} parameters; accepted: at most {MAX_PARAMETERS}")
    numbers: dict[str, float] = {}
    dependent: dict[str, str] = {}
    for name, value in declared.items():
        check_parameter_name(name, tuple(blocks))
        if isinstance(value, str):
            dependent[name] = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[name] = as_float(value, name)
        else:
            raise InputError(
                f"parameter {name} is {kind_of(value)}; a number is needed, or text in the other parameters"
            )
    return numbers, dependent
