"""A machine may be called what people call it; hosts.toml says what its certificate has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from datamover.errors import MalformedError
from datamover.link.address import Address
from datamover.link.known_hosts import known_host

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[[host]]
name = "vault"
aliases = ["V", "10.0.0.5", "2001:db8::5"]
addresses = ["10.0.0.5", "[2001:db8::5]:14747"]

[[host]]
name = "near"
"""


def test_without_a_file_or_an_entry_it_is_called_as_it_was_typed(tmp_path: Path) -> None:
    assert known_host(tmp_path, "Vault").name == "vault"
    (tmp_path / "hosts.toml").write_text(FILE)
    other = known_host(tmp_path, "Other")

    assert other.name == "other"
    assert other.places("Other") == [Address("Other", 4747)]
    assert other.places("Other", 22) == [Address("Other", 22)]


@pytest.mark.parametrize("typed", ["vault", "VAULT", "v", "10.0.0.5", "2001:DB8::5"])
def test_a_name_or_an_alias_means_the_machine(tmp_path: Path, typed: str) -> None:
    (tmp_path / "hosts.toml").write_text(FILE)
    found = known_host(tmp_path, typed)

    assert found.name == "vault"
    assert found.places(typed) == [Address("10.0.0.5", 4747), Address("2001:db8::5", 14747)]
    assert found.places(typed, 9) == [Address("10.0.0.5", 9), Address("2001:db8::5", 9)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[host]", "hosts.toml"),
        ('[[host]]\nname = "A b"', "not a machine's name"),
        ('[[host]]\nname = "a"\nport = 3', "port"),
        ('[[host]]\nname = "a"\naddresses = ["x:y:z"]', "not an address"),
        (
            '[[host]]\nname = "a"\naliases = ["x"]\n[[host]]\nname = "b"\naliases = ["x"]',
            "x is a and b",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(MalformedError, match=told):
        known_host(tmp_path, "x")
