"""The report's page: rendered from plain lists and dicts, complete, escaped, and with nothing fetched from outside."""

from __future__ import annotations

import copy
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

import integrator_analysis

TEMPLATES = Path(integrator_analysis.__file__).parent / "report" / "templates"


def scheme(spec, passed=True, **changes):
    return {
        "spec": spec,
        "description": f"What {spec} is.",
        "stochastic": False,
        "nfe_per_step": 2,
        "order": {"derived": 1, "measured": "1.00"},
        "blocks": [
            {
                "name": "x",
                "exponent": 2,
                "leading": "-Gamma*beta/8*m",
                "derived": -0.012345,
                "measured": -0.0123448,
            },
            {"name": "m", "exponent": 2, "leading": "-beta**2*nu/16*(1 + M*s_m)", "derived": 1.5, "measured": None},
        ],
        "gaussian_error": 3.1e-15,
        "passed": passed,
        "failures": [] if passed else ["order: derived 1, measured 0.52, tolerance 0.05"],
        "derivation": ["Split the ODE in reverse time by BAB.", "B and A share one evaluation."],
        "source": "../torch_backend/generated/psld_RVV.py",
        "certificate": "certificates/psld_RVV.json",
        **changes,
    }


def picture(name):
    return [{"path": f"figures/{name}.png", "caption": f"Caption of {name}.", "alt": f"Plot of {name}"}]


CONTEXT = {
    "title": "Samplers, derived and verified",
    "introduction": ["Every sampler is lowered to one step program.", "Its readings follow."],
    "made": {
        "command": "integrator-analysis report --output reports",
        "versions": {"sympy": "1.14.0", "torch": "2.13.0"},
        "seeds": {"verification": 0, "digits": 7},
        "stages": [{"name": "derive", "seconds": 12.34}, {"name": "digits", "seconds": 40.0}],
    },
    "schemes": [
        scheme("psld/RVV"),
        scheme("psld/OBA(reduced)", passed=False, stochastic=True),
        scheme("vp/conjugate(B=lambda*I, lambda=0.3)", blocks=[], gaussian_error=None, nfe_per_step=1),
    ],
    "processes": [
        {
            "name": "psld",
            "description": "Phase-space Langevin diffusion at critical damping.",
            "parameters": {"Gamma": "0.01", "nu": "4.01"},
            "formulas": [{"name": "mean of x", "text": "exp(-c*b(t))*(1 + (nu - Gamma)*b(t)/4)"}],
        }
    ],
    "figures": {
        name: picture(name) for name in ("stability", "convergence", "error_constants", "work_precision", "samples")
    },
    "tables": [
        {"caption": "Sliced Wasserstein distance", "columns": ["scheme", "10", "20"], "rows": [["RVV", 0.51234, None]]}
    ],
}
EMPTY = {
    **CONTEXT,
    "schemes": [],
    "processes": [],
    "tables": [],
    "figures": {name: [] for name in CONTEXT["figures"]},
}


class Page(HTMLParser):
    """Collects text, links and identifiers; fails on tags that do not nest."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, source):
        super().__init__()
        self.open, self.identifiers, self.links, self.tags, self.words = [], [], [], set(), []
        self.feed(source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.identifiers += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[key] for key in ("href", "src") if key in attrs]
        if tag == "img":
            assert attrs["alt"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def render(context):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("index.html.j2").render(context)


def test_every_fact_of_the_context_is_on_the_page():
    page = Page(render(CONTEXT))
    for words in (
        "2 of 3 schemes verified",
        "integrator-analysis report --output reports",
        "sympy 1.14.0, torch 2.13.0",
        "verification 0, digits 7",
        "derive 12.3 digits 40.0 total 52.3",
        "psld/RVV 1 1.00 x 2 -0.01235 -0.01234 3.1e-15 2 passed m 2 1.5 –",
        "1 (weak)",
        "what failed order: derived 1, measured 0.52, tolerance 0.05",
        "Split the ODE in reverse time by BAB.",
        "-beta**2*nu/16*(1 + M*s_m)",
        "exp(-c*b(t))*(1 + (nu - Gamma)*b(t)/4)",
        "Sliced Wasserstein distance scheme 10 20 RVV 0.512 –",
        "Caption of samples.",
    ):
        assert words in page.text, words
    assert "certificates/psld_RVV.json" in page.links
    assert "figures/work_precision.png" in page.links


def test_links_inside_the_page_lead_somewhere_and_nothing_is_fetched():
    page = Page(render(CONTEXT))
    assert len(set(page.identifiers)) == len(page.identifiers)
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.identifiers)
    assert not page.tags & {"script", "link", "iframe"}
    assert not [link for link in page.links if "//" in link]


def test_empty_sections_leave_no_heading_and_no_dead_link():
    page = Page(render(EMPTY))
    assert page.identifiers == ["made"]
    assert [link for link in page.links if link.startswith("#")] == ["#made"]


def test_text_is_escaped():
    context = copy.deepcopy(CONTEXT)
    context["schemes"][0]["blocks"][0]["leading"] = "a < b & <script>alert(1)</script>"
    context["processes"][0]["name"] = "<b>psld</b>"
    page = Page(render(context))
    assert "a < b & <script>alert(1)</script>" in page.text
    assert not page.tags & {"script", "b"}


def test_a_missing_fact_is_an_error_not_a_blank():
    context = copy.deepcopy(CONTEXT)
    del context["schemes"][0]["nfe_per_step"]
    with pytest.raises(jinja2.UndefinedError, match="nfe_per_step"):
        render(context)
