"""Exports of a generated scheme to forms that run without this project. FORMATS maps a name to its writer."""

from collections.abc import Callable, Mapping
from typing import Any

from torch_backend.export.module import standalone_module

FORMATS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {"module": standalone_module}
"""format -> (generated source, certificate as plain data) -> the text of the exported file."""

__all__ = ["FORMATS", "standalone_module"]
