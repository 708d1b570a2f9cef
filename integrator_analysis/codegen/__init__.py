"""From step programs to Python source: lower.py leaves sympy, printer.py spells, templates/ lay out files."""

from integrator_analysis.codegen.scheme_module import kernel_source, module_name, scheme_source

__all__ = ["kernel_source", "module_name", "scheme_source"]
