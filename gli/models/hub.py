"""Save and load classifiers as Hugging Face does: a folder with ``config.json`` and ``model.safetensors``.

The folder stays on this machine. A face model is personal data, so nothing is uploaded unless the call says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin

from gli.errors import SettingError
from gli.models.backbones import Classifier, build_classifier, is_import_path
from gli.models.checkpoints import describe_classifier, load_classifier

CARD = """---
{{ card_data }}
---

A face classifier of gli. Load it with `gli.load(FOLDER)`; it takes images in [0, 1], shape `(batch, 3, height, width)`.

The weights were trained on photographs of people, and can reveal something about them. They are personal data: share
them only where you may share the photographs.
"""


class HubClassifier(
    Classifier,
    PyTorchModelHubMixin,
    model_card_template=CARD,
    library_name="gli",
    tags=["image-classification"],
):
    """A classifier with ``save_pretrained`` and ``from_pretrained``.

    Args:
        backbone: Name of the backbone, see :func:`gli.models.build_classifier`. An import path is refused: a folder
            would then run code of its own choice where it is loaded.
        outputs: Names of the classes or labels, one per logit.
        normalize: Normalise images by ImageNet's mean and standard deviation inside the network.

    Raises:
        SettingError: If the backbone is unknown or an import path.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = mkdtemp()
        >>> HubClassifier("resnet18_slim", ["child", "adult"]).save_pretrained(folder)
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['README.md', 'config.json', 'model.safetensors']
    """

    def __init__(self, backbone: str, outputs: Sequence[str], normalize: bool = False) -> None:
        if is_import_path(backbone):
            raise SettingError(
                f"The backbone {backbone!r} is an import path, which a saved folder may not name. Let the class of "
                "your network inherit from huggingface_hub.PyTorchModelHubMixin, and save result.model."
            )
        super().__init__(build_classifier(backbone, len(outputs)).backbone, normalize)
        self.outputs = tuple(outputs)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> HubClassifier:
        """Return the classifier of a checkpoint of a run, in eval mode, to be saved as a folder.

        Raises:
            CheckpointError: If the file is not a checkpoint of gli, or its network is not known by name.
        """
        description = describe_classifier(path)
        classifier = cls(description["backbone"], list(description["outputs"]), description["normalize"])
        classifier.load_state_dict(load_classifier(path).state_dict())
        return classifier.eval()

    def push_to_hub(
        self, repo_id: str, *, personal_data: bool = False, private: bool | None = True, **kwargs: Any
    ) -> str:
        """Upload the folder, only where the caller says that these personal data may leave the machine.

        Args:
            repo_id: Name of the repository.
            personal_data: Whether the people on the photographs allow this, or the law does.
            private: Keep the repository private.
            **kwargs: See ``PyTorchModelHubMixin.push_to_hub``.

        Raises:
            SettingError: If ``personal_data`` is not True.
        """
        if not personal_data:
            raise SettingError(
                "A face model is personal data, so gli does not upload it. Use save_pretrained(FOLDER) to keep it "
                "here; if you may upload it, say so with push_to_hub(..., personal_data=True)."
            )
        return str(super().push_to_hub(repo_id, private=private, **kwargs))
