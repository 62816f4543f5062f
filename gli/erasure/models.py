"""The models of a batch or a rehearsal: settings of their method, cost, and runs of gli that train them."""

from __future__ import annotations

import json
import warnings
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from jsonargparse import ArgumentParser, Namespace

from gli.data import FaceDataModule
from gli.data.recipe import Recipe
from gli.data.table import FaceTable
from gli.engine.execute import execute, failures, make_executor
from gli.engine.fit import specify
from gli.engine.timing import measure, planned_passes
from gli.erasure.store import Candidate, Store
from gli.errors import DataError, SettingError, did_you_mean
from gli.methods import Method
from gli.runs.read import shared_trainer
from gli.runs.spec import NEVER, RunSpec
from gli.system.classes import concrete_subclasses, init_parameters
from gli.system.ledger import canonical

# -- a method and its settings -----------------------------------------------------------------------------------------

#: Settings of a method that follow from the store.
OF_THE_STORE = ("original", "backbone", "normalize", "pretrained", "weights")


def method_named(name: str, where: str = "policy.method") -> type[Method]:
    """Return a method by its class name.

    Args:
        name: The name.
        where: The setting or option that names it, for messages.

    Raises:
        SettingError: If there is no such method.
    """
    known = concrete_subclasses(Method)
    if name not in known:
        raise SettingError(f"{where}: there is no method {name!r}.{did_you_mean(name, known)}")
    return known[name]


def make_method(name: str, settings: Mapping[str, Any], where: str = "policy.method_settings") -> Method:
    """Return a method with some settings, as a run would make it.

    Args:
        name: Class name of the method.
        settings: Its settings; nested ones are mappings.
        where: The setting or option that names them, for messages.

    Raises:
        SettingError: If it has no such setting or no such value.
    """
    cls = method_named(name)
    parser = _parser_of(cls)
    made: Method = cls(**vars(parser.instantiate(_parsed(parser, settings, cls, where, defaults=True))))
    made.check()
    return made


def settings_with(name: str, base: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a method, some of which are replaced by values as on the command line.

    Args:
        name: Class name of the method.
        base: Settings that are kept otherwise.
        values: Values by the name of the setting, with dots in nested ones.

    Raises:
        SettingError: If the method has no such setting or no such value, or the setting follows from the store.
    """
    cls = method_named(name, "--method")
    parser, known = _parser_of(cls), _names_of(cls)
    for setting in values:
        first = setting.partition(".")[0]
        if first in OF_THE_STORE:
            raise SettingError(f"--try {setting}: this setting follows from the store. Leave it out.")
        if first not in known:
            hint = did_you_mean(setting, known) or f" It has {', '.join(known)}."
            raise SettingError(f"--try {setting}: {name} has no such setting.{hint}")
    settings = _parsed(parser, base, cls, "policy.method_settings")
    for setting, value in values.items():
        try:
            settings.update(parser.parse_args([f"--{setting}={value}"], defaults=False))
        except ArgumentError as error:
            raise SettingError(f"--try {setting}={value}: {name} takes no such value ({_reason(error)}).") from error
    merged: dict[str, Any] = settings.as_dict()
    try:
        canonical(merged)
    except ValueError as error:
        raise SettingError(f"--try: a setting of {name} is not a finite number.") from error
    return merged


def _names_of(cls: type[Method]) -> list[str]:
    """Return the names of the settings of a method that do not follow from the store."""
    return [name for name in init_parameters(cls) if name not in OF_THE_STORE]


def _parser_of(cls: type[Method]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_class_arguments(cls)
    return parser


def _parsed(
    parser: ArgumentParser, settings: Mapping[str, Any], cls: type[Method], where: str, *, defaults: bool = False
) -> Namespace:
    """Return settings as values of the right type."""
    try:
        return cast("Namespace", parser.parse_object(dict(settings), defaults=defaults))
    except ArgumentError as error:
        raise SettingError(f"{where}: {cls.__name__} does not take them ({_reason(error)}).") from error


def _reason(error: ArgumentError) -> str:
    """Return the parser's message in one line, without its list of types."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    expected = [
        line for line in lines if line.startswith(("Expected", "Option", "unrecognized")) and "None" not in line
    ]
    return (expected or lines)[0].replace("<class '", "").replace("'>", "")


# -- runs --------------------------------------------------------------------------------------------------------------

#: Seed of the first reference model.
FIRST_SEED = 1000
RETRAINED = "Retrained"


def arguments_of(store: Store, candidate: Candidate) -> dict[str, Any]:
    """Return all settings of an unlearning method that starts from the current weights of a store."""
    settings = store.settings
    shared = {"original": str(store.weights.absolute()), "backbone": settings.backbone, "normalize": settings.normalize}
    return {**candidate.settings, **shared}


def model_job(
    store: Store, work: Path, data: Mapping[str, Any], kind: str, seed: int, candidate: Candidate | None = None
) -> RunSpec:
    """Return the run of a model; after a kill it continues.

    Args:
        store: The store.
        work: Folder of the run, with the tables of :func:`~gli.erasure.batches.prepare`.
        data: Settings of its data.
        kind: Kind of model in messages and names of files, such as ``reference``.
        seed: Seed of the run.
        candidate: Method that changes the current weights; None to retrain.
    """
    settings, policy = store.settings, store.settings.policy
    trainer: dict[str, Any] = {"val_check_interval": NEVER}
    if "accelerator" in policy.trainer_settings:
        trainer["accelerator"] = policy.trainer_settings["accelerator"]
    if candidate is not None:
        model = {"class_path": candidate.method, "init_args": arguments_of(store, candidate)}
        trainer |= policy.trainer_settings
    else:
        shared = {"backbone": settings.backbone, "normalize": settings.normalize}
        model = {"class_path": RETRAINED, "init_args": shared}
    content = {
        "model": model,
        "data": {"class_path": "FaceTable", "init_args": dict(data)},
        "trainer": trainer,
        # The last model counts: no checkpoint is chosen by its scores on the people of the batch.
        "checkpoint": {"monitor": None},
        "figures": {"enabled": False},
        "audit": {"keep_losses": False},
    }
    arguments = [f"--config={json.dumps(content)}", f"--seed_everything={seed}"]
    run = specify(arguments, row=kind, column=f"seed {seed}", resumes=True)
    folder = work / f"{kind}-{run.key[:12]}"
    return replace(run, folder=folder, originals=folder / "originals")


def reference_jobs(store: Store, work: Path, data: Mapping[str, Any], count: int) -> list[RunSpec]:
    """Return the jobs of some reference models; see :func:`model_job`."""
    return [model_job(store, work, data, "reference", FIRST_SEED + number) for number in range(count)]


def train(jobs: Sequence[RunSpec], slots: int) -> None:
    """Run the jobs that are not finished.

    Args:
        jobs: The jobs.
        slots: Number of jobs at once.

    Raises:
        DataError: If a job failed.
    """
    waiting = [job for job in jobs if job.run is None]
    failed = failures(execute(waiting, make_executor(slots), slots=slots)) if waiting else []
    if failed:
        raise DataError(f"Without a result: {'; '.join(failed)}. The same command repeats what failed.")


def checkpoint_of(job: RunSpec) -> Path:
    """Return the last checkpoint of a finished job.

    Raises:
        DataError: If the run has left no checkpoint.
    """
    run = job.run
    path = run / "checkpoints" / "last.ckpt" if run is not None else None
    if path is None or not path.is_file():
        raise DataError(f"Without a result: {job.reason_of_failure()}")
    return path


def measured_minutes(store: Store, arguments: dict[str, Any]) -> dict[str, float]:
    """Return the minutes of each route, rounded to a hundredth, with and without its reference models.

    Args:
        store: The store.
        arguments: Settings of the batch's data.
    """
    settings, policy = store.settings, store.settings.policy
    shared: dict[str, Any] = {"backbone": settings.backbone, "normalize": settings.normalize}
    accelerator = {"accelerator": policy.trainer_settings.get("accelerator", "auto")}
    retrain = minutes(make_method(RETRAINED, shared), table_of(arguments), accelerator)
    own = make_method(policy.method, arguments_of(store, policy.declared))
    unlearn = minutes(own, table_of(arguments), policy.trainer_settings)
    audits = {"retrain": policy.retrain_references * retrain, "unlearn": policy.references * retrain}
    both = {"retrain": retrain, "unlearn": unlearn}
    return {
        **{name: round(value, 2) for name, value in both.items()},
        **{f"{name}_with_audit": round(value + audits[name], 2) for name, value in both.items()},
    }


# -- cost --------------------------------------------------------------------------------------------------------------

#: Steps of each pass that are measured, after one that is not: the first is slower.
STEPS = 4


def table_of(arguments: Mapping[str, Any]) -> FaceDataModule:
    """Return the data module of some settings.

    Raises:
        SettingError: If there is no such setting.
    """
    settings = dict(arguments)
    if "recipe" in settings:
        settings["recipe"] = Recipe(**{**settings["recipe"], **_tuples(settings["recipe"])})
    try:
        return FaceTable(**settings)
    except TypeError as error:
        raise SettingError(f"policy.data_settings: {error}.") from error


def _tuples(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {"milestones": tuple(recipe["milestones"])} if "milestones" in recipe else {}


def minutes(method: Method, data: FaceDataModule, trainer_settings: Mapping[str, Any]) -> float:
    """Return the minutes that a run takes, without audits, from its first steps.

    Args:
        method: The method.
        data: Its data.
        trainer_settings: Limits of the run; its number of epochs is the method's where they give none.
    """
    epochs, most = trainer_settings.get("max_epochs"), trainer_settings.get("max_steps", -1)
    if epochs in (None, -1) and most < 0:
        epochs = method.default_epochs(data.recipe)
    with warnings.catch_warnings():
        # The scores of these steps are not shown.
        warnings.filterwarnings("ignore", message="there are .* forget images")
        data.prepare_data()
        data.setup("fit")
    passes = planned_passes(method, data, None if epochs == -1 else epochs, most)
    return measure(method, data, passes, STEPS, shared_trainer(trainer_settings)).seconds / 60
