"""Old data is read for ever, newer minors are read, newer majors are refused."""

from __future__ import annotations

import pytest

from datamover.errors import (
    CorruptError,
    MagicError,
    MalformedError,
    TruncatedError,
    VersionError,
)
from datamover.ids import BlockNumber
from datamover.testing.wire import encode
from datamover.units import Bytes
from datamover.wire.archive import ArchiveHeader
from datamover.wire.chunk import BlockEntry, ChunkFooter, ChunkHeader, encode_table
from datamover.wire.crc import crc32c
from datamover.wire.extension import Extension, decode_extensions, encode_extensions
from datamover.wire.options import OptionId, OptionsHeader
from datamover.wire.record import Prelude, build
from datamover.wire.tag import MAGIC, TagHeader, TagKind, Transform

TAG = TagHeader(kind=TagKind.DATA, block=BlockNumber(1), length=Bytes(1), plain=Bytes(1))


def with_version(data: bytes, major: int, minor: int) -> memoryview:
    """Return the record as another release would have written it."""
    changed = bytearray(data)
    changed[4:6] = (major << 8 | minor).to_bytes(2, "little")
    changed[-4:] = crc32c(bytes(changed[:-4])).to_bytes(4, "little")
    return memoryview(changed)


def test_a_newer_minor_is_read_with_what_it_added():
    newer = TagHeader(
        kind=TagKind.DATA,
        block=BlockNumber(1),
        length=Bytes(1),
        plain=Bytes(1),
        public=(Extension(id=60000, value=b"new in 1.7"),),
    )

    assert TagHeader.decode(with_version(encode(newer), 1, 7)) == newer


def test_a_newer_major_is_refused_by_name():
    with pytest.raises(VersionError) as caught:
        TagHeader.decode(with_version(encode(TAG), 2, 0))

    assert str(caught.value) == "tag header: version 2, this release reads up to 1"


def test_a_version_before_the_first_means_nothing():
    with pytest.raises(MalformedError):
        TagHeader.decode(with_version(encode(TAG), 0, 9))


def test_a_flipped_version_bit_is_damage_and_not_a_newer_release():
    data = bytearray(encode(TAG))
    data[5] ^= 2

    with pytest.raises(CorruptError):
        TagHeader.decode(memoryview(data))


def test_another_record_is_another_record_even_when_it_is_damaged():
    data = bytearray(encode(TAG))
    data[30] ^= 1

    with pytest.raises(MagicError):
        ChunkHeader.decode(memoryview(data))


@pytest.mark.parametrize(
    "change",
    [
        {"block": -1},
        {"length": 2**32},
        {"kind": 2**16},
        {"transforms": (Transform(id=1, length=Bytes(1)),) * 17},
        {"public": (Extension(id=1, value=b"x" * 4096),)},
        {"private": (Extension(id=1, value=b"x" * 70000),)},
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_written(change):
    from msgspec.structs import replace

    with pytest.raises(MalformedError):
        encode(replace(TAG, **change))


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_archive_id_of_another_size_is_refused(size):
    header = ChunkHeader(archive=bytes(size), chunk=0, first_block=0)

    with pytest.raises(MalformedError):
        header.encode()
    with pytest.raises(MalformedError):
        TAG.associated(bytes(size), 0)


def test_the_last_medium_that_is_asked_for_wins():
    options = OptionsHeader(
        options=(
            Extension(id=OptionId.MEDIUM, value=b"disk"),
            Extension(id=77, value=b""),
            Extension(id=OptionId.MEDIUM, value=b"tape-2"),
        )
    )

    assert options.medium() == "tape-2"
    assert OptionsHeader().medium() is None


def refuse(call) -> None:
    with pytest.raises(MalformedError):
        call()


def test_a_field_that_does_not_fit_is_refused_in_every_record():
    refuse(ChunkHeader(archive=bytes(16), chunk=2**32, first_block=0).encode)
    refuse(ChunkFooter(archive=bytes(16), chunk=0, blocks=2**31, length=0, table_crc=0).encode)
    refuse(ArchiveHeader(archive=bytes(16), created_ns=0, block_size=1, label=b"x" * 2049).encode)
    refuse(
        ArchiveHeader(archive=bytes(16), created_ns=0, block_size=1, wrapped_key=b"x" * 513).encode
    )
    refuse(OptionsHeader(options=(Extension(id=1, value=b"x" * 4090),)).encode)
    refuse(lambda: encode_table([BlockEntry(-1, 0, 0, 0, 0, 0)]))
    refuse(lambda: TAG.associated(bytes(16), 1 << 16))


def test_a_header_shorter_than_its_kind_is_refused():
    short = build(MAGIC, "tag", body=b"", extensions=())

    refuse(lambda: TagHeader.decode(memoryview(short)))


def test_an_encoder_wants_the_room_for_its_header():
    with pytest.raises(TruncatedError):
        TAG.encode_into(memoryview(bytearray(59)))
    assert TAG.encode_into(memoryview(bytearray(60))) == 60


@pytest.mark.parametrize("length", [0, 19, 4097, 2**32 - 1])
def test_a_header_length_that_cannot_be_is_refused_before_anything_is_read(length):
    data = bytearray(encode(TAG))
    data[8:12] = length.to_bytes(4, "little")

    refuse(lambda: Prelude.decode(memoryview(data)))
    refuse(lambda: TagHeader.decode(memoryview(data)))


def test_extensions_with_stray_bytes_or_a_length_too_long_are_refused():
    refuse(lambda: decode_extensions(memoryview(b"\1\0\2")))
    refuse(lambda: decode_extensions(memoryview(b"\1\0\2\0x")))
    refuse(lambda: encode_extensions([Extension(id=-1, value=b"")]))


def test_lists_that_reach_beyond_a_tag_are_refused():
    for at, value in ((46, 17), (46, 1), (48, 1)):
        data = bytearray(encode(TAG))
        data[at] = value
        refuse(lambda data=data: TagHeader.decode(with_version(bytes(data), 1, 0)))


def test_a_table_of_another_length_than_its_blocks_need_is_refused():
    footer = ChunkFooter(archive=bytes(16), chunk=0, blocks=3, length=0, table_crc=0)
    data = bytearray(footer.encode())
    data[12:16] = (3 * 28 + 1).to_bytes(4, "little")

    refuse(lambda: ChunkFooter.decode(with_version(bytes(data), 1, 0)))
