"""``gli.forget``, ``gli.audit`` and ``gli.load`` on tiny networks: what they return, and what they leave alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import gli
from gli.data.recipe import Recipe
from gli.errors import CheckpointError, DataError, SettingError


def network() -> nn.Module:
    """A network with two blocks and a normalisation."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))


class Embedding(nn.Module):
    """A network with a weight that no layer can reinitialise."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(192))
        self.head = nn.Linear(192, 2)

    def forward(self, images):
        return self.head(images.flatten(1) + self.shift)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return network()


@pytest.fixture(scope="module")
def sets():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(60, 3, 8, 8, generator=generator)
    faces = [(image, n % 2, f"person {n // 3}") for n, image in enumerate(images)]
    return {"retain": faces[:24], "forget": faces[24:36], "unseen": faces[36:48], "test": faces[48:]}


@pytest.fixture(scope="module")
def result(model, sets, tmp_path_factory):
    """A run that is kept, with a reference."""
    folder = tmp_path_factory.mktemp("runs")
    method = gli.methods.NegGrad(lr=0.05)
    return run(model, sets, method, steps=3, reference=network(), folder=folder)


def run(model, sets, method, steps=2, every=1, **settings):
    trainer = {"max_steps": steps, "val_check_interval": every, "accelerator": "cpu"}
    return gli.forget(model, **sets, method=method, trainer=trainer, **settings)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_model_that_is_returned_is_the_one_that_was_audited(result, sets, model):
    logits = result.model(torch.stack([image for image, _, _ in sets["test"]]))
    right = (logits.argmax(1) == torch.tensor([label for _, label, _ in sets["test"]])).float().mean()
    assert float(right) == pytest.approx(result.audit.scores["accuracy"])
    losses = nn.functional.cross_entropy(
        result.model(torch.stack([image for image, _, _ in sets["forget"]])),
        torch.tensor([label for _, label, _ in sets["forget"]]),
        reduction="none",
    )
    assert result.audit.record.values["forget"]["loss"] == pytest.approx(losses.detach().numpy(), abs=1e-5)
    assert result.iteration == result.audit.record.iteration > 0
    assert type(result.model) is type(model)
    assert not result.model.training


def test_the_given_model_method_and_random_numbers_are_left_alone(model, sets):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    method = gli.methods.NegGrad(lr=0.05)
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first, second = (run(model, sets, method, steps=1) for _ in range(2))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert method.network is None
    assert same(first.model, second.model)
    assert not same(first.model, model)
    assert first.folder is None


def test_the_result_can_be_printed_drawn_and_reported(result, tmp_path):
    text = str(result)
    for part in ("Original", f"NegGrad, iteration {result.iteration}", "retrained", result.conclusion):
        assert part in text
    assert text.rstrip().endswith(str(result.audit))
    assert result.verdict.answer in ("pass", "fail", "cannot tell")
    assert len(result.plot().axes) == len(result.audit.plot().axes) == 1
    assert "NegGrad" in (gli.report(result.folder, tmp_path / "out")).read_text()
    assert [row["iteration"] for row in result.rows] == [0, 1, 2, 3]


def test_the_reference_is_audited_on_the_same_people(result):
    assert result.reference is not None
    assert result.reference.negative is None
    assert result.audit.negative is not None
    assert {name: len(people) for name, people in result.reference.people.items()} == {
        "test": 12,
        "forget": 12,
        "unseen": 12,
    }


def test_weights_are_loaded_into_a_network_of_the_same_class(result, model):
    loaded = gli.load(result.folder, model)
    assert same(loaded, result.model)
    assert loaded is not model
    with pytest.raises(CheckpointError, match="a network of yours, Sequential"):
        gli.load(result.folder)
    with pytest.raises(CheckpointError, match="weights of another network than this Embedding"):
        gli.load(result.folder, Embedding())
    with pytest.raises(CheckpointError, match="neither the folder of a run nor"):
        gli.load(result.folder.parent)


def test_the_last_model_is_returned_where_asked(model, sets):
    kept = run(model, sets, gli.methods.NegGrad(lr=0.05), steps=3, keep="last")
    assert kept.iteration == 3
    last = {name: value for name, value in kept.rows[-1].items() if name != "iteration"}
    assert kept.audit.scores == {**last, "retain_accuracy": kept.audit.scores["retain_accuracy"]}


def test_blocks_are_found_or_given_as_names_or_modules(model, sets):
    def changed(outcome) -> set[str]:
        parameters = model.named_parameters()
        return {name for name, value in parameters if not torch.equal(value, outcome.model.get_parameter(name))}

    head = {"4.weight", "4.bias"}
    assert changed(run(model, sets, gli.methods.CFk(k=1, lr=0.1))) == head
    assert changed(run(model, sets, gli.methods.CFk(k=1, lr=0.1), blocks=["4", "1"])) == {"1.weight", "1.bias"}
    assert changed(run(model, sets, gli.methods.CFk(k=1, lr=0.1), blocks=[model[0], model[4]])) == head
    with pytest.raises(SettingError, match="no block '5'"):
        run(model, sets, gli.methods.CFk(k=1), blocks=["0", "5"])
    with pytest.raises(SettingError, match="a Linear is not part of the Sequential"):
        run(model, sets, gli.methods.CFk(k=1), blocks=[nn.Linear(2, 2)])
    with pytest.raises(SettingError, match="this network has 2 blocks"):
        run(model, sets, gli.methods.CFk(k=3))


def test_the_returned_model_can_be_trained_as_before(model, sets):
    kept = run(model, sets, gli.methods.CFk(k=1, lr=0.1))
    assert all(parameter.requires_grad for parameter in kept.model.parameters())


def test_methods_that_need_a_new_network_reinitialise_it_or_build_it(sets):
    torch.manual_seed(0)
    own = Embedding()
    with pytest.raises(SettingError, match=r"Embedding at the top .* cannot be reinitialised"):
        run(own, sets, gli.methods.BadTeaching())
    assert run(own, sets, gli.methods.BadTeaching(), build=Embedding).iteration > 0
    torch.manual_seed(0)
    plain = network()
    fresh = run(plain, sets, gli.methods.Retrained(), recipe=Recipe(lr=0.0, momentum=0.0, epochs=1), seed=5)
    assert not torch.equal(fresh.model[0].weight, plain[0].weight)
    assert fresh.conclusion.startswith("trained from scratch")
    assert fresh.rows[0]["iteration"] == 0


SHIPPED = list(gli.methods.shipped())


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_unlearns_a_network_that_was_given(name, model, sets):
    kind = getattr(gli.methods, name)
    method = kind(k=1) if name in ("CFk", "EUk") else kind()
    kept = run(model, sets, method, reference_share=0.5, recipe=Recipe(epochs=2))
    assert type(kept.model) is type(model)
    assert [row["iteration"] for row in kept.rows][:2] == [0, 1]


def test_several_labels_are_a_multi_label_task(sets):
    torch.manual_seed(0)
    given = {
        name: [(image, torch.tensor([label, 1 - label]), person) for image, label, person in faces]
        for name, faces in sets.items()
    }
    kept = run(network(), given, gli.methods.SCRUB(lr=0.1), classes=gli.data.MultiLabel(("right", "left")))
    labels = [name for name in kept.audit.scores if name.startswith("accuracy_")]
    assert labels == ["accuracy_left", "accuracy_right"]  # Whatever PYTHONHASHSEED is.


def test_a_model_that_diverges_at_once_is_refused_with_advice(model, sets):
    with pytest.raises(DataError, match="NegGrad diverged before its first audit"):
        run(model, sets, gli.methods.NegGrad(lr=1e30), steps=5, every=5)


def test_three_references_make_the_attack_stronger(model, sets):
    references = [network() for _ in range(3)]
    small = {name: faces for name, faces in sets.items() if name != "retain"}
    weak = gli.audit(model, **small, original=model, accelerator="cpu")
    strong = gli.audit(model, **small, original=model, reference=references, accelerator="cpu")
    assert weak.positive is not None
    assert weak.negative is None
    assert strong.negative is not None
    assert strong.attack.name.startswith("RMIA")
    assert "fewer than 3 reference models" in weak.verdict.sentence
    assert "fewer than 3 reference models" not in strong.verdict.sentence


def test_an_audit_finds_a_leak_and_finds_none():
    """People to forget that the model knows by heart, and people who are all alike to it."""
    generator = torch.Generator().manual_seed(2)

    def people(name: str, level: float) -> list:
        noise = torch.rand(90, 1, 1, 1, generator=generator) * 0.02
        return [(torch.full((3, 4, 4), level) + each, 0, f"{name}{n // 3}") for n, each in enumerate(noise)]

    reader = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        reader[2].weight.copy_(torch.tensor([[9.0, 0, 0], [0, 0, 0]]))
        reader[2].bias.zero_()
    told = {"forget": people("f", 0.8), "unseen": people("u", 0.1), "test": people("t", 0.1)}
    leak = gli.audit(reader, **told, original=reader, accelerator="cpu")
    assert leak.verdict.answer == "fail"
    assert leak.attack.people.value == 1
    alike = {"forget": people("f", 0.5), "unseen": people("u", 0.5), "test": people("t", 0.5)}
    without = gli.audit(reader, **alike, accelerator="cpu")
    assert without.verdict.answer == "cannot tell"
    assert "accuracy" in without.scores


def test_a_path_in_place_of_a_model_is_refused(sets):
    with pytest.raises(SettingError, match=r"give a torch\.nn\.Module, or the path to gli\.load"):
        run("model.pth", sets, gli.methods.NegGrad())
