"""Who decides: the command before the rules, the rules in order, the default, the mover; by key."""

import pytest

from datamover.placement.decision import CHUNK_SIZE, CODEC, Command, Placement
from datamover.placement.matching import Facts
from datamover.placement.rule_file import parse_rules
from datamover.units import MIB

DAY = 86400 * 10**9
PNG = b"\x89PNG\r\n\x1a\n"

RULES = """
[[rule]]
name = "pictures"
content = "image/*"
codec = "none"
[[rule]]
name = "weekly"
archive = "weekly*"
chunk_size = "256MiB"
cipher = "chacha20-poly1305"
[[rule]]
name = "old logs"
path = ["/var/log/*", "*.log"]
age_at_least = "7d"
codec = "zstd-19"
[[rule]]
name = "large"
size_at_least = 1000
size_below = 2000
codec = "lz4-1"
"""
DEFAULT = "[default]\ncodec = 'gzip-2'\n"


def unread(*_):
    raise AssertionError("the file was opened without need")


def file(path=b"/home/x", *, size=10, age_ns=0, head=b"plain text"):
    directory, _, name = path.rpartition(b"/")
    given = head if callable(head) else lambda *_: head
    return Facts(directory, name, size=size, age_ns=age_ns, head=given)


def placed(text=RULES, *, codec=None, chunk_size=None, archive="", cipher="none"):
    return Placement(
        parse_rules(text, "f"),
        command=Command(codec=codec, chunk_size=chunk_size),
        archive=archive,
        cipher=cipher,
    )


def decided(given, key="codec", **file_facts):
    settled = given.decide(key, file(**file_facts) if file_facts else None)
    return settled.value, settled.by


def test_the_mover_decides_what_nobody_else_does():
    bare = placed("", cipher="aes-256-gcm")

    assert decided(bare, path=b"/a") == (CODEC, "mover")
    assert decided(bare, "chunk_size") == (CHUNK_SIZE, "mover")
    assert decided(bare, "cipher") == ("aes-256-gcm", "mover")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"head": PNG, "path": b"/a/b.txt"}, ("none", "pictures")),
        ({"head": PNG, "path": b"/var/log/x", "age_ns": 8 * DAY}, ("none", "pictures")),
        ({"path": b"/var/log/x", "age_ns": 7 * DAY}, ("zstd-19", "old logs")),
        ({"path": b"/var/log/x", "age_ns": 7 * DAY - 1}, ("gzip-2", "default")),
        ({"path": b"/srv/x.log", "age_ns": 9 * DAY}, ("zstd-19", "old logs")),
        ({"size": 1000}, ("lz4-1", "large")),
        ({"size": 1999}, ("lz4-1", "large")),
        ({"size": 2000}, ("gzip-2", "default")),
        ({"size": 999}, ("gzip-2", "default")),
        ({"head": lambda *_: None, "size": 1500}, ("lz4-1", "large")),
    ],
)
def test_the_first_rule_that_matches_decides(facts, expected):
    assert decided(placed(RULES + DEFAULT), **facts) == expected


def test_the_command_is_before_all_rules():
    forced = placed(RULES + DEFAULT, codec="zstd-3", chunk_size=MIB, archive="weekly 7")

    assert decided(forced, head=PNG) == ("zstd-3", "command")
    assert decided(forced, "chunk_size") == (MIB, "command")
    assert decided(forced, "cipher") == ("chacha20-poly1305", "weekly")
    assert forced.for_files("codec") == []


def test_each_key_is_decided_by_itself():
    weekly = placed(RULES, archive="weekly 7", cipher="aes-256-gcm")

    assert decided(weekly, "chunk_size") == (256 * MIB, "weekly")
    assert decided(weekly, "cipher") == ("chacha20-poly1305", "weekly")
    assert decided(weekly, size=1500) == ("lz4-1", "large")
    assert decided(placed(RULES, archive="daily"), "chunk_size") == (CHUNK_SIZE, "mover")
    assert decided(placed(RULES), "chunk_size") == (CHUNK_SIZE, "mover")


def test_a_rule_without_conditions_ends_the_search():
    text = "[[rule]]\ncodec='none'\n[[rule]]\ncontent='text/*'\ncodec='zstd-9'\n"

    assert decided(placed(text), head=b"text") == ("none", "rule 1")
    assert placed(text).for_files("codec") == []


def test_a_file_is_opened_only_where_the_cheap_conditions_hold():
    text = "[[rule]]\ncontent='text/*'\nsize_at_least=100\npath='*.txt'\ncodec='zstd-9'\n"
    opened = []
    head = lambda *_: opened.append(1) or b"text"  # noqa: E731

    assert decided(placed(text), size=99, path=b"/a.txt", head=unread) == (CODEC, "mover")
    assert decided(placed(text), size=100, path=b"/a.doc", head=unread) == (CODEC, "mover")
    assert decided(placed(text), size=100, path=b"/a.txt", head=head) == ("zstd-9", "rule 1")
    assert opened == [1]


def test_a_file_is_opened_once_for_any_number_of_rules():
    text = "".join(f"[[rule]]\ncontent='{one}/*'\ncodec='none'\n" for one in ("image", "video"))
    opened = []

    assert decided(placed(text), head=lambda *_: opened.append(1) or b"text") == (CODEC, "mover")
    assert opened == [1]
