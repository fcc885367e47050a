"""Authorization: may this peer do this, here?

    path as asked ──resolve──▶ where it leads ──authorize──▶ Grant(base, below)

``resolve`` looks at the file system, ``authorize`` is pure.  A grant names the folder that was
permitted and the path below it: whoever opens it goes down from ``base`` by descriptors and never
through a link, so that one made after the check leads nowhere.

Source: docs/spec/trust.md, section 8; DESIGN D14; SPEC U7.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import NotAllowedError, PathEscapeError
from datamover.link.events import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from datamover.link.peer import Peer
    from datamover.link.permissions import May, PeerEntry, Permissions, Place

__all__ = [
    "Action",
    "Grant",
    "Resolved",
    "allow",
    "allow_path",
    "allow_resolved",
    "authorize",
    "resolve",
]

_LONGEST: Final = 4096


class Action(Enum):
    """What a peer may want; the value is the word for people."""

    EXTEND = "run a part of a pipe"
    ATTACH = "attach to a pipe"
    STATUS = "see the pipes"
    STOP = "stop a pipe"
    READ_STORE = "read the store"
    APPEND_STORE = "add to the store"
    WRITE_STORE = "remove from the store"
    READ_PATH = "read"
    CREATE_PATH = "create"
    WRITE_PATH = "change"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A path, and where it leads once links are followed; made by ``resolve``."""

    asked: str
    real: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What was permitted.

    Attributes:
        base: An absolute folder, without links; empty when the action has no place.
        below: The path from there; empty for the folder itself.  Never holds ``..``.
    """

    base: str = ""
    below: str = ""

    @property
    def path(self) -> str:
        """The whole path, which had no link in it when it was granted."""
        return f"{self.base.rstrip('/')}/{self.below}" if self.below else self.base


_FLAG: Final[Mapping[Action, Callable[[PeerEntry], bool]]] = {
    Action.EXTEND: lambda entry: entry.extend,
    Action.ATTACH: lambda entry: entry.attach,
    Action.STATUS: lambda entry: entry.status,
    Action.STOP: lambda entry: entry.stop,
}
_STORE: Final[Mapping[Action, frozenset[May]]] = {
    Action.READ_STORE: frozenset({"read", "append", "write"}),
    Action.APPEND_STORE: frozenset({"append", "write"}),
    Action.WRITE_STORE: frozenset({"write"}),
}
_PATH: Final[Mapping[Action, frozenset[May]]] = {
    Action.READ_PATH: frozenset({"read", "append", "write"}),
    Action.CREATE_PATH: frozenset({"append", "write"}),
    Action.WRITE_PATH: frozenset({"write"}),
}


def resolve(peer: Peer, action: Action, path: str) -> Resolved:
    """Find where a peer's path leads; the part of it that exists may have links.

    Raises:
        PathEscapeError: It is relative, has ``..`` or NUL, is too long, or its links do not end.
        NotAllowedError: It cannot be looked at.

    Blocking: for the file system.
    """
    reason = _unfit(path)
    if reason:
        raise _escape(peer, action, path, reason)
    try:
        # Not strict: what is not there yet cannot be a link.
        real = os.path.realpath(path)
        # A loop is left as it stands, with a link in it: nothing is permitted below that.
        looped = any(above.is_symlink() for above in (Path(real), *Path(real).parents))
    except (OSError, ValueError) as error:
        raise NotAllowedError(machine=peer.name, action=action.value, place=path) from error
    if looped:
        raise _escape(peer, action, path, "its links lead in a circle")
    return Resolved(path, real)


def authorize(
    permissions: Permissions, peer: Peer, action: Action, place: Resolved | None = None
) -> Grant:
    """Say what a peer is granted; pure.

    Args:
        permissions: What is written.
        peer: Who asks, as its verified certificate says.
        action: What for.
        place: Where, for what concerns stores and paths.

    Raises:
        PathEscapeError: The path as asked is permitted, and leads elsewhere.
        NotAllowedError: No entry permits it.
    """
    entries = list(permissions.of(peer.name))
    if action in _FLAG:
        if any(_FLAG[action](entry) for entry in entries):
            return Grant()
        raise NotAllowedError(machine=peer.name, action=action.value)
    if place is None:
        raise NotAllowedError(machine=peer.name, action=action.value, place="without a place")
    places = list(_places(entries, action))
    exactly = action in _STORE
    for each in places:
        base = permissions.base(each)
        below = _below(base, place.real, exactly=exactly)
        if below is not None:
            return Grant(base=base, below=below)
    asked = os.path.normpath(place.asked)
    if any(_below(each.at, asked, exactly=exactly) is not None for each in places):
        raise _escape(peer, action, place.asked, "a link in it leads out")
    raise NotAllowedError(machine=peer.name, action=action.value, place=place.asked)


def allow(permissions: Permissions, peer: Peer, action: Action) -> None:
    """``authorize`` an action without a place, and log a refusal.

    Raises:
        NotAllowedError: No entry permits it.
    """
    try:
        authorize(permissions, peer, action)
    except NotAllowedError as error:
        _log(error)
        raise


def allow_path(
    permissions: Permissions, peer: Peer, action: Action, path: str, *, keeps_name: bool = False
) -> Grant:
    """``resolve`` and ``authorize`` a path, and log a refusal.

    Args:
        permissions: What is written.
        peer: Who asks.
        action: What for.
        path: Where, as it asked.
        keeps_name: What the path names is meant, be it a link, and not what a link leads to.  The
            grant has the same last component then, where that is permitted itself.

    Raises:
        PathEscapeError: The path leads out of where it may be.
        NotAllowedError: No entry permits it.

    Blocking: for the file system.
    """
    try:
        place = resolve(peer, action, path)
    except NotAllowedError as error:
        _log(error)
        raise
    grant = allow_resolved(permissions, peer, action, place)
    if not keeps_name:
        return grant
    above, name = os.path.split(os.path.normpath(path))
    named = Resolved(path, os.path.join(os.path.realpath(above), name))  # noqa: PTH118 - text
    try:
        return authorize(permissions, peer, action, named)
    except NotAllowedError:
        # A link beside what is permitted, that leads there: what it leads to is granted.
        return grant


def allow_resolved(permissions: Permissions, peer: Peer, action: Action, place: Resolved) -> Grant:
    """``authorize`` a path that was resolved, and log a refusal.

    Raises:
        PathEscapeError: The path as asked is permitted, and leads elsewhere.
        NotAllowedError: No entry permits it.
    """
    try:
        return authorize(permissions, peer, action, place)
    except NotAllowedError as error:
        _log(error)
        raise


def _unfit(path: str) -> str:
    if not path.startswith("/"):
        return "it is not absolute"
    if "\0" in path:
        return "it has a NUL"
    if len(path) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    if ".." in path.split("/"):
        return "it has .. in it"
    return ""


def _places(entries: Iterable[PeerEntry], action: Action) -> Iterable[Place]:
    for entry in entries:
        table, places = (_STORE, entry.store) if action in _STORE else (_PATH, entry.path)
        yield from (place for place in places if place.may in table[action])


def _below(base: str, path: str, *, exactly: bool) -> str | None:
    """Return ``path`` from ``base`` on; None when it is not there."""
    base = os.path.normpath(base)
    if path == base:
        return ""
    if exactly or not path.startswith(base.rstrip("/") + "/"):
        return None
    return path[len(base.rstrip("/")) + 1 :]


def _escape(peer: Peer, action: Action, path: str, reason: str) -> PathEscapeError:
    return PathEscapeError(
        machine=peer.name, action=action.value, place=path[:_LONGEST], reason=reason
    )


def _log(error: NotAllowedError) -> None:
    warn(
        "peer.refused",
        machine=error.machine,
        action=error.action,
        place=error.place,
        code=error.code,
    )
