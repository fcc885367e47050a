"""Give a program that identifies itself its place in a pipe: the monitor asks the gate for it.

    program ── Identify ──▶ monitor ── hello ──▶ gate
            ◀── Identified, 4 descriptors ──┘

Source: docs/spec/control-protocol.md, section 9; seed FIG. 3C; SPEC C6, C10, C11; ADR 0023.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError, UsageError
from datamover.link.events import tell
from datamover.link.gate import attach_door
from datamover.link.guest import enter
from datamover.monitor.mail import posted
from datamover.wire.attach import GuestPlace
from datamover.wire.message import Identified

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.link.guest import Entrance
    from datamover.monitor.controllers import Initiator
    from datamover.monitor.conversation import Conversation
    from datamover.wire.message import Identify

__all__ = ["Admission"]

_PLACES: Final = {"head": GuestPlace.HEAD, "tail": GuestPlace.TAIL}
_GATE_S: Final = 10.0
_HANDED: Final = ["segment", "inbox", "outbox", "gate"]


class Admission:
    """Answers the Identify of one conversation over a Unix socket."""

    def __init__(self, runtime: Path, writer: asyncio.StreamWriter, initiator: Initiator) -> None:
        """Answer in the loop that runs.

        Args:
            runtime: The folder of the gates' doors.
            writer: Of the conversation.
            initiator: Knows the gates of the pipes that were initiated here.
        """
        self._runtime = runtime
        self._writer = writer
        self._initiator = initiator
        self._under_way: set[asyncio.Task[None]] = set()

    def admit(self, conversation: Conversation, message: Identify) -> None:
        """Ask the gate, and say what it answers, in its own time."""
        task = asyncio.ensure_future(self._admit(conversation, message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _admit(self, conversation: Conversation, message: Identify) -> None:
        try:
            place = _PLACES[message.place]
            door = attach_door(self._runtime, self._initiator.gate_of(message.pipe), place)
            entrance = await asyncio.to_thread(
                enter, door, place, message.token, pid=message.pid, timeout=_GATE_S
            )
        except (DataMoverError, OSError) as error:
            conversation.refuse(message.request, error)
            return
        try:
            self._hand_over(entrance, message)
        except (DataMoverError, OSError) as error:
            conversation.refuse(message.request, error)
        else:
            self._initiator.identified(message.pipe)
            tell("pipe.identified", pipe=message.pipe, place=message.place, process=message.pid)
        finally:
            entrance.close()  # the program has its own

    def _hand_over(self, entrance: Entrance, message: Identify) -> None:
        """Send the answer past the stream, which knows no descriptors; nothing waits in that.

        Raises:
            UsageError: The program has not read what was said before.
            OSError: It is gone.
        """
        terms = entrance.terms
        given: dict[str, object] = {
            "buffers": terms.buffers,
            "buffer_size": terms.buffer_size,
            "stride": terms.stride,
            "data": terms.data,
        }
        answer = Identified(request=message.request, descriptors=_HANDED, given=given)
        data = posted(answer)
        if self._writer.transport.get_write_buffer_size():
            raise UsageError(reason="what was said before has not been read: identify after that")
        found = self._writer.get_extra_info("socket")
        with socket.socket(fileno=os.dup(found.fileno())) as connection:
            rights = [*entrance.descriptors, entrance.connection.fileno()]
            sent = socket.send_fds(connection, [data], rights)
        if sent < len(data):
            self._writer.transport.abort()
