"""Run the job of a folder: ``python -m gli.commands.job FOLDER``. Executors start it, see :mod:`gli.engine`."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

from gli.engine.job import DONE, STOP, STOPPED, finish, read_arguments
from gli.errors import GLIError


def main(folder: Path) -> int:
    """Run the job of a folder and record the finished run.

    Args:
        folder: Folder of the job.

    Returns:
        Exit status: 0, 2 after an error that the user can correct, 1 after any other.
    """
    from gli.callbacks.stop_file import StopFile
    from gli.commands.fit import run
    from gli.commands.main import silence_lightning

    arguments, key = read_arguments(folder)
    silence_lightning()
    start = time.perf_counter()
    stop = StopFile(folder / STOP)
    try:
        command = run(arguments, callbacks=[stop])
    except (GLIError, SystemExit) as error:
        print(f"gli: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    record = STOPPED if stop.stopped else DONE
    finish(folder, key, Path(str(command.trainer.log_dir)), time.perf_counter() - start, record)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
