"""The scripted port keeps the rules of a real one, so that what passes on it passes in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from datamover.errors import OwnershipError, StopRequestedError
from datamover.ids import BlockNumber
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes
from datamover.wire.tag import TagHeader, TagKind

if TYPE_CHECKING:
    from datamover.pipe.ports import MiddlePort

TAG = TagHeader(kind=TagKind.DATA, block=BlockNumber(3), length=Bytes(3), plain=Bytes(3))


def test_it_has_every_verb_of_every_role():
    port: MiddlePort = ScriptedPort()

    assert port.instances == 1


def test_what_is_received_is_what_was_scripted():
    port = ScriptedPort([(TAG, b"abc"), (None, b"xy")])
    first, second = port.receive(), port.receive()

    assert first is not None
    assert second is not None
    assert TagHeader.decode(first.tag[: first.tag_used]) == TAG
    assert bytes(first.payload) == b"abc"
    assert (second.tag_used, second.sequence, bytes(second.payload)) == (0, 1, b"xy")
    assert port.receive() is None


def test_what_is_sent_is_kept_and_the_handle_is_dead():
    port = ScriptedPort([(TAG, b"abc")])
    for buffer in port.incoming():
        view = buffer.data[:3]
        port.send(buffer)
        with pytest.raises(OwnershipError):
            _ = buffer.data
        assert bytes(view) == b"\xdb\xdb\xdb"

    assert [(o.tag, o.payload) for o in port.outputs] == [(TAG, b"abc")]
    assert port.held == 0


def test_a_whole_share_held_is_refused_and_a_freed_buffer_comes_back():
    port = ScriptedPort(buffers=2)
    first, _ = port.alloc(), port.alloc()
    with pytest.raises(OwnershipError):
        port.alloc()
    port.free(first)

    assert port.alloc().index == 0


def test_a_buffer_cannot_be_sent_twice():
    port = ScriptedPort()
    buffer = port.alloc()
    port.send(buffer)

    with pytest.raises(OwnershipError):
        port.send(buffer)


def test_a_stop_comes_at_the_verb_that_was_planned():
    port = ScriptedPort(stop_after=1)
    port.alloc()

    with pytest.raises(StopRequestedError):
        port.alloc()
