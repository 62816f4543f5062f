"""Near-copies: which copies are found, which pictures are not mistaken for copies, and what a hash is."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from gli.data import FaceTable
from gli.data.drawing import draw, sample_person, sample_picture
from gli.data.near_copies import BITS, THRESHOLD, find_near_copies, perceptual_hashes

PEOPLE, PICTURES, SIZE = 25, 3, 64


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Drawn faces of people whom the threshold was not chosen on; three pictures of each."""
    drawn = []
    for number in range(PEOPLE):
        generator = np.random.default_rng([77, number])
        person = sample_person(generator)
        drawn += [draw(person, sample_picture(person, generator), SIZE) for _ in range(PICTURES)]
    return np.stack(drawn)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    small = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _cropped(image: np.ndarray, share: float) -> np.ndarray:
    side = round(SIZE * share)
    start = (SIZE - side) // 2
    crop = Image.fromarray(image[start : start + side, start : start + side])
    return np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


COPIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "identical": (lambda image: image, 1.0),
    "half the size": (lambda image: _resized(image, SIZE // 2), 1.0),
    "a quarter of the size": (lambda image: _resized(image, SIZE // 4), 0.98),
    "enlarged": (lambda image: _resized(image, 150), 1.0),
    "JPEG of quality 50": (lambda image: _jpeg(image, 50), 1.0),
    "JPEG of quality 20": (lambda image: _jpeg(image, 20), 0.95),
    "half the size, JPEG of quality 50": (lambda image: _jpeg(_resized(image, SIZE // 2), 50), 1.0),
    "cropped by 3 %": (lambda image: _cropped(image, 0.97), 0.8),
    "grey": (lambda image: image.mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2), 1.0),
    "brighter": (lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8), 0.98),
}


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found(faces, kind, mirrored):
    make, rate = COPIES[kind]
    copies = np.stack([make(image) for image in faces])
    copies = copies[:, :, ::-1] if mirrored else copies
    count = len(faces)
    pairs = find_near_copies(np.concatenate([faces, copies]), np.arange(count), np.arange(count, 2 * count))
    right = [pair for pair in pairs if pair.copy_row == pair.row + count]
    assert len(right) >= rate * count
    assert pairs == right  # Nothing else is found.
    assert all(pair.mirrored == mirrored for pair in right)


def test_different_pictures_are_not_mistaken_for_copies(faces):
    everybody = np.arange(len(faces))
    hashes, mirrored = (perceptual_hashes(faces, everybody, mirror=mirror) for mirror in (False, True))
    distances = (BITS - np.maximum(hashes @ hashes.T, mirrored @ hashes.T)) / 2
    assert distances[np.triu_indices(len(faces), 1)].min() > THRESHOLD
    assert (distances.diagonal() == 0).all()
    for row in (0, 50):
        assert find_near_copies(faces, np.array([row]), everybody) == []


def test_pairs_are_sorted_and_do_not_depend_on_the_chunks(faces):
    table = np.concatenate([faces[:20], np.stack([_jpeg(image, 20) for image in faces[:20]]), faces[:20]])
    pairs = find_near_copies(table, np.arange(20), np.arange(60))
    assert pairs == find_near_copies(table, np.arange(20), np.arange(60), chunk=7)
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    assert {pair.copy_row for pair in pairs} >= set(range(40, 60))


def test_pictures_of_the_given_people_are_no_copies_of_each_other(faces):
    table = np.concatenate([faces[:1]] * 3)
    assert [pair.copy_row for pair in find_near_copies(table, np.array([1, 0, 1]), np.arange(3))] == [2, 2]


def test_images_of_one_colour_match_nothing():
    flat = np.full((3, 16, 16, 3), 200, np.uint8)
    assert not perceptual_hashes(flat, np.arange(3)).any()
    assert find_near_copies(flat, np.array([0]), np.arange(3)) == []


def test_a_mirrored_and_a_small_copy_under_other_names_are_found_in_the_pixels_of_a_table(tmp_path):
    lines = ["file,identity,age"]

    def save(name: str, person: str, image: Image.Image, **settings: int) -> None:
        lines.append(f"{name},{person},{len(lines) % 2}")
        image.save(tmp_path / name, **settings)

    for number in range(8):
        generator = np.random.default_rng([78, number])
        face = Image.fromarray(draw(person := sample_person(generator), sample_picture(person, generator), 128))
        save(f"p{number}.png", f"p{number}", face)
        if number == 0:
            save("mirrored.jpg", "carl", face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=60)
            save("small.jpg", "dora", face.resize((70, 70)), quality=80)
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    data = FaceTable(str(tmp_path), image_size=64, cache_dir=str(tmp_path / "cache"))
    pairs = find_near_copies(data.pixels, np.flatnonzero(data.identities == "p0"), np.arange(len(data.faces)))
    assert {(str(data.identities[pair.copy_row]), pair.mirrored) for pair in pairs} == {("carl", True), ("dora", False)}
    assert find_near_copies(data.pixels, np.flatnonzero(data.identities == "p1"), np.arange(len(data.faces))) == []


@pytest.mark.parametrize("threshold", [-1, BITS // 2])
def test_impossible_thresholds_are_refused(faces, threshold):
    with pytest.raises(ValueError, match="between 0 and 127"):
        find_near_copies(faces, np.array([0]), np.array([1]), threshold=threshold)
