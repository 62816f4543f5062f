"""The pictures of the README: a contact sheet of drawn faces, and curves of runs.

Run ``python docs/figures.py RUN...``, each run a folder below lightning_logs.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from gli.data import SyntheticFaces
from gli.data.drawing import contact_sheet
from gli.plots import save

IMAGES = Path(__file__).parent / "images"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def faces(people: int = 5, pictures: int = 6) -> None:
    """One row for each of two people side by side, so that the sheet is wide."""
    data = SyntheticFaces(image_size=96)
    rows = [
        data.pictures * (2 * row + side) + picture
        for row in range(people)
        for side in (0, 1)
        for picture in range(pictures)
    ]
    drawn = np.stack([data.faces.images.pixels(row, data.image_size) for row in rows])
    Image.fromarray(contact_sheet(drawn, 2 * pictures)).save(IMAGES / "faces.jpg", quality=88)


def curves(runs: list[Path]) -> None:
    """Test accuracy and MIA accuracy of each run over its iterations."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for run, colour in zip(runs, COLOURS, strict=False):
        with (run / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["val/accuracy"]]
        iterations = [float(row["step"]) for row in rows]
        label = {"gli": "GLI", "li": "LI", "neg_grad": "NegGrad"}.get(
            run.parent.name.rpartition("_")[0], run.parent.name
        )
        for axes, key in ((left, "val/accuracy"), (right, "val/mia_accuracy")):
            axes.plot(iterations, [float(row[key] or "nan") for row in rows], color=colour, label=label)
    left.set(xlabel="unlearning iteration", ylabel="test accuracy", ylim=(0, None), title="utility (higher is better)")
    right.set(xlabel="unlearning iteration", ylabel="MIA accuracy", title="membership inference (0.5 is best)")
    right.axhline(0.5, color="#777777", linestyle="--", linewidth=1)
    left.legend()
    save(figure, IMAGES / "utility_drop.png")


if __name__ == "__main__":
    faces()
    curves([Path(run) for run in sys.argv[1:]])
