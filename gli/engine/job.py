"""Run the specification in a folder: ``python -P .../gli/engine/job.py FOLDER``. Executors start it.

It is started by its path and not by its name, so that it runs the package that it belongs to, whatever the current
folder holds.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path


def main(folder: Path) -> int:
    """Run what the folder specifies and record the finished run.

    Args:
        folder: Folder of the run.

    Returns:
        Exit status: 0, 2 after an error that the user can correct, 1 after any other.
    """
    from gli.callbacks.early_stopping import StopFile
    from gli.engine.fit import run
    from gli.errors import GLIError
    from gli.runs.spec import DONE, STOP, STOPPED, RunSpec
    from gli.system.console import silence_lightning

    spec = RunSpec.read(folder)
    silence_lightning()
    start = time.perf_counter()
    stop = StopFile(folder / STOP)
    try:
        command = run({"subcommand": "fit", "fit": spec.command}, callbacks=[stop])
    except (GLIError, SystemExit) as error:
        print(f"gli: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    record = STOPPED if stop.stopped else DONE
    spec.finish(Path(str(command.trainer.log_dir)), time.perf_counter() - start, record)
    return 0


def import_this_package() -> None:
    """Import the package of this file, and let modules of the current folder be found after all others."""
    script, root = Path(__file__).resolve().parent, str(Path(__file__).resolve().parents[2])
    sys.path[:] = [root, *(path for path in sys.path if path and Path(path).resolve() != script)]
    import gli  # noqa: F401

    sys.path[:] = [*sys.path[1:], ""]  # A user's own method may be a module in the current folder.


if __name__ == "__main__":
    import_this_package()
    sys.exit(main(Path(sys.argv[1])))
