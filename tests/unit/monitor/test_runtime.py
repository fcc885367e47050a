"""What the dead left in the runtime folder goes at the next start; the living are undisturbed."""

from __future__ import annotations

import os
import socket

import pytest

from datamover.link.door import Door, hand_over
from datamover.link.doorway import door_path
from datamover.link.greeting import Terms
from datamover.monitor.runtime import bind_pipe_socket, sweep
from datamover.wire.frame import Protection

DEAD, LIVING = bytes(16), b"\1" * 16


@pytest.fixture
def runtime(tmp_path):
    """A runtime folder with the door of a killed network task."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(door_path(str(tmp_path), DEAD))
        left.listen()
    return tmp_path


@pytest.fixture
def door(runtime):
    terms = Terms(
        token=LIVING,
        secret=bytes(32),
        protection=Protection.CLEAR,
        paths=1,
        buffer_size=1000,
    )
    found = Door(terms, door_path(str(runtime), LIVING))
    yield found
    found.close()


def begin(runtime):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        bind_pipe_socket(listening, runtime).unlink()


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("start", [begin, sweep])
def test_the_door_of_a_killed_task_goes_at_the_next_start(runtime, start):
    start(runtime)

    assert [path.name for path in runtime.glob("door-*")] == [f"door-{LIVING.hex()}"]


def test_a_door_that_somebody_listens_at_is_not_disturbed(runtime, door):
    begin(runtime)
    (listening,) = door.watched()
    door.handle(listening, 0.0)
    (guest,) = set(door.watched()) - {listening}

    assert door.handle(guest, 0.0) is None
    assert door.refusals == []
    assert set(door.watched()) == {listening}


def test_a_guest_that_brings_a_hello_and_nothing_else_is_refused(runtime, door):
    hello = b"DMPH\1\0\0\0" + LIVING + bytes(40)
    with hand_over(str(runtime), hello, []):
        (listening,) = door.watched()
        door.handle(listening, 0.0)
        (guest,) = set(door.watched()) - {listening}
        door.handle(guest, 0.0)

    assert [reason for _, reason in door.refusals] == ["door: brought 0 descriptors"]


def test_a_socket_that_was_bound_just_now_and_is_not_listened_to_stays(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as young:
        young.bind(str(tmp_path / "door-attach.p.head"))
        sweep(tmp_path)
        stays = (tmp_path / "door-attach.p.head").exists()
        os.utime(tmp_path / "door-attach.p.head", (1, 1))
        sweep(tmp_path)

    assert stays
    assert not (tmp_path / "door-attach.p.head").exists()
