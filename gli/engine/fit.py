"""``gli fit|validate|test``: LightningCLI with gli's methods, data and callbacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger

import gli
from gli.auditing.conclusion import comparison, conclude, scores_page
from gli.callbacks import (
    BestCheckpoint,
    EarlyStop,
    Figures,
    ForgettingAudit,
    Stopwatch,
    find_callback,
    is_finite,
)
from gli.data import FaceDataModule
from gli.engine import originals, resume
from gli.engine.build import audit_original, ended, make_trainer
from gli.engine.membership import judge_membership
from gli.engine.precision import AUTO, resolve_precision
from gli.errors import INTERRUPTED, GLIError, SettingError
from gli.methods import Method, Retrained
from gli.runs.configs import configs_among, resolve_arguments
from gli.runs.cost import write_cost
from gli.runs.folder import LOGS, ORIGINALS, new_version, snake_case
from gli.runs.log import loggers
from gli.runs.membership import read_membership, write_membership
from gli.runs.spec import RunSpec
from gli.system import ranks
from gli.system.classes import concrete_subclasses
from gli.system.console import console
from gli.system.explain import explain, settings_of
from gli.system.files import read_yaml, write_text
from gli.system.lightning import also_accept

#: Callbacks with settings that every run has, by the section of their settings.
CALLBACKS: dict[str, type[L.Callback]] = {
    "audit": ForgettingAudit,
    "figures": Figures,
    "early_stopping": EarlyStop,
    "checkpoint": BestCheckpoint,
}
#: Settings of the trainer that the original's training shares with the run it is trained for.
SHARED = ("accelerator", "precision", "deterministic", "benchmark", "enable_progress_bar")


def explain_parser_error(message: str) -> str:
    """Return a short version of a parser's message, with the setting that was meant where one is mistyped."""
    classes = {"model": concrete_subclasses(Method), "data": concrete_subclasses(FaceDataModule)}
    owners = [(key, owner) for key, known in classes.items() for owner in known.values()]
    owners += [("trainer", L.Trainer), *CALLBACKS.items()]
    settings = [name for key, owner in owners for name in settings_of(key, owner)]
    return explain(message, [*settings, "config", "seed_everything", "ckpt_path", *classes, *CALLBACKS], classes)


def method_names() -> dict[str, str]:
    """Return the class name of each method by its name in configurations."""
    return {snake_case(name): name for name in concrete_subclasses(Method)}


class Parser(LightningArgumentParser):
    """Raise errors as :class:`GLIError`, so that they reach the user as one message."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an error that says what is wrong and which setting was meant; nested parsers report to this one."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise GLIError(explain_parser_error(message)) from ex


class SaveSettings(SaveConfigCallback):
    """Write a run's settings into its folder, whole or not at all; those of a resumed run stay as they were."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)
        self._path = Path(self.config_filename)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the folder of the run on every process, because the answer is broadcast."""
        self._path = Path(str(trainer.log_dir)) / self.config_filename
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the settings, and what is known of who was trained on; called on the first process only."""
        membership = getattr(pl_module, "membership", None)
        if membership is not None:
            write_membership(self._path.parent, membership)
        checkpoint = Path(self.config.get("ckpt_path") or "")
        if not self._path.exists() or checkpoint.parent.parent != self._path.parent:
            write_text(self._path, self.parser.dump(self.config, skip_unset=False))


class CLI(LightningCLI):
    """Find or train the original before a run, audit it for the row of iteration 0, and end with a table.

    Args:
        locks: Holds the lock on the folder of this run.
        callbacks: Callbacks of the run besides those of its settings.
        *args: See LightningCLI.
        **kwargs: See LightningCLI.
    """

    trainer: L.Trainer
    model: Method
    datamodule: FaceDataModule

    def __init__(self, *args: Any, locks: ExitStack, callbacks: Sequence[L.Callback] = (), **kwargs: Any) -> None:
        self._locks, self._callbacks = locks, callbacks
        #: Folder of the run that is resumed (``--ckpt_path last``).
        self._resumed: Path | None = None
        #: Settings of the model before the checkpoint's own replaced them.
        self._asked: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return Lightning's commands without predict, which would add nothing to validate and test."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    # -- settings --------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Namespace:
        """The settings of the command."""
        settings: Namespace = self.config[self.config.subcommand]
        return settings

    @property
    def logs(self) -> Path:
        """Folder of all runs."""
        return Path(self.settings.trainer.default_root_dir or ".") / LOGS

    @property
    def originals(self) -> Path:
        """Folder of the original models."""
        return Path(self.settings.get("originals") or self.logs / ORIGINALS)

    @property
    def seed(self) -> int:
        """Seed of this run."""
        return int(self.settings.seed_everything)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the settings of the callbacks that every run has, and the folder of the originals."""
        parser.add_argument(
            "--originals",
            type=str | None,
            default=None,
            help="Folder where original models are kept and found; lightning_logs/originals by default.",
        )
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        also_accept(parser, "trainer.precision", AUTO)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line; then find and check the checkpoint that it names."""
        _check_configs(args)
        super().parse_arguments(parser, args)
        if self.config.get("subcommand"):
            trainer = self.settings.trainer
            if not isinstance(trainer, Namespace):
                raise SettingError(f"trainer is {trainer}: give it settings, or remove it from the configuration.")
            trainer.precision = resolve_precision(trainer.precision, trainer.accelerator)
            self._find_checkpoint()
            resume.check_checkpoint(self.settings.get("ckpt_path"), str(self.settings.model.class_path))
            self._asked = dict(self.settings.model.get("init_args", {}))

    def _find_checkpoint(self) -> None:
        """Replace ``--ckpt_path last`` (or ``best``) by the checkpoint of the newest run of these settings."""
        name = self.settings.get("ckpt_path")
        if name not in ("last", "best"):
            return
        settings = yaml.safe_load(self.parser.dump(self.config, skip_unset=False, skip_link_targets=False))
        method = str(self.settings.model.class_path).rpartition(".")[2]
        folder = resume.find_run(self.logs, method, settings[self.config.subcommand])
        if folder is None and self.config.subcommand != "fit":
            raise SettingError(
                f"{self.logs}: holds no run of {method} with these settings. Name the file of its checkpoint."
            )
        if folder is None:
            console.print(f"[bold]No run of {method} with these settings to resume[/bold]: starting a new one.")
            self.settings["ckpt_path"] = None
            return
        checkpoint = folder / "checkpoints" / f"{name}.ckpt"
        console.print(f"[bold]From[/bold] {os.path.relpath(checkpoint)}", soft_wrap=True)
        self.settings["ckpt_path"] = str(checkpoint)
        self._resumed = folder if self.config.subcommand == "fit" else None

    def before_instantiate_classes(self) -> None:
        """Say which settings the checkpoint's own settings have replaced."""
        model = self.settings.model
        used = {**model.get("init_args", {}), **(model.get("dict_kwargs") or {})}
        changed = [
            f"{name} {used[name]} (not {value})"
            for name, value in self._asked.items()
            if used.get(name, value) != value
        ]
        if changed:
            console.print(f"[bold]The checkpoint's own settings are used:[/bold] {', '.join(changed)}.", soft_wrap=True)

    def instantiate_classes(self) -> None:
        """Instantiate model, data and trainer; values that do not go together become one message."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if "Does not validate" not in str(error):
                raise
            raise GLIError(explain_parser_error(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Return a trainer that logs to TensorBoard and CSV, and to the loggers that the user adds."""
        build = partial(make_trainer, method=self.model, recipe=self.datamodule.recipe, run_loggers=self._loggers)
        self.trainer_class = build  # What Lightning calls with the settings.
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks = [*self._callbacks, *trainer.callbacks]  # type: ignore[attr-defined]
        ranks.check_number(trainer)
        return trainer

    def _loggers(self) -> list[Logger]:
        """Return loggers into a new folder, or into that of the run that is resumed, and lock the folder."""
        if self._resumed is not None:
            self._lock(self._resumed)
            iteration = resume.iteration_of(Path(self.settings.ckpt_path))
            return loggers(self.logs, self._resumed.parent.name, self._resumed.name, iteration)
        name = f"{snake_case(type(self.model).__name__)}_{self.datamodule.label}"
        # The first process creates the folder; the trainer tells the others its name.
        version = new_version(self.logs / name) if ranks.is_first() else 0
        self._lock(self.logs / name / f"version_{version}")
        return loggers(self.logs, name, version)

    def _lock(self, folder: Path) -> None:
        if ranks.is_first():
            self._locks.callback(resume.lock_run(folder).release)

    # -- fit -------------------------------------------------------------------------------------------------------

    def _find_original(self) -> None:
        settings = self.config_init[self.config.subcommand].trainer
        shared = {name: settings[name] for name in SHARED if settings.get(name) is not None}
        originals.find_or_train(
            self.model,
            self.datamodule,
            seed=self.seed,
            logs=self.logs,
            folder=self.originals,
            trainer_settings=shared,
            processes=self.trainer.world_size,
        )
        # The run is the same whether the original was there or had to be trained.
        L.seed_everything(self.seed, workers=True, verbose=False)

    def _judge_membership(self) -> None:
        """Find out who the original was trained on, and warn where the privacy scores of this run mean nothing."""
        self.model.membership = judge_membership(self.model, self.datamodule)
        self._warn_of_membership()

    def _warn_of_membership(self) -> None:
        membership = self.model.membership
        if membership is not None and membership.reasons and ranks.is_first():
            console.print(membership.warning, style="bold red", markup=False, highlight=False, soft_wrap=True)

    def before_fit(self) -> None:
        """Judge who was trained on, find or train the original, and audit it: the row of iteration 0."""
        self._judge_membership()
        self._find_original()
        if not self.settings.get("ckpt_path") and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            audit_original(self.trainer, self.model, self.datamodule, self.seed)

    def fit(self, **kwargs: Any) -> None:
        """Fit; when interrupted, still report the results so far."""
        try:
            self.trainer.fit(**kwargs)
        except ValueError as error:
            if "val_check_interval" not in str(error):
                raise
            raise SettingError(f"{str(error).strip()} With gli: --trainer.check_val_every_n_epoch null.") from error
        except SystemExit:
            if not self.trainer.interrupted:
                raise
            self.after_fit()
            raise SystemExit(INTERRUPTED) from None

    def after_fit(self) -> None:
        """Write the cost, store a model trained from scratch, and print the results."""
        folder = self.trainer.log_dir  # A broadcast: every process takes part.
        if not self.trainer.is_global_zero:
            return
        if self.trainer.interrupted:
            console.print("Interrupted. Everything finished so far is kept; --ckpt_path last continues from there.")
        stopwatch = find_callback(self.trainer, Stopwatch)
        seconds = stopwatch.seconds if stopwatch else 0.0
        if folder:
            write_cost(Path(folder), seconds, self.trainer.strategy.root_device)
        audit = ForgettingAudit.of(self.trainer)
        if audit is not None and audit.rows:
            if not self.model.needs_original and is_finite(self.trainer) and _follows_recipe(self.trainer, self.model):
                path = originals.store(self.trainer, self.model, self.originals, self.seed)
                console.print(f"kept        {path}", soft_wrap=True)
            _print_results(self, audit, seconds, Path(os.path.relpath(folder)) if folder else None)
        self._warn_of_membership()

    # -- validate and test -----------------------------------------------------------------------------------------

    def _evaluate(self, evaluate: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        """Audit a checkpoint, or the original where none is given, and print the scores."""
        if kwargs.get("ckpt_path"):
            self.model.restored = True
            self.model.membership = read_membership(Path(kwargs["ckpt_path"]).parent.parent)
            self._warn_of_membership()
        else:
            self._judge_membership()
            self._find_original()
        evaluate(**{**kwargs, "verbose": False})
        if self.trainer.is_global_zero:
            scores = {name.partition("/")[2]: float(value) for name, value in self.trainer.callback_metrics.items()}
            console.print(comparison([(str(kwargs.get("ckpt_path") or "Original"), scores)]))
        self._warn_of_membership()

    def validate(self, **kwargs: Any) -> None:
        """Audit under ``val/``."""
        self._evaluate(self.trainer.validate, kwargs)

    def test(self, **kwargs: Any) -> None:
        """Audit under ``test/``."""
        self._evaluate(self.trainer.test, kwargs)


def _print_results(command: CLI, audit: ForgettingAudit, seconds: float, folder: Path | None) -> None:
    model, trainer = command.model, command.trainer
    retrained = originals.retrained_scores(
        model, command.datamodule, command.seed, command.originals, str(trainer.precision)
    )
    columns = _columns(model, audit)
    if retrained is not None and not isinstance(model, Retrained):
        columns.append(("retrained", retrained))
    table = comparison(columns)
    table.title = f"{model.name} on {command.datamodule.label}, {seconds:.1f} s of training steps"
    console.print(table)
    console.print("\n".join([*_files(trainer, folder, command.logs), scores_page()]), soft_wrap=True)
    said = conclude(ended(trainer, model, audit.rows, retrained))
    console.print(f"[bold]In short[/bold]    {said}.", soft_wrap=True, highlight=False)


def _columns(model: Method, audit: ForgettingAudit) -> list[tuple[str, dict[str, float]]]:
    """Return the columns of the closing table: the original, the end of each stage, and the best audit."""
    if not model.needs_original:
        return [(model.name, audit.rows[-1])]
    rows = {row["iteration"]: row for row in audit.rows}
    columns = [("Original", audit.rows[0])]
    columns += [(f"{stage}, iteration {iteration}", rows[iteration]) for stage, iteration in audit.stages.items()]
    if audit.best is not None:
        columns.append((f"{model.name}, iteration {audit.best['iteration']:.0f}", audit.best))
    return columns


def _files(trainer: L.Trainer, folder: Path | None, logs: Path) -> list[str]:
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    lines = [f"checkpoint  {os.path.relpath(best)}"] if best else []
    if folder is not None:
        lines += [f"log         {folder / 'metrics.csv'}"]
        lines += [f"figure      {figure}" for figure in sorted(folder.glob("*.png"))]
        lines += [f"curves      tensorboard --logdir {os.path.relpath(logs)}"]
    return lines


def _follows_recipe(trainer: L.Trainer, model: Method) -> bool:
    """Return whether this training of an original or retrained model is what later runs would do themselves."""
    complete = trainer.current_epoch == trainer.max_epochs and trainer.max_steps == -1
    everything = trainer.limit_train_batches == 1.0 and trainer.world_size == 1
    plain = model.follows_recipe and model.batch_norm == "train" and model.optimizer == "sgd"
    return complete and everything and plain and model.gradient_clip is None


def _check_configs(args: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse configuration files that are not plain YAML, before the parser reads them; DataError names the file."""
    for path in configs_among(args) if not isinstance(args, Mapping) else ():
        read_yaml(path, "a configuration")


#: Arguments of LightningCLI that all uses of it share.
_CLI: dict[str, Any] = {
    "model_class": Method,
    "datamodule_class": FaceDataModule,
    "subclass_mode_model": True,
    "subclass_mode_data": True,
    "auto_configure_optimizers": False,
    "seed_everything_default": 0,
    "parser_class": Parser,
}


def run(args: Sequence[str] | Mapping[str, Any], command: type[CLI] = CLI, callbacks: Sequence[L.Callback] = ()) -> CLI:
    """Parse a command line and run it.

    Args:
        args: The command line, from the command (``fit``, ``validate`` or ``test``) on; or all settings, resolved.
        command: What runs it.
        callbacks: Callbacks of the run besides those of its settings.

    Raises:
        GLIError: If the user can correct the error.
    """
    given = args if isinstance(args, Mapping) else resolve_arguments(args, method_names())
    named = given.get("subcommand") if isinstance(given, Mapping) else next(iter(given), None)
    commands = CLI.subcommands()
    # Each command has a parser of its own, which takes long to build: only that of the command that is asked for.
    asked = {named: commands[named]} if named in commands else commands
    limited: type[CLI] = type(command.__name__, (command,), {"subcommands": staticmethod(lambda: asked)})
    with ExitStack() as locks:
        return limited(
            **_CLI,
            locks=locks,
            callbacks=callbacks,
            save_config_callback=SaveSettings,
            parser_kwargs={
                "prog": "gli",
                "description": gli.__doc__,
                "version": gli.__version__,
                **{name: {"allow_abbrev": False} for name in asked},
            },
            args=given,
        )


#: Arguments of ``gli fit`` that are no settings of a run.
_OF_COMMAND = ("ckpt_path", "weights_only")


class _OnlyParser(CLI):
    """The parser of the settings of a run, without a run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of ``gli fit`` itself, which the ``config.yaml`` of a run has too."""
        super().add_arguments_to_parser(parser)
        for name in _OF_COMMAND:
            parser.add_argument(f"--{name}", default=None)

    def before_instantiate_classes(self) -> None:
        """Do nothing."""

    def instantiate_classes(self) -> None:
        """Instantiate nothing."""


@cache
def _parser() -> LightningArgumentParser:
    needed = ["--model=Original", "--data=SyntheticFaces", "--seed_everything=false"]  # It must not seed this process.
    cli = _OnlyParser(**_CLI, locks=ExitStack(), run=False, parser_kwargs={"allow_abbrev": False}, args=needed)
    return cli.parser


def specify(args: Sequence[str], **place: Any) -> RunSpec:
    """Return the run that ``gli fit`` would make of a command line, with all its settings, defaults included.

    ``args`` is the command line after ``fit``; ``place`` is folder, title and order of the run, see :class:`RunSpec`.
    GLIError if a setting is wrong.
    """
    args = resolve_arguments(args, method_names())
    _check_configs(args)
    parser = _parser()
    settings = yaml.safe_load(parser.dump(parser.parse_args(args), skip_unset=False))
    for name in _OF_COMMAND:
        if settings[name] is not None:
            raise SettingError(f"--{name} is {settings[name]}; several runs cannot share it. Leave it out.")
    trainer = settings["trainer"]
    trainer["precision"] = resolve_precision(trainer["precision"], trainer["accelerator"])
    if settings["originals"] is not None:
        place["originals"] = Path(settings["originals"])
    return RunSpec.of(settings, **place)
