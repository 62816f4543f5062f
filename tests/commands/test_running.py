from __future__ import annotations

from gli.commands.cells import Cell
from gli.commands.running import Board, reason_of_failure


def make_cell(tmp_path, name, seed=0, backbone=None) -> Cell:
    return Cell(name, seed, backbone, tmp_path / "run.yaml", (), tmp_path / f"{name}-{seed}-{backbone}", tmp_path)


def test_time_left_is_estimated_from_the_cells_that_have_ended(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("gli.commands.running.time.monotonic", lambda: clock[0])
    cells = [make_cell(tmp_path, name) for name in "abcd"]
    board = Board(cells, jobs=1)
    assert board.time_left() == "0 of 4 cells, 0:00 so far"
    board.start(cells[0])
    clock[0] += 60
    board.end(cells[0], 1)
    board.start(cells[1])
    clock[0] += 20
    assert board.time_left() == "1 of 4 cells, 1:20 so far, about 2:40 left"


def test_a_cell_that_ends_well_without_a_finished_run_has_failed(tmp_path):
    cell = make_cell(tmp_path, "GLI")
    board = Board([cell], jobs=1)
    board.start(cell)
    board.end(cell, 0)
    assert board.states == {cell: "failed"}


def test_cells_wait_for_the_original_of_their_seed_and_backbone(tmp_path):
    original, gli, other_seed, other_backbone = (
        make_cell(tmp_path, "Original", 0, "resnet18"),
        make_cell(tmp_path, "GLI", 0, "resnet18"),
        make_cell(tmp_path, "GLI", 1, "resnet18"),
        make_cell(tmp_path, "GLI", 0, "resnet50"),
    )
    board = Board([original, gli, other_seed, other_backbone], jobs=2)
    assert [cell for cell in board.cells if board.is_ready(cell)] == [original, other_seed, other_backbone]
    board.start(original)
    assert not board.is_ready(gli)
    board.end(original, 1)  # A failed original is trained again by the cell that needs it.
    assert board.is_ready(gli)


def test_the_reason_of_a_failure_is_the_last_line_of_the_log(tmp_path):
    cell = make_cell(tmp_path, "GLI", 3, "resnet18")
    assert reason_of_failure(cell).startswith("GLI, resnet18, seed 3: ended without a message")
    cell.folder.mkdir()
    (cell.folder / "log.txt").write_bytes(b"first\ngli: model.k is 99\xff\n\n")
    assert reason_of_failure(cell) == f"GLI, resnet18, seed 3: gli: model.k is 99\ufffd ({cell.folder / 'log.txt'})"
