"""Programs that are no tasks join a pipe, and whatever they do, only they come to harm."""

import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from datamover.errors import GuestError, PeerUnreachableError, SpecError, StageFailedError
from datamover.link.gate import attach_door
from datamover.link.guest import Guest
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.shm.tokens import END, TOKEN
from datamover.wire.attach import GuestHello, GuestPlace

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent / "guests"
SIZE = 4096
SECONDS = 60.0
DATA = random.Random(5).randbytes(40 * SIZE + 17)
HEAD, TAIL = GuestPlace.HEAD, GuestPlace.TAIL


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAMOVER_RUNTIME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def monitor(runtime):  # noqa: ARG001  tasks inherit the environment of the first
    with Monitor() as found:
        found.warm_up()
        yield found


class Pipe:
    """A pipe under way, stepped by a thread, so that this one can be its guest."""

    def __init__(self, monitor, head, tail, middle=()):
        stages = [head, *middle, tail]
        spec = PipeSpec(name="attach", stages=stages, buffer_size=SIZE, buffers=8)
        self.notices = []
        self.live = monitor.start(spec, on_notice=lambda *told: self.notices.append(told))
        self.live.wait_ready()
        self._thread = threading.Thread(target=self._step, daemon=True)
        self._thread.start()

    def _step(self):
        deadline = time.monotonic() + SECONDS
        while not self.live.poll(0.02) and time.monotonic() < deadline:
            continue

    def outcome(self):
        self._thread.join(SECONDS)
        if not self.live.is_over:
            self.live.stop()
            self.live.poll(5)
            pytest.fail("the pipe did not end")
        return self.live.outcome()

    def stop(self):
        self.live.stop()
        self._thread.join(SECONDS)


def stage(use, **settings):
    return StageSpec(use=use, settings=settings)


def feeding(monitor, out, **settings):
    """A pipe from a guest to a file, with work in between."""
    head = stage("from_guest", pipe="p", **settings)
    middle = [stage("checksum"), stage("verify")]
    return Pipe(monitor, head, stage("write", path=str(out)), middle)


def taking(monitor, source):
    return Pipe(monitor, stage("read", path=str(source)), stage("to_guest", pipe="p"))


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def door(runtime, place=HEAD):
    """The door, once it is there."""
    path = attach_door(runtime, "p", place)
    until(path.exists)
    return path


def attach(*options, **given):
    command = [sys.executable, "-m", "datamover", "attach", "p", *options]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, **given)


def send(guest, data):
    """Send data as one buffer."""
    index, _ = next(guest.receive())
    with guest.data(index) as view:
        view[: len(data)] = data
    guest.give(index, len(data))
    return index


def test_the_command_feeds_a_pipe(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out")
    door(runtime)
    done = attach("--head", input=DATA)
    outcome = pipe.outcome()

    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out").read_bytes() == DATA
    assert outcome.results["from_guest"] == ({"bytes": len(DATA), "guests": 1},)


def test_the_command_takes_what_a_pipe_brings(monitor, runtime, tmp_path):
    (tmp_path / "in").write_bytes(DATA)
    pipe = taking(monitor, tmp_path / "in")
    door(runtime, TAIL)
    done = attach("--tail")

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == DATA
    assert pipe.outcome().results["to_guest"] == ({"bytes": len(DATA)},)


def test_a_guest_in_c_feeds_a_pipe(monitor, runtime, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("tcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path / "head"
    subprocess.run([compiler, "-Wall", "-o", program, HERE / "head.c"], check=True)
    pipe = feeding(monitor, tmp_path / "out")
    # Short, for a socket's address has little room.
    here = os.open(door(runtime).parent, os.O_PATH)
    name = f"/proc/{os.getpid()}/fd/{here}/{door(runtime).name}"
    done = subprocess.run([program, name], input=DATA, timeout=SECONDS, check=False)
    os.close(here)

    assert done.returncode == 0
    assert pipe.outcome().results["from_guest"][0]["bytes"] == len(DATA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_a_guest_in_plain_shell_feeds_a_pipe(monitor, runtime, tmp_path):
    text = b"".join(b"line %d of a guest\n" % number for number in range(12))
    pipe = feeding(monitor, tmp_path / "out")
    door(runtime)
    done = attach("--head", "--run", f"sh {HERE / 'head.sh'}", input=text)

    assert (done.returncode, done.stderr) == (0, b"")
    pipe.outcome()
    assert (tmp_path / "out").read_bytes() == text


def test_a_guest_in_plain_shell_takes_what_a_pipe_brings(monitor, runtime, tmp_path):
    (tmp_path / "in").write_bytes(DATA)
    pipe = taking(monitor, tmp_path / "in")
    door(runtime, TAIL)
    done = attach("--tail", "--run", f"sh {HERE / 'tail.sh'}")

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == DATA
    pipe.outcome()


# ---- guests that mean harm, or come to some


def test_what_a_guest_writes_after_it_sent_changes_nothing(monitor, runtime, tmp_path):
    """The bytes that count are those at the moment when the gate took them: all or none of them."""
    pipe = feeding(monitor, tmp_path / "out")
    with Guest.of(door(runtime), HEAD) as guest:
        sent = [send(guest, b"a" * SIZE) for _ in range(8)]
        # The gate has taken a buffer when it comes back, which the last ones need not have.
        for index in range(guest.terms.buffers):
            with guest.data(index) as view:
                view[:] = b"b" * SIZE
        guest.end()
        assert guest.wait_taken() == 8 * SIZE
    pipe.outcome()
    out = (tmp_path / "out").read_bytes()

    assert len(sent) * SIZE == len(out)
    assert out[: 4 * SIZE] == b"a" * (4 * SIZE)


BROKEN = {
    "a foreign index": TOKEN.pack(77, 1, 0),
    "a huge index": TOKEN.pack(END - 1, 1, 0),
    "too many bytes": TOKEN.pack(1, SIZE + 1, 0),
    "more behind the end": TOKEN.pack(END, 0, 0) + TOKEN.pack(0, 1, 0),
}
# What may be right or wrong by the moment: a buffer is the guest's again as soon as it was taken.
ODD = {
    "half a token": TOKEN.pack(0, 1, 0)[:7],
    "one twice": TOKEN.pack(0, 1, 0) * 2,
    "a flood": b"".join(struct.pack("<IIQ", n % 4, 1, n) for n in range(4000)),
}


@pytest.mark.parametrize("kind", [*BROKEN, *ODD])
def test_a_guest_that_breaks_a_rule_is_thrown_out_and_the_next_one_goes_on(
    kind, monitor, runtime, tmp_path
):
    pipe = feeding(monitor, tmp_path / "out", on_loss="wait")
    with Guest.of(door(runtime), HEAD) as guest:
        send(guest, b"first")
        os.write(guest.outbox, (BROKEN | ODD)[kind])
        if kind in BROKEN:
            with pytest.raises(GuestError):
                guest.wait_taken()
    with Guest.of(door(runtime), HEAD) as guest:
        send(guest, b"second")
        guest.end()
        assert guest.wait_taken() == len(b"second")
    result = pipe.outcome().results["from_guest"][0]

    assert result["guests"] == 2
    assert [told[2] for told in pipe.notices] == ["guest"]
    out = (tmp_path / "out").read_bytes()
    assert out.startswith(b"first")
    assert out.endswith(b"second")


def test_a_guest_that_is_killed_fails_the_pipe_which_names_the_gate(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out")
    door(runtime)
    command = [sys.executable, "-m", "datamover", "attach", "p", "--head"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
        program.stdin.write(DATA[: 5 * SIZE])
        program.stdin.flush()
        until(lambda: pipe.live.statistics().stages[-1].instances[0].buffers_in >= 4)
        program.send_signal(signal.SIGKILL)
    with pytest.raises(StageFailedError, match="gone before its end") as caught:
        pipe.outcome()

    assert caught.value.stage == "from_guest"
    assert caught.value.cause_code == GuestError.code


def test_after_a_lost_guest_a_pipe_can_end_with_what_had_come(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out", on_loss="end")
    with Guest.of(door(runtime), HEAD) as guest:
        send(guest, b"all there is")
    pipe.outcome()

    assert (tmp_path / "out").read_bytes() == b"all there is"
    assert [told[2] for told in pipe.notices] == ["guest"]


@pytest.mark.parametrize("harm", ["gone", "foreign", "end"])
def test_a_tail_that_does_not_take_everything_fails_the_pipe(harm, monitor, runtime, tmp_path):
    (tmp_path / "in").write_bytes(DATA)
    pipe = taking(monitor, tmp_path / "in")
    with Guest.of(door(runtime, TAIL), TAIL) as guest:
        index, _ = next(guest.receive())
        if harm == "foreign":
            guest.give(index + 4)
        elif harm == "end":
            guest.end()
        else:
            guest.give(index)
            next(guest.receive())
            guest.leave()
        with pytest.raises(StageFailedError, match="attached program"):
            pipe.outcome()


def test_one_guest_at_a_time_and_only_who_knows_the_token(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out", token="ab" * 16)
    with pytest.raises(GuestError, match="the token is another"):
        Guest.of(door(runtime), HEAD)
    with pytest.raises(GuestError, match="this is the head"):
        Guest.of(door(runtime), TAIL)
    with Guest.of(door(runtime), HEAD, bytes.fromhex("ab" * 16)) as guest:
        guest.end()
        assert guest.wait_taken() == 0
    pipe.outcome()


@pytest.mark.parametrize("buffers", [0, 65, 1 << 40])
def test_a_guest_has_no_odd_number_of_buffers(buffers, monitor, tmp_path):
    with pytest.raises(StageFailedError, match=f"1 to 64 buffers, not {buffers}"):
        feeding(monitor, tmp_path / "out", buffers=buffers).outcome()


def test_who_says_nothing_or_nonsense_keeps_nobody_out(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out")
    here = os.open(door(runtime).parent, os.O_PATH)
    name = f"/proc/self/fd/{here}/{door(runtime).name}"
    for said in (b"", b"x", b"y" * 500, GuestHello(place=HEAD).encode()[:-1]):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(name)
            if said:
                stranger.send(said)
    os.close(here)
    with Guest.of(door(runtime), HEAD) as guest:
        guest.end()
        assert guest.wait_taken() == 0
    pipe.outcome()


def test_a_pipe_that_waits_for_a_guest_can_be_stopped_and_leaves_no_door(
    monitor, runtime, tmp_path
):
    pipe = feeding(monitor, tmp_path / "out")
    path = door(runtime)
    pipe.stop()

    assert not path.exists()
    with pytest.raises(PeerUnreachableError):
        Guest.of(path, HEAD)


def test_a_door_has_one_gate_and_a_plain_name(monitor, runtime, tmp_path):
    pipe = feeding(monitor, tmp_path / "out")
    door(runtime)
    # A monitor is one thread's, and the first pipe's thread steps the other one.
    with Monitor() as second, pytest.raises(StageFailedError, match="in use"):
        feeding(second, tmp_path / "other").outcome()
    pipe.stop()
    with pytest.raises(SpecError, match="no name for a door"):
        attach_door(runtime, "../p", HEAD)
