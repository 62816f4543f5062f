"""Files of a store and of a release are changed in every way: each change is noticed by name, or has a reason here.

``python -m tests.erasure.test_mutations 2000`` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import csv
import io
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gli.erasure.batch_purge import purge_batch
from gli.erasure.certificate import release, verify
from gli.erasure.check import check_files
from gli.erasure.requests import decide, status
from gli.erasure.store import Store, read_settings
from gli.errors import GLIError
from gli.system.ledger import make_entry
from tests.erasure.test_release import write_keys
from tests.helpers.erasure import NOW, ask, chained, fake_run, make_home, make_store

#: Changes in the suite, and in the slow test.
FEW, MANY = 60, 2000
OTHER = b"o" * 32


class World:
    """A store with a released batch, one that has run and an open request; the release as shipped; an earlier state.

    Args:
        home: A home with photographs, tables and a classifier.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.folder, self.papers = home, home / "erasures", home / "papers"
        with Image.open(home / "photos/carla/carla-1.png") as image:
            ImageOps.mirror(image).save(home / "photos/emil/mirrored.png")
        shutil.copy(home / "photos/carla/carla-0.png", home / "photos/emil/same.png")
        with (home / "faces.csv").open("a") as table:
            table.write("emil/mirrored.png,emil,adult\nemil/same.png,emil,adult\n")
        store = make_store(home)
        shutil.copytree(self.folder, home / "first")
        ask(store, "anna", "ben", received="2026-08-01")
        purge_batch(store, fake_run(store), now=NOW)
        folder = release(store, formats=("safetensors", "torch"), key=write_keys(home)[0], now=NOW).folder
        shutil.copytree(folder, self.papers)
        shutil.copytree(self.folder, home / "earlier")
        ask(store, "carla", received="2026-10-01")
        ask(store, "dora")
        decide(store, ["all"], "accept")
        fake_run(store, seed=2)
        self.settings = store.settings
        with store.lock():
            self.noted = store.ledger.read().last_hash
        below = [path for folder in (self.folder, self.papers) for path in sorted(folder.rglob("*")) if path.is_file()]
        self.files = {path: path.read_bytes() for path in below}

    def noticed(self) -> str:
        """Return the message of the first command that notices a change, or what is missing; empty if none does."""
        certificate = self.papers / "certificate.json"
        try:
            store = Store(self.folder)
            status(store, NOW)
            sentences = [*verify(certificate), *verify(certificate, ledger=self.folder), *check_files(store)]
            if self.noted not in {entry["hash"] for entry in store.ledger.read().entries}:
                return "the hash that was noted is not in the ledger"
        except GLIError as error:
            return str(error)
        return " ".join(sentence for sentence in sentences if sentence.startswith("Not seen"))

    def restore(self) -> None:
        """Put back the files that were changed."""
        for folder in (self.folder, self.papers):
            for path in folder.rglob("*"):
                if path.is_symlink() or (path.is_file() and path not in self.files):
                    path.unlink()
        for path, data in self.files.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
                path.chmod(0o600 if path.name == "key" else 0o644)


@pytest.fixture(scope="module")
def world(template, tmp_path_factory) -> World:
    home = tmp_path_factory.mktemp("mutations") / "home"
    shutil.copytree(template, home)
    made = World(home)
    assert made.noticed() == ""
    return made


# -- changes -----------------------------------------------------------------------------------------------------------


def byte(world: World, path: Path, generator: random.Random) -> list[Path]:
    data = bytearray(path.read_bytes())
    place = generator.randrange(len(data))
    data[place] ^= 1 << generator.randrange(8)
    path.write_bytes(data)
    return [path]


def cut(world: World, path: Path, generator: random.Random) -> list[Path]:
    data = path.read_bytes()
    path.write_bytes(data[: generator.randrange(len(data))])
    return [path]


def appended(world: World, path: Path, generator: random.Random) -> list[Path]:
    path.write_bytes(path.read_bytes() + generator.choice([b"\n", b"x\n", b"{}", generator.randbytes(8)]))
    return [path]


def lines(world: World, path: Path, generator: random.Random) -> list[Path]:
    """Remove, repeat or swap lines."""
    rows = path.read_bytes().splitlines(keepends=True)
    one, two = generator.randrange(len(rows)), generator.randrange(len(rows))
    how = generator.choice(["remove", "repeat", "swap"])
    if how == "remove":
        del rows[one]
    elif how == "repeat":
        rows.insert(two, rows[one])
    else:
        rows[one], rows[two] = rows[two], rows[one]
    path.write_bytes(b"".join(rows))
    return [path]


def deleted(world: World, path: Path, generator: random.Random) -> list[Path]:
    path.unlink()
    return [path]


def renamed(world: World, path: Path, generator: random.Random) -> list[Path]:
    return [path, path.rename(path.with_name(f"{path.name}.bak"))]


def swapped(world: World, path: Path, generator: random.Random) -> list[Path]:
    other = generator.choice([each for each in world.files if world.files[each] != world.files[path]])
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return [path, other]


def linked(world: World, path: Path, generator: random.Random) -> list[Path]:
    outside = world.home / "outside"
    outside.write_bytes(path.read_bytes())
    outside.chmod(0o600)
    path.unlink()
    path.symlink_to(outside)
    return [path]


def earlier(world: World, path: Path, generator: random.Random) -> list[Path]:
    """Set one file back to an earlier state of the store."""
    state = generator.choice(["first", "earlier"])
    before = world.home / state / path.relative_to(world.folder)
    path.write_bytes(before.read_bytes()) if before.exists() else path.unlink()
    return [path]


def forged(world: World, path: Path, generator: random.Random) -> list[Path]:
    """Make up the ledger with hashes that are right: without a line, with a changed one, or with one more."""
    entries = Store(world.folder).ledger.read().entries
    number = generator.randrange(len(entries))
    how = generator.choice(["remove", "change", "add", "unsigned"])
    if how == "remove":
        del entries[number]
    elif how == "change":
        entries[number] = {**entries[number], "time": "2026-01-01T00:00:00Z"}
    elif how == "unsigned":
        entries = [{name: value for name, value in each.items() if name not in ("mac", "key_hash")} for each in entries]
    if how == "add":
        line = make_entry(len(entries), entries[-1]["hash"], "2026-11-20T12:00:00Z", "gone", {"request": "R-1"}, OTHER)
        path.write_bytes(path.read_bytes() + line)
    else:
        chained(path, entries)
    return [path, path.with_name("ledger.head")]


def exchanged(world: World, path: Path, generator: random.Random) -> list[Path]:
    path.write_bytes(generator.randbytes(32).hex().encode() + b"\n")
    return [path, path.with_name("ledger.jsonl")]


Change = Callable[[World, Path, random.Random], list[Path]]
#: Changes of every file, and of those of which they make sense, by name.
EVERYWHERE: tuple[Change, ...] = (byte, byte, cut, appended, deleted, renamed, swapped, linked)
TEXTS = (".jsonl", ".csv", ".yaml", ".json", ".md", ".html", ".journal")


def changes_of(world: World, path: Path) -> list[Change]:
    """Return the changes that can be made to a file."""
    changes = [*EVERYWHERE] if world.files[path] else [appended, deleted, renamed, swapped, linked]
    changes += [lines] if path.suffix in TEXTS else []
    if path.is_relative_to(world.folder):
        states = [world.home / state / path.relative_to(world.folder) for state in ("first", "earlier")]
        differ = all(not each.exists() or each.read_bytes() != world.files[path] for each in states)
        changes += [earlier] if differ else []
    changes += {"ledger.jsonl": [forged], "key": [exchanged]}.get(path.name, []) if path.parent == world.folder else []
    return changes


# -- what cannot be noticed --------------------------------------------------------------------------------------------

#: Why a change is not noticed. Everything else is.
LOCK = "holds nothing: processes wait for each other by it"
JOURNAL = "notes of a purge on its way; the receipt, which is compared, has them"
PAGE = "a page to look at; the decisions are in copies.csv, which is compared"
SAME = "reads as the same values"
TORN = "a line without its end is what a killed process leaves: it does not count"
HEAD = "one line behind, as a killed process leaves it"


def excuse(world: World, path: Path) -> str:
    """Return why the change of a file is not noticed; an empty string if it must be."""
    relative = path.relative_to(world.home).as_posix()
    if path.name.startswith(".lock"):
        return LOCK
    if "purge.journal" in path.name:
        return JOURNAL
    if relative.startswith("erasures/copies/"):
        return PAGE
    if not path.is_file():
        return ""
    now, before = path.read_bytes(), world.files[path]
    if path.name == "store.yaml":  # Settings may be left out where they have the default.
        return SAME if read_settings(world.folder) == world.settings else ""
    if meaning(path, now) == meaning(path, before):
        return SAME
    if path.name == "ledger.jsonl" and now.rpartition(b"\n")[0] == before.rpartition(b"\n")[0]:
        return TORN
    return HEAD if path.name == "ledger.head" and now == heads(world)[-2] else ""


def meaning(path: Path, data: bytes) -> object:
    """Return what gli reads from a file."""
    try:
        if path.suffix == ".csv":
            rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
            return {tuple(cell.strip() for cell in row) for row in rows if row}
        return data.strip() if path.name == "key" else data
    except (ValueError, csv.Error):
        return data


def heads(world: World) -> list[bytes]:
    """Return the heads that the ledger had, the present one last."""
    ledger = Store(world.folder).ledger
    return [ledger._head(number + 1, entry["hash"]) for number, entry in enumerate(ledger.read().entries)]


# -- the tests ---------------------------------------------------------------------------------------------------------


def run_changes(world: World, count: int, seed: int = 0) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Make random changes, one at a time; return their number by file and result, and what was not noticed by name."""
    generator, results, missed = random.Random(seed), Counter[tuple[str, str]](), []
    every = [(path, change) for path in world.files for change in dict.fromkeys(changes_of(world, path))]
    generator.shuffle(every)
    more = (generator.choice(every) for _ in range(max(0, count - len(every))))
    for path, change in [*every[:count], *more]:
        place = path.relative_to(world.home).as_posix().removeprefix("erasures/")
        try:
            touched = change(world, path, generator)
            same = (each.is_file() and each.read_bytes() == world.files.get(each) for each in touched)
            if all(same) and not any(each.is_symlink() for each in touched):
                results[place, "no change"] += 1
                continue
            message = world.noticed()
            if any(each.name in message for each in touched):
                results[place, "noticed"] += 1
            elif not message and (reasons := {excuse(world, each) for each in touched}) and "" not in reasons:
                results[place, sorted(reasons)[0]] += 1
            else:
                missed.append(f"{change.__name__} of {place}: {message or 'nothing'}")
        finally:
            world.restore()
    return results, missed


def test_a_sample_of_changes_is_noticed(world):
    results, missed = run_changes(world, FEW)
    assert missed == []
    assert results.total() == FEW
    assert sum(count for (_, result), count in results.items() if result == "noticed") > FEW / 2


@pytest.mark.threat(
    "an insider who can write to the folder",
    "change any other file",
    "noticed part of it",
    "`verify --ledger STORE`; what is not noticed, and why: [docs/reliability.md](docs/reliability.md)",
)
@pytest.mark.slow
def test_two_thousand_changes_are_noticed(world):
    results, missed = run_changes(world, MANY)
    assert missed == []
    assert {place for place, _ in results} == {
        path.relative_to(world.home).as_posix().removeprefix("erasures/") for path in world.files
    }


@pytest.mark.threat(
    "an insider who can write to the folder",
    "write every file again under a key of their own, or set the folder back to last month",
    "accepted it",
    "only what is kept elsewhere: a certificate (`verify --ledger STORE`) or a printed head",
)
def test_a_store_that_was_set_back_as_a_whole_is_noticed_by_what_was_noted_elsewhere(world):
    """Without a certificate or a noted head of a later day, nothing contradicts an earlier state of all files."""
    for state, message in (
        ("earlier", "the hash that was noted is not in the ledger"),
        ("first", "was set back to an earlier state"),
    ):
        aside = world.folder.rename(world.home / "aside")
        shutil.copytree(world.home / state, world.folder)
        try:
            assert message in world.noticed()
            assert check_files(Store(world.folder))  # By itself, it is a good store.
        finally:
            shutil.rmtree(world.folder)
            aside.rename(world.folder)


def table_of(results: Counter[tuple[str, str]]) -> list[str]:
    """Return the results as the rows of a table in Markdown."""
    rows = ["| file | changes | noticed by name | not noticed, with the reason |", "|---|---|---|---|"]
    for place in sorted({place for place, _ in results}):
        own = {result: count for (each, result), count in results.items() if each == place and result != "no change"}
        shown = "; ".join(f"{count}: {result}" for result, count in sorted(own.items()) if result != "noticed")
        rows.append(f"| `{place}` | {sum(own.values())} | {own.get('noticed', 0)} | {shown} |")
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        found, left = run_changes(World(make_home(Path(folder))), int(sys.argv[1]))
        print(*table_of(found), *left, sep="\n")
