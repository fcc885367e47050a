"""Numbers are readable and names cannot steer a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.cli.measure import (
    bar,
    count_text,
    duration_text,
    printable,
    rate_text,
    readable,
    size_text,
    time_text,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1234, "1.23 kB"),
        (45_600_000, "45.6 MB"),
        (999_600, "1.00 MB"),
        (789 * 10**9, "789 GB"),
        (5 * 10**21, "5000 EB"),
    ],
)
def test_sizes_are_decimal_with_three_digits(size, text):
    assert size_text(size) == text


def test_rates_counts_and_durations_read_as_people_write_them():
    assert rate_text(590e6) == "590 MB/s"
    assert count_text(1234567) == "1,234,567"
    assert [duration_text(s) for s in (4.2, 720, 3723)] == ["0:04", "12:00", "1:02:03"]


def test_any_time_a_file_claims_can_be_shown():
    assert time_text(0) == "1970-01-01 00:00:00Z"
    assert time_text(2**62 * 1000).startswith("@")
    assert time_text(-(2**62) * 1000).startswith("@")


@given(st.floats(allow_nan=False))
def test_a_bar_is_always_as_wide_as_it_should_be(share):
    assert len(bar(share, 8, blocks=True)) == 8
    assert len(bar(share, 8, blocks=False)) == 8


def test_a_bar_shows_eighths():
    assert bar(0.5, 4, blocks=True) == "██  "
    assert bar(0.53125, 4, blocks=True) == "██▏ "


def test_a_plain_name_stays_as_it_is():
    assert printable("/home/Ärger/a b") == "/home/Ärger/a b"


def test_what_steers_a_terminal_is_spelled_out():
    assert printable("a\x1b[2J\n\\\u202e\udcff") == "a\\x1b[2J\\n\\\\\\u202e\\xff"


@given(st.binary())
def test_every_name_becomes_printable_and_two_names_never_look_alike(raw):
    name = raw.decode("utf-8", "surrogateescape")

    assert printable(name).isprintable()
    assert (printable(name) == printable(name + "x")) is False


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_escaping_is_reversible(one, other):
    first, second = (x.decode("utf-8", "surrogateescape") for x in (one, other))

    assert (printable(first) == printable(second)) == (one == other)


def test_prose_keeps_what_was_escaped_before_it_came():
    assert readable("a\\nb\x1b") == "a\\nb\\x1b"
