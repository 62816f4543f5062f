"""Early stopping on a score of the audit."""

from __future__ import annotations

from lightning.pytorch.callbacks import EarlyStopping

from gli.callbacks.checkpoint import mode_of

NEVER = 2**31


class EarlyStop(EarlyStopping):
    """Stop when the monitored score has not improved for some audits, as GLI's released code does.

    Args:
        patience: Number of audits without a better score after which the run stops; None to run to its end.
        monitor: The score.
        mode: ``max`` if higher is better, ``min`` if lower is better; None for the direction in the registry of scores.
    """

    def __init__(self, patience: int | None = None, monitor: str = "val/final_score", mode: str | None = None) -> None:
        super().__init__(
            monitor,
            patience=NEVER if patience is None else patience,
            mode=mode_of("early_stopping", monitor, mode),
            check_finite=False,  # StopOnDivergence stops such a run, with a better message.
            strict=False,
        )
