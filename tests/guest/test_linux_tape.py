"""The tape medium on a drive that Linux's tape driver drives: ``scripts/test-tapes`` brings one.

The cartridge is small, and each test begins with an empty one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from datamover.errors import ChunkMissingError, MediumFullError, StoreError
from datamover.ids import StoreId
from datamover.media.label import Owner
from datamover.media.opening import open_medium
from datamover.media.tape.drive import Written
from datamover.media.tape.linux_drive import SingleDrive
from datamover.media.tape.volume import Volume
from datamover.testing.media import read_chunk, store_chunk
from datamover.units import KIB, MIB, Bytes

DEVICE = os.environ.get("DATAMOVER_TAPE", "")
pytestmark = pytest.mark.skipif(not DEVICE, reason="DATAMOVER_TAPE names no drive to write to")

A, B, C = (f"00-0000000{letter}.dmc" for letter in "abc")
MINE = Owner(store=StoreId(b"m" * 16), description=b"{}")
NOBODY = Owner(store=StoreId(bytes(16)))
KILLED = """
import os, signal, sys
from datamover.media.opening import open_medium
writer = open_medium(sys.argv[1]).create(sys.argv[2])
for _ in range(20):
    writer.write([b"half" * 65536])
os.kill(os.getpid(), signal.SIGKILL)
"""


def medium_at(fixed, owner=None):
    return open_medium(f"tape://{DEVICE}?block=64KiB&fixed={fixed}&buffer=1MiB", owner)


@pytest.fixture(params=["no", "yes"], ids=["variable", "fixed"])
def address(request):
    """A volume with nothing on it but its label, which ends what was behind it."""
    changer = SingleDrive(DEVICE, block=Bytes(64 * KIB), is_fixed=request.param == "yes")
    try:
        Volume.label("loaded", changer.load("loaded"), NOBODY.label("loaded"))
    finally:
        changer.close()
    return f"tape://{DEVICE}?block=64KiB&fixed={request.param}&buffer=1MiB"


def test_an_empty_cartridge_is_labelled_when_it_is_first_written():
    with medium_at("no", MINE) as medium:
        assert medium.labels() == []
        assert list(medium.names()) == []
        store_chunk(medium, A, b"first")
    with medium_at("no", MINE) as medium:
        assert list(medium.names()) == [A]
        assert [label.description for label in medium.labels()] == [b"{}"]
    # It is another store's now.
    with (
        medium_at("no", NOBODY) as medium,
        pytest.raises(MediumFullError, match="no empty cartridge"),
    ):
        store_chunk(medium, A, b"mine")
    with medium_at("no", MINE) as medium:
        assert read_chunk(medium, A) == b"first"


def test_chunks_come_back_and_a_second_opening_finds_them(address):
    long = os.urandom(3 * MIB + 77)
    with open_medium(address) as medium:
        store_chunk(medium, A, b"short")
        store_chunk(medium, B, long)
        store_chunk(medium, C, b"")
        assert read_chunk(medium, B) == long
    with open_medium(address) as medium:
        assert list(medium.names()) == [A, B, C]
        assert [read_chunk(medium, name) for name in (C, A, B)] == [b"", b"short", long]
        with pytest.raises(StoreError, match="already there"):
            medium.create(A)
        store_chunk(medium, "00-0000000d.dmc", b"behind")
        assert read_chunk(medium, "00-0000000d.dmc") == b"behind"


def test_a_forgotten_chunk_and_an_abandoned_one_are_gone(address):
    with open_medium(address) as medium:
        store_chunk(medium, A, b"first")
        medium.forget(A)
        writer = medium.create(B)
        writer.write([bytes(2 * MIB)])
        writer.abandon()
        store_chunk(medium, A, b"again")
    with open_medium(address) as medium:
        assert list(medium.names()) == [A]
        assert medium.clean() == []
        assert read_chunk(medium, A) == b"again"


def test_what_a_killed_writer_left_is_written_over(address):
    with open_medium(address) as medium:
        store_chunk(medium, A, b"whole")
    ended = subprocess.run([sys.executable, "-c", KILLED, address, B], check=False)
    with open_medium(address) as medium:
        assert ended.returncode == -signal.SIGKILL
        assert list(medium.names()) == [A]
        with pytest.raises(ChunkMissingError):
            medium.open(B)
        assert medium.clean() == [B]
        assert medium.clean() == []
        store_chunk(medium, B, b"again")
    with open_medium(address) as medium:
        assert [read_chunk(medium, name) for name in (A, B)] == [b"whole", b"again"]


def test_a_full_tape_warns_and_keeps_what_was_whole(address):
    with open_medium(address) as medium:
        store_chunk(medium, A, b"whole")
        with pytest.raises(MediumFullError, match="no empty cartridge"):
            store_chunk(medium, B, bytes(64 * MIB))
        store_chunk(medium, C, b"there is room again")
    with open_medium(address) as medium:
        assert list(medium.names()) == [A, C]
        assert read_chunk(medium, C) == b"there is room again"


def test_the_drive_has_one_user(address):
    with open_medium(address) as one, open_medium(address) as two:
        store_chunk(one, A, b"a")
        with pytest.raises(StoreError, match="in use"):
            list(two.names())


@pytest.mark.usefixtures("address")
def test_the_drive_keeps_what_the_interface_promises():
    changer = SingleDrive(DEVICE, block=Bytes(64 * KIB), is_fixed=False)
    try:
        drive = changer.load("loaded")
        into = memoryview(bytearray(64 * KIB))
        for blocks in ((b"a",), (b"b", b"c"), (b"d",)):
            for block in blocks:
                assert drive.write(memoryview(block * 1024)) is Written.TAKEN
            drive.mark()

        def letters(count):
            found = []
            for _ in range(count):
                size = drive.read(into)
                found.append(bytes(into[:1]) if size else size)
            return found

        drive.rewind()
        assert letters(7) == [b"a", 0, b"b", b"c", 0, b"d", 0]
        assert letters(1) == [None]
        drive.rewind()
        assert drive.forward_files(2) == 2
        assert letters(1) == [b"d"]
        assert drive.forward_files(5) == 1
        assert letters(1) == [None]
        drive.rewind()
        assert drive.forward_files(2) == 2
        assert drive.write(memoryview(b"e" * 1024)) is Written.TAKEN
        drive.mark()
        drive.rewind()
        assert letters(8) == [b"a", 0, b"b", b"c", 0, b"e", 0, None]
    finally:
        changer.close()
