"""Bring the output in docs/erasure.md up to date with that of the example.

    python examples/erasure.py FOLDER --small > LOG 2>&1
    python docs/erasure_output.py LOG

Each block of output in the page follows the block of a command. The output of the same command in the log replaces it;
blocks of commands that the example does not run stay as they are. Of long lists of files, the first lines are kept.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("erasure.md")
#: Lines of progress, which a terminal overwrites or which come and go with the speed of the machine.
PROGRESS = re.compile(r"^(Decoding|.*: done\. \d+ of \d+ runs)")
#: Files of a list that are shown.
SHOWN = 5
PAIR = re.compile(r"(```sh\n(?P<command>gli erase (?:(?!```).)*?)\n```\n\n```text\n)(?P<output>.*?)(?=```)", re.DOTALL)


def outputs(log: str) -> dict[str, list[str]]:
    """Return the outputs of each command of a log, in their order; a command may come several times."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^\$ ", log, flags=re.MULTILINE)[1:]:
        command, _, rest = part.partition("\n")
        output = re.split(r"^# ", rest, flags=re.MULTILINE)[0].strip()
        found.setdefault(command.strip(), []).append(shorten(output) + "\n")
    return found


def shorten(output: str) -> str:
    """Return an output without progress, and with the first files of a long list only."""
    lines = [line for line in output.splitlines() if not PROGRESS.match(line)]
    files = [line for line in lines if line.startswith(("removed", "rewritten", "would be"))]
    if len(files) <= SHOWN + 1:
        return "\n".join(lines)
    others = [line for line in lines if line not in files]
    return "\n".join([*files[:SHOWN], f"... ({len(files) - SHOWN} more)", *others])


def update(page: str, log: str) -> tuple[str, list[str]]:
    """Return the page with the outputs of a log, and the commands with output that the log does not have."""
    found, missing = outputs(log), []
    used = dict.fromkeys(found, 0)
    # Requests have dates of the day of the run, so a command of the page is found by its subject.
    renamed = {}

    def replace(match: re.Match[str]) -> str:
        command = re.sub(r" \\\n +", " ", match["command"])
        same = [each for each in found if undated(each) == undated(command)]
        if not same:
            missing.append(command)
            return match[0]
        known = same[0]
        renamed[command] = known
        place = min(used[known], len(found[known]) - 1)
        used[known] += 1
        return match[1] + found[known][place]

    page = PAIR.sub(replace, page)
    for old, new in renamed.items():
        page = page.replace(old, new)
    return page, missing


def undated(command: str) -> str:
    """Return a command without its dates."""
    return re.sub(r"\d{4}-\d\d-\d\d", "DATE", command)


if __name__ == "__main__":
    text, left = update(PAGE.read_text(), Path(sys.argv[1]).read_text())
    PAGE.write_text(text)
    for command in left:
        print(f"not in the log: {command}")
