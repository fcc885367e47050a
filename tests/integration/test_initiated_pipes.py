"""InitiatePipe and Identify: a pipe that a program asks the monitor for, and that goes on alone.

Every daemon is a process of its own, in folders of its own.
SPEC C3, C5, C6, C7, C11, C13, C15, C16; docs/spec/control-protocol.md, sections 8 and 9.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import msgspec
import pytest

from datamover.errors import (
    ControllerError,
    DataMoverError,
    GuestError,
    PeerLostError,
    PeerRefusedError,
    PeerUnreachableError,
    StageFailedError,
)
from datamover.link.gate import attach_door
from datamover.link.guest import enter
from datamover.monitor.here import Here
from datamover.monitor.initiation import Ask, asking
from datamover.monitor.local import LocalMonitor
from datamover.pipe.spec import OnDeath, PipeSpec, StageSpec
from datamover.testing.daemon import Daemon, gone, until
from datamover.wire.attach import GuestPlace
from datamover.wire.control import encode
from datamover.wire.message import Hello, Identified, Identify, Initiated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.wire.account import Account

pytestmark = [pytest.mark.processes, pytest.mark.slow]
BOUND_S = 30.0
SIZE = 4096
DATA = random.Random(3).randbytes(40 * SIZE + 17)


def stage(use: str, **given) -> StageSpec:
    fields = {name: given.pop(name) for name in ("at", "instances", "on_death") if name in given}
    return StageSpec(use=use, settings=given, **fields)


def pipe(*stages: StageSpec, **given) -> PipeSpec:
    return PipeSpec(name="asked", stages=stages, buffers=8, buffer_size=SIZE, **given)


ENDLESS = pipe(stage("read", path="/dev/zero"), stage("checksum", instances=2), stage("discard"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    running: list[Daemon] = []

    def start(*options: str, **more) -> Daemon:
        running.append(Daemon(tmp_path, *options, **more))
        running[-1].wait_event("monitor.started", len(running))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all tests that leave it alive, and no pipe behind."""
    found = Daemon(tmp_path_factory.mktemp("daemon"))
    found.wait_event("monitor.started")
    yield found
    found.kill()


def accounts(daemon: Daemon, pipe: str = "") -> list[Account]:
    return [one for one in Here(daemon.runtime).accounts() if one.pipe.startswith(pipe)]


def ended_of(daemon: Daemon, pipe: str) -> dict[str, object]:
    """What the log says of the end of a pipe."""

    def found() -> list[dict[str, object]]:
        return [one for one in daemon.events("pipe.ended") if one["pipe"] == pipe]

    return until(found, f"{pipe} ends")[0]


def tasks(account: Account) -> list[int]:
    return [one.pid for part in account.parts for found in part.stages for one in found.instances]


# ---- it runs, and goes on


def test_a_pipe_goes_on_when_the_program_that_asked_for_it_has_gone(
    daemon: Daemon, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    source, target = str(tmp_path / "fifo"), str(tmp_path / "out")
    spec = pipe(stage("read", path=source), stage("checksum"), stage("write", path=target))
    with daemon.program() as program:
        found = program.initiate(spec)
    until(lambda: daemon.events("peer.went"), "the program is gone")
    with (tmp_path / "fifo").open("wb") as fifo:
        (account,) = accounts(daemon, found.pipe)
        fifo.write(DATA)
    ended = ended_of(daemon, found.pipe)

    assert account.pipe == found.pipe
    assert account.pid == found.pid != daemon.process.pid
    assert (ended["pipe"], ended["how"]) == (found.pipe, "finished")
    assert len((tmp_path / "out").read_bytes()) == len(DATA) + 4 * (len(DATA) // SIZE + 1)


def test_who_stays_hears_how_it_ended(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    spec = pipe(stage("read", path=str(tmp_path / "in")), stage("discard"))
    with daemon.program() as program:
        found = program.initiate(spec)
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
    assert ended.results["read"][0]["bytes"] == len(DATA)


def test_the_command_line_initiates_shows_limits_and_stops(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "pipe.toml").write_text(
        'name = "asked"\nbuffers = 8\nbuffer_size = "4KiB"\n'
        '[[stage]]\nuse = "read"\nsettings = { path = "/dev/zero" }\n[[stage]]\nuse = "discard"\n'
    )
    said = daemon.datamover("pipe", "run", str(tmp_path / "pipe.toml"), "--daemon", "--json")
    name = json.loads(said.stdout)["pipe"]
    shown = json.loads(daemon.datamover("status", "--json").stdout)["pipes"]
    limited = daemon.datamover("limit", name, "2MB/s")
    (account,) = accounts(daemon, name)
    stopped = daemon.datamover("stop", name)
    ended = ended_of(daemon, name)

    assert name in [one["pipe"] for one in shown]
    assert limited.returncode == stopped.returncode == 0
    assert account.limit == 2_000_000
    assert ended["how"] == "stopped"
    assert all(map(gone, tasks(account)))


def test_its_own_conversation_limits_and_stops_it_too(daemon: Daemon) -> None:
    with daemon.program() as program:
        found = program.initiate(ENDLESS)
        program.set_limit(found.pipe, 7)
        until(lambda: accounts(daemon, found.pipe)[0].limit == 7)
        program.stop(found.pipe)
        ended = program.wait(found.pipe)

    assert ended.how == "stopped"


@pytest.fixture
def far(tmp_path: Path) -> dict[str, object]:
    """How a machine is reached, which is this one behind a shell."""
    shell = tmp_path / "rsh"
    shell.write_text('#!/bin/sh\nshift\nexec sh -c "exec $*"\n')
    shell.chmod(0o755)
    return {"rsh": str(shell), "remote": shlex.join([sys.executable, "-m", "datamover"])}


def test_a_stage_on_another_machine_runs_there_through_extend_pipe(
    daemon: Daemon, far: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(DATA)
    spec = pipe(
        stage("read", path=str(tmp_path / "in")),
        stage("write", path=str(tmp_path / "out"), at="far"),
    )
    with daemon.program() as program:
        found = program.initiate(spec, direction="send", travel=far)
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
    assert ended.results["write"][0]["bytes"] == len(DATA)
    assert (tmp_path / "out").read_bytes() == DATA


@pytest.mark.parametrize("victim", ["controller", "task there", "machine there"])
def test_whoever_is_killed_both_halves_end(
    daemon: Daemon, far: dict[str, object], victim: str
) -> None:
    spec = pipe(stage("read", path="/dev/zero"), stage("discard", at="far"))
    with daemon.program() as program:
        found = program.initiate(spec, travel=far)

        def halves() -> list[list[int]]:
            known = [one for one in accounts(daemon, found.pipe) if one.pid == found.pid]
            parts = [[i.pid for s in p.stages for i in s.instances] for p in known[0].parts]
            return parts if len(parts) == 2 and all(map(all, parts)) and all(parts) else []

        here, there = until(halves, "both halves show their tasks")
        server = parent_of(parent_of(there[0]))  # its tasks are the fork server's
        os.kill({"controller": found.pid, "task there": there[1]}.get(victim, server), SIGKILL)
        with pytest.raises(DataMoverError) as caught:
            program.wait(found.pipe)
        until(lambda: all(map(gone, [*here, *there])), "every task ends")

    told = {
        "controller": "the controller of the pipe was killed by signal 9",
        "task there": "stage discard on far, instance 0",
        "machine there": "far: ",
    }
    assert told[victim] in str(caught.value)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# ---- every field of it counts


def test_each_field_of_the_message_changes_the_pipe(daemon: Daemon) -> None:
    spec = PipeSpec(
        name="fields",
        stages=[
            stage("read", path="/dev/zero"),
            StageSpec(use="compress", name="squeeze", instances=3, share=4, settings={"level": 2}),
            stage("discard"),
        ],
        buffers=20,
        buffer_size=8192,
        on_death=OnDeath.RETRY,
    )
    with daemon.program() as program:
        found = program.initiate(spec)
        (account,) = accounts(daemon, found.pipe)
        (part,) = account.parts
        victim = part.stages[1].instances[1].pid
        os.kill(victim, signal.SIGKILL)
        replaced = lambda: accounts(daemon, found.pipe)[0].parts[0].stages[1].instances[1].pid  # noqa: E731
        until(lambda: replaced() not in {0, victim}, "another takes its place")
        program.stop(found.pipe)

    assert account.pipe.startswith(f"fields-{found.pid}-")
    assert [(one.stage, len(one.instances)) for one in part.stages[:2]] == [
        ("read", 1),
        ("squeeze", 3),
    ]
    assert (part.buffers, part.buffer_size) == (20, 8192)


WRONG = {
    "module": ({"stages": [{"module": "nonesuch"}, {"module": "discard"}]}, "nonesuch"),
    "machine": (
        {"stages": [{"module": "read"}, {"module": "discard", "machine": "-oProxy=x"}]},
        "no name of a machine",
    ),
    "travel": ({"travel": {"paths": "many"}}, "travel"),
}


def test_a_bad_field_is_refused_and_named_and_nothing_runs(daemon: Daemon) -> None:
    right = asking(ENDLESS, Ask())
    with daemon.local() as peer:
        for name, (given, text) in WRONG.items():
            message = msgspec.structs.replace(right, name="wrong")
            message = msgspec.structs.replace(message, **given)
            with pytest.raises(PeerRefusedError) as caught:
                peer.ask(message, kind=Initiated, timeout=BOUND_S)
            assert text in str(caught.value), name
            assert caught.value.cause_code.startswith("usage"), name

    assert accounts(daemon, "wrong") == []
    assert len(daemon.events("pipe.refused")) >= len(WRONG)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_initiates_nothing(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders of the daemon keep others out; were they open, who speaks is looked at."""
    daemon = start()
    daemon.runtime.chmod(0o755)
    (daemon.runtime / "monitor.sock").chmod(0o666)
    monkeypatch.chdir(daemon.runtime)  # as the way there is closed to others
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(BOUND_S)
        os.seteuid(65534)
        try:
            stranger.connect("monitor.sock")
        finally:
            os.seteuid(0)
        with suppress(ConnectionError):
            stranger.sendall(encode(Hello(release="", machine="", pid=1, versions=(1, 1))))
            assert stranger.recv(10) == b""
    daemon.runtime.chmod(0o700)

    assert "user 65534" in str(daemon.wait_event("monitor.closed")["reason"])


def test_a_machine_at_the_wrong_end_is_refused(daemon: Daemon) -> None:
    there = pipe(stage("read", path="/dev/zero", at="far"), stage("discard"))
    refused = pytest.raises(PeerRefusedError, match="send, and the data goes from far to this")
    with daemon.program() as program, refused:
        program.initiate(there, direction="send")


def test_what_fails_before_it_is_up_is_refused_with_its_reason(
    daemon: Daemon, tmp_path: Path
) -> None:
    spec = pipe(stage("read", path=str(tmp_path / "nothing")), stage("discard"))
    with daemon.program() as program:
        try:
            found = program.initiate(spec)
        except PeerRefusedError as error:
            told = str(error)
        else:  # it was attached before it failed
            with pytest.raises(StageFailedError) as caught:
                program.wait(found.pipe)
            told = str(caught.value)

    assert str(tmp_path / "nothing") in told


# ---- ends


def test_a_killed_controller_ends_its_pipe_alone_and_the_client_hears(daemon: Daemon) -> None:
    with daemon.program() as program, daemon.program() as other:
        lasting = other.initiate(ENDLESS)
        found = program.initiate(ENDLESS)
        (account,) = accounts(daemon, found.pipe)
        os.kill(found.pid, signal.SIGKILL)
        with pytest.raises(ControllerError, match="killed by signal 9"):
            program.wait(found.pipe)
        until(lambda: all(map(gone, tasks(account))), "its tasks end")

        assert accounts(daemon, found.pipe) == []
        assert len(accounts(daemon, lasting.pipe)) == 1
        assert ended_of(daemon, found.pipe)["how"] == "failed"
        other.stop(lasting.pipe)


def test_a_killed_task_fails_the_pipe_and_is_named(daemon: Daemon) -> None:
    with daemon.program() as program:
        found = program.initiate(ENDLESS)
        (account,) = accounts(daemon, found.pipe)
        os.kill(account.parts[0].stages[1].instances[1].pid, signal.SIGKILL)
        with pytest.raises(StageFailedError, match=r"checksum, instance 1.*killed by signal 9"):
            program.wait(found.pipe)


def test_a_killed_daemon_takes_its_pipes_with_it(start) -> None:
    daemon = start()
    with daemon.program() as program:
        found = program.initiate(ENDLESS)
        (account,) = accounts(daemon)
        daemon.kill()
        until(lambda: all(map(gone, [found.pid, *tasks(account)])), "everything of it ends")
        with pytest.raises(PeerLostError):
            program.wait(found.pipe)
    again = start()

    assert accounts(again) == []


def test_a_daemon_that_ends_stops_what_does_not_finish_and_takes_nothing_new(start) -> None:
    daemon = start("--drain", "0.2")
    with daemon.program() as program:
        found = program.initiate(ENDLESS)
        (account,) = accounts(daemon)
        daemon.process.terminate()
        ended = program.wait(found.pipe)

    assert ended.how == "stopped"
    assert daemon.process.wait(BOUND_S) == 0
    assert all(map(gone, tasks(account)))


def test_a_daemon_that_drains_lets_a_pipe_finish(start, tmp_path: Path) -> None:
    daemon = start("--drain", "60")
    os.mkfifo(tmp_path / "fifo")
    spec = pipe(
        stage("read", path=str(tmp_path / "fifo")), stage("write", path=str(tmp_path / "out"))
    )
    with daemon.program() as program:
        found = program.initiate(spec)
        with (tmp_path / "fifo").open("wb") as fifo:
            daemon.process.terminate()
            daemon.wait_event("monitor.drains")
            with pytest.raises(PeerRefusedError, match="takes no new pipes"):
                program.initiate(ENDLESS)
            fifo.write(DATA)
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
    assert (tmp_path / "out").read_bytes() == DATA
    assert daemon.process.wait(BOUND_S) == 0


def test_without_a_daemon_the_hint_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    with pytest.raises(PeerUnreachableError, match="`datamover monitor` starts one"):
        LocalMonitor.reach(tmp_path / "run")


# ---- the invoker is an end of it


def test_an_invoker_identifies_itself_and_is_the_head(daemon: Daemon, tmp_path: Path) -> None:
    spec = pipe(stage("checksum"), stage("verify"), stage("write", path=str(tmp_path / "out")))
    with daemon.program() as program:
        found = program.initiate(spec, invoker="head")
        with program.identify(found.pipe, "head", found.token) as guest:
            (account,) = accounts(daemon, found.pipe)
            until(
                lambda: accounts(daemon, found.pipe)[0].parts[0].paths, "the tree shows the guest"
            )
            (shown,) = accounts(daemon, found.pipe)[0].parts[0].paths
            text = daemon.datamover("status").stdout
            left = DATA
            for index, _ in guest.receive():
                piece, left = left[:SIZE], left[SIZE:]
                guest.data(index)[: len(piece)] = piece
                guest.give(index, len(piece))
                if not left:
                    break
            guest.end()
            assert guest.wait_taken() == len(DATA)
        ended = program.wait(found.pipe)

    assert account.parts[0].stages[0].stage == "from_guest"
    assert shown.facts == {"path": 0, "guest": os.getpid(), "state": "attached"}
    assert f"guest · from_guest {os.getpid()} attached" in " ".join(text.split())
    assert ended.how == "finished"
    assert (tmp_path / "out").read_bytes() == DATA
    assert os.getpid() in [one["process"] for one in daemon.events("pipe.identified")]


def test_an_invoker_identifies_itself_and_is_the_tail(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    with daemon.program() as program:
        found = program.initiate(pipe(stage("read", path=str(tmp_path / "in"))), invoker="tail")
        taken = bytearray()
        with program.identify(found.pipe, "tail", found.token) as guest:
            for index, used in guest.receive():
                taken += guest.data(index)[:used]
                guest.give(index)
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
    assert taken == DATA


def test_attach_takes_the_place_by_the_name_of_its_gate(daemon: Daemon, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with daemon.program() as program:
        found = program.initiate(pipe(stage("write", path=str(target))), invoker="head")
        words = ["attach", found.gate, "--head", "--token", found.token.hex()]
        subprocess.run(
            [sys.executable, "-m", "datamover", *words],
            input=DATA,
            env=daemon.environment,
            timeout=BOUND_S,
            check=True,
        )
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
    assert target.read_bytes() == DATA


def test_an_invoker_that_never_comes_ends_its_pipe(daemon: Daemon) -> None:
    with daemon.program() as program:
        found = program.initiate(pipe(stage("discard")), invoker="head")
    ended = ended_of(daemon, found.pipe)

    assert ended["how"] == "stopped"


def test_an_invoker_that_dies_in_its_place_fails_its_pipe(daemon: Daemon) -> None:
    with daemon.program() as program:
        found = program.initiate(pipe(stage("discard")), invoker="head")
        program.identify(found.pipe, "head", found.token).leave()
        with pytest.raises(StageFailedError, match="gone before its end"):
            program.wait(found.pipe)


def test_a_wrong_token_place_pipe_or_process_is_not_let_in(daemon: Daemon) -> None:
    with daemon.program() as program, daemon.local() as peer:
        found = program.initiate(pipe(stage("discard")), invoker="head")
        right = Identify(
            request=0, pipe=found.pipe, place="head", token=found.token, pid=os.getpid()
        )
        for given, text in (
            ({"token": bytes(16)}, "the token is another"),
            ({"place": "tail"}, "no pipe waits"),
            ({"pipe": "nonesuch"}, "no pipe waits"),
            ({"pipe": "../x"}, "no name for a door"),
            ({"pid": 1}, "may not identify process 1"),
        ):
            message = msgspec.structs.replace(right, **given)
            with pytest.raises(PeerRefusedError, match=text):
                peer.ask(message, kind=Identified, timeout=BOUND_S)
        guest = program.identify(found.pipe, "head", found.token)
        door = attach_door(daemon.runtime, found.gate, GuestPlace.HEAD)
        with pytest.raises(GuestError, match="another has the place"):
            enter(door, GuestPlace.HEAD, found.token, timeout=0.1)
        guest.end()
        guest.wait_taken()
        guest.leave()
        ended = program.wait(found.pipe)

    assert ended.how == "finished"
