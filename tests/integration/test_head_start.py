"""Commands that run pipes fork their server at once, and it is as clean as one that exec made."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.testing.program import Program

pytestmark = pytest.mark.processes

SECRET = "open sesame"
DEADLINE_S = 20


@pytest.fixture
def program():
    return Program(passphrase=SECRET)


@pytest.fixture
def waiting(program, tmp_path):
    """A backup that waits for a passphrase file, which is a FIFO, after its server was forked."""
    (tmp_path / "source").write_bytes(os.urandom(5000))
    program.run("init", tmp_path / "store").check(0)
    os.mkfifo(tmp_path / "passphrase")
    options = ("--to", tmp_path / "store", "--passphrase-file", tmp_path / "passphrase")
    job = program.start("backup", tmp_path / "source", *options)
    yield job
    (tmp_path / "passphrase").write_text(SECRET)
    job.wait().check(0)


def proc(task, name):
    return Path(f"/proc/{task.pid}/{name}").read_bytes()


def signals(task, field):
    """The signals in one of the masks of /proc/PID/status."""
    line = next(n for n in proc(task, "status").decode().splitlines() if n.startswith(field))
    mask = int(line.split()[1], 16)
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


def test_the_server_is_a_copy_and_not_a_second_program(waiting):
    server = waiting.wait_task("dm:forkserver", timeout=DEADLINE_S)
    main = next(task for task in waiting.tasks() if task.name == "main")

    assert server is not None
    assert proc(server, "cmdline") == proc(main, "cmdline")


def test_the_copy_does_not_show_the_passphrase(waiting):
    server = waiting.wait_task("dm:forkserver", timeout=DEADLINE_S)
    main = next(task for task in waiting.tasks() if task.name == "main")

    assert SECRET.encode() in proc(main, "environ")
    assert SECRET.encode() not in proc(server, "environ")


def test_the_copy_handles_no_signal_and_holds_no_file_of_the_command(waiting):
    server = waiting.wait_task("dm:forkserver", timeout=DEADLINE_S)
    names = {os.readlink(one) for one in Path(f"/proc/{server.pid}/fd").iterdir()}

    assert not signals(server, "SigCgt:") & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert not signals(server, "SigBlk:") & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert signal.SIGINT in signals(server, "SigIgn:")
    assert len([name for name in names if name.startswith("socket:")]) == 1


def test_a_server_that_nobody_takes_is_gone_when_the_command_is(program, tmp_path):
    for words in (["backup", "--frob"], ["verify", tmp_path / "nowhere"]):
        assert program.run(*words).check(64, 66, 74).left == ()


def test_a_process_with_threads_is_not_copied():
    code = (
        "import threading; from datamover.monitor.server import ServerProcess\n"
        "end = threading.Event(); thread = threading.Thread(target=end.wait); thread.start()\n"
        "print(ServerProcess.forked()); end.set(); thread.join()\n"
        "import os\n"
        "while len(os.listdir('/proc/self/task')) > 1: pass\n"  # joined is not yet gone
        "server = ServerProcess.forked(); print(server is None); server.close()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )

    assert told.stdout.split() == ["None", "False"]
