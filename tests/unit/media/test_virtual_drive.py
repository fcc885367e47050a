"""The virtual drive has the manners of a real one; its tapes can be read by other programs."""

from __future__ import annotations

import os
import struct

import pytest

from datamover.errors import MediumFullError, StoreError
from datamover.media.tape.drive import Written
from datamover.media.tape.virtual_drive import VirtualDrive


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "V00001.tap"


@pytest.fixture
def make(tape):
    drives = []

    def make(*, capacity=10_000, early=200, block=100, fixed=False):
        file = os.open(tape, os.O_RDWR | os.O_CREAT, 0o600)
        drive = VirtualDrive(
            "V00001", file, capacity=capacity, early=early, block=block, is_fixed=fixed
        )
        drives.append(drive)
        return drive

    yield make
    for drive in drives:
        drive.close()


def read(drive):
    into = memoryview(bytearray(drive.block))
    size = drive.read(into)
    return size if not size else bytes(into[:size])


def write(drive, *blocks):
    for block in blocks:
        if block:
            assert drive.write(memoryview(block)) is Written.TAKEN
        else:
            drive.mark()


def test_blocks_come_back_as_they_were_written(make):
    drive = make()
    write(drive, b"one", b"two!", b"", b"3", b"")
    drive.rewind()

    assert [read(drive) for _ in range(7)] == [b"one", b"two!", 0, b"3", 0, None, None]


def test_the_file_is_what_simulators_know(make, tape):
    write(make(), b"abc", b"")

    three = struct.pack("<I", 3)
    assert tape.read_bytes() == three + b"abc\0" + three + bytes(4)


def test_writing_ends_what_was_behind(make):
    drive = make()
    write(drive, b"one", b"", b"two", b"", b"three", b"")
    drive.rewind()
    assert drive.forward_files(1) == 1
    write(drive, b"new")
    drive.rewind()

    assert [read(drive) for _ in range(4)] == [b"one", 0, b"new", None]


def test_a_tape_warns_once_and_takes_what_is_short_after_that(make):
    drive = make(capacity=1000, early=300)
    while drive.write(memoryview(b"x" * 92)) is Written.TAKEN:
        pass
    assert drive._at == 700
    write(drive, b"y" * 92, b"z" * 92, b"")
    with pytest.raises(MediumFullError):
        drive.write(memoryview(b"x" * 92))
    drive.rewind()
    blocks = [read(drive) for _ in range(10)]

    assert blocks[6:] == [b"x" * 92, b"y" * 92, b"z" * 92, 0]


def test_a_tape_that_is_written_anew_warns_anew(make):
    drive = make(capacity=1000, early=300)
    for _ in range(2):
        drive.rewind()
        while drive.write(memoryview(b"x" * 92)) is Written.TAKEN:
            pass

        assert drive._at == 700


def test_files_are_passed_forward(make):
    drive = make()
    write(drive, b"a", b"", b"b", b"c", b"", b"d", b"")
    drive.rewind()
    assert drive.forward_files(2) == 2
    assert read(drive) == b"d"
    drive.rewind()

    assert drive.forward_files(9) == 3
    assert read(drive) is None


@pytest.mark.parametrize(("fixed", "size"), [(True, 99), (True, 101), (False, 101), (False, 0)])
def test_a_block_of_another_length_is_refused(make, fixed, size):
    with pytest.raises(StoreError):
        make(fixed=fixed).write(memoryview(b"x" * size))


def test_a_block_that_is_too_long_is_told_and_passed(make):
    drive = make()
    write(drive, b"x" * 100, b"y")
    drive.rewind()
    with pytest.raises(StoreError, match="too long"):
        drive.read(memoryview(bytearray(10)))

    assert read(drive) == b"y"


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_was_torn_is_the_end_of_the_data(make, tape, cut):
    drive = make()
    write(drive, b"whole", b"", b"torn")
    os.truncate(tape, os.path.getsize(tape) - cut)
    drive.rewind()

    assert [read(drive) for _ in range(3)] == [b"whole", 0, None]
    assert drive.forward_files(1) == 0


@pytest.mark.parametrize("length", [1 << 24 | 2, 0xFFFFFFFF])
def test_a_length_that_cannot_be_is_an_error(make, tape, length):
    drive = make()
    tape.write_bytes(struct.pack("<I", length) + b"x" * 100)
    for ask in (lambda: read(drive), lambda: drive.forward_files(1)):
        with pytest.raises(StoreError):
            ask()
