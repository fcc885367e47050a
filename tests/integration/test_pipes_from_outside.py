"""What a command runs can be seen, stopped and limited from outside, and nothing is left of it.

SPEC C15, C17, C18; docs/spec/control-protocol.md, sections 1, 4 and 6.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datamover.errors import PeerRefusedError, StopRequestedError
from datamover.monitor.answering import Answering
from datamover.monitor.here import Here
from datamover.monitor.patience import Patience
from datamover.monitor.pipe_socket import asked
from datamover.monitor.plan import plain_of
from datamover.monitor.reach import reach_socket
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.wire.control import encode
from datamover.wire.message import Extended, ExtendPipe, Hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.processes
BOUND_S = 15.0
PIPE = """
name = "endless"
buffers = 8
buffer_size = "64KiB"
[[stage]]
use = "read"
settings = { path = "/dev/zero" }
[[stage]]
use = "checksum"
instances = 2
[[stage]]
use = "discard"
"""
SPEC = PipeSpec(
    name="mine",
    stages=[StageSpec(use="read", settings={"path": "/dev/zero"}), StageSpec(use="discard")],
    buffers=8,
    buffer_size=65536,
)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAMOVER_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("DATAMOVER_CONFIG", str(tmp_path / "config"))
    return tmp_path / "run"


def datamover(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "datamover", *words],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )


def until(condition: Callable[[], object]) -> object:
    deadline = time.monotonic() + BOUND_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return found


@pytest.fixture
def command(runtime: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs a pipe without end."""
    (tmp_path / "pipe.toml").write_text(PIPE)
    words = [sys.executable, "-m", "datamover", "pipe", "run", str(tmp_path / "pipe.toml")]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        until(lambda: [one for one in Here(runtime).accounts() if one.state == "running"])
        yield process
        process.kill()


def test_status_shows_the_tree_with_tasks_and_what_they_did(
    command: subprocess.Popen[bytes],
) -> None:
    (account,) = json.loads(datamover("status", "--json").stdout)["pipes"]
    (part,) = account["parts"]

    assert account["pid"] == command.pid
    assert account["pipe"].startswith(f"endless-{command.pid}-")
    assert [one["stage"] for one in part["stages"]] == ["read", "checksum", "discard"]
    assert [len(one["instances"]) for one in part["stages"]] == [1, 2, 1]
    for stage in part["stages"]:
        for one in stage["instances"]:
            assert f"dm:{stage['stage']}.{one['instance']}"[:15] == (
                Path(f"/proc/{one['pid']}/comm").read_text().strip()
            )
    assert part["stages"][0]["instances"][0]["bytes_out"] > 0
    text = datamover("status", str(command.pid)).stdout
    assert f"checksum.1 {'':16}" in text
    assert text.count("running") == 5


def test_top_shows_rates_between_two_looks(command: subprocess.Popen[bytes]) -> None:
    shown = datamover("top", "--count", "2", "--every", "0.2").stdout

    assert shown.count(f"endless-{command.pid}-") == 2
    assert "/s" in shown
    assert "\x1b" not in shown  # it is no terminal


def test_stop_ends_the_command_which_says_who_it_was(command: subprocess.Popen[bytes]) -> None:
    stopped = datamover("stop", f"endless-{command.pid}")
    assert command.wait(BOUND_S) == 75
    assert command.stderr is not None
    said = command.stderr.read().decode()

    assert stopped.returncode == 0
    assert "error[pipe.stopped]: the pipe was stopped by " in said
    assert "@" in said


def test_limit_reaches_the_segment_that_network_tasks_read(
    command: subprocess.Popen[bytes],
) -> None:
    assert datamover("limit", str(command.pid), "2MB/s").returncode == 0
    (account,) = json.loads(datamover("status", "--json").stdout)["pipes"]
    assert account["limit"] == 2_000_000

    assert datamover("limit", str(command.pid), "none").returncode == 0
    (account,) = json.loads(datamover("status", "--json").stdout)["pipes"]
    assert account["limit"] == 0


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("stop", "nonesuch"), 66, "no pipe is called nonesuch"),
        (("status", "nonesuch"), 66, "no pipe is called nonesuch"),
        (("limit", "x", "fast"), 64, "no size"),
        (("status", "--on=-oProxyCommand=x"), 64, "no name of a machine"),
        (("top", "--every", "0"), 64, "--every"),
    ],
)
def test_what_cannot_be_done_is_said(
    runtime: Path, words: tuple[str, ...], status: int, text: str
) -> None:
    ended = datamover(*words)

    assert ended.returncode == status
    assert text in ended.stderr
    assert not (runtime / "pipes").exists() or not list((runtime / "pipes").iterdir())


def test_a_name_that_fits_several_is_refused(command: subprocess.Popen[bytes]) -> None:
    with Monitor() as monitor, asked(monitor):
        live = monitor.start(PipeSpec(name="endless", stages=SPEC.stages, buffers=8))
        live.wait_ready()
        found: list[subprocess.CompletedProcess[str]] = []
        thread = threading.Thread(target=lambda: found.append(datamover("stop", "endless")))
        thread.start()
        while thread.is_alive():
            monitor.step(0.1)

    assert found[0].returncode == 64
    assert " or endless-" in found[0].stderr
    assert command.poll() is None


def test_another_machine_is_asked_through_the_shell(
    command: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    shell = tmp_path / "rsh"
    shell.write_text('#!/bin/sh\nshift\nexec sh -c "exec $*"\n')
    shell.chmod(0o755)
    way = ("--on", "far", "--rsh", str(shell))
    way += ("--remote-command", shlex.join([sys.executable, "-m", "datamover"]))
    (account,) = json.loads(datamover("status", "--json", *way).stdout)["pipes"]
    assert account["pid"] == command.pid

    assert datamover("stop", "nonesuch", *way).returncode == 66
    assert datamover("limit", str(command.pid), "1MB/s", *way).returncode == 0
    assert datamover("stop", str(command.pid), *way).returncode == 0
    assert command.wait(BOUND_S) == 75


def test_the_socket_goes_with_the_command_and_a_killed_ones_with_the_next(
    command: subprocess.Popen[bytes], runtime: Path, tmp_path: Path
) -> None:
    left = runtime / "pipes" / f"{command.pid}.sock"
    assert left.is_socket()
    command.kill()
    command.wait()
    assert left.is_socket()
    assert json.loads(datamover("status", "--json").stdout)["pipes"] == []
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "short.toml").write_text(
        PIPE.replace("/dev/zero", str(tmp_path / "in")).replace("endless", "short")
    )
    assert datamover("pipe", "run", str(tmp_path / "short.toml")).returncode == 0

    assert list((runtime / "pipes").iterdir()) == []


def test_a_runtime_folder_that_is_not_safe_hinders_no_pipe(runtime: Path, tmp_path: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o777)
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "short.toml").write_text(PIPE.replace("/dev/zero", str(tmp_path / "in")))

    assert datamover("pipe", "run", str(tmp_path / "short.toml")).returncode == 0
    assert datamover("status").returncode == 77


# ---- in this process


def steps_until(monitor: Monitor, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        monitor.step(0.05)


def test_garbage_and_silence_disturb_no_pipe_and_end_in_time(runtime: Path) -> None:
    with Monitor() as monitor, asked(monitor):
        live = monitor.start(SPEC)
        live.wait_ready()
        (at,) = (runtime / "pipes").iterdir()
        hello = encode(Hello(release="0", machine="m", pid=1, versions=(1, 1)))
        for said in (b"GET / HTTP/1.1\r\n", hello + b"x" * 20, hello[:-2] + b"!!"):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(at))
                stranger.sendall(said)
                stranger.setblocking(False)
                steps_until(monitor, lambda stranger=stranger: is_closed(stranger))
        assert live.statistics().stages[1].instances[0].buffers_in > 0
        assert live.state == "running"


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(1000):
            continue
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def test_who_says_no_hello_is_let_go() -> None:
    near, far = socket.socketpair()
    with far, Monitor() as monitor:
        guest = Answering(monitor, near, patience=Patience(opening_s=0.05))
        steps_until(monitor, lambda: guest.is_over)
        assert far.recv(10) == b""


def test_no_more_than_a_few_ask_at_once(runtime: Path) -> None:
    with Monitor() as monitor, asked(monitor):
        (at,) = (runtime / "pipes").iterdir()
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(17)]
        for one in crowd:
            one.connect(str(at))
            monitor.step(0.05)
        crowd[-1].setblocking(False)
        assert is_closed(crowd[-1])
        for one in crowd:
            one.close()


def test_a_command_runs_no_pipe_for_others(runtime: Path) -> None:
    with Monitor() as monitor, asked(monitor):
        (at,) = (runtime / "pipes").iterdir()
        refused: list[Exception] = []

        def ask() -> None:
            with reach_socket(at, name="here") as peer:
                try:
                    message = ExtendPipe(request=0, pipe="p", part=0, spec=plain_of(SPEC))
                    peer.ask(message, kind=Extended, timeout=BOUND_S)
                except PeerRefusedError as error:
                    refused.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while thread.is_alive():
            monitor.step(0.05)
        assert "its own pipes only" in str(refused[0])
        assert monitor.pipes == ()


def test_two_monitors_of_one_process_have_a_socket_each(runtime: Path) -> None:
    with Monitor() as one, asked(one), Monitor() as two, asked(two):
        names = sorted(path.name for path in (runtime / "pipes").iterdir())
    assert names == [f"{os.getpid()}-1.sock", f"{os.getpid()}.sock"]
    assert list((runtime / "pipes").iterdir()) == []


def test_whoever_stopped_a_pipe_is_named_by_it() -> None:
    with Monitor() as monitor:
        live = monitor.start(SPEC)
        live.stop("root@near")
        with pytest.raises(StopRequestedError, match="stopped by root@near"):
            live.wait()


def test_a_signal_ends_a_command_and_its_socket(
    command: subprocess.Popen[bytes], runtime: Path
) -> None:
    command.send_signal(signal.SIGTERM)
    assert command.wait(BOUND_S) == 143
    assert list((runtime / "pipes").iterdir()) == []
