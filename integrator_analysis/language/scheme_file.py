"""A scheme from the table of a text file: a splitting word or a conjugation with its base method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.catalogue import SCHEMES, Scheme
from integrator_analysis.catalogue.tableaux import BASES
from integrator_analysis.inputs import InputError, did_you_mean
from integrator_analysis.language.expression import kind_of, read_expression
from integrator_analysis.language.toml_table import MAX_ENTRY_TERMS, MAX_STAGES, MAX_THROUGH, TomlTable
from integrator_analysis.methods.base_methods import EULER, VARIABLES, Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.b_matrix import FAMILY_NAMES, has_strength, is_family
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.method import Method
from integrator_analysis.methods.splitting.splitting import FLOWS, POLICIES, READINGS, Splitting
from integrator_analysis.methods.splitting.words import WORD, canonical
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily
from integrator_analysis.processes.process_checks import UNDERIVABLE

SCHEME_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,39}")


def check_lowering(method: Method, process: Process) -> None:
    """Raise InputError unless ``method`` can be derived on ``process``."""
    try:
        method.lower(process)
    except InputError:
        raise
    except UNDERIVABLE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"no step can be derived on process {process.name} ({reason})") from error


COMPOSED_KEYS = ("B", "lambda", "predict", "variable", "base", "stages", "tableau", "mend")

SPLIT_KEYS = ("word", "policy", "flow", "noise", "lambda_s", "reading")

SCHEME_KEYS = ("name", "summary", "source", "processes", *SPLIT_KEYS, *COMPOSED_KEYS)


def read_scheme(table: TomlTable, family: ProcessFamily | None) -> Scheme:
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
    method: Method = _read_splitting(table) if "word" in table else _read_conjugate(table)
    for process in processes:
        made = family() if family is not None and process == family.name else FAMILIES[process]()
        check_lowering(method, made)
    return Scheme(
        name,
        method,
        tuple(processes),
        table.label("summary", "A scheme of a text file."),
        table.label("source", "user"),
    )


def _read_splitting(table: TomlTable) -> Splitting:
    """The splitting of a [scheme] that has a word."""
    return Splitting(
        canonical(table.get("word", str)),
        table.one_of("policy", POLICIES, "naive"),  # type: ignore[arg-type]
        table.one_of("flow", FLOWS, "euler"),  # type: ignore[arg-type]
        table.number("noise", 1.0),
        table.number("lambda_s", 1.0),
        table.one_of("reading", READINGS, "factor"),  # type: ignore[arg-type]
    )


def _read_conjugate(table: TomlTable) -> Conjugate:
    """The conjugation of a [scheme] that has no word."""
    alone = [key for key in SPLIT_KEYS if key in table]
    if alone:
        raise InputError(f"[scheme] has {alone[0]} and no word; it belongs to a splitting")
    b = _read_matrix(table.data.get("B", "0"))
    needs = has_strength(b)
    if ("lambda" in table) != needs:
        raise InputError(f"[scheme] has B = {b!s:.60}, which {'needs lambda' if needs else 'has no lambda to set'}")
    strength = table.number("lambda", 0.0)
    return Conjugate(b, strength, _read_base(table), table.one_of("predict", PARAMETRISATIONS, "eps"))


def _read_matrix(value: object) -> str | sympy.ImmutableMatrix:
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


def _read_base(table: TomlTable) -> Interpolatory | RungeKutta:
    """The base method: a named one, stages, or a tableau."""
    given = [key for key in ("base", "stages", "tableau") if key in table]
    if len(given) > 1:
        raise InputError(f"[scheme] has {' and '.join(given)}; a base method is one of them")
    mend = _read_integers(table.get("mend", list), "mend") if "mend" in table else ()
    if mend and given != ["stages"]:
        raise InputError("[scheme] has mend, which corrects a polynomial through evaluations; give its stages")
    if given == ["tableau"]:
        variable = table.one_of("variable", VARIABLES, "t")
        return _read_tableau(table.table("tableau", ("a", "b")), variable)
    if given == ["stages"]:
        return Interpolatory(_read_stages(table.get("stages", list)), table.one_of("variable", VARIABLES, "t"), mend)
    base = BASES[table.one_of("base", BASES, "Euler")]
    if "variable" not in table:
        return base
    if base == EULER:
        raise InputError("[scheme] freezes one evaluation over the step, so it takes no variable; leave it out")
    return replace(base, variable=table.one_of("variable", VARIABLES, base.variable))


def _read_stages(rows: Sequence[object]) -> tuple[Stage, ...]:
    """The stages of an interpolatory method, one table each."""
    if not 1 <= len(rows) <= MAX_STAGES:
        raise InputError(f"[scheme] has {len(rows)} stages; accepted: 1 to {MAX_STAGES}")
    stages = []
    for n, row in enumerate(rows):
        table = TomlTable(row, f"stage {n + 1}", ("share", "through", "rule"))
        share = _read_fraction(table.data.get("share", 1), f"share of stage {n + 1}")
        through = _read_integers(table.get("through", list, [0]), f"through of stage {n + 1}")
        stages.append(Stage(share, through, table.get("rule", str, "integral")))
    return tuple(stages)


def _read_tableau(table: TomlTable, variable: str) -> RungeKutta:
    """A Runge-Kutta tableau from its rows ``a`` and weights ``b``."""
    rows, weights = table.get("a", list), table.get("b", list)
    if not 1 <= len(rows) <= MAX_STAGES or len(weights) > MAX_STAGES:
        raise InputError(
            f"the tableau has {len(rows)} rows a and {len(weights)} weights b; accepted: 1 to {MAX_STAGES}"
        )
    a = []
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) > MAX_STAGES:
            raise InputError(f"row {i + 1} of the tableau is {kind_of(row)}; a list of {i} fraction(s) is needed")
        a.append(tuple(_read_fraction(entry, f"a[{i}][{j}]") for j, entry in enumerate(row)))
    return RungeKutta(tuple(a), tuple(_read_fraction(w, f"b[{j}]") for j, w in enumerate(weights)), variable)


def _read_fraction(value: object, where: str) -> Fraction:
    """A fraction from a number or from text such as "1/2"."""
    number = read_expression(value, {}, where)
    if not number.is_Rational:
        raise InputError(f'{where} = {value!r:.60} is not a fraction, such as "1/2"')
    return Fraction(int(number.p), int(number.q))


def _read_integers(values: Sequence[object], where: str) -> tuple[int, ...]:
    """Evaluations by their numbers, as a few small integers."""
    whole = [v for v in values if isinstance(v, int) and not isinstance(v, bool) and abs(v) <= MAX_STAGES]
    if len(whole) < len(values) or not 1 <= len(whole) <= MAX_THROUGH:
        raise InputError(
            f"{where} is {values!r:.60}; accepted: 1 to {MAX_THROUGH} whole numbers, evaluations such as [0, -1]"
        )
    return tuple(whole)
