"""The monitor as a daemon (Master_Monitor): it waits for whoever wants a pipe here.

    start   one copy only, the dead swept, listening, READY=1
    run     conversations and enrolments; the certificate is renewed in time
    SIGHUP  the identity is read again: who became a member listens from now on
    SIGTERM listens no more, takes no new pipes; those that run may finish, for a time

Source: seed, "Master_Monitor" (90); SPEC C1, C2, C18, C19; DESIGN D7, D14.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError
from datamover.link.address import DEFAULT_PORT, Address
from datamover.link.credentials import is_enrolled
from datamover.link.door import hand_over
from datamover.link.enrolment_server import serve_enrolment
from datamover.link.events import tell, warn
from datamover.link.identity import Identity
from datamover.link.peer import Peer
from datamover.link.tls import FLEET
from datamover.monitor.controllers import Controllers
from datamover.monitor.jobs import Jobs
from datamover.monitor.listener import Listener
from datamover.monitor.membership import keep_membership, revoked_serials
from datamover.monitor.notify import notify, watchdog_s
from datamover.monitor.patience import PATIENCE, Patience
from datamover.monitor.permit import Everything, Permit, Who
from datamover.monitor.runtime import lock, monitor_socket, process_of, sweep
from datamover.monitor.serve import Hub, converse
from datamover.monitor.worker import Service

if TYPE_CHECKING:
    import socket

    from datamover.link.acceptance import Accepted
    from datamover.monitor.supervisor import Monitor

__all__ = ["Options", "run_daemon"]

_EVERYWHERE: Final = (
    Address("0.0.0.0", DEFAULT_PORT),  # noqa: S104 - who gets in proves who it is
    Address("::", DEFAULT_PORT),
)
_NO_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""A machine without IPv6."""
_TICK_S: Final = 0.1
_LAST_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the daemon runs.

    Attributes:
        runtime: The folder of its sockets.
        configuration: The folder of this machine's identity.
        listen: Addresses for other machines, once this one is a member of a fleet; empty: all.
        drain_s: How long pipes may go on when it is to end.
        patience: How long silence is borne.
        permit_of: What a member may do.
        service_of: What is served beside pipes, to a member, or (None) to the user.
        controller: The command of a process that leads one pipe, or does one job.
        state: The folder of what outlives this process.
    """

    runtime: Path
    configuration: Path
    permit_of: Callable[[Peer], Permit]
    service_of: Callable[[Peer | None], Service]
    controller: Sequence[str]
    state: Path
    listen: Sequence[Address] = ()
    drain_s: float = 60.0
    patience: Patience = field(default=PATIENCE)


def run_daemon(monitor: Monitor, options: Options) -> None:
    """Serve until SIGTERM or SIGINT, and then until the pipes have ended.

    Raises:
        RunningError: There is one for this user already.
        DataMoverError: The identity cannot be used.
        OSError: An address cannot be listened to.

    Blocking: until then.
    """
    with lock(options.runtime):
        for name in sweep(options.runtime):
            tell("monitor.swept", socket=name)
        asyncio.run(_Daemon(monitor, options).run())


class _Daemon:
    def __init__(self, monitor: Monitor, options: Options) -> None:
        self._options = options
        self._monitor = monitor
        self._ends = asyncio.Event()
        self._reads_again = asyncio.Event()
        self._is_member = self._is_hurried = False
        self._members: dict[asyncio.Task[None], int] = {}
        self._controllers = Controllers(options.controller)
        self._jobs = Jobs(
            monitor=monitor,
            command=options.controller,
            folder=options.state / "jobs",
            runtime=options.runtime,
        )

    async def run(self) -> None:
        options = self._options
        listener = Listener(self, options.configuration, patience=options.patience)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reads_again.set)
        with Hub(self._monitor) as self._hub:
            try:
                listener.listen_unix(monitor_socket(options.runtime))
                self._join_in(listener)
                tell("monitor.started", pid=os.getpid(), runtime=options.runtime)
                notify("READY=1")
                self._jobs.resume()
                async with asyncio.TaskGroup() as chores:
                    mine = [
                        chores.create_task(self._tell_watchdog()),
                        chores.create_task(self._read_again(listener)),
                        chores.create_task(
                            keep_membership(options.configuration, self._reads_again.set)
                        ),
                    ]
                    await self._ends.wait()
                    await self._drain(listener)
                    for chore in mine:
                        chore.cancel()
            finally:
                listener.close()
                await listener.dismiss()
                monitor_socket(options.runtime).unlink(missing_ok=True)
        tell("monitor.ended", pid=os.getpid())

    def _end(self) -> None:
        """Drain; told so once more, do not wait for what runs."""
        self._is_hurried = self._ends.is_set()
        self._ends.set()

    # ---- who came in

    async def serve_user(self, connection: socket.socket, user: int) -> None:
        """See ``Handlers``."""
        who = Who(name=f"user {user}", permit=Everything(), pid=process_of(connection))
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        await self._converse(reader, writer, who, None)

    async def serve_secure(self, accepted: Accepted) -> None:
        """See ``Handlers``."""
        if accepted.protocol == FLEET:
            await serve_enrolment(accepted, self._options.configuration)
            return
        assert accepted.peer is not None  # noqa: S101 - a member, or it would not be accepted
        who = Who(name=accepted.peer.name, permit=self._options.permit_of(accepted.peer))
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._members[task] = _serial_of(accepted.writer)
        try:
            await self._converse(accepted.reader, accepted.writer, who, accepted.peer)
        finally:
            del self._members[task]

    async def serve_path(self, connection: socket.socket, hello: bytes) -> None:
        """See ``Handlers``."""
        runtime = str(self._options.runtime)
        with connection:
            door = await asyncio.to_thread(hand_over, runtime, hello, [connection.fileno()])
            door.close()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        who: Who,
        peer: Peer | None,
    ) -> None:
        tell("peer.came", who=who.name)
        ended = await converse(
            reader,
            writer,
            hub=self._hub,
            who=who,
            service=self._options.service_of(peer),
            initiator=self._controllers if peer is None else None,
            jobs=self._jobs if peer is None else None,
            runtime=self._options.runtime,
            patience=self._options.patience,
        )
        tell("peer.went", who=who.name, reason=ended)

    # ---- chores

    def _join_in(self, listener: Listener) -> None:
        """Listen to other machines, if this one is a member of a fleet."""
        if self._is_member or not is_enrolled(self._options.configuration):
            return
        identity = Identity.load(self._options.configuration)
        if self._options.listen:
            places = listener.listen_tcp(self._options.listen)
        else:
            places = _listen_everywhere(listener)
        self._is_member = True
        tell("monitor.listens", machine=identity.peer.name, at=",".join(places))

    async def _read_again(self, listener: Listener) -> None:
        while True:
            await self._reads_again.wait()
            self._reads_again.clear()
            try:
                self._join_in(listener)
                self._shut_out()
                tell("monitor.read-again")
            except (DataMoverError, OSError) as error:
                warn("monitor.not-read", reason=error)

    def _shut_out(self) -> None:
        """End the conversations with machines that were revoked meanwhile."""
        revoked = revoked_serials(self._options.configuration) if self._members else frozenset()
        for task, serial in list(self._members.items()):
            if serial in revoked:
                warn("peer.shut-out", serial=f"{serial:x}")
                task.cancel()

    async def _tell_watchdog(self) -> None:
        period = watchdog_s()
        while period is not None:
            notify("WATCHDOG=1")
            await asyncio.sleep(period / 2)

    async def _drain(self, listener: Listener) -> None:
        notify("STOPPING=1")
        pipes = len(self._monitor.pipes) + len(self._controllers)
        tell("monitor.drains", pipes=pipes, seconds=self._options.drain_s)
        listener.close()
        self._hub.drain()
        await self._jobs.end()
        until = time.monotonic() + self._options.drain_s
        while self._runs_some() and time.monotonic() < until and not self._is_hurried:
            await asyncio.sleep(_TICK_S)
        for pipe in self._monitor.pipes:
            pipe.stop("the monitor, which ends")
        await self._controllers.end("the monitor, which ends")
        until = time.monotonic() + _LAST_S
        while self._monitor.pipes and time.monotonic() < until:
            await asyncio.sleep(_TICK_S)

    def _runs_some(self) -> bool:
        return bool(self._monitor.pipes or len(self._controllers))


def _listen_everywhere(listener: Listener) -> list[str]:
    """Listen at every address of every family that the machine has."""
    found: list[str] = []
    for address in _EVERYWHERE:
        try:
            found += listener.listen_tcp([address])
        except OSError as error:
            if error.errno not in _NO_FAMILY or address is _EVERYWHERE[0]:
                raise
    return found


def _serial_of(writer: asyncio.StreamWriter) -> int:
    """Return the number of the certificate at the other end."""
    return int(writer.get_extra_info("peercert")["serialNumber"], 16)
