"""Errors that the user can correct. The command prints them as one message and exits with 2, without a traceback."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: Exit status after Ctrl-C.
INTERRUPTED = 130


class GLIError(Exception):
    """Base of all errors whose message says what is wrong and what to do next."""


class DataError(GLIError):
    """Something on disk (a folder, a table, an image) is not what its format says."""


class SettingError(GLIError):
    """A setting has a value that cannot be used with the others."""


class CheckpointError(GLIError):
    """A checkpoint cannot be loaded: unsafe, damaged, or of another architecture or task."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint such as `` Did you mean 'lr'?``; an empty string if no known word is similar."""
    spellings = {name.lower(): name for name in known}
    word = word.lower()
    initials = re.sub(r"[a-z]+(_[a-z]+)+", lambda words: "".join(part[0] for part in words[0].split("_")), word)
    if initials in spellings:  # learning_rate is lr.
        return f" Did you mean {spellings[initials]!r}?"
    near = difflib.get_close_matches(word, list(spellings), n=1, cutoff=0.6)
    return f" Did you mean {spellings[near[0]]!r}?" if near else ""
