"""Any record survives the wire, and no flipped bit, cut or garbage does."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import CorruptError, FormatError, TruncatedError
from datamover.testing.wire import encode, extensions, records, tags
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, ChunkHeader, decode_table
from datamover.wire.extension import decode_extensions, encode_extensions
from datamover.wire.options import OptionsHeader
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.tag import TagHeader

KINDS = [
    TagHeader,
    SessionHeader,
    SessionFooter,
    ArchiveHeader,
    ArchiveFooter,
    ChunkHeader,
    ChunkFooter,
    OptionsHeader,
]


@given(records)
def test_decode_undoes_encode(record):
    assert type(record).decode(memoryview(encode(record))) == record


@given(records, st.binary(max_size=50))
def test_what_follows_a_record_is_not_looked_at(record, more):
    assert type(record).decode(memoryview(encode(record) + more)) == record


@given(records, st.data())
def test_one_flipped_bit_is_always_noticed(record, data):
    wire = bytearray(encode(record))
    bit = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[bit // 8] ^= 1 << bit % 8

    with pytest.raises(FormatError):
        type(record).decode(memoryview(wire))


@given(records, st.data())
def test_a_record_that_was_cut_is_too_short(record, data):
    wire = encode(record)
    cut = data.draw(st.integers(0, len(wire) - 1))

    with pytest.raises(TruncatedError):
        type(record).decode(memoryview(wire[:cut]))


@given(st.sampled_from(KINDS), st.binary(max_size=300))
def test_garbage_is_a_format_error_and_nothing_else(kind, garbage):
    with pytest.raises(FormatError):
        kind.decode(memoryview(garbage))


@given(records, st.integers(0, 2**32 - 1), st.data())
def test_sound_garbage_is_read_or_is_a_format_error(record, seed, data):
    """A CRC keeps accidents out, not malice: here the checksum fits whatever the fields say."""
    from datamover.wire.crc import crc32c

    wire = bytearray(encode(record))
    if len(wire) > 20:
        at = data.draw(st.integers(16, len(wire) - 5))
        wire[at : len(wire) - 4] = random.Random(seed).randbytes(len(wire) - 4 - at)
    wire[-4:] = crc32c(bytes(wire[:-4])).to_bytes(4, "little")
    try:
        found = type(record).decode(memoryview(wire))
    except FormatError:
        return

    assert isinstance(found, type(record))


@given(extensions)
def test_extensions_survive(items):
    assert decode_extensions(memoryview(encode_extensions(items))) == items


@given(tags, st.integers(0, 3))
def test_storing_a_block_does_not_change_what_is_authenticated(tag, layer):
    from msgspec.structs import replace

    archive = bytes(16)
    stored = replace(tag, crc=1, chunk=2, origin=3, length=4)

    assert tag.associated(archive, layer) == stored.associated(archive, layer)
    assert tag.associated(archive, layer) != tag.associated(archive, layer + 1)
    assert tag.associated(archive, layer) != tag.associated(b"\1" * 16, layer)


def test_a_claimed_length_reserves_no_memory():
    footer = ChunkFooter(
        archive=bytes(16), chunk=0, blocks=2**32 // 28, length=0, table_crc=0
    ).encode()
    tracemalloc.start()
    with pytest.raises(TruncatedError):
        decode_table(ChunkFooter.decode(memoryview(footer)), memoryview(b"short"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 20


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=9))
def test_a_block_table_survives_and_a_flipped_byte_does_not(lines):
    from datamover.wire.chunk import BlockEntry, encode_table
    from datamover.wire.crc import crc32c

    entries = [BlockEntry(block, offset, 56, 1, 1, 0) for block, offset in lines]
    table = encode_table(entries)
    footer = ChunkFooter(
        archive=bytes(16), chunk=0, blocks=len(entries), length=0, table_crc=crc32c(table)
    )

    assert decode_table(footer, memoryview(table)) == entries
    if table:
        with pytest.raises(CorruptError):
            decode_table(footer, memoryview(bytes([table[0] ^ 1]) + table[1:]))
