"""An estimate is right on a steady job, and silent when it would be a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.cli.estimate import Estimator


def fed(readings):
    estimator = Estimator()
    for elapsed, done in readings:
        estimator.update(elapsed=elapsed, done=done)
    return estimator


def steady(seconds, rate):
    return [(tenth / 10, int(rate * tenth / 10)) for tenth in range(1, int(seconds * 10) + 1)]


def test_a_steady_job_is_estimated_exactly():
    estimator = fed(steady(10, 100))

    assert estimator.rate == pytest.approx(100)
    assert estimator.remaining(2000) == pytest.approx(10)


def test_the_first_rate_is_not_biased_towards_zero():
    assert fed(steady(0.2, 100)).rate == pytest.approx(100)


def test_a_young_job_is_not_estimated():
    assert fed(steady(1.9, 100)).remaining(2000) is None


def test_without_a_total_there_is_no_estimate():
    assert fed(steady(10, 100)).remaining(None) is None


def test_a_total_that_was_passed_was_no_total():
    assert fed(steady(10, 100)).remaining(999) is None


def test_a_job_that_stalls_loses_its_estimate():
    readings = steady(10, 100)
    readings += [(10 + tenth / 10, 1000) for tenth in range(1, 50)]

    assert fed(readings).remaining(2000) is None


def test_a_job_that_slows_down_for_good_gets_an_honest_estimate_again():
    readings = steady(10, 1000)
    readings += [(10 + t / 10, 10_000 + 10 * t) for t in range(1, 1000)]

    assert fed(readings).remaining(readings[-1][1] + 1000) == pytest.approx(10, rel=0.1)


def test_a_job_that_never_moves_is_never_estimated():
    assert fed([(t, 0) for t in range(1, 100)]).remaining(1) is None


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(-10, 2**63))), st.integers(0, 2**63))
def test_no_readings_however_odd_break_it(readings, total):
    remaining = fed(readings).remaining(total)

    assert remaining is None or remaining >= 0
