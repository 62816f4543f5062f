from __future__ import annotations

import io
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gli.data import cache
from gli.data.cache import PixelCache, open_pixels
from gli.data.faces import ImageFiles, Images
from gli.errors import DataError
from gli.system.digest import digest
from gli.system.files import atomic_write
from gli.system.process import memory

SIZE = 6


def colour(content: int, size: int) -> npt.NDArray[np.uint8]:
    """The pixels of a content."""
    return np.random.default_rng([content, size]).integers(0, 256, (size, size, 3), dtype=np.uint8)


@dataclass(frozen=True)
class FakeImages(Images):
    """Images of given contents. Every decoding adds a line to ``log``; ``broken`` is a row that cannot be decoded."""

    contents: Sequence[int]
    log: Path
    broken: int | None = None
    error: type[BaseException] = RuntimeError
    pause: float = 0.0

    def __len__(self) -> int:
        return len(self.contents)

    def digests(self, cache_dir: Path) -> npt.NDArray[np.bytes_]:
        return np.array([digest(content) for content in self.contents], dtype="S32")

    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        time.sleep(self.pause)
        with self.log.open("a") as file:
            file.write(f"{row}\n")
        if row == self.broken:
            raise self.error("broken on purpose")
        return colour(self.contents[row], size)

    @property
    def decoded(self) -> list[int]:
        """The rows that have been decoded."""
        return sorted(map(int, self.log.read_text().split())) if self.log.exists() else []


def open_cache(images: FakeImages, folder: Path, size: int = SIZE) -> PixelCache:
    return open_pixels(images, images.digests(folder), size, folder)


def assert_pixels(pixels: PixelCache, images: FakeImages, size: int = SIZE) -> None:
    expected = np.stack([colour(content, size) for content in images.contents])
    np.testing.assert_array_equal(pixels[np.arange(len(images))], expected)


def leftovers(folder: Path) -> list[str]:
    """All files in the folder except lock files."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


CONTENTS = [5, 3, 5, 9, 3, 3, 1, 0]
FIRST_ROWS = [0, 1, 3, 6, 7]


# ---------------------------------------------------------------------------------------------------------------------
# The pixel cache
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_identical_images_are_decoded_and_stored_once(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", chunk)
    images = FakeImages(CONTENTS, tmp_path / "log")
    pixels = open_cache(images, tmp_path / "cache")
    assert images.decoded == FIRST_ROWS
    assert pixels.pixels.shape == (5, SIZE, SIZE, 3)
    assert pixels.pixels.dtype == np.uint8
    assert_pixels(pixels, images)
    assert len(leftovers(tmp_path / "cache")) == 1


def test_opening_again_decodes_nothing(tmp_path: Path) -> None:
    open_cache(FakeImages(CONTENTS, tmp_path / "first"), tmp_path / "cache")
    again = FakeImages(CONTENTS, tmp_path / "second", broken=0)
    assert_pixels(open_cache(again, tmp_path / "cache"), again)
    assert again.decoded == []


def test_same_images_in_another_order_share_the_file(tmp_path: Path) -> None:
    open_cache(FakeImages(CONTENTS, tmp_path / "first"), tmp_path / "cache")
    other = FakeImages([0, 1, 9, 9, 3, 5], tmp_path / "second")
    assert_pixels(open_cache(other, tmp_path / "cache"), other)
    assert other.decoded == []
    assert len(leftovers(tmp_path / "cache")) == 1


@pytest.mark.parametrize("change", ["content", "size", "version"])
def test_another_content_size_or_version_has_another_file(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(FakeImages(CONTENTS, tmp_path / "first"), tmp_path / "cache")
    if change == "version":
        monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    size = 8 if change == "size" else SIZE
    other = FakeImages([*CONTENTS[:-1], 77] if change == "content" else CONTENTS, tmp_path / "second")
    assert_pixels(open_cache(other, tmp_path / "cache", size), other, size)
    assert other.decoded == FIRST_ROWS
    assert len(leftovers(tmp_path / "cache")) == 2


def test_rows_are_copied_in_the_requested_order(tmp_path: Path) -> None:
    images = FakeImages(CONTENTS, tmp_path / "log")
    pixels = open_cache(images, tmp_path / "cache")
    rows = np.array([7, 0, 7, 2, 3])
    batch = pixels[rows]
    np.testing.assert_array_equal(batch, [colour(CONTENTS[row], SIZE) for row in rows])
    batch[:] = 0
    assert_pixels(open_cache(images, tmp_path / "cache"), images)
    assert pixels[rows[:0]].shape == (0, SIZE, SIZE, 3)


@pytest.mark.parametrize("error", [RuntimeError, DataError])
def test_interrupted_filling_leaves_no_file_and_the_next_one_starts_again(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", 1)
    broken = FakeImages(CONTENTS, tmp_path / "broken", broken=3, error=error)
    with pytest.raises(error, match="broken on purpose"):
        open_cache(broken, tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []
    whole = FakeImages(CONTENTS, tmp_path / "whole")
    assert_pixels(open_cache(whole, tmp_path / "cache"), whole)
    assert whole.decoded == FIRST_ROWS


def test_filling_stopped_by_the_user_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHUNK", 1)
    done = 0

    def stop(futures: object) -> object:
        nonlocal done
        for future in as_completed(futures):  # type: ignore[arg-type]
            done += 1
            if done == 3:
                raise KeyboardInterrupt
            yield future

    as_completed = cache.as_completed
    monkeypatch.setattr(cache, "as_completed", stop)
    with pytest.raises(KeyboardInterrupt):
        open_cache(FakeImages(CONTENTS, tmp_path / "log"), tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_file_of_a_killed_process_is_not_opened(tmp_path: Path) -> None:
    """A killed process cannot clean up; the next one must not open the incomplete file that it leaves."""
    (tmp_path / "cache").mkdir()
    process = multiprocessing.get_context("fork").Process(target=fill_until_killed, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert [Path(name).suffix for name in leftovers(tmp_path / "cache")] == [".part"]
    whole = FakeImages(CONTENTS, tmp_path / "whole")
    assert_pixels(open_cache(whole, tmp_path / "cache"), whole)
    assert whole.decoded == FIRST_ROWS


class KillingImages(FakeImages):
    def pixels(self, row: int, size: int) -> npt.NDArray[np.uint8]:
        if row == 3:
            os._exit(9)
        return super().pixels(row, size)


def fill_until_killed(folder: Path) -> None:
    open_cache(KillingImages(CONTENTS, folder / "log"), folder / "cache")


def test_error_for_a_cache_that_cannot_be_written_gives_its_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/cache: the pixel cache cannot be written .* MB"):
        open_cache(FakeImages(CONTENTS, tmp_path / "log"), tmp_path / "file" / "cache")


def test_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left on device"):
        open_cache(FakeImages(CONTENTS, tmp_path / "log"), tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def fill(folder: Path, name: str) -> None:
    """Open the cache in this process and save the pixels that it returns."""
    images = FakeImages(CONTENTS, folder / name, pause=0.05)
    np.save(folder / f"{name}.npy", open_cache(images, folder / "cache")[np.arange(len(CONTENTS))])


def test_two_processes_at_once_fill_the_cache_once_and_both_get_the_pixels(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(tmp_path, name)) for name in ("first", "second")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    expected = np.stack([colour(content, SIZE) for content in CONTENTS])
    for name in ("first", "second"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), expected)
    decoded = [FakeImages(CONTENTS, tmp_path / name).decoded for name in ("first", "second")]
    assert sorted(decoded) == [[], FIRST_ROWS]
    assert len(leftovers(tmp_path / "cache")) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Image files
# ---------------------------------------------------------------------------------------------------------------------


def encoded(content: int = 0, side: tuple[int, int] = (24, 20), kind: str = "png") -> bytes:
    noise = np.random.default_rng(content).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def write_files(root: Path, count: int = 4, kind: str = "png") -> ImageFiles:
    paths = [f"faces/{number}.png" for number in range(count)]
    (root / "faces").mkdir(parents=True)
    for number, path in enumerate(paths):
        (root / path).write_bytes(encoded(number, kind=kind))
    return ImageFiles(root, paths)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "gif"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_error_for_a_truncated_image_names_the_file(kind: str, kept: float, tmp_path: Path) -> None:
    images = write_files(tmp_path)
    data = encoded(side=(40, 40), kind=kind)
    (tmp_path / "faces/2.png").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match=r"faces/2\.png: this image cannot be read"):
        open_pixels(images, images.digests(tmp_path / "cache"), SIZE, tmp_path / "cache")
    assert [name for name in leftovers(tmp_path / "cache") if "pixels" in name or "part" in name] == []


@pytest.mark.parametrize("count", [1, 3])
def test_error_for_a_missing_image_names_the_file(count: int, tmp_path: Path) -> None:
    images = write_files(tmp_path, count)
    (tmp_path / images.paths[-1]).unlink()
    with pytest.raises(DataError, match=rf"{count - 1}\.png: the table lists this image but it is not there"):
        images.digests(tmp_path / "cache")


def test_image_of_the_requested_size_keeps_its_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(ImageFiles(tmp_path, ["a.png"]).pixels(0, 16), pixels)


@pytest.mark.parametrize(("width", "height"), [(30, 10), (10, 30)])
def test_image_is_cropped_to_the_square_in_the_middle(width: int, height: int, tmp_path: Path) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[(height - 10) // 2 :, (width - 10) // 2 :][:10, :10] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (ImageFiles(tmp_path, ["a.png"]).pixels(0, 10) == 200).all()


@pytest.mark.parametrize("side", [(24, 20), (5, 7), (20, 20), (333, 100), (100, 101)])
@pytest.mark.parametrize("size", [7, 16])
def test_any_image_becomes_a_square_of_the_requested_size(side: tuple[int, int], size: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(side=side))
    pixels = ImageFiles(tmp_path, ["a.png"]).pixels(0, size)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_any_colour_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(encoded(side=(8, 8)))).convert(mode)
    image.save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(ImageFiles(tmp_path, ["a.tiff"]).pixels(0, 8), np.asarray(image.convert("RGB")))


def test_digests_are_equal_if_and_only_if_files_are_equal(tmp_path: Path) -> None:
    images = write_files(tmp_path)
    (tmp_path / images.paths[3]).write_bytes((tmp_path / images.paths[1]).read_bytes())
    digests = images.digests(tmp_path / "cache")
    assert digests.shape == (4,)
    assert digests[3] == digests[1]
    assert len(set(digests.tolist())) == 3


def test_digests_are_stored_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_files(tmp_path)
    first = images.digests(tmp_path / "cache")

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    np.testing.assert_array_equal(images.digests(tmp_path / "cache"), first)
    with pytest.raises(AssertionError, match="read again"):
        images.digests(tmp_path / "another cache")


@pytest.mark.parametrize("change", ["size", "time"])
def test_digests_change_with_a_file(change: str, tmp_path: Path) -> None:
    images = write_files(tmp_path, kind="bmp")
    first = images.digests(tmp_path / "cache")
    before = open_pixels(images, first, SIZE, tmp_path / "cache")[np.arange(4)]
    path = tmp_path / images.paths[2]
    status = path.stat()
    data = encoded(99, kind="bmp")  # As long as every other file.
    path.write_bytes(data + b"\0" if change == "size" else data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if change == "size" else 1_000)))
    second = images.digests(tmp_path / "cache")
    assert (second != first).tolist() == [False, False, True, False]
    after = open_pixels(images, second, SIZE, tmp_path / "cache")[np.arange(4)]
    assert (after != before).any(axis=(1, 2, 3)).tolist() == [False, False, True, False]


def test_digests_follow_the_order_of_the_table(tmp_path: Path) -> None:
    images = write_files(tmp_path)
    reversed_images = ImageFiles(tmp_path, images.paths[::-1])
    np.testing.assert_array_equal(reversed_images.digests(tmp_path / "cache"), images.digests(tmp_path / "cache")[::-1])


def test_digest_separates_its_parts() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4
    assert digest("a", 1, b"x") == digest(b"a", "1", "x")


# ---------------------------------------------------------------------------------------------------------------------
# Atomic writes
# ---------------------------------------------------------------------------------------------------------------------


def test_atomic_write_replaces_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with atomic_write(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert leftovers(tmp_path / "new") == ["file"]


def test_atomic_write_keeps_the_old_file_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["file"]


def test_error_for_a_killed_worker_has_a_hint_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK", 1)
    with pytest.raises(DataError, match="one of its processes was killed"):
        open_cache(KillingImages(CONTENTS, tmp_path / "log"), tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_processes_share_the_pixels_without_a_copy(tmp_path: Path) -> None:
    pixels = open_cache(FakeImages(CONTENTS, tmp_path / "log"), tmp_path / "cache")
    assert pixels.pixels.sum() > 0  # Every page was touched.
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path / "cache") in line]
    assert line.split()[1] == "r--s"


def test_opening_a_cache_of_thirty_thousand_faces_does_not_read_it(tmp_path: Path) -> None:
    """The file is sparse, 1.5 GB: reading it would fill the page cache of the process."""
    digests = np.array([digest(number) for number in range(30_000)], dtype="S32")
    path = cache.cache_path(np.unique(digests), 128, tmp_path)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(30_000, 128, 128, 3))
    before, _ = memory()
    opened = open_pixels(FakeImages([], tmp_path / "log"), digests, 128, tmp_path)
    after, _ = memory()
    assert len(opened.pixels) == 30_000
    assert after - before < 100e6
