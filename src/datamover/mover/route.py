"""The way that data takes to another machine: how many paths, over which interfaces, how protected.

Source: SPEC N2, N3, N7, X15; docs/spec/link-protocol.md; DESIGN D8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.link.address import Address
from datamover.link.interfaces import facing, interfaces
from datamover.monitor.joint import Place
from datamover.wire.frame import MOST_PATHS

if TYPE_CHECKING:
    from datamover.monitor.reach import Reached
    from datamover.pipe.split import Border

__all__ = ["WINDOW", "Route", "place_of"]

WINDOW: Final = 16
"""Buffers that may be under way to a machine: what the receiving side grants."""

_FIRST: Final = 4
_THROUGH_A_SHELL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How data goes to other machines.

    Attributes:
        paths: Connections for each border; 0: one through a remote shell; four to a daemon, and
            more while they bring more.
        via: Local addresses, or names of interfaces, that the paths go out by in turn.
        is_clear: Checked, and not encrypted; a remote shell encrypts by itself.
        limit: Bytes a second that this machine sends at most; 0: as much as it can.
    """

    paths: int = 0
    via: tuple[str, ...] = ()
    is_clear: bool = False
    limit: int = 0

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: A number is out of range.
        """
        if not 0 <= self.paths <= MOST_PATHS:
            raise UsageError(reason=f"--paths is {self.paths}, it must be 1 to {MOST_PATHS}")
        if self.limit < 0:
            raise UsageError(reason="--limit is below 0")


def place_of(reached: Reached, route: Route) -> Place:
    """Return a machine as parts of pipes use it.

    Raises:
        UsageError: Interfaces were named, and a remote shell chooses its own.
    """
    route.check()
    command, addresses = reached.path_command, reached.addresses
    if not addresses and route.via:
        raise UsageError(reason="--via needs a machine whose daemon is reached, not a remote shell")
    paths = max(route.paths or (MOST_PATHS if addresses else _THROUGH_A_SHELL), len(route.via))
    first = 0 if route.paths or not addresses else max(_FIRST, len(route.via))
    protection = "sealed" if addresses and not route.is_clear else "clear"

    def accepting(border: Border) -> dict[str, object]:
        return {
            "token": border.token.hex(),
            "secret": border.secret.hex(),
            "protection": protection,
            "paths": paths,
        }

    dial = _facing(reached, route.via) if route.via else list(addresses)

    def dialing(border: Border) -> dict[str, object]:
        if addresses:
            return accepting(border) | {"dial": dial, "via": list(route.via), "first": first}
        return accepting(border) | {"command": list(command)}

    return Place(peer=reached.peer, dialing=dialing, accepting=accepting, limit=route.limit)


def _facing(reached: Reached, via: tuple[str, ...]) -> list[str]:
    """Return for each interface the machine's address behind it, or else the one that is known."""
    known = reached.addresses[0]
    port = Address.parse(known).port
    answer = reached.peer.call("here.addresses", {}).get("addresses")
    theirs = [str(one) for one in answer] if isinstance(answer, list) else []
    ours = interfaces()
    found = [facing(one, ours, theirs) for one in via]
    return [str(Address(one, port)) if one else known for one in found]
