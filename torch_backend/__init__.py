"""Running samplers with torch: the public names, each imported when it is first used.

Knows only where the names live; imports neither torch nor any module of the package by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_backend.sampler import Sampler, load
    from torch_backend.source import load_kernel, module_from_source

_HOMES = {"Sampler": "sampler", "load": "sampler", "load_kernel": "source", "module_from_source": "source"}
__all__ = ["Sampler", "load", "load_kernel", "module_from_source"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"torch_backend.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'torch_backend' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
