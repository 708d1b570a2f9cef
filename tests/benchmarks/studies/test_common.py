"""What the studies share: tables and numbers as their pages print them, and templates that miss nothing."""

from __future__ import annotations

import math
from pathlib import Path

import common
import jinja2
import pytest
import torch


def test_a_table_has_a_row_of_dashes_for_its_columns() -> None:
    assert common.table(["scheme", "error"], [["DDIM", "0.1"]]) == "| scheme | error |\n|---|---|\n| DDIM | 0.1 |"


@pytest.mark.parametrize(
    ("values", "form", "text"),
    [
        ([1.0, 3.0], ".1f", "2.0 ± 1.4"),
        ([0.5], ".4f", "0.5000 ± 0.0000"),
        ([1.0, math.inf], ".1f", "-"),
        ([math.nan], ".1f", "-"),
    ],
)
def test_a_mean_stands_with_its_deviation(values: list[float], form: str, text: str) -> None:
    assert common.mean_and_deviation(values, form) == text


def test_a_template_prints_what_it_is_given_and_refuses_what_it_is_not() -> None:
    template = "{% for x in xs %}\n- {{ bold(list_numbers([x, 2 * x]), x == 1) }}\n{% endfor %}\n"
    assert common.render(template, xs=[1, 0.5]) == "- **1, 2**\n- 0.5, 1\n"
    with pytest.raises(jinja2.UndefinedError):
        common.render(template)


def test_a_page_is_written_to_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common.write_page("page.md", "text\n", tmp_path)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "text\n"
    assert str(tmp_path / "page.md") in capsys.readouterr().err


def test_the_error_of_an_image_is_over_its_own_pixels() -> None:
    exact = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    x = exact.clone()
    x[1, 0, 0, 0] = 2.0
    assert common.errors_per_image(x, exact).tolist() == [0.0, 1.0]
