"""Running samplers with torch: the public names, each imported when it is first used.

The names and the modules that they come from are listed in ``__init__.pyi``, and nowhere else. Importing the package
loads neither torch nor any of its modules (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
