"""Durations are read as people type them."""

import pytest

from datamover.cli.duration import parse_duration
from datamover.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172800)]
)
def test_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "h", "-1h", "1.5h", "1h30m", "1 h", "1w", "\u0661h", "9" * 20 + "s"]
)
def test_all_else_is_refused(text):
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)
