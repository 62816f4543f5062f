"""Face benchmarks as LightningDataModules with identity-aware splits."""

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
