"""Messages are read however they are cut, and what is none is refused within a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import FormatError, MalformedError
from datamover.link.fleet_messages import (
    BODY_MOST,
    Enrol,
    Enrolled,
    Greet,
    Greeting,
    Inbox,
    Refresh,
    Refreshed,
    Refused,
    Renew,
    encode,
)

MESSAGES = [
    Greet(nonce=bytes(32)),
    Greeting(nonce=bytes(32), fleet=bytes(16), authority=b"der"),
    Enrol(invitation=bytes(8), request=b"csr", name="a", host="b", proof=bytes(64)),
    Enrolled(certificate=b"der", revoked=b"crl"),
    Renew(request=b"csr"),
    Refresh(),
    Refreshed(revoked=b"crl"),
    Refused(code="security.token", facts={"reason": "ended", "n": 1}),
]
WHOLE = b"".join(map(encode, MESSAGES))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20).map(sorted))
def test_messages_are_the_same_however_they_are_cut(cuts):
    inbox, found = Inbox(), []
    for begin, end in zip([0, *cuts], [*cuts, len(WHOLE)], strict=True):
        found += inbox.receive(WHOLE[begin:end])

    assert found == MESSAGES
    assert len(inbox) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_an_error_of_format(data):
    inbox = Inbox()
    try:
        inbox.receive(data)
    except FormatError:
        return
    assert len(inbox) <= 8 + BODY_MOST


@given(st.integers(0, len(WHOLE) * 8 - 1))
def test_a_flipped_bit_is_another_message_or_an_error_of_format(bit):
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    try:
        found = Inbox().receive(bytes(data))
    except FormatError:
        return
    assert found != MESSAGES


def test_a_head_that_promises_too_much_is_refused_before_its_body_comes():
    with pytest.raises(MalformedError, match="16385 bytes, at most 16384"):
        Inbox().receive(b"DMFL\x01\x03\x01\x40")


def test_a_magic_is_judged_by_its_first_byte():
    with pytest.raises(FormatError):
        Inbox().receive(b"S")


def test_keys_of_a_later_release_are_ignored():
    import msgspec

    body = msgspec.msgpack.encode({"nonce": bytes(32), "color": "blue"})
    head = b"DMFL\x01\x01" + len(body).to_bytes(2, "little")

    assert Inbox().receive(head + body) == [MESSAGES[0]]


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(MalformedError, match="at most"):
        encode(Refreshed(revoked=bytes(BODY_MOST)))
