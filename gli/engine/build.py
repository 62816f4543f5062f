"""Build the trainer and the data of a run from settings.

The command line, originals, timing and Python have their trainers from here: it is the only place that makes one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from lightning_utilities.core.rank_zero import rank_zero_warn

from gli.auditing.conclusion import LESS, MORE, Ended
from gli.callbacks import ForgettingAudit, is_finite, standard_callbacks, with_bar
from gli.data import FaceDataModule
from gli.data.recipe import Recipe
from gli.engine.precision import slow_precision
from gli.engine.resume import AtomicCheckpointIO
from gli.errors import DataError, SettingError
from gli.methods.base import Method

#: Weights stay in float32: sign gradients and metrics are computed in it.
PRECISIONS = ("None", "32-true", "32", "bf16-mixed", "16-mixed", "bf16", "16")
#: Settings of the trainer for which None is a value and not the default.
_NONE_MATTERS = ("check_val_every_n_epoch",)


def make_trainer(
    *,
    method: Method | None = None,
    recipe: Recipe = Recipe(),
    run_loggers: Callable[[], Sequence[Logger]] = list,
    **settings: Any,
) -> L.Trainer:
    """Return a trainer.

    Args:
        method: The method, for the settings that gli chooses; None for a trainer with the given settings alone.
        recipe: The data set's recipe.
        run_loggers: Returns the loggers of the run's folder; not called where nothing is logged.
        **settings: Settings of the trainer; None for those that nobody chose.

    Raises:
        SettingError: If a setting makes no sense, or there is no such device here.
    """
    if method is not None:
        settings |= _chosen(settings, method, recipe)
    if settings.get("logger") is not False and not settings.get("fast_dev_run"):
        # The run's own loggers come first: the folder of the run is the first logger's.
        settings["logger"] = [*run_loggers(), *added_loggers(settings.get("logger"))]
    settings = {name: value for name, value in settings.items() if value is not None or name in _NONE_MATTERS}
    try:
        trainer = L.Trainer(**settings)
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        missing = isinstance(error, ImportError) or re.search("accelerator|backend", str(error))
        hint = " Is there such a device here? Otherwise --trainer.accelerator cpu, or auto." if missing else ""
        raise SettingError(f"{error}{hint}") from error
    if trainer.strategy.root_device.type == "cpu" and (warning := slow_precision(str(trainer.precision))):
        rank_zero_warn(warning)
    return trainer


def _chosen(given: Mapping[str, Any], method: Method, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of the trainer that gli chooses; the method gives the epochs where the user does not.

    Args:
        given: The user's settings of the trainer; a missing name and None mean that the user did not choose.
        method: The method.
        recipe: The data set's recipe.

    Raises:
        SettingError: If the precision would change the weights' own.
    """
    if str(given.get("precision")) not in PRECISIONS:
        raise SettingError(
            f"trainer.precision is {given.get('precision')}; weights stay in float32 in gli. Use one of "
            f"{', '.join(PRECISIONS[1:])}."
        )
    by_iteration = isinstance(given.get("val_check_interval"), int)
    defaults = {
        "num_sanity_val_steps": 0,  # The audit of iteration 0 checks more.
        "log_every_n_steps": 1 if by_iteration else 10,
        "enable_model_summary": False,
    }
    chosen: dict[str, Any] = {name: value for name, value in defaults.items() if given.get(name) is None}
    callbacks = [*(given.get("callbacks") or []), *standard_callbacks()]
    chosen["callbacks"] = with_bar(callbacks, given.get("enable_progress_bar"))
    chosen["plugins"] = [*(given.get("plugins") or []), AtomicCheckpointIO()]
    chosen["use_distributed_sampler"] = False  # Our loaders divide the data themselves.
    if by_iteration and given.get("check_val_every_n_epoch", 1) == 1:
        # Count iterations of the run: epochs are short and of different lengths.
        chosen["check_val_every_n_epoch"] = None
    if given.get("max_epochs") is None and given.get("max_steps", -1) == -1:
        chosen["max_epochs"] = method.default_epochs(recipe)
    return chosen


def added_loggers(setting: Logger | Iterable[Logger] | bool | None) -> list[Logger]:
    """Return the loggers that the user adds to those of a run."""
    if setting is None or isinstance(setting, bool):
        return []
    return [setting] if isinstance(setting, Logger) else list(setting)


def audit_original(trainer: L.Trainer, method: Method, data: FaceDataModule, seed: int) -> None:
    """Audit the original model, for the row of iteration 0, and seed again, so that the run does not depend on it."""
    trainer.validate(method, datamodule=data, verbose=False)
    L.seed_everything(seed, workers=True, verbose=False)


def ended(trainer: L.Trainer, method: Method, rows: Sequence[Mapping[str, float]], retrained: Any = None) -> Ended:
    """Return a run that has ended, for its last line, from its audits and the scores of a retrained model, if any."""
    audit = ForgettingAudit.of(trainer)
    return Ended(
        method=type(method).__name__,
        rows=rows,
        best=None if audit is None else audit.best,
        retrained=retrained,
        finite=is_finite(trainer),
        interrupted=bool(trainer.interrupted),
        from_scratch=not method.needs_original,
        more=method.more or MORE,
        less=method.less or LESS,
        rebuilds=method.rebuilds,
    )


def build_data(section: Mapping[str, Any]) -> FaceDataModule:
    """Return the data module of the data section of a run's settings; DataError if it describes none."""
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FaceDataModule, "data")
    try:
        arguments = parser.parse_args([f"--data={json.dumps(section)}"])
    except Exception as error:  # jsonargparse raises errors of several kinds.
        raise DataError(f"The settings describe no data: {error}") from error
    data: FaceDataModule = parser.instantiate(arguments).data
    return data
