"""Routes: what the scan is given of the rules finds the same as asking the rules themselves."""

import msgspec
import pytest

from datamover.errors import MalformedError
from datamover.ids import BlockNumber
from datamover.placement.decision import Command, Placement
from datamover.placement.route import Router, Routing, route_of, routing, with_route
from datamover.placement.rule_file import parse_rules
from datamover.units import Bytes
from datamover.wire.tag import Extension, TagHeader, TagKind

RULES = """
[[rule]]
archive = "films"
content = "video/*"
codec = "none"
[[rule]]
age_below = "1h"
codec = "lz4-1"
[[rule]]
path = "*.txt"
codec = "zstd-9"
[[rule]]
path = "*.bin"
codec = "zstd-3"
[default]
codec = "zstd-3"
"""
NOW = 10**18
OLD = NOW - 3600 * 10**9


def made(archive="", codec=None):
    rules = parse_rules(RULES, "f")
    given = Placement(rules, command=Command(codec=codec), archive=archive)
    return routing(given, NOW)


def found(given, name, *, mtime_ns=OLD, head=b"\x1aE\xdf\xa3"):
    return Router(given).route(b"/x", name, 5, mtime_ns, lambda *_: head)


def test_route_0_is_what_holds_where_no_rule_matches():
    given, codecs = made()

    assert codecs == ("zstd-3", "lz4-1", "zstd-9")
    assert found(given, b"a") == 0
    assert found(given, b"a.txt") == 2
    assert found(given, b"a.txt", mtime_ns=OLD + 1) == 1
    assert found(given, b"a.bin") == 0


def test_rules_for_another_archive_make_no_route():
    assert made("films")[1] == ("zstd-3", "none", "lz4-1", "zstd-9")
    assert found(made("films")[0], b"a.txt") == 1
    assert found(made("series")[0], b"a.txt") == 2


def test_the_command_leaves_one_route():
    given, codecs = made("films", "gzip-1")

    assert codecs == ("gzip-1",)
    assert not Router(given)


def test_what_comes_to_the_same_is_not_asked_for():
    given, _ = made()

    assert [fork.route for fork in given.forks] == [1, 2]


def test_a_routing_survives_the_way_to_a_stage():
    given, _ = made("films")

    assert msgspec.convert(msgspec.to_builtins(given), Routing) == given


def tag(public):
    return TagHeader(
        kind=TagKind.DATA, block=BlockNumber(7), length=Bytes(0), plain=Bytes(0), public=public
    )


@pytest.mark.parametrize("route", [0, 1, 255])
def test_a_tag_says_its_route(route):
    assert route_of(tag(with_route(route)), 256) == route
    assert len(with_route(route)) == bool(route)


@pytest.mark.parametrize("value", [b"\x05\0", b"\x01", b"\x01\0\0"])
def test_a_route_that_is_not_there_is_refused(value):
    with pytest.raises(MalformedError, match="block 7"):
        route_of(tag((Extension(id=3, value=value),)), 5)
