import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli.errors import SettingError
from gli.study.space import Choice, Range, grid, sampled


def test_a_grid_is_every_combination_and_joined_keys_move_together():
    space = grid(["model.lr=0.1,0.2", "a.x+a.y=3,4"])
    assert [space.settings(values) for values in space.combinations()] == [
        {"model.lr": "0.1", "a.x": "3", "a.y": "3"},
        {"model.lr": "0.1", "a.x": "4", "a.y": "4"},
        {"model.lr": "0.2", "a.x": "3", "a.y": "3"},
        {"model.lr": "0.2", "a.x": "4", "a.y": "4"},
    ]


@pytest.mark.parametrize("setting", ["model.lr", "=3", "model.lr=", "model.lr=1,,2", "a+=1,2"])
def test_a_setting_of_another_form_is_refused(setting):
    with pytest.raises(SettingError, match=r"--try .*: expected KEY=VALUE,VALUE"):
        grid([setting])
    with pytest.raises(SettingError, match=r"--choose .*: expected KEY=VALUE,VALUE"):
        sampled([], [setting])


def test_ranges_are_read_as_they_are_written():
    space = sampled(["model.lr=1e-4..1e-2:log", "model.steps=1..10", "a.x+a.y=-1..2.5"], ["b=p,q"])
    assert space.axes == (
        Range(("model.lr",), 1e-4, 1e-2, log=True),
        Range(("model.steps",), 1, 10, integer=True),
        Range(("a.x", "a.y"), -1, 2.5),
        Choice(("b",), ("p", "q")),
    )
    found = space.settings({"model.lr": 0.001234567, "model.steps": 3, "a.x+a.y": 0.5, "b": "q"})
    assert found == {"model.lr": "0.001235", "model.steps": "3", "a.x": "0.5", "a.y": "0.5", "b": "q"}


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1))
def test_a_value_in_short_stays_in_its_range(one, two, place):
    low, high = sorted((one, two))
    value = min(high, max(low, low + place * (high - low)))
    text = Range(("a",), low, high).text(value)
    assert low <= float(text) <= high
    assert float(text) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.lr", "expected KEY=LOW..HIGH or KEY=LOW..HIGH:log"),
        ("model.lr=3", "expected KEY=LOW..HIGH"),
        ("=1..2", "expected KEY=LOW..HIGH"),
        ("model.lr=..2", "'' to '2' are not numbers"),
        ("model.lr=1..x", "'1' to 'x' are not numbers"),
        ("model.lr=1..2:lin", "expected KEY=LOW..HIGH"),
        ("model.lr=1..inf", "must be finite"),
        ("model.lr=2..1", "2 is not less than 1. Write the smaller number first."),
        ("model.lr=1..1", "1 is not less than 1"),
        ("model.lr=0..1:log", "a log scale needs numbers above 0"),
    ],
)
def test_a_range_that_is_none_is_refused(setting, message):
    with pytest.raises(SettingError) as caught:
        sampled([setting], [])
    assert f"--range {setting}: " in str(caught.value)
    assert message in str(caught.value)


def test_a_key_is_varied_once_and_a_value_named_once():
    for wrong in (lambda: sampled(["a=1..2"], ["a+b=1,2"]), lambda: grid(["a=1,2", "a=3,4"])):
        with pytest.raises(SettingError, match="a is varied twice"):
            wrong()
    with pytest.raises(SettingError, match="names a value twice"):
        sampled([], ["a=1,1"])
