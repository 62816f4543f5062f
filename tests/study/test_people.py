from types import SimpleNamespace

import pytest

from gli.study.search import PARTLY, REPORTED, warning_about_people


@pytest.mark.parametrize(
    ("arguments", "rehearsal", "warning"),
    [
        ([], False, REPORTED),
        ([], True, ""),
        ([], "reference", ""),
        (["--data.seed", "100"], False, ""),
        (["--data.init_args.seed=100"], False, ""),
        (["--model.seed=1"], False, REPORTED),
        (["--data.split_seed=1"], False, PARTLY),
    ],
)
def test_a_search_on_people_who_are_reported_is_noticed(arguments, rehearsal, warning):
    run = SimpleNamespace(data={"init_args": {"rehearsal": rehearsal}})
    assert warning_about_people(arguments, run) == warning
