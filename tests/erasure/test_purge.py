"""Purge: nothing of the people is left below the store and the folder of runs, and nothing else is touched."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gli.auditing.record import read_people, read_records
from gli.engine.fit import run as fit
from gli.erasure import purge as purging
from gli.erasure.batch_purge import purge_batch, purge_folders
from gli.erasure.purge import digests_of
from gli.erasure.requests import read_requests
from gli.erasure.store import erased_in
from gli.errors import SettingError
from gli.models.checkpoints import classifier_state
from gli.models.training_images import read_training_images
from gli.system.digest import digest
from tests.helpers.erasure import BACKBONE, NOW, TRAINED, ask, fake_run, files_below, make_store, packed

PEOPLE = ("anna", "emil")


def everything(folder: Path) -> dict[str, bytes]:
    """Contents of all files, archives unpacked and pictures decoded, by path; names of files count as contents."""
    found = {}
    for name, data in files_below(folder).items():
        parts = [name.encode(), data]
        if data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                parts += [archive.read(each) for each in archive.namelist()]
        if data[:2] == b"\x1f\x8b":
            parts.append(gzip.decompress(data))
        for part in list(parts):
            pictures = [part[match.start() :] for match in re.finditer(b"\x89PNG|\xff\xd8\xff", part)]
            pictures += [base64.b64decode(each) for each in re.findall(rb"base64,([A-Za-z0-9+/=]+)", part)]
            for picture in pictures:
                with suppress(OSError, SyntaxError), Image.open(io.BytesIO(picture)) as image:
                    parts.append(image.convert("RGB").tobytes())
        found[name] = b"\0\0\0\0".join(parts)
    return found


def traces_left(folder: Path, photos: Path, size: int, losses: Sequence[float] = ()) -> list[str]:
    """Search a folder byte by byte for names, digests, pixels and losses, without gli's own search."""
    wanted: dict[str, bytes] = {}
    for name in PEOPLE:
        wanted |= {f"{name} {code}": name.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le")}
        for path in sorted((photos / name).iterdir()):
            data = path.read_bytes()
            for each in digests_of(data):
                wanted[f"digest {each[:4]} of {path.name}"] = each.encode()
                wanted[f"raw digest {each[:4]} of {path.name}"] = bytes.fromhex(each)
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
            for number, row in list(enumerate(pixels))[::5]:
                for shape, values in (("pixels", row), ("red", row[:, 0]), ("green", row[:, 1])):
                    forms = {"uint8": values, "float": (values / 255).astype(np.float32), "double": values / 255}
                    for kind, form in forms.items():
                        wanted[f"{shape} {kind} {number} of {path.name}"] = form.tobytes()
    for number, loss in enumerate(losses):
        wanted[f"loss {number} float32"] = np.float32(loss).tobytes()
        wanted[f"loss {number} float64"] = np.float64(np.float32(loss)).tobytes()
        wanted[f"loss {number} text"] = f"{loss:.7g}".encode()[:7]
    contents = everything(folder)
    return [f"{key} in {name}" for name, data in contents.items() for key, text in wanted.items() if text in data]


@pytest.fixture(scope="module")
def trained_home(template, tmp_path_factory):
    """A home in which gli itself trained the original and forgot dora, with audits, events, figures and a cache."""
    home = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(template, home)
    rows = [*(home / "faces.csv").read_text().splitlines(), *(home / "held_out.csv").read_text().splitlines()[1:]]
    (home / "all.csv").write_text("\n".join([*rows, ""]))
    sets = {"anna": "forget", "emil": "retain", "carla": "test", "dora": "forget"}
    people = [*TRAINED, *(f"stranger{number}" for number in range(12))]
    lines = [
        f"{name},{sets.get(name, 'retain' if number < 8 else 'unseen' if number % 2 else 'test')}"
        for number, name in enumerate(people)
    ]
    (home / "assignment.csv").write_text("\n".join(["identity,set", *lines, ""]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        fit(
            [
                "fit",
                "--model=GLI",
                f"--model.backbone={BACKBONE}",
                "--data=FaceTable",
                f"--data.root={home / 'photos'}",
                f"--data.csv={home / 'all.csv'}",
                f"--data.assignment={home / 'assignment.csv'}",
                f"--data.cache_dir={home / 'cache'}",
                "--data.image_size=24",
                "--data.batch_size=8",
                "--data.recipe.epochs=1",
                "--trainer.accelerator=cpu",
                "--trainer.max_steps=1",
                "--trainer.enable_progress_bar=false",
            ]
        )
    return home


@pytest.fixture
def logs_home(trained_home, tmp_path):
    """A copy of that home, in which the settings name the people too."""
    home = tmp_path / "logs_home"
    shutil.copytree(trained_home, home)
    (config,) = home.glob("lightning_logs/gli_table/version_0/config.yaml")
    text = config.read_text().replace(str(trained_home), str(home))
    config.write_text(text.replace("forget_identities: null", "forget_identities:\n    - anna\n    - dora"))
    return home


def purge(home, *names, **arguments):
    folders = [home / "lightning_logs", home / "cache"]
    table = arguments.pop("table", home / "all.csv")
    return purge_folders(folders, names, table=table, root=home / "photos", now=NOW, **arguments)


def test_a_folder_of_runs_holds_nothing_of_the_people_afterwards(logs_home):
    logs = logs_home / "lightning_logs"
    assert traces_left(logs_home / "lightning_logs", logs_home / "photos", 24)
    assert any("pixels uint8" in each for each in traces_left(logs_home / "cache", logs_home / "photos", 24))
    before = {name: np.array(values) for name, values in read_people(logs / "gli_table/version_0").items()}
    losses = {audit.iteration: audit.values["forget"]["loss"] for audit in read_records(logs / "gli_table/version_0")}
    own = [float(loss) for each in losses.values() for loss in each[before["forget"] == "anna"]]
    assert any("loss" in each for each in traces_left(logs, logs_home / "photos", 24, own))
    result = purge(logs_home, *PEOPLE)
    assert result.left == []
    assert traces_left(logs, logs_home / "photos", 24, own) == []
    assert traces_left(logs_home / "cache", logs_home / "photos", 24, own) == []
    # Models that remembered them, with their optimisers, figures and events, are gone; so are their losses.
    assert not [path for path in logs.rglob("*") if path.suffix in (".ckpt", ".png") or "tfevents" in path.name]
    run = logs / "gli_table/version_0"
    assert not run.exists()


def test_the_receipt_lists_each_file_with_its_hash_before_and_names_nobody(logs_home):
    result = purge(logs_home, *PEOPLE)
    receipt = json.loads(result.receipt.read_bytes())
    assert {entry["action"] for entry in receipt["files"]} == {"removed"}
    assert all(entry["bytes"] >= 0 and len(entry["sha256"]) == 64 for entry in receipt["files"])
    assert any(entry["path"].startswith("2-cache/pixels-24-") for entry in receipt["files"])
    text = result.receipt.read_text()
    assert not any(name in text for name in PEOPLE)
    assert receipt["left"] == []
    again = purge(logs_home, *PEOPLE)
    assert json.loads(again.receipt.read_bytes())["files"] == receipt["files"]


def killing(shred, after):
    """Return a function that removes some files, and then kills its process."""
    numbers = iter(range(after))
    return lambda path: os.kill(os.getpid(), 9) if next(numbers, None) is None else shred(path)


def test_a_purge_that_was_killed_in_front_of_any_removal_goes_on(logs_home, tmp_path):
    """The second run does not name the people: its data is that of the first."""
    logs = logs_home / "lightning_logs/gli_table"
    shutil.copytree(logs / "version_0", logs / "version_1")
    text = (logs / "version_1/config.yaml").read_text()
    (logs / "version_1/config.yaml").write_text(re.sub(r" *- anna\n", "", text))
    (logs / "version_1/audits/people.npz").unlink()
    (logs_home / "all.csv").rename(logs_home / "table.csv")
    homes = [tmp_path / str(number) for number in range(4)]
    for home in homes:
        shutil.copytree(logs_home, home)
        for path in home.rglob("config.yaml"):
            path.write_text(path.read_text().replace(str(logs_home), str(home)))
    whole = purge(logs_home, *PEOPLE, table=logs_home / "table.csv")
    count = len(whole.files)
    for number, home in enumerate(homes):
        child = os.fork()
        if child == 0:
            purging.shred = killing(purging.shred, after=count * (number + 1) // len(homes) - 1)
            purge(home, *PEOPLE, table=home / "table.csv")
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
        assert purge(home, *PEOPLE, table=home / "table.csv").left == []
        assert set(files_below(home)) == set(files_below(logs_home)), number


def test_a_dry_run_changes_nothing(logs_home):
    before = files_below(logs_home)
    result = purge(logs_home, *PEOPLE, dry_run=True)
    assert len(result.files) > 10
    assert result.receipt is None
    assert files_below(logs_home) == before


def test_people_whom_a_model_never_saw_leave_its_checkpoint_alone(logs_home):
    run = logs_home / "lightning_logs/gli_table/version_0"
    purge(logs_home, "carla", table=None)
    assert (run / "checkpoints/best.ckpt").is_file()
    assert {path.parent.name for path in run.rglob("*") if path.is_file()} == {"checkpoints"}


def test_a_file_that_is_kept_is_searched_all_the_same(logs_home):
    kept = logs_home / "lightning_logs/gli_table/version_0/checkpoints/best.ckpt"
    state = classifier_state(kept)
    images = len(read_training_images(kept))
    result = purge(logs_home, *PEOPLE, keep=[kept])
    # The record of its training images is rewritten, its weights are not.
    assert len(read_training_images(kept)) == images - 4
    assert all(torch.equal(value, state[key]) for key, value in classifier_state(kept).items())
    assert result.left == []
    torch.save({"weights": torch.zeros(3), "people": ["anna"]}, kept)
    assert ["a name" in each for each in purge(logs_home, *PEOPLE, keep=[kept]).left] == [True]


def test_folders_without_anything_of_gli_are_refused(logs_home, tmp_path):
    photos = files_below(logs_home)
    (tmp_path / "link").symlink_to(logs_home / "lightning_logs")
    for folder, message in (
        (logs_home, "Did you mean"),
        (logs_home / "photos", "holds no runs"),
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "link", "is a link"),
        (Path("/"), "holds no runs"),
    ):
        with pytest.raises(SettingError, match=message):
            purge_folders([folder], PEOPLE, now=NOW)
    with pytest.raises(SettingError, match="named twice"):
        purge_folders([logs_home / "lightning_logs", logs_home / "lightning_logs/gli_table"], PEOPLE, now=NOW)
    assert files_below(logs_home) == photos


def test_links_are_not_followed_and_hard_links_are_listed(logs_home, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "anna.txt").write_text("anna")
    (outside / "emil.ckpt").write_text("emil")
    logs = logs_home / "lightning_logs"
    (logs / "notes").symlink_to(outside)
    (logs / "gli_table/version_0/checkpoints/other.ckpt").symlink_to(outside / "emil.ckpt")
    os.link(outside / "emil.ckpt", logs / "gli_table/version_0/checkpoints/hard.ckpt")
    result = purge(logs_home, *PEOPLE)
    assert files_below(outside) == {"anna.txt": b"anna", "emil.ckpt": b"emil"}
    assert sum("a link, which was not followed" in each for each in result.exceptions) == 2
    assert sum("hard link" in each for each in result.exceptions) == 1
    assert not (logs / "gli_table/version_0/checkpoints/hard.ckpt").exists()


def test_trackers_are_listed(logs_home):
    config = logs_home / "lightning_logs/gli_table/version_0/config.yaml"
    contents = yaml.safe_load(config.read_text())
    contents["trainer"]["logger"] = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {}}
    config.write_text(yaml.safe_dump(contents))
    folder = logs_home / "lightning_logs/wandb/run-1/files/media"
    folder.mkdir(parents=True)
    (folder.parents[1] / "run-1.wandb").write_bytes(b"\x08\x01\x12\x04anna\x20\x03")
    (folder / "figure.png").write_bytes((logs_home / "photos/dora/dora-0.png").read_bytes())
    exceptions = purge(logs_home, *PEOPLE).exceptions
    assert any("WandbLogger" in each for each in exceptions)
    assert any("lightning_logs/wandb: a tracker's folder" in each for each in exceptions)
    assert (folder / "figure.png").exists()
    assert not (folder.parents[1] / "run-1.wandb").exists()


def in_a_figure(picture: bytes) -> bytes:
    """A PNG file of a larger picture with the given one in it."""
    figure, file = Image.new("RGB", (100, 60), "white"), io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        figure.paste(image, (31, 17))
    figure.save(file, "PNG")
    return file.getvalue()


def test_traces_in_unknown_files_are_found_and_others_stay(logs_home):
    logs = logs_home / "lightning_logs"
    picture = (logs_home / "photos/anna/anna-0.png").read_bytes()
    with Image.open(io.BytesIO(picture)) as image:
        row = np.asarray(image)[3]
    plants = {
        "copy.png": picture,
        "digests.bin": b"\1\2" + bytes.fromhex(digest(picture)) + b"\3",
        "pixels.bin": b"\7" * 11 + np.asarray(Image.open(io.BytesIO(picture))).tobytes(),
        "floats.bin": (np.asarray(Image.open(io.BytesIO(picture))) / np.float32(255)).astype(np.float32).tobytes(),
        "names.npy": np.array(["anna", "stranger1"]).tobytes(),
        "planar.bin": np.asarray(Image.open(io.BytesIO(picture))).transpose(2, 0, 1).tobytes(),
        "batch.npz": packed(images=(np.asarray(Image.open(io.BytesIO(picture))).transpose(2, 0, 1) / np.float32(255))),
        "figure.png": in_a_figure(picture),
        "events.bin": b"\0\1 some events " + in_a_figure(picture) + b" and so on",
        "shown.html": b'<img src="data:image/png;base64,' + base64.b64encode(in_a_figure(picture)) + b'">',
        "sha1.bin": b"\1" + hashlib.sha1(picture).digest() + b"\2",
        "packed.gz": gzip.compress(b"these are joanna and anna"),
        "page.html": b"<p>anna</p>",
        "mixed.csv": b"name,score\nanna,1\ndora,2\n",
        "mixed.json": json.dumps({"people": [{"name": "anna", "score": 3}, {"name": "dora"}], "anna": 1}).encode(),
        "log.txt": b"start\nanna was here\nend\n",
    }
    assert len(row) == 24
    others = {"joanna.txt": b"joanna, anna1 and hannah\n", "other.bin": bytes(range(256)), "b.csv": b"a,b\njoanna,1\n"}
    for name, data in {**plants, **others}.items():
        (logs / name).write_bytes(data)
    (logs / "anna").mkdir()
    (logs / "anna/notes.bin").write_bytes(b"\1\2\3")
    result = purge(logs_home, *PEOPLE)
    assert result.left == []
    assert not [name for name in plants if (logs / name).exists()]
    assert {name: (logs / name).read_bytes() for name in others} == others
    assert (logs / "erased/notes.bin").read_bytes() == b"\1\2\3"
    receipt = json.loads(result.receipt.read_bytes())
    (entry,) = [entry for entry in receipt["files"] if entry["path"].endswith("copy.png")]
    assert entry["sha256"] is None  # It would be a digest of the photograph.


def make_run(folder: Path, method: str, data: str, people: dict[str, list[str]] | None = None) -> Path:
    """Write the folder of a run: settings, a checkpoint, and who is in its evaluation sets."""
    settings = {
        "seed_everything": 0,
        "model": {"class_path": f"gli.methods.{method}"},
        "data": {"class_path": "gli.data.FaceTable", "init_args": {"root": data}},
    }
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "checkpoints/best.ckpt").write_bytes(b"weights")
    if people is not None:
        sets = {name: np.array(people.get(name, ["ben"])) for name in ("retain", "forget", "test", "unseen")}
        (folder / "audits").mkdir()
        np.savez(folder / "audits/people.npz", **sets)
    return folder


def test_a_retrained_model_without_the_people_stays(tmp_path):
    kept = make_run(tmp_path / "retrained_table/version_0", "Retrained", "a", {"forget": ["anna"]})
    mixed = make_run(tmp_path / "retrained_table/version_1", "Retrained", "b", {"retain": ["anna"]})
    tuned = make_run(tmp_path / "fine_tune_table/version_0", "FineTune", "a", {"forget": ["anna"]})
    assert purge_folders([tmp_path], ["anna"], now=NOW).left == []
    assert list(files_below(kept)) == ["checkpoints/best.ckpt"]
    assert not mixed.exists()
    assert not tuned.exists()


def test_an_unrelated_run_below_a_related_one_stays(tmp_path):
    outer = make_run(tmp_path / "gli_table/version_0", "GLI", "a", {"forget": ["anna"]})
    inner = make_run(outer / "later/gli_table/version_0", "GLI", "b", {"forget": ["dora"]})
    (outer / "copies/checkpoints").mkdir(parents=True)
    (outer / "copies/checkpoints/last.ckpt").write_bytes(b"weights")
    before = files_below(inner)
    purge_folders([tmp_path], ["anna"], now=NOW)
    assert files_below(inner) == before
    assert not (outer / "copies").exists()  # Checkpoints without settings are those of the run around them.
    assert not (outer / "config.yaml").exists()


def test_a_number_removes_files_only_where_it_is_a_person(tmp_path):
    run = make_run(tmp_path / "gli_table/version_0", "GLI", "a", {"forget": ["dora"]})
    with (run / "config.yaml").open("a") as file:
        file.write("blocks: [1, 3]\n")
    (tmp_path / "search.csv").write_text("trial,loss\n3,0.5\n")
    kept = files_below(tmp_path)
    people = {
        "faces.csv": "file,identity\na.png,3\n",
        "who.csv": "file,face\na.png,3\n",
        "split.yaml": "forget_identities: [3]\n",
        "held_out.txt": "2\n3\n",
    }
    for name, text in people.items():
        (tmp_path / name).write_text(text)
    receipt = tmp_path.with_name("receipt") / "purge.json"
    purge_folders([tmp_path], ["3"], columns=("file", "face"), receipt=receipt, now=NOW)
    assert files_below(tmp_path) == {**kept, ".lock": b""}


def test_only_weights_are_originals(tmp_path):
    make_run(tmp_path / "gli_faces/version_0", "GLI", "a", {"forget": ["anna"]})
    (tmp_path / "originals").mkdir()
    for name in ("original_faces-1.ckpt", "original_faces-notes.txt"):
        (tmp_path / "originals" / name).write_text("notes")
    purge_folders([tmp_path], ["anna"], now=NOW)
    assert list(files_below(tmp_path / "originals")) == ["original_faces-notes.txt"]


def test_the_job_of_a_run_goes_with_it(tmp_path):
    make_run(tmp_path / "gli_digits/version_0", "GLI", "digits", {"forget": ["dora"]})
    for name, person in (("cell", "anna"), ("other", "dora")):
        job = tmp_path / name
        make_run(job / "lightning_logs/retrained_faces/version_0", "Retrained", name, {"forget": [person]})
        (job / "originals").mkdir()
        for file in ("job.json", "done.json", "log.txt", "originals/original_faces-1.ckpt"):
            (job / file).write_text("{}")
    before = files_below(tmp_path / "other")
    purge_folders([tmp_path], ["anna"], now=NOW)
    assert list(files_below(tmp_path / "cell")) == ["lightning_logs/retrained_faces/version_0/checkpoints/best.ckpt"]
    del before["originals/original_faces-1.ckpt"]  # It has the name of data with the people.
    assert files_below(tmp_path / "other") == before


# -- the store ---------------------------------------------------------------------------------------------------------


def test_a_store_holds_nothing_of_the_people_afterwards(logs_home):
    store = make_store(logs_home, logs=str(logs_home / "lightning_logs"))
    ask(store, *PEOPLE, received="2026-08-01")
    ask(store, "carla", received="2026-11-04")
    name = fake_run(store)
    work = store.batch(name) / "work"
    work.mkdir()
    (work / "table.csv").write_text("file,identity\nanna/anna-0.png,R\n")
    shutil.copy(logs_home / "classifier.pth", logs_home / "lightning_logs/old.pth")
    first = store.weights.read_bytes()
    dry = purge_batch(store, name, dry_run=True, now=NOW)
    assert work.exists()
    assert any(entry["path"] == "logs/old.pth" for entry in dry.files)
    result = purge_batch(store, name, exceptions=["tape B"], now=NOW)
    assert result.left == []
    assert {entry["path"] for entry in result.files} == {entry["path"] for entry in dry.files}
    for folder in (store.folder, logs_home / "lightning_logs"):
        assert traces_left(folder, logs_home / "photos", 24) == []
        assert not [path for path, data in files_below(folder).items() if data == first]
    assert not work.exists()
    assert store.weights.read_bytes() == (store.batch(name) / "model.pt").read_bytes()
    assert [each.subject for each in read_requests(store)] == ["carla"]
    assert {"tape B"} < set(result.exceptions)
    assert any("photographs themselves" in each for each in result.exceptions)
    receipt = json.loads((store.batch(name) / "purge.json").read_bytes())
    assert {entry["path"] for entry in receipt["files"]} >= {"store/requests.csv", "store/weights/current.pt"}
    erased = erased_in(store.ledger.read())
    assert len(erased.people) == 2
    assert len(erased.files) == 4
    ledger = store.ledger.path.read_bytes()
    assert purge_batch(store, name, now=NOW).files == result.files
    assert store.ledger.path.read_bytes() == ledger


def test_the_lock_of_a_killed_run_goes_with_its_folder(store):
    ask(store, "anna")
    name = fake_run(store)
    run = store.batch(name) / "work/retrain-1/lightning_logs/retrained_table/version_0"
    run.mkdir(parents=True)
    (run / ".lock").touch()
    with store.lock():
        assert purge_batch(store, name, now=NOW).left == []
        assert not (store.batch(name) / "work").exists()
        assert (store.folder / ".lock").exists()


def test_a_store_inside_the_folder_of_runs_and_a_mistyped_folder_are_refused(logs_home):
    store = make_store(logs_home, logs=str(logs_home / "photos"))
    ask(store, "anna")
    fake_run(store)
    before = files_below(logs_home)
    with pytest.raises(SettingError, match="holds no runs"):
        purge_batch(store, now=NOW)
    assert files_below(logs_home) == before
    with pytest.raises(SettingError, match="holds a store"):
        purge_folders([logs_home / "lightning_logs", _with_run(store.folder)], ["anna"], now=NOW)


def _with_run(folder: Path) -> Path:
    (folder / "config.yaml").touch()
    return folder


def test_a_trace_that_is_left_is_a_failure(store, monkeypatch):
    ask(store, "anna")
    name = fake_run(store)
    released = store.release(name)
    released.mkdir(parents=True)
    (released / "notes.bin").write_bytes(b"\0anna\0")
    monkeypatch.setattr("gli.erasure.purge.shred", lambda path: None)
    result = purge_batch(store, name, now=NOW)
    assert any("notes.bin: a name" in each for each in result.left)
    assert store.ledger.read().of_kind("purge") == []
    monkeypatch.undo()
    assert purge_batch(store, name, now=NOW).left == []
