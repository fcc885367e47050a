"""Rules are found in a store or in a file, and what keeps them from being read is said."""

import pytest

from datamover.errors import RuleError, UsageError
from datamover.mover.depot import LocalDepot
from datamover.mover.placing import place
from datamover.mover.rules import load_rules, rules_of
from datamover.mover.store import create_store
from datamover.placement.decision import Command
from datamover.placement.rule import SIZE_MAX, Rules
from datamover.placement.rule_file import parse_rules

RULES = """[[rule]]
content = "text/*"
codec = "zstd-9"
[[rule]]
name = "w"
archive = "w"
cipher = "chacha20-poly1305"
"""


@pytest.fixture
def depot(tmp_path):
    create_store(tmp_path / "s", passphrase=None, cipher="none")
    return LocalDepot(tmp_path / "s")


def test_a_store_without_a_file_has_no_rules(depot):
    assert rules_of(depot) == Rules()


def test_a_stores_rules_are_named_by_their_file(depot):
    (depot.path / "placement.toml").write_text("\ncodec = 'none'")

    with pytest.raises(RuleError) as caught:
        rules_of(depot)

    assert str(caught.value).startswith(f"{depot.path}/placement.toml:2: unknown key 'codec'")


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"# one\n# \xff two", 2, "no UTF-8"),
        (b"#" * (SIZE_MAX + 1), 1, "longer than"),
        (None, 1, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, data, line, says):
    path = tmp_path / "rules"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(RuleError, match=says) as caught:
        load_rules(str(path))

    assert (caught.value.file, caught.value.line) == (str(path), line)


@pytest.mark.parametrize("path", ["/", "/dev/zero", "\0"])
def test_what_is_no_file_is_refused(path):
    with pytest.raises(RuleError):
        load_rules(path)


def test_a_cipher_in_a_store_that_is_not_encrypted_is_refused_where_it_is_chosen(depot):
    rules = parse_rules(RULES, "f")

    assert place(depot, rules=rules, command=Command(), archive="daily").cipher == "none"
    with pytest.raises(RuleError, match="not encrypted") as caught:
        place(depot, rules=rules, command=Command(), archive="w")

    assert caught.value.line == 4


def test_an_empty_file_takes_the_place_of_the_stores_rules(depot):
    (depot.path / "placement.toml").write_text(RULES)
    with_rules = place(depot, rules=None, command=Command(), archive="")
    without = place(depot, rules=Rules(), command=Command(), archive="")

    assert [str(one) for one in with_rules.codecs] == ["zstd-1", "zstd-9"]
    assert [str(one) for one in without.codecs] == ["zstd-1"]


def test_a_codec_that_is_none_is_refused(depot):
    with pytest.raises(UsageError, match="no codec"):
        place(depot, rules=None, command=Command(codec="zip"), archive="")
