"""Send a figure to a logger: one function for each kind of logger, chosen by its class.

Numbers need no such dispatch: Lightning sends what is logged to every logger of a run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image

Sender = Callable[[Any, str, Figure, int], None]


def _to_tensorboard(logger: TensorBoardLogger, name: str, figure: Figure, iteration: int) -> None:
    logger.experiment.add_figure(f"figures/{name}", figure, iteration)


def _to_mlflow(logger: MLFlowLogger, name: str, figure: Figure, iteration: int) -> None:
    logger.experiment.log_figure(logger.run_id, figure, f"figures/{name}_{iteration:06d}.png")


def _as_image(logger: Any, name: str, figure: Figure, iteration: int) -> None:
    """Send an image by the method that Lightning's W&B logger and others have."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    logger.log_image(key=f"figures/{name}", images=[Image.open(file)], step=iteration)


#: By the logger's class, most specific first. A logger of one's own is one entry.
SENDERS: dict[type[Any], Sender] = {TensorBoardLogger: _to_tensorboard, MLFlowLogger: _to_mlflow}


def send_figure(logger: Logger, name: str, figure: Figure, iteration: int) -> bool:
    """Send a figure to a logger.

    Args:
        logger: The logger.
        name: Name of the figure.
        figure: The figure.
        iteration: The unlearning iteration.

    Returns:
        Whether the logger takes figures.
    """
    for kind, send in SENDERS.items():
        if isinstance(logger, kind):
            send(logger, name, figure, iteration)
            return True
    if not hasattr(logger, "log_image"):
        return False
    _as_image(logger, name, figure, iteration)
    return True
