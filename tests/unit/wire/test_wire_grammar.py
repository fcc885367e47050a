"""A stream says what comes where, and anything else is refused."""

from __future__ import annotations

import pytest

from datamover.errors import MalformedError, TruncatedError
from datamover.ids import BlockNumber, ChunkNumber
from datamover.testing.wire import ARCHIVE
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, ChunkHeader
from datamover.wire.extension import Extension
from datamover.wire.framing import Framing, StreamWriter, origin_of
from datamover.wire.options import OptionId, OptionsHeader
from datamover.wire.record import build
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.stream import (
    ArchiveEnded,
    BlockFound,
    ChunkEnded,
    OptionsFound,
    SessionEnded,
    Skipped,
    StreamReader,
)
from datamover.wire.tag import TagHeader, TagKind

HEADER = ArchiveHeader(archive=ARCHIVE, created_ns=Nanoseconds(0), block_size=Bytes(64))
OTHER = b"o" * 16


def session(framing: int) -> bytes:
    return SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=framing).encode()


def tag(chunk: int = 0, block: int = 0) -> bytes:
    out = memoryview(bytearray(4096))
    size = TagHeader(
        kind=TagKind.DATA,
        block=BlockNumber(block),
        length=Bytes(0),
        plain=Bytes(0),
        chunk=ChunkNumber(chunk),
        origin=origin_of(ARCHIVE),
    ).encode_into(out)
    return bytes(out[:size])


def chunk(number: int = 0, archive: bytes = ARCHIVE) -> bytes:
    return ChunkHeader(archive=archive, chunk=number, first_block=0).encode()


def chunk_footer(number: int = 0, archive: bytes = ARCHIVE) -> bytes:
    return ChunkFooter(archive=archive, chunk=number, blocks=0, length=0, table_crc=0).encode()


ARCHIVE_FOOTER = ArchiveFooter(archive=ARCHIVE, chunks=1, blocks=1, plain=0).encode()
OPTIONS = OptionsHeader(options=(Extension(id=OptionId.MEDIUM, value=b"tape"),)).encode()
UNKNOWN = build(b"DMzz", "later", body=b"what a later release knows", extensions=())


def take_all(*records: bytes) -> list:
    reader = StreamReader()
    return [event for record in records for event in reader.take(memoryview(record))]


@pytest.mark.parametrize(
    ("framing", "records"),
    [
        (Framing.FULL, [tag()]),
        (Framing.FULL, [chunk(), chunk(1)]),
        (Framing.FULL, [chunk(), ARCHIVE_FOOTER]),
        (Framing.FULL, [chunk(), chunk_footer(1)]),
        (Framing.FULL, [chunk(), chunk_footer(0, OTHER)]),
        (Framing.FULL, [chunk_footer()]),
        (Framing.FULL, [chunk(0, OTHER)]),
        (Framing.FULL, [chunk(), tag(1)]),
        (Framing.FULL, [chunk(), OPTIONS]),
        (Framing.FULL, [OPTIONS]),
        (Framing.FULL, [HEADER.encode()]),
        (Framing.FULL, [session(3)]),
        (Framing.LEADING, [chunk(), tag(), chunk_footer()]),
        (Framing.LEADING, [tag()]),
        (Framing.ENCLOSING, [chunk()]),
        (Framing.ENCLOSING, [tag(), chunk_footer()]),
        (Framing.ENCLOSING, [tag(0), tag(1, 1), tag(0, 2)]),
        (Framing.ENCLOSING, [ArchiveFooter(archive=OTHER, chunks=0, blocks=0, plain=0).encode()]),
        (Framing.FULL, [SessionFooter(session=OTHER, blocks=0, length=Bytes(0)).encode()]),
        (Framing.FULL, [SessionFooter(session=bytes(16), blocks=0, length=Bytes(9)).encode()]),
    ],
)
def test_a_record_in_the_wrong_place_is_refused(framing, records):
    with pytest.raises(MalformedError):
        take_all(session(framing), HEADER.encode(), *records)


@pytest.mark.parametrize("record", [tag(), chunk(), HEADER.encode(), ARCHIVE_FOOTER, UNKNOWN])
def test_nothing_comes_before_the_session_header(record):
    with pytest.raises(MalformedError):
        take_all(record)


def test_an_unknown_framing_is_refused():
    with pytest.raises(MalformedError):
        take_all(session(9))


def test_a_record_of_an_unknown_kind_is_skipped_by_its_length():
    reader = StreamReader()
    reader.take(memoryview(session(3)))
    later = build(b"DMzz", "later", body=b"", extensions=(), payload=4000)

    assert reader.take(memoryview(later)) == [Skipped(b"DMzz")]
    assert reader.payload_length == 4000
    assert reader.position == len(session(3)) + len(later) + 4000


def test_options_may_stand_alone_behind_a_tag_and_blocks_may_follow():
    events = take_all(
        session(3), HEADER.encode(), chunk(), tag(0, 0), OPTIONS, tag(0, 1), chunk_footer()
    )

    assert [type(event) for event in events[3:]] == [
        BlockFound,
        OptionsFound,
        BlockFound,
        ChunkEnded,
    ]
    assert events[4].options.medium() == "tape"


def test_a_session_may_end_before_its_archive_does():
    writer = StreamWriter(
        SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=Framing.FULL)
    )
    opening = [writer.begin(), writer.begin_archive(HEADER, chunk=ChunkNumber(5))]
    events = take_all(*opening, writer.end())

    assert events[2] == ArchiveEnded(ARCHIVE, None)
    assert isinstance(events[3], SessionEnded)


def test_archives_follow_each_other_in_one_session():
    for framing in Framing:
        writer = StreamWriter(
            SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=framing)
        )
        records = [writer.begin()]
        for _ in range(3):
            records += [writer.begin_archive(HEADER), writer.end_archive()]
        events = take_all(*records, writer.end())

        assert sum(isinstance(event, ArchiveEnded) for event in events) == 3


def test_nothing_follows_the_session_footer():
    writer = StreamWriter(
        SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=Framing.FULL)
    )
    with pytest.raises(MalformedError):
        take_all(writer.begin(), writer.end(), UNKNOWN)


def test_a_session_without_a_footer_is_not_complete():
    reader = StreamReader()
    reader.take(memoryview(session(3)))

    assert not reader.is_complete
    with pytest.raises(TruncatedError):
        reader.finish()


def test_a_writer_holds_the_grammar_too():
    room = memoryview(bytearray(4096))
    one = TagHeader(kind=1, block=BlockNumber(0), length=Bytes(0), plain=Bytes(0))
    writer = StreamWriter(SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=1))
    writer.begin()
    for wrong in (
        writer.next_chunk,
        writer.end_archive,
        lambda: writer.block(one, room),
        lambda: writer.options(OptionsHeader()),
        lambda: StreamWriter(SessionHeader(session=bytes(16), created_ns=0, framing=0)),
    ):
        with pytest.raises(MalformedError):
            wrong()


def test_a_writer_sets_chunk_and_origin_of_each_block():
    room = memoryview(bytearray(4096))
    writer = StreamWriter(SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=3))
    writer.begin()
    writer.begin_archive(HEADER, chunk=ChunkNumber(9), block=BlockNumber(40))
    header = ChunkHeader.decode(memoryview(writer.next_chunk()))
    writer.block(TagHeader(kind=1, block=BlockNumber(40), length=Bytes(0), plain=Bytes(0)), room)
    written = TagHeader.decode(room)

    assert (header.chunk, header.first_block) == (9, 40)
    assert (written.chunk, written.origin) == (9, origin_of(ARCHIVE))


@pytest.mark.parametrize("framing", Framing)
def test_a_medium_is_switched_in_the_middle_of_a_chunk(framing):
    room = memoryview(bytearray(4096))
    writer = StreamWriter(
        SessionHeader(session=bytes(16), created_ns=Nanoseconds(0), framing=framing)
    )
    records = [writer.begin(), writer.begin_archive(HEADER), writer.next_chunk()]
    for number, medium in enumerate([b"disk", b"tape"]):
        size = writer.block(
            TagHeader(kind=1, block=BlockNumber(number), length=Bytes(0), plain=Bytes(0)), room
        )
        option = Extension(id=OptionId.MEDIUM, value=medium)
        records += [bytes(room[:size]), writer.options(OptionsHeader(options=(option,)))]
    records += [writer.end_archive(), writer.end()]
    data = memoryview(b"".join(records))
    reader, media = StreamReader(), []
    while not reader.is_complete:
        here = data[reader.position :]
        events = reader.take(here[: reader.header_length(here)])
        media += [event.options.medium() for event in events if isinstance(event, OptionsFound)]

    assert media == ["disk", "tape"]
    assert reader.position == len(data)
