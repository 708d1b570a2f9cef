"""The command `integrator-analysis`: every reading of a spec, from the shell.

Knows the options and how to print; does no mathematics. Rooms are imported inside the commands, so that --help is
quick. Exit status: 0 done, 1 a verification failed, 2 unusable arguments (one line on stderr).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from integrator_analysis.report.pictures.kinds import KINDS

if TYPE_CHECKING:
    from integrator_analysis.integrator import Integrator
    from integrator_analysis.language.text_file import Loaded
    from integrator_analysis.verification.certificate import Certificate

__all__ = ["app", "main"]

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Spec = Annotated[str, typer.Argument(help="a scheme on a process: psld/RVV, vp/conjugate(B=lambda*I, lambda=0.3)")]

Specs = Annotated[list[str], typer.Argument(help="one or more specs, such as psld/RVV vp/DDIM")]

Json = Annotated[bool, typer.Option("--json", help="print the facts as JSON")]

Output = Annotated[Path, typer.Option("--output", "-o", help="the file to write")]

Files = Annotated[list[Path], typer.Option("--file", help="a TOML file with a process or a scheme; repeatable")]

Set = Annotated[list[str], typer.Option("--set", help="a parameter, NAME=NUMBER, such as Gamma=0.02; repeatable")]

FORMATS_HELP = "module, diffusers, k-diffusion or torch-export; see docs/export.md"


def main() -> None:
    """Run the command and exit with its status."""
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):  # older versions of typer raise, newer ones return the status
        status = INTERRUPTED
    except (ValueError, FloatingPointError) as error:
        _refuse(str(error))  # InputError and the runtime's refusals: one sentence each
    except ArithmeticError as error:
        _refuse(f"{type(error).__name__}: {error}; parameters nearer to the published ones are likely to be accepted")
    except OSError as error:
        where = error.filename or "the output"
        _refuse(f"cannot use {where}: {error.strerror or error}; give a path in an existing, writable folder")
    except Exception as error:
        # Usage errors of typer, whose class moved between its versions; anything else keeps its traceback.
        if not hasattr(error, "format_message"):
            raise
        _refuse(error.format_message() or "a command is needed; see --help")
    if status == INTERRUPTED:
        print("interrupted; what was finished is on disk", file=sys.stderr)
    sys.exit(status or 0)


def _refuse(message: str) -> NoReturn:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(UNUSABLE)


def _derive(spec: str, settings: list[str] | None = None, budget: float | None = None) -> Integrator:
    import integrator_analysis as ia
    from integrator_analysis.analysis.accuracy.cost import BUDGET

    known = {"lambda", "lambda_"}.union(*(family.defaults for family in ia.processes().values()))
    parameters = {}
    for setting in settings or []:
        name, separator, value = setting.partition("=")
        if separator and name not in known:
            raise ia.InputError(f"--set {setting!r}: no parameter {name!r}; known: {', '.join(sorted(known))}")
        try:
            parameters["lambda_" if name == "lambda" else name] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise ia.InputError(f"--set {setting!r} is not NAME=NUMBER, such as Gamma=0.02")
    return ia.derive(spec, budget=BUDGET if budget is None else budget, **parameters)


def _load(files: list[Path]) -> list[Loaded]:
    """Register what the files hold."""
    import integrator_analysis as ia

    return [ia.load_text(path) for path in files]


def _dump(facts: Any) -> None:
    print(json.dumps(facts, indent=2))


@app.command("list")
def list_(files: Files = [], as_json: Json = False) -> None:  # noqa: B006
    """The named schemes, by spec; with --file those that the files add."""
    import integrator_analysis as ia
    from torch_backend import load

    if files:
        derived = [ia.derive(spec) for loaded in _load(files) for spec in loaded.specs]
        facts = [(i.spec, i.order, i.stochastic, i.nfe_per_step, i.scheme.summary) for i in derived]
    else:  # the kept sources state what was derived
        kept = [(scheme.summary, load(spec)) for spec, scheme in ia.catalogue().items()]
        facts = [(k.spec, k.order, k.stochastic, k.nfe_per_step, summary) for summary, k in kept]
    rows = [dict(zip(("spec", "order", "stochastic", "nfe_per_step", "summary"), row, strict=True)) for row in facts]
    if as_json:
        return _dump(rows)
    from rich.console import Console
    from rich.table import Table

    table = Table("spec", "order", "NFE per step", "what it is")
    for row in rows:
        order = f"{row['order']} (weak)" if row["stochastic"] else str(row["order"])
        table.add_row(str(row["spec"]), order, str(row["nfe_per_step"]), str(row["summary"]))
    return Console().print(table)


@app.command()
def derive(
    spec: Spec,
    files: Files = [],  # noqa: B006 (typer reads the default)
    settings: Set = [],  # noqa: B006
    form: Annotated[str, typer.Option("--format", help="text, markdown (with LaTeX) or html (with MathML)")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write it to this file")] = None,
    budget: Annotated[float | None, typer.Option(help="seconds that a derivation may be expected to take")] = None,
    as_json: Json = False,
) -> None:
    """Derive a scheme: process, transformed ODE, propagator, weights, update, order and leading local error."""
    from integrator_analysis.derivation.document import RENDERERS
    from integrator_analysis.derivation.facts import facts_of
    from integrator_analysis.files import write_text
    from integrator_analysis.inputs import did_you_mean

    if form not in RENDERERS:
        raise did_you_mean(form, RENDERERS, "format of a derivation")
    if output is not None:
        _check_target(output)
    _load(files)
    integrator = _derive(spec, settings, budget)
    document = json.dumps(facts_of(integrator), indent=2) + "\n" if as_json else RENDERERS[form](integrator.derivation)
    if output is None:
        print(document, end="")
    else:
        print(write_text(output, document))


@app.command()
def verify(
    specs: Annotated[list[str] | None, typer.Argument(help="specs; all of the catalogue if none")] = None,
    files: Files = [],  # noqa: B006
    output: Annotated[Path | None, typer.Option("--output", "-o", help="folder: certificates and claims.md")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="keep those in the folder that still hold")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="processes")] = 1,
    device: Annotated[str, typer.Option(help="where steps are made: cpu, cuda")] = "cpu",
    html: Annotated[Path | None, typer.Option("--html", help="a .html file: the certificates as a page")] = None,
    thorough: Annotated[
        float | None, typer.Option(min=0.0, help="seconds for each scheme: go on with other times, pasts and states")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of what --thorough draws")] = 0,
    remeasure: Annotated[
        Path | None, typer.Option(help="a certificate's file: are its numbers those of a new measurement?")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the generated source of schemes against every derived claim; exit 1 if one fails."""
    from rich.console import Console
    from rich.progress import track

    import integrator_analysis as ia
    from integrator_analysis.files import write_text
    from integrator_analysis.report.certificates import certificates, certificates_page, claims_table
    from integrator_analysis.verification.environment import describe_device

    if output is not None and not output.is_dir():
        raise ia.InputError(f"{output} is not a folder; make it first, or name another")
    if resume and output is None:
        raise ia.InputError("--resume takes up certificates that are in a folder; name it with --output")
    if html is not None:
        _check_target(html, ".html")
    describe_device(device)
    _load(files)
    if remeasure is not None:
        if specs or output or html or thorough is not None:
            raise ia.InputError("--remeasure is about one file; leave specs, --output, --html and --thorough out")
        _remeasure(remeasure)
        return
    if thorough is not None and output is not None:
        raise ia.InputError("--thorough is a search, and its certificates are not kept; leave --output out")
    chosen = [_derive(spec).spec for spec in specs] if specs else list(ia.catalogue())
    found = []
    console = Console(stderr=True)
    work = certificates(chosen, files, output, resume, jobs, device)
    if thorough is not None:
        work = (_derive(spec).verify(device=device, thorough=thorough, seed=seed) for spec in chosen)
    quiet = not console.is_terminal
    for certificate in track(work, "verifying", len(chosen), console=console, transient=True, disable=quiet):
        found.append(certificate)
    if output is not None:
        write_text(output / "claims.md", claims_table(found))
    if html is not None:
        write_text(html, certificates_page(found))
    if as_json:
        _dump([certificate.as_dict() for certificate in found])
    else:
        _print_claims(found)
    if not all(certificate.passed for certificate in found):
        raise typer.Exit(FAILED)


def _remeasure(path: Path) -> None:
    """Measure the source of a certificate's file again; say so where it holds what is found."""
    from integrator_analysis.verification.certificate import Certificate
    from integrator_analysis.verification.remeasure import check_again

    certificate = Certificate.load(path)
    integrator = _derive(certificate.spec)
    found = check_again(certificate, integrator, integrator.source, path)
    _print_claims([found])
    if not found.passed:
        raise typer.Exit(FAILED)


def _print_claims(found: Sequence[Certificate]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("scheme", "claim", "derived", "measured", "error", "tolerance", "verdict")
    for certificate in found:
        for c in certificate.claims:
            numbers = (_short(c.derived), _short(c.measured), f"{c.error:.1e}", f"{c.tolerance:.0e}")
            verdict = "passed" if c.passed else "FAILED"
            table.add_row(*map(escape, (certificate.spec, c.name, *numbers, verdict)))
    Console().print(table)
    if len(found) == 1:
        Console().print(escape(found[0].coverage))


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@app.command()
def plot(
    kind: Annotated[str, typer.Argument(help="what to draw: " + ", ".join(KINDS))],
    specs: Specs,
    files: Files = [],  # noqa: B006
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a .png; KIND.png if not given")] = None,
    svg: Annotated[bool, typer.Option(help="write the same picture as .svg too")] = False,
    n: Annotated[
        int | None, typer.Option("--samples", "-n", min=2, help="digits per scheme, for work-precision")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="steps of the time grid, for spectrum")] = None,
    grid: Annotated[
        str | None, typer.Option(help="time grid, for spectrum, evaluations and work-precision; else the scheme's own")
    ] = None,
) -> None:
    """Draw what analysis finds of schemes: stability, order stars, convergence, error constants, work and precision."""
    from integrator_analysis import figures
    from integrator_analysis.inputs import did_you_mean

    if kind not in KINDS:
        raise did_you_mean(kind, KINDS, "kind of plot")
    options = {"samples": n, "steps": steps, "grid": grid}
    given = {name: value for name, value in options.items() if value is not None}
    target = output or Path(f"{kind}.png")
    _check_target(target, ".png")
    _load(files)
    integrators = {spec: _derive(spec) for spec in specs}
    for path in figures.save(KINDS[kind].draw(integrators, **given), target, svg=svg):
        print(path)


def _check_target(path: Path, *endings: str) -> None:
    """Refuse an output that cannot be written, or has none of the ``endings``, before the work is done, not after."""
    import os

    from integrator_analysis.inputs import InputError

    if endings and path.suffix not in endings:
        raise InputError(f"{path.name!r} does not say what to write; give a name that ends in {' or '.join(endings)}")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}; give a file name in an existing, writable folder")


@app.command()
def export(
    spec: Spec,
    output: Output,
    form: Annotated[str, typer.Option("--format", help=FORMATS_HELP)] = "module",
    files: Files = [],  # noqa: B006
    settings: Set = [],  # noqa: B006
    steps: Annotated[int | None, typer.Option(help="steps, the last to no noise, for torch-export")] = None,
    grid: Annotated[str | None, typer.Option(help="time grid, for torch-export; else the scheme's own")] = None,
) -> None:
    """Write a standalone sampler that carries its certificate's claims and hash; exit 1 if a claim fails."""
    from integrator_analysis.inputs import InputError

    _check_target(output)
    if steps is None and grid is not None:
        raise InputError(f"--grid {grid} lays no grid without --steps; give both, or neither for the default")
    _load(files)
    try:
        integrator = _derive(spec, settings)
        times = None if steps is None else integrator.to_torch().times(steps, grid)
        print(integrator.export(output, format=form, times=times))
    except ArithmeticError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(FAILED) from error


@app.command()
def sample(
    spec: Spec,
    output: Output,
    files: Files = [],  # noqa: B006
    steps: Annotated[int, typer.Option(help="steps, the last of them to no noise")] = 25,
    n: Annotated[int, typer.Option("--samples", "-n", min=1, help="how many digits")] = 64,
    seed: Annotated[int, typer.Option(help="seed of the initial and of the step noise")] = 0,
    grid: Annotated[str | None, typer.Option(help="time grid; else the scheme's own")] = None,
) -> None:
    """Sample digits with the exact score: a picture (.png) or an array (.npy)."""
    import numpy as np

    from integrator_analysis import figures
    from integrator_analysis.report.digits import sample_digits
    from integrator_analysis.report.pictures.digits import sample_figure

    _check_target(output, ".png", ".npy")
    _load(files)
    integrator = _derive(spec)
    title = f"{spec}, {steps} steps, {grid or integrator.to_torch().grid} grid"
    images = sample_digits(integrator, n=n, steps=steps, grid=grid, seed=seed, progress=True)
    if output.suffix == ".npy":
        partial = output.with_name(f".{output.name}.partial")
        with partial.open("wb") as stream:
            np.save(stream, images)
        partial.replace(output)
    else:
        figures.save(sample_figure(images, title), output)
    print(title)
    print(output)


@app.command("cache")
def cache_(
    clear: Annotated[bool, typer.Option("--clear", help="remove all entries")] = False,
    as_json: Json = False,
) -> None:
    """Where derivations are kept between runs, how many, and their size."""
    from integrator_analysis import cache

    removed = cache.clear() if clear else 0
    used = cache.usage()
    where = None if used.folder is None else str(used.folder)
    if as_json:
        return _dump({"folder": where, "entries": used.entries, "bytes": used.size, "removed": removed})
    if clear:
        print(f"{removed} entries removed")
    print(f"{where or f'nothing is kept: {cache.VARIABLE} is empty'}: {used.entries} entries, {used.size / 1e6:.1f} MB")
    return None


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="write nothing; exit 1 if a file would change")] = False,
) -> None:
    """Bring torch_backend/generated to what the catalogue derives."""
    from integrator_analysis.report.generate import differences, generated_folder, generated_sources, write_generated

    sources = generated_sources()
    changed = differences(generated_folder(), sources) if check else write_generated(generated_folder(), sources)
    for name in changed:
        print(name)
    if check and changed:
        raise typer.Exit(FAILED)


@app.command()
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder to write")] = Path("build/report"),
    renew: Annotated[
        bool, typer.Option("--renew", help="bring the checkout's reports/ and docs/catalogue.md up to date as well")
    ] = False,
) -> None:
    """Derive, verify, draw, sample digits: writes index.html and what it links; exit 1 if a claim fails."""
    from rich.console import Console

    from integrator_analysis.inputs import InputError
    from integrator_analysis.report.build import build_report
    from integrator_analysis.report.renewal import checkout

    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give the name of a folder")
    if not build_report(output, Console(stderr=True), renewed=checkout() if renew else None):
        raise typer.Exit(FAILED)
