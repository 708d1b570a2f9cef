"""Specs: the text that names a scheme on a process. A small grammar of our own; text from outside is never evaluated.

    spec    := process [ "(" options ")" ] "/" ( scheme | word ) [ "(" options ")" ] [ "+" word [ "(" options ")" ] ]
    options := option { "," option };  option := name "=" value | flag
    value   := number | product;       product := atom { "*" atom };  atom := number | name | call
    call    := name "(" number { "," number } ")"

Examples: psld/RVV, psld(Gamma=0.02, nu=4.02)/RVV, vp/conjugate(B=lambda*I, lambda=0.3), psld/OBA(reduced),
psld/B(1/4) A(1/2) B(1/2) A(1/2) B(1/4)(reduced, exact), vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0).

A word is a splitting (words.py has its grammar); the name of a scheme that reads like a word is that scheme. Options of
a splitting: the flags naive or reduced (where the word does not place its evaluations) and euler or exact; with O also
noise= the strength kappa, lambda_s= and reading= factor, exponent or mid-time. What is left out is naive, euler, 1, 1,
factor.

``conjugate`` composes a conjugation with a base method: B= 0, lambda*I, lambda*ones or lambda*diag(a, b), in which a
number may stand for lambda, or table, a matrix for every step that the sampler is given; lambda= its strength, base= a
name in BASES of catalogue/tableaux.py, variable= what the base method measures a step in (t, rho, log-SNR), predict=
the network output that it sees (eps, x0, ...). What is left out is B=0, base=Euler, the base's own variable,
predict=eps.
``conjugate(B=..., meaning=...)+word`` composes a conjugation with a splitting: meaning= each (every sub-flow is
conjugated, the default) or whole (the transformed ODE is split).
A table of numbers (betas of ddpm) has no text here: it is a keyword argument in Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from integrator_analysis.catalogue import SCHEMES, Scheme
from integrator_analysis.catalogue.tableaux import BASES
from integrator_analysis.inputs import InputError, Parameter, as_float, as_table, did_you_mean
from integrator_analysis.language.grammar import MAX_LENGTH, Parser, Part, check_text, read_number
from integrator_analysis.methods.base_methods import VARIABLES, Interpolatory, RungeKutta
from integrator_analysis.methods.conjugate_splitting import MEANINGS, ConjugateSplitting
from integrator_analysis.methods.conjugation.b_matrix import FAMILY_NAMES, has_strength, is_family
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.splitting.splitting import FLOWS, POLICIES, Splitting
from integrator_analysis.methods.splitting.words import canonical, placed
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS
from integrator_analysis.processes import FAMILIES, Process, ProcessFamily, process

__all__ = ["Spec", "parse"]

CONJUGATE_OPTIONS = ("B", "lambda", "base", "variable", "predict")

CONJUGATE_SPLITTING_OPTIONS = ("B", "lambda", "meaning")

SPLITTING_OPTIONS = {"noise": "noise", "lambda_s": "scale", "reading": "reading"}


@dataclass(frozen=True)
class Spec:
    """A parsed spec: the process, the scheme, and the spec's canonical text, as which it prints and reads back."""

    text: str
    process: Process
    scheme: Scheme

    def __str__(self) -> str:
        return self.text


Value = float | tuple[sympy.Rational, ...]
"""Of a process parameter, as it is read: a number, or a table of exact decimals."""


def parse(text: str, **parameters: Parameter) -> Spec:
    """Read a spec; keyword ``parameters`` go to the process or, if named lambda_, to the scheme.

    A parameter that is a table (betas of ddpm) takes a sequence of numbers, by keyword alone; None leaves out one that
    may be left out. Raises InputError for text outside the grammar, unknown names, unusable values, or a canonical text
    that is too long to be read back.

    >>> parse("vp/conjugate(predict=x0, variable=log-SNR, base=AB2)").text
    'vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0)'
    """
    check_text(text)
    left, right, split = Parser(text).spec()
    if left.name not in FAMILIES:
        raise did_you_mean(left.name, FAMILIES, "process")
    if left.flags:
        raise InputError(f"process option {left.flags[0]!r} in {text!r} needs a value: name=number")
    family = FAMILIES[left.name]
    strength = as_float(parameters.pop("lambda_"), "lambda_") if "lambda_" in parameters else None
    values = {name: _read_parameter(family, name, value) for name, value in left.options.items()}
    for name, value in parameters.items():
        if value is not None or family.defaults.get(name, 0.0) is not None:
            values[name] = as_table(value, name) if name in family.tables else as_float(value, name)
    scheme = _make_conjugate_splitting(right, split, strength) if split else _make_scheme(right, text, strength)
    made = process(left.name, **values)
    canonical_text = _write_spec(family, values, scheme.name)
    if len(canonical_text) > MAX_LENGTH:
        raise InputError(
            f"spec {text[:80]!r} has {len(canonical_text)} characters written out; at most {MAX_LENGTH} are read"
        )
    return Spec(canonical_text, made, scheme)


def _read_parameter(family: ProcessFamily, name: str, text: str) -> Value:
    """The number that the text of a process option spells. Raises InputError for a parameter that is a table."""
    if name in family.tables:
        raise InputError(
            f"parameter {name} of process {family.name} is a table of numbers, which a spec cannot hold; pass it from "
            f"Python: {name}=[...]"
        )
    return read_number(name, text)


def _write_spec(family: ProcessFamily, values: Mapping[str, Value], scheme: str) -> str:
    """The canonical text: options in alphabetical order, without those that have the family's own values."""
    changed = {k: _write_value(v) for k, v in values.items() if v != family.defaults[k]}
    options = ", ".join(f"{k}={changed[k]}" for k in sorted(changed))
    return f"{family.name}({options})/{scheme}" if options else f"{family.name}/{scheme}"


def _write_value(value: Value) -> str:
    """A number as it reads back; a table by its fingerprint, which tells tables apart and is refused when read."""
    if isinstance(value, float):
        return repr(value)
    return "table-" + hashlib.sha256(" ".join(map(str, value)).encode()).hexdigest()[:8]


def _make_scheme(part: Part, text: str, strength: float | None) -> Scheme:
    """The scheme that is named after the slash: a composed conjugation, a word, or an entry of the catalogue.

    ``strength`` is lambda where it was given as a keyword argument.
    """
    if part.name == "conjugate":
        return _make_conjugate(part, strength)
    if part.word:
        if strength is not None:
            raise InputError(f"scheme {part.name} has no lambda; lambda-DDIM-I, lambda-DDIM-II and conjugate have one")
        word = canonical(part.name)
        split, options = _make_splitting(part, Splitting(word), () if placed(word) else POLICIES)
        name = f"{word}({', '.join(options)})" if options else word
        return Scheme(name, split, (), f"Splitting word {name}.", "user")
    if part.name not in SCHEMES:
        raise did_you_mean(part.name, [*SCHEMES, "conjugate"], "scheme")
    scheme = SCHEMES[part.name]
    if isinstance(scheme.method, Splitting) and strength is None:
        split, options = _make_splitting(part, scheme.method)
        return replace(scheme, name=f"{scheme.name}({', '.join(options)})", method=split) if options else scheme
    values = {name: read_number(name, value) for name, value in part.options.items()}
    if strength is not None:
        values["lambda"] = strength
    if part.flags or set(values) - {"lambda"} or (values and not _has_strength(scheme)):
        accepted = "lambda=number" if _has_strength(scheme) else "no options"
        raise InputError(f"scheme {part.name} in {text!r} accepts {accepted}")
    if not values or values["lambda"] == scheme.method.strength:  # type: ignore[attr-defined]
        return scheme
    method = replace(scheme.method, strength=values["lambda"])  # type: ignore[type-var]
    return replace(scheme, name=f"{scheme.name}(lambda={values['lambda']!r})", method=method)


def _has_strength(scheme: Scheme) -> bool:
    """Whether a scheme has a lambda that a spec may set."""
    return isinstance(scheme.method, Conjugate | ConjugateSplitting) and has_strength(scheme.method.B)


def _make_conjugate_splitting(part: Part, split: Part, strength: float | None) -> Scheme:
    """The scheme of ``conjugate(...)+word``: the options of ``part`` on the word of ``split``."""
    if part.name != "conjugate" or not split.word:
        raise InputError(f"{part.name} + {split.name}: accepted is conjugate(...)+word, with a splitting word")
    _check_options(part, CONJUGATE_SPLITTING_OPTIONS, "B=0 or B=lambda*I and the like, lambda=number, meaning=name")
    family, value = _read_family(part, strength)
    meaning = _read_choice(part, "meaning", MEANINGS, "each")
    word = canonical(split.name)
    splitting, written = _make_splitting(split, Splitting(word, flow="exact"), () if placed(word) else POLICIES)
    options = [f"B={family}", *([f"lambda={value!r}"] if has_strength(family) else [])]
    options += [f"meaning={meaning}"] if meaning != "each" else []
    name = f"conjugate({', '.join(options)})+{word}" + (f"({', '.join(written)})" if written else "")
    summary = f"Splitting word {word}, conjugated with B = {family}."
    return Scheme(name, ConjugateSplitting(splitting, family, value, meaning), (), summary, "user")


def _check_options(part: Part, known: Sequence[str], accepted: str) -> None:
    """Raise InputError for a flag or for an option that is not ``known``; ``accepted`` says what would be."""
    unknown = (*part.flags, *(name for name in part.options if name not in known))
    if unknown:
        raise InputError(f"{part.name} has no option {unknown[0]!r}; accepted: {accepted}")


def _make_conjugate(part: Part, strength: float | None) -> Scheme:
    """The scheme of ``conjugate(...)``: a base method on the ODE transformed with B."""
    accepted = "B=0 or B=lambda*I and the like, lambda=number, base=name, variable=name, predict=name"
    _check_options(part, CONJUGATE_OPTIONS, accepted)
    family, value = _read_family(part, strength)
    base = _read_base(part)
    predict = _read_choice(part, "predict", PARAMETRISATIONS, "eps")
    method = Conjugate(family, strength=value, base=base, parametrisation=predict)
    named = part.options.get("base", "Euler")
    chosen = {"base": named, "variable": base.variable, "predict": predict}
    usual = {"base": "Euler", "variable": BASES[named].variable, "predict": "eps"}
    options = [f"B={family}", *([f"lambda={value!r}"] if has_strength(family) else [])]
    options += [f"{key}={chosen[key]}" for key in chosen if chosen[key] != usual[key]]
    summary = f"Conjugate {named} with B = {family}" + (f" on the {predict} prediction." if predict != "eps" else ".")
    return Scheme(f"conjugate({', '.join(options)})", method, (), summary, "arXiv 2310.07894, section 3.1")


def _read_family(part: Part, strength: float | None) -> tuple[str, float]:
    """B as the name of its family, and lambda, for which a number may stand in B itself."""
    family = part.options.get("B", "0")
    named = "lambda" in part.options or strength is not None
    head, star, tail = family.partition("*")
    literal = star and head != "lambda"
    if literal:
        family = f"lambda*{tail}"
    if not is_family(family):
        raise InputError(
            f"B = {part.options['B']!r} is not a known family; accepted: {FAMILY_NAMES}, or a number for lambda"
        )
    if named != (has_strength(family) and not literal):
        needs = "has no lambda to set" if named else "needs lambda=number"
        raise InputError(f"conjugate(B={part.options.get('B', '0')}) {needs}")
    text = head if literal else part.options.get("lambda", "0")
    return family, read_number("B" if literal else "lambda", text) if strength is None else strength


def _read_base(part: Part) -> Interpolatory | RungeKutta:
    """The base method, measured in the variable that was asked for."""
    name = _read_choice(part, "base", BASES, "Euler")
    base = BASES[name]
    if "variable" not in part.options:
        return base
    variable = _read_choice(part, "variable", VARIABLES, base.variable)
    if isinstance(base, Interpolatory) and all(stage.through == (0,) for stage in base.stages):
        raise InputError(f"base {name} freezes one evaluation over the step, so it takes no variable; leave it out")
    return replace(base, variable=variable)


def _read_choice(part: Part, option: str, known: Collection[str], usual: str) -> str:
    """The name that an option has, ``usual`` if it is left out. Raises InputError unless it is ``known``."""
    name = part.options.get(option, usual)
    if name not in known:
        raise did_you_mean(name, known, f"{option} of conjugate")
    return name


def _make_splitting(part: Part, usual: Splitting, policies: tuple[str, ...] = ()) -> tuple[Splitting, list[str]]:
    """The splitting that the part's flags and options make of the ``usual`` one, and how they are written.

    ``policies`` are the score policies that a flag may choose; none where there is no choice.
    """
    kinds = {"policy": policies, "flow": FLOWS}
    changes: dict[str, str | float] = {}
    for flag in part.flags:
        kind = next((k for k, names in kinds.items() if flag in names), None)
        if kind is None or kind in changes:
            accepted = ", ".join((*kinds["policy"], *FLOWS))
            raise InputError(f"splitting {part.name} accepts one each of the flags {accepted}, not {flag!r}")
        changes[kind] = flag
    for option, text in part.options.items():
        if option not in SPLITTING_OPTIONS:
            raise did_you_mean(option, SPLITTING_OPTIONS, f"option of splitting {part.name}")
        changes[SPLITTING_OPTIONS[option]] = text if option == "reading" else read_number(option, text)
    method = replace(usual, **changes)  # type: ignore[arg-type]
    written: list[str] = [method.policy] if policies else []
    written += [method.flow] if method.flow != usual.flow else []
    for option, field in SPLITTING_OPTIONS.items():
        value = getattr(method, field)
        if value != getattr(usual, field):
            written.append(f"{option}={value if isinstance(value, str) else repr(value)}")
    return method, written
