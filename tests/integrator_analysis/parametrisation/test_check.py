"""A wrong closed form is refused: the solution of the linear part, its power, the angle of the frame, the constant."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.algebra.symbols import t
from integrator_analysis.parametrisation.check import check_closed_forms
from integrator_analysis.parametrisation.registry import PARAMETRISATIONS, parametrisation

FORMS = {
    "homogeneous": lambda form: form * sympy.exp(t),
    "power": lambda form: 2 * form,
    "turning": lambda form: 2 * form,
    "constant": lambda form: 2 * form,
}
"""A wrong form for each right one."""

STATED = {
    "vp": {("eps", "homogeneous"), ("eps", "power"), ("x0", "homogeneous"), ("x0", "power"), ("anchor", "constant")},
    "psld": {("x0", "turning"), ("mixed", "turning"), ("eps-rotated", "constant"), ("anchor", "constant")},
}
"""Some of the forms that are stated, by process: (parametrisation, form)."""


@pytest.mark.parametrize("name", STATED)
def test_every_stated_form_holds_and_a_wrong_one_is_refused(name: str) -> None:
    process, refused = ia.process(name), set()
    for prediction in PARAMETRISATIONS:
        if name == "psld" and prediction in ("v", "edm"):
            continue  # defined on one block
        right = parametrisation(prediction, process)
        check_closed_forms(right)
        for form, wrong in FORMS.items():
            if getattr(right, form) is not None:
                with pytest.raises(ArithmeticError, match=f"parametrisation {prediction} fails"):
                    check_closed_forms(replace(right, **{form: wrong(getattr(right, form))}))
                refused.add((prediction, form))
    assert refused >= STATED[name]
