"""Make a model forget people, from Python: the same code as ``gli fit``."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import lightning as L
import torch
import yaml
from torch import Tensor, nn

from gli.api.arguments import (
    check_margin,
    check_moved,
    check_outputs,
    check_run,
    check_trainable,
    given_network,
    in_python,
)
from gli.api.evaluate import (
    Evaluated,
    References,
    accuracy_on,
    evaluate,
    evaluate_references,
    given_faces,
    in_views,
    quietly,
)
from gli.api.result import ModelAudit, Result
from gli.auditing.conclusion import conclude
from gli.auditing.record import read_people, read_record
from gli.auditing.verdict import MARGIN
from gli.callbacks import BestCheckpoint, EarlyStop, Figures, ForgettingAudit, Stopwatch, find_callback
from gli.data.augment import NO_AUGMENTATION, Augmentation
from gli.data.given import GivenFaces, Source
from gli.data.recipe import Recipe
from gli.data.tasks import Task
from gli.engine.build import audit_original, ended, make_trainer
from gli.engine.precision import resolve_precision
from gli.engine.resume import lock_run
from gli.errors import DataError
from gli.methods import Method
from gli.models.checkpoints import read_checkpoint
from gli.models.network import Network, block_names
from gli.runs.cost import write_cost
from gli.runs.folder import new_version, snake_case
from gli.runs.log import loggers
from gli.runs.read import SETTINGS, shared_trainer
from gli.system.files import write_text


def forget(
    model: nn.Module,
    *,
    retain: Source,
    forget: Source,
    unseen: Source,
    test: Source,
    method: Method,
    reference: References = None,
    trainer: Mapping[str, Any] = MappingProxyType({}),
    patience: int | None = None,
    keep: Literal["best", "last"] = "best",
    monitor: str = "val/final_score",
    blocks: Sequence[str | nn.Module] | None = None,
    build: Callable[[], nn.Module] | None = None,
    outputs: Callable[[Any], Tensor] | None = None,
    classes: Sequence[str] | Task | None = None,
    batch_size: int | None = None,
    eval_batch_size: int = 256,
    augmentation: Augmentation = NO_AUGMENTATION,
    recipe: Recipe = Recipe(),
    reference_share: float | None = None,
    margin: float = MARGIN,
    seed: int = 0,
    folder: str | Path | None = None,
    **moved: Any,
) -> Result:
    """Make a model forget people, and audit it.

    Sets are PyTorch data sets, loaders or lists of ``(image, label)`` or ``(image, label, identity)``. Images are float
    tensors in [0, 1] or uint8, shape ``(channels, height, width)``, or PIL images, all of one size; labels are class
    numbers, or vectors of 0 and 1. They are read once and stay in memory, so random augmentation in the data set is
    frozen: give ``augmentation`` instead. Without identities every image counts as a person of its own.

    Args:
        model: From images in [0, 1], shape ``(batch, channels, height, width)``, to logits ``(batch, outputs)``;
            normalisation, if any, is part of it. It is not changed.
        retain: Images that the model was trained on and is to remember.
        forget: Images that it was trained on and is to forget.
        unseen: Images of people whom it never saw, to compare with.
        test: Images of people whom it never saw, for the accuracy.
        method: A method of ``gli.methods`` with its settings, or your own.
        reference: A model, or several, retrained on retain alone, to compare with. Three or more make the verdict's
            attack stronger.
        trainer: Settings of ``lightning.Trainer``, such as ``{"max_steps": 100, "val_check_interval": 5, "accelerator":
            "cpu"}``: iterations after which it ends at the latest, iterations between audits, device. By default each
            method has its own number of epochs, an audit after each, and no progress bar. Loggers are added to gli's.
        patience: Audits without a better score after which it stops; None to run to the end.
        keep: Return the model of the ``best`` audit by ``monitor``, as ``best.ckpt`` of the command, or the ``last``.
        monitor: The score, with a prefix ``val/``.
        blocks: Names or modules of the network's blocks from input to head, for CF-k, EU-k and other methods that train
            some blocks only; None to find them.
        build: Returns a newly initialised network, for methods that need one (EU-k, Bad Teaching, retraining); None to
            reinitialise a copy of ``model``.
        outputs: Returns the logits of what the networks return, where that is no tensor, in train or in eval mode:
            ``lambda y: y["scores"]`` or, for a tuple, ``lambda y: y[0]``. None to look for ``.logits``.
        classes: Names of the classes or labels; or the task, ``gli.data.MultiLabel(["bald", ...])``, where the labels
            alone do not say it.
        batch_size: Images per training batch; None for that of the loader ``retain``, or 64.
        eval_batch_size: Images per evaluation batch.
        augmentation: Augmentation of training batches.
        recipe: Epochs, learning rate and schedule of methods that follow a recipe (EU-k, retraining).
        reference_share: Share of the test people who are set aside for methods that compare with people who are neither
            trained on nor audited, in (0, 1); None for none.
        margin: Largest difference of the attacker's AUC from 0.5 that counts as no leak.
        seed: Seed of the run. The random numbers of the caller are left as they were.
        folder: Folder of runs; this one is kept in ``<folder>/<method>_given/version_<n>``, which ``gli report`` reads.
            It names people and holds weights trained on them. None to keep nothing.
        **moved: Arguments of earlier versions that ``trainer`` has now; they are refused.

    Raises:
        DataError: If the data are not of the form described.
        SettingError: If model, data and settings do not fit together.

    Example:
        >>> import gli, torch
        >>> faces = [(torch.rand(3, 8, 8), n % 2, f"person {n // 3}") for n in range(48)]
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        >>> sets = {"retain": faces[:24], "forget": faces[24:36], "unseen": faces[36:42], "test": faces[42:]}
        >>> result = gli.forget(model, **sets, method=gli.methods.SCRUB(lr=1e-3), trainer={"accelerator": "cpu"})
        >>> type(result.model).__name__, result.verdict.answer in ("pass", "fail", "cannot tell")
        ('Sequential', True)
        >>> [row["iteration"] for row in result.rows] == [0, 2, 4]
        True
    """
    network = given_network(model, outputs)
    check_moved(moved)
    check_run(method, build, trainer, patience, keep, seed)
    check_margin(margin)
    check_trainable(model)
    network = replace(network, blocks=None if blocks is None else block_names(model, blocks), build=build)
    sets = {"retain": retain, "forget": forget, "test": test, "unseen": unseen}
    if "precision" in trainer:
        trainer = {**trainer, "precision": resolve_precision(trainer["precision"], trainer.get("accelerator"))}
    machine = shared_trainer(trainer)
    with quietly(), ExitStack() as closing:
        data = given_faces(network, sets, classes, batch_size, eval_batch_size, augmentation, recipe, reference_share)
        method = copy.deepcopy(method)
        # Checkpoints hold plain values only, so that loading one runs no code.
        method.hparams.update({name: _plain(value) for name, value in method.hparams.items()})
        method.network = network
        if build is not None:
            check_outputs(replace(network, module=build()), "build()", data)
        check_outputs(network, "model", data, train=True)
        references = evaluate_references(reference, network, data, machine)
        L.seed_everything(seed, workers=True, verbose=False)
        if not method.needs_original:
            method.network = replace(network, module=_fresh(network, seed))
        method.check()
        method.check_data(data)
        run = _run_folder(method, folder, closing)
        audit = ForgettingAudit()
        callbacks = [audit, EarlyStop(patience, monitor), BestCheckpoint(monitor)]
        if folder is not None:
            callbacks.insert(1, Figures())
        settings = {"devices": 1, "enable_progress_bar": False, "precision": "32-true", "check_val_every_n_epoch": 1}
        settings |= {**trainer, "logger": trainer.get("logger") or None}  # Those of the run cannot be switched off.
        settings["callbacks"] = [*(trainer.get("callbacks") or []), *callbacks]
        run_trainer = make_trainer(
            method=method,
            recipe=data.recipe,
            run_loggers=lambda: loggers(run.parent.parent, run.parent.name, run.name),
            **settings,
        )
        if folder is not None:
            _write_settings(run, method, data, seed)
        if method.needs_original:
            audit_original(run_trainer, method, data, seed)
        try:
            run_trainer.fit(method, datamodule=data)
        except SystemExit as error:  # Lightning's answer to Ctrl-C: return the result so far, if there is one.
            if type(error) is not SystemExit or audit.best is None:
                raise
        return _result(run_trainer, method, network, data, run, folder is not None, keep, machine, references, margin)


def _fresh(network: Network, seed: int) -> nn.Module:
    """Return a newly initialised network for a method that trains from scratch."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network.fresh().backbone


def _run_folder(method: Method, folder: str | Path | None, closing: ExitStack) -> Path:
    """Return a new folder of this run, locked; a temporary one where nothing is to be kept."""
    root = Path(closing.enter_context(tempfile.TemporaryDirectory())) if folder is None else Path(folder)
    parent = root / f"{snake_case(type(method).__name__)}_given"
    run = parent / f"version_{new_version(parent)}"
    closing.callback(lock_run(run).release)
    return run


def _write_settings(run: Path, method: Method, data: GivenFaces, seed: int) -> None:
    """Write the settings of the run, for ``gli report``."""
    own = {name: value for name, value in method.hparams.items() if name not in ("backbone", "original")}
    assert method.network is not None
    settings = {
        "seed_everything": seed,
        "model": {
            "class_path": f"{type(method).__module__}.{type(method).__qualname__}",
            "init_args": {**own, "network": method.network.name},
        },
        "data": {"class_path": "gli.data.given.GivenFaces", "init_args": {"batch_size": data.batch_size}},
    }
    write_text(run / SETTINGS, yaml.safe_dump(settings, sort_keys=False))


def _plain(value: Any) -> Any:
    """Return a setting as YAML can write it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _result(
    trainer: L.Trainer,
    method: Method,
    network: Network,
    data: GivenFaces,
    run: Path,
    kept: bool,
    keep: str,
    machine: Mapping[str, Any],
    references: Sequence[Evaluated],
    margin: float,
) -> Result:
    """Return the result of a run that has ended."""
    audit, stopwatch = ForgettingAudit.of(trainer), find_callback(trainer, Stopwatch)
    assert audit is not None
    assert stopwatch is not None
    best = audit.best
    row = audit.rows[-1] if keep == "last" or best is None else best
    checkpoint = run / "checkpoints" / ("last.ckpt" if row is audit.rows[-1] and keep == "last" else "best.ckpt")
    if not checkpoint.is_file():
        raise DataError(
            f"{method.name} diverged before its first audit, so there is no model to return. Lower its lr, or audit "
            "more often (trainer's val_check_interval)."
        )
    people = read_people(run)
    if kept:
        write_cost(run, stopwatch.seconds, trainer.strategy.root_device)
    unlearned = network.with_weights(read_checkpoint(checkpoint)["state_dict"], checkpoint)
    device = trainer.strategy.root_device

    def recorded(row: Mapping[str, float], module: nn.Module) -> Evaluated:
        record = read_record(run, int(row["iteration"]))
        assert record is not None
        scores = {name: value for name, value in row.items() if name != "iteration"}
        classifier = replace(network, module=module).classifier().to(device).eval()
        # Retain is evaluated once: it is the largest set, and the audits of a run leave it out.
        scores["retain_accuracy"] = accuracy_on("retain", classifier, data)
        return Evaluated(in_views(record, classifier, data), people, scores)

    from_original = method.needs_original
    before = recorded(audit.rows[0], network.module) if from_original else evaluate(network, data, machine)
    after = recorded(row, unlearned)
    records = [each.record for each in references]

    def audited(each: Evaluated, against: Sequence[Any]) -> ModelAudit:
        return each.audited(before.record, against, margin)

    rows = audit.rows if from_original else [{"iteration": 0, **before.scores}, *audit.rows]
    return Result(
        model=unlearned,
        method=method.name,
        iteration=int(row["iteration"]),
        audit=audited(after, records),
        original=audited(before, records),
        reference=audited(references[0], ()) if references else None,
        rows=rows,
        conclusion=in_python(conclude(ended(trainer, method, rows, references[0].scores if references else None))),
        folder=run if kept else None,
        seconds=stopwatch.seconds,
    )
