from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from gli.data import MUFAC
from gli.data.augment import Augmentation
from gli.data.split_plan import SPLITS, find_overlaps, identity_groups
from gli.errors import DataError, GLIError, SettingError

REAL = Path(__file__).parents[2] / "data" / "mufac"
Maker = Callable[..., Path]


def _module(root: Path, **kwargs: object) -> MUFAC:
    return MUFAC(root=str(root), cache_dir=str(root.parent / "cache"), image_size=8, **kwargs)


def _sizes(data: MUFAC) -> dict[str, int]:
    return {name: len(rows) for name, rows in data.splits.items()}


def _rows(*rows: str) -> list[tuple[str, str, str, int]]:
    """Parse rows such as ``F0001/A/c/7``: family, person, age class, number of the picture."""
    return [(family, person, age, int(number)) for family, person, age, number in (row.split("/") for row in rows)]


def test_rows_are_in_the_order_train_val_test_with_labels_and_people(tmp_path: Path, make_mufac: Maker) -> None:
    root = make_mufac(
        tmp_path / "mufac",
        train=_rows("F0001/D/a/0", "F0001/A/h/1", "F0002/D/c/2"),
        val=_rows("F0801/M/b/3"),
        test=_rows("F0851/F/g/4"),
    )
    faces = _module(root).table()
    assert len(faces) == 5
    assert faces.labels.tolist() == [0, 7, 2, 1, 6]
    assert faces.labels.dtype == np.int64
    assert faces.identities.tolist() == ["F0001/D", "F0001/A", "F0002/D", "F0801/M", "F0851/F"]
    assert faces.households.tolist() == ["F0001", "F0001", "F0002", "F0801", "F0851"]
    assert list(faces.images.paths) == [
        "train_images/F0001_D_a_0.JPG",
        "train_images/F0001_A_h_1.jpg",
        "train_images/F0002_D_c_2.jpg",
        "val_images/F0801_M_b_0.JPG",
        "test_images/F0851_F_g_0.JPG",
    ]


@pytest.mark.parametrize(("letter", "label"), list(zip("abcdefgh", range(8), strict=True)))
def test_age_letters_are_the_eight_classes(tmp_path: Path, make_mufac: Maker, letter: str, label: int) -> None:
    faces = _module(make_mufac(tmp_path / "mufac", train=_rows(f"F0001/D/{letter}/0"))).table()
    assert faces.labels[0] == label
    ages = ("0-6", "7-12", "13-19", "20-30", "31-45", "46-55", "56-66", "67-80")
    assert faces.task.names == ages
    assert faces.task.num_outputs == 8


def test_published_split_is_the_first_1500_rows_and_val_and_test(tmp_path: Path, make_mufac: Maker) -> None:
    root = make_mufac(tmp_path / "mufac", train=1512, val=7, test=9)
    data = _module(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Here, row 1,500 is the first of a person.
        data.setup()
    assert data.splits["forget"].tolist() == list(range(1500))
    assert data.splits["retain"].tolist() == list(range(1500, 1512))
    assert data.splits["test"].tolist() == list(range(1512, 1519))
    assert data.splits["unseen"].tolist() == list(range(1519, 1528))
    assert data.rows("train").tolist() == list(range(1512))


def test_published_split_that_overlaps_is_kept_and_described_in_a_warning(tmp_path: Path, make_mufac: Maker) -> None:
    # Person F0900/A is in forget and in retain; retain and test share two files, test and unseen share one.
    train = [(f"F{1 + row // 6:04d}", "AD"[row // 3 % 2], "a", row) for row in range(1520)]
    train[1498:1502] = _rows("F0900/A/a/1498", "F0900/A/a/1499", "F0900/A/a/1500", "F0900/A/a/1501")
    val = _rows("F0801/A/a/1510", "F0801/A/b/1511", "F0801/D/b/2000")
    root = make_mufac(tmp_path / "mufac", train=train, val=val, test=_rows("F0851/A/b/2000", "F0851/A/c/2001"))
    data = _module(root)
    with pytest.warns(UserWarning, match="published split of mufac is not disjoint") as caught:
        data.setup()
    text = str(caught[0].message)
    assert "forget and retain share 1 people (F0900/A)" in text
    assert "retain and test share 2 identical files" in text
    assert "test and unseen share 1 identical files" in text
    assert text.count("share") == 3
    assert _sizes(data) == {"forget": 1500, "retain": 20, "test": 3, "unseen": 2}


def test_identity_split_groups_families_that_share_a_file(tmp_path: Path, make_mufac: Maker) -> None:
    # F0001, F0002 and F0801 are one household listed three times; every other household has one person.
    train = _rows("F0001/A/a/1", "F0001/D/b/2", "F0002/A/a/2", "F0002/D/a/3")
    train += _rows(*(f"F{family:04d}/A/c/{100 + family}" for family in range(3, 40)))
    root = make_mufac(tmp_path / "mufac", train=train, val=_rows("F0801/A/a/3", "F0802/A/b/11"), test=4)
    for seed in range(5):
        data = _module(root, split="identity", split_seed=seed)
        data.setup()
        assert sum(_sizes(data).values()) == len(data.faces)
        households = {name: set(data.faces.households[rows]) for name, rows in data.splits.items()}
        assert sum(bool(names & {"F0001", "F0002", "F0801"}) for names in households.values()) == 1
        for first, second in combinations(SPLITS, 2):
            assert not households[first] & households[second]


def test_deduplicate_keeps_identical_files_of_a_set_once(tmp_path: Path, make_mufac: Maker) -> None:
    val = _rows("F0801/A/a/1", "F0801/D/a/2", "F0802/A/b/1", "F0802/D/b/2", "F0803/A/c/3")
    root = make_mufac(tmp_path / "mufac", train=1506, val=val)
    complete, deduplicated = _module(root), _module(root, deduplicate=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        complete.setup()
        deduplicated.setup()
    assert _sizes(complete)["test"] == 5
    assert deduplicated.splits["test"].tolist() == [1506, 1507, 1510]
    assert {name: len(deduplicated.splits[name]) for name in ("retain", "forget", "unseen")} == {
        "retain": 6,
        "forget": 1500,
        "unseen": 12,
    }


@pytest.mark.parametrize(("name", "rows"), [("F0003/D", [15, 16, 17]), ("F0003", [12, 13, 14, 15, 16, 17])])
@pytest.mark.parametrize("split", ["published", "identity"])
def test_forget_identities_accepts_a_person_or_a_whole_family(
    tmp_path: Path, make_mufac: Maker, split: str, name: str, rows: list[int]
) -> None:
    data = _module(make_mufac(tmp_path / "mufac"), split=split, forget_identities=[name])
    data.setup()
    assert data.splits["forget"].tolist() == rows
    assert not set(data.rows("test")) & set(range(12, 18))
    assert not set(data.rows("unseen")) & set(range(12, 18))
    if split == "published":
        assert data.rows("train").tolist() == list(range(48))


def test_published_split_refuses_to_forget_a_person_who_is_not_in_the_training_set(
    tmp_path: Path, make_mufac: Maker
) -> None:
    data = _module(make_mufac(tmp_path / "mufac"), forget_identities=["F0001/A", "F0801/D"])
    with pytest.raises(
        SettingError, match=r"names 'F0801/D'.*can only forget images that it was trained on. Remove the name"
    ):
        data.setup()


@pytest.mark.filterwarnings("ignore:also forgotten")
def test_error_for_a_file_shared_with_an_evaluation_set_gives_the_requested_name(
    tmp_path: Path, make_mufac: Maker
) -> None:
    val = _rows("F0801/A/a/0", "F0801/D/a/5000")  # Picture 0 is the first of F0001/A.
    data = _module(make_mufac(tmp_path / "mufac", val=val), forget_identities=["F0001/A"])
    with pytest.raises(SettingError, match=r"names 'F0001/A', .*shares an identical file with a person who is not"):
        data.setup()


def test_pixels_belong_to_their_rows(tmp_path: Path, make_mufac: Maker) -> None:
    data = _module(make_mufac(tmp_path / "mufac"), split="identity")
    data.prepare_data()
    rows = np.array([3, 0, 50])
    pixels = data.pixels[rows]
    assert pixels.shape == (3, 8, 8, 3)
    for row, image in zip(rows, pixels, strict=True):
        np.testing.assert_array_equal(image, data.faces.images.pixels(int(row), 8))
    assert not np.array_equal(pixels[0], pixels[1])


def test_defaults_are_the_recipe_of_the_benchmark() -> None:
    data = MUFAC()
    assert data.augmentation == Augmentation(flip=0.5, shear=10, scale=(0.8, 1.2), jitter=0.2)
    recipe = data.recipe
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.epochs) == (0.01, 0.9, 0.0, 30)
    assert recipe.milestones == (10, 20)
    assert (data.split, data.image_size, data.batch_size) == ("published", 128, 64)


# Bad input. Each entry damages a valid folder, by a function or by replacing text in the CSV file of train; the message
# must contain the fragments.

CSV, ROW, IMAGE = "custom_{}_dataset.csv", "F0001,A,c,", "train_images/F0001_A_c_2.jpg"
OTHER_IMAGE = "val_images/F0801_A_b_1.jpg"


def _link(root: Path) -> None:
    (root / IMAGE).symlink_to((root / IMAGE).rename(root.parent / "secret.jpg"))


def _extra_column(root: Path) -> None:
    path = root / CSV.format("val")
    path.write_text("".join(f"{line},x\n" for line in path.read_text().splitlines()))


def _folder_for_an_image(root: Path) -> None:
    (root / OTHER_IMAGE).unlink()
    (root / OTHER_IMAGE).mkdir()


def _write(subset: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / CSV.format(subset)).write_bytes(content)


LINE_4 = "custom_train_dataset.csv, line 4"
DAMAGES: list[tuple[Callable[[Path], object] | tuple[str, str], list[str]]] = [
    (lambda root: root.rename(root.with_name("elsewhere")), ["no such folder", "--data.root"]),
    (lambda root: (root / "val_images").rename(root / "v"), ["val_images: no such folder", "--data.root"]),
    (lambda root: (root / CSV.format("test")).unlink(), ["custom_test_dataset.csv: cannot be read", "Check the path"]),
    (
        ("age_class", "age_clas"),
        ["train_dataset.csv, line 1", "'age_class' is missing", "Did you mean 'age_clas'?", "required are family_id"],
    ),
    (("person_id", "family_id"), ["custom_train_dataset.csv, line 1", "is repeated", "Use each name once"]),
    (_extra_column, ["custom_val_dataset.csv, line 1", "unexpected column 'x'", "Remove it"]),
    ((ROW, "F0001,A,c,c,"), [LINE_4, "5 fields", "the header has 4"]),
    ((ROW, "F0001,A,i,"), [LINE_4, "unknown age class 'i'", "letters a to h"]),
    ((ROW, "F0001,A,bc,"), [LINE_4, "unknown age class 'bc'", "letters a to h"]),
    ((ROW, "F0001,A,,"), [LINE_4, "unknown age class ''", "letters a to h"]),
    ((ROW, ",A,c,"), [LINE_4, "family_id is empty", "remove the row"]),
    ((ROW, "\nF0001,A,i,"), ["custom_train_dataset.csv, line 5", "unknown age class 'i'"]),
    (lambda root: (root / OTHER_IMAGE).unlink(), [OTHER_IMAGE, "not there", "remove its row"]),
    (_folder_for_an_image, [OTHER_IMAGE, "cannot be read", "remove its row"]),
    (("F0001_A_c_2.jpg", ""), [LINE_4, "image name is empty"]),
    (("F0001_A_c_2.jpg", f"../{OTHER_IMAGE}"), [LINE_4, f"'../{OTHER_IMAGE}' is outside", "stay in it"]),
    (("F0001_A_c_2.jpg", "/etc/hostname"), [LINE_4, "is outside", "Image names must be relative"]),
    (_link, [LINE_4, "'F0001_A_c_2.jpg' is outside", "stay in it"]),
    (_write("val", b""), ["custom_val_dataset.csv, line 1", "'family_id' is missing", "Found nothing"]),
    (_write("val", b"family_id,person_id,age_class,image_path\n"), ["val_dataset.csv", "no rows below its header"]),
    (_write("train", bytes(range(256)) * 8), ["custom_train_dataset.csv", "not UTF-8 text", "Save it as UTF-8"]),
    (_write("train", bytes(512)), ["train_dataset.csv, line 1", "holds a NUL character", "Save it as UTF-8"]),
    ((ROW, '"F0001,A,c,'), ["custom_train_dataset.csv", "not a CSV file", "need quoting"]),
]


@pytest.mark.parametrize(("damage", "fragments"), DAMAGES)
def test_error_for_a_damaged_folder_names_the_place(tmp_path: Path, make_mufac: Maker, damage, fragments) -> None:
    root = make_mufac(tmp_path / "mufac")
    if isinstance(damage, tuple):
        path = root / CSV.format("train")
        assert damage[0] in path.read_text()
        path.write_text(path.read_text().replace(*damage, 1))
    else:
        damage(root)
    with pytest.raises(DataError) as caught:
        _module(root, split="identity").setup()
    assert all(fragment in str(caught.value) for fragment in fragments), str(caught.value)


def test_a_valid_folder_is_accepted(tmp_path: Path, make_mufac: Maker) -> None:
    data = _module(make_mufac(tmp_path / "mufac"), split="identity")
    data.setup()
    assert sum(_sizes(data).values()) == 72


def test_image_folders_may_be_links(tmp_path: Path, make_mufac: Maker) -> None:
    root = make_mufac(tmp_path / "mufac")
    (root / "train_images").rename(tmp_path / "on_another_disk")
    (root / "train_images").symlink_to(tmp_path / "on_another_disk")
    data = _module(root, split="identity")
    data.setup()
    assert sum(_sizes(data).values()) == 72


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated"])
def test_an_unreadable_image_is_named_when_its_pixels_are_read(
    tmp_path: Path, make_mufac: Maker, jpeg: Callable[..., bytes], content: bytes | str
) -> None:
    root = make_mufac(tmp_path / "mufac")
    image = root / "train_images" / "F0001_A_c_2.jpg"
    image.write_bytes(jpeg(2, 64)[:800] if content == "truncated" else content)
    data = _module(root, split="identity")
    data.setup()
    with pytest.raises(DataError, match=r"F0001_A_c_2.jpg: this image cannot be read.*remove its row"):
        _ = data.pixels
    assert not [
        path.name for path in (tmp_path / "cache").iterdir() if "pixels" in path.name and path.suffix != ".lock"
    ]
    image.write_bytes(jpeg(2))
    assert _module(root).pixels[np.arange(3)].shape == (3, 8, 8, 3)


@pytest.mark.parametrize("function", ["setup", "prepare_data"])
def test_error_for_a_cache_folder_that_cannot_be_written_names_its_setting(
    tmp_path: Path, make_mufac: Maker, function: str
) -> None:
    (tmp_path / "cache").write_text("a file at the path of the cache folder")
    data = _module(make_mufac(tmp_path / "mufac"), split="identity")
    with pytest.raises(GLIError, match=r"cache.*--data.cache_dir"):
        getattr(data, function)()


# The real data set, if it is on this machine.


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not (REAL / "custom_train_dataset.csv").exists():
        pytest.skip("data/mufac does not exist")
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def published(real_cache: str) -> MUFAC:
    data = MUFAC(root=str(REAL), cache_dir=real_cache)
    with pytest.warns(UserWarning, match="published split of mufac is not disjoint"):
        data.setup()
    return data


@pytest.fixture(scope="module")
def identity(real_cache: str) -> MUFAC:
    data = MUFAC(root=str(REAL), cache_dir=real_cache, split="identity")
    data.setup()
    return data


def test_real_sizes(published: MUFAC) -> None:
    assert _sizes(published) == {"retain": 8525, "forget": 1500, "test": 1539, "unseen": 1504}
    assert len(published.faces) == 13068
    assert len(set(published.digests.tolist())) == 9119


def test_real_families_of_the_published_split(published: MUFAC) -> None:
    families = {name: published.faces.households[published.rows(name)] for name in ("train", "test", "unseen")}
    assert (min(families["train"]), max(families["train"])) == ("F0001", "F0299")
    assert (min(families["test"]), max(families["test"])) == ("F0801", "F0850")
    assert (min(families["unseen"]), max(families["unseen"])) == ("F0851", "F0900")


def test_real_published_split_has_its_known_overlaps(published: MUFAC) -> None:
    files = find_overlaps(published.splits, published.digests)
    counts = {pair: len(shared) for pair, shared in files.items()}
    assert counts == {("forget", "retain"): 18, ("retain", "unseen"): 27, ("test", "unseen"): 16}
    assert find_overlaps(published.splits, published.identities) == {("forget", "retain"): ["F0046/D"]}


def test_real_files_are_in_several_families_and_once_in_two_ages(published: MUFAC) -> None:
    families: dict[bytes, set[str]] = {}
    labels: dict[bytes, set[int]] = {}
    faces = published.faces
    for key, family, label in zip(published.digests.tolist(), faces.households, faces.labels.tolist(), strict=True):
        families.setdefault(key, set()).add(str(family))
        labels.setdefault(key, set()).add(label)
    assert sum(len(names) > 1 for names in families.values()) == 3144
    assert sum(len(ages) > 1 for ages in labels.values()) == 1


def test_real_identity_split_is_disjoint_and_near_its_shares(identity: MUFAC) -> None:
    sizes = _sizes(identity)
    assert sum(sizes.values()) == 13068
    assert len(np.unique(np.concatenate(list(identity.splits.values())))) == 13068
    for keys in (identity.identities, identity.faces.households, identity.digests):
        assert find_overlaps(identity.splits, keys) == {}
    groups = identity_groups(identity.faces.households, identity.digests)
    largest = int(np.bincount(groups).max())
    for name, share in {"test": 0.12, "unseen": 0.12, "forget": 0.15 * 0.76}.items():
        assert abs(sizes[name] - share * 13068) <= largest


def test_real_pictures_are_read(published: MUFAC) -> None:
    endings = {Path(path).suffix for path in published.faces.images.paths}
    assert endings == {".jpg", ".JPG"}
    for ending in sorted(endings):
        row = next(row for row, path in enumerate(published.faces.images.paths) if path.endswith(ending))
        assert published.faces.images.pixels(row, 128).std() > 5
