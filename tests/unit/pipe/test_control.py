"""A message fits its datagram whatever it holds, and what is no message is refused."""

import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import MalformedError, StopRequestedError
from datamover.pipe.control import DirectControl, Message, SocketControl, decode

LONGEST = 65536


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def said(facts) -> Message:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        SocketControl(theirs).say("notice", facts)
        data = ours.recv(LONGEST + 1)
    assert len(data) < LONGEST
    return decode(data)


def test_a_message_arrives_as_it_was_said(pair) -> None:
    ours, theirs = pair
    SocketControl(theirs).say("notice", {"kind": "seen", "given": {"number": 7, "name": "ä"}})

    assert decode(ours.recv(LONGEST)) == Message(
        what="notice", facts={"kind": "seen", "given": {"number": 7, "name": "ä"}}
    )


def test_saying_something_to_nobody_is_a_stop(pair) -> None:
    ours, theirs = pair
    ours.close()

    with pytest.raises(StopRequestedError):
        SocketControl(theirs).say("ready", {})


def test_inline_messages_are_handed_over_as_they_are() -> None:
    heard: list[Message] = []
    DirectControl(heard.append).say("result", {"values": {"a": 1}})

    assert heard == [Message(what="result", facts={"values": {"a": 1}})]


@pytest.mark.parametrize(
    "facts",
    [
        {"cause": "x" * 1_000_000},
        {"cause": "\x00" * 100_000},
        {"given": {f"name {i}": "x" * 1000 for i in range(1000)}},
        {
            f"{i}" * 50: {f"{j}" * 50: {f"{k}": "y" * 99 for k in range(9)} for j in range(99)}
            for i in range(99)
        },
        {"given": {"list": ["x" * 1000] * 1000}},
        {"k" * 100_000: "v"},
        {"cause": "\U0010ffff" * 100_000},
    ],
    ids=["text", "escapes", "wide", "deep", "list", "key", "astral"],
)
def test_a_message_is_shortened_to_fit(facts) -> None:
    found = said(facts)

    assert found.what == "notice"
    assert found.facts


def test_shortening_keeps_numbers_and_the_beginning_of_texts() -> None:
    found = said({"status": 70, "cause": "because " + "x" * 100_000, "none": None, "yes": True})

    assert found.facts["status"] == 70
    assert str(found.facts["cause"]).startswith("because x")
    assert (found.facts["none"], found.facts["yes"]) == (None, True)


def test_a_name_that_is_no_unicode_is_said_escaped() -> None:
    assert said({"name": "caf\udce9"}).facts == {"name": "caf\\udce9"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters()),
    lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
)


@given(st.dictionaries(st.text(st.characters()), values))
def test_whatever_is_said_can_be_read(facts) -> None:
    assert said(facts).what == "notice"


@given(st.binary() | st.recursive(st.just(b"1"), lambda x: st.tuples(x).map(lambda t: b"[%b]" % t)))
def test_what_is_no_message_is_refused_as_malformed(data: bytes) -> None:
    try:
        decode(data)
    except MalformedError:
        return
    msgspec.json.decode(data, type=Message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"what":1,"facts":{}}',
        b'{"what":"\xff","facts":{}}',
        b'{"what":"x","facts":' + b"[" * 60_000,
        b'{"what":"x","facts":' + b'{"a":' * 12_000 + b"1" + b"}" * 12_001,
        b"{[" * 40 + b'"' + b'\\"' * 30_000,
        b'{"what":"x","facts":' + b'{"a":' * 64 + b"1" + b"}" * 65,
    ],
)
def test_hostile_messages_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


def test_brackets_in_a_text_are_no_nesting() -> None:
    facts = {"text": '"[{' * 100 + "\\", "list": [{}] * 100}

    data = msgspec.json.encode({"what": "x", "facts": facts})

    assert decode(data).facts == facts
