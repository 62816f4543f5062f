"""gli: make face classifiers forget people, with Guided Loss-Increasing and other unlearning methods."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gli import data, methods, metrics, models
    from gli.api.audit import audit
    from gli.api.forget import forget
    from gli.api.load import load
    from gli.api.result import ModelAudit, Result
    from gli.auditing.verdict import Verdict
    from gli.commands.report import report
    from gli.errors import CheckpointError, DataError, GLIError, SettingError

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "DataError",
    "GLIError",
    "ModelAudit",
    "Result",
    "SettingError",
    "Verdict",
    "__version__",
    "audit",
    "data",
    "forget",
    "load",
    "methods",
    "metrics",
    "models",
    "report",
]

_HOMES = {
    "gli.api.audit": ("audit",),
    "gli.api.forget": ("forget",),
    "gli.api.load": ("load",),
    "gli.api.result": ("ModelAudit", "Result"),
    "gli.auditing.verdict": ("Verdict",),
    "gli.commands.report": ("report",),
    "gli.errors": ("CheckpointError", "DataError", "GLIError", "SettingError"),
}
#: Packages that are loaded when they are asked for.
_PACKAGES = ("data", "methods", "metrics", "models")


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that ``import gli`` loads nothing heavy."""
    if name in _PACKAGES:
        return import_module(f"gli.{name}")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
