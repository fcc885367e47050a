"""Peer: the machine at the other end, as its verified certificate names it.

Source: docs/spec/trust.md, sections 1 and 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import DistrustError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Peer", "check_name", "machine_uri", "peer_from_names"]

_NAME_MAX: Final = 63
_PART: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_PART}(?:\.{_PART})*")
_URI: Final = re.compile(r"datamover:([0-9a-f]{32})/([0-9a-f]{32})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A member of the fleet.

    Attributes:
        name: What people call the machine; unique among the members.
        machine: Its id: 32 hexadecimal digits.
        fleet: The fleet's id, likewise.
    """

    name: str
    machine: str
    fleet: str


def check_name(name: str) -> str:
    """Return a machine's name when it is one.

    Raises:
        UsageError: It is none.
    """
    if len(name) > _NAME_MAX or not _NAME.fullmatch(name):
        raise UsageError(
            reason=f"not a machine's name: {name[:80]!r}, use up to {_NAME_MAX} of a-z 0-9 - ."
        )
    return name


def machine_uri(peer: Peer) -> str:
    """Return the name of the machine that never changes, as certificates carry it."""
    return f"datamover:{peer.fleet}/{peer.machine}"


def peer_from_names(names: Iterable[tuple[str, str]]) -> Peer:
    """Read a certificate's alternative names: pairs of kind ("DNS", "URI") and text.

    Raises:
        DistrustError: They are not those of a machine of a fleet.
    """
    told = list(names)
    hosts = [text for kind, text in told if kind == "DNS"]
    uris = [found for kind, text in told if kind == "URI" and (found := _URI.fullmatch(text))]
    if len(told) != 2 or len(hosts) != 1 or len(uris) != 1:  # noqa: PLR2004 - one of each
        raise DistrustError(peer="a peer", reason="its certificate is not that of a machine")
    try:
        name = check_name(hosts[0])
    except UsageError:
        raise DistrustError(peer="a peer", reason="its certificate names no machine") from None
    return Peer(name=name, machine=uris[0][2], fleet=uris[0][1])
