"""Random specs, well spelled, badly spaced and nearly right: text and meaning are one, or one sentence says why not."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from integrator_analysis.catalogue.tableaux import BASES
from integrator_analysis.language.grammar import MAX_LENGTH
from integrator_analysis.language.spec import parse
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS
from tests.properties.test_words import random_word

RANDOM = st.randoms(use_true_random=True)  # one seed an example


def decimal(r: Random, value: float) -> str:
    """A number near ``value`` in one of the spellings of decimals."""
    number = value * r.uniform(0.9, 1.1)
    spelled = r.choice([f"{number:.3f}", f"{number:.4e}", repr(number), f"{number:+.2f}"])
    return r.choice([spelled, re.sub(r"^([+-]?)0\.", r"\1.", spelled)])


def options(r: Random, chosen: list[str]) -> str:
    r.shuffle(chosen)
    return f"({', '.join(chosen)})" if chosen else ""


def random_spec(r: Random) -> str:
    name = r.choice(sorted(ia.processes()))
    defaults = {key: value for key, value in ia.processes()[name].defaults.items() if isinstance(value, float)}
    named = r.sample(sorted(defaults), r.randint(0, min(2, len(defaults))))
    process = name + options(r, [f"{key}={decimal(r, defaults[key])}" for key in named])
    kinds = [_catalogued, _conjugate, _word, _conjugate_splitting]
    return f"{process}/{r.choice(kinds)(r, name)}"


def _catalogued(r: Random, process: str) -> str:
    scheme = r.choice([s for s in ia.catalogue().values() if process in s.processes] or [ia.catalogue()["vp/DDIM"]])
    return scheme.name + (f"(lambda={decimal(r, 0.5)})" if scheme.name.startswith("lambda") else "")


def _b(r: Random, process: str) -> list[str]:
    k = len(ia.process(process).blocks)
    family = r.choice(["I", "ones", f"diag({', '.join(decimal(r, 1.0) for _ in range(k))})"])
    return r.choice(
        [[], ["B=0"], [f"B={decimal(r, 0.3)}*{family}"], [f"B=lambda*{family}", f"lambda={decimal(r, -2)}"]]
    )


def _conjugate(r: Random, process: str) -> str:
    chosen = _b(r, process)
    if chosen in ([], ["B=0"]):
        base = r.choice(sorted(BASES))
        chosen = [*chosen, f"base={base}"]
        if base != "Euler" and r.random() < 0.5:
            chosen.append(f"variable={r.choice(['t', 'rho', 'log-SNR'])}")
    return "conjugate" + options(r, [*chosen, f"predict={r.choice(sorted(PARAMETRISATIONS))}"])


def _word(r: Random, process: str) -> str:
    return random_word(r, r.choice(["AB", "ABO", "SO", "SL"]), True, True).text


def _conjugate_splitting(r: Random, process: str) -> str:
    meaning = [f"meaning={r.choice(['each', 'whole'])}"] * r.randint(0, 1)
    word = random_word(r, r.choice(["AB", "ABO"]), False, True).text
    return f"conjugate{options(r, [*_b(r, process), *meaning])} + {word}"


def spaced(r: Random, text: str) -> str:
    return re.sub(r"\s*([(),=*@\[\]])\s*", lambda m: " " * r.randint(0, 2) + m[1] + " " * r.randint(0, 2), text)


def read(text: str) -> object:
    """The spec; None where one sentence refuses it."""
    try:
        return parse(text)
    except ia.InputError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 3000
    return None


@settings(max_examples=200)
@given(RANDOM)
def test_every_spec_is_its_text(r: Random) -> None:
    """Read back, with other spaces too: the same process, the same scheme field by field, the same text."""
    text = random_spec(r)
    spec = read(text)
    if spec is None:  # a word that the scheme cannot take, a text that is too long
        return
    again = parse(str(spec))
    assert again == spec
    assert again.process.content == spec.process.content
    assert len(spec.text) <= MAX_LENGTH
    other = spaced(r, text)
    assert len(other) > MAX_LENGTH or parse(other) == spec


def test_most_random_specs_are_read() -> None:
    found = [read(random_spec(Random(seed))) for seed in range(100)]
    assert sum(spec is not None for spec in found) > 60
    assert len({type(spec.scheme.method) for spec in found if spec}) >= 3


@settings(max_examples=12)
@given(RANDOM)
def test_a_spec_is_derived_from_its_text(r: Random) -> None:
    text = random_spec(r)
    try:
        first = ia.derive(text)
    except ia.InputError:
        return
    second = ia.derive(first.spec)
    assert second.spec == first.spec
    assert second.network_program.terms_hash == first.network_program.terms_hash


def test_what_could_not_be_read_back_is_refused() -> None:
    """Written out, factors have a space between them."""
    text = "psld/" + "B(1/12)A(1/12)" * 12 + "(exact, reduced)"
    assert len(text) <= MAX_LENGTH
    with pytest.raises(ia.InputError, match=f"written out; at most {MAX_LENGTH} are read"):
        parse(text)


# nearly right
TOKEN = re.compile(r"[A-Za-z_][\w-]*|[\d.]+|.")


def nearly(r: Random) -> str:
    """Two specs with one to three changes at the borders of their tokens: dropped, doubled, exchanged, mixed."""
    tokens, others = (TOKEN.findall(random_spec(r)) for _ in range(2))
    for _ in range(r.randint(1, 3)):
        at = r.randrange(len(tokens))
        change = r.choice(["drop", "double", "exchange", "take", "splice"])
        if change == "drop":
            del tokens[at]
        elif change == "double":
            tokens.insert(at, tokens[at])
        elif change == "exchange":
            to = r.randrange(len(tokens))
            tokens[at], tokens[to] = tokens[to], tokens[at]
        elif change == "take":
            tokens[at] = r.choice(others)
        else:
            tokens[at:] = others[r.randrange(len(others)) :]
        tokens = tokens or ["/"]
    return "".join(tokens)


@settings(max_examples=250)
@given(RANDOM.map(nearly))
def test_nearly_right_specs_are_read_or_refused(text: str) -> None:
    spec = read(text)
    assert spec is None or parse(str(spec)) == spec


def test_some_nearly_right_specs_are_read_and_most_are_not() -> None:
    read_ones = sum(read(nearly(Random(seed))) is not None for seed in range(200))
    assert 0 < read_ones < 100
