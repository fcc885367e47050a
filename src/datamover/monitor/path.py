"""Pass a data path that a remote shell carries to the network task that waits for it.

Source: docs/spec/link-protocol.md, section 2; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final

from datamover.errors import PeerLostError, SlowPeerError
from datamover.link.door import hand_over
from datamover.wire.frame import HELLO_SIZE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pass_path"]

_OPENING_S: Final = 10.0


def pass_path(streams: tuple[int, int], runtime: Path, *, opening_s: float = _OPENING_S) -> None:
    """Read a hello, hand both descriptors over, and wait until the path has ended.

    The shell would end the connection if this process went before.

    Args:
        streams: What is read from and written to; closed here once the task has duplicates.
        runtime: Where the task's door is.
        opening_s: How long the hello may take.

    Raises:
        SlowPeerError: The hello did not come in time.
        PeerLostError: The other side went before its hello was whole.
        FormatError: It is no hello.
        PeerUnreachableError: No task waits for this path.

    Blocking: until the network task lets the path go, or is gone.
    """
    try:
        hello = _hello(streams[0], time.monotonic() + opening_s)
        door = hand_over(str(runtime), hello, streams)
    finally:
        for one in streams:
            os.close(one)
    with door:
        door.settimeout(None)
        while door.recv(1):
            continue


def _hello(descriptor: int, until: float) -> bytes:
    found = b""
    while len(found) < HELLO_SIZE:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise SlowPeerError(peer="a path", reason="its hello did not come in time")
        more = os.read(descriptor, HELLO_SIZE - len(found))
        if not more:
            raise PeerLostError(peer="a path", reason="it went before its hello was whole")
        found += more
    return found
