"""Travel: how another machine is reached, and the way that data takes there.

Source: docs/reference/cli.md, "Places"; SPEC N2, N3, N9.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.monitor.joint import Place
    from datamover.monitor.peer import Peer
    from datamover.monitor.place import Host
    from datamover.monitor.reach import Reached

__all__ = ["Travel", "conversation", "reached_place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """How other machines are reached, and how data goes there, as a person says it.

    Attributes:
        rsh: The remote shell and its options; empty: DATAMOVER_RSH, or ssh.
        remote: The program there; empty: DATAMOVER_REMOTE, or datamover.
        paths: Connections; 0: as many as suit.
        via: Local addresses, or names of interfaces, that the paths go out by in turn.
        is_clear: Checked, and not encrypted; a remote shell encrypts by itself.
        limit: Bytes a second that are sent at most; 0: as much as can be.
    """

    rsh: str = ""
    remote: str = ""
    paths: int = 0
    via: tuple[str, ...] = ()
    is_clear: bool = False
    limit: int = 0


@contextmanager
def reached_place(host: Host, travel: Travel) -> Iterator[tuple[Peer, Place]]:
    """Reach a machine for a ``with`` block, as a conversation and as pipes need it.

    Raises:
        UsageError: What was said of the way makes no sense.
        PeerError: The machine cannot be reached, or refuses.

    Blocking: until it answers; a remote shell may ask the user something first.
    """
    from datamover.mover.route import Route, place_of  # noqa: PLC0415 - for what is elsewhere

    route = Route(paths=travel.paths, via=travel.via, is_clear=travel.is_clear, limit=travel.limit)
    route.check()
    with conversation(host, travel) as reached:
        yield reached.peer, place_of(reached, route)


@contextmanager
def conversation(host: Host, travel: Travel) -> Iterator[Reached]:
    """Reach a machine for a ``with`` block, as a conversation alone.

    Raises:
        PeerError: The machine cannot be reached, or refuses.

    Blocking: until it answers; a remote shell may ask the user something first.
    """
    from datamover.link.places import configuration_folder  # noqa: PLC0415 - for what is elsewhere
    from datamover.monitor.reach import Means, reach  # noqa: PLC0415 - as above

    means = Means.of(rsh=travel.rsh, remote=travel.remote, configuration=configuration_folder())
    reached = reach(host, means=means, purpose="pipe")
    with reached.peer:
        yield reached
