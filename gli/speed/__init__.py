"""What exists only for speed, behind one switch: the environment variable ``GLI_PLAIN=1`` turns it off.

- :mod:`~gli.speed.pixel_gradient`: the gradient of the pixels through the first convolution, on a CPU.
- :mod:`~gli.speed.small_maps`: convolutions of many channels on maps of a few pixels, on a CPU.
- :mod:`~gli.speed.density`: kernel densities of more than 20,000 losses.
- :mod:`~gli.speed.freed_memory`: freed memory is kept for the next batch, by the C library of GNU.

The benchmark group ``speed`` measures each against the plain way.
"""

from __future__ import annotations

import os

#: The environment variable that turns everything in this package off.
SWITCH = "GLI_PLAIN"


def wanted() -> bool:
    """Return whether the fast ways are taken: unless ``GLI_PLAIN`` is set to anything but 0 or the empty string."""
    return os.environ.get(SWITCH, "") in ("", "0")
