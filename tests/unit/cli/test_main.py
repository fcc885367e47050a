"""However the program ends, its status and its words are the documented ones."""

import errno
import json
import signal
import subprocess
import sys

import pytest

from datamover.cli import main as program
from datamover.cli.main import main
from datamover.cli.screen import OutputClosedError
from datamover.errors import NotAStoreError, StageFailedError, UsageError


@pytest.fixture(autouse=True)
def signals_as_they_were():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def command(monkeypatch):
    """Make the command do this instead of what was typed."""

    def install(action):
        def run(_):
            if isinstance(action, BaseException):
                raise action
            return action() if callable(action) else action

        monkeypatch.setattr(program, "_run", run)

    return install


FAILED = StageFailedError(
    stage="store",
    instance=0,
    sequence=7,
    cause="no space left",
    cause_code="media.full",
    cause_status=74,
    cause_hint="free some space",
)


@pytest.mark.parametrize(
    ("action", "status"),
    [
        (0, 0),
        (3, 3),
        (UsageError(reason="no"), 64),
        (NotAStoreError(store="s", reason="no store here"), 66),
        (FAILED, 74),
        (OSError(errno.ENOENT, "No such file or directory", "x"), 74),
        (ZeroDivisionError("division by zero"), 70),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (OutputClosedError(), 141),
    ],
)
def test_each_end_has_its_status(action, status, command, monkeypatch):
    monkeypatch.setattr(program, "close_output", lambda: None)
    command(action)

    assert main(["x"]) == status


def test_an_error_is_a_line_and_a_hint(command, capsys):
    command(NotAStoreError(store="/a\nb", reason="no store here"))
    main(["x"])

    assert capsys.readouterr().err == (
        "error[store.missing]: /a\\nb: no store here\nhint: make one with `datamover init STORE`\n"
    )


def test_the_cause_of_a_failed_stage_gives_the_hint(command, capsys):
    command(FAILED)
    main(["x"])

    assert capsys.readouterr().err == (
        "error[pipe.stage-failed]: stage store, instance 0, sequence 7: no space left\n"
        "hint: free some space\n"
    )


def test_with_json_an_error_is_one_object(command, capsys):
    command(FAILED)
    main(["backup", "--json"])

    found = json.loads(capsys.readouterr().err)
    assert found["event"] == "error"
    assert found["code"] == "pipe.stage-failed"
    assert found["exit_status"] == 74
    assert found["hint"] == "free some space"
    assert found["facts"]["cause_code"] == "media.full"
    assert found["facts"]["sequence"] == 7


def test_json_after_two_dashes_is_a_path(command, capsys):
    command(UsageError(reason="no"))
    main(["backup", "--", "--json"])

    assert capsys.readouterr().err == "error[usage]: no\n"


def test_a_mistake_of_the_program_is_one_line_until_it_is_asked_for(command, capsys, monkeypatch):
    command(ZeroDivisionError("division by zero"))
    monkeypatch.delenv("DATAMOVER_DEBUG", raising=False)
    main(["x"])
    short = capsys.readouterr().err
    monkeypatch.setenv("DATAMOVER_DEBUG", "1")
    main(["x"])
    long = capsys.readouterr().err

    assert short.splitlines()[0] == "error[internal]: ZeroDivisionError: division by zero"
    assert "DATAMOVER_DEBUG=1" in short
    assert "Traceback" not in short
    assert "Traceback" in long


def test_a_stop_signal_unwinds_the_command(command):
    seen = []

    def job():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            seen.append("stopped in order")

    command(job)

    assert main(["x"]) == 143
    assert seen == ["stopped in order"]


def test_a_second_signal_does_not_tear_the_orderly_stop_and_a_third_does(command):
    seen = []

    def job():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            seen.append("still stopping")
            signal.raise_signal(signal.SIGINT)
            seen.append("never")

    command(job)

    assert main(["x"]) == 130
    assert seen == ["still stopping"]


def test_a_signal_that_is_ignored_stays_ignored(command):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command(0)
    main(["x"])

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_signal_at_the_exit_changes_nothing_and_says_nothing():
    program = (
        "import atexit, os, signal, sys\n"
        "from datamover.cli.main import main\n"
        "sys.argv = ['datamover', '--version']\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
