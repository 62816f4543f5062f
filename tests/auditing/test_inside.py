"""What a model's weights give away: relearning, answers around a picture, side effects, against planted models."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gli.auditing import inside as module
from gli.auditing.inside import (
    CHECKS,
    RELATIVES,
    RETAINED,
    Excess,
    Inside,
    InsideAudit,
    Subjects,
    audit_inside,
    features_of,
    halves,
    leaks,
    relearning_losses,
    through_neighbours,
)
from gli.auditing.run_audit import RunAudit
from gli.auditing.verdict import Verdict
from gli.data.synthetic import SyntheticFaces
from gli.data.tasks import MultiClass, MultiLabel
from gli.metrics.intervals import Interval
from gli.models.backbones import build_classifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> SyntheticFaces:
    cache = str(tmp_path_factory.mktemp("cache"))
    data = SyntheticFaces(people=80, pictures=4, image_size=16, forget_share=0.5, cache_dir=cache)
    data.setup()
    return data


@pytest.fixture(scope="module")
def subjects(data) -> Subjects:
    return Subjects(data, CPU, network(99))


def network(seed: int, outputs: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, outputs))


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images.float() / 255), labels).backward()
        optimizer.step()
    return model


def test_halves_divide_each_person_with_two_pictures():
    people = np.array([0, 0, 0, 1, 2, 2])
    learn, judge = halves(people)
    assert sorted([*learn, *judge]) == [0, 1, 2, 4, 5]
    assert np.bincount(people[learn]).tolist() == [1, 0, 1]
    assert np.bincount(people[judge]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("task", [MultiClass(tuple("abcdefgh")), MultiLabel(("x", "y"))])
def test_relearning_worked_out_by_hand(task):
    """The curve of one full batch of SGD with momentum is that of plain steps, in both tasks; the model stays."""
    generator = torch.Generator().manual_seed(0)
    images, judged = (torch.rand(6, 3, 16, 16, generator=generator) for _ in range(2))
    shape = (6,) if isinstance(task, MultiClass) else (6, 2)
    labels = torch.randint(0, 2, shape, generator=generator)
    model = network(0, task.num_outputs)
    before = copy.deepcopy(model.state_dict())
    curve = relearning_losses(model, task, (images, labels), (judged, labels), lr=0.1)
    assert curve.shape == (len(CHECKS), 6)
    plain, velocity = copy.deepcopy(model), [torch.zeros_like(weight) for weight in model.parameters()]
    expected = []
    for step in range(CHECKS[-1] + 1):
        if step in CHECKS:
            expected.append(task.losses(plain(judged), labels).detach().numpy())
        gradients = torch.autograd.grad(task.losses(plain(images), labels).mean(), list(plain.parameters()))
        with torch.no_grad():
            for weight, own, gradient in zip(plain.parameters(), velocity, gradients, strict=True):
                own.mul_(0.9).add_(gradient)
                weight.sub_(0.1 * own)
    np.testing.assert_allclose(curve, expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_features_are_the_input_of_the_last_layer():
    images = torch.rand(5, 3, 16, 16)
    model = network(0)
    np.testing.assert_allclose(features_of(model, images, CPU), model[:4](images).detach().numpy(), rtol=1e-5)
    assert not model[4]._forward_pre_hooks
    for name, width in (("resnet18_slim", 256), ("efficientnet_b0", 1280), ("vit_tiny_patch16_224", 192)):
        size = 224 if "vit" in name else 32
        assert features_of(build_classifier(name, 2).eval(), torch.rand(1, 3, size, size), CPU).shape == (1, width)


def test_the_same_people_are_measured_in_all_models(subjects, data):
    first, second = subjects.measure(network(0)), subjects.measure(network(1))
    assert first.values.keys() == second.values.keys() == module.VALUES.keys()
    people = len(np.unique(data.identities[data.rows("forget")]))
    assert {name: len(value) for name, value in first.values.items()} == {
        name: len(np.unique(data.identities[data.rows("unseen")])) if "never seen" in name else people
        for name in module.VALUES
    }
    again = subjects.measure(network(0))
    assert all(np.array_equal(value, again.values[name]) for name, value in first.values.items())
    assert first.margins.keys() == {RETAINED}


def test_a_model_that_remembers_is_found_and_a_retrained_one_is_not(subjects, data):
    """Models trained with the forgotten people against models trained without them, on the same retained people."""
    tensors = {
        name: (torch.from_numpy(data.pixels[data.rows(name)]).permute(0, 3, 1, 2),
               torch.from_numpy(data.faces.labels[data.rows(name)]))
        for name in ("retain", "train")
    }  # fmt: skip
    references = [subjects.measure(train(network(seed), *tensors["retain"])) for seed in range(5)]
    retrained = subjects.measure(train(network(10), *tensors["retain"]))
    original = subjects.measure(train(network(11), *tensors["train"]))
    honest = audit_inside(subjects, retrained, original, references)
    for name in ("around", "relearning"):
        assert honest.values[name].difference.covers(0)
        assert not honest.values[name].original.covers(0)
    assert honest.values["around"].original.value > 0 > honest.values["relearning"].original.value
    leaking = audit_inside(subjects, original, None, references)
    assert leaking.residual > 1.2 > honest.residual
    assert leaking.values["around"].original is None
    assert honest.klom[RETAINED].low < 0.5
    assert leaks(honest) == []
    assert any("learned again: 100 %" in each for each in leaks(audit_inside(subjects, original, original, references)))


def test_features_that_remember_fail_a_model_whose_answers_pass():
    """Of the values inside, two decide: where they find the original, and more than a fifth of it is left."""

    clear = Interval(0.2, 0.15, 0.25, 0.02)

    def inside(name, low, high, original=clear):
        middle = (low + high) / 2
        return InsideAudit({name: Excess(0.6, 0.6 - middle, Interval(middle, low, high, 0.02), original)}, math.nan)

    (found,) = leaks(inside("verification", 0.05, 0.15))
    assert found.endswith("50 % of the original's difference from retrained models")
    assert leaks(inside("relearning", -0.15, -0.05, Interval(-0.2, -0.25, -0.15, 0.02)))
    assert leaks(inside("verification", 0.03, 0.15)) == []  # Perhaps less than a fifth.
    assert leaks(inside("verification", -0.15, -0.05)) == []
    assert leaks(inside("verification", 0.05, 0.15, Interval(0.2, -0.05, 0.45, 0.1))) == []  # No power.
    assert leaks(inside("verification", 0.05, 0.15, None)) == []
    assert leaks(inside("probe", 0.15, 0.25)) == []
    audit = SimpleNamespace(verdict=Verdict("pass", "Nothing."))
    leaking = RunAudit("GLI", Path(), audit, None, 0.5, inside("verification", 0.05, 0.15))
    assert leaking.verdict.answer == "fail"
    assert "re-identification" in leaking.verdict.sentence
    assert RunAudit("GLI", Path(), audit, None, 0.5, None).verdict.answer == "pass"


def test_relatives_of_the_forgotten_are_looked_at_apart(tmp_path):
    data = SyntheticFaces(people=40, pictures=4, image_size=16, cache_dir=str(tmp_path))
    data.setup()
    forgotten, retained = (np.unique(data.identities[data.rows(name)]) for name in ("forget", "retain"))
    households = data.identities.copy()
    for relative in retained[:3]:
        households[data.identities == relative] = forgotten[0]
    object.__setattr__(data.faces, "households", households)
    subjects = Subjects(data, CPU, network(99))
    assert len(np.unique(subjects.retained[RELATIVES].people)) == 3
    models = [subjects.measure(network(seed)) for seed in range(4)]
    assert set(audit_inside(subjects, models[0], None, models[1:]).klom) == {RELATIVES, RETAINED}


def test_neighbours_are_the_nearest_retained_people_and_nobody_is_the_neighbour_of_two(tmp_path):
    data = SyntheticFaces(people=60, pictures=4, image_size=16, forget_share=0.3, cache_dir=str(tmp_path))
    data.setup()
    forgotten, unseen, retained = (
        np.unique(data.identities[data.rows(each)]) for each in ("forget", "unseen", "retain")
    )
    data.pixels = data.pixels[np.arange(len(data.identities))].copy()
    for person, double in zip((*forgotten[:2], unseen[1]), retained[5:8], strict=True):
        data.pixels[data.identities == double] = data.pixels[data.identities == person]
    neighbours = Subjects(data, CPU, network(0)).neighbours
    for name, numbers in (("forget", [0, 1]), ("unseen", [1])):
        of = data.pixels[data.rows(name)]
        people = np.unique(data.identities[data.rows(name)], return_inverse=True)[1]
        for number in numbers:
            found = neighbours[name].images[neighbours[name].people == number].permute(0, 2, 3, 1).numpy()
            np.testing.assert_array_equal(found, of[people == number])
    pictures = sum(len(side) for side in neighbours.values())
    assert pictures == 4 * min(len(forgotten) + len(unseen), len(retained))  # Each retained person once.


def test_a_leak_through_neighbours_is_found_and_noise_is_not():
    generator, numbers = np.random.default_rng(0), np.repeat(np.arange(30), 3)
    side = module.People(torch.zeros(90, 3, 1, 1), torch.zeros(90), numbers)
    easy = {name: 2 * generator.normal(size=90) for name in ("forget", "unseen")}

    def model(leak: float = 0.0) -> Inside:
        shift = {"forget": leak, "unseen": 0.0}
        return Inside({}, {}, {name: easy[name] + shift[name] + generator.normal(size=90) for name in easy})

    neighbours, references = dict.fromkeys(easy, side), [model() for _ in range(8)]
    found = through_neighbours(neighbours, model(-2), model(3), references)
    assert found["model"].low > 0.7
    assert found["original"].low > 0.9
    assert found["references"].covers(0.5)
    assert through_neighbours(neighbours, model(), None, references)["model"].covers(0.5)
    assert through_neighbours({}, model(), None, references) == {}


def test_a_single_person_has_no_excess():
    value = Inside({"around": np.array([0.5, 0.7])}, {})
    references = [Inside({"around": np.array([0.5, each])}, {}) for each in (0.6, 0.7, 0.8)]
    nobody = SimpleNamespace(retained={}, neighbours={})
    empty = audit_inside(nobody, Inside({}, {}), None, references)
    assert math.isnan(empty.residual)
    assert not empty.values
    assert audit_inside(
        type("People", (), {"retained": {}, "neighbours": {}})(), value, value, references
    ).residual == pytest.approx(1)
