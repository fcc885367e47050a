"""A buffer's tag says what its payload is, or nothing is done with it."""

import pytest

from datamover.errors import CorruptError, MalformedError
from datamover.ids import BlockNumber
from datamover.shm.buffer import Buffer
from datamover.stages.block import get_tag, set_tag
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes
from datamover.wire.tag import TagHeader, TagKind


def make_buffer(payload: bytes) -> Buffer:
    buffer = ScriptedPort([(None, payload)]).receive()
    assert buffer is not None
    return buffer


def test_a_buffer_without_a_tag_is_a_raw_block_numbered_like_the_buffer():
    buffer = make_buffer(b"payload")
    buffer.sequence = 9

    assert get_tag(buffer) == TagHeader(
        kind=TagKind.RAW, block=BlockNumber(9), length=Bytes(7), plain=Bytes(7)
    )


def test_a_tag_that_was_set_is_got_back():
    buffer = make_buffer(b"payload")
    tag = TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(7), plain=Bytes(7))
    set_tag(buffer, tag)

    assert get_tag(buffer) == tag


def test_a_tag_that_was_just_written_is_not_decoded_again():
    buffer = make_buffer(b"payload")
    tag = TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(7), plain=Bytes(7))
    set_tag(buffer, tag)

    assert get_tag(buffer) is tag


def test_a_tag_that_another_task_wrote_is_read_whatever_was_known():
    buffer = make_buffer(b"payload")
    tag = TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(7), plain=Bytes(7))
    set_tag(buffer, tag)
    other = TagHeader(kind=TagKind.DATA, block=BlockNumber(4), length=Bytes(7), plain=Bytes(7))
    buffer.tag_used = other.encode_into(buffer.tag)

    assert get_tag(buffer) == other


def test_a_tag_of_another_payload_is_refused():
    buffer = make_buffer(b"payload")
    set_tag(
        buffer,
        TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(8), plain=Bytes(8)),
    )

    with pytest.raises(MalformedError):
        get_tag(buffer)


def test_a_damaged_tag_is_refused():
    buffer = make_buffer(b"payload")
    set_tag(
        buffer,
        TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(7), plain=Bytes(7)),
    )
    buffer.tag[20] ^= 1

    with pytest.raises(CorruptError):
        get_tag(buffer)
