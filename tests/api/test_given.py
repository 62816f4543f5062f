"""Data sets and loaders as users have them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from gli.data.given import GivenFaces, collect, task_of
from gli.data.tasks import MultiClass, MultiLabel, check_labels
from gli.errors import DataError, SettingError
from gli.models.network import Network, outputs_of

BYTES = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)


def test_bytes_floats_and_pil_images_of_bytes_are_the_same_bytes():
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in BYTES]
    for images in (BYTES, BYTES / 255, pil):
        got = collect([(image, 1) for image in images], "retain").images
        assert got.dtype == np.uint8
        assert np.array_equal(got, BYTES.permute(0, 2, 3, 1).numpy())


def test_other_floats_stay_floats():
    images = torch.rand(2, 3, 4, 4)
    got = collect([(image, 1) for image in images], "retain").images
    assert got.dtype == np.float32
    assert np.allclose(got / 255, images.permute(0, 2, 3, 1).numpy(), atol=1e-7)


class Stream(IterableDataset):
    def __iter__(self):
        yield from ((image, 1, f"p{number}") for number, image in enumerate(BYTES))


class Items(Dataset):
    """Three classes, in the order of the numbers."""

    def __len__(self):
        return 7

    def __getitem__(self, number):
        if not 0 <= number < 7:
            raise AssertionError("a data set is read within its length")
        return torch.full((3, 4, 4), number, dtype=torch.uint8), number % 3, torch.tensor(number // 2)


def test_a_shuffling_loader_is_read_in_the_order_of_its_data_set_and_completely():
    loader = DataLoader(Items(), batch_size=3, shuffle=True, drop_last=True)
    got = collect(loader, "retain")
    assert got.images[:, 0, 0, 0].tolist() == list(range(7))
    assert got.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert got.identities.tolist() == ["0", "0", "1", "1", "2", "2", "3"]


def test_a_loader_with_a_sampler_of_its_own_is_read_as_it_comes():
    loader = DataLoader(Items(), batch_size=2, sampler=[5, 1, 3])
    assert collect(loader, "retain").images[:, 0, 0, 0].tolist() == [5, 1, 3]


def test_subsets_tensors_and_streams_are_read():
    assert len(collect(Subset(Items(), [1, 2]), "forget").images) == 2
    assert collect(TensorDataset(BYTES, torch.tensor([0, 1])), "forget").labels.tolist() == [0, 1]
    assert collect(Stream(), "forget").identities.tolist() == ["p0", "p1"]
    assert collect(DataLoader(Stream(), batch_size=2), "forget").identities.tolist() == ["p0", "p1"]


class Spoilt(Items):
    """A data set whose third item cannot be read."""

    def __getitem__(self, number):
        return super().__getitem__(number) if number != 2 else {}["file"]


def test_items_of_hugging_face_are_read_by_their_keys():
    items = [{"label": 1, "image": image, "id": 7} for image in BYTES]
    for source in (items, DataLoader(items, batch_size=2)):
        assert collect(source, "retain").labels.tolist() == [1, 1]
    named = [{"pixel_values": BYTES[0] / 255, "labels": 0, "identity": "anna"}]
    assert collect(named, "retain").identities.tolist() == ["anna"]


def test_without_identities_every_image_is_a_person():
    assert collect([(BYTES[0], 1), (BYTES[1], 0)], "unseen").identities.tolist() == ["unseen 0", "unseen 1"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "The retain set is empty"),
        ([(BYTES[0],)], "item 0: is not \\(image, label\\)"),
        ([(BYTES[0] / 255 * 2 - 1, 0)], "pixels lie in .* Leave normalisation out of the data"),
        ([(BYTES[0], 0), (BYTES[0][:, :2], 0)], "images differ in shape"),
        ([(BYTES[0][0], 0)], "must be \\(channels, height, width\\)"),
        ([(BYTES[0], 0.5)], "neither a class number nor a vector"),
        ([(BYTES[0], 0), (BYTES[1], [0, 1])], "some labels are classes and others are vectors"),
        ([("a.jpg", 0)], "the image is a str"),
        ([(BYTES[0] / 255, 0), (torch.full((3, 4, 4), float("nan")), 0)], "retain, item 1: pixels are NaN or infinite"),
        ([(BYTES[0].float(), 0)], r"pixels lie in \[0, 47\]; .* Divide by 255"),
        ([{"photo": BYTES[0], "label": 0}], "item 0: has the keys photo, label; name them image, label"),
        (Spoilt(), "retain, item 2: reading it raised KeyError: 'file'"),
        (itertools.cycle([(BYTES[0], 0)]), "retain: has no length, and more than 9 images"),
        (7, "retain is a int; give a Dataset"),
    ],
)
def test_data_of_another_form_are_refused_with_the_item(source, said, monkeypatch):
    monkeypatch.setattr("gli.data.given.MOST_WITHOUT_LENGTH", 9)
    with pytest.raises((DataError, SettingError), match=said):
        collect(source, "retain")


def test_the_task_follows_from_the_labels():
    assert task_of(np.array([0, 2]), 3) == MultiClass(("0", "1", "2"))
    assert task_of(np.array([[0, 1]]), 2, ["male", "young"]) == MultiLabel(("male", "young"))


@pytest.mark.parametrize(
    ("labels", "outputs", "classes", "said"),
    [
        ([0, 3], 3, None, "class 3, but the model has 3 outputs"),
        ([-1, 0], 3, None, "class -1"),
        ([[0, 1]], 3, None, "2 labels per image, but the model has 3 outputs"),
        ([[0, 2]], 2, None, "must be 0 \\(no\\) or 1 \\(yes\\)"),
        ([0, 1], 3, ["a"], "classes has 1 names"),
        ([0, 1], 2, MultiLabel(("a", "b")), "classes is a MultiLabel, but the labels are of a MultiClass"),
    ],
)
def test_labels_that_do_not_fit_the_model_are_refused(labels, outputs, classes, said):
    with pytest.raises(SettingError, match=said):
        task_of(np.array(labels), outputs, classes)


def test_vectors_that_are_classes_and_classes_that_are_people_are_refused():
    one_hot, people = np.eye(3, dtype=np.int64)[[0, 1, 2, 1]], np.array(["anna", "ben", "cara", "ben"])
    task = MultiLabel(("a", "b", "c"))
    with pytest.raises(SettingError, match="exactly one yes, as one class out of several has: give numbers"):
        check_labels(task, one_hot, people, "give numbers")
    check_labels(task, one_hot, people)  # Declared.
    check_labels(task, np.array([[0, 1, 1], [1, 0, 0]]), people[:2], "give numbers")
    with pytest.raises(SettingError, match="Each class is one person: this is face recognition"):
        check_labels(MultiClass(("a", "b", "c")), one_hot.argmax(1), people)
    check_labels(MultiClass(("a", "b", "c")), np.array([0, 1, 2, 0]), people)  # Ben has two ages.


def test_outputs_are_counted_and_the_mode_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5))
    model[0].eval()
    assert outputs_of(Network(model), BYTES[0].permute(1, 2, 0).numpy()) == 5
    assert (model.training, model[0].training) == (True, False)
    assert model[0].num_batches_tracked == 0
    with pytest.raises(SettingError, match="cannot take images of shape"):
        outputs_of(Network(nn.Linear(7, 2)), BYTES[0].permute(1, 2, 0).numpy())
    with pytest.raises(SettingError, match="must return logits"):
        outputs_of(Network(nn.Identity()), BYTES[0].permute(1, 2, 0).numpy())


class Several(nn.Module):
    """Logits beside another value, as Inception in train mode and networks of Hugging Face return them."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named, self.body = named, nn.Sequential(nn.Flatten(), nn.Linear(48, 2))

    def forward(self, images):
        logits = self.body(images)
        if self.named:
            return SimpleNamespace(logits=logits, loss=None)
        return (logits, logits) if self.training else logits


def test_logits_beside_other_values_are_found_by_their_name():
    image = BYTES[0].permute(1, 2, 0).numpy()
    assert outputs_of(Network(Several(True)), image) == 2
    assert outputs_of(Network(Several(False)), image) == 2
    with pytest.raises(SettingError, match=r"returned a tuple for two images in train mode; .* outputs=lambda y: y\[0"):
        outputs_of(Network(Several(False)), image, train=True)
    assert outputs_of(Network(Several(False), outputs=lambda several: several[0]), image, train=True) == 2
    with pytest.raises(SettingError, match=r"with outputs= cannot take images of .* AttributeError: .*'scores'"):
        outputs_of(Network(Several(True), outputs=lambda several: several.scores), image)


def test_people_in_two_sets_are_a_warning():
    sets = {name: collect([(BYTES[n % 2] + n, 0, "anna")], name) for n, name in enumerate(("retain", "forget", "test"))}
    sets["unseen"] = collect([(BYTES[1] + 9, 0, "ben")], "unseen")
    data = GivenFaces(sets, MultiClass(("a", "b")))
    with pytest.warns(UserWarning, match="the given split is not disjoint: retain and forget share 1 people"):
        data.setup()
    assert data.rows("forget").tolist() == [1]
    assert [data.dataset(name)[0][2] for name in ("retain", "unseen")] == ["anna", "ben"]
    assert torch.equal(data.dataset("unseen")[0][0], (BYTES[1] + 9) / 255)
