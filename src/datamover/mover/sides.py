"""The two ends of a copy: each on this machine, or on another one.

Source: SPEC N9 (either direction, and from one other machine to another); docs/guides/copy.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datamover.errors import UsageError
from datamover.files.found import Found
from datamover.monitor.joint import Place
from datamover.monitor.place import parse_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.monitor.peer import Peer
    from datamover.mover.travel import Travel

__all__ = ["Side", "Sides", "opened_sides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One end.

    Attributes:
        machine: As the stages of a pipe name it; empty: here.
        typed: Its paths, without the machine.
        found: What is under each.
    """

    machine: str = ""
    typed: tuple[str, ...]
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both.

    Attributes:
        source: Where from.
        target: Where to; it has one path.
        places: The other machines, as a pipe reaches them.
    """

    source: Side
    target: Side
    places: Mapping[str, Place] = field(default_factory=dict)


@contextmanager
def opened_sides(given: Sequence[str], to: str, travel: Travel) -> Iterator[Sides]:
    """Reach the machines of a copy for a ``with`` block, and look at both ends.

    Args:
        given: Paths, or ``[user@]host:path``; all on one machine.
        to: A path, or ``[user@]host:path``.
        travel: How to get there.

    Raises:
        UsageError: The sources are on several machines, or a machine is not named as one can be.
        PeerError: A machine cannot be reached, or refuses.

    Blocking: until the machines answer; a remote shell may ask the user something first.
    """
    sources, target = [parse_place(one) for one in given], parse_place(to)
    hosts = {one.host for one in sources}
    if len(hosts) > 1:
        raise UsageError(reason="the sources are on several machines: copy them one after another")
    hosts.add(target.host)
    peers: dict[str, Peer] = {}
    places: dict[str, Place] = {}
    with ExitStack() as stack:
        for host in hosts - {None}:
            # Imported late: most copies stay on this machine.
            from datamover.mover.travel import reached_place  # noqa: PLC0415 - as above

            assert host is not None  # noqa: S101 - the set has none
            peer, place = stack.enter_context(reached_place(host, travel))
            peers[str(host)], places[str(host)] = peer, place
        yield Sides(
            source=_side(_name(sources[0].host), [one.path for one in sources], peers),
            target=_side(_name(target.host), [target.path], peers),
            places=places,
        )


def _name(host: object) -> str:
    return "" if host is None else str(host)


def _side(machine: str, typed: Sequence[str], peers: Mapping[str, Peer]) -> Side:
    # A machine's name alone, as in ``host:``, is the folder that one logs in to.
    paths = tuple(one or "." for one in typed) if machine else tuple(typed)
    if machine:
        from datamover.mover.look_service import look_at  # noqa: PLC0415 - for what is elsewhere

        answer = peers[machine].call("copy.look", {"paths": [os.fsencode(one) for one in paths]})
        found = look_at(answer, len(paths))
    else:
        found = tuple(Found.at(one) for one in paths)
    return Side(machine=machine, typed=paths, found=found)
