"""The code in README and CONTRIBUTING runs as printed, and the README's figures exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXPECTED = {
    "README.md": ["1 2", "True", "torch.Size([8, 1, 8, 8])"],
    "CONTRIBUTING.md": ["True"],
    "docs/derivations.md": ["Process", r"- \frac{\beta^{2} \n", r"\frac{\beta\left(t\right)}{2 M}"],
    "docs/paper.md": [
        *("vp/DDIM True", "psld/DDIM False", "psld/gDDIM True", "1 1", "True True", "True True", "True False", "1 1"),
        *("-beta**2*nu*(M*d_m s_m + 1)*(M*nu*s_m + m*nu + x)/16", "True True", "False True"),
        "True True",
    ],
}


@pytest.mark.parametrize("document", EXPECTED)
def test_code_blocks_run_and_print_what_they_say(document: str, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL))
    assert code
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment["INTEGRATOR_ANALYSIS_CACHE"] = ""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert [line for line in printed if line in EXPECTED[document]] == EXPECTED[document]


def test_the_document_on_errors_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    document = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", document, re.DOTALL))
    expected = re.findall(r"print\(.*\)  # (.+)", code)
    exec(compile(code, "errors.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == expected
    assert len(expected) > 1


def test_pictures_in_the_readme_exist() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert pictures
    assert [p for p in pictures if not (ROOT / p).is_file()] == []


def test_the_table_of_schemes_in_the_readme_is_the_reports() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- catalogue: begin -->\n")[1].split("<!-- catalogue: end -->")[0]
    assert table == (ROOT / "reports" / "catalogue.md").read_text(encoding="utf-8")
