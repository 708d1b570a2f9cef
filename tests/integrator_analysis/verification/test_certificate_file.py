"""Saved certificates: the schema, what is refused and in which words, the source they are about, and their page."""

from __future__ import annotations

import copy
import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import integrator_analysis as ia
from integrator_analysis import files
from integrator_analysis.inputs import InputError
from integrator_analysis.report.certificates import certificates_page, claims_table
from integrator_analysis.verification.certificate import Certificate, Claim, schema

SPECS = ("vp/DDIM", "psld/RVV", "vp/SDE-DPM-Solver++2M")


@cache
def certificate(spec: str = "vp/DDIM") -> Certificate:
    return ia.verify(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_certificates_follow_the_published_schema(spec: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(certificate(spec).as_dict(), schema())


def test_a_failed_certificate_follows_it_too() -> None:
    source = ia.derive("vp/DDIM").source
    for broken in (
        source.replace("def step(", "def no_step("),
        source.replace("decay_x * x", "float('nan') * x"),
        "x = 1",
    ):
        failed = ia.derive("vp/DDIM").verify(source=broken)
        assert not failed.passed
        jsonschema.validate(failed.as_dict(), schema())


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    loaded = Certificate.load(certificate().save(tmp_path / "c.json"))
    assert loaded.as_dict() == certificate().as_dict()
    assert loaded.passed
    broken = ia.derive("vp/DDIM").verify(source="x = 1")
    assert not Certificate.load(broken.save(tmp_path / "d.json")).passed


def test_the_environment_and_the_window_are_in_it() -> None:
    evidence = certificate().evidence
    assert set(evidence["versions"]) == {"integrator-analysis", "python", "torch", "sympy", "numpy", "scipy"}
    errors = evidence["errors[x]"]
    first, last = errors["window"]
    slopes = errors["slopes"][first : last - 1]
    assert max(slopes) - min(slopes) <= 0.05  # consecutive slopes agree there
    low, high = errors["slope_interval"]
    assert low <= min(slopes) <= max(slopes) <= high
    assert low < 2 < high
    assert high - low < 0.2
    assert all(error <= errors["rounding_floor"] for error in errors["largest_error"][last:])


@pytest.mark.parametrize("spec", SPECS)
def test_every_term_of_the_leading_error_is_in_it(spec: str) -> None:
    error = ia.derive(spec).local_error
    recorded = certificate(spec).evidence["local_error"]
    assert {block: entry["exponent"] for block, entry in recorded.items()} == error.exponents
    assert {block: entry["terms"] for block, entry in recorded.items()} == {
        block: [str(term) for term in terms] for block, terms in error.terms.items()
    }
    assert all(entry["count"] == len(entry["terms"]) > 0 for entry in recorded.values())


def test_an_older_certificate_without_these_terms_is_read(tmp_path: Path) -> None:
    path = save_changed(tmp_path, lambda d: d["evidence"].pop("local_error"))
    assert Certificate.load(path).claims == Certificate.load(certificate().save(tmp_path / "new.json")).claims


def test_a_certificate_that_lacks_a_claim_proves_nothing(tmp_path: Path) -> None:
    """Whichever claim was taken out of a file, of those that all certificates of its kind make."""
    names = [entry["name"] for entry in certificate().as_dict()["claims"]]
    optional = ("predicted_data", "rows[data_weights]", "exact[", "gaussian_walk[", "mixture_walk[")
    for name in names:
        path = save_changed(tmp_path, lambda d, n=name: d.update(claims=[c for c in d["claims"] if c["name"] != n]))
        if name.startswith(optional):
            Certificate.load(path)
            continue
        with pytest.raises(InputError, match=rf"lacks the claim\(s\) {re.escape(name)}, so that it proves nothing"):
            Certificate.load(path)
    assert {"order[x]", "constant[x]", "gaussian_map", "stated_facts"} <= set(names)


def save_changed(tmp_path: Path, change: Any) -> Path:
    data = copy.deepcopy(certificate().as_dict())
    change(data)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data))
    return path


REFUSED = {
    "no claims": (lambda d: d.update(claims=[]), "claims of the certificate has 0 entries; at least 1"),
    "unknown entry": (
        lambda d: d.update(verdict="good"),
        "has an entry 'verdict' that is not known; known: format, spec",
    ),
    "missing entry": (
        lambda d: d["claims"][0].pop("tolerance"),
        "entry 0 of claims of the certificate has no tolerance",
    ),
    "text for a number": (lambda d: d["claims"][1].update(error="0"), 'is "0"; number or null is needed'),
    "bool for a number": (lambda d: d["evidence"].update(seed=True), "is true; integer is needed"),
    "negative error": (lambda d: d["claims"][1].update(error=-1.0), "is -1.0; at least 0 is needed"),
    "no hash": (lambda d: d["evidence"].update(source_hash="sha256:0"), "'sha256:0'; text of the form"),
    "another format": (lambda d: d.update(format=2), "format of the certificate is 2; 1 is needed"),
    "forged verdict": (lambda d: d["claims"][2].update(error=1e9), "its verdicts are not those of its errors"),
    "forged whole": (lambda d: d.update(passed=False), "its verdicts are not those of its errors"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_document_that_is_no_certificate_is_one_sentence(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(ia.InputError) as raised:
        Certificate.load(save_changed(tmp_path, change))
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "c.json"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a JSON document"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1e999}', "beyond float64"),
        (b'{"a": ' + b"9" * 5000 + b"}", "beyond float64"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (files.MAX_FILE + 1), "more than"),
        (b"[]", "the certificate is an array; object is needed"),
    ],
)
def test_text_that_is_no_document_is_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(data)
    with pytest.raises(ia.InputError, match=message):
        Certificate.load(path)


@pytest.mark.parametrize("path", ["no/such.json", ".", "a\0b"])
def test_a_path_that_cannot_be_read_is_one_sentence(path: str) -> None:
    with pytest.raises(ia.InputError, match=r"no such file|cannot be read"):
        Certificate.load(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A certificate in which one value, anywhere, was replaced, removed or given a neighbour."""
    data = copy.deepcopy(certificate().as_dict())
    place: Any = data
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    change = draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        place[key] = draw(JSON)
    elif change == "remove":
        del place[key]
    elif isinstance(place, dict):
        place[draw(st.text(max_size=4))] = draw(JSON)
    return data


@settings(max_examples=300)
@given(damaged())
def test_the_reader_refuses_what_the_schema_refuses(data: Any) -> None:
    """Two readers of one schema: this project's, which the package carries, and the jsonschema package."""
    valid = jsonschema.Draft202012Validator(schema()).is_valid(data)
    try:
        files.check(data, schema())
    except ia.InputError:
        assert not valid
    else:
        assert valid


def test_the_source_is_the_certified_one_to_the_byte() -> None:
    source = ia.derive("vp/DDIM").source
    certificate().check_source(source)
    header, body = source.split('"""', 2)[1:]
    certificate().check_source(f'"""Another header."""{body}')
    spot = body.index("decay_x * x")
    for changed in (body[:spot] + "decay_x *  x" + body[spot + 11 :], body.replace("0.1", "0.2", 1), body + "\n"):
        with pytest.raises(ia.InputError, match="the code is not the code that was certified"):
            certificate().check_source(f'"""{header}"""{changed}')
    with pytest.raises(ia.InputError, match="must begin with a docstring"):
        certificate().check_source("x = 1")


def test_the_page_shows_every_claim() -> None:
    shown = certificates_page([certificate(spec) for spec in SPECS])
    for spec in SPECS:
        assert f"<h2>{spec}: " in shown
        for claim in certificate(spec).claims:
            assert html.escape(claim.name, quote=True) in shown
            assert f"{claim.error:.1e}" in shown
        assert certificate(spec).evidence["source_hash"] in shown
        assert all(version in shown for version in certificate(spec).evidence["versions"].values())
    assert "failed" not in shown


def test_everything_on_the_page_and_in_the_table_is_escaped() -> None:
    evil = "<script>alert('x')</script>|\n"
    claim = Claim(evil, evil, evil, float("inf"), 0.0, evil)
    forged = Certificate(evil, (claim,), {**certificate().evidence, "problem": evil, "device": evil})
    shown = certificates_page([forged])
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("failed") == 2
    rows = claims_table([forged]).splitlines()
    assert len(rows) == 3
    assert rows[2].replace("\\|", "").count("|") == rows[1].count("|")
