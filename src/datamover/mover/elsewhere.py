"""Open a store wherever it lies: in a folder here, or on another machine.

Source: docs/reference/cli.md, "Places"; SPEC F1, F10, N9.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datamover.monitor.place import parse_place
from datamover.mover.depot import make_depot
from datamover.mover.description import plain_description
from datamover.mover.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.monitor.joint import Place
    from datamover.monitor.peer import Peer
    from datamover.monitor.place import Host
    from datamover.monitor.reach import Reached
    from datamover.mover.depot import Depot
    from datamover.mover.description import Description

__all__ = ["Travel", "created_store", "opened_store", "reached_place"]


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


def created_store(where: str, description: Description, travel: Travel) -> None:
    """Make a store in a folder that is new or empty.

    Args:
        where: A folder, or ``[user@]host:folder``.
        description: Of the new store; no key of it goes anywhere.
        travel: How to get there, if it is elsewhere.

    Raises:
        StoreExistsError: Something is there already; nothing was changed.
        StoreError: The folder refuses.
        PeerError: The machine cannot be reached, or refuses.
    """
    place = parse_place(where)
    if place.host is None:
        make_depot(Path(where), description)
        return
    with _conversation(place.host, travel) as reached:
        folder = os.fsencode(place.path or ".")
        given = {"folder": folder, "description": plain_description(description)}
        reached.peer.call("depot.create", given)


@contextmanager
def opened_store(
    where: str, passphrase: Callable[[], bytes] | None, travel: Travel
) -> Iterator[Store]:
    """Open a store for a ``with`` block.

    Args:
        where: A folder, or ``[user@]host:folder``.
        passphrase: Called at most once, and only if something sealed is to be read or written.
        travel: How to get there, if it is elsewhere.

    Raises:
        UsageError: It names a machine, and not as one can be named.
        NotAStoreError: There is no store.
        PeerError: The machine cannot be reached, or refuses.

    Blocking: until the machine answers; a remote shell may ask the user something first.
    """
    with _reached(where, travel) as depot:
        if depot is None:
            with Store.open(where, passphrase) as store:
                yield store
        else:
            with Store(depot, passphrase) as store:
                yield store


@contextmanager
def _reached(where: str, travel: Travel) -> Iterator[Depot | None]:
    """Yield the depot on another machine; None when the store is on this one."""
    place = parse_place(where)
    if place.host is None:
        yield None
        return
    # Imported late: most stores are on this machine.
    from datamover.mover.remote_depot import RemoteDepot  # noqa: PLC0415 - as above

    with reached_place(place.host, travel) as (peer, there):
        machine = str(place.host)
        depot = RemoteDepot(peer, machine=machine, directory=place.path or ".")
        depot.places = {machine: there}
        yield depot


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
    with _conversation(host, travel) as reached:
        yield reached.peer, place_of(reached, route)


@contextmanager
def _conversation(host: Host, travel: Travel) -> Iterator[Reached]:
    from datamover.link.places import configuration_folder  # noqa: PLC0415 - for what is elsewhere
    from datamover.monitor.reach import Means, reach  # noqa: PLC0415 - as above

    means = Means.of(rsh=travel.rsh, remote=travel.remote, configuration=configuration_folder())
    reached = reach(host, means=means, purpose="pipe")
    with reached.peer:
        yield reached
