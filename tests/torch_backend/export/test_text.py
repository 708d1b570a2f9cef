"""The lists of modules whose text exported files carry: each text runs after those before it, and needs no other."""

import ast
import sys
from importlib.resources import files

import pytest

from torch_backend.export import diffusers, kdiffusion
from torch_backend.export.text import WALK

LISTS = {
    "module": WALK,
    "k-diffusion": kdiffusion.TEXTS,
    "phase space": diffusers.PHASE[0],
    **{process: texts for process, (texts, _, _) in diffusers.KINDS.items()},
}


def imports(name):
    """Of one text: (module, name, name here) of everything that it imports."""
    text = files("torch_backend").joinpath(*name.split("/")).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, alias.asname) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from ((node.module, alias.name, alias.asname) for alias in node.names)


@pytest.mark.parametrize("texts", LISTS.values(), ids=LISTS)
def test_a_text_takes_names_of_this_project_from_the_texts_before_it_alone(texts):
    before = set()
    for text in texts:
        for module, name, renamed in imports(text):
            assert module != "__future__", text
            if module.startswith("torch_backend"):
                assert name is not None, f"{text} imports {module} as a whole"
                assert module in before, f"{text} needs {module}"
                assert renamed is None, f"{text} renames {name}"
        before.add("torch_backend." + text.removesuffix(".py").replace("/", "."))


def test_a_walk_needs_torch_alone():
    packages = {module.partition(".")[0] for text in WALK for module, _, _ in imports(text)}
    assert packages - set(sys.stdlib_module_names) == {"torch", "torch_backend"}
