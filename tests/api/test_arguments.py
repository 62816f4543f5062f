"""What users mistype or mix up ends in one message that names the argument, before anything is trained."""

from __future__ import annotations

import os
import signal
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

import gli
from gli.api.arguments import in_python
from gli.data.given import collect
from gli.errors import DataError, SettingError
from gli.methods import SCRUB, BadTeaching, CFk, LoTUS, NegGrad

FACES = [(torch.full((3, 4, 4), n / 40), n % 2, f"person {n // 2}") for n in range(40)]
SETS = {"retain": FACES[:16], "forget": FACES[16:24], "unseen": FACES[24:32], "test": FACES[32:]}


def network(outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Linear(8, outputs))


def frozen() -> nn.Module:
    return network().requires_grad_(False)


def forget(model: object = None, **settings: object) -> gli.Result:
    trainer = {"max_steps": 1, "accelerator": "cpu"}
    given = {"method": NegGrad(lr=0.01), "trainer": trainer, **SETS, **settings}
    return gli.forget(network() if model is None else model, **given)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": nn.Linear}, r"model is the class Linear; give a torch\.nn\.Module"),
        ({"model": network().double()}, r"weights in float64; .* copy\.deepcopy\(model\)\.float\(\)"),
        ({"model": frozen()}, "no weight to train"),
        ({"model": torch.jit.script(network())}, "The model is TorchScript; give the torch.nn.Module"),
        (
            {"method": SCRUB(normalize=True)},
            "SCRUB has normalize=True, a setting of the command. Put the normalisation",
        ),
        ({"method": SCRUB(original="o.pth")}, "a setting of the command. Give its network as model"),
        ({"forget": SETS["unseen"]}, "forget and unseen hold the same people"),
        ({"unseen": FACES[24:26]}, "8 forget images and 2 unseen ones"),
        ({"method": LoTUS()}, "aside for it: reference_share=0.5"),
        ({"method": SCRUB}, r"method is the class SCRUB; give an object"),
        ({"method": "SCRUB"}, "method is 'SCRUB'; give an object"),
        ({"reference": "retrained.pth"}, "reference is a str"),
        ({"reference": network().state_dict()}, "reference is a OrderedDict"),
        ({"reference": network(5)}, "reference has 5 outputs, but the model has 2"),
        ({"outputs": "logits"}, "outputs is a str; give a function"),
        ({"method": BadTeaching(), "build": network()}, "build is a Sequential; give a function"),
        ({"method": BadTeaching(), "build": lambda: network(3)}, r"build\(\) has 3 outputs, but the model has 2"),
        ({"trainer": {"max_steps": 0}}, "trainer's max_steps is 0; it must be at least 1"),
        ({"trainer": {"max_epochs": 0}}, "max_epochs is 0"),
        ({"trainer": {"max_step": 1, "accelerator": "cpu"}}, "unexpected keyword argument 'max_step'"),
        ({"trainer": {"accelerator": "gpuu"}}, "gpuu"),
        ({"steps": 3}, r"steps is a setting of the trainer now; give trainer={'max_steps': 3}"),
        ({"patience": -1}, "patience is -1"),
        ({"keep": "bset"}, "keep is 'bset'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"margin": 0.7}, r"margin is 0\.7"),
        ({"classes": "ab"}, "classes is 'ab'; give a list of different names"),
        ({"classes": ["a", "a"]}, "give a list of different names"),
        ({"recipe": {"epochs": 1}}, r"recipe is a dict; give a gli\.data\.recipe\.Recipe"),
        ({"augmentation": {}}, "augmentation is a dict"),
        ({"method": CFk(k=1), "blocks": "2"}, "blocks is '2'; give a list"),
        ({"method": CFk(k=1), "blocks": ["2", "2"]}, "'2' is named twice"),
        ({"method": CFk(k=1), "blocks": []}, r"blocks is \[\]; give a list"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_trained(settings, said):
    with pytest.raises((DataError, SettingError), match=said):
        forget(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"original": network(4)}, "original has 4 outputs, but the model has 2"),
        ({"original": "original.pth"}, "original is a str"),
        ({"reference": [network(), network(3)]}, "reference has 3 outputs"),
        ({"margin": 0}, "margin is 0"),
    ],
)
def test_an_audit_compares_models_of_the_same_classes(settings, said):
    small = {name: faces for name, faces in SETS.items() if name != "retain"}
    with pytest.raises(SettingError, match=said):
        gli.audit(network(), **small, accelerator="cpu", **settings)


class Wrapped(nn.Module):
    """Logits in a dictionary, and in a tuple with another value in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, images):
        logits = self.body(images)
        return (logits, images) if self.training else {"scores": logits, "images": images}


def test_logits_are_read_where_outputs_finds_them_as_if_they_came_alone():
    def outputs(returned):
        return returned[0] if isinstance(returned, tuple) else returned["scores"]

    method = BadTeaching(lr=0.1)
    plain = forget(method=method, reference=network(), build=network)
    wrapped = forget(Wrapped(), method=method, reference=[Wrapped()], build=Wrapped, outputs=outputs)
    assert wrapped.rows == plain.rows
    assert wrapped.reference.scores == plain.reference.scores
    assert isinstance(wrapped.model, Wrapped)
    small = {name: faces for name, faces in SETS.items() if name != "retain"}
    audit = gli.audit(wrapped.model, **small, original=Wrapped(), outputs=outputs, accelerator="cpu")
    assert audit.scores["accuracy"] == plain.audit.scores["accuracy"]
    with pytest.raises(SettingError, match=r"returned a dict for two images; .* outputs=lambda"):
        forget(Wrapped())


def test_a_network_of_another_type_is_told_so_by_an_audit():
    small = {name: faces for name, faces in SETS.items() if name != "retain"}
    with pytest.raises(SettingError, match="in float32"):
        gli.audit(network().double(), **small, accelerator="cpu")


def test_images_without_identities_are_a_warning_and_a_mixture_is_refused():
    anonymous = [(image, label) for image, label, _ in FACES[16:24]]
    with pytest.warns(UserWarning, match="^forget: images without identities. Each counts as a person of its own"):
        forget(forget=anonymous)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*without identities|.*eval mode")
        result = forget()
    assert "--model" not in result.conclusion
    with pytest.raises(DataError, match="retain, item 8: some images of this set have an identity and others"):
        forget(retain=[*FACES[:8], *anonymous])


def test_a_loader_that_draws_some_of_its_images_is_not_read_completely():
    some = DataLoader(FACES, batch_size=3, sampler=RandomSampler(FACES, num_samples=5))
    assert len(collect(some, "retain").images) == 5
    subset = DataLoader(FACES, batch_size=3, sampler=RandomSampler(range(7)))
    assert len(collect(subset, "retain").images) == 7
    assert len(collect(DataLoader(FACES, batch_size=3, shuffle=True, drop_last=True), "retain").images) == 40


def test_a_plain_state_dict_is_loaded_into_a_network_of_its_class(tmp_path):
    path = tmp_path / "unlearned.pth"
    result = forget()
    torch.save(result.model.state_dict(), path)
    loaded = gli.load(path, network())
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), result.model.parameters(), strict=True))
    assert not loaded.training
    with pytest.raises(SettingError, match="model is the class Linear"):
        gli.load(path, nn.Linear)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"runs": []}, "runs is empty"),
        ({"select": "best"}, "select is 'best'; it must be one of final_score"),
        ({"resamples": -1}, "resamples is -1"),
    ],
)
def test_a_report_names_a_wrong_argument(settings, said, tmp_path):
    with pytest.raises(SettingError, match=said):
        gli.report(**{"runs": tmp_path, "output": tmp_path / "out", **settings})


def test_a_sentence_of_the_command_names_the_arguments_of_python():
    sentence = "lower --model.lr, or stop before (--trainer.max_steps): such as --early_stopping.patience 3"
    assert in_python("gli audit says so: --data.reference_share 0.5.") == "the verdict says so: reference_share=0.5."
    assert in_python("give a gli.data.recipe.Recipe or a/model.pth") == "give a gli.data.recipe.Recipe or a/model.pth"
    assert in_python(sentence) == "lower lr, or stop before (trainer's max_steps): such as patience=3"


def test_an_argument_that_never_was_is_an_error_as_of_every_function():
    with pytest.raises(TypeError, match="unexpected keyword argument 'metod'"):
        forget(metod=1)


def test_labels_that_are_vectors_of_classes_or_names_of_people_are_refused():
    def relabelled(label) -> dict[str, list]:
        return {name: [(image, label(who), who) for image, _, who in faces] for name, faces in SETS.items()}

    def number(who: str) -> int:
        return int(who.split()[1])

    one_hot = relabelled(lambda who: nn.functional.one_hot(torch.tensor(number(who) % 3), 3))
    with pytest.raises(
        SettingError, match=r"give class numbers, label\.argmax\(\); or, .*MultiLabel\(\['0', '1', '2'\]"
    ):
        forget(network(3), **one_hot)
    assert "accuracy_b" in forget(network(3), **one_hot, classes=gli.data.MultiLabel(["a", "b", "c"])).audit.scores
    with pytest.raises(SettingError, match="Each class is one person: this is face recognition"):
        forget(network(20), **relabelled(number))
    with pytest.warns(UserWarning, match="2 of the model's 64 outputs occur as labels. Is it an embedding network"):
        forget(network(64))


class Interrupted(NegGrad):
    """Ctrl-C in a given iteration."""

    at = 2

    def unlearn(self, retain, forget):
        if self.iteration == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().unlearn(retain, forget)


def test_ctrl_c_returns_the_result_so_far(monkeypatch, request):
    handler = signal.default_int_handler  # As at a terminal: a job in the background ignores Ctrl-C.
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, handler)))
    trainer = {"max_steps": 5, "val_check_interval": 1, "accelerator": "cpu"}
    result = forget(method=Interrupted(lr=0.01), trainer=trainer)
    assert [row["iteration"] for row in result.rows] == [0, 1, 2]
    assert {"retain_accuracy", "forget_accuracy", "accuracy"} <= result.audit.scores.keys()
    monkeypatch.setattr(Interrupted, "at", 0)
    with pytest.raises(KeyboardInterrupt):
        forget(method=Interrupted(lr=0.01), trainer=trainer)
    assert signal.getsignal(signal.SIGINT) == handler  # Lightning ignores the next Ctrl-C otherwise.


def test_a_model_that_is_wrong_about_its_own_training_images_is_asked_about_its_normalisation():
    inverted = [(image, 1 - label, who) for image, label, who in FACES[16:24]]
    small = {"forget": inverted, "unseen": SETS["unseen"], "test": SETS["test"]}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    assert "is normalisation missing" in str(gli.audit(model, **small, original=model, accelerator="cpu"))
