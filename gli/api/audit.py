"""Audit a model from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gli.api.arguments import check_margin, given_network
from gli.api.evaluate import References, evaluate, evaluate_references, given_faces, quietly
from gli.api.result import ModelAudit
from gli.auditing.verdict import MARGIN
from gli.data.given import Source
from gli.data.tasks import Task


def audit(
    model: nn.Module,
    *,
    forget: Source,
    unseen: Source,
    test: Source,
    original: nn.Module | None = None,
    reference: References = None,
    outputs: Callable[[Any], Tensor] | None = None,
    classes: Sequence[str] | Task | None = None,
    margin: float = MARGIN,
    eval_batch_size: int = 256,
    accelerator: str = "auto",
) -> ModelAudit:
    """Audit a model: its scores, and whether an attack distinguishes forgotten people from people who were never seen.

    Args:
        model: From images in [0, 1], shape ``(batch, channels, height, width)``, to logits ``(batch, outputs)``. It is
            not changed.
        forget: Images of the people who were forgotten; see :func:`gli.forget` for the form of all sets.
        unseen: Images of people whom the model never saw.
        test: Images for the accuracy.
        original: The model before unlearning. Without it nobody knows whether the attack has any power.
        reference: A model, or several, retrained without the forgotten people. With three or more the attack is RMIA
            relative to them, as in ``gli audit``; with fewer it is weaker, and the verdict says so.
        outputs: Returns the logits of what the networks return, where that is no tensor, as in :func:`gli.forget`.
        classes: Names of the classes or labels, or the task, as in :func:`gli.forget`.
        margin: Largest difference of the attacker's AUC from 0.5 that counts as no leak.
        eval_batch_size: Images per batch.
        accelerator: Device, as in ``lightning.Trainer``.

    Raises:
        DataError: If the data are not of the form described.
        SettingError: If model and data do not fit together.

    Example:
        >>> import gli, torch
        >>> faces = [(torch.rand(3, 8, 8), n % 2, f"person {n // 3}") for n in range(54)]
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        >>> result = gli.audit(model, forget=faces[:18], unseen=faces[18:36], test=faces[36:], accelerator="cpu")
        >>> result.verdict.answer in ("pass", "fail", "cannot tell")
        True
        >>> 0 <= result.scores["accuracy"] <= 1
        True
    """
    check_margin(margin)
    network = given_network(model, outputs)
    sets = {"forget": forget, "test": test, "unseen": unseen}
    machine = {"accelerator": accelerator}
    with quietly():
        data = given_faces(network, sets, classes, eval_batch_size=eval_batch_size)
        seen = evaluate(network, data, machine)
        given = None if original is None else evaluate(replace(network, module=original), data, machine, "original")
        references = evaluate_references(reference, network, data, machine)
    return seen.audited(given.record if given else None, [each.record for each in references], margin)
