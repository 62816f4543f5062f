"""Make a package callable, so that ``gli.audit`` is both the package and the function of that name.

Python documents the replacement of a module's class for such purposes ("Customizing module attribute access" in the
language reference). Type checkers read the function from the ``TYPE_CHECKING`` block of ``gli/__init__.py``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that is called like a function, which is imported on the first call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The function, which ``inspect.signature`` and ``help`` follow as well."""
        module, name = self.__dict__["_function"]
        return getattr(import_module(module), name)


def make_callable(module: str, function: str) -> None:
    """Make a module call a function.

    Args:
        module: Name of the module, imported already.
        function: Where the function is, ``package.module:name``.
    """
    package = sys.modules[module]
    home, _, name = function.partition(":")
    package.__dict__["_function"] = home, name
    package.__class__ = CallableModule
