"""What a rule says and why it decided are said in words, with the facts it asked for."""

import pytest

from datamover.placement.decision import Command, Placement
from datamover.placement.matching import Facts
from datamover.placement.reason import reason_of, value_text, when_text
from datamover.placement.rule_file import parse_rules

RULE = """
[[rule]]
content = ["text/*", "image/*"]
path = "*.log"
size_at_least = "4KiB"
size_below = 5000
age_at_least = "2h"
age_below = "90d"
archive = ["w*", "m*"]
codec = "zstd-9"
"""


def told(text=RULE, *, archive="weekly", codec=None, size=4100):
    facts = Facts(
        b"/srv", b"x.log", size=size, age_ns=3 * 86400 * 10**9 // 2, head=lambda *_: b"some text"
    )
    placement = Placement(parse_rules(text, "f"), command=Command(codec=codec), archive=archive)
    return reason_of(placement.decide("codec", facts), facts, archive)


def test_every_condition_is_said_with_its_fact():
    assert told() == (
        "content text/plain fits text/*; path fits *.log; "
        "size 4100 is at least 4KiB and below 5000; age 1.5d is at least 2h and below 90d; "
        "archive 'weekly' fits w*"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"size": 5000}, "nobody says otherwise"),
        ({"archive": ""}, "nobody says otherwise"),
        ({"codec": "none"}, "the command says so"),
        (
            {"size": 9, "text": RULE + "[default]\ncodec='none'"},
            "no rule before it says otherwise",
        ),
        ({"text": "[[rule]]\ncodec='none'"}, "it holds for everything"),
    ],
)
def test_who_decides_without_conditions_is_said_too(given, reason):
    assert told(**given) == reason


def test_a_rule_is_said_on_one_line():
    (rule,) = parse_rules(RULE, "f").rules

    assert when_text(rule.when) == (
        "content text/*, image/*; path *.log; archive w*, m*; "
        "size at least 4KiB and below 5000; age at least 2h and below 90d"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [("none", "none"), (64 << 20, "64MiB"), (4096, "4KiB"), (4097, "4097"), (0, "0")],
)
def test_a_value_is_said_as_a_rule_file_says_it(value, text):
    assert value_text(value) == text
