"""The configuration of a benchmark: read and checked before any cell runs."""

from __future__ import annotations

import json

import pytest
import yaml

from gli.commands.main import main
from gli.errors import SettingError
from gli.methods import Method
from gli.reporting.claims import Comparison
from gli.runs.spec import RunSpec
from gli.study.benchmark import Grid, name_of, read_grid
from gli.study.settings import Entry, flags_of
from gli.system.classes import concrete_subclasses
from tests.helpers.benchmarks import CONFIGS, write_benchmark


def read(tmp_path, **settings) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({"data": "synthetic", "methods": ["GLI"], **settings}, sort_keys=False))
    return read_grid(path)


def test_methods_may_be_names_or_names_with_settings_and_variants_come_last(tmp_path):
    variants = {"Slow": {"config": "li_synthetic", "settings": {"model.lr": 0.1}}, "Plain": {"config": "gli_mufac"}}
    grid = read(tmp_path, methods={"FineTune": {"model.lr": 0.5}, "BadTeaching": {}}, variants=variants)
    assert list(grid.entries.items()) == [
        ("FineTune", Entry("fine_tune_synthetic", {"model.lr": 0.5})),
        ("BadTeaching", Entry("bad_teaching_synthetic", {})),
        ("Slow", Entry("li_synthetic", {"model.lr": 0.1})),
        ("Plain", Entry("gli_mufac", {})),
    ]
    assert read(tmp_path, methods=["GLI", "LI"]).entries == {"GLI": Entry("gli_synthetic"), "LI": Entry("li_synthetic")}


def test_defaults_are_one_seed_of_people_and_no_confidence_intervals(tmp_path):
    assert read(tmp_path) == Grid("synthetic", ["GLI"])
    assert read(tmp_path, seeds=[3], resamples=7, select="held_out", seed_data=True, backbones=["resnet18"]) == Grid(
        "synthetic",
        ["GLI"],
        seeds=[3],
        seed_data=True,
        backbones=["resnet18"],
        select="held_out",
        resamples=7,
    )


def test_a_grid_can_be_restricted(tmp_path):
    grid = read(tmp_path, methods=["GLI", "LI"], variants={"Slow": {"config": "li_synthetic"}}, seeds=[0, 1])
    assert grid.restricted() == grid
    small = grid.restricted(["Slow", "GLI"], [5], ["resnet18"])
    assert list(small.entries) == ["GLI", "Slow"]
    assert (small.seeds, small.backbones) == ([5], ["resnet18"])
    with pytest.raises(SettingError, match=r"no 'Slov'\. Did you mean 'Slow'\? Known: GLI, LI, Slow\."):
        grid.restricted(["Slov"])


def test_claims_are_read_and_left_out_with_their_methods(tmp_path):
    claims = [{"of": "GLI", "with": name, "score": "accuracy", "at": "end"} for name in ("LI", "Slow", "Original")]
    grid = read(tmp_path, methods=["GLI", "LI"], variants={"Slow": {"config": "li_synthetic"}}, compare=claims)
    assert grid.claims == tuple(Comparison("GLI", name, "accuracy", "end") for name in ("LI", "Slow", "Original"))
    assert [claim.baseline for claim in grid.restricted(["GLI", "LI"]).claims] == ["LI", "Original"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methds": []}, "no setting 'methds'. Did you mean 'methods'?"),
        ({"draws": 100}, "the setting 'draws' is now called 'resamples'"),
        ({"methods": "GLI"}, "methods is 'GLI'; expected names, or names with settings"),
        ({"methods": {"GLI": 3}}, "methods is {'GLI': 3}; expected names, or names with settings"),
        ({"methods": {3: {}}}, "methods is {3: {}}; expected names"),
        ({"methods": {"GLI": {"model lr": 3}}}, "settings of GLI: 'model lr' is not the name of a setting"),
        ({"settings": {"model.lr": {1, 2}}}, "settings: model.lr is {1, 2}"),
        ({"variants": {"GLI": "gli_synthetic"}}, "variants is {'GLI': 'gli_synthetic'}; expected"),
        ({"variants": {"GLI": {"config": 3}}}, "variants is {'GLI': {'config': 3}}; expected"),
        ({"seeds": 3}, "seeds is 3; expected a list"),
        ({"seeds": ["one"]}, "seeds is ['one']; expected a list of whole numbers from 0"),
        ({"seeds": [True]}, "seeds is [True]; expected a list of whole numbers"),
        ({"seeds": [-1]}, "seeds is [-1]; expected a list of whole numbers"),
        ({"seed_data": 1}, "seed_data is 1; expected true or false"),
        ({"backbones": [18]}, "backbones is [18]; expected a list of names"),
        ({"data": "../synthetic"}, "data is '../synthetic'; expected the last part"),
        ({"select": "luck"}, "select is 'luck'; expected one of final_score, held_out, end"),
        ({"resamples": -1}, "resamples is -1; expected a whole number that is not negative"),
        ({"compare": {"of": "GLI"}}, "compare is {'of': 'GLI'}; expected a list"),
        ({"compare": ["GLI>LI"]}, "compare has 'GLI>LI': expected names as of, with"),
        (
            {"compare": [{"of": "FineTun", "with": "NegGrad", "score": "accuracy"}]},
            "the benchmark has no 'FineTun'. Did you mean 'FineTune'?",
        ),
        ({"resamples": "many"}, "resamples is 'many'; expected a whole number"),
        (
            {"methods": ["SCRUBB"]},
            "SCRUBB: --config scrubb_synthetic: no such configuration. Did you mean 'scrub_synthetic'?",
        ),
        ({"variants": {"A": {"config": "../x"}}}, "A: --config ../x: no such configuration"),
        ({"variants": {"A B": {"config": "li_synthetic"}, "A-B": {"config": "li_synthetic"}}}, "same name and seed"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = write_benchmark(tmp_path, **changes)
    assert main(["benchmark", "--config", str(config), "--output", "out"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [("- GLI\n", "holds no settings"), ("data: synthetic\n", "'methods' is missing"), ("a: [", "cannot be read")],
)
def test_a_file_that_is_not_a_benchmark_is_refused(text, message, tmp_path):
    path = tmp_path / "benchmark.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=message):
        read_grid(path)


@pytest.mark.parametrize("data", ["synthetic", "mufac", "mucac"])
def test_the_shipped_benchmarks_of_a_data_set_have_all_methods(data):
    methods = concrete_subclasses(Method)
    shipped = {name for name, method in methods.items() if method.__module__.startswith("gli.")}
    grids = [read_grid(path) for path in (CONFIGS / "benchmark").glob("*.yaml")]
    assert shipped <= {name for grid in grids if grid.data == data for name in grid.entries}


def test_values_of_settings_stay_as_written_and_no_class_in_them_is_instantiated(tmp_path):
    created = tmp_path / "created"
    nested = {"class_path": "logging.FileHandler", "init_args": {"filename": str(created)}}
    given = {"model.x": nested, "model.y": "007", "model.z": "null", "model.lr": "1e-3"}
    path = write_benchmark(
        tmp_path, methods={"SCRUB": given}, settings=given, variants={"v": {"config": "c", "settings": given}}
    )
    grid = read_grid(path)
    assert not created.exists()
    assert grid.settings == grid.entries["SCRUB"].settings == grid.entries["v"].settings == given
    assert json.loads(flags_of(grid.settings)[0].partition("=")[2]) == nested


def test_a_mapping_in_a_text_is_not_read(tmp_path):
    with pytest.raises(SettingError, match="expected names with values"):
        read_grid(write_benchmark(tmp_path, settings="{model.x: {class_path: logging.FileHandler}}"))


def test_a_method_without_a_backbone_has_a_name():
    place = {"row": "Own", "column": "seed 0"}
    without = {"class_path": "own.Own", "init_args": {}}
    assert name_of(RunSpec(without, {}, {}, {}, 0, **place)) == "Own"
    small = {"class_path": "own.Own", "init_args": {"backbone": "small"}}
    assert name_of(RunSpec(small, {}, {}, {}, 0, **{**place, "row": "Own, small"})) == "Own"
