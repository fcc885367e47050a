"""Permissions: what is written about peers, in peers.toml and peers.d.

All entries that fit a machine's name add up; what none permits is refused, so a machine without
these files permits nothing.

Source: docs/spec/trust.md, section 8; DESIGN D14.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from datamover.errors import MalformedError, UsageError
from datamover.link.durable import PUBLIC, make_folder, read_file, remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "May",
    "PeerEntry",
    "Permissions",
    "Place",
    "forget_grants",
    "keep_grants",
    "parse_grant",
]

May = Literal["read", "append", "write"]

_MOST: Final = 1024 * 1024
_FLAGS: Final = ("extend", "attach", "status", "stop")
_PATTERN: Final = r"^[a-z0-9.*?-]{1,63}$"
_AT: Final = r"^/[^\x00]*$"
_GRANT: Final = re.compile(r"(store|path):(read|append|write):(/[^\x00]*)")


class Place(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A store, or a folder and all below."""

    at: Annotated[str, msgspec.Meta(pattern=_AT)]
    may: May


class PeerEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What machines of one name or pattern may do here.

    Attributes:
        machine: A name, or a pattern with ``*`` and ``?``.
        extend: May run parts of its pipes here.
        attach: May attach programs to pipes here.
        status: May see all pipes of this machine.
        stop: May stop and limit pipes that are not its own.
    """

    machine: Annotated[str, msgspec.Meta(pattern=_PATTERN)]
    extend: bool = False
    attach: bool = False
    status: bool = False
    stop: bool = False
    store: tuple[Place, ...] = ()
    path: tuple[Place, ...] = ()

    def fits(self, name: str) -> bool:
        """Whether the entry is about this machine."""
        parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in self.machine)
        return re.fullmatch("".join(parts), name) is not None


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    peer: tuple[PeerEntry, ...] = ()


class Permissions(msgspec.Struct, frozen=True):
    """All entries of this machine.

    Attributes:
        entries: In the order of the files.
        real: Where the places lead that are links, or are below one.
    """

    entries: tuple[PeerEntry, ...] = ()
    real: dict[str, str] = {}

    @classmethod
    def load(cls, configuration: Path) -> Permissions:
        """Read peers.toml and the files of peers.d; none of them is none of permissions.

        Raises:
            MalformedError: A file says nothing that can be understood; names file, line or field.
            OSError: A file cannot be read.
        """
        found: list[PeerEntry] = []
        for path in _files(configuration):
            try:
                data = read_file(path, most=_MOST, secret=False)
            except FileNotFoundError:
                continue
            found += parse_permissions(data, what=str(path)).entries
        # What a person named may be a link; what a peer asks for is compared without links.
        places = (place.at for entry in found for place in (*entry.store, *entry.path))
        return cls(tuple(found), {at: os.path.realpath(at) for at in places})

    def of(self, name: str) -> Iterator[PeerEntry]:
        """Yield the entries that fit a machine."""
        return (entry for entry in self.entries if entry.fits(name))

    def base(self, place: Place) -> str:
        """Return the folder that a place means, without links."""
        return self.real.get(place.at) or os.path.normpath(place.at)


def parse_permissions(data: bytes, *, what: str = "peers.toml") -> Permissions:
    """Read one file of permissions.

    Raises:
        MalformedError: Names the line, or the field.
    """
    try:
        text = data.decode()
        return Permissions(msgspec.toml.decode(text, type=_File).peer)
    except UnicodeDecodeError as error:
        raise MalformedError(what=what, reason=f"byte {error.start} is not UTF-8") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedError(what=what, reason=str(error)) from None


def parse_grant(text: str) -> tuple[str, Place | None]:
    """Read one grant of an invitation: ``store:MAY:PATH``, ``path:MAY:PATH``, or a word.

    Raises:
        UsageError: It is none.
    """
    if text in _FLAGS:
        return text, None
    found = _GRANT.fullmatch(text)
    if found is None or not text.isprintable():
        words = ", ".join(_FLAGS)
        raise UsageError(
            reason=f"not a grant: {text[:80]!r}, use {words}, "
            "or store:MAY:PATH or path:MAY:PATH with read, append or write"
        )
    return found[1], msgspec.convert({"at": found[3], "may": found[2]}, Place)


def keep_grants(configuration: Path, name: str, grants: Sequence[str]) -> None:
    """Write what an invitation permits to the machine that used it; none removes an old file.

    Raises:
        UsageError: A grant is none.
        OSError: The system refuses.
    """
    path = _grants_file(configuration, name)
    if not grants:
        remove_file(path)
        return
    lines = ["# written by `datamover fleet invite --allow`", "[[peer]]", f'machine = "{name}"']
    given = [parse_grant(grant) for grant in grants]
    lines += sorted({f"{word} = true" for word, place in given if place is None})
    for word, place in given:
        if place is not None:
            # JSON's text is TOML's, but for the one control character that it leaves alone.
            at = json.dumps(place.at, ensure_ascii=False).replace("\x7f", "\\u007f")
            lines += ["", f"[[peer.{word}]]", f"at = {at}", f'may = "{place.may}"']
    make_folder(path.parent, mode=0o755)
    data = "\n".join(lines).encode() + b"\n"
    parse_permissions(data, what=str(path))
    replace_file(path, data, mode=PUBLIC)


def forget_grants(configuration: Path, name: str) -> None:
    """Remove what an invitation permitted to a machine.

    Raises:
        OSError: The system refuses.
    """
    remove_file(_grants_file(configuration, name))


def _grants_file(configuration: Path, name: str) -> Path:
    return configuration / "peers.d" / f"{name}.toml"


def _files(configuration: Path) -> list[Path]:
    return [configuration / "peers.toml", *sorted((configuration / "peers.d").glob("*.toml"))]
