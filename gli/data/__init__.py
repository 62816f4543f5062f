"""Face benchmarks as LightningDataModules with identity-aware splits."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gli.data.augment import Augmentation
    from gli.data.datamodule import FaceDataModule
    from gli.data.loading import Batch
    from gli.data.mucac import MUCAC
    from gli.data.mufac import MUFAC
    from gli.data.synthetic import SyntheticFaces
    from gli.data.table import FaceTable
    from gli.data.tasks import MultiClass, MultiLabel

__all__ = [
    "MUCAC",
    "MUFAC",
    "Augmentation",
    "Batch",
    "FaceDataModule",
    "FaceTable",
    "MultiClass",
    "MultiLabel",
    "SyntheticFaces",
]

_MODULES = ("augment", "datamodule", "loading", "mucac", "mufac", "synthetic", "table", "tasks")


def __getattr__(name: str) -> Any:
    """Load all public names when the first is asked for (PEP 562): decoding photographs needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        contents = vars(import_module(f"{__name__}.{module}"))
        globals().update({each: contents[each] for each in __all__ if each in contents})
    return globals()[name]
