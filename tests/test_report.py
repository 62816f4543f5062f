"""Reports: every number and every point of a figure comes from a run's log, and bad folders are named."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from gli import audits, plots
from gli.audits import Audit, identity_halves
from gli.cli import main
from gli.errors import DataError
from gli.published import PUBLISHED
from gli.report import figures, write
from gli.results import choose, labels, lines, ranks, read_log, read_run, results

SETS = ("test", "forget", "unseen")
PEOPLE = {name: np.repeat([f"{name}{person}" for person in range(10)], 3) for name in SETS}


def audit(iteration: int, seed: int, shift: float) -> Audit:
    generator = np.random.default_rng([seed, iteration])
    values = {}
    for name in SETS:
        loss = generator.gamma(2, size=30) + (shift if name == "unseen" else 0)
        values[name] = {
            "loss": loss.astype(np.float32).astype(float),
            "accuracy": generator.integers(0, 2, 30).astype(float),
        }
    return Audit(iteration, values)


@pytest.fixture
def make_run(tmp_path):
    """A run's folder, as ``gli fit`` leaves it behind."""

    def make(method="GLI", seed=0, count=4, data="SyntheticFaces", keep=True, name="", **settings) -> Path:
        folder = tmp_path / (name or f"{method}-{seed}-{len(list(tmp_path.iterdir()))}")
        folder.mkdir()
        config = {
            "seed_everything": seed,
            "model": {
                "class_path": f"gli.methods.{method}",
                "init_args": {"lr": 0.01, "original": f"{seed}.ckpt", **settings},
            },
            "data": {"class_path": f"gli.data.{data}", "init_args": {"seed": seed, "image_size": 64}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        made = [audit(2 * number, seed, 1.0 - 0.2 * number) for number in range(count)]
        rows = [{"step": one.iteration} | {f"val/{k}": v for k, v in one.scores().items()} for one in made]
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", "train/loss", *list(rows[0])[1:]])
            writer.writeheader()
            for row in rows:
                writer.writerow(row)
                writer.writerow({"step": row["step"] + 1, "train/loss": 0.1})
        if keep:
            audits.write_people(folder, PEOPLE)
            for one in made:
                audits.write(folder, one)
        return folder

    return make


def change(folder: Path, iteration: int, score: str, value: float) -> None:
    """Change one value in a run's log."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [row for row in rows if row["step"] == str(iteration) and row["val/accuracy"]]
    row[f"val/{score}"] = str(value)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_run_is_read_with_its_settings_and_audits(make_run):
    run = read_run(make_run("SCRUB", seed=3, alpha=0.5))
    assert (run.method, run.data, run.seed) == ("SCRUB", "SyntheticFaces", 3)
    assert run.settings == {"model.lr": 0.01, "model.alpha": 0.5, "data.image_size": 64}
    assert [row["iteration"] for row in run.rows] == [0, 2, 4, 6]
    kept = run.audit(2)
    assert kept
    assert run.rows[1]["mia_accuracy"] == pytest.approx(kept.scores()["mia_accuracy"])
    assert run.audit(3) is None


def test_the_best_final_score_is_reported_of_a_method_and_the_last_audit_of_a_retrained_model(make_run):
    folder = make_run()
    change(folder, 4, "final_score", 0.99)
    assert choose(read_run(folder), "final_score").iteration == 4
    folder = make_run("Retrained")
    change(folder, 4, "final_score", 0.99)
    assert choose(read_run(folder), "final_score").iteration == 6


def test_held_out_people_choose_and_the_others_are_reported(make_run):
    run = read_run(make_run())
    by, report = identity_halves(PEOPLE)
    kept = [one for one in audits.read(run.folder) if one.iteration]
    best = max(kept, key=lambda one: one.scores(by)["final_score"])
    result = choose(run, "held_out")
    assert result.iteration == best.iteration
    assert result.scores == best.scores(report)
    assert result.scores["accuracy"] == best.values["test"]["accuracy"][report["test"]].mean()


def test_limits_are_of_the_half_that_is_reported(make_run):
    run = read_run(make_run())
    whole, half = choose(run, "final_score", draws=20), choose(run, "held_out", draws=20)
    for result in (whole, half):
        low, high = result.limits["accuracy"]
        assert low <= result.scores["accuracy"] <= high
    widths = [result.limits["accuracy"][1] - result.limits["accuracy"][0] for result in (whole, half)]
    assert widths[1] > widths[0]


def test_seeds_are_put_together_and_compared_with_the_retrained_model(make_run):
    runs = [read_run(make_run(method, seed)) for method in ("GLI", "Retrained") for seed in (0, 1)]
    found = results(runs)
    table = {line.label: line for line in lines(found)}
    assert list(table) == ["Original", "Retrained", "GLI"]
    gli = [result.scores["final_score"] for result in table["GLI"].results]
    assert table["GLI"].mean["final_score"] == pytest.approx(sum(gli) / 2)
    assert table["GLI"].spread["final_score"] == pytest.approx(abs(gli[0] - gli[1]) / math.sqrt(2))
    gap = table["GLI"].mean["jsd"] - table["Retrained"].mean["jsd"]
    assert table["GLI"].gap["jsd"] == pytest.approx(gap)
    assert [result.run.seed for result in table["Original"].results] == [0, 1]
    assert all(result.iteration == 0 for result in table["Original"].results)


def test_runs_of_other_settings_are_lines_of_their_own(make_run):
    runs = [read_run(make_run("GLI", seed, steps=steps)) for steps in (2, 5) for seed in (0, 1)]
    assert sorted(set(labels(runs).values())) == ["GLI (steps 2)", "GLI (steps 5)"]


def test_best_and_second_best_leave_original_and_retrained_out(make_run):
    for place, method in enumerate(("GLI", "LI", "SCRUB", "Retrained")):
        folder = make_run(method)
        for iteration in (2, 4, 6):
            change(folder, iteration, "final_score", 0.5 + 0.1 * place)
            change(folder, iteration, "jsd", 0.5 - 0.1 * place)
    runs = [read_run(folder) for folder in sorted(make_run.__closure__[0].cell_contents.iterdir())]
    table = lines(results(runs))
    assert ranks(table, "final_score") == ranks(table, "jsd") == {"SCRUB": 1, "LI": 2}


def test_a_value_changed_in_a_log_moves_the_point_in_the_figure(make_run):
    folder = make_run()
    runs = [read_run(folder)]

    def line(run):
        axes = figures([run], results([run]))["Utility drop: scores over the iterations"].axes[0]
        return axes.lines[0].get_xydata().tolist()

    before = line(runs[0])
    assert before == [[row["iteration"], row["accuracy"]] for row in runs[0].rows]
    change(folder, 4, "accuracy", 0.123)
    after = line(read_run(folder))
    assert after[2] == [4, 0.123]
    assert [point for place, point in enumerate(after) if place != 2] == [
        point for place, point in enumerate(before) if place != 2
    ]


def test_forgetting_and_jsd_are_plotted_where_the_log_has_them(make_run):
    folders = [make_run(method) for method in ("GLI", "LI", "SCRUB")]
    for place, folder in enumerate(folders):
        for iteration in (2, 4, 6):
            change(folder, iteration, "final_score", 0.9)
            change(folder, iteration, "forgetting_score", 0.1 * place)
            change(folder, iteration, "jsd", 0.2 * place + 0.05)
    runs = [read_run(folder) for folder in folders]
    found = [result for result in results(runs) if result.label != "Original"]
    (axes,) = figures(runs, found)["Forgetting score against JSD"].axes
    points = [collection.get_offsets().tolist()[0] for collection in axes.collections]
    assert points == [[pytest.approx(0.1 * place), pytest.approx(0.2 * place + 0.05)] for place in range(3)]
    assert "r = 1.00 over 3" in axes.get_title()


def test_pearson_is_that_of_numpy_or_none():
    points = [(0.1, 0.3), (0.2, 0.1), (0.4, 0.9), (math.nan, 1.0)]
    assert plots.pearson(points) == pytest.approx(np.corrcoef(np.array(points[:3]).T)[0, 1])
    assert plots.pearson(points[:2]) is None
    assert plots.pearson([(1.0, 2.0)] * 4) is None


def test_the_report_is_whole_and_names_its_runs(make_run, tmp_path, capsys):
    folders = [make_run(method, seed) for method in ("GLI", "LI", "Retrained") for seed in (0, 1)]
    output = tmp_path / "out"
    assert main(["report", *map(str, folders), "--output", str(output), "--draws", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(output / "report.html")
    with (output / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == set(map(str, folders))
    for row in rows:
        run = read_run(Path(row["run"]))
        logged = next(one for one in run.rows if one["iteration"] == float(row["iteration"]))
        assert float(row["final_score"]) == logged["final_score"]
        assert float(row["accuracy_low"]) <= float(row["accuracy_high"])
    contents = json.loads((output / "results.json").read_text())
    assert [line["method"] for line in contents["lines"]] == ["Original", "Retrained", "GLI", "LI"]
    assert contents["lines"][0]["standard_deviation"]["jsd"] is not None
    page = (output / "report.html").read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(["']?http""", page)
    assert all(str(folder) in page for folder in folders)
    text = (output / "results.md").read_text()
    assert "**" in text
    assert "as in the released code" in text


def test_published_figures_stand_beside_ours(make_run, tmp_path):
    folders = [make_run(method, data="MUFAC") for method in ("GLI", "SCRUB")]
    assert write([read_run(folder) for folder in folders], tmp_path / "out") == []
    text = (tmp_path / "out/results.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| SCRUB |") and "(0.598)" in line]
    assert "(0.658)" in line
    assert "(0.475)" in line


def test_the_warm_up_has_a_table_and_curves_of_its_own(make_run, tmp_path):
    fixed, warm = ({"initial": first, "final": 1000.0} for first in (1000.0, 200.0))
    folders = [make_run("GLI", data="MUFAC", class_weight=weight) for weight in (fixed, warm)]
    folders += [make_run(method, data="MUFAC") for method in ("LI", "SCRUB")]
    runs = [read_run(folder) for folder in folders]
    assert [run.kind for run in runs] == ["GLI with fixed weight", "GLI", "LI", "SCRUB"]
    assert write(runs, tmp_path / "out") == []
    _, _, after = (tmp_path / "out/results.md").read_text().partition("## Class-loss warm-up")
    table = [line.split("|")[1:] for line in after.partition("## Runs")[0].splitlines() if line.startswith("| ")][1:]
    published = {
        row[0].strip(): [number for number in ("(0.717)", "(0.702)", "(0.754)") if number in "".join(row)]
        for row in table
    }
    assert published == {
        "LI": ["(0.717)"],
        "GLI (class_weight.initial 1000)": ["(0.702)"],
        "GLI (class_weight.initial 200)": ["(0.754)"],
    }
    panels = figures(runs, results(runs))["Class-loss warm-up: score curves"].axes
    assert [axes.get_title() for axes in panels] == list(published)
    assert [y for _, y in panels[1].lines[0].get_xydata()] == [row["accuracy"] for row in runs[0].rows]
    assert "Class-loss warm-up: score curves" not in figures(runs[1:], results(runs[1:]))


def test_published_scores_agree_with_each_other():
    """Final score = (accuracy + 1 - 2 forgetting) / 2, as printed; the two that do not are said to."""
    for data, table in PUBLISHED.items():
        for method, scores in table.items():
            made = (scores["accuracy"] + 1 - 2 * scores["forgetting_score"]) / 2
            exact = abs(made - scores["final_score"]) < 0.002
            assert exact is ((data, method) not in {("MUFAC", "BadTeaching"), ("MUFAC", "EUk")}), (data, method, made)


def test_runs_without_a_result_are_left_out_and_said(make_run, tmp_path):
    good, bare = make_run(), make_run("LI", count=1)
    (message,) = write([read_run(good), read_run(bare)], tmp_path / "out")
    assert str(bare) in message
    assert str(bare) in (tmp_path / "out/results.md").read_text()


def test_runs_that_kept_no_audits_are_reported_but_not_on_held_out_people(make_run, tmp_path):
    run = read_run(make_run(keep=False))
    assert write([run], tmp_path / "out") == []
    with pytest.raises(DataError, match="keep_losses"):
        choose(run, "held_out")


def test_a_log_that_went_on_after_a_stop_counts_an_iteration_once(make_run):
    folder = make_run()
    text = (folder / "metrics.csv").read_text()
    again = next(line for line in text.splitlines() if line.startswith("4,"))
    (folder / "metrics.csv").write_text(text + again + "\n")
    assert [row["iteration"] for row in read_log(folder)] == [0, 2, 4, 6]


def spoil_config(folder):
    (folder / "config.yaml").write_text("model: [")


def spoil_log(folder):
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,high\n")


def empty_log(folder):
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_config, "config.yaml: cannot be read as the settings of a run"),
        (spoil_log, "metrics.csv: cannot be read as the log of a run"),
        (empty_log, "metrics.csv: holds no audit"),
        (lambda folder: (folder / "metrics.csv").unlink(), "metrics.csv: no such log"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: no such file"),
        (lambda folder: (folder / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml: cannot be read"),
        (lambda folder: (folder / "config.yaml").write_text("model: 3\ndata: 4\n"), "config.yaml: cannot be read"),
    ],
)
def test_a_folder_that_is_no_run_is_named(spoil, said, make_run, tmp_path, capsys):
    folder = make_run()
    spoil(folder)
    assert main(["report", str(folder), "--output", str(tmp_path / "out")]) == 2
    caught = capsys.readouterr().err
    assert said in caught
    assert "Traceback" not in caught
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_cut_off_is_left_out_of_a_report_of_several_and_a_mistyped_one_ends_it(
    make_run, tmp_path, capsys
):
    whole, cut, output = make_run(), tmp_path / "version_1", tmp_path / "out"
    cut.mkdir()
    assert main(["report", str(whole), str(cut), "--output", str(output)]) == 0
    assert f"left out: {cut / 'config.yaml'}: no such file" in capsys.readouterr().err
    assert str(cut) in (output / "report.html").read_text()
    found = json.loads((output / "results.json").read_text())
    assert {row["run"] for row in found["results"]} == {str(whole)}
    assert len(found["failed"]) == 1
    assert main(["report", str(whole), str(tmp_path / "version_2")]) == 2
    assert f"{tmp_path / 'version_2' / 'config.yaml'}: no such file" in capsys.readouterr().err


def test_runs_of_several_data_sets_are_not_compared(make_run, capsys, tmp_path):
    folders = [make_run(), make_run(data="MUFAC")]
    assert main(["report", *map(str, folders), "--output", str(tmp_path / "out")]) == 2
    assert "several data sets (MUFAC, SyntheticFaces)" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_named_with_the_setting(make_run, tmp_path, capsys):
    run, place = make_run(), tmp_path / "a_file"
    place.touch()
    assert main(["report", str(run), "--output", str(place)]) == 2
    assert f"gli report: {place}: the report cannot be written" in (said := capsys.readouterr().err)
    assert "Point --output to a folder" in said
