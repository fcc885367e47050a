"""A line of any length between two hosts, that their programs know nothing of.

    line = network.long_line(source, destination, delay_ms=25, mbit=400, window=1 << 20)
    source.run(["datamover", "copy", "data", f"{line.address(destination)}:/srv/data"])
    line.proxy.cut(); line.proxy.resume()

Between the two is a third host that forwards what they send each other; every TCP connection
through it goes, whatever its port, through a ``DelayProxy`` there.  The far side sees the address
of the host in the middle.

Source: nft(8), "redirect"; SPEC G9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from datamover.testing.administer import administer
from datamover.testing.delay import DelayProxy

if TYPE_CHECKING:
    from datamover.testing.host import Host
    from datamover.testing.link import Link

__all__ = ["LongLine"]

_RULES: Final = """
table ip line {{ chain arrives {{
    type nat hook prerouting priority dstnat;
    ip protocol tcp fib daddr type != local redirect to :{port};
}}; }}
"""


class LongLine:
    """Two links with a host in the middle; ``Network.long_line`` makes it.

    Args:
        near: from the first host to the one in the middle.
        far: from there to the second host.
        settings: see ``LineSettings``.

    Attributes:
        name: What the host in the middle is called.
        proxy: The line itself, which can be paused, cut, mended and changed.
        middle: The host in the middle.
    """

    def __init__(self, near: Link, far: Link, **settings: Any) -> None:  # noqa: ANN401
        (first, middle), (_, second) = near.hosts, far.hosts
        self.middle = middle
        self.name = middle.name
        self._links = {first: near, second: far}
        middle.run(["/bin/sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        for host, here, there in ((first, near, far), (second, far, near)):
            way = ("via", here.address(middle), "dev", here.name)
            administer("ip", "-n", host.namespace, "route", "add", there.subnet, *way)
        self.proxy = DelayProxy(
            "",
            0,
            listen="0.0.0.0",  # noqa: S104  on a host of its own
            prefix=middle.prefix,
            turned=far.address(second),
            **settings,
        )

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts at its ends."""
        return tuple(self._links)

    def start(self) -> None:
        """Start the proxy and send all connections through it."""
        self.proxy.__enter__()
        rules = _RULES.format(port=self.proxy.port)
        inside = ("netns", "exec", self.middle.namespace)
        administer("ip", *inside, "nft", "-f", "-", given=rules)

    def address(self, host: Host) -> str:
        """Return the address of either host on this line."""
        return self._links[host].address(host)
