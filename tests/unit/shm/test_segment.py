"""A task maps the segment of its own pipe, whole and as specified, or none."""

import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.errors import (
    FormatError,
    MagicError,
    MalformedError,
    OwnershipError,
    TruncatedError,
    VersionError,
)
from datamover.shm.buffer import Buffer
from datamover.shm.segment import DESCRIPTOR, Geometry, Segment, owner_word
from datamover.units import Bytes

GEOMETRY = Geometry(buffers=3, buffer_size=Bytes(100), instances=2)


@pytest.fixture
def segment():
    made = Segment.create(GEOMETRY)
    yield made
    made.close()


def handle(segment: Segment, index: int) -> Buffer:
    geometry = segment.geometry
    start = geometry.slots + index * geometry.stride
    return Buffer(index, segment.memory, start, geometry.room)


def file_of(content: bytes, size: int) -> int:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, content, 0)
    return descriptor


def header_of(segment: Segment) -> bytearray:
    return bytearray(os.pread(segment.descriptor, 64, 0))


def refused(content: bytes, size: int, identity: bytes) -> None:
    descriptor = file_of(content, size)
    try:
        Segment.attach(descriptor, identity)
    finally:
        os.close(descriptor)


def test_the_size_is_the_tables_and_the_slots_of_the_specification(segment: Segment) -> None:
    stride = 3 * 4096  # tag area, 100 bytes and trailer room, rounded up
    tables = 4096 + 4096 + 4096  # header, 3 x 64 of descriptors, 2 x 128 of records

    assert os.fstat(segment.descriptor).st_size == tables + 3 * stride


def test_it_neither_grows_nor_shrinks(segment: Segment) -> None:
    for size in (GEOMETRY.size + 4096, GEOMETRY.size - 4096):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.descriptor, size)


def test_it_has_no_name_in_the_file_system(segment: Segment) -> None:
    assert os.readlink(f"/proc/self/fd/{segment.descriptor}").startswith("/memfd:")


def test_what_one_side_writes_the_other_reads(segment: Segment) -> None:
    other = Segment.attach(os.dup(segment.descriptor), segment.identity)
    first, second = handle(segment, 2), handle(other, 2)
    first.data[:5] = b"bytes"
    segment.record(1)[15] = 7
    segment.request_stop()

    assert bytes(second.data[:5]) == b"bytes"
    assert other.record(1)[15] == 7
    assert other.is_stopping
    first.kill()
    second.kill()
    other.close()


def test_slots_do_not_overlap(segment: Segment) -> None:
    for index in range(3):
        buffer = handle(segment, index)
        buffer.data[:] = bytes([index + 1]) * len(buffer.data)
        buffer.tag[:] = bytes([index + 101]) * len(buffer.tag)
        buffer.kill()

    for index in range(3):
        buffer = handle(segment, index)
        assert bytes(buffer.data) == bytes([index + 1]) * len(buffer.data)
        assert bytes(buffer.tag) == bytes([index + 101]) * len(buffer.tag)
        buffer.kill()


def test_the_owner_is_the_beginning_of_a_descriptor(segment: Segment) -> None:
    table = segment.descriptors()
    DESCRIPTOR.pack_into(table, 64, 1, 2, 3, 4, 5, 6, 7, 8)
    with table.cast("Q") as words:
        words[8] = owner_word(2, 9)

    assert DESCRIPTOR.unpack_from(table, 64) == (2, 9, 3, 4, 5, 6, 7, 8)
    table.release()


def test_another_pipes_segment_is_refused(segment: Segment) -> None:
    with pytest.raises(OwnershipError, match="belongs to another pipe"):
        Segment.attach(segment.descriptor, os.urandom(16))


@pytest.mark.parametrize("size", [0, 64, 4095])
def test_a_file_without_room_for_a_header_is_refused(segment: Segment, size: int) -> None:
    with pytest.raises(TruncatedError):
        refused(bytes(header_of(segment))[:size], size, segment.identity)


@pytest.mark.parametrize("off", [-4096, -1, 1, 4096])
def test_a_segment_of_another_size_than_its_header_says_is_refused(
    segment: Segment, off: int
) -> None:
    with pytest.raises(TruncatedError):
        refused(bytes(header_of(segment)), GEOMETRY.size + off, segment.identity)


def test_other_bytes_are_refused(segment: Segment) -> None:
    with pytest.raises(MagicError):
        refused(b"\x7fELF" * 16, GEOMETRY.size, segment.identity)


def test_a_newer_version_is_refused_as_such(segment: Segment) -> None:
    header = header_of(segment)
    struct.pack_into("<I", header, 8, 2)
    with pytest.raises(VersionError, match="version 2, this release reads up to 1"):
        refused(bytes(header), GEOMETRY.size, segment.identity)


def test_another_stride_than_that_of_the_sizes_is_refused(segment: Segment) -> None:
    header = header_of(segment)
    struct.pack_into("<I", header, 20, GEOMETRY.stride + 4096)
    with pytest.raises(MalformedError, match="stride"):
        refused(bytes(header), GEOMETRY.size, segment.identity)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.sampled_from([12, 16, 24]), value=st.integers(0, 2**32 - 1))
def test_no_count_in_a_header_is_believed(segment: Segment, at: int, value: int) -> None:
    header = header_of(segment)
    before = bytes(header)
    struct.pack_into("<I", header, at, value)
    if header == before:
        return
    geometry = Geometry(
        **dict(
            zip(("buffers", "buffer_size", "instances"), _counts(header), strict=True),
        )
    )
    if geometry.size == GEOMETRY.size and geometry.stride == GEOMETRY.stride:
        return  # rounding to pages makes some counts fit as well

    with pytest.raises(FormatError):
        refused(bytes(header), GEOMETRY.size, segment.identity)


def _counts(header: bytearray) -> tuple[int, int, int]:
    buffers, size, _, instances = struct.unpack_from("<4I", header, 12)
    return buffers, size, instances


@pytest.mark.parametrize(
    "wrong",
    [
        {"buffers": 0},
        {"buffers": (1 << 20) + 1},
        {"buffer_size": Bytes(0)},
        {"buffer_size": Bytes((1 << 30) + 1)},
        {"instances": 0},
        {"instances": 4097},
    ],
)
def test_a_geometry_that_no_pipe_asks_for_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(MalformedError):
        Segment.create(Geometry(**{"buffers": 1, "buffer_size": Bytes(1), "instances": 1} | wrong))


@pytest.mark.parametrize("instance", [-1, 2])
def test_there_are_no_other_records(segment: Segment, instance: int) -> None:
    with pytest.raises(MalformedError):
        segment.record(instance)


def test_closing_twice_closes_no_descriptor_of_somebody_else(segment: Segment) -> None:
    segment.close()
    other = os.memfd_create("takes the number")
    segment.close()

    os.fstat(other)
    os.close(other)


def test_a_view_that_was_kept_does_not_stop_the_close() -> None:
    segment = Segment.create(GEOMETRY)
    kept = handle(segment, 0)
    view = kept.data
    segment.close()

    view[0] = 1  # the mapping lives as long as the view
    kept.kill()


def test_the_limit_is_the_long_word_at_72(segment: Segment) -> None:
    assert segment.limit == 0
    segment.set_limit(0x0102030405060708)

    assert segment.limit == 0x0102030405060708
    assert os.pread(segment.descriptor, 8, 72) == bytes.fromhex("0807060504030201")
    for wrong in (-1, 1 << 64):
        with pytest.raises(MalformedError):
            segment.set_limit(wrong)
    assert segment.limit == 0x0102030405060708
