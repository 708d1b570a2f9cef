"""Running samplers with torch: the public names, each imported when it is first used.

Knows only where the names live; imports neither torch nor any module of the package by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_backend.sampler import Sampler, load

__all__ = ["Sampler", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("torch_backend.sampler"), name)
    raise AttributeError(f"module 'torch_backend' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
