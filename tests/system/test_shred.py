"""Files are overwritten before they are removed or replaced, and links are not followed."""

from __future__ import annotations

from pathlib import Path

from gli.system.ledger import DOOMED, replace_contents, shred, shred_folder


def test_shredded_files_are_overwritten_before_they_are_removed(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(b"secret" * 100)
    seen = []
    monkeypatch.setattr(
        "gli.system.ledger.os.unlink", lambda each: seen.append((Path(each).name, Path(each).read_bytes()))
    )
    shred(path)
    ((name, data),) = seen
    assert name.startswith(DOOMED)
    assert data == bytes(600)
    monkeypatch.undo()
    shred(tmp_path / name)
    shred(path)
    assert list(tmp_path.iterdir()) == []


def test_replaced_contents_keep_the_mode_and_leave_no_copy(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    replace_contents(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_shredded_folder_leaves_what_its_links_lead_to(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").write_text("gone")
    (folder / "link").symlink_to(outside)
    (folder / "inner/link").symlink_to(outside / "file")
    shred_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").read_text() == "kept"
