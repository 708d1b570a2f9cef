"""Processes and schemes as text: TOML files. The text in them is read by expression.py, never evaluated.

Knows the tables and keys of a file, and the types of what stands there; what a process or a scheme must satisfy is
checked where it is made.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import sympy

from integrator_analysis.algebra.matrices import is_zero
from integrator_analysis.base_methods import EULER, VARIABLES, Interpolatory, RungeKutta, Stage
from integrator_analysis.catalogue import SCHEMES, Scheme, register
from integrator_analysis.catalogue.bases import BASES
from integrator_analysis.catalogue.entry import Method
from integrator_analysis.conjugation import FAMILY_NAMES, Conjugate, has_strength, is_family
from integrator_analysis.document import read_utf8
from integrator_analysis.expression import MAX_LENGTH, kind_of, read_expression
from integrator_analysis.parametrisation import PARAMETRISATIONS, parametrisation
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily, register_process
from integrator_analysis.processes.base import as_float, assumptions
from integrator_analysis.processes.checks import UNDERIVABLE, check_name, check_parameter_name, check_process
from integrator_analysis.splitting import FLOWS, POLICIES, READINGS, Splitting
from integrator_analysis.symbols import InputError, did_you_mean, t
from integrator_analysis.words import WORD, canonical

__all__ = ["Loaded", "load_text", "read_text"]

MAX_FILE = 65_536
"""Bytes. The longest file that makes sense has a tenth of it."""
MAX_ENTRY_TERMS = 6
"""Terms of a matrix entry. Closed forms of the covariance multiply four of them."""
MAX_PARAMETERS, MAX_STAGES, MAX_THROUGH = 12, 8, 6

SCHEME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,39}")


# -- what a file holds -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Loaded:
    """What was read from one file and registered: names of processes and schemes, empty where it holds none."""

    process: str = ""
    scheme: str = ""
    processes: tuple[str, ...] = field(default=())

    @property
    def specs(self) -> tuple[str, ...]:
        """The file's scheme on the processes that it names, and the catalogue's schemes on the file's process."""
        own = [f"{name}/{self.scheme}" for name in self.processes if self.scheme]
        if not self.process:
            return tuple(own)
        made = FAMILIES[self.process]()
        alike = "vp" if len(made.blocks) == 1 else "psld"
        named = [scheme for scheme in SCHEMES.values() if alike in scheme.processes]
        fitting = [f"{self.process}/{scheme.name}" for scheme in named if _fits(scheme, made)]
        return tuple(dict.fromkeys(own + fitting))


def _fits(scheme: Scheme, process: Process) -> bool:
    try:
        scheme.method.lower(process)
    except InputError:
        return False
    return True


def load_text(path: str | Path) -> Loaded:
    """Register the process, the scheme or both that a TOML file holds, so that specs can name them in this session.

    Raises InputError, one sentence that begins with the file's name, for a file that cannot be read or used, and for a
    name that is taken; then nothing is registered.
    """
    text = read_utf8(path, MAX_FILE)
    try:
        return read_text(text)
    except InputError as error:
        raise InputError(f"{Path(path)}: {error}") from error


def read_text(text: str) -> Loaded:
    """``load_text`` for text that is at hand."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also numbers of more digits than Python converts
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InputError(f"not a TOML file: {reason[:200]}") from error
    top = _Table(data, "the file", ("process", "scheme"))
    if not data:
        raise InputError("the file holds neither a [process] nor a [scheme]")
    family = _process(top.table("process", PROCESS_KEYS)) if "process" in data else None
    scheme = _scheme(top.table("scheme", SCHEME_KEYS), family) if "scheme" in data else None
    if family is not None:
        register_process(family)
    if scheme is not None:
        register(scheme)
    return Loaded(family.name if family else "", scheme.name if scheme else "", scheme.processes if scheme else ())


T = TypeVar("T")


class _Table:
    """A TOML table whose keys are known and whose values are asked for by type."""

    def __init__(self, data: object, name: str, keys: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise InputError(f"{name} is {kind_of(data)}; a table is needed")
        self.data: dict[str, Any] = data
        self.name = name
        for key in data:
            if key not in keys:
                raise did_you_mean(key[:60], keys, f"key in {name}")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def table(self, key: str, keys: Sequence[str]) -> _Table:
        return _Table(self.data[key], f"[{key}]", keys)

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of ``key``, of type ``kind``. Raises InputError where it is missing without a default."""
        if key not in self.data:
            if default is None:
                raise InputError(f"{self.name} has no {key}; give one")
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{key} in {self.name} is {kind_of(value)}; {KINDS[kind]} is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.data.get(key, default)
        if value is None:
            raise InputError(f"{self.name} has no {key}; give one")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{key} in {self.name} is {kind_of(value)}; a number is needed")
        return as_float(value, key)

    def label(self, key: str, default: str | None = None) -> str:
        """One line of text without characters that would end a docstring."""
        text = self.get(key, str, default)
        if len(text) > MAX_LENGTH or not text.isprintable() or '"' in text or "\\" in text:
            raise InputError(
                f'{key} in {self.name} is not a line of at most {MAX_LENGTH} printable characters without " and \\'
            )
        return text

    def one_of(self, key: str, known: Collection[str], default: str) -> str:
        value = self.get(key, str, default)
        if value not in known:
            raise did_you_mean(value[:60], known, f"{key} in {self.name}")
        return value


KINDS: Mapping[type, str] = {str: "text", list: "a list", dict: "a table"}


# -- processes ---------------------------------------------------------------------------------------------------------
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
class _ProcessText:
    """A [process] table, its types checked, its expressions not yet read: they are, for each choice of parameters."""

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
        return {"schedule": read["schedule"], "integrated": _integral(read["schedule"], self.times["schedule"])}


def _integral(schedule: sympy.Expr, text: str) -> sympy.Expr:
    """The integral of beta from 0 to t, term by term: powers, exponentials, sines and cosines of a + b t."""
    total = sympy.S.Zero
    for term in sympy.Add.make_args(sympy.expand_mul(schedule)):
        constant, rest = term.as_independent(t, as_Add=False)
        parts = [rest] if _primitive(rest) is not None else sympy.Add.make_args(sympy.expand(rest))
        for part in parts:
            factor, power = part.as_independent(t, as_Add=False)
            primitive = _primitive(power)
            if primitive is None:
                raise InputError(
                    f"schedule = {text!r}: the integral of {part} is not known here; give clock, the integral from 0"
                )
            total += constant * factor * (primitive - primitive.subs(t, 0))
    return total


def _primitive(e: sympy.Expr) -> sympy.Expr | None:
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


def _process(table: _Table) -> ProcessFamily:
    """The family that a [process] table describes, its published parameters checked."""
    name = table.get("name", str)
    check_name(name, "process")
    if name in FAMILIES:
        raise InputError(f"a process named {name!r} is known already; choose another name")
    blocks = table.get("blocks", list, ["x"])
    if not all(isinstance(block, str) for block in blocks):
        raise InputError(f'blocks in [process] is {blocks!r:.60}; accepted: one or two letters, such as ["x", "m"]')
    numbers, dependent = _declared(table, blocks)
    if "schedule" not in table and "clock" not in table:
        raise InputError("[process] has neither a schedule, beta(t), nor a clock, its integral from 0; give one")
    matrices = {key: table.get(key, list) for key in ("drift", "diffusion", "initial_covariance", "prior_covariance")}
    text = _ProcessText(
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
    _lower(Conjugate(), family())
    return family


def _lower(method: Method, process: Process) -> None:
    """Raise InputError unless ``method`` can be derived on ``process``."""
    try:
        method.lower(process)
    except InputError:
        raise
    except UNDERIVABLE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"no step can be derived on process {process.name} ({reason})") from error


def _declared(table: _Table, blocks: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """The parameters that are numbers, and those that are stated in terms of them."""
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


# -- schemes -----------------------------------------------------------------------------------------------------------
COMPOSED_KEYS = ("B", "lambda", "predict", "variable", "base", "stages", "tableau", "mend")
SPLIT_KEYS = ("word", "policy", "flow", "noise", "lambda_s", "reading")
SCHEME_KEYS = ("name", "summary", "source", "processes", *SPLIT_KEYS, *COMPOSED_KEYS)


def _scheme(table: _Table, family: ProcessFamily | None) -> Scheme:
    """The scheme that a [scheme] table describes."""
    name = table.get("name", str)
    if not SCHEME_NAME.fullmatch(name) or WORD.fullmatch(name) or name == "conjugate":
        raise InputError(
            f"scheme {name[:60]!r} cannot have this name; accepted: up to 40 letters, digits and _ + -, a letter "
            "first, that are no splitting word"
        )
    if name in SCHEMES:
        raise InputError(f"a scheme named {name!r} is in the catalogue already; choose another name")
    known = [*FAMILIES, *([family.name] if family else [])]
    processes = table.get("processes", list, [family.name] if family else [])
    for process in processes:
        if process not in known:
            raise did_you_mean(str(process)[:60], known, "process in processes")
    mixed = [key for key in COMPOSED_KEYS if key in table]
    if any(key in table for key in SPLIT_KEYS) and mixed:
        raise InputError(f"[scheme] has a splitting's keys and {mixed[0]}; a scheme is a splitting or a conjugation")
    method: Method = _splitting(table) if "word" in table else _conjugate(table)
    for process in processes:
        made = family() if family is not None and process == family.name else FAMILIES[process]()
        _lower(method, made)
    return Scheme(
        name,
        method,
        tuple(processes),
        table.label("summary", "A scheme of a text file."),
        table.label("source", "user"),
    )


def _splitting(table: _Table) -> Splitting:
    return Splitting(
        canonical(table.get("word", str)),
        table.one_of("policy", POLICIES, "naive"),  # type: ignore[arg-type]
        table.one_of("flow", FLOWS, "euler"),  # type: ignore[arg-type]
        table.number("noise", 1.0),
        table.number("lambda_s", 1.0),
        table.one_of("reading", READINGS, "factor"),  # type: ignore[arg-type]
    )


def _conjugate(table: _Table) -> Conjugate:
    alone = [key for key in SPLIT_KEYS if key in table]
    if alone:
        raise InputError(f"[scheme] has {alone[0]} and no word; it belongs to a splitting")
    b = _b(table.data.get("B", "0"))
    needs = has_strength(b)
    if ("lambda" in table) != needs:
        raise InputError(f"[scheme] has B = {b!s:.60}, which {'needs lambda' if needs else 'has no lambda to set'}")
    strength = table.number("lambda", 0.0)
    return Conjugate(b, strength, _base(table), table.one_of("predict", PARAMETRISATIONS, "eps"))


def _b(value: object) -> str | sympy.ImmutableMatrix:
    """B: the name of a family, or a square matrix with entries in t."""
    if isinstance(value, str) and is_family(value):
        return value
    square = isinstance(value, list) and all(isinstance(row, list) and len(row) == len(value) for row in value)
    if not isinstance(value, list) or not square or not 1 <= len(value) <= 2:
        raise InputError(
            f"B = {value!r:.60} in [scheme] is not known; accepted: {FAMILY_NAMES} as text, or a matrix of "
            "the process's size with entries in t"
        )
    return sympy.ImmutableMatrix(
        [
            [read_expression(e, {"t": t}, f"B[{i}][{j}]", MAX_ENTRY_TERMS) for j, e in enumerate(row)]
            for i, row in enumerate(value)
        ]
    )


def _base(table: _Table) -> Interpolatory | RungeKutta:
    """The base method: a named one, stages, or a tableau."""
    given = [key for key in ("base", "stages", "tableau") if key in table]
    if len(given) > 1:
        raise InputError(f"[scheme] has {' and '.join(given)}; a base method is one of them")
    mend = _integers(table.get("mend", list), "mend") if "mend" in table else ()
    if mend and given != ["stages"]:
        raise InputError("[scheme] has mend, which corrects a polynomial through evaluations; give its stages")
    if given == ["tableau"]:
        variable = table.one_of("variable", VARIABLES, "t")
        return _tableau(table.table("tableau", ("a", "b")), variable)
    if given == ["stages"]:
        return Interpolatory(_stages(table.get("stages", list)), table.one_of("variable", VARIABLES, "t"), mend)
    base = BASES[table.one_of("base", BASES, "Euler")]
    if "variable" not in table:
        return base
    if base == EULER:
        raise InputError("[scheme] freezes one evaluation over the step, so it takes no variable; leave it out")
    return replace(base, variable=table.one_of("variable", VARIABLES, base.variable))


def _stages(rows: Sequence[object]) -> tuple[Stage, ...]:
    if not 1 <= len(rows) <= MAX_STAGES:
        raise InputError(f"[scheme] has {len(rows)} stages; accepted: 1 to {MAX_STAGES}")
    stages = []
    for n, row in enumerate(rows):
        table = _Table(row, f"stage {n + 1}", ("share", "through", "rule"))
        share = _fraction(table.data.get("share", 1), f"share of stage {n + 1}")
        through = _integers(table.get("through", list, [0]), f"through of stage {n + 1}")
        stages.append(Stage(share, through, table.get("rule", str, "integral")))
    return tuple(stages)


def _tableau(table: _Table, variable: str) -> RungeKutta:
    rows, weights = table.get("a", list), table.get("b", list)
    if not 1 <= len(rows) <= MAX_STAGES or len(weights) > MAX_STAGES:
        raise InputError(
            f"the tableau has {len(rows)} rows a and {len(weights)} weights b; accepted: 1 to {MAX_STAGES}"
        )
    a = []
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) > MAX_STAGES:
            raise InputError(f"row {i + 1} of the tableau is {kind_of(row)}; a list of {i} fraction(s) is needed")
        a.append(tuple(_fraction(entry, f"a[{i}][{j}]") for j, entry in enumerate(row)))
    return RungeKutta(tuple(a), tuple(_fraction(w, f"b[{j}]") for j, w in enumerate(weights)), variable)


def _fraction(value: object, where: str) -> Fraction:
    number = read_expression(value, {}, where)
    if not number.is_Rational:
        raise InputError(f'{where} = {value!r:.60} is not a fraction, such as "1/2"')
    return Fraction(int(number.p), int(number.q))


def _integers(values: Sequence[object], where: str) -> tuple[int, ...]:
    whole = [v for v in values if isinstance(v, int) and not isinstance(v, bool) and abs(v) <= MAX_STAGES]
    if len(whole) < len(values) or not 1 <= len(whole) <= MAX_THROUGH:
        raise InputError(
            f"{where} is {values!r:.60}; accepted: 1 to {MAX_THROUGH} whole numbers, evaluations such as [0, -1]"
        )
    return tuple(whole)
