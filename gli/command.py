"""LightningCLI with our methods, data and callbacks: ``gli fit|validate|test``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import yaml
from filelock import FileLock
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger

import gli
from gli import originals, ranks, resume, runs
from gli.callbacks import BestCheckpoint, Figures, ForgettingAudit, StopWhenWorse, with_bar
from gli.data import FaceDataModule
from gli.data.files import load_yaml, read_text, replacing
from gli.errors import INTERRUPTED, CheckpointError, GLIError, SettingError
from gli.explain import explain, settings_of
from gli.logs import loggers
from gli.methods import Method
from gli.methods.supervised import Original
from gli.models import read_checkpoint
from gli.processes import keep_freed_memory
from gli.progress import console

#: Callbacks that every run has, by the key of their settings.
CALLBACKS = {
    "audit": ForgettingAudit,
    "figures": Figures,
    "early_stopping": StopWhenWorse,
    "checkpoint": BestCheckpoint,
}
#: Weights stay in float32: sign gradients and metrics are taken in it.
PRECISIONS = ("None", "32-true", "32", "bf16-mixed", "16-mixed", "bf16", "16")
#: Settings of the trainer that the original's training shares with the run it is trained for.
SHARED = ("accelerator", "precision", "deterministic", "benchmark", "enable_progress_bar")


def subclasses(base: type) -> dict[str, type]:
    """All concrete classes below a base, by name."""
    found: dict[str, type] = {}
    children: list[type] = base.__subclasses__()
    for child in children:
        found |= subclasses(child) | ({} if inspect.isabstract(child) else {child.__name__: child})
    return found


def explained(message: str) -> str:
    """A message of the parser, made short, with the setting that was meant where one is mistyped."""
    classes = {"model": subclasses(Method), "data": subclasses(FaceDataModule)}
    owners = [(key, owner) for key, found in classes.items() for owner in found.values()]
    owners += [("trainer", L.Trainer), *CALLBACKS.items()]
    settings = [name for key, owner in owners for name in settings_of(key, owner)]
    return explain(message, [*settings, "config", "seed_everything", "ckpt_path", *classes, *CALLBACKS], classes)


_yaml = get_loader("yaml")
set_loader("yaml", lambda text: load_yaml(text, _yaml), (yaml.YAMLError,))


class Parser(LightningArgumentParser):
    """Raises its errors as ours, so that they reach the user as one message."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Explain what is wrong and which setting was meant; parsers inside this one report to it."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise GLIError(explained(message)) from ex


class SaveSettings(SaveConfigCallback):
    """Writes a run's settings into its folder, whole or not at all; those of a run that goes on stay as they were."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)
        self._path = Path(self.config_filename)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ask for the run's folder on every process, since the answer is broadcast."""
        self._path = Path(str(trainer.log_dir)) / self.config_filename
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write them; called on the first process only."""
        checkpoint = Path(self.config.get("ckpt_path") or "")
        if not self._path.exists() or checkpoint.parent.parent != self._path.parent:
            with replacing(self._path) as aside:
                aside.write_text(self.parser.dump(self.config, skip_none=False))


class CLI(LightningCLI):
    """Finds or trains the original before a run, audits it for the row of iteration 0, and ends with a table."""

    trainer: L.Trainer
    model: Method
    datamodule: FaceDataModule
    #: Folder of the run that goes on (``--ckpt_path last``), and the lock on that of this run.
    _goes_on: Path | None = None
    _held: FileLock | None = None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """No predict: there is nothing that it would add to validate and test."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Refuse configurations that are no text without a traceback."""
        try:
            super().parse_arguments(parser, args)
        except UnicodeDecodeError as error:
            for path in (Path(str(one).rpartition("=")[2]) for one in args or ()):
                if path.suffix == ".yaml" and path.exists():
                    read_text(path)  # Names the one that is not UTF-8.
            raise GLIError(f"A configuration is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The callbacks that every run has, each with its settings; where the originals lie."""
        parser.add_argument(
            "--originals",
            type=str | None,
            default=None,
            help="Folder where original models are kept and found; lightning_logs/originals by default.",
        )
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)

    def instantiate_classes(self) -> None:
        """Refuse values that do not go together without a traceback."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if "Does not validate" not in str(error):
                raise
            raise GLIError(explained(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """TensorBoard and CSV in one folder, and the method's own number of epochs, unless told otherwise."""
        settings = self._get(self.config_init, "trainer")
        if settings.num_sanity_val_steps is None:
            kwargs["num_sanity_val_steps"] = 0  # The audit of iteration 0 checks more than these would.
        if str(settings.precision) not in PRECISIONS:
            raise SettingError(
                f"trainer.precision is {settings.precision}; weights are kept in float32 here. Use one of "
                f"{', '.join(PRECISIONS[1:])}."
            )
        kwargs["callbacks"] = with_bar(settings.callbacks or [], settings.enable_progress_bar)
        kwargs["plugins"] = [*(settings.plugins or []), resume.WholeCheckpoints()]
        if settings.logger in (None, True) and not settings.fast_dev_run:
            kwargs["logger"] = self._loggers()
        if isinstance(settings.val_check_interval, int) and settings.check_val_every_n_epoch == 1:
            kwargs["check_val_every_n_epoch"] = (
                None  # Iterations of the run: epochs are short, and not all of a length.
            )
        if settings.max_epochs is None and settings.max_steps == -1:
            kwargs["max_epochs"] = self.model.default_epochs(self.datamodule.recipe)
        trainer = super().instantiate_trainer(**kwargs)
        ranks.check_number(trainer)
        return trainer

    def _loggers(self) -> list[Logger]:
        """Loggers of a new run's folder, or of that of the run that goes on."""
        first = ranks.is_first()
        if self._goes_on is not None:
            self._held = resume.hold(self._goes_on) if first else None
            done = resume.iteration_of(Path(self._get(self.config, "ckpt_path")))
            return loggers(self.logs, self._goes_on.parent.name, self._goes_on.name, done)
        name = f"{runs.snake_case(type(self.model).__name__)}_{self.datamodule.label}"
        # The first process makes the folder; the trainer tells the others which it is.
        version = runs.new_folder(self.logs / name) if first else 0
        self._held = resume.hold(self.logs / name / f"version_{version}") if first else None
        return loggers(self.logs, name, version)

    @property
    def logs(self) -> Path:
        """Folder of all runs."""
        root = self.config[self.config.subcommand].trainer.default_root_dir
        return Path(root or ".") / originals.LOGS

    @property
    def originals(self) -> Path:
        """Folder of the original models."""
        return Path(self._get(self.config, "originals") or self.logs / originals.FOLDER)

    @property
    def seed(self) -> int:
        """Seed of this run."""
        return int(self._get(self.config, "seed_everything"))

    def _run_subcommand(self, subcommand: str) -> None:
        """Let go of the run's folder at the end, however it came."""
        try:
            super()._run_subcommand(subcommand)
        finally:
            if self._held is not None:
                self._held.release()

    def _find_original(self) -> None:
        settings = self._get(self.config_init, "trainer")
        shared = {name: settings[name] for name in SHARED if settings.get(name) is not None}
        originals.find_or_train(
            self.model,
            self.datamodule,
            seed=self.seed,
            logs=self.logs,
            folder=self.originals,
            trainer_settings=shared,
        )
        # The same run, whether the original was there or had to be trained.
        L.seed_everything(self.seed, workers=True, verbose=False)

    def before_fit(self) -> None:
        """Have the original, and audit it: the row of iteration 0."""
        self._find_original()
        if not self._get(self.config, "ckpt_path") and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
            L.seed_everything(self.seed, workers=True, verbose=False)

    def fit(self, **kwargs: Any) -> None:
        """Fit; when interrupted, still say what came out."""
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

    def _evaluate(self, evaluate: Any, kwargs: dict[str, Any]) -> None:
        """Audit a checkpoint, or the original where none is given, and print the scores."""
        if kwargs.get("ckpt_path"):
            self.model.restored = True
        else:
            self._find_original()
        evaluate(**{**kwargs, "verbose": False})
        if self.trainer.is_global_zero:
            metrics = {name.partition("/")[2]: float(value) for name, value in self.trainer.callback_metrics.items()}
            console.print(runs.comparison([(str(kwargs.get("ckpt_path") or "Original"), metrics)]))

    def validate(self, **kwargs: Any) -> None:
        """Audit under ``val/``."""
        self._evaluate(self.trainer.validate, kwargs)

    def test(self, **kwargs: Any) -> None:
        """Audit under ``test/``."""
        self._evaluate(self.trainer.test, kwargs)

    def _find_run(self) -> None:
        """For ``--ckpt_path last`` (or ``best``): the checkpoint of the newest run of these settings, if there is one."""
        own = self.config[self.config.subcommand]
        if own.get("ckpt_path") not in ("last", "best"):
            return
        dumped = yaml.safe_load(self.parser.dump(self.config, skip_none=False, skip_link_targets=False))
        method = str(own.model.class_path).rpartition(".")[2]
        folder = resume.find_run(self.logs, method, dumped[self.config.subcommand])
        if folder is None and self.config.subcommand != "fit":
            raise SettingError(
                f"{self.logs}: holds no run of {method} with these settings. Name its checkpoint's file."
            )
        if folder is None:
            console.print(f"[bold]No run of {method} with these settings to go on with[/bold]: a new one begins.")
            own["ckpt_path"] = None
            return
        checkpoint = folder / "checkpoints" / f"{own.ckpt_path}.ckpt"
        console.print(f"[bold]From[/bold] {os.path.relpath(checkpoint)}", soft_wrap=True)
        own["ckpt_path"] = str(checkpoint)
        self._goes_on = folder if self.config.subcommand == "fit" else None

    def _parse_ckpt_path(self) -> None:
        """Refuse checkpoints that are no run's, or another method's, before anything is done."""
        self._find_run()
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path and (Path(path).suffix or Path(path).exists()):
            found = read_checkpoint(path)
            if "pytorch-lightning_version" not in found:
                raise CheckpointError(
                    f"{path}: is not the checkpoint of a run. A model's weights are given with --model.original."
                )
            description = found.get("classifier", {})
            if not isinstance(description, dict) or not isinstance(found.get("hyper_parameters", {}), dict):
                raise CheckpointError(
                    f"{path}: is no whole checkpoint of a run. Name another, such as last.ckpt beside it."
                )
            theirs = description.get("method")
            ours = str(self.config[self.config.subcommand].model.class_path).rpartition(".")[2]
            if theirs not in (None, ours):
                raise SettingError(
                    f"{path}: is a checkpoint of {theirs}, but the run is one of {ours}. Use --model {theirs}, or give the "
                    "checkpoint's weights with --model.original."
                )
        model = self.config[self.config.subcommand].model
        asked = dict(model.get("init_args", {}))
        super()._parse_ckpt_path()
        model = self.config[self.config.subcommand].model
        kept = {**model.get("init_args", {}), **(model.get("dict_kwargs") or {})}
        changed = [
            f"{name} {kept[name]} (not {value})" for name, value in asked.items() if kept.get(name, value) != value
        ]
        if changed:
            console.print(f"[bold]The checkpoint's own settings are used:[/bold] {', '.join(changed)}.", soft_wrap=True)

    def after_fit(self) -> None:
        """Say what came out and where it lies."""
        folder = self.trainer.log_dir  # A broadcast: every process takes part.
        if self.trainer.is_global_zero:
            audit = ForgettingAudit.of(self.trainer)
            if folder and audit:
                runs.write_cost(Path(folder), audit.seconds)
            self._report(Path(os.path.relpath(folder)) if folder else None)

    def _report(self, folder: Path | None) -> None:
        if self.trainer.interrupted:
            console.print("Interrupted. What was finished so far is kept; --ckpt_path last goes on from there.")
        audit = ForgettingAudit.of(self.trainer)
        if audit is None or not audit.rows:
            return
        if isinstance(self.model, Original):
            columns = [(self.model.name, audit.rows[-1])]
            if audit.finite and self._is_by_the_recipe():
                path = originals.keep(self.trainer, self.model, self.datamodule, self.originals, self.seed)
                console.print(f"kept        {path}", soft_wrap=True)
        else:
            columns = [("Original", audit.rows[0])]
            at = {row["iteration"]: row for row in audit.rows}
            columns += [(f"{stage}, iteration {number:.0f}", at[number]) for stage, number in audit.stages.items()]
            if audit.best is not None:
                columns.append((f"{self.model.name}, iteration {audit.best['iteration']:.0f}", audit.best))
        table = runs.comparison(columns)
        table.title = f"{self.model.name} on {self.datamodule.label}, {audit.seconds:.1f} s of training steps"
        console.print(table)
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        lines = [f"checkpoint  {os.path.relpath(best)}"] if best else []
        if folder is not None:
            lines += [f"log         {folder / 'metrics.csv'}"]
            lines += [f"figure      {figure}" for figure in sorted(folder.glob("*.png"))]
            lines += [f"curves      tensorboard --logdir {os.path.relpath(self.logs)}"]
        console.print("\n".join(lines), soft_wrap=True)

    def _is_by_the_recipe(self) -> bool:
        """Whether this training of an original or retrained model is what later runs would do themselves."""
        trainer = self.trainer
        whole = trainer.current_epoch == trainer.max_epochs and trainer.max_steps == -1
        everything = trainer.limit_train_batches == 1.0 and trainer.world_size == 1
        return whole and everything and self.model.batch_norm == "train" and self.model.optimizer == "sgd"


def run(args: Sequence[str] | None = None) -> CLI:
    """Parse a command line and run it.

    Args:
        args: The command line; None for the process's own.

    Raises:
        GLIError: After a mistake that the user can mend.
    """
    keep_freed_memory()
    return CLI(
        Method,
        FaceDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_callback=SaveSettings,
        parser_class=Parser,
        parser_kwargs={
            "prog": "gli",
            "description": gli.__doc__,
            "version": gli.__version__,
            **{name: {"allow_abbrev": False} for name in CLI.subcommands()},
        },
        args=None if args is None else list(args),
    )
