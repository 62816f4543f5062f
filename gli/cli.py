"""The command ``gli``: LightningCLI with our methods, data and callbacks."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import gli
from gli.errors import GLIError, did_you_mean

SHARED_TRAINER_SETTINGS = ("accelerator", "precision", "deterministic", "benchmark", "enable_progress_bar")


def _cli_class() -> type:
    """The command's class. Lightning takes seconds to import, so this happens once it is needed."""
    import lightning as L
    from jsonargparse import ArgumentError
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    import gli.data
    import gli.methods
    from gli import originals, runs
    from gli.callbacks import BestCheckpoint, Figures, ForgettingAudit, StopWhenWorse
    from gli.data import FaceDataModule
    from gli.methods import Method
    from gli.methods.supervised import Original
    from gli.progress import console

    class Parser(LightningArgumentParser):
        """Says which option was meant when one is mistyped."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            if os.environ.get("JSONARGPARSE_DEBUG"):
                super().error(message, ex)
            raise GLIError(_explain(message, self)) from ex

    class CLI(LightningCLI):
        """``gli fit|validate|test``."""

        trainer: L.Trainer
        model: Method
        datamodule: FaceDataModule

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            """No predict: there is nothing that it would add to validate and test."""
            return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            """The callbacks that every run has, each with its settings."""
            parser.add_lightning_class_args(ForgettingAudit, "audit")
            parser.add_lightning_class_args(Figures, "figures")
            parser.add_lightning_class_args(StopWhenWorse, "early_stopping")
            parser.add_lightning_class_args(BestCheckpoint, "checkpoint")

        @property
        def logs(self) -> Path:
            """Folder of all runs."""
            return Path(self._get(self.config_init, "trainer").default_root_dir or ".") / originals.LOGS

        @property
        def seed(self) -> int:
            """Seed of this run."""
            return int(self._get(self.config, "seed_everything"))

        def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
            """TensorBoard and CSV in one folder, and the method's own number of epochs, unless told otherwise."""
            settings = self._get(self.config_init, "trainer")
            if settings.logger in (None, True):
                name = f"{runs.snake_case(type(self.model).__name__)}_{self.datamodule.label}"
                version = self._make_folder(name)
                kwargs["logger"] = runs.loggers(self.logs, name, version)
            if settings.max_epochs is None and settings.max_steps == -1:
                kwargs["max_epochs"] = self.model.default_epochs(self.datamodule.recipe)
            return super().instantiate_trainer(**kwargs)

        def _make_folder(self, name: str) -> str:
            # Another process of this run makes it, and its name is broadcast by the trainer.
            return runs.new_folder(self.logs / name) if rank_zero_only.rank == 0 else "version_0"  # type: ignore[attr-defined]

        def _find_original(self) -> None:
            settings = self._get(self.config_init, "trainer")
            shared = {name: settings[name] for name in SHARED_TRAINER_SETTINGS if settings.get(name) is not None}
            originals.find_or_train(
                self.model, self.datamodule, seed=self.seed, logs=self.logs, trainer_settings=shared
            )
            # The same run, whether the original was there or had to be trained.
            L.seed_everything(self.seed, workers=True, verbose=False)

        def before_fit(self) -> None:
            """Have the original, and audit it: the row of iteration 0."""
            self._find_original()
            if not self._get(self.config, "ckpt_path") and not self.trainer.fast_dev_run:
                self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
                L.seed_everything(self.seed, workers=True, verbose=False)

        def before_validate(self) -> None:
            """Have the original."""
            self._find_original()

        def before_test(self) -> None:
            """Have the original."""
            self._find_original()

        @rank_zero_only
        def after_fit(self) -> None:
            """Say what came out and where it lies."""
            if self.trainer.interrupted:
                console.print("Interrupted. What was finished so far is kept.")
            audit = ForgettingAudit.of(self.trainer)
            if audit is None or not audit.rows:
                return
            done = self.trainer.current_epoch == self.trainer.max_epochs
            if isinstance(self.model, Original):
                if done and audit.finite and self.trainer.max_steps == -1:
                    path = originals.keep(self.trainer, self.model, self.datamodule, self.logs, self.seed)
                    console.print(f"Kept as {path}")
                columns = [(self.model.name, audit.rows[-1])]
            else:
                best = audit.best
                columns = [("Original", audit.rows[0])]
                if best is not None:
                    columns.append((f"{self.model.name}, iteration {best['iteration']:.0f}", best))
            table = runs.comparison(columns)
            table.title = f"{self.model.name} on {self.datamodule.label}, {audit.seconds:.1f} s of training steps"
            console.print(table)
            self._say_where()

        def _say_where(self) -> None:
            folder = self.trainer.log_dir
            checkpoint = self.trainer.checkpoint_callback
            best = getattr(checkpoint, "best_model_path", "")
            if best:
                console.print(f"checkpoint  {os.path.relpath(best)}")
            if folder:
                console.print(f"log         {os.path.relpath(folder)}/metrics.csv")
                for figure in sorted(Path(folder).glob("*.png")):
                    console.print(f"figure      {os.path.relpath(figure)}")
                console.print(f"curves      tensorboard --logdir {os.path.relpath(self.logs)}")

    def make(args: Sequence[str] | None) -> CLI:
        return CLI(
            Method,
            FaceDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_class=Parser,
            parser_kwargs={"prog": "gli", "description": gli.__doc__, "version": gli.__version__},
            args=None if args is None else list(args),
        )

    make.__dict__["error"] = ArgumentError
    return make  # type: ignore[return-value]


def _explain(message: str, parser: Any) -> str:
    """The parser's message, with the option that was meant where one was mistyped."""
    message = re.sub(r"^error: ", "", message.strip())
    return message


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: The command line; None for the process's own.

    Returns:
        Exit status: 0, or 2 after a mistake that the user can mend.
    """
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    try:
        _cli_class()(args)  # type: ignore[operator]
    except GLIError as error:
        print(f"gli: {error}", file=sys.stderr)
        return 2
    return 0
