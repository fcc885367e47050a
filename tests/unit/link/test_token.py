"""A token says what it was made of, and nothing else is one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import TokenError, UsageError
from datamover.link.address import Address
from datamover.link.token import Token

TOKEN = Token(
    invitation=bytes(range(8)),
    fleet=bytes(range(16)),
    fingerprint=bytes(range(32)),
    secret=b"sixteen secrets!",
    addresses=(Address("backup.example", 4747), Address("fd00::1", 1)),
)
FROZEN = (
    "dmi1_AQABAgMEBQYHAAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fc2l4dGVlbiBz"
    "ZWNyZXRzIQITYmFja3VwLmV4YW1wbGU6NDc0NwtbZmQwMDo6MV06MSTLqGo"
)
LETTERS = string.ascii_letters + string.digits + "-_"

hosts = st.from_regex(r"[a-z][a-z0-9.-]{0,200}", fullmatch=True) | st.ip_addresses().map(str)
addresses = st.lists(st.builds(Address, hosts, st.integers(1, 65535)), max_size=8).map(tuple)


@given(
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    addresses,
)
def test_a_token_comes_back_as_it_was(invitation, fleet, fingerprint, secret, places):
    token = Token(
        invitation=invitation,
        fleet=fleet,
        fingerprint=fingerprint,
        secret=secret,
        addresses=places,
    )

    assert Token.parse(f"  {token.text()}\n") == token


def test_the_format_is_frozen():
    assert TOKEN.text() == FROZEN
    assert Token.parse(TOKEN.text()) == TOKEN


@given(st.integers(0, len(TOKEN.text()) - 1), st.sampled_from(LETTERS))
def test_a_slip_of_one_letter_is_noticed(at, letter):
    text = TOKEN.text()
    changed = text[:at] + letter + text[at + 1 :]
    try:
        same = Token.parse(changed) == TOKEN
    except TokenError:
        same = changed == text
    # The last letter of base64 has bits that mean nothing.
    assert same == (changed == text) or at == len(text) - 1


@given(
    st.text()
    | st.binary().map(lambda b: "dmi1_" + b.hex())
    | st.text(LETTERS).map("dmi1_{}".format)
)
def test_what_is_no_token_is_refused_and_not_repeated(text):
    with pytest.raises(TokenError) as caught:
        Token.parse(text)

    assert len(text) < 8 or text.strip() not in str(caught.value)


@given(st.integers(0, len(TOKEN.text()) - 1))
def test_a_part_of_a_token_is_none(length):
    with pytest.raises(TokenError):
        Token.parse(TOKEN.text()[:length])


def test_a_token_shows_no_secret():
    assert "secret" not in repr(TOKEN)
    assert "sixteen" not in repr(TOKEN)


def test_a_token_has_room_for_eight_addresses():
    with pytest.raises(UsageError, match="8 addresses"):
        Token(
            invitation=bytes(8),
            fleet=bytes(16),
            fingerprint=bytes(32),
            secret=bytes(16),
            addresses=(Address("a"),) * 9,
        )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("vault", "vault", 4747),
        ("vault.example:80", "vault.example", 80),
        ("10.0.0.1:9", "10.0.0.1", 9),
        ("[fe80::1%eth0]", "fe80::1%eth0", 4747),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_addresses_are_read(text, host, port):
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "a:", "a:0", "a:65536", "a b", "::1", "a/b", "-o:22", "ä:1", "a" * 300]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="not an address"):
        Address.parse(text)


@given(addresses)
def test_addresses_come_back(places):
    assert tuple(Address.parse(str(place)) for place in places) == places
