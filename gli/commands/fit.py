"""``gli fit|validate|test``: LightningCLI reads the settings, see :mod:`gli.engine.fit`."""

from __future__ import annotations

from collections.abc import Sequence

from gli.commands.parse import run_command
from gli.errors import GLIError

#: What ``--help`` prints at once. The list of all settings comes from the classes, whose imports take seconds.
HELP = """usage: gli {command} [--config NAME] [--model METHOD] [--data DATA] [--SECTION.SETTING VALUE] [--ckpt_path F]

{purpose}

  --config NAME          a shipped configuration (gli_synthetic, scrub_mufac, data/mufac) or a file; later ones override
  --model METHOD         a method (GLI, SCRUB, Original) or the class path of your own, such as my_method.Pull
  --data DATA            a data set: MUFAC, MUCAC, SyntheticFaces or FaceTable
  --model.SETTING VALUE  a setting of the method; likewise --data.SETTING, --trainer.SETTING and those of the
                         callbacks (audit, figures, early_stopping, checkpoint), such as --audit.SETTING
  --seed_everything N    the seed
  --originals FOLDER     where original models are kept and found (default: lightning_logs/originals)
  --ckpt_path F          a checkpoint; last or best for that of the newest run of the same settings
  --print_config         print all settings as YAML instead of running

all settings:
  gli {command} --help-all               of everything; of one method or data set:
  gli {command} --model.help GLI
  gli {command} --data.help MUFAC
"""


def main(args: Sequence[str]) -> int:
    """Run one of the commands that LightningCLI parses; return 0, or 2 after an error that the user can correct."""
    return run_command("gli", lambda: _run(["--help" if argument == "--help-all" else argument for argument in args]))


def _run(args: Sequence[str]) -> int:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from gli.engine.fit import run

    try:
        run(args)
    except MisconfigurationException as error:
        raise GLIError(str(error)) from error
    return 0
