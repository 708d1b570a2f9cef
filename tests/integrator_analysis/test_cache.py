"""The cache on disk: what is kept is what was derived, a bad file is no answer, and another definition never hits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mpmath
import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis import cache, cli, properties
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.problems import MixtureProblem, WaveObservable
from integrator_analysis.catalogue import _SCHEMES
from integrator_analysis.inputs import InputError
from integrator_analysis.language.spec import Spec, parse
from integrator_analysis.methods.splitting.splitting import Splitting
from integrator_analysis.processes import _FAMILIES

ROOT = Path(cli.__file__).parents[1]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; what a test registers is gone after it."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kept"))
    kept = dict(_FAMILIES), dict(_SCHEMES)
    yield tmp_path / "kept"
    for table, before in zip((_FAMILIES, _SCHEMES), kept, strict=True):
        table.clear()
        table.update(before)


@pytest.fixture
def no_expansion(monkeypatch: pytest.MonkeyPatch):
    """From here on nothing is expanded: what is known comes from the cache."""

    def stop() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("expanded again")

        monkeypatch.setattr(properties, "derive_local_error", refuse)

    return stop


def key_of(spec: Spec) -> str | None:
    return cache.key_of(spec.process, spec.scheme.method)


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A child process that runs ``code``: its input stays open, its output is read here, and it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def files(store: Path) -> list[Path]:
    return sorted(store.glob("*.json"))


@pytest.mark.parametrize("spec", ["psld/RVV", "vp/DPM-Solver++2M", "psld(Gamma=0.02, nu=4.02)/ROBA"])
def test_a_warm_start_says_what_the_cold_one_said(spec: str, store: Path, no_expansion) -> None:
    cold = ia.derive(spec)
    facts = (cold.order, cold.local_error.text(), cold.local_error.latex(), cold.spectral_radius, cold.nfe_per_step)
    problem, k = MixtureProblem(cold.process), len(cold.process.blocks)
    z, time, field = (0.4, -0.3)[:k], 0.3, problem.field(cold.program.unknown)
    wave = WaveObservable((0.9, 0.6)[:k], 0.3) if cold.stochastic else None
    value = cold.local_error.evaluate(z, time, field, wave)
    assert len(files(store)) == 1
    no_expansion()
    warm = ia.derive(spec)
    error = warm.local_error
    assert (warm.order, error.text(), error.latex(), warm.spectral_radius, warm.nfe_per_step) == facts
    assert "program" not in vars(warm)  # nothing was lowered for it
    assert warm.stochastic == cold.stochastic
    assert error.evaluate(z, time, field, wave) == value
    assert error.sums == cold.local_error.sums
    assert error.terms_text() == cold.local_error.terms_text()
    assert error.leading == cold.local_error.leading
    assert replace(error, startup=not error.startup).text() == error.text()


def test_other_parameters_have_another_entry(store: Path) -> None:
    specs = ["vp/DDIM", "vp(beta_max=10)/DDIM", "vp/lambda-DDIM-I", "vp/lambda-DDIM-I(lambda=0.25)", "psld/DDIM"]
    tables = [ia.Integrator(parse("ddpm/DDIM", betas=betas)) for betas in ((0.1, 0.2), (0.1, 0.3))]
    keys = [key_of(parse(spec)) for spec in specs]
    keys += [key_of(parse("ddpm/DDIM", betas=betas)) for betas in ((0.1, 0.2), (0.1, 0.3))]
    assert None not in keys
    assert len(set(keys)) == len(keys) == len(specs) + len(tables)


@pytest.mark.parametrize("damage", ["cut", "foreign", "number", "changed", "other", "folder", "bytes", "long"])
def test_a_file_that_is_not_whole_is_ignored_and_replaced(damage: str, store: Path) -> None:
    text = ia.derive("vp/Euler").local_error.text()
    (path,) = files(store)
    whole = path.read_text()
    data = json.loads(whole)
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "bytes":
        path.write_bytes(b"\xff\xfe{")
    else:
        data["facts"]["text"] = {"x": "0"}
        path.write_text(
            {
                "cut": whole[: len(whole) // 2],
                "foreign": '{"name": "something else"}',
                "number": "3",
                "changed": json.dumps(data),
                "other": json.dumps(json.loads(whole) | {"key": "0" * 64}),
                "long": whole + " " * cache.MAX_ENTRY,
            }[damage]
        )
    again = ia.derive("vp/Euler")
    assert again.local_error.text() == text
    if damage != "folder":
        assert json.loads(path.read_text()) == json.loads(whole)


@dataclass(frozen=True)
class Own:
    """A method of the user's own code: its text is not known, so nothing is kept."""

    word: str

    def lower(self, process: ia.Process):
        return Splitting(self.word, "reduced").lower(process)


def test_a_scheme_of_the_same_name_and_other_content_never_hits(store: Path) -> None:
    found = []
    for word in ("BA", "AB", "BAB"):
        ia.register(ia.Scheme("mine", Splitting(word, "reduced"), ("psld",), "a test", "a test"))
        found.append(ia.derive("psld/mine").local_error.text())
        del _SCHEMES["mine"]
    assert found[0] != found[1] != found[2]
    assert found[2] == ia.derive("psld/RVV").local_error.text()  # the same content under another name does
    assert len(files(store)) == 3
    for word in ("AB", "BAB"):
        ia.register(ia.Scheme("mine", Own(word), ("psld",), "a test", "a test"))
        assert ia.derive("psld/mine").local_error.text() == found[1 + (word == "BAB")]
        del _SCHEMES["mine"]
    assert len(files(store)) == 3


def test_a_process_of_ones_own_is_known_by_its_content(store: Path) -> None:
    vp = ia.process("vp")

    class Slower(sympy.Function):
        """A function of the user's own code."""

    for factor, entries in ((2, 1), (3, 2)):
        own = replace(vp, schedule=vp.schedule * factor)
        assert key_of(replace(parse("vp/DDIM"), process=own)) is not None
        ia.Integrator(replace(parse("vp/DDIM"), process=own)).local_error.text()
        assert len(files(store)) == entries
    assert key_of(replace(parse("vp/DDIM"), process=replace(vp, schedule=Slower(t)))) is None


def test_an_edit_of_the_code_or_another_version_finds_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = ia.derive("vp/Euler").order
    cache.code_hash.cache_clear()
    monkeypatch.setattr(sympy, "__version__", "1.0")
    try:
        assert not cache.find(key_of(parse("vp/Euler"))).facts
    finally:
        cache.code_hash.cache_clear()


def test_no_module_that_derives_reads_one_that_the_key_leaves_out() -> None:
    """Drawings are not kept; properties.py keeps facts, and asks a spec for its parts and the printer for a name."""
    root = Path(cache.__file__).parent
    allowed = {("analysis", "figures")} | {("properties", room) for room in ("cache", "language", "codegen")}
    apart = {name.removesuffix(".py") for name in cache.APART}
    assert all((root / name).exists() for name in cache.APART)
    found = set()
    for path in root.rglob("*.py"):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        if room not in apart:
            read = re.findall(r"^ *(?:from|import) integrator_analysis\.(\w+)", path.read_text(), re.MULTILINE)
            found |= {(room, other) for other in read if other in apart}
    assert found == allowed


def test_without_a_usable_folder_everything_works(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    for name in ("", str(tmp_path / "file"), "/proc/none", str(tmp_path / "file" / "below")):
        monkeypatch.setenv(cache.VARIABLE, name)
        assert ia.derive("vp/Euler").order == 1
        assert cache.usage().entries == 0
    assert not store.exists()
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "integrator-analysis"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "integrator-analysis"


def test_the_oldest_entries_go_first_and_foreign_files_stay(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n:064x}" for n in range(4)]
    for n, name in enumerate(names):
        cache.Record(name, {}).keep(text="x" * 1000)
        os.utime(store / f"{name}.json", (n, n))
    (store / "notes.json").write_text("not ours")
    left = store / f".{names[0]}.json.abcd.partial"
    left.write_text("from an interrupted process")
    os.utime(left, (1, 1))
    monkeypatch.setattr(cache, "MAX_BYTES", 3000)
    cache.Record("f" * 64, {}).keep(text="x" * 1000)
    assert {p.stem for p in files(store)} == {"notes", names[3], "f" * 64}
    assert not left.exists()


WRITER = """
import select, sys
from integrator_analysis import cache
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    cache.Record("a" * 64, {}).keep(text="a" * 20000)
"""


def test_concurrent_writers_leave_one_whole_entry(store: Path) -> None:
    """While another process writes one text, this one writes another and reads: always one of the two, whole.

    The other process goes on until its input ends: until both texts were read here, and 200 were written.
    """
    rounds, seen = 0, set()
    with running(WRITER) as child:
        assert child.stdout.readline() == "ready\n"
        while rounds < 200 or len(seen) < 2:
            assert child.poll() is None
            cache.Record("a" * 64, {}).keep(text="b" * 20000)
            found = cache.find("a" * 64).facts["text"]
            assert found in ("a" * 20000, "b" * 20000)
            seen.add(found[0])
            rounds += 1
        child.stdin.close()
        assert child.wait() == 0
    assert [p.suffix for p in store.iterdir()] == [".json"]


CATALOGUE = """
import os, signal, sys
import integrator_analysis as ia

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of a shell's background
replace, done = os.replace, []

def replace_four(*paths):
    if len(done) == 4:
        print("writing", flush=True)
        sys.stdin.read()
    replace(*paths)

os.replace = replace_four
for spec in ia.catalogue():
    ia.derive(spec).local_error.text()
    done.append(spec)
    print(spec, flush=True)
"""


def test_an_interrupt_leaves_whole_entries(store: Path) -> None:
    """SIGINT while the fifth entry is written: what lies there is what was derived, and is read again.

    The child waits for its input when that entry is about to be renamed, so that the signal always finds it there.
    """
    with running(CATALOGUE) as child:
        done = [child.stdout.readline().strip() for _ in range(5)]
        assert done.pop() == "writing"
        child.send_signal(signal.SIGINT)
        assert child.wait() != 0
    for spec in done:
        assert cache.find(key_of(parse(spec))).facts["text"]
    assert len(files(store)) == 4
    assert all(cache.find(path.stem).facts for path in files(store))


def test_a_bad_spec_is_refused_at_once_and_leaves_nothing(store: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="phase-space"):
            ia.derive("vp/NSE")
    assert not store.exists()


def test_the_command_says_where_and_how_much_and_clears(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["integrator-analysis", "cache", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
        return capsys.readouterr().out

    _ = ia.derive("vp/Euler").order
    facts = json.loads(command("--json"))
    assert facts == {"folder": str(store), "entries": 1, "bytes": files(store)[0].stat().st_size, "removed": 0}
    assert str(store) in command()
    assert json.loads(command("--clear", "--json"))["removed"] == 1
    assert not files(store)


def test_an_error_is_evaluated_at_any_precision_after_a_warm_start(no_expansion) -> None:
    """The coefficient of h**2 of DDIM on a linear eps, in 30 digits: polynomials are kept as exact rationals."""
    _ = ia.derive("vp/DDIM").order
    no_expansion()
    warm = ia.derive("vp/DDIM")
    value = warm.local_error.evaluate([0.3], 0.4, lambda z, time: [z[0] * time + 2])["x"]
    # -(h^2/2) eta eps' with eps' = d_t eps + d_x eps (L x + eta eps), L = -beta/2, eta = beta / (2 sigma)
    beta = mpmath.mpf("0.1") + mpmath.mpf("19.9") * mpmath.mpf("0.4")
    clock = mpmath.mpf("0.04") + mpmath.mpf("9.95") * mpmath.mpf("0.16")
    x, time, eta = mpmath.mpf("0.3"), mpmath.mpf("0.4"), beta / (2 * mpmath.sqrt(1 - mpmath.exp(-clock)))
    slope = x + time * (-beta / 2 * x + eta * (x * time + 2))
    assert value == pytest.approx(float(-eta * slope / 2), rel=1e-13)
