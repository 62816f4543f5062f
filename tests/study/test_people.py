import pytest

from gli.study.people import PARTLY, WARNING, setting_of, warning_about_people

GIVEN = {"model": "method/gli.yaml", "data": {"class_path": "MUFAC", "init_args": {"rehearsal": True}}}
DATA_ALONE = {"class_path": "MUFAC", "init_args": {"rehearsal": True}}


@pytest.mark.parametrize(
    ("arguments", "configs", "warning"),
    [
        ([], [], WARNING),
        (["--data.rehearsal", "true"], [], ""),
        (["--data.init_args.rehearsal=reference"], [], ""),
        ([], [GIVEN], ""),
        ([], [{"data": "data/mufac.yaml"}, DATA_ALONE], ""),
        (["--data.rehearsal=false"], [GIVEN], WARNING),
        (["--data.seed", "100"], [], ""),
        (["--data.split_seed=1"], [], PARTLY),
        (["--data.seed"], [{"data": {"init_args": {"seed": 3}}}], ""),
        ([], [{"data": {"init_args": {"seed": 3}}}], WARNING),
    ],
)
def test_a_search_on_people_who_are_reported_is_noticed(arguments, configs, warning):
    assert warning_about_people(arguments, configs) == warning


def test_the_command_line_comes_before_the_configurations():
    assert setting_of("seed", ["--data.seed=1", "--data.seed", "2"], [{"data": {"init_args": {"seed": 3}}}]) == "2"
    assert setting_of("seed", ["--model.seed=1"], [{"data": None}, {}]) is None
