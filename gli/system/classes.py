"""Find classes by their base class, and the settings of a class."""

from __future__ import annotations

import inspect


def concrete_subclasses(base: type) -> dict[str, type]:
    """Return all classes below a base that can be instantiated, by name."""
    classes: dict[str, type] = {}
    children: list[type] = base.__subclasses__()
    for child in children:
        classes |= concrete_subclasses(child) | ({} if inspect.isabstract(child) else {child.__name__: child})
    return classes


def init_parameters(owner: type) -> dict[str, inspect.Parameter]:
    """Return the settings of a class by name, with those of its bases, which it passes on as keyword arguments."""
    parameters: dict[str, inspect.Parameter] = {}
    for parent in owner.__mro__[:-1]:  # Without object.
        if "__init__" in vars(parent):
            for name, parameter in inspect.signature(vars(parent)["__init__"]).parameters.items():
                if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                    parameters.setdefault(name, parameter)
    return parameters
