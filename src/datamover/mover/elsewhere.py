"""Open a store wherever it lies: in a folder here, or on another machine.

Source: docs/reference/cli.md, "Places"; SPEC F1, F10, N9.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from datamover.monitor.place import parse_place
from datamover.mover.depot import make_depot
from datamover.mover.description import plain_description
from datamover.mover.store import Store
from datamover.mover.travel import conversation, reached_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.mover.depot import Depot
    from datamover.mover.description import Description
    from datamover.mover.travel import Travel

__all__ = ["created_store", "opened_store"]


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
    with conversation(place.host, travel) as reached:
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
