"""Several machines on one: network namespaces with cables between them.

    with Network("source", "destination") as network:
        source, destination = network.hosts
        first = network.connect(source, destination, mbit=200)
        second = network.connect(source, destination, mbit=100)
        source.run(["datamover", "copy", "data", "destination:/srv/data"])
        first.down()

A host resolves the names of its neighbours; ``destination`` is the address on the first link,
``destination.link2`` that on the second.  The names of the namespaces hold the number of the
process that made them: a later run removes what a killed one left.

Source: ip-netns(8); SPEC G9; CONTRIBUTING.md, "Two machines on one".
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from datamover.testing.ability import Ability
from datamover.testing.administer import administer, tool
from datamover.testing.host import Host
from datamover.testing.link import Link
from datamover.testing.long_line import LongLine
from datamover.testing.remote_shell import Reached, remote_shell

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Network", "hosts_available"]

_MARK: Final = "dmtest"
_NUMBERS: Final = itertools.count(1)
# ``ip netns exec`` mounts what lies here over /etc.
_ETC: Final = Path("/etc/netns")


class Network:
    """Hosts and the links between them, from ``with`` to its end.

    Args:
        names: the hosts.

    Attributes:
        hosts: The hosts, in the order of their names.
        links: The links, in the order they were made.
        lines: The long lines, likewise.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self.folder = Path()
        self.hosts: tuple[Host, ...] = ()
        self.links: list[Link] = []
        self.lines: list[LongLine] = []
        self._middles: list[Host] = []
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Make the hosts.

        Raises:
            OSError: it is not permitted; nothing is left.
        """
        _sweep()
        # Not below the test's own folder: the paths of Unix sockets are short.
        self.folder = Path(tempfile.mkdtemp(prefix="dm-hosts-"))
        self._mark = f"{_MARK}-{os.getpid()}-{next(_NUMBERS)}"
        try:
            for name in self._names:
                self.hosts = (*self.hosts, self._new(name))
            self._tell_names()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(
        self, first: Host, second: Host, *, mbit: float | None = None, mtu: int = 1500
    ) -> Link:
        """Put one more cable between two hosts.

        Args:
            first: one end.
            second: the other.
            mbit: what each end may send, in Mbit/s; None for as fast as it goes.
            mtu: bytes of the largest packet.
        """
        link = Link(len(self.links) + 1, first, second, mtu=mtu)
        self.links.append(link)
        if mbit is not None:
            link.limit(mbit)
        self._tell_names()
        return link

    def long_line(self, first: Host, second: Host, **settings: Any) -> LongLine:  # noqa: ANN401
        """Put a line of a certain delay, rate and loss between two hosts.

        Args:
            first: one end.
            second: the other.
            settings: see ``LineSettings``.
        """
        middle = self._new(f"line{len(self._middles) + 1}")
        self._middles.append(middle)
        near, far = self.connect(first, middle), self.connect(middle, second)
        line = LongLine(near, far, **settings)
        line.start()
        self._closing.push(line.proxy)
        self.lines.append(line)
        self._tell_names()
        return line

    def remote_shell(self, *, log: Path | None = None) -> str:
        """Return what to give as ``--rsh``, to reach any host by its name."""
        hosts = {
            host.name: Reached(
                prefix=host.prefix,
                folder=host.environment["HOME"],
                environment=host.environment,
            )
            for host in self.hosts
        }
        return remote_shell(self.folder / "reached.json", hosts, log=log)

    def close(self) -> None:
        """End every process of every host and remove all that was made."""
        self._closing.close()
        for host in (*self.hosts, *self._middles):
            host.stop()
            shutil.rmtree(_ETC / host.namespace, ignore_errors=True)
        with suppress(OSError):
            _ETC.rmdir()  # only when nobody else uses it
        shutil.rmtree(self.folder, ignore_errors=True)

    def _new(self, name: str) -> Host:
        host = Host(name, f"{self._mark}-{name}", self.folder / name)
        try:
            host.start()
            (_ETC / host.namespace).mkdir(parents=True, exist_ok=True)
        except BaseException:
            host.stop()
            raise
        return host

    def _tell_names(self) -> None:
        for host in self.hosts:
            lines = ["127.0.0.1 localhost", f"127.0.0.1 {host.name}", *self._neighbours(host)]
            # Written in place: processes that run already see this very file.
            (_ETC / host.namespace / "hosts").write_text("\n".join(lines) + "\n")

    def _neighbours(self, host: Host) -> Iterator[str]:
        known: set[str] = set()
        ways: list[Link | LongLine] = [*self.links, *self.lines]
        for way in ways:
            if host not in way.hosts:
                continue
            for other in way.hosts:
                if other is not host:
                    first = "" if other.name in known else other.name
                    known.add(other.name)
                    yield f"{way.address(other)} {first} {other.name}.{way.name}"


@functools.cache
def hosts_available() -> Ability:
    """Whether this process may make hosts; made sure of by making one."""
    for name in ("ip", "tc", "unshare", "nft"):
        if not tool(name):
            return Ability(f"no {name} here: scripts/test-hosts-setup installs it")
    if os.geteuid() != 0:
        return Ability("only root can make network namespaces")
    try:
        with Network("probe") as network:
            network.hosts[0].run(["true"])
    except (OSError, AssertionError) as error:
        return Ability(f"network namespaces are not permitted here: {error}")
    return Ability()


def _sweep() -> None:
    """Remove what processes left behind that live no longer."""
    for line in administer("ip", "netns", "list").splitlines():
        name = line.split()[0]
        mark, _, rest = name.partition("-")
        maker = rest.partition("-")[0]
        if mark == _MARK and maker.isdigit() and not Path(f"/proc/{maker}").exists():
            Host("", name, Path()).stop()
            shutil.rmtree(_ETC / name, ignore_errors=True)
