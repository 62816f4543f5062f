"""Faces that the user gives as PyTorch data sets or loaders, rather than as files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler, default_collate

from gli.data.cache import PixelCache
from gli.data.datamodule import FaceDataModule
from gli.data.faces import Faces, Images
from gli.data.split_plan import SPLITS
from gli.data.tasks import MultiClass, MultiLabel, Task
from gli.errors import DataError, GLIError, SettingError
from gli.system.digest import digest

#: Names of image, label and identity in items that are dictionaries, as those of Hugging Face's data sets.
KEYS = (("image", "img", "pixel_values"), ("label", "labels"), ("identity",))
#: Images that are read from a source without a length before it counts as endless.
MOST_WITHOUT_LENGTH = 200_000
#: A data set or loader of (image, label) or (image, label, identity).
Source: TypeAlias = "Dataset[Any] | DataLoader[Any] | Sequence[Any]"


@dataclass(frozen=True)
class ArrayImages(Images):
    """Images in memory."""

    array: npt.NDArray[Any]  # uint8, or float32 in [0, 255], shape ``(n, height, width, channels)``.

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.array)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        """Return hashes of the pixels; ``cache_dir`` is not used."""
        return np.array([digest(str(image.dtype), image.tobytes()) for image in self.array], dtype="S32")

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        """Return one image as it is; ``size`` is not used."""
        return np.asarray(self.array[row])


def _channels_last(image: Any, where: str) -> npt.NDArray[Any]:
    """Return an image as an array of shape ``(height, width, channels)``, uint8 or float32."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if not isinstance(image, Tensor):
        raise DataError(f"{where}: the image is a {type(image).__name__}; give a tensor or a PIL image.")
    if image.ndim != 3:
        raise DataError(f"{where}: the image has shape {tuple(image.shape)}; it must be (channels, height, width).")
    array: npt.NDArray[Any] = image.detach().cpu().permute(1, 2, 0).numpy()
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _stack(images: Sequence[npt.NDArray[Any]], where: str) -> npt.NDArray[Any]:
    """Return images as one array: uint8 where that loses nothing, else float32 in [0, 255].

    Raises:
        DataError: If the images differ in shape, or pixels are not finite or lie outside [0, 1].
    """
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        two = " and ".join(map(str, sorted(shapes)[:2]))
        raise DataError(f"{where}: images differ in shape (height, width, channels): {two}. Resize them to one.")
    array = np.stack(images)
    if array.dtype == np.uint8:
        return array
    finite = np.isfinite(array).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(f"{where}, item {int(finite.argmin())}: pixels are NaN or infinite.")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        advice = (
            "Divide by 255, or give uint8."
            if low >= 0 and high <= 255
            else "Leave normalisation out of the data, and do it in the model: torch.nn.Sequential(normalise, model)."
        )
        raise DataError(
            f"{where}: pixels lie in [{low:.3g}, {high:.3g}]; methods perturb and clip pixels in [0, 1]. {advice}"
        )
    array *= 255
    whole = np.rint(array)
    # ToTensor divides bytes by 255: dividing the bytes again gives the same floats.
    return whole.astype(np.uint8) if np.abs(array - whole).max(initial=0.0) < 1e-3 else array


def _items(source: Any, where: str) -> Iterator[Any]:
    """Yield (image, label) or (image, label, identity) of a data set or loader, one image after the other."""
    if isinstance(source, DataLoader):
        sampler, data = source.sampler, source.dataset
        once = isinstance(sampler, SequentialSampler | RandomSampler) and not getattr(sampler, "replacement", False)
        default = source.collate_fn is default_collate
        if once and default and isinstance(sampler, Sized) and isinstance(data, Sized) and len(sampler) == len(data):
            yield from _items(data, where)  # In the order of the data set, also where the loader shuffles.
            return
        for batch in source:
            if isinstance(batch, Mapping):
                yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
            else:
                yield from zip(*batch, strict=True)
    elif hasattr(source, "__getitem__") and isinstance(source, Sized):
        indexed: Any = source
        yield from (indexed[number] for number in range(len(source)))
    elif isinstance(source, Iterable):
        yield from source
    else:
        raise SettingError(f"{where} is a {type(source).__name__}; give a Dataset, a DataLoader or a list of images.")


def _read(source: Any, name: str) -> Iterator[Any]:
    """Yield the items of a source as (image, label) or (image, label, identity).

    Raises:
        DataError: If reading an item fails, it is not of this form, or the source does not end.
    """
    items = _items(source, name)
    for number in itertools.count():
        where = f"{name}, item {number}"
        try:
            item = next(items)
        except StopIteration:
            return
        except GLIError:
            raise
        except Exception as error:  # Code of the user.
            raise DataError(f"{where}: reading it raised {type(error).__name__}: {error}") from error
        if number == MOST_WITHOUT_LENGTH and not _has_length(source):
            raise DataError(f"{name}: has no length, and more than {number} images. Give a Dataset that ends.")
        if isinstance(item, Mapping):
            given = [next((item[key] for key in keys if key in item), None) for keys in KEYS]
            if given[0] is None or given[1] is None:
                found = ", ".join(map(str, item))
                raise DataError(f"{where}: has the keys {found}; name them image, label and, if known, identity.")
            item = given if given[2] is not None else given[:2]
        if not isinstance(item, Sequence) or len(item) not in (2, 3):
            raise DataError(f"{where}: is not (image, label) or (image, label, identity).")
        yield item


def _has_length(source: Any) -> bool:
    try:
        return len(source) >= 0
    except TypeError:
        return False


@dataclass(frozen=True)
class Collected:
    """All images of one set."""

    images: npt.NDArray[Any]  # uint8, or float32 in [0, 255], shape ``(n, height, width, channels)``.
    labels: npt.NDArray[np.int64]  # Shape ``(n,)`` (classes) or ``(n, labels)`` (yes or no).
    identities: npt.NDArray[np.str_]  # Shape ``(n,)``.
    named: bool = True  # Whether the identities were given; otherwise every image counts as a person of its own.


def collect(source: Source, name: str) -> Collected:
    """Read a data set or loader once.

    Args:
        source: The images: tensors in [0, 1] or uint8 of shape ``(channels, height, width)``, or PIL images; with a
            class number or a vector of 0 and 1; and optionally with the name of the person.
        name: Name of the set, for messages, and for the people where they have no names: then every image counts as a
            person of its own.

    Raises:
        DataError: If an item is not of this form, or the set is empty.
        SettingError: If the source is no data set.
    """
    images, labels, identities = [], [], []
    lengths = set()
    for number, item in enumerate(_read(source, name)):
        where = f"{name}, item {number}"
        lengths.add(len(item))
        if len(lengths) > 1:
            raise DataError(f"{where}: some images of this set have an identity and others have none.")
        images.append(_channels_last(item[0], where))
        labels.append(_label(item[1], where))
        identity = item[2] if len(item) == 3 else f"{name} {number}"
        identities.append(str(identity.item() if isinstance(identity, Tensor) else identity))
    if not images:
        raise DataError(f"The {name} set is empty.")
    if len({label.shape for label in labels}) != 1:
        raise DataError(f"{name}: some labels are classes and others are vectors, or vectors of different lengths.")
    return Collected(_stack(images, name), np.stack(labels), np.array(identities), lengths == {3})


def nobody_like(part: Collected) -> Collected:
    """Return a set of one black image of nobody, where a set is not used."""
    label = np.zeros((1, *part.labels.shape[1:]), np.int64)
    return Collected(np.zeros((1, *part.images.shape[1:]), part.images.dtype), label, np.array(["nobody"]))


def _label(value: Any, where: str) -> npt.NDArray[np.int64]:
    label = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    if label.dtype.kind not in "biuf" or label.ndim > 1 or not np.array_equal(label, label.astype(np.int64)):
        raise DataError(f"{where}: the label {value!r} is neither a class number nor a vector of 0 and 1.")
    return label.astype(np.int64)


def task_of(labels: npt.NDArray[np.int64], outputs: int, classes: Sequence[str] | Task | None = None) -> Task:
    """Return the task of some labels: multi-class for numbers, multi-label for vectors.

    Args:
        labels: Shape ``(n,)`` or ``(n, labels)``.
        outputs: Number of logits of the model.
        classes: Names of the classes or labels, their numbers by default; or the task itself.

    Raises:
        SettingError: If the labels do not fit the outputs, the names or the task.
    """
    names = classes.names if isinstance(classes, Task) else classes
    if isinstance(names, str) or len(set(names or ())) != len(names or ()):
        raise SettingError(f"classes is {names!r}; give a list of different names.")
    names = tuple(map(str, range(outputs))) if names is None else tuple(names)
    if len(names) != outputs:
        raise SettingError(f"classes has {len(names)} names, but the model has {outputs} outputs.")
    task = MultiClass(names) if labels.ndim == 1 else MultiLabel(names)
    if isinstance(classes, Task) and type(classes) is not type(task):
        raise SettingError(f"classes is a {type(classes).__name__}, but the labels are of a {type(task).__name__}.")
    if labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= outputs:
            worst = labels.max() if labels.max() >= outputs else labels.min()
            raise SettingError(f"The data have class {worst}, but the model has {outputs} outputs: 0 to {outputs - 1}.")
        return task
    if labels.shape[1] != outputs:
        raise SettingError(f"The data have {labels.shape[1]} labels per image, but the model has {outputs} outputs.")
    if not np.isin(labels, (0, 1)).all():
        raise SettingError("Labels that are vectors must be 0 (no) or 1 (yes).")
    return task


class GivenFaces(FaceDataModule):
    """Four sets of images that were given as objects; they stay in memory.

    Args:
        sets: The images of ``retain``, ``forget``, ``test`` and ``unseen``.
        task: What the labels mean.
        **kwargs: See :class:`~gli.data.datamodule.FaceDataModule`.
    """

    label = "given"
    split_name = "the given split"

    def __init__(self, sets: Mapping[str, Collected], task: Task, **kwargs: Any) -> None:
        shapes = {name: part.images.shape[1:] for name, part in sets.items()}
        if len(set(shapes.values())) != 1:
            raise DataError(f"The sets differ in the shape of their images (height, width, channels): {shapes}.")
        height = next(iter(shapes.values()))[0]
        # "published": people in two sets are a warning, since the sets are the user's own decision.
        super().__init__(split="published", image_size=height, **kwargs)
        ends = np.cumsum([0, *(len(sets[name].images) for name in SPLITS)])
        rows = {name: np.arange(ends[place], ends[place + 1]) for place, name in enumerate(SPLITS)}
        parts = [sets[name] for name in SPLITS]
        kind = np.uint8 if all(part.images.dtype == np.uint8 for part in parts) else np.float32
        array = np.concatenate([part.images.astype(kind, copy=False) for part in parts])
        self.faces = Faces(
            ArrayImages(array),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.identities for part in parts]),
            task,
            published=rows,
        )
        self.pixels = PixelCache(array, np.arange(len(array)))

    def table(self) -> Faces:
        """Return the face table."""
        return self.faces
