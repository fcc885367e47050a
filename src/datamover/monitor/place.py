"""How a person names another machine, and a path there: ``[user@]host:path``.

    host:path   user@host:path   [2001:db8::1]:path   ssh://user@host:2222/path

What has a slash before its first colon is a path of this machine, as with scp and rsync.

Source: docs/reference/cli.md, "Places"; SPEC N9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from datamover.errors import UsageError

__all__ = ["Host", "Place", "parse_host", "parse_place"]

_URL: Final = "ssh://"
_PORTS: Final = range(1, 1 << 16)
_LONGEST: Final = 255
# What a shell, or an option, could be made of is no part of a name.
_USER: Final = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+\\@-]*\$?\Z")
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")
_V6: Final = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine as a person names it.

    Attributes:
        name: Of the machine, or its address, without brackets.
        user: Whose account; empty: who the remote shell takes.
        port: 0: the usual one.
    """

    name: str
    user: str = ""
    port: int = 0

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        user = f"{self.user}@" if self.user else ""
        return f"{user}{name}:{self.port}" if self.port else f"{user}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A path on a machine.

    Attributes:
        host: The machine; None: this one.
        path: There; empty: the home folder.
    """

    host: Host | None
    path: str

    def __str__(self) -> str:
        return self.path if self.host is None else f"{self.host}:{self.path}"


def parse_place(text: str) -> Place:
    """Read a place as a person writes it.

    Raises:
        UsageError: It names a machine, and not as one can be named.
    """
    if text.startswith(_URL):
        host, slash, path = text[len(_URL) :].partition("/")
        return Place(host=parse_host(host), path=slash + path)
    name, path = _cut(text)
    return Place(host=None if name is None else _host(name, port=0), path=path)


def parse_host(text: str) -> Host:
    """Read ``[user@]host[:port]``.

    Raises:
        UsageError: It is none.
    """
    name, _, port = text.rpartition(":")
    if not name or not port.isascii() or not port.isdigit() or (":" in name and name[-1] != "]"):
        return _host(text, port=0)
    if len(port) > len("65535") or int(port) not in _PORTS:
        raise UsageError(reason=f"no port: {port[:20]}")
    return _host(name, port=int(port))


def _cut(text: str) -> tuple[str | None, str]:
    """Return host, None for this machine, and path."""
    bracket = text.partition("@")[2] if "@" in text.partition("[")[0] else text
    if bracket.startswith("[") and "]:" in bracket:
        before, _, path = text.partition("]:")
        return f"{before}]", path
    host, colon, path = text.partition(":")
    return (host, path) if colon and "/" not in host else (None, text)


def _host(text: str, *, port: int) -> Host:
    user, _, name = text.rpartition("@")
    pattern = _NAME
    if name.startswith("[") and name.endswith("]"):
        name, pattern = name[1:-1], _V6
    if len(text) > _LONGEST or not pattern.match(name) or (user and not _USER.match(user)):
        raise UsageError(
            reason=f"no name of a machine: {text[:80]!r}; a path with a colon is written ./a:b"
        )
    return Host(name=name, user=user, port=port)
