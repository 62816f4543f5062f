"""``gli fit|validate|test``: LightningCLI reads the settings, see :mod:`gli.engine.fit`."""

from __future__ import annotations

from collections.abc import Sequence

from gli.commands.parse import run_command
from gli.errors import GLIError


def main(args: Sequence[str]) -> int:
    """Run one of the commands that LightningCLI parses; return 0, or 2 after an error that the user can correct."""
    return run_command("gli", lambda: _run(args))


def _run(args: Sequence[str]) -> int:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from gli.engine.fit import run

    try:
        run(args)
    except MisconfigurationException as error:
        raise GLIError(str(error)) from error
    return 0
