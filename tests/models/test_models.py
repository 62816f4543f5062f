from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from gli.errors import CheckpointError, SettingError
from gli.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Classifier, build_classifier
from gli.models.checkpoints import load_classifier, load_weights, read_checkpoint

TIMM = "test_resnet"
SLIM = "resnet18_slim"


@pytest.mark.parametrize("name", ["resnet18", SLIM, "efficientnet_b0", TIMM])
def test_a_backbone_has_as_many_outputs_as_asked_for(name: str) -> None:
    classifier = build_classifier(name, 5).eval()
    with torch.no_grad():
        assert classifier(torch.rand(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "head", "features"),
    [
        ("resnet18", "fc", 512),
        ("resnet50", "fc", 2048),
        ("wide_resnet50_2", "fc", 2048),
        ("efficientnet_b0", "classifier.1", 1280),
        (SLIM, "fc", 256),
    ],
)
def test_the_head_is_one_linear_layer(name: str, head: str, features: int) -> None:
    with torch.device("meta"):
        layer = build_classifier(name, 7).backbone.get_submodule(head)
    assert type(layer) is nn.Linear
    assert (layer.in_features, layer.out_features) == (features, 7)


def test_wide_resnet_is_wide() -> None:
    with torch.device("meta"):
        wide = build_classifier("wide_resnet50_2", 2).backbone
    assert wide.get_submodule("layer1.0.conv2").out_channels == 128


@pytest.mark.parametrize("layer", ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1"])
def test_the_slim_resnet_has_half_the_channels_after_the_stem(layer: str) -> None:
    with torch.device("meta"):
        slim, whole = (build_classifier(name, 8).backbone.get_submodule(layer) for name in (SLIM, "resnet18"))
    assert slim.out_channels * 2 == whole.out_channels


def test_fresh_classifiers_differ_by_seed_only() -> None:
    def head(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return build_classifier(SLIM, 3).backbone.fc.weight.detach()

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


def test_normalisation_is_the_first_step() -> None:
    images = torch.rand(2, 3, 4, 4)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(Classifier(nn.Identity(), normalize=True)(images), (images - mean) / std)
    assert torch.equal(Classifier(nn.Identity())(images), images)
    assert build_classifier(SLIM, 2, normalize=True).normalize
    assert not build_classifier(SLIM, 2).normalize


def test_normalisation_leaves_no_trace_in_the_state() -> None:
    assert set(build_classifier(SLIM, 2, normalize=True).state_dict()) == set(build_classifier(SLIM, 2).state_dict())


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("resnet81", ["Unknown backbone 'resnet81'", "Did you mean 'resnet18'?"]),
        ("efficentnet_b0", ["Unknown backbone 'efficentnet_b0'", "Did you mean 'efficientnet_b0'?"]),
        ("qqqqqq", ["Unknown backbone 'qqqqqq'", "wide_resnet50_2", "all models of timm"]),
        ("", ["Unknown backbone ''", "Known: resnet18"]),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name: str, fragments: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        build_classifier(name, 2)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_the_slim_resnet_has_no_pretrained_weights() -> None:
    with pytest.raises(SettingError, match=r"'resnet18_slim' has no ImageNet weights. Use --model.backbone resnet18"):
        build_classifier(SLIM, 2, pretrained=True)


def test_a_failed_download_is_one_message_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(SettingError, match=r"'resnet18' cannot be downloaded.*no route.*--model.pretrained false"):
        build_classifier("resnet18", 2, pretrained=True)


# Checkpoints.


def _plain(state: dict[str, Tensor]) -> Any:
    return state


def _doubled_head(state: dict[str, Tensor]) -> Any:
    return {f"fc.{key}" if key.startswith("fc.") else key: value for key, value in state.items()}


def _data_parallel(state: dict[str, Tensor]) -> Any:
    return {f"module.{key}": value for key, value in state.items()}


def _data_parallel_with_a_doubled_head(state: dict[str, Tensor]) -> Any:
    return _data_parallel(_doubled_head(state))


def _lightning(state: dict[str, Tensor]) -> Any:
    return {
        "epoch": 3,
        "hyper_parameters": {"lr": 0.1},
        "state_dict": {f"model.backbone.{k}": v for k, v in state.items()},
    }


def _half(state: dict[str, Tensor]) -> Any:
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


@pytest.fixture(scope="module")
def resnets() -> tuple[nn.Module, Classifier]:
    """Return a network of torchvision, like the published models, and a classifier that can load its weights."""
    return torchvision.models.resnet18(num_classes=8), build_classifier("resnet18", 8)


@pytest.mark.parametrize(
    "wrap", [_plain, _doubled_head, _data_parallel, _data_parallel_with_a_doubled_head, _lightning]
)
def test_published_and_wrapped_checkpoints_load(
    tmp_path: Path, resnets: tuple[nn.Module, Classifier], wrap: Callable[[dict[str, Tensor]], Any]
) -> None:
    network, classifier = resnets
    torch.save(wrap(network.state_dict()), tmp_path / "model.pth")
    for value in classifier.state_dict().values():
        value.zero_()
    load_weights(classifier, tmp_path / "model.pth", "resnet18")
    for name, value in network.state_dict().items():
        assert torch.equal(classifier.backbone.state_dict()[name], value)


def test_a_published_model_has_the_outputs_of_torchvision(
    tmp_path: Path, resnets: tuple[nn.Module, Classifier]
) -> None:
    network, classifier = resnets
    torch.save(network.state_dict(), tmp_path / "model.pth")
    load_weights(classifier, tmp_path / "model.pth", "resnet18")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classifier.eval()(images), network.eval()(images), rtol=1e-4, atol=1e-5)


@lru_cache
def _slim(outputs: int) -> Classifier:
    return build_classifier(SLIM, outputs)


@pytest.fixture
def slim_state() -> dict[str, Tensor]:
    return {name: value.clone() for name, value in _slim(3).backbone.state_dict().items()}


def test_half_precision_and_old_files_load(tmp_path: Path, slim_state: dict[str, Tensor]) -> None:
    torch.save(_half(slim_state), tmp_path / "half.pth")
    torch.save(slim_state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    classifier = build_classifier(SLIM, 3)
    load_weights(classifier, tmp_path / "old.pth", SLIM)
    assert torch.equal(classifier.backbone.fc.weight, slim_state["fc.weight"])
    load_weights(classifier, tmp_path / "half.pth", SLIM)
    assert classifier.backbone.fc.weight.dtype == torch.float32
    torch.testing.assert_close(classifier.backbone.fc.weight, slim_state["fc.weight"], rtol=1e-2, atol=1e-3)


def _refused(path: Path, *fragments: str, outputs: int = 3) -> None:
    """Assert that loading fails with these fragments in the message and does not change the classifier."""
    classifier = _slim(outputs)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(classifier, path, SLIM)
    for fragment in (str(path), *fragments):
        assert fragment in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(build_classifier(TIMM, 3).backbone.state_dict(), tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", f"another architecture than --model.backbone {SLIM}", "Name its architecture")


def test_another_width_is_refused(tmp_path: Path, slim_state: dict[str, Tensor]) -> None:
    slim_state["layer1.0.conv1.weight"] = torch.zeros(64, 32, 3, 3)
    torch.save(slim_state, tmp_path / "model.pth")
    _refused(
        tmp_path / "model.pth", f"another width than --model.backbone {SLIM}", "layer1.0.conv1.weight is (64, 32, 3, 3)"
    )


def test_another_number_of_classes_is_refused(tmp_path: Path, slim_state: dict[str, Tensor]) -> None:
    torch.save(slim_state, tmp_path / "model.pth")
    _refused(
        tmp_path / "model.pth",
        "has 3 outputs, but the data has 8",
        "Use data with the classes it was trained on",
        outputs=8,
    )


def test_missing_and_extra_weights_are_named(tmp_path: Path, slim_state: dict[str, Tensor]) -> None:
    slim_state["fc.extra"] = slim_state.pop("fc.bias")
    torch.save(slim_state, tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", "lacks 1 of its weights (fc.bias)", "has 1 others (fc.extra)")


class _Harmful:
    """An object whose unpickling creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.target), "w"))


def _saved_by_torch(harmful: _Harmful, path: Path) -> None:
    torch.save({"state_dict": {"fc.weight": harmful}}, path)


def _saved_in_the_old_format_of_torch(harmful: _Harmful, path: Path) -> None:
    torch.save({"state_dict": {"fc.weight": harmful}}, path, _use_new_zipfile_serialization=False)


def _saved_by_pickle(harmful: _Harmful, path: Path) -> None:
    path.write_bytes(pickle.dumps(harmful))


@pytest.mark.parametrize("save", [_saved_by_torch, _saved_in_the_old_format_of_torch, _saved_by_pickle])
def test_pickled_code_is_not_run(tmp_path: Path, save: Callable[[_Harmful, Path], None]) -> None:
    target, path = tmp_path / "written", tmp_path / "model.pth"
    save(_Harmful(target), path)
    _refused(path, "holds pickled code or objects", "not loaded", "torch.save(model.state_dict(), FILE)")
    with pytest.raises(CheckpointError, match="holds pickled code"):
        load_classifier(path)
    assert not target.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 - the file shows that unsafe loading runs the code
        torch.load(path, weights_only=False)["state_dict"].missing  # noqa: B018
    assert target.exists()


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", "pickled code or objects", "plain state dict")


def _bytes_of(state: dict[str, Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("part", ["start", "half", "all but the end", "all but the start"])
def test_damaged_files_are_refused(tmp_path: Path, slim_state: dict[str, Tensor], part: str) -> None:
    whole = _bytes_of(slim_state)
    parts = {
        "start": whole[:100],
        "half": whole[: len(whole) // 2],
        "all but the end": whole[:-30],
        "all but the start": bytes(2000) + whole[2000:],
    }
    (tmp_path / "model.pth").write_bytes(parts[part])
    _refused(tmp_path / "model.pth", "cannot be read as a checkpoint", "copy it again")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"some notes about the model\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 44\n",
        b"<!DOCTYPE html><html><body>404</body></html>",
        bytes(64),
    ],
    ids=["empty", "text", "git-lfs pointer", "web page", "zeros"],
)
def test_files_of_other_kinds_are_not_reported_as_pickled_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    _refused(tmp_path / "model.pth", "cannot be read as a checkpoint", "copy it again")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "model.pth", "no such checkpoint", "Check the path")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path, "cannot be read as a checkpoint")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ([torch.zeros(2)], "holds a list, not a state dict"),
        (torch.zeros(2), "holds a Tensor, not a state dict"),
        ({}, "not a state dict or a checkpoint of gli"),
        ({"state_dict": {}}, "architecture"),
        ({"state_dict": 3}, "holds no state dict"),
        ({"lr": 0.1, "epoch": 3}, "holds no state dict"),
        ({0: torch.zeros(2)}, "state dict"),
    ],
)
def test_checkpoints_without_a_state_dict_are_refused(tmp_path: Path, content: Any, fragment: str) -> None:
    torch.save(content, tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", fragment)


@pytest.mark.parametrize("name", ["fc.bias", "fc.weight", "conv1.weight"])
def test_a_scalar_in_place_of_a_weight_is_refused(tmp_path: Path, slim_state: dict[str, Tensor], name: str) -> None:
    torch.save(slim_state | {name: torch.tensor(1.0)}, tmp_path / "model.pth")
    _refused(tmp_path / "model.pth", f"{name} is ()")


def _own(
    backbone: str = SLIM, outputs: tuple[str, ...] = ("a", "b"), normalize: bool = True
) -> tuple[Classifier, dict]:
    classifier = build_classifier(backbone, len(outputs), normalize=normalize)
    state = {f"model.{name}": value for name, value in classifier.state_dict().items()}
    description = {"backbone": backbone, "outputs": list(outputs), "normalize": normalize}
    return classifier, {"state_dict": state, "classifier": description}


@pytest.mark.parametrize("normalize", [False, True])
def test_load_classifier_builds_what_the_checkpoint_describes(tmp_path: Path, normalize: bool) -> None:
    classifier, content = _own(normalize=normalize)
    torch.save(content, tmp_path / "best.ckpt")
    loaded = load_classifier(tmp_path / "best.ckpt")
    images = torch.rand(3, 3, 32, 32)
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), classifier.eval()(images))


def test_load_classifier_refuses_a_foreign_checkpoint(tmp_path: Path, slim_state: dict[str, Tensor]) -> None:
    for content in (slim_state, _lightning(slim_state)):
        torch.save(content, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match=r"model.pth.*gli did not write it.*gli.models.load_weights"):
            load_classifier(tmp_path / "model.pth")


@pytest.mark.parametrize("missing", ["backbone", "outputs", "normalize"])
def test_load_classifier_refuses_an_incomplete_description(tmp_path: Path, missing: str) -> None:
    _, content = _own()
    del content["classifier"][missing]
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model.pth"):
        load_classifier(tmp_path / "model.pth")


def test_read_checkpoint_returns_plain_values_and_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "words": ["a"], "weight": torch.ones(2)}, tmp_path / "model.pth")
    contents = read_checkpoint(str(tmp_path / "model.pth"))
    assert (contents["epoch"], contents["words"], contents["weight"].tolist()) == (3, ["a"], [1.0, 1.0])
