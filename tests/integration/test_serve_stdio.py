"""A part of a pipe runs at the other end of a remote shell, and nothing of it outlives that end.

The remote shell is a program that runs its command here; the conversation is the real one.
SPEC C2, C4, C15, C16, C19.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datamover.errors import (
    PeerError,
    PeerLostError,
    PeerProtocolError,
    PeerRefusedError,
    PeerUnreachableError,
)
from datamover.monitor.place import parse_host
from datamover.monitor.plan import plain_of
from datamover.monitor.reach import Means, reach
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.wire.control import HEADER, ControlReader, encode
from datamover.wire.message import (
    AskStatus,
    Done,
    Extended,
    ExtendPipe,
    Hello,
    Message,
    PipeEnded,
    PipeNotice,
    Refused,
    Status,
    StopPipe,
)

if TYPE_CHECKING:
    from datamover.monitor.peer import Peer

pytestmark = pytest.mark.processes
SERVE = [sys.executable, "-m", "datamover", "serve", "--stdio"]
BOUND_S = 10.0


@pytest.fixture
def means(tmp_path: Path) -> Means:
    shell = tmp_path / "rsh"
    shell.write_text('#!/bin/sh\nshift\necho $$ > "${0%/*}/pid"\nexec sh -c "exec $*"\n')
    shell.chmod(0o755)
    return Means(rsh=(str(shell),), remote=(sys.executable, "-m", "datamover"))


class Client:
    """A monitor with one peer, and what that said."""

    def __init__(self, means: Means) -> None:
        self.monitor = Monitor()
        self.said: list[Message] = []
        self.lost: list[PeerError] = []
        reached = reach(parse_host("far"), means=means, purpose="pipe")
        self.peer: Peer = reached.peer
        self.path_command = reached.path_command
        self.peer.watch(self.monitor, on_message=self.said.append, on_lost=self.lost.append)

    def extend(self, *stages: StageSpec, pipe: str = "p", part: int = 1, **more) -> None:
        spec = plain_of(PipeSpec(name="x", stages=stages, buffers=8, buffer_size=65536))
        message = ExtendPipe(request=0, pipe=pipe, part=part, spec=spec | more)
        self.peer.ask(message, kind=Extended, timeout=BOUND_S)

    def until(self, kind: type[Message]) -> Message:
        deadline = time.monotonic() + BOUND_S
        while not (found := [one for one in self.said if isinstance(one, kind)]):
            assert time.monotonic() < deadline, f"no {kind.__name__} came, but {self.said}"
            assert not self.lost, self.lost
            self.monitor.step(0.2)
        return found[0]

    def status(self, pipe: str = ""):
        return self.peer.ask(AskStatus(request=0, pipe=pipe), kind=Status, timeout=BOUND_S).pipes

    def close(self) -> None:
        self.peer.close()
        self.monitor.close()


@pytest.fixture
def client(means: Means):
    found = Client(means)
    yield found
    found.close()


def read(path: Path | str) -> StageSpec:
    return StageSpec(use="read", settings={"path": str(path)})


def write(path: Path | str) -> StageSpec:
    return StageSpec(use="write", settings={"path": str(path)})


ENDLESS = (read("/dev/zero"), StageSpec(use="discard"))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_gone(*pids: int) -> None:
    deadline = time.monotonic() + BOUND_S
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, "a process has outlived its conversation"
        time.sleep(0.01)


def test_a_part_runs_there_and_its_end_is_told_here(client: Client, tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    name = os.fsdecode(os.fsencode(tmp_path) + b"/in\xff")
    Path(name).write_bytes(data)
    client.extend(read(name), write(tmp_path / "out"))
    ended = client.until(PipeEnded)

    assert (tmp_path / "out").read_bytes() == data
    assert (ended.pipe, ended.part, ended.how) == ("p", 1, "finished")
    assert ended.results == {"read": [{"bytes": len(data)}], "write": [{"bytes": len(data)}]}
    assert [stage.stage for stage in ended.account.stages] == ["read", "write"]
    assert ended.account.stages[1].instances[0].bytes_in == len(data)
    assert client.status() == []


def test_status_shows_the_tree_while_it_runs(client: Client) -> None:
    client.extend(*ENDLESS)
    (account,) = client.status("p")
    part = account.parts[0]

    assert (account.pipe, account.state, account.pid) == ("p", "running", client.peer.welcome.pid)
    assert (part.part, part.buffers, part.buffer_size) == (1, 8, 65536)
    assert part.descriptors > 4
    (instance,) = part.stages[0].instances
    assert instance.state == "running"
    assert not gone(instance.pid)
    assert client.status("other") == []


def test_a_part_that_is_stopped_says_so(client: Client) -> None:
    client.extend(*ENDLESS)
    pids = [one.instances[0].pid for one in client.status()[0].parts[0].stages]
    client.peer.ask(StopPipe(request=0, pipe="p"), kind=Done, timeout=BOUND_S)

    assert client.until(PipeEnded).how == "stopped"
    assert all(map(gone, pids))


def test_a_stage_that_fails_is_named_with_its_cause(client: Client) -> None:
    client.extend(read("/dev/zero"), write("/dev/full"))
    ended = client.until(PipeEnded)

    assert ended.how == "failed"
    assert (ended.failure["stage"], ended.failure["cause_code"]) == ("write", "media.full")


def test_killing_a_task_there_is_told_here_with_its_name(client: Client) -> None:
    client.extend(*ENDLESS)
    stages = client.status()[0].parts[0].stages
    os.kill(stages[1].instances[0].pid, signal.SIGKILL)
    ended = client.until(PipeEnded)

    assert ended.how == "failed"
    assert (ended.failure["stage"], ended.failure["cause"]) == ("discard", "killed by signal 9")
    wait_gone(stages[0].instances[0].pid)


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ((StageSpec(use="os:system"), write("/x")), "names stages by a word"),
        ((StageSpec(use="__main__:x"), write("/x")), "names stages by a word"),
        ((StageSpec(use="datamover.testing.stages:count"), write("/x")), "names stages by a word"),
        ((StageSpec(use="nonesuch"), write("/x")), "no stage is called nonesuch"),
        ((StageSpec(use="read"), write("/x")), "path"),
        ((read("/x"), read("/x")), "head"),
        ((), "0 stages"),
    ],
)
def test_what_cannot_be_built_is_refused_and_the_conversation_goes_on(
    client: Client, stages: tuple[StageSpec, ...], text: str
) -> None:
    plain = {
        "name": "x",
        "stages": [{"use": one.use, "settings": dict(one.settings)} for one in stages],
    }
    with pytest.raises(PeerRefusedError, match=text):
        client.peer.ask(
            ExtendPipe(request=0, pipe="p", part=0, spec=plain), kind=Extended, timeout=BOUND_S
        )
    assert client.status() == []


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "inline"},
        {"mode": "thread"},
        {"unknown": 1},
        {"buffers": -1},
        {"buffer_size": 1 << 40},
        {"stages": [{"use": "read", "mode": "thread"}, {"use": "discard"}]},
        {"stages": [{"use": "read", "definition": 1}, {"use": "discard"}]},
        {"stages": [{"use": "read", "instances": 1 << 30}, {"use": "discard"}]},
        {"stages": [{"use": "read", "share": -5}, {"use": "discard"}]},
        {"stages": "read"},
        {"name": 5},
    ],
)
def test_a_specification_that_says_too_much_is_refused(client: Client, more) -> None:
    with pytest.raises(PeerRefusedError):
        client.extend(*ENDLESS, **more)
    client.extend(*ENDLESS)


def test_a_part_that_is_here_already_is_refused(client: Client) -> None:
    client.extend(*ENDLESS)
    with pytest.raises(PeerRefusedError, match="here already"):
        client.extend(*ENDLESS)
    client.extend(*ENDLESS, part=2)

    assert [part.part for account in client.status() for part in account.parts] == [1, 2]


def test_a_pipe_that_is_not_there_cannot_be_stopped(client: Client) -> None:
    with pytest.raises(PeerRefusedError, match="no pipe is called q"):
        client.peer.ask(StopPipe(request=0, pipe="q"), kind=Done, timeout=BOUND_S)


def test_notices_come_with_stage_and_instance(client: Client, tmp_path: Path) -> None:
    client.extend(
        StageSpec(use="scan", settings={"roots": [str(tmp_path / "missing")]}),
        StageSpec(use="discard"),
    )
    found = client.until(PipeNotice)

    assert (found.pipe, found.part, found.stage, found.instance) == ("p", 1, "scan", 0)
    assert "missing" in str(found.given)


def test_the_end_of_the_conversation_ends_what_it_had_asked_for(client: Client) -> None:
    client.extend(*ENDLESS)
    (account,) = client.status()
    pids = [one.pid for stage in account.parts[0].stages for one in stage.instances]
    client.peer.close()

    wait_gone(account.pid, *pids)


def test_when_the_serving_process_is_killed_the_client_says_so(client: Client) -> None:
    client.extend(*ENDLESS)
    (account,) = client.status()
    pids = [one.pid for stage in account.parts[0].stages for one in stage.instances]
    os.kill(account.pid, signal.SIGKILL)
    deadline = time.monotonic() + BOUND_S
    while not client.lost:
        assert time.monotonic() < deadline
        client.monitor.step(0.2)

    assert isinstance(client.lost[0], PeerLostError)
    assert "killed by signal 9" in str(client.lost[0])
    wait_gone(*pids)


def test_a_terminated_server_stops_its_pipes_and_says_how_it_ended(client: Client) -> None:
    client.extend(*ENDLESS)
    (account,) = client.status()
    pids = [one.pid for stage in account.parts[0].stages for one in stage.instances]
    os.kill(account.pid, signal.SIGTERM)
    wait_gone(account.pid, *pids)
    deadline = time.monotonic() + BOUND_S
    while not client.lost:
        assert time.monotonic() < deadline
        client.monitor.step(0.2)

    assert "status 143" in str(client.lost[0])


def test_whoever_is_not_there_is_named(tmp_path: Path) -> None:
    shell = tmp_path / "rsh"
    shell.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    shell.chmod(0o755)
    with pytest.raises(PeerUnreachableError, match="found no program of that name"):
        reach(parse_host("far"), means=Means(rsh=(str(shell),), remote=("nonesuch",)))
    with pytest.raises(PeerUnreachableError, match="/no/ssh: No such file"):
        reach(parse_host("far"), means=Means(rsh=("/no/ssh",)))
    with pytest.raises(PeerProtocolError, match="begins with 57656c63"):
        reach(parse_host("far"), means=Means(rsh=(str(shell),), remote=("echo", "Welcome;")))


# ---- what a hostile client may try


def served(given: bytes, *, timeout: float = 20) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(SERVE, input=given, capture_output=True, timeout=timeout, check=False)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "begins with"),
        (HEADER.pack(b"DMCM", 1, 0, 1, 4097, 0), "4097 bytes"),
        (HEADER.pack(b"DMCM", 9, 0, 1, 10, 0), "version 9"),
        (HEADER.pack(b"DMCM", 1, 0, 1, 2, 0) + b"\x80\x80", "CRC-32C"),
    ],
)
def test_what_is_not_the_protocol_ends_it_with_a_line_that_says_why(given: bytes, why: str) -> None:
    ended = served(given)

    assert ended.stdout == b""
    assert why in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


def test_another_version_is_refused_in_words() -> None:
    ended = served(encode(Hello(release="9", machine="m", pid=1, versions=(7, 9))))
    reader = ControlReader()
    reader.open()
    reader.feed(ended.stdout)
    (refused,) = reader.messages()

    assert isinstance(refused, Refused)
    assert refused.reason == "it speaks versions 7 to 9, this release speaks 1"


def test_a_file_is_no_place_for_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"")
    for name in (tmp_path / "given", "/dev/null"):
        with open(name, "rb") as given:
            ended = subprocess.run(SERVE, stdin=given, capture_output=True, timeout=20, check=False)

        assert ended.returncode == 64
        assert ended.stderr.startswith(b"error[usage]: standard input and output must be pipes")


def test_one_of_two_ways_must_be_chosen() -> None:
    ended = subprocess.run(SERVE[:-1], capture_output=True, timeout=20, check=False)

    assert ended.returncode == 64


# ---- data paths through the shell


def border(**more: object) -> dict[str, object]:
    return {"token": os.urandom(16).hex(), "secret": os.urandom(32).hex(), "paths": 2} | more


def test_data_goes_to_a_part_there_on_paths_through_the_shell(
    client: Client, tmp_path: Path
) -> None:
    data = os.urandom(4_000_001)
    (tmp_path / "in").write_bytes(data)
    settings = border()
    client.extend(StageSpec(use="net_receive", settings=settings), write(tmp_path / "out"))
    dialing = settings | {"command": list(client.path_command)}
    live = client.monitor.start(
        PipeSpec(
            name="near",
            stages=[read(tmp_path / "in"), StageSpec(use="net_send", settings=dialing)],
            buffers=8,
            buffer_size=65536,
        )
    )
    live.wait()
    ended = client.until(PipeEnded)

    assert ended.how == "finished"
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize(
    "way", [{"dial": ["127.0.0.1:1"]}, {"command": ["sh"]}, {"door": "/tmp/x"}, {"via": ["lo"]}]
)
def test_a_peer_does_not_choose_what_a_network_stage_dials(client: Client, way) -> None:
    stage = StageSpec(use="net_receive", settings=border(**way))
    with pytest.raises(PeerRefusedError, match=f"cannot set {next(iter(way))}"):
        client.extend(stage, StageSpec(use="discard"))


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (b"", "went before its hello was whole"),
        (b"DMPH" + bytes(30), "went before its hello was whole"),
        (bytes(64), "format.magic"),
        (b"DMPH\x01\x00" + bytes(42) + b"x" * 16, "no pipe waits for this path here"),
    ],
)
def test_a_path_that_nobody_waits_for_is_closed(hello: bytes, why: str) -> None:
    ended = subprocess.run(
        [*SERVE[:-1], "--path"], input=hello, capture_output=True, timeout=20, check=False
    )

    assert ended.returncode != 0
    assert ended.stdout == b""
    assert why in ended.stderr.decode()
