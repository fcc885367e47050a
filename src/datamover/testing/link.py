"""A cable between two hosts: addresses at both ends, a rate, a plug that can be pulled.

    cable.address(host)     "10.77.1.2"
    cable.limit(200)        Mbit/s, each way
    cable.down(); cable.up()
    cable.lose(100)         per cent of the packets that arrive, at both ends, without a word

The rate is that of Ethernet frames without preamble: with an MTU of 1500, TCP payload is 0.956
of it, with 9000 it is 0.993.

Source: ip-link(8), tc-tbf(8), nft(8); SPEC G9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.testing.administer import administer

if TYPE_CHECKING:
    from datamover.testing.host import Host

__all__ = ["Link"]

# A queue of 30 ms, as routers have; a burst of 2 ms, so that few timer ticks fill the line.
_LATENCY_MS: Final = 30
_BURST_S: Final = 0.002
_BURST_MIN: Final = 32 * 1024


class Link:
    """A pair of connected interfaces of the same name, one on each of two hosts.

    Attributes:
        name: The interface's name, on both hosts.
        subnet: The network that both addresses are in.
    """

    def __init__(self, number: int, first: Host, second: Host, *, mtu: int) -> None:
        self.name = f"link{number}"
        self.subnet = f"10.77.{number}.0/24"
        self._ends = {first: f"10.77.{number}.1", second: f"10.77.{number}.2"}
        self._losing = False
        one, two = first.namespace, second.namespace
        peer = ("peer", "name", self.name, "netns", two)
        administer("ip", "-n", one, "link", "add", self.name, "type", "veth", *peer)
        for host, address in self._ends.items():
            self._ip(host, "address", "add", f"{address}/24", "dev", self.name)
            self._ip(host, "link", "set", "dev", self.name, "mtu", str(mtu), "up")

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts at its ends."""
        return tuple(self._ends)

    def address(self, host: Host) -> str:
        """Return the address of a host on this link."""
        return self._ends[host]

    def limit(self, mbit: float | None) -> None:
        """Set what each end may send, in Mbit/s, also while it sends; None takes the limit away."""
        for host in self._ends:
            if mbit is None:
                self._tc(host, "delete", "root")
                continue
            burst = max(_BURST_MIN, int(mbit * 1e6 / 8 * _BURST_S))
            rate = f"{int(mbit * 1000)}kbit"
            words = ("rate", rate, "burst", f"{burst}b", "latency", f"{_LATENCY_MS}ms")
            self._tc(host, "replace", "root", "handle", "1:", "tbf", *words)

    def down(self) -> None:
        """Pull the plug: both ends lose their carrier and what was queued."""
        self._ip(self.hosts[0], "link", "set", "dev", self.name, "down")

    def up(self) -> None:
        """Put the plug in again."""
        self._ip(self.hosts[0], "link", "set", "dev", self.name, "up")

    def lose(self, percent: float) -> None:
        """Drop so many per cent of the packets, at random; 100 swallows all, and the carrier stays.

        Raises:
            OSError: there is no nft, or the kernel cannot.
        """
        chance = f"numgen random mod 10000 < {round(percent * 100)}" if percent < 100 else ""
        what = f"iifname {self.name} {chance} drop"
        hook = "type filter hook prerouting priority raw;"
        table = f"table inet {self.name}"
        for host in self._ends:
            rules = f"delete {table}\n" if self._losing else ""
            if percent > 0:
                rules += f"{table} {{ chain arrives {{ {hook} {what}; }}; }}\n"
            administer("ip", "netns", "exec", host.namespace, "nft", "-f", "-", given=rules)
        self._losing = percent > 0

    def received(self, host: Host) -> int:
        """Bytes that arrived at a host, headers included."""
        return host.traffic()[self.name][0]

    def sent(self, host: Host) -> int:
        """Bytes that a host sent, headers included."""
        return host.traffic()[self.name][1]

    def _ip(self, host: Host, *words: str) -> None:
        administer("ip", "-n", host.namespace, *words)

    def _tc(self, host: Host, verb: str, *words: str) -> None:
        administer("tc", "-n", host.namespace, "qdisc", verb, "dev", self.name, *words)
