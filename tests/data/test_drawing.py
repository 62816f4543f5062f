from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from gli.data.drawing import AGE_CLASSES, Person, Picture, draw, sample_person, sample_picture
from gli.data.drawing.people import Beard


def _sampled(n: int, seed: int) -> list[tuple[Person, Picture]]:
    rng = np.random.default_rng(seed)
    people = [sample_person(rng) for _ in range(n)]
    return [(person, sample_picture(person, rng)) for person in people]


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_same_seed_gives_same_faces() -> None:
    first = [draw(*pair) for pair in _sampled(6, seed=1)]
    np.random.default_rng(99).random(10)
    np.random.seed(5)  # The global generator must have no influence.
    second = [draw(*pair) for pair in _sampled(6, seed=1)]
    np.testing.assert_array_equal(first, second)


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)
    expected = np.random.random(3)
    np.random.seed(3)
    draw(*_sampled(1, seed=2)[0])
    np.testing.assert_array_equal(np.random.random(3), expected)


@pytest.mark.parametrize("size", [32, 47, 64, 96, 128])
def test_shape_and_type(size: int) -> None:
    for person, picture in _sampled(3, seed=size):
        face = draw(person, picture, size)
        assert face.shape == (size, size, 3)
        assert face.dtype == np.uint8
        assert face.std() > 10


def test_sizes_show_the_same_scene() -> None:
    for person, picture in _sampled(6, seed=8):
        still = dataclasses.replace(picture, noise=0.0)
        small = draw(person, still, 32).astype(float)
        large = draw(person, still, 128).astype(float).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        assert np.abs(small - large).mean() < 4.0


def test_age_changes_the_picture() -> None:
    for person, picture in _sampled(8, seed=3):
        still = dataclasses.replace(picture, noise=0.0)
        child, adult, old = (draw(person, dataclasses.replace(still, age=float(a))) for a in (6, 35, 75))
        assert _difference(child, adult) > 2.0
        assert _difference(adult, old) > 2.0


def test_smile_changes_the_picture_only_around_the_face() -> None:
    for person, picture in _sampled(12, seed=4):
        sober = dataclasses.replace(picture, noise=0.0, smiling=False, smile=0.0, mouth_open=0.0)
        happy = dataclasses.replace(sober, smiling=True, smile=0.9, mouth_open=0.6)
        a, b = draw(person, sober), draw(person, happy)
        assert np.abs(a.astype(int) - b.astype(int)).max() > 30
        np.testing.assert_array_equal(a[:8], b[:8])


def test_smiling_pictures_have_a_broader_smile() -> None:
    pictures = [picture for _, picture in _sampled(300, seed=5)]
    smiling = [p.smile for p in pictures if p.smiling]
    sober = [p.smile for p in pictures if not p.smiling]
    assert 100 < len(smiling) < 200
    assert min(smiling) > max(sober) + 0.2


def test_two_people_differ_under_the_same_conditions() -> None:
    pairs = _sampled(12, seed=6)
    picture = dataclasses.replace(pairs[0][1], noise=0.0, age=30.0)
    faces = [draw(person, picture) for person, _ in pairs]
    distances = [_difference(faces[i], faces[j]) for i in range(12) for j in range(i)]
    assert min(distances) > 2.0
    # Noise alone, for comparison, changes far less.
    noisy = draw(pairs[0][0], dataclasses.replace(picture, noise=0.01))
    assert _difference(faces[0], noisy) < np.median(distances) / 3


def test_noise_seed_changes_only_noise() -> None:
    person, picture = _sampled(1, seed=7)[0]
    a = draw(person, dataclasses.replace(picture, noise=0.02, noise_seed=1, brightness=0.8))
    b = draw(person, dataclasses.replace(picture, noise=0.02, noise_seed=2, brightness=0.8))
    assert 3.0 < np.std(a.astype(float) - b.astype(float)) < 9.0  # sqrt(2) * 0.02 * 255 = 7.2, less where clipped


def test_age_classes_are_even() -> None:
    ages = np.array([picture.age for _, picture in _sampled(4000, seed=10)])
    counts = np.array([np.sum((ages >= first) & (ages <= last)) for first, last in AGE_CLASSES])
    assert counts.sum() == len(ages)
    # The spread around the base age blurs the classes a little, hence bounds of 15 % rather than a strict test.
    assert np.all(np.abs(counts / 500.0 - 1.0) < 0.15), counts


def test_base_ages_are_exactly_even_by_class() -> None:
    rng = np.random.default_rng(11)
    ages = np.array([sample_person(rng).base_age for _ in range(2000)])
    counts = [np.sum((ages >= first) & (ages <= last)) for first, last in AGE_CLASSES]
    assert sum(counts) == len(ages)
    assert stats.chisquare(counts).pvalue > 0.001


def test_ages_stay_near_the_persons_own() -> None:
    rng = np.random.default_rng(12)
    for _ in range(100):
        person = sample_person(rng)
        ages = np.array([sample_picture(person, rng).age for _ in range(30)])
        assert len(set(ages)) > 1
        assert np.abs(ages - person.base_age).max() < 20
        assert ages.std() < 6


def test_sexes_are_even_and_overlap() -> None:
    people = [person for person, _ in _sampled(2000, seed=13)]
    men = [p for p in people if p.male]
    women = [p for p in people if not p.male]
    assert 900 < len(men) < 1100
    assert np.mean([p.jaw for p in men]) > np.mean([p.jaw for p in women]) + 0.3
    assert min(p.jaw for p in men) < np.mean([p.jaw for p in women])
    assert {p.hair_style for p in men} & {p.hair_style for p in women}
    assert all(p.beard == Beard.NONE for p in women)


def test_fields_are_in_range() -> None:
    unit = ("hair_loss", "skin_tone", "rosiness", "hair_volume", "lashes", "nose_bridge", "lip_redness")
    shifts = [
        "skin_warmth",
        "jaw",
        "chin",
        "cheeks",
        "hairline",
        "eye_spacing",
        "eye_size",
        "eye_height",
        "eye_roundness",
        "eye_tilt",
        "brow_thickness",
        "brow_arch",
        "brow_tilt",
        "nose_length",
        "nose_width",
        "mouth_width",
        "mouth_height",
        "lip_fullness",
        "ear_size",
    ]
    for person, picture in _sampled(500, seed=14):
        assert all(0.0 <= getattr(person, name) <= 1.0 for name in unit)
        assert all(-1.0 <= getattr(person, name) <= 1.0 for name in shifts)
        assert all(type(v) in (int, float, bool, tuple) for v in vars(person).values())
        assert all(type(v) in (int, float, bool, tuple) for v in vars(picture).values())
        assert 0 <= person.base_age <= 80
        assert 0.88 <= person.face_width <= 1.12
        assert 0 <= picture.age <= 80
        assert picture.age == round(picture.age)
        assert -0.1 <= picture.smile <= 1.0
        assert 0.0 <= picture.mouth_open <= 1.0
        assert 0.0 <= picture.squint <= 1.0
        assert abs(picture.yaw) < 0.4
        assert abs(picture.roll) < 0.3
        assert abs(picture.shift_x) < 0.1
        assert abs(picture.shift_y) < 0.1
        colors = (person.hair_color, person.eye_color, person.glasses_color, picture.clothing_color)
        assert all(0.0 <= x <= 1.0 for color in (*colors, *picture.background_colors) for x in color)
        assert len({person, dataclasses.replace(person)}) == 1  # hashable, by value


def test_extreme_ages_can_be_drawn() -> None:
    for person, picture in _sampled(6, seed=15):
        for age in (0.0, 80.0):
            for offset in (-16.0, 16.0):
                extreme = dataclasses.replace(person, looks_older=offset)
                face = draw(extreme, dataclasses.replace(picture, age=age), 32)
                assert (face.shape, face.dtype) == ((32, 32, 3), np.uint8)
                assert face.std() > 10
