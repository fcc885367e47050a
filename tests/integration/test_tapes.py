"""Tapes of a virtual robot: spanning, what is off line, what is not ours, and what is damaged."""

from __future__ import annotations

import os
import random

import pytest

from datamover.errors import (
    ChunkMissingError,
    DataMoverError,
    MediumFullError,
    StoreError,
    UsageError,
    VolumeMissingError,
)
from datamover.ids import StoreId
from datamover.media.committer import Committer
from datamover.media.label import Owner
from datamover.media.opening import open_medium
from datamover.media.tape import medium as tape_medium
from datamover.media.tape.virtual_library import create_library
from datamover.testing.media import read_chunk, store_chunk
from datamover.units import KIB, MIB

pytestmark = pytest.mark.processes

A, B, C = (f"00-0000000{letter}.dmc" for letter in "abc")
MINE = Owner(store=StoreId(b"m" * 16), description=b'{"id": "m"}')
OTHER = Owner(store=StoreId(b"o" * 16))
LONG = os.urandom(5 * MIB)


@pytest.fixture
def robot(tmp_path):
    create_library(tmp_path / "robot", cartridges=4, capacity=2 * MIB, block=64 * KIB)
    return tmp_path / "robot"


def opened(robot, owner=MINE):
    return open_medium(f"vtape://{robot}?buffer=1MiB&high=512KiB&low=128KiB", owner)


def tape(robot, number):
    """Where a cartridge is now."""
    (found,) = robot.glob(f"*/V{number:05d}.tap")
    return found


def test_a_long_chunk_goes_on_on_the_next_cartridges(robot):
    with opened(robot) as medium:
        store_chunk(medium, A, b"short")
        store_chunk(medium, B, LONG)
        store_chunk(medium, C, b"behind it")
    with opened(robot) as medium:
        assert list(medium.names()) == [A, B, C]
        assert [read_chunk(medium, name) for name in (C, B, A)] == [b"behind it", LONG, b"short"]
        labels = medium.labels()

    assert [(label.volume, label.name) for label in labels] == [
        (0, "V00001"),
        (1, "V00002"),
        (2, "V00003"),
    ]
    assert {(label.store, label.description) for label in labels} == {
        (MINE.store, MINE.description)
    }
    assert all(os.path.getsize(tape(robot, n)) <= 2 * MIB for n in range(1, 5))


def test_a_cartridge_that_is_off_line_is_asked_for_by_its_number(robot, tmp_path):
    with opened(robot) as medium:
        store_chunk(medium, A, b"short")
        store_chunk(medium, B, LONG)
        store_chunk(medium, C, b"last")
    os.rename(tape(robot, 2), tmp_path / "in-a-safe.tap")
    with opened(robot) as medium:
        assert list(medium.names()) == [A, C]
        assert read_chunk(medium, A) == b"short"
        for name in (B, "00-0000000d.dmc"):
            with pytest.raises(VolumeMissingError) as caught:
                medium.open(name)
            assert caught.value.volume == 1
    os.rename(tmp_path / "in-a-safe.tap", robot / "slots" / "V00002.tap")
    with opened(robot) as medium:
        assert read_chunk(medium, B) == LONG


def test_the_last_cartridge_off_line_is_asked_for_and_may_come_back(robot, tmp_path):
    with opened(robot) as medium:
        store_chunk(medium, B, LONG)
    os.rename(tape(robot, 3), tmp_path / "in-a-safe.tap")
    with opened(robot) as medium:
        with pytest.raises(VolumeMissingError, match="volume 2"):
            medium.open(B)
        store_chunk(medium, C, LONG[:MIB])
    os.rename(tmp_path / "in-a-safe.tap", robot / "slots" / "V00003.tap")
    with opened(robot) as medium:
        assert [read_chunk(medium, name) for name in (B, C)] == [LONG, LONG[:MIB]]
        # Both were the next one when they were labelled.
        assert [label.volume for label in medium.labels()] == [0, 1, 2, 2]


def test_cartridges_of_others_are_neither_read_nor_written(robot):
    tape(robot, 1).write_bytes(b"\x05\0\0\0notes\0\x05\0\0\0\0\0\0\0")
    with opened(robot, OTHER) as medium:
        store_chunk(medium, A, b"other's")
    before = [tape(robot, n).read_bytes() for n in (1, 2)]
    with opened(robot) as medium:
        assert list(medium.names()) == []
        store_chunk(medium, A, b"mine")
        assert read_chunk(medium, A) == b"mine"
        assert [label.name for label in medium.labels()] == ["V00003"]
    with opened(robot, OTHER) as medium:
        assert read_chunk(medium, A) == b"other's"

    assert [tape(robot, n).read_bytes() for n in (1, 2)] == before


def test_without_an_empty_cartridge_it_is_full_and_what_was_begun_gives_its_room_back(robot):
    with opened(robot) as medium:
        store_chunk(medium, A, b"short")
        with pytest.raises(MediumFullError, match="no empty cartridge"):
            store_chunk(medium, B, LONG + LONG)
        store_chunk(medium, C, LONG)
    with opened(robot) as medium:
        assert list(medium.names()) == [A, C]
        assert read_chunk(medium, C) == LONG
        assert medium.clean() == []


def test_a_drive_has_one_user(robot):
    with opened(robot) as one, opened(robot) as two:
        store_chunk(one, A, b"a")
        with pytest.raises(StoreError, match="in use"):
            list(two.names())
        one.close()
        assert list(two.names()) == [A]


def test_two_drives_have_two_users(tmp_path):
    create_library(tmp_path / "robot", cartridges=2, drives=2)
    with opened(tmp_path / "robot") as one, opened(tmp_path / "robot", OTHER) as two:
        store_chunk(one, A, b"a")
        # What is in the other's drive cannot be had; there is another cartridge.
        store_chunk(two, B, b"b")

        assert (read_chunk(one, A), read_chunk(two, B)) == (b"a", b"b")


def test_a_chunk_that_is_forgotten_stays_forgotten_and_may_come_again(robot):
    with opened(robot) as medium:
        store_chunk(medium, A, b"first")
        store_chunk(medium, B, LONG)
        medium.forget(A)
        medium.forget(B)
    with opened(robot) as medium:
        assert list(medium.names()) == []
        store_chunk(medium, A, b"again")
        assert read_chunk(medium, A) == b"again"
    with opened(robot) as medium:
        assert list(medium.names()) == [A]
        with pytest.raises(ChunkMissingError):
            medium.open(B)


def test_one_chunk_has_the_drive_and_another_is_told_so(robot, monkeypatch):
    monkeypatch.setattr(tape_medium, "_PATIENCE_S", 0.05)
    with opened(robot) as medium:
        store_chunk(medium, C, b"before")
        long, other = medium.create(A), medium.create(B)
        long.write([LONG[:MIB]])
        with pytest.raises(StoreError, match=f"{A} is not finished"):
            other.write([LONG, LONG])
        with pytest.raises(StoreError, match=f"{A} is not finished"):
            read_chunk(medium, C)
        with pytest.raises(StoreError, match=f"{A} is not finished"):
            medium.forget(C)
        other.abandon()
        long.commit()

        assert read_chunk(medium, A) == LONG[:MIB]
        assert list(medium.names()) == [A, C]


def test_a_chunk_waits_for_those_that_were_begun_before_it(robot):
    """As the stage does it: the next chunk is written while those before are made durable."""
    with opened(robot) as medium, Committer() as committer:
        for number in range(12):
            writer = medium.create(f"00-{number:08x}.dmc")
            size = (10, 600 * KIB, 100 * KIB)[number % 3]
            writer.write([LONG[:size]])
            committer.submit(writer, number)
        committer.drain()

        assert [len(read_chunk(medium, name)) for name in medium.names()] == [
            10,
            600 * KIB,
            100 * KIB,
        ] * 4


def test_closing_drops_what_is_not_finished(robot):
    with opened(robot) as medium:
        writer = medium.create(A)
        writer.write([LONG[:MIB]])
    with opened(robot) as medium:
        assert list(medium.names()) == []
        assert medium.clean() == []


def test_a_chunk_that_came_meanwhile_is_not_replaced(robot):
    with opened(robot) as medium:
        one, two = medium.create(A), medium.create(A)
        for writer, data in ((one, b"first"), (two, b"second")):
            writer.write([data])
        one.commit()
        with pytest.raises(StoreError, match="already there"):
            two.commit()
    with opened(robot) as medium:
        assert read_chunk(medium, A) == b"first"


def test_a_damaged_place_costs_what_is_there(robot):
    with opened(robot) as medium:
        for name in (A, B, C):
            store_chunk(medium, name, name.encode() * 1000)
    path = tape(robot, 1)
    data = bytearray(path.read_bytes())
    at = data.find(b"DMto", data.find(b"DMto") + 1)
    data[at + 20] ^= 1
    path.write_bytes(data)
    with opened(robot) as medium:
        assert list(medium.names()) == [A, C]
        assert read_chunk(medium, C) == C.encode() * 1000
        store_chunk(medium, "00-0000000d.dmc", b"goes on")


def test_a_tape_that_cannot_be_read_on_is_not_written_to(robot):
    with opened(robot) as medium:
        for name in (A, B):
            store_chunk(medium, name, name.encode() * 1000)
    path = tape(robot, 1)
    data = bytearray(path.read_bytes())
    data[data.find(b"DMto", data.find(b"DMto") + 1) - 1] = 0xFF
    path.write_bytes(data)
    with opened(robot) as medium:
        assert list(medium.names()) == [A]
        store_chunk(medium, C, b"elsewhere")
    assert tape(robot, 1).read_bytes() == data
    with opened(robot) as medium:
        assert list(medium.names()) == [A, C]


@pytest.mark.parametrize("seed", range(24))
def test_no_tape_is_too_hostile_to_be_looked_at(robot, seed):
    with opened(robot) as medium:
        for name in (A, B):
            store_chunk(medium, name, name.encode() * 5000)
        medium.forget(A)
    path = tape(robot, 1)
    data = bytearray(path.read_bytes())
    dice = random.Random(seed)
    marks = [i for i in range(len(data)) if data[i : i + 2] == b"DM"] + [0]
    for _ in range(dice.choice([1, 3, 20])):
        at = dice.choice(marks) + dice.randrange(-8, 60)
        data[at % len(data)] = dice.randrange(256)
    if dice.random() < 0.3:
        del data[dice.randrange(len(data)) :]
    path.write_bytes(data)
    with opened(robot, None) as medium:
        for name in list(medium.names()):
            try:
                read_chunk(medium, name)
            except DataMoverError:
                continue
        try:
            store_chunk(medium, C, b"goes on")
            assert read_chunk(medium, C) == b"goes on"
        except DataMoverError:
            pass


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (b"", "library.json"),
        (b'{"drives": 1}', "library.json"),
        (b'{"drives":99,"capacity":1,"early":1,"block":1,"fixed":false}', "range"),
        (None, "no tape library"),
    ],
)
def test_a_folder_that_is_no_library_is_told_so(robot, facts, words):
    (robot / "library.json").unlink()
    if facts is not None:
        (robot / "library.json").write_bytes(facts)
    with opened(robot) as medium, pytest.raises(StoreError, match=words):
        list(medium.names())


@pytest.mark.parametrize(
    "address",
    [
        "vtape://host/robot",
        "vtape:///robot?color=red",
        "vtape:///robot?buffer=2GiB",
        "vtape:///robot?buffer=1MiB&low=2MiB",
        "tape:///dev/nst0?block=1KiB",
        "tape:///dev/nst0?fixed=perhaps",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address):
    with pytest.raises(UsageError):
        open_medium(address)


@pytest.mark.parametrize(
    ("device", "words"), [("/dev/null", "no tape drive"), ("/no/such/device", "No such file")]
)
def test_what_is_no_tape_drive_is_told_so(device, words):
    with open_medium(f"tape://{device}") as medium, pytest.raises(StoreError, match=words):
        list(medium.names())


def test_a_library_is_not_made_where_something_is(robot):
    with pytest.raises(StoreError):
        create_library(robot, cartridges=1)
    with pytest.raises(UsageError):
        create_library(robot / "new", cartridges=1, capacity=KIB)
