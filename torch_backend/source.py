"""Generated source as text and as module: the hash of its body, whether that is the certified one, how it is run.

Knows files and text; does not know what a scheme or a kernel computes, nor how the text was printed.
"""

import hashlib
import linecache
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

from torch_backend.scheme import SchemeFacts, facts_of
from torch_backend.walk.validation import unknown_name_message

GENERATED = Path(__file__).parent / "generated"
"""The folder of the committed generated source."""


BEGIN, END = "# ---- certified source: begin ----", "# ---- certified source: end ----"
"""Between these marks an exported module holds the body of the scheme that it was made from, byte for byte."""


class UncertifiedSourceWarning(UserWarning):
    """The code about to run is not the code that was certified."""


def _split(text: str) -> tuple[str, str]:
    """The header docstring of generated source, and the body that follows its closing triple quotes."""
    parts = text.split('"""', 2)
    if len(parts) != 3 or parts[0].strip():
        raise ValueError("generated source must begin with a docstring in triple double quotes")
    return parts[1], parts[2]


def body_hash(text: str) -> str:
    '''The sha256, in hexadecimal, of the text that follows the closing triple quotes of the module docstring.

    Raises ValueError for text that does not begin with such a docstring.

    >>> body_hash('"""Header."""\\nORDER = 1\\n')[:12]
    'b007effbf242'
    '''
    return hashlib.sha256(_split(text)[1].encode()).hexdigest()


def warn_unless_certified(text: str, where: str) -> None:
    """Issue an UncertifiedSourceWarning where the header's body hash is missing or is not the hash of the body.

    The body of an exported module is what stands between its marks.
    """
    header, body = _split(text)
    claimed = re.search(r"^\s*(?:Body hash|Certified source): sha256:([0-9a-f]{64})\s*$", header, re.MULTILINE)
    if BEGIN in body and END in body:
        body = body.split(BEGIN, 1)[1].split(END, 1)[0]
    actual = hashlib.sha256(body.encode()).hexdigest()
    if claimed is None:
        reason = "its header carries no body hash"
    elif claimed[1] != actual:
        reason = f"its body has sha256 {actual[:12]}..., its header says {claimed[1][:12]}..."
    else:
        return
    warnings.warn(
        f"{where}: the code is not the code that was certified; {reason}", UncertifiedSourceWarning, stacklevel=3
    )


def module_from_source(text: str, name: str, filename: str | None = None) -> ModuleType:
    """Run source text that this project's own printer made; return it as a module.

    For such text only: whatever the text says is run, as by an import. Without a file name the text is registered
    in ``linecache``, so that tracebacks show its lines. The module is registered in ``sys.modules`` under ``name``,
    so that torch.compile finds its globals. Raises what compiling or running the text raises.

    >>> module_from_source("ORDER = 1", "doctest_scheme").ORDER
    1
    """
    if filename is None:
        filename = f"<generated {name}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module = ModuleType(name)
    module.__file__ = filename
    exec(compile(text, filename, "exec"), module.__dict__)  # our own printed text, never text from outside
    sys.modules[name] = module
    return module


def facts_of_source(text: str) -> SchemeFacts:
    """The facts of a scheme from its generated source, which is run as by ``module_from_source``."""
    return facts_of(module_from_source(text, "torch_backend_scheme_of_source"))


def load_file(path: Path) -> ModuleType:
    """Run one generated file; return its module. Warns before running it where the body hash is not the certified one.

    The text that is hashed is the text that is run. Raises FileNotFoundError for a missing file.
    """
    text = path.read_text(encoding="utf-8")
    warn_unless_certified(text, str(path))
    return module_from_source(text, f"torch_backend.generated.{path.stem}", str(path))


def load_kernel(process: str) -> ModuleType:
    """The generated perturbation kernel of a process: ``mean(t)``, ``covariance(t)``, ``cholesky(t)``.

    Kernels carry no certificate, hence no hash to compare. Raises ValueError for a process without a generated kernel,
    naming the nearest and all there are.
    """
    known = {path.stem.removeprefix("kernel_"): path for path in GENERATED.glob("kernel_*.py")}
    stem = re.sub(r"[^0-9A-Za-z]", "_", process)
    if stem not in known:
        raise ValueError(unknown_name_message("process", process, known))
    path = known[stem]
    return module_from_source(path.read_text(encoding="utf-8"), f"torch_backend.generated.{path.stem}", str(path))
