"""Where pipes are looked for: on this machine, or on another (``--on HOST``).

Source: docs/spec/control-protocol.md, section 6; SPEC C2, C17.
"""

from __future__ import annotations

import getpass
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from datamover.cli.screen import say
from datamover.errors import PeerProtocolError
from datamover.link.places import configuration_folder, runtime_folder
from datamover.monitor.here import Here
from datamover.monitor.place import parse_host
from datamover.monitor.reach import Means, reach
from datamover.wire.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.monitor.peer import Peer

__all__ = ["Pipes", "me", "pipes_of"]


class Pipes(Protocol):
    """See ``monitor.here.Here``."""

    def accounts(self, pipe: str = "") -> list[Account]:
        """Return what runs."""
        ...

    def stop(self, pipe: str, by: str) -> str:
        """Ask a pipe to end; return its whole name."""
        ...

    def set_limit(self, pipe: str, bytes_per_s: int) -> str:
        """Limit a pipe; return its whole name."""
        ...


@contextmanager
def pipes_of(host: str, *, rsh: str = "", remote_command: str = "") -> Iterator[Pipes]:
    """Look at a machine's pipes; ``host`` empty: this one's.

    Raises:
        UsageError: It is no name of a machine.
        PeerError: The machine cannot be reached.

    Blocking: until it is reached.
    """
    if not host:
        yield Here(runtime_folder(), lambda one: say(f"warning: process {one} does not answer"))
        return
    means = Means.of(rsh=rsh, remote=remote_command, configuration=configuration_folder())
    with reach(parse_host(host), means=means).peer as peer:
        yield _There(peer)


def me() -> str:
    """Return who asks, for the other side's log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{platform.node()}"


class _There:
    """The pipes of another machine."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def accounts(self, pipe: str = "") -> list[Account]:
        found = self._peer.stream("here.status", {"pipe": pipe})
        return [self._account(one["account"]) for one in found if "account" in one]

    def stop(self, pipe: str, by: str) -> str:
        return str(self._peer.call("here.stop", {"pipe": pipe, "by": by}).get("pipe"))

    def set_limit(self, pipe: str, bytes_per_s: int) -> str:
        given = {"pipe": pipe, "bytes_per_s": bytes_per_s}
        return str(self._peer.call("here.limit", given).get("pipe"))

    def _account(self, plain: object) -> Account:
        try:
            return msgspec.convert(plain, Account)
        except msgspec.ValidationError as error:
            raise PeerProtocolError(peer=self._peer.name, reason=str(error)) from None
