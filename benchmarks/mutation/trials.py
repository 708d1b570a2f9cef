"""Tests on a copy of the project in which one module is changed: which test fails first, if any.

Knows how pytest is run and what its answer means; draws no mutants and keeps no record.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from records import ROOT, say

__all__ = ["ENDLESS", "LIMIT", "NOT_IMPORTED", "PACKAGE", "Trials"]

PACKAGE = "integrator_analysis"
COPIED = ("integrator_analysis", "torch_backend", "tests", "docs", "examples", "README.md", "pyproject.toml")
LIMIT = 240
"""Seconds of computing for the tests of one mutant; on the true modules they take a third of that at most."""
NOT_IMPORTED, ENDLESS = "does not import", f"does not end within {LIMIT} s"
THIRD_PARTY = ("sympy", "mpmath", "numpy", "scipy.integrate", "scipy.linalg", "scipy.optimize", "torch", "pytest")
SERVER = Path(__file__).with_name("pytest_server.py")


class Trials:
    """A copy of the project in ``folder``, and a process that runs its tests."""

    def __init__(self, folder: Path, imported: Sequence[str] = THIRD_PARTY) -> None:
        """``imported`` is what the process imports once, for all runs."""
        self.folder, self.imported = folder, imported
        self._server: subprocess.Popen[str] | None = None

    @classmethod
    def on_a_copy(cls, folder: Path) -> Trials:
        """Copy the project to ``folder``, compiled: what is compiled is checked by the hash of its text."""
        folder.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        return cls(folder)

    def failing_test(self, tests: Sequence[str], module: str, text: str) -> str:
        """The test that fails first with the text in place of the module, NOT_IMPORTED, ENDLESS, or "" for none.

        Exits where pytest says neither: a kill is the verdict of a test.
        """
        target = self.folder / PACKAGE / module
        true = target.read_text(encoding="utf-8")
        target.write_text(text, encoding="utf-8")
        try:
            status, output = self.run_pytest(["-x", *tests])
        finally:
            target.write_text(true, encoding="utf-8")
        failed = failed_tests(output)
        if status == 0:
            return ""
        if status == -signal.SIGXCPU:
            return ENDLESS
        if status == 1 and failed and "::" in failed[0]:
            return failed[0]
        if (status in (1, 2) and failed) or "while loading conftest" in output:
            return NOT_IMPORTED
        say(f"{module}: pytest ends with status {status}, which is no verdict:\n{output}")
        sys.exit(2)

    def check_true_modules(self, tests: Sequence[str]) -> None:
        """Exit unless all the tests pass on the project as it is."""
        status, output = self.run_pytest(list(tests)) if tests else (0, "")
        if status != 0:
            say(f"pytest ends with status {status} on the true modules: {failed_tests(output) or output}")
            sys.exit(2)

    def check_imports(self, tests: Sequence[str], module: str) -> None:
        """Exit unless the tests fail where the module of the copy cannot be imported."""
        if self.failing_test(tests, module, "raise ImportError\n") in ("", ENDLESS):
            say(f"the tests of {module} do not import the module of the copy")
            sys.exit(2)

    def run_pytest(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Exit status and output, from the server, which is started when it is first needed."""
        if self._server is None:
            self._server = self._start_server()
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        command = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", *arguments]
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        status, output = json.loads(self._server.stdout.readline())
        return status, output

    def _start_server(self) -> subprocess.Popen[str]:
        own = {
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "INTEGRATOR_ANALYSIS_CACHE": "",  # neither read nor written: a mutant computes everything itself
        }
        command = [sys.executable, str(SERVER), str(self.folder), str(LIMIT), *self.imported]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=os.environ | own, stdin=pipe, stdout=pipe, text=True)

    def close(self) -> None:
        """End the server and wait for it."""
        if self._server is not None:
            self._server.communicate()
            self._server = None


def failed_tests(output: str) -> list[str]:
    """The names in pytest's summary, without the parameters of the case."""
    lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return [line.split(" ", 1)[1].split(" - ")[0].partition("[")[0] for line in lines]
