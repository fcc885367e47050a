"""The daemon: one for each user, for members only, undisturbed by whoever else comes.

Every daemon is a process of its own, in folders of its own, on loopback.
SPEC C1, C2, C11, C15-C19; docs/spec/control-protocol.md, section 1.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datamover.errors import (
    DistrustError,
    PeerLostError,
    PeerRefusedError,
    PeerUnreachableError,
)
from datamover.link.address import Address
from datamover.link.authority import Authority
from datamover.link.founding import found, revoke
from datamover.link.identity import Identity
from datamover.link.join import join
from datamover.link.tls import client_context
from datamover.monitor.place import Host
from datamover.monitor.plan import plain_of
from datamover.monitor.reach import Means, reach
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.testing.daemon import Daemon, gone, until
from datamover.wire.control import HEADER, encode
from datamover.wire.message import (
    AskStatus,
    Done,
    Extended,
    ExtendPipe,
    Hello,
    PipeEnded,
    Status,
    StopPipe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.monitor.peer import Peer

# ruff: noqa: ARG001 - "fleet" makes the daemon's machine a member before it starts
pytestmark = [pytest.mark.processes, pytest.mark.slow]
BOUND_S = 15.0
NAME = "localhost"
ENDLESS = PipeSpec(
    name="endless",
    stages=[StageSpec(use="read", settings={"path": "/dev/zero"}), StageSpec(use="discard")],
    buffers=8,
    buffer_size=65536,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    running: list[Daemon] = []

    def start(*options: str, **more) -> Daemon:
        running.append(Daemon(tmp_path, *options, **more))
        running[-1].wait_event("monitor.started")
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """The daemon's machine is the authority of a fleet, and its name is what it answers to."""
    (tmp_path / "run").mkdir(mode=0o700)
    found(tmp_path / "config", NAME)
    (tmp_path / "config" / "peers.toml").write_text(
        '[[peer]]\nmachine = "near"\nextend = true\nstatus = true\n'
        '[[peer.path]]\nat = "/dev/zero"\nmay = "read"\n'
    )
    return tmp_path


def member(fleet: Path, daemon: Daemon, name: str = "near") -> Path:
    """Make another machine a member, through the daemon, and return its configuration."""
    at = Address("127.0.0.1", daemon.port)
    token = Authority.open(fleet / "config").invite(name=name, addresses=[at])
    join(token, fleet / name, name=name)
    return fleet / name


def dial(configuration: Path, daemon: Daemon) -> Peer:
    means = Means(rsh=(), configuration=configuration)
    return reach(Host(name=NAME, port=daemon.port), means=means).peer


def test_a_member_is_reached_by_an_alias_where_its_address_is_known(start, fleet: Path) -> None:
    daemon = start()
    near = member(fleet, daemon)
    known = '[[host]]\nname = "{}"\naliases = ["vault"]\naddresses = ["127.0.0.1:{}"]\n'
    (near / "hosts.toml").write_text(known.format(NAME, daemon.port))
    means = Means(rsh=(), configuration=near)
    with reach(Host(name="Vault"), means=means).peer as peer:
        extend(peer)
    (near / "hosts.toml").write_text(known.format("other", daemon.port))
    with pytest.raises(DistrustError):
        reach(Host(name="vault"), means=means)


def extend(peer: Peer, spec: PipeSpec = ENDLESS, pipe: str = "p") -> None:
    message = ExtendPipe(request=0, pipe=pipe, part=1, spec=plain_of(spec))
    peer.ask(message, kind=Extended, timeout=BOUND_S)


def pipes(peer: Peer):
    return peer.ask(AskStatus(request=0), kind=Status, timeout=BOUND_S).pipes


def say_and_wait(connection: socket.socket, said: bytes) -> None:
    with suppress(OSError):  # it may have been closed already
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
    wait_closed(connection)


def wait_closed(connection: socket.socket) -> None:
    connection.settimeout(BOUND_S + 5)
    with suppress(ConnectionError, ssl.SSLError):
        while connection.recv(1000):
            continue


# ---- one of it, and its end


def test_a_fork_server_stands_ready_before_anybody_comes(start, fleet) -> None:
    daemon = start(environment={"DATAMOVER_PASSPHRASE": "open sesame"})
    pid = daemon.process.pid
    (server,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    until(lambda: Path(f"/proc/{server}/comm").read_text() == "dm:forkserver\n", "its name")
    words = Path(f"/proc/{server}/cmdline").read_bytes()

    assert words == Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"open sesame" not in Path(f"/proc/{server}/environ").read_bytes()


def test_a_second_copy_is_refused_and_the_first_goes_on(start) -> None:
    daemon = start()
    second = subprocess.run(
        [sys.executable, "-m", "datamover", "monitor"],
        env={
            **os.environ,
            "DATAMOVER_CONFIG": str(daemon.configuration),
            "DATAMOVER_RUNTIME": str(daemon.runtime),
        },
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert second.returncode == 69
    assert f"a monitor runs here already: process {daemon.process.pid}" in second.stderr.decode()
    with daemon.local() as peer:
        assert pipes(peer) == []


def test_after_a_kill_the_next_one_starts_and_removes_what_was_left(start, tmp_path: Path) -> None:
    first = start()
    first.process.kill()
    first.process.wait()
    (first.runtime / "pipes").mkdir(exist_ok=True)
    for left in (first.runtime / "pipes/999999.sock", first.runtime / f"door-{'ab' * 16}"):
        kind = socket.SOCK_STREAM if left.suffix else socket.SOCK_SEQPACKET
        with socket.socket(socket.AF_UNIX, kind) as dead:
            dead.bind(str(left))
        os.utime(left, (0, 0))
    second = Daemon(tmp_path)
    try:
        second.wait_event("monitor.started", 2)

        assert {one["socket"] for one in second.events("monitor.swept")} == {
            "999999.sock",
            f"door-{'ab' * 16}",
        }
        with second.local() as peer:
            assert pipes(peer) == []
    finally:
        second.end()
    assert not (second.runtime / "monitor.sock").exists()


def test_it_drains_what_runs_finishes_and_nothing_new_begins(start, tmp_path: Path) -> None:
    daemon = start("--drain", "30")
    os.mkfifo(tmp_path / "fifo")
    spec = PipeSpec(
        name="slow",
        stages=[
            StageSpec(use="read", settings={"path": str(tmp_path / "fifo")}),
            StageSpec(use="write", settings={"path": str(tmp_path / "out")}),
        ],
    )
    with daemon.local() as peer:
        message = ExtendPipe(request=0, pipe="p", part=1, spec=plain_of(spec))
        number = peer.post(message)
        with (tmp_path / "fifo").open("wb") as source:
            until(
                lambda: [
                    one
                    for one in peer.receive()
                    if one == Extended(request=number, pipe="p", part=1)
                ]
            )
            daemon.process.terminate()
            daemon.wait_event("monitor.drains")
            with pytest.raises(PeerRefusedError, match="takes no new pipes"):
                extend(peer, pipe="q")
            with pytest.raises(PeerUnreachableError):
                daemon.local()
            source.write(b"the rest")
        ended = until(lambda: [one for one in peer.receive() if isinstance(one, PipeEnded)])[0]

    assert ended.how == "finished"
    assert (tmp_path / "out").read_bytes() == b"the rest"
    assert daemon.process.wait(BOUND_S) == 0


def test_what_does_not_finish_while_it_drains_is_stopped(start) -> None:
    daemon = start("--drain", "0.2")
    with daemon.local() as peer:
        extend(peer)
        (account,) = pipes(peer)
        tasks = [one.pid for stage in account.parts[0].stages for one in stage.instances]
        daemon.process.terminate()
        ended = until(lambda: [one for one in peer.receive() if isinstance(one, PipeEnded)])[0]

        assert ended.how == "stopped"
    assert daemon.process.wait(BOUND_S) == 0
    assert all(map(gone, tasks))


def test_who_says_it_twice_does_not_want_to_wait(start) -> None:
    daemon = start("--drain", "60")
    with daemon.local() as peer:
        extend(peer)
        daemon.process.terminate()
        daemon.wait_event("monitor.drains")
        daemon.process.terminate()
        assert daemon.process.wait(BOUND_S) == 0


def test_killing_the_fork_server_ends_its_pipes_and_the_next_one_runs(start) -> None:
    daemon = start()
    with daemon.local() as peer:
        extend(peer)
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
        (server,) = map(int, children.read_text().split())
        os.kill(server, signal.SIGKILL)
        ended = until(lambda: [one for one in peer.receive() if isinstance(one, PipeEnded)])[0]

        assert ended.how == "failed"
        extend(peer, pipe="q")
        assert [one.pipe for one in pipes(peer)] == ["q"]


def test_the_service_manager_hears_ready_alive_and_stopping(start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(BOUND_S)
        daemon = start(
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        )

        assert manager.recv(100) == b"READY=1"
        begin = time.monotonic()
        assert [manager.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        assert time.monotonic() - begin < 5 * 0.1
        daemon.process.terminate()
        while (state := manager.recv(100)) == b"WATCHDOG=1":
            continue
        assert state == b"STOPPING=1"
        assert daemon.process.wait(BOUND_S) == 0


# ---- who may come


def test_a_member_runs_a_pipe_here_and_others_see_it(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)
    with dial(near, daemon) as peer, daemon.local() as local:
        extend(peer)
        (account,) = pipes(peer)

        assert account.by == "near"
        assert [one.pipe for one in pipes(local)] == ["p"]
        with pytest.raises(PeerRefusedError, match="near may not read /etc/passwd"):
            extend(
                peer,
                PipeSpec(
                    name="x",
                    stages=[
                        StageSpec(use="read", settings={"path": "/etc/passwd"}),
                        StageSpec(use="discard"),
                    ],
                ),
                pipe="q",
            )
        local.ask(StopPipe(request=0, pipe="p"), kind=Done, timeout=BOUND_S)
        ended = until(lambda: [one for one in peer.receive() if isinstance(one, PipeEnded)])[0]
        assert ended.how == "stopped"


def test_the_loss_of_a_member_stops_what_it_had_asked_for(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)
    with daemon.local() as local:
        with dial(near, daemon) as peer:
            extend(peer)
        until(lambda: not pipes(local), "the end of the pipe")


def test_who_may_not_stop_or_see_is_refused(fleet: Path, start) -> None:
    daemon = start()
    near, other = member(fleet, daemon), member(fleet, daemon, "other")
    with dial(near, daemon) as peer, dial(other, daemon) as stranger:
        extend(peer)
        for message, kind in (
            (AskStatus(request=0), Status),
            (AskStatus(request=0, pipe="p"), Status),
            (StopPipe(request=0, pipe="p"), Done),
            (ExtendPipe(request=0, pipe="q", part=0, spec=plain_of(ENDLESS)), Extended),
        ):
            with pytest.raises(PeerRefusedError, match="other may not"):
                stranger.ask(message, kind=kind, timeout=BOUND_S)
        assert [one.pipe for one in pipes(peer)] == ["p"]


def test_a_machine_of_another_fleet_and_one_without_a_certificate_get_nothing(
    fleet: Path, start, tmp_path: Path
) -> None:
    daemon = start()
    found(tmp_path / "foreign", "near")
    with pytest.raises((DistrustError, PeerLostError)):
        dial(tmp_path / "foreign", daemon)
    daemon.wait_event("fleet.refused")
    with pytest.raises(PeerUnreachableError, match="in no fleet"):
        reach(
            Host(name=NAME, port=daemon.port),
            means=Means(rsh=(), configuration=tmp_path / "nobody"),
        )


def test_who_is_revoked_is_shut_out_at_once(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)
    with dial(near, daemon) as peer:
        extend(peer)
        revoke(fleet / "config", "near")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_event("peer.shut-out")

        def lost() -> bool:
            try:
                peer.receive()
            except PeerLostError:
                return True
            return False

        until(lost, "the loss")
    with pytest.raises((DistrustError, PeerLostError, PeerUnreachableError)):
        dial(near, daemon)
    with daemon.local() as local:
        until(lambda: not pipes(local), "the end of the pipe")


def test_nothing_listens_before_enrolment_and_it_does_when_told(start, tmp_path: Path) -> None:
    daemon = start()
    with pytest.raises(ConnectionRefusedError):
        daemon.connect()
    found(tmp_path / "config", NAME)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_event("monitor.listens")

    daemon.connect().close()
    assert Identity.load(daemon.configuration).peer.name == NAME


def test_a_port_that_is_taken_is_named(fleet: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, "--listen", f"127.0.0.1:{port}")
        try:
            assert daemon.process.wait(BOUND_S) == 74
        finally:
            daemon.process.kill()
            daemon.process.wait()

    assert f"127.0.0.1:{port}: Address already in use" in daemon.log_path.read_text()


# ---- whoever else comes

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(100),
    "path": b"DMPX" + bytes(60),
    "half a path": b"DMPH",
    "tls that is none": b"\x16\x03\x01\xff\xff" + bytes(200),
    "control in clear": encode(Hello(release="0", machine="m", pid=1, versions=(1, 1))),
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
def test_garbage_is_closed_with_a_line_and_pipes_go_on(fleet: Path, start, garbage: bytes) -> None:
    daemon = start()
    with daemon.local() as peer:
        extend(peer)
        before = len(daemon.events())
        with daemon.connect() as stranger:
            say_and_wait(stranger, garbage)
        until(lambda: len(daemon.events()) > before, "a line in the log")

        assert {one["event"] for one in daemon.events()[before:]} <= {
            "monitor.closed",
            "fleet.refused",
        }
        assert pipes(peer)[0].state == "running"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "begins with"),
        (HEADER.pack(b"DMCM", 1, 0, 1, 5000, 0), "5000 bytes"),
        (encode(Hello(release="0", machine="m", pid=1, versions=(1, 1)))[:-3], "the client ended"),
        (
            encode(Hello(release="0", machine="m", pid=1, versions=(1, 1)))
            + HEADER.pack(b"DMCM", 1, 0, 16, (1 << 20) + 1, 0),
            "1048577 bytes",
        ),
    ],
    ids=["http", "oversized hello", "truncated", "oversized"],
)
def test_garbage_on_the_local_socket_ends_that_conversation_alone(
    start, said: bytes, why: str
) -> None:
    daemon = start()
    with daemon.local() as peer:
        extend(peer)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(str(daemon.runtime / "monitor.sock"))
            say_and_wait(stranger, said)
        went = daemon.wait_event("peer.went")

        assert why in str(went["reason"])
        assert pipes(peer)[0].state == "running"


def test_who_is_slow_is_closed_in_time_and_hinders_nobody(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)
    identity = Identity.load(near)
    slow = [daemon.connect() for _ in range(4)]
    slow[1].sendall(b"DMPH" + bytes(10))
    slow[2].sendall(b"\x16\x03")
    slow[3] = client_context(identity, NAME).wrap_socket(slow[3])
    slow[3].sendall(b"DMCM\x01")
    slow.append(socket.socket(socket.AF_UNIX))
    slow[4].connect(str(daemon.runtime / "monitor.sock"))
    slow[4].sendall(b"DMCM\x01")
    begin = time.monotonic()
    with dial(near, daemon) as peer:
        assert time.monotonic() - begin < 5
        assert pipes(peer) == []
        for one in slow:
            with one:
                wait_closed(one)
        assert pipes(peer) == []
    assert time.monotonic() - begin < 20
    reasons = " ".join(str(one.get("reason")) for one in daemon.events())
    assert reasons.count("no Hello") == 2
    for why in (
        "said nothing in time",
        "did not end in time",
        "handshake took too long",
        "no Hello",
    ):
        assert why in reasons


def test_a_crowd_of_strangers_is_bounded_and_members_come_back_in(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)
    with ExitStack() as crowd:
        for _ in range(200):
            crowd.enter_context(daemon.connect())
        daemon.wait_event("monitor.crowded")
        with daemon.local() as local:
            assert pipes(local) == []

    def comes_in() -> bool:
        try:
            with dial(near, daemon) as peer:
                return pipes(peer) == []
        except (PeerLostError, PeerUnreachableError):
            return False

    until(comes_in, "a member")
    numbers = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    assert numbers < 60


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        daemon = Daemon(Path(folder))
        try:
            daemon.wait_event("monitor.started")
            path = daemon.runtime / "monitor.sock"
            daemon.runtime.chmod(0o755)
            path.chmod(0o666)
            code = "import socket, sys; s = socket.socket(1); s.connect(sys.argv[1]); s.recv(9)"
            words = ["/usr/bin/env", "python3", "-c", code, str(path)]
            subprocess.run(words, user=12345, check=True, timeout=10)
            found = daemon.wait_event("monitor.closed")
        finally:
            daemon.end()

    assert "user 12345 may not" in str(found["reason"])


def test_thirty_conversations_and_pipes_leave_nothing(fleet: Path, start) -> None:
    daemon = start()
    near = member(fleet, daemon)

    def once() -> None:
        with dial(near, daemon) as peer:
            extend(peer)

    once()
    with daemon.local() as local:
        until(lambda: not pipes(local))
        before = sorted(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        for _ in range(30):
            once()
        until(lambda: not pipes(local))
        until(lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd")) <= len(before))
