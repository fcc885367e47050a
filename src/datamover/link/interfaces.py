"""This machine's network interfaces, and which of another's addresses is behind each.

Source: netdevice(7); SPEC N3 (parallel paths and interfaces), X15.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Interface", "facing", "interfaces"]

_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B
_REQUEST: Final = struct.Struct("16s24x")
_ADDRESS: Final = slice(20, 24)
_V6: Final = Path("/proc/net/if_inet6")
_V6_FIELDS: Final = 6
_V6_LINK: Final = 0x20

Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one interface, with the network that it is on."""

    name: str
    address: Network


def interfaces() -> list[Interface]:
    """Return the addresses of this machine, but those of its own loopback and of single links."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        for _, name in socket.if_nameindex():
            try:
                address = _asked(asking, name, _SIOCGIFADDR)
                mask = _asked(asking, name, _SIOCGIFNETMASK)
            except OSError:
                continue  # an interface without an address
            one = ipaddress.IPv4Interface(f"{address}/{mask}")
            if not one.is_loopback:
                found.append(Interface(name, one))
    return [*found, *_v6()]


def facing(via: str, ours: Iterable[Interface], theirs: Sequence[str]) -> str | None:
    """Return the address of another machine that is on the network of an interface of ours.

    Args:
        via: One of our addresses, or the name of one of our interfaces.
        ours: From ``interfaces``.
        theirs: Addresses of the other machine.

    Returns:
        None when none of them is on that network.
    """
    for one in ours:
        if via in {one.name, str(one.address.ip)}:
            for their in theirs:
                try:
                    if ipaddress.ip_address(their) in one.address.network:
                        return their
                except ValueError:
                    continue  # what a newer release says, or a hostile one
    return None


def _asked(asking: socket.socket, name: str, what: int) -> str:
    answer = fcntl.ioctl(asking.fileno(), what, _REQUEST.pack(name.encode()[:15]))
    return socket.inet_ntoa(answer[_ADDRESS])


def _v6() -> list[Interface]:
    try:
        lines = _V6.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) != _V6_FIELDS or int(fields[3], 16) & _V6_LINK:
            continue
        address = ipaddress.IPv6Address(bytes.fromhex(fields[0]))
        one = ipaddress.IPv6Interface((address, int(fields[2], 16)))
        if not one.is_loopback:
            found.append(Interface(fields[5], one))
    return found
