"""Minutes of a training run, measured over its first steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from gli.data import FaceDataModule
from gli.data.recipe import Recipe
from gli.data.table import FaceTable
from gli.engine.timing import measure, planned_passes
from gli.errors import SettingError
from gli.methods import Method
from gli.runs.read import shared_trainer

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
