"""A stream in any framing comes back, wherever it is split and with whatever is left of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.errors import FormatError, TruncatedError
from datamover.ids import ArchiveId
from datamover.testing.wire import ARCHIVE, write_stream
from datamover.wire.chunk import BlockEntry
from datamover.wire.framing import Framing, origin_of
from datamover.wire.locate import Damage, session_footer, walk
from datamover.wire.stream import (
    BlockFound,
    ChunkBegan,
    ChunkEnded,
    SessionEnded,
    StreamReader,
)
from datamover.wire.tag import TagHeader

payloads = st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=4), max_size=4)
framings = st.sampled_from(Framing)
ORIGIN = origin_of(ARCHIVE)


def read_stream(data: bytes) -> list:
    """Return all events, each block with its payload."""
    reader, found, view = StreamReader(), [], memoryview(data)
    while not reader.is_complete:
        at = reader.position
        size = reader.header_length(view[at : at + reader.PRELUDE_SIZE])
        events = reader.take(view[at : at + size])
        if reader.position > len(data):
            raise TruncatedError(what="payload", need=reader.position, have=len(data))
        for event in events:
            payload = bytes(view[at + size : reader.position])
            found.append((event, payload if isinstance(event, BlockFound) else b""))
    reader.finish()
    return found


def reader_over(data: bytes):
    return lambda offset, length: data[offset : offset + length]


@given(framings, payloads)
def test_what_was_written_is_read_in_any_framing(framing, chunks):
    written = write_stream(framing, chunks)
    found = read_stream(written.data)
    blocks = [(e.tag.block, p) for e, p in found if isinstance(e, BlockFound)]
    began = [e.chunk for e, _ in found if isinstance(e, ChunkBegan)]
    ended = [e.chunk for e, _ in found if isinstance(e, ChunkEnded)]

    assert blocks == written.blocks
    assert began == ended == list(range(len(chunks)))
    assert found[-1][0].footer.length == len(written.data) - len(found[-1][0].footer.encode())


@given(framings, payloads, st.data())
def test_a_stream_cut_anywhere_is_never_complete(framing, chunks, data):
    written = write_stream(framing, chunks)
    cut = data.draw(st.integers(0, len(written.data) - 1))

    with pytest.raises(FormatError):
        read_stream(written.data[:cut])


@given(framings, payloads, st.data())
def test_a_flipped_bit_changes_no_header_unnoticed(framing, chunks, data):
    written = write_stream(framing, chunks)
    wire = bytearray(written.data)
    bit = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[bit // 8] ^= 1 << bit % 8
    try:
        found = read_stream(bytes(wire))
    except FormatError:
        return

    # Only payload may differ: the CRC in the tag is checked by whoever moves it.
    assert [e for e, _ in found] == [e for e, _ in read_stream(written.data)]


@given(st.binary(max_size=400))
def test_garbage_after_a_session_header_is_a_format_error(garbage):
    start = write_stream(Framing.FULL, []).data[:68]

    with pytest.raises(FormatError):
        read_stream(start + garbage)


@given(framings, payloads)
def test_the_storage_map_alone_finds_every_block(framing, chunks):
    written = write_stream(framing, chunks)
    first = written.chunks[0][1] if written.chunks else 0
    # All that is before the first chunk is lost.
    data = bytes(first) + written.data[first:]
    found = [
        entry
        for _, offset, length in written.chunks
        for entry in walk(reader_over(data), start=offset, end=offset + length, origin=ORIGIN)
    ]

    assert found == written.entries


@given(framings, payloads)
def test_the_data_index_alone_finds_every_block(framing, chunks):
    written = write_stream(framing, chunks)
    view = memoryview(written.data)
    blocks = []
    for entry in written.entries:
        tag = TagHeader.decode(view[entry.offset : entry.offset + entry.header])
        at = entry.offset + entry.header
        blocks.append((tag.block, bytes(view[at : at + entry.length])))

    assert blocks == written.blocks


@given(framings, payloads)
def test_the_records_within_the_chunks_alone_find_every_block(framing, chunks):
    written = write_stream(framing, chunks)

    assert (
        list(walk(reader_over(written.data), start=0, end=len(written.data), origin=ORIGIN))
        == written.entries
    )


@given(framings, payloads.filter(bool), st.data())
def test_damage_costs_only_the_block_it_hit(framing, chunks, data):
    written = write_stream(framing, chunks)
    hit = data.draw(st.sampled_from(written.entries))
    byte = data.draw(st.integers(hit.offset, hit.offset + hit.header - 1))
    wire = bytearray(written.data)
    wire[byte] ^= data.draw(st.integers(1, 255))
    found = list(walk(reader_over(bytes(wire)), start=0, end=len(wire), origin=ORIGIN))

    assert [e for e in found if isinstance(e, BlockEntry)] == [
        e for e in written.entries if e != hit
    ]
    assert [e.offset for e in found if isinstance(e, Damage)] == [hit.offset]


def test_tags_of_an_archive_that_was_backed_up_are_not_taken_for_ours():
    """The damaged block holds a whole stream: its tags are sound, but of another origin."""
    other = ArchiveId(bytes(16))
    inner = write_stream(Framing.FULL, [[b"inner one", b"inner two"]], archive=other).data
    outer = write_stream(Framing.FULL, [[b"first", inner, b"last"]])
    foreign = bytearray(outer.data)
    foreign[outer.entries[1].offset + 20] ^= 1
    read = reader_over(bytes(foreign))
    found = list(walk(read, start=0, end=len(foreign), origin=ORIGIN))

    careless = list(walk(read, start=0, end=len(foreign)))

    assert [e.block for e in found if isinstance(e, BlockEntry)] == [0, 2]
    assert [e.block for e in careless if isinstance(e, BlockEntry)] != [0, 2]


@given(framings, payloads)
def test_the_session_footer_is_found_from_the_end(framing, chunks):
    data = write_stream(framing, chunks).data
    footer = session_footer(memoryview(data)[-4096:])

    assert footer.blocks == sum(map(len, chunks))
    assert read_stream(data)[-1][0] == SessionEnded(footer)


@given(framings, payloads, st.integers(1, 60))
def test_a_file_that_was_cut_has_no_session_footer(framing, chunks, cut):
    data = write_stream(framing, chunks).data

    with pytest.raises(FormatError):
        session_footer(memoryview(data)[:-cut])


def test_a_tag_is_found_wherever_it_lies_across_the_windows_of_a_search():
    for extra in range(-70, 0):
        written = write_stream(Framing.FULL, [[b"x" * ((1 << 16) + extra), b"last"]])
        hit, last = written.entries
        wire = bytearray(written.data)
        wire[hit.offset + 20] ^= 1
        found = list(walk(reader_over(bytes(wire)), start=0, end=len(wire), origin=ORIGIN))

        assert [e for e in found if isinstance(e, BlockEntry)] == [last]
