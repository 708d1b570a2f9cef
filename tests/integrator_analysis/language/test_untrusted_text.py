"""Text from outside: whatever it is, it is read, or refused in one sentence; nothing in it runs or writes.

Cases are seeded mutations and assemblies of valid texts. The suite runs a few thousand; `--fuzz-cases 20000` runs that
many for each of the five readers.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import integrator_analysis as ia
from integrator_analysis import cli
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.language.spec import parse
from integrator_analysis.language.text_file import read_text
from integrator_analysis.methods.splitting.words import canonical
from integrator_analysis.processes import _FAMILIES
from integrator_analysis.verification.certificate import Certificate
from torch_backend.source import UncertifiedSourceWarning, warn_unless_certified

ROOT = Path(cli.__file__).parents[1]
PAYLOAD = "__import__('os').system('touch ran')"
ODD = [
    "",
    "\0",
    "\n",
    "\ud800",
    "é",
    "λ",
    '"',
    "'",
    "\\",
    "{",
    "[/x]",
    "%s",
    "..",
    "/",
    "~",
    "1e999",
    "-0",
    "nan",
    PAYLOAD,
]
WATCHED: dict[str, Any] = {"on": False, "seen": [], "folder": ""}


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """What no reader may do: start a program, compile the payload, open a file for writing outside the folder."""
    if not WATCHED["on"]:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if (
        event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename")
        or (event == "compile" and PAYLOAD in str(arguments[0]))
        or (writes and not str(arguments[0]).startswith(WATCHED["folder"]))
    ):
        WATCHED["seen"].append((event, arguments))


sys.addaudithook(watch)


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--fuzz-cases"))


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registries are as before, no event was seen, and the folder of the test holds what the test put there."""
    monkeypatch.chdir(tmp_path)
    schemes, families = dict(_SCHEMES), dict(_FAMILIES)
    WATCHED.update(on=True, seen=[], folder=str(tmp_path))
    yield
    WATCHED["on"] = False
    restore(schemes, families)
    assert WATCHED["seen"] == []
    assert not list(tmp_path.rglob("ran"))


def restore(schemes: dict[str, Any], families: dict[str, Any]) -> None:
    for registry, before in ((_SCHEMES, schemes), (_FAMILIES, families)):
        for name in set(registry) - set(before):
            del registry[name]  # type: ignore[attr-defined]


def damaged(text: str, generator: random.Random, pieces: list[str]) -> str:
    """``text`` with one to three edits: a piece put in, taken out, doubled or exchanged, a character changed."""
    for _ in range(generator.randint(1, 3)):
        a, b = sorted(generator.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + generator.choice([0, 1, 2, 8, 40]))
        text = text[:a] + generator.choice(["", "", text[a:b] * 2, generator.choice(pieces)]) + text[b:]
    return text


def refused_or(read: Callable[[], object]) -> object:
    """What ``read`` gives; None where it raised InputError with one printable line. Anything else is an error."""
    try:
        return read()
    except ia.InputError as error:
        said = str(error)
    assert "\n" not in said, repr(said)
    assert len(said) < 3000, repr(said)
    return None


PIECES = [
    *(
        "psld",
        "vp",
        "cld",
        "edm",
        "/",
        "(",
        ")",
        "=",
        ",",
        "*",
        "+",
        " ",
        "lambda",
        "B",
        "I",
        "ones",
        "diag",
        "0.3",
        "-1",
        "1/2",
    ),
    *(
        "conjugate",
        "RVV",
        "DDIM",
        "base",
        "AB2",
        "AB9",
        "variable",
        "log-SNR",
        "predict",
        "x0",
        "meaning",
        "whole",
        "table",
    ),
    *(
        "A",
        "B",
        "O",
        "S",
        "L",
        "BAB",
        "@0",
        "@1/2",
        "[2,-1]",
        "reduced",
        "naive",
        "exact",
        "noise",
        "reading",
        "lambda_s",
    ),
    *("Gamma", "nu", "M", "beta_max", "betas", "9" * 400, "1/0", "(((", *ODD),
]
SPECS = [
    "psld/RVV",
    "psld(Gamma=0.02, nu=4.02)/RVV",
    "vp/conjugate(B=lambda*I, lambda=0.3)",
    "vp/conjugate(B=0, base=AB2, variable=log-SNR, predict=x0)",
    "psld/A@0 B B@1/2[2,-1] A[2,-1](exact)",
    "psld/OBA(reduced, noise=0.5, lambda_s=1.1, reading=factor)",
    "psld/conjugate(B=lambda*diag(1, 2), lambda=0.1, meaning=whole)+BAB(reduced)",
    "psld/B(1/4) A(1/2) B(1/2) A(1/2) B(1/4)(reduced, exact)",
]


def test_specs(cases: int) -> None:
    generator = random.Random(1)
    read = 0
    for _ in range(cases):
        if generator.random() < 0.3:
            text = "".join(generator.choices(PIECES, k=generator.randint(1, 12)))
        else:
            text = damaged(generator.choice(SPECS), generator, PIECES)
        spec: Any = refused_or(lambda text=text: parse(text))
        if spec is not None:
            read += 1
            assert parse(spec.text).text == spec.text, text
    assert read > cases / 50


WORDS = [
    "BAB",
    "B(1/2) A B(1/2)",
    "OBABO",
    "A@0 B B@1/2[2,-1] A[2,-1]",
    "SOS",
    "LSL",
    "B(1/4) A(1/2) B(1/2) A(1/2) B(1/4)",
]


def test_words(cases: int) -> None:
    generator = random.Random(2)
    read = 0
    for _ in range(cases):
        text = damaged(generator.choice(WORDS), generator, [*"ABOSL()[]@/,- 0123", *ODD])
        word = refused_or(lambda text=text: canonical(text))
        if word is not None:
            read += 1
            assert canonical(str(word)) == word
    assert read > cases / 20


def test_text_files(cases: int) -> None:
    """Every example file, damaged; a file that is read may register one process and one scheme, nothing else."""
    generator = random.Random(3)
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.toml"))]
    pieces = [
        "t",
        "**",
        "exp(",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        "[process]\n",
        "[scheme]\n",
        "B = ",
        '"1/2"',
        "1e400",
        *ODD,
    ]
    schemes, families = dict(_SCHEMES), dict(_FAMILIES)
    for _ in range(cases // 10):  # a file that is read takes as long as fifty that are not
        text = damaged(generator.choice(texts), generator, pieces)
        loaded: Any = refused_or(lambda text=text: read_text(text))
        new = {*_SCHEMES} - {*schemes}, {*_FAMILIES} - {*families}
        assert all(len(names) <= (loaded is not None) for names in new), text
        restore(schemes, families)


def test_certificates_and_headers(cases: int, tmp_path: Path) -> None:
    generator = random.Random(4)
    saved = (ROOT / "tests" / "integrator_analysis" / "data" / "certificate.json").read_text(encoding="utf-8")
    source = (ROOT / "torch_backend" / "generated" / "vp_DDIM.py").read_text(encoding="utf-8")
    body = source.split('"""', 2)[2]
    pieces = [
        "null",
        "true",
        "-1",
        "{}",
        "[]",
        '"x"',
        ":",
        ",",
        "sha256:",
        '"""',
        "Body hash: sha256:" + 64 * "0",
        *ODD,
    ]
    path = tmp_path / "c.json"
    for n in range(cases):
        if n % 2:
            path.write_bytes(damaged(saved, generator, pieces).encode("utf-8", "surrogatepass"))
            loaded: Any = refused_or(lambda: Certificate.load(path))
            assert loaded is None or json.dumps(loaded.as_dict(), allow_nan=False)
            continue
        text = damaged(source, generator, pieces)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                warn_unless_certified(text, "a file")
            except (ValueError, UnicodeEncodeError):
                continue
        changed = text.split('"""', 2)[2] != body
        assert not changed or [w.category for w in said] == [UncertifiedSourceWarning]


COMMANDS = ["list", "derive", "verify", "plot", "export", "sample", "generate", "report", "deriv", ""]
OPTIONS = [
    "--json",
    "--file",
    "--set",
    "-o",
    "--output",
    "--format",
    "--steps",
    "-n",
    "--seed",
    "--grid",
    "--html",
    "--jobs",
    "--resume",
    "--check",
    "--svg",
    "-x",
]
VALUES = [
    "out.png",
    "out.html",
    "missing/out.py",
    ".",
    "module",
    "stability",
    "Gamma=0.02",
    "lambda=x",
    "=",
    "3",
    "-3",
    "9" * 30,
    "psld/RVV",
    *ODD,
]


def test_command_lines(cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any arguments: status 0 or 2, and for 2 one line on stderr; the command that would work long is cut off first."""

    def parsed(spec: str, **parameters: float) -> None:
        parse(spec, **parameters)
        raise ia.InputError("cut off")

    monkeypatch.setattr(ia, "derive", parsed)
    monkeypatch.setattr("integrator_analysis.report.certificates._verify_all", lambda specs, *_: map(parsed, specs))
    monkeypatch.setattr("integrator_analysis.report.generate.generated_sources", lambda *_: {})
    monkeypatch.setattr("integrator_analysis.report.build.build_report", lambda *_, **__: True)
    monkeypatch.setattr("integrator_analysis.report.generate.write_generated", lambda *_: [])
    monkeypatch.setattr("integrator_analysis.report.generate.differences", lambda *_: [])
    monkeypatch.setattr("torch_backend.load", lambda spec: parsed(spec))
    generator = random.Random(5)
    for _ in range(cases // 2):
        words = [generator.choice(COMMANDS) if generator.random() < 0.95 else generator.choice(ODD)]
        for _ in range(generator.randint(0, 5)):
            words.append(generator.choice([*SPECS, *OPTIONS, *OPTIONS, *VALUES]))
        status, err = run([w.replace("\0", "") for w in words])  # no argument holds a null byte
        assert status in (0, 2), (words, err)
        if status:
            assert len(err.splitlines()) == 1, (words, err)
            assert err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def run(words: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["integrator-analysis", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as left:
        return int(left.code or 0), err.getvalue()
    finally:
        sys.argv = argv
    raise AssertionError("the command did not exit")
