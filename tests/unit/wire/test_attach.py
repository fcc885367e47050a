"""Guest and gate speak as docs/spec/attach-abi.md has it, and anything else is refused."""

import struct

import pytest

from datamover.errors import FormatError, MagicError, MalformedError, TruncatedError, VersionError
from datamover.wire.attach import ANSWER_SIZE, HELLO_SIZE, GuestHello, GuestPlace, Terms

TOKEN = bytes(range(16))
HELLO = GuestHello(place=GuestPlace.TAIL, token=TOKEN)
TERMS = Terms(buffers=4, buffer_size=4096, stride=12288, data=20480)


def test_a_hello_is_laid_out_as_specified():
    data = HELLO.encode()

    assert len(data) == HELLO_SIZE == 32
    assert data == b"DMATTACH" + struct.pack("<HHI", 1, 2, 0) + TOKEN
    assert GuestHello.decode(data) == HELLO


def test_an_answer_is_laid_out_as_specified():
    data = TERMS.encode()

    assert len(data) == ANSWER_SIZE == 40
    assert data == b"DMATTACH" + struct.pack("<HHIIIQQ", 1, 0, 4, 4096, 12288, 20480, 0)
    assert Terms.decode(data) == TERMS


def test_a_refusal_says_why_and_is_never_long():
    assert Terms.decode(Terms(refusal="not you").encode()).refusal == "not you"
    assert len(Terms(refusal="ü" * 999).encode()) <= ANSWER_SIZE + 200


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [(0, b"X", MagicError), (8, b"\2", VersionError), (10, b"\0", MalformedError),
     (10, b"\3", MalformedError)],
)  # fmt: skip
def test_another_hello_is_refused(at, value, error):
    data = HELLO.encode()
    with pytest.raises(error):
        GuestHello.decode(data[:at] + value + data[at + 1 :])


@pytest.mark.parametrize("length", [*range(0, HELLO_SIZE, 7), HELLO_SIZE + 1])
def test_a_hello_of_another_length_is_refused(length):
    with pytest.raises(TruncatedError):
        GuestHello.decode((HELLO.encode() + b"x")[:length])


@pytest.mark.parametrize(
    "wrong", [{"buffers": 0}, {"buffer_size": 0}, {"buffer_size": 12289}, {"stride": 1}]
)
def test_terms_that_make_no_sense_are_refused(wrong):
    facts = {"buffers": 4, "buffer_size": 4096, "stride": 12288, "data": 20480} | wrong
    with pytest.raises(FormatError):
        Terms.decode(Terms(**facts).encode())
