from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gli.metrics.utility import pareto_front


def test_a_front_by_hand():
    assert pareto_front([(0, 3), (1, 1), (3, 0), (1, 2), (0, 3), (3, 3)]) == [True, True, True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_whoever_is_off_the_front_is_beaten_by_one_on_it(points):
    front = pareto_front(points)
    assert any(front)
    for point, on in zip(points, front, strict=True):
        beaten = any(
            o and all(a <= b for a, b in zip(p, point, strict=True)) and p != point
            for p, o in zip(points, front, strict=True)
        )
        assert beaten is not on
