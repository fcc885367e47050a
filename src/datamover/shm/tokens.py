"""Queues that survive ``kill -9``: the kernel holds them, no process does.

A queue is a pipe that carries 16-byte tokens.  A write of a token is atomic (it is shorter than
PIPE_BUF) and so is its read, so a task killed between any two instructions leaves the queue whole.

    offset  size  field     unit
         0     4  index     buffer number in the pool, or END, or COMPLETE
         4     4  used      bytes of the buffer that mean something
         8     8  sequence  the stamp, from 0

Source: seed, semaphores 50 and 80, FIG. 4A; SPEC A9, A10, A19; docs/spec/shm-layout.md.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import struct
import termios
from typing import Final, NamedTuple

from datamover.errors import PipeError

__all__ = ["COMPLETE", "END", "TOKEN", "Token", "TokenQueue"]

TOKEN: Final = struct.Struct("<IIQ")
END: Final = 0xFFFFFFFF
COMPLETE: Final = 0xFFFFFFFE

_F_SETPIPE_SZ: Final = 1031
_F_GETPIPE_SZ: Final = 1032
_PAGE: Final = 4096


class Token(NamedTuple):
    """The right to touch one buffer; whoever read it owns the buffer."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no token needs
    used: int
    sequence: int


class TokenQueue:
    """Both ends of one queue, as the monitor keeps them.

    Tasks get duplicates of the descriptors and read and write them directly (``pipe.inlet``);
    the monitor fills free queues, looks at depths, and closes.
    """

    def __init__(self, tokens: int) -> None:
        """Make a queue with room for ``tokens`` tokens, as far as the system's limits allow."""
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A page of the pipe is reused only when it was read to its end: one page more than
        # the tokens need is always enough.
        need = (-(-tokens * TOKEN.size // _PAGE) + 1) * _PAGE
        if need > fcntl.fcntl(self.writer, _F_GETPIPE_SZ):
            # A user over the system's limit keeps a small queue, which makes its writers wait.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.writer, _F_SETPIPE_SZ, need)

    def put(self, token: Token) -> None:
        """Append a token.

        Raises:
            PipeError: The queue is full: the system's limits for pipes are too small for it.

        Blocking: never.
        """
        try:
            os.write(self.writer, TOKEN.pack(*token))
        except BlockingIOError:
            raise PipeError from None

    def depth(self) -> int:
        """How many tokens wait; those a lone reader took in advance are not counted."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self.reader, termios.FIONREAD, waiting)
        return waiting[0] // TOKEN.size

    def has_room(self) -> bool:
        """Whether a token could be written now."""
        poll = select.poll()
        poll.register(self.writer, select.POLLOUT)
        return bool(poll.poll(0))

    def drain(self) -> list[Token]:
        """Take out every token; only while no task runs.

        Blocking: never.
        """
        taken: list[Token] = []
        while True:
            try:
                data = os.read(self.reader, TOKEN.size * 256)
            except BlockingIOError:
                return taken
            taken += [Token(*fields) for fields in TOKEN.iter_unpack(data)]

    def look(self) -> list[Token]:
        """Return every token and leave them as they are; only while no task runs.

        Blocking: never.
        """
        found = self.drain()
        data = b"".join(TOKEN.pack(*token) for token in found)
        for at in range(0, len(data), _PAGE):  # so much is written whole or not at all
            os.write(self.writer, data[at : at + _PAGE])
        return found

    def close(self) -> None:
        """Close both ends here; the tasks' duplicates live on."""
        os.close(self.reader)
        os.close(self.writer)
