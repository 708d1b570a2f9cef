"""Joins the text of this package's own modules, of a certified source and of its certificate into one file.

Knows text only: what is joined is the code that runs here, not a second version of it. The certified source stands in
the file byte for byte between two marks, so that its hash can be checked on the file itself.
"""

import ast
import keyword
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from torch_backend.source import BEGIN, END, body_hash

__all__ = ["BEGIN", "END", "WALK", "check_certified", "header", "importable_name", "join", "pieces"]

WALK = (
    "scheme.py",
    *(
        f"walk/{name}.py"
        for name in ("validation", "grids", "table", "loop", "noise", "prior_check", "start_up", "sample_scheme")
    ),
)
"""The facts of a scheme and the modules of a walk, in an order in which each can run after those before it."""

FOOT = '''

def source_hash() -> str:
    """The sha256 of the certified source as it stands in this file; equal to CERTIFIED_HASH unless it was edited."""
    import hashlib

    with open(__file__, encoding="utf-8", newline="") as stream:
        text = stream.read()
    begin, end = ("# ---- certified source" + mark + " ----" for mark in (": begin", ": end"))
    return "sha256:" + hashlib.sha256(text.split(begin, 1)[1].split(end, 1)[0].encode()).hexdigest()


def is_certified() -> bool:
    """Print what this file is, and whether its source is the one that was certified."""
    state = "as certified" if source_hash() == CERTIFIED_HASH else "NOT the code that was certified"
    print(f"{SPEC}: order {ORDER}, {NFE_PER_STEP} evaluation(s) per step; the source is {state}")
    return state == "as certified"


def _say_unless_certified() -> None:
    """Warn, as the file is imported, where the certified source in it was edited."""
    import warnings

    try:
        certified = source_hash() == CERTIFIED_HASH
    except (OSError, NameError):  # run without a file, from an archive or as text
        return
    except IndexError:  # a mark is gone
        certified = False
    if not certified:
        warnings.warn(f"{__file__}: the code is not the code that was certified", stacklevel=2)


if __name__ != "__main__":
    _say_unless_certified()
'''


def check_certified(source: str, certificate: Mapping[str, Any]) -> str:
    """The hash of the certified source. Raises ValueError if the certificate was made for another source."""
    certified = str(certificate["evidence"]["source_hash"])
    actual = f"sha256:{body_hash(source)}"
    if certified != actual:
        raise ValueError(f"the certificate is for the source {certified}, not for {actual}; verify this source first")
    return certified


def pieces(names: Sequence[str]) -> tuple[set[str], str]:
    """The imports that the package's modules need from elsewhere, one name a line, and the modules' texts below them.

    ``names`` are paths in the package, such as "walk/loop.py", in an order in which each can run after those before it.
    """
    imports: set[str] = set()
    texts = []
    for name in names:
        text = files("torch_backend").joinpath(*name.split("/")).read_text(encoding="utf-8")
        lines = text.splitlines()
        nodes = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in nodes:
            if not (isinstance(node, ast.ImportFrom) and str(node.module).startswith("torch_backend")):
                imports |= _one_a_line(node)
        texts.append("\n".join(lines[max(node.end_lineno or 0 for node in nodes) :]).strip("\n"))
    return imports, "\n\n\n".join(texts)


def _one_a_line(node: ast.Import | ast.ImportFrom) -> set[str]:
    start = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
    return {start + name.name + (f" as {name.asname}" if name.asname else "") for name in node.names}


def _import_block(lines: set[str]) -> str:
    """The import lines, those of the standard library first, names of one module together."""
    whole = {line.removeprefix("import ") for line in lines if line.startswith("import ")}
    parts: dict[str, list[str]] = {}
    for line in sorted(lines):
        if line.startswith("from "):
            module, _, name = line.removeprefix("from ").partition(" import ")
            parts.setdefault(module, []).append(name)
    blocks = []
    for standard in (True, False):

        def here(module: str, standard: bool = standard) -> bool:
            return (module.partition(".")[0].partition(" ")[0] in sys.stdlib_module_names) == standard

        block = [f"import {module}" for module in sorted(whole) if here(module)]
        block += [f"from {module} import {', '.join(parts[module])}" for module in sorted(parts) if here(module)]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def importable_name(file: str | None, spec: str) -> str:
    """The name under which an example imports a file: ``file`` without its ending, or a name from the spec.

    The second where no file is known yet, or where Python cannot import it by its name.

    >>> importable_name("my_sampler.py", "vp/DDIM"), importable_name("my-sampler.py", "vp/DDIM")
    ('my_sampler', 'vp_ddim')
    """
    name = (file or "").removesuffix(".py")
    if file and file.endswith(".py") and name.isidentifier() and not keyword.iskeyword(name):
        return name
    return re.sub(r"[^0-9A-Za-z]+", "_", spec).strip("_").lower()


def header(source: str, certificate: Mapping[str, Any], needs: Sequence[str]) -> str:
    """The docstring of an exported file: the generated header, the certificate's claims, what the file ``needs``."""
    lines = [*_without_file_lines(source.split('"""', 2)[1]), "", *_claims(certificate), "", *needs]
    return '"""' + "\n".join(lines) + '\n"""'


def join(docstring: str, imports: set[str], certified: str, before: str, source: str, after: str) -> str:
    """The file: docstring, imports, hash, the code before the certified source, that source, the code after it."""
    body = source.split('"""', 2)[2]
    constant = f'CERTIFIED_HASH = "{certified}"'
    return f"{docstring}\n\n{_import_block(imports)}\n\n{constant}\n\n{before}\n\n\n{BEGIN}{body}{END}\n{FOOT}{after}"


def _without_file_lines(text: str) -> list[str]:
    """The generated header without what is true of the generated file only: its do-not-edit notice and body hash."""
    kept, skipping = [], False
    for line in text.rstrip().splitlines():
        if line.startswith(("Generated by", "Body hash:", "Checked by")):
            skipping = True
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).splitlines()


def _claims(certificate: Mapping[str, Any]) -> list[str]:
    evidence = certificate["evidence"]
    versions = ", ".join(f"{name} {version}" for name, version in evidence["versions"].items())
    verdict = "passed" if certificate["passed"] else "FAILED"
    lines = [
        "Exported by integrator-analysis. Do not edit: the claims are about this code.",
        f"Certificate: {verdict}, {evidence['dtype']} on {evidence['device']}, seed {evidence['seed']}; {versions}.",
        f"Certified source: {evidence['source_hash']}",
    ]
    for claim in certificate["claims"]:
        lines.append(
            f"    {claim['name']}: derived {_short(claim['derived'])}, measured {_short(claim['measured'])}, "
            f"error {claim['error']:.1e} (tolerance {claim['tolerance']:.0e})"
        )
    return lines + [line for remark in certificate.get("remarks", ()) for line in textwrap.wrap(remark, 118)]


def _short(value: object) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)
