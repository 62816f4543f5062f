"""The pictures of the README: a sheet of drawn faces, and curves of runs.

``python docs/figures.py RUN...`` takes folders below lightning_logs: the first picture shows GLI, LI and NegGrad among
them, the other one all runs. Without runs only the faces are drawn. ``python docs/figures.py --tradeoff REPORT
NAME`` copies ``tradeoff_NAME.png`` from the folder of a report instead, and ``python docs/figures.py --curves NAME
RUN...`` the scores over the iterations of these runs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from gli.auditing.plots import save
from gli.data import SyntheticFaces
from gli.reporting.plots import utility_grid
from gli.reporting.results import labels
from gli.runs.read import Run, read_run

IMAGES = Path(__file__).parent / "images"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def faces(people: int = 5, pictures: int = 6) -> None:
    """Draw a sheet of faces: each row shows the pictures of two people side by side."""
    data = SyntheticFaces(image_size=96)
    rows = [
        data.pictures * (2 * row + side) + picture
        for row in range(people)
        for side in (0, 1)
        for picture in range(pictures)
    ]
    drawn = np.stack([data.faces.images.pixels(row, data.image_size) for row in rows])
    tiles = np.pad(drawn, ((0, 0), (2, 0), (2, 0), (0, 0)), constant_values=255)  # White lines between the pictures.
    height, width = tiles.shape[1:3]
    sheet = tiles.reshape(people, 2 * pictures, height, width, 3).swapaxes(1, 2).reshape(people * height, -1, 3)
    sheet = np.pad(sheet, ((0, 2), (0, 2), (0, 0)), constant_values=255)
    Image.fromarray(sheet).save(IMAGES / "faces.jpg", quality=88)


def curves(runs: Sequence[Run]) -> None:
    """Draw test accuracy and MIA accuracy of each run over its iterations."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for run, colour in zip(runs, COLOURS, strict=False):
        for axes, key in ((left, "accuracy"), (right, "mia_accuracy")):
            values = [row.get(key, float("nan")) for row in run.rows]
            axes.plot([row["iteration"] for row in run.rows], values, color=colour, label=run.method)
    left.set(xlabel="unlearning iteration", ylabel="test accuracy", ylim=(0, None), title="utility (higher is better)")
    right.set(xlabel="unlearning iteration", ylabel="MIA accuracy", title="membership inference (0.5 is best)")
    right.axhline(0.5, color="#777777", linestyle="--", linewidth=1)
    left.legend()
    save(figure, IMAGES / "utility_drop.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tradeoff"]:
        report, name = sys.argv[2:]
        shutil.copyfile(Path(report) / "tradeoff.png", IMAGES / f"tradeoff_{name}.png")
        sys.exit()
    if sys.argv[1:2] == ["--curves"]:
        name, *folders = sys.argv[2:]
        runs = [read_run(Path(folder)) for folder in folders]
        label_of = labels(runs)
        save(utility_grid({label_of[run.folder]: run.rows for run in runs}), IMAGES / f"curves_{name}.png")
        sys.exit()
    faces()
    runs = [read_run(Path(run)) for run in sys.argv[1:]]
    if runs:
        curves([run for name in ("GLI", "LI", "NegGrad") for run in runs if run.method == name])
        save(utility_grid({run.method: run.rows for run in runs}, columns=4), IMAGES / "methods.png")
