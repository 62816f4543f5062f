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
from gli.erasure.cohorts import Cohort, left_out
from gli.erasure.store import Candidate, Route, Store
from gli.errors import DataError, SettingError, did_you_mean
from gli.methods import Method
from gli.runs.folder import ORIGINALS
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
RETRAINED = Candidate("Retrained", {})
#: Method of a classifier that networks of cohorts teach.
SERVED = "Served"


def candidate_of(store: Store, route: Route, cohorts: Mapping[int, Cohort]) -> Candidate:
    """Return the method of a route, with its settings; ``cohorts`` are those of the people to be trained on."""
    policy = store.settings.policy
    if route in ("retrain", "unlearn"):
        return RETRAINED if route == "retrain" else policy.declared
    return Candidate(SERVED, {**policy.served_settings, "of": "retain", "drop": left_out(route, cohorts)})


def arguments_of(store: Store, candidate: Candidate) -> dict[str, Any]:
    """Return all settings of a method; an unlearning one starts from the current weights of a store."""
    settings, changes = store.settings, method_named(candidate.method).needs_original
    original = {"original": str(store.weights.absolute())} if changes else {}
    return {**candidate.settings, **original, "backbone": settings.backbone, "normalize": settings.normalize}


def trainer_of(store: Store, candidate: Candidate) -> dict[str, Any]:
    """Return the settings of the trainer with which a method runs."""
    policy = store.settings.policy
    if method_named(candidate.method).needs_original:
        return dict(policy.trainer_settings)
    shared = {name: policy.trainer_settings[name] for name in ("accelerator",) if name in policy.trainer_settings}
    return shared | ({"max_epochs": policy.served_epochs} if candidate.method == SERVED else {})


def model_job(
    store: Store, work: Path, data: Mapping[str, Any], kind: str, seed: int, candidate: Candidate = RETRAINED
) -> RunSpec:
    """Return the run of a model; after a kill it continues.

    Args:
        store: The store.
        work: Folder of the run, with the tables of :func:`~gli.erasure.batches.prepare`.
        data: Settings of its data.
        kind: Kind of model in messages and names of files, such as ``reference``.
        seed: Seed of the run.
        candidate: The method and its settings.
    """
    content = {
        "model": {"class_path": candidate.method, "init_args": arguments_of(store, candidate)},
        "data": {"class_path": "FaceTable", "init_args": dict(data)},
        "trainer": {"val_check_interval": NEVER, **trainer_of(store, candidate)},
        # The last model counts: no checkpoint is chosen by its scores on the people of the batch.
        "checkpoint": {"monitor": None},
        "figures": {"enabled": False},
        "audit": {"keep_losses": False},
    }
    arguments = [f"--config={json.dumps(content)}", f"--seed_everything={seed}"]
    run = specify(arguments, row=kind, column=f"seed {seed}", resumes=True)
    folder = work / f"{kind}-{run.key[:12]}"
    return replace(run, folder=folder, originals=folder / ORIGINALS)


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


def measured_minutes(
    store: Store, arguments: dict[str, Any], cohorts: Mapping[int, Cohort] | None = None
) -> dict[str, float]:
    """Return the cost of each route, rounded to a hundredth: minutes, with its reference models, passes over retain.

    A forward pass of a network that teaches counts as a third of a pass.

    Args:
        store: The store.
        arguments: Settings of the batch's data.
        cohorts: The cohorts of the people to be trained on, where the store has any.
    """
    policy, cohorts = store.settings.policy, cohorts or {}

    def cost(route: Route) -> tuple[float, float]:
        candidate = candidate_of(store, route, cohorts)
        method = make_method(candidate.method, arguments_of(store, candidate))
        limits = {"accelerator": "auto", **trainer_of(store, candidate)}
        return cost_of(method, table_of(arguments), limits)

    costs = {route: cost(route) for route in ("retrain", "unlearn")}
    images = {number: len(each.photos) for number, each in cohorts.items()}
    missing = [number for number, each in cohorts.items() if each.network is None]
    for route in ("drop", "cohorts") if len(cohorts) > 1 else ():
        networks = len(cohorts) - (len(missing) if route == "drop" else 0)
        if networks < 2 or (route == "drop" and not missing):
            continue
        share = sum(images[each] for each in missing) / sum(images.values()) if route == "cohorts" else 0.0
        taught, passes = cost(route)
        again = [share * each for each in costs["retrain"]]
        costs = {route: (taught + again[0], passes + (networks - 1) / 3 + again[1]), **costs}
    references = {"unlearn": policy.references}
    audits = {name: references.get(name, policy.retrain_references) * costs["retrain"][0] for name in costs}
    return {
        **{name: round(value, 2) for name, (value, _) in costs.items()},
        **{f"{name}_with_audit": round(value + audits[name], 2) for name, (value, _) in costs.items()},
        **{f"{name}_passes": round(passes, 2) for name, (_, passes) in costs.items()},
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


def cost_of(method: Method, data: FaceDataModule, trainer_settings: Mapping[str, Any]) -> tuple[float, float]:
    """Return the minutes of a run, without audits, from its first steps, and its training passes over retain.

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
    images = sum((part.batch_size or data.batch_size) * planned for part, planned in passes)
    seconds = measure(method, data, passes, STEPS, shared_trainer(trainer_settings)).seconds
    return seconds / 60, images / len(data.rows("retain"))
