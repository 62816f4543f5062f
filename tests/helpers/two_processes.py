"""Short runs of every method, on one process or as one of several, for ``test_two_processes.py`` to compare.

A batch of 12 is divided among the processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from gli import methods
from gli.auditing import plots
from gli.callbacks import ForgettingAudit
from gli.data import SyntheticFaces
from gli.data.loading import Batch
from gli.data.recipe import Recipe
from gli.engine.fit import run
from gli.engine.originals import find_or_train
from gli.errors import SettingError
from gli.methods import gli, unsir
from gli.perturbation.class_weight import ClassWeight

BATCH, ITERATIONS, BACKBONE = 12, 5, "test_resnet"  # The smallest of timm's with BatchNorm.
#: 25 images each of test, forget and unseen, 45 of retain: there is always one left over.
FACES: dict[str, Any] = {"people": 24, "pictures": 5, "image_size": 16}
FACES |= {"test_share": 0.2, "unseen_share": 0.2, "forget_share": 0.35}
FACES |= {"recipe": Recipe(lr=0.05, momentum=0.9, epochs=1)}
AUDITED = [
    "fit",
    "--model=AdvancedNegGrad",
    "--model.lr=0.01",
    "--model.batch_norm=eval",
    f"--model.backbone={BACKBONE}",
]
AUDITED += ["--data=SyntheticFaces", *(f"--data.{key}={value}" for key, value in FACES.items() if key != "recipe")]
AUDITED += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"]
AUDITED += ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null", "--trainer.max_steps=3"]


class Double(SyntheticFaces):
    """Drawn faces in double precision."""

    def to_float(self, batch: Batch) -> Batch:
        batch = super().to_float(batch)
        return batch._replace(images=batch.images.double())


@dataclass(frozen=True)
class Case:
    """A method with its settings; ``on_three`` where three processes are tried too.

    ``double`` where a step goes by a gradient's sign, or divides it by its size as Adam does: of one that is nearly
    zero float32 leaves little but rounding, and that depends on how a batch is divided.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    task: str = "age"
    on_three: bool = False
    double: bool = False


MIXED = {"batch_size": None, "retain_share": 0.8}
SCRUB = {"momentum": 0.9, "weight_decay": 0.01, "alpha": 0.3}
#: Algorithm 1 to the letter.
PAPER = {"features": "original", "init_std": 0.01, "distance": "l2"}
PAPER |= {"class_weight": ClassWeight(0.2, 0.8, form="convex", over="steps")}
CASES = {
    "Original": Case("Original"),
    "Retrained": Case("Retrained"),
    "FineTune": Case("FineTune"),
    "CFk": Case("CFk"),
    "EUk": Case("EUk"),
    "NegGrad": Case("NegGrad", {"lr": 0.01}),
    "AdvancedNegGrad": Case("AdvancedNegGrad", {"lr": 0.01, "alpha": 0.7}),
    # Two batches that impair, three that repair.
    "UNSIR": Case("UNSIR", {"impair_epochs": 1}, on_three=True, double=True),
    "UNSIR, labels": Case("UNSIR", {"impair_epochs": 1, "distance": "l2"}, "attributes", double=True),
    "SCRUB": Case("SCRUB", SCRUB, on_three=True),  # Three min steps, two max steps.
    "SCRUB, labels": Case("SCRUB", SCRUB, "attributes"),
    "BadTeaching": Case("BadTeaching", {**MIXED, "optimizer": "sgd"}, on_three=True),
    "BadTeaching, labels": Case("BadTeaching", {**MIXED, "optimizer": "sgd"}, "attributes"),
    "BadTeaching, Adam": Case("BadTeaching", {**MIXED, "lr": 0.01}, on_three=True, double=True),
    "LI": Case("LI", {"init_std": 0.01}, on_three=True, double=True),
    "LI, labels": Case("LI", {"features": "original", "distance": "cosine"}, "attributes", double=True),
    "CT": Case("CT", {"momentum": 0.9}),
    "TransposeDistil": Case("TransposeDistil", {"momentum": 0.9}),
    "TransposeDistil, labels": Case("TransposeDistil", {"lr": 0.02}, "attributes"),
    "MSG": Case("MSG", {"momentum": 0.9}, double=True),
    "SalUn": Case("SalUn", {"momentum": 0.9, "weight_decay": 0.01}, on_three=True, double=True),
    "RandomLabels, labels": Case("RandomLabels", {"lr": 0.05}, "attributes"),
    "L1Sparse": Case("L1Sparse", {"alpha": 0.001, "lr": 0.05}),
    "SSD": Case("SSD", {"alpha": 0.5}, double=True),
    "SFRon": Case("SFRon", {"every": 2, "lr": 0.02}, double=True),
    "LoTUS": Case("LoTUS", {"optimizer": "sgd", "retain_share": 0.8, "stop_at_reference": False}, double=True),
    "NoisyFineTune": Case("NoisyFineTune", {"noise": 0.1}, double=True),
    "RetrainBriefly": Case("RetrainBriefly"),
    "Served": Case("Served", {"batch_size": None}),
    "OutOfFold": Case("OutOfFold", on_three=True),
    "GLI": Case("GLI", {"class_weight": ClassWeight(1.0, 10.0)}, double=True),
    "GLI, Algorithm 1": Case("GLI", PAPER, on_three=True, double=True),
    "GLI, Algorithm 1, labels": Case("GLI", PAPER, "attributes", double=True),
}
#: Here each process normalises by its own part of the batch, so that only the processes can be compared with each
#: other.
TRAIN_MODE = Case("GLI", {"batch_norm": "train", **PAPER}, on_three=True)


@cache
def original(task: str, folder: Path, seed: int = 0) -> str:
    """The original of a task, trained by the first that asks."""
    asking, data = methods.FineTune(backbone=BACKBONE), SyntheticFaces(task=task, batch_size=BATCH, **FACES)
    settings = {"accelerator": "cpu", "enable_progress_bar": False}
    return find_or_train(asking, data, seed=seed, logs=folder, trainer_settings=settings)


@cache
def cohort_files(method: type[methods.Method], folder: Path) -> dict[str, str]:
    """The networks of a method's cohorts, likewise."""
    asking, data = method(backbone=BACKBONE), SyntheticFaces(batch_size=BATCH, **FACES)
    settings = {"accelerator": "cpu", "enable_progress_bar": False}
    find_or_train(asking, data, logs=folder, trainer_settings=settings)
    return asking.cohort_files


@cache
def data_of(case: type[SyntheticFaces], task: str, batch_size: int, reference_share: float | None) -> SyntheticFaces:
    """The faces of cases that share them: to draw them, split them and read their digests takes as long as a run."""
    return case(task=task, batch_size=batch_size, reference_share=reference_share, **FACES)


def fit(case: Case, originals: Path, world: int) -> methods.Method:
    """Five iterations of a case, nothing logged and nothing audited."""
    settings = {"lr": 0.1, "batch_norm": "eval", "backbone": BACKBONE, **case.settings}
    if case.method == "SSD":  # It trains nothing, so it has no learning rate; BatchNorm is always in eval mode.
        settings = {"backbone": BACKBONE, **case.settings}
    method = getattr(methods, case.method)(original=original(case.task, originals), **settings)
    faces, share = Double if case.double else SyntheticFaces, 0.5 if method.needs_reference else None
    data = data_of(faces, case.task, BATCH // world, share)
    if method.cohort_sets(data):
        method.cohort_files = cohort_files(type(method), originals)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=world,
        precision="64-true" if case.double else "32-true",
        max_steps=ITERATIONS,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    L.seed_everything(0, verbose=False)
    trainer.fit(method, datamodule=data)
    assert trainer.global_step == ITERATIONS
    return method


def audited(originals: Path, output: Path, world: int) -> tuple[ForgettingAudit, str]:
    """A run of the command with audits and figures: its audit callback and its folder."""
    more = [f"--data.batch_size={BATCH // world}", f"--trainer.devices={world}", f"--trainer.default_root_dir={output}"]
    command = run([*AUDITED, *more, f"--model.original={original('age', originals)}"])
    audit = ForgettingAudit.of(command.trainer)
    assert audit is not None
    return audit, str(command.trainer.log_dir)


def keeping(patch: pytest.MonkeyPatch, module: Any, name: str, kept: list[Any], which: Any) -> None:
    """Have a function also keep something of what goes in or comes out."""
    function = getattr(module, name)

    def also(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        kept.append(which(args, result))
        return result

    patch.setattr(module, name, also)


def work(originals: Path, output: Path, world: int = 1, rank: int = 0) -> None:
    """Run everything and keep what is to be compared, a file for each process."""
    made: list[torch.Tensor] = []
    drawn: list[tuple] = []
    found: dict[str, Any] = {"original": original("age", output / "lightning_logs", seed=1)}  # Nobody has it yet.
    with pytest.MonkeyPatch.context() as patch:
        keeping(patch, plots, "utility_drop", drawn, lambda args, _: ("utility_drop", args[0]))
        keeping(patch, plots, "densities", drawn, lambda args, _: ("densities", [list(part) for part in args[:2]]))
        keeping(patch, gli, "perturb", made, lambda _, result: result)
        keeping(patch, unsir, "maximise_error", made, lambda _, result: result)
        found["originals"] = {task: original(task, originals) for task in ("age", "attributes")}
        audit, folder = audited(originals, output, world)
        found["audit"] = {"rows": audit.rows, "folder": folder, "drawn": drawn}
        for name, case in {**CASES, "train mode": TRAIN_MODE}.items():
            if world < 3 or case.on_three:
                made.clear()
                found[name] = {"weights": fit(case, originals, world).model.state_dict(), "made": list(made)}
    if world > 1:
        with pytest.raises(SettingError, match="already belong to a group"):
            original("age", output / "lightning_logs", seed=2)
    torch.save(found, output / f"{rank}.pt")
