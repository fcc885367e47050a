"""What people call other machines, and where those are: hosts.toml.

    [[host]]
    name = "vault"                        as its certificate has it
    aliases = ["v", "10.0.0.5"]           what may be typed instead
    addresses = ["10.0.0.5", "[2001:db8::5]:14747"]

Source: docs/spec/trust.md, section 11; ssh_config(5), HostName and HostKeyAlias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from datamover.errors import MalformedError, UsageError
from datamover.link.address import DEFAULT_PORT, Address
from datamover.link.durable import read_file
from datamover.link.peer import check_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KnownHost", "known_host"]

_FILE: Final = "hosts.toml"
_MOST: Final = 1024 * 1024
_Typed = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class KnownHost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine.

    Attributes:
        name: As its certificate has it.
        aliases: What may be typed instead, addresses too.
        addresses: Where its daemon is, tried in this order; empty: at what was typed.
    """

    name: _Typed
    aliases: tuple[_Typed, ...] = ()
    addresses: tuple[_Typed, ...] = ()

    def places(self, typed: str, port: int = 0) -> list[Address]:
        """Return where to dial.

        Args:
            typed: What a person called it, for where no address is known.
            port: What a person typed; 0: that of the address, or the usual.

        Raises:
            UsageError: An address is none.
        """
        if not self.addresses:
            return [Address(typed, port or DEFAULT_PORT)]
        found = [Address.parse(one) for one in self.addresses]
        return [Address(one.host, port) for one in found] if port else found


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    host: tuple[KnownHost, ...] = ()


def known_host(configuration: Path, typed: str) -> KnownHost:
    """Return the machine that a person means; one that no entry is about is called as typed.

    Raises:
        MalformedError: The file says what cannot be understood, or two entries have the name.
        OSError: It cannot be read.
    """
    path = configuration / _FILE
    meant = typed.lower()
    try:
        data = read_file(path, most=_MOST, secret=False)
    except FileNotFoundError:
        return KnownHost(name=meant)
    try:
        found = msgspec.toml.decode(data.decode(), type=_File).host
        for one in found:
            check_name(one.name)
            one.places(one.name)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError, UsageError) as error:
        raise MalformedError(what=str(path), reason=str(error)) from None
    fitting = [one for one in found if meant in {one.name, *(a.lower() for a in one.aliases)}]
    if len(fitting) > 1:
        names = " and ".join(one.name for one in fitting)
        raise MalformedError(what=str(path), reason=f"{meant} is {names}")
    return fitting[0] if fitting else KnownHost(name=meant)
