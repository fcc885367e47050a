"""A pipe over two machines ends as a whole, and names who failed, whenever that is heard."""

from __future__ import annotations

import os

import pytest

from datamover.errors import ForkServerError, PeerRefusedError, StageFailedError, facts
from datamover.ids import PipeName
from datamover.monitor.joint import JointPipe, Place
from datamover.monitor.supervisor import Monitor
from datamover.pipe.spec import PipeSpec, StageSpec
from datamover.pipe.split import split
from datamover.wire.message import Extended, ExtendPipe, PipeEnded, StopPipe

SPEC = PipeSpec(
    name="x",
    stages=[
        StageSpec(use="read", at="far", settings={"path": "/dev/zero"}),
        StageSpec(use="discard"),
    ],
    buffers=8,
    buffer_size=65536,
)
KILLED = StageFailedError(
    stage="read", instance=0, sequence=-1, cause="killed by signal 9", cause_code="killed"
)


class Far:
    """A machine that says in one step that its part is up, and that it has failed."""

    def __init__(self, failure):
        self._failure = dict(facts(failure))
        self._due = []
        self.stopped = []

    def watch(self, monitor, *, on_message, on_lost):  # noqa: ARG002 - it is never lost
        self._say = on_message
        monitor.tend(self._deliver)

    def post(self, message):
        match message:
            case ExtendPipe(pipe=pipe, part=part):
                self._due = [
                    Extended(request=1, pipe=pipe, part=part),
                    PipeEnded(pipe=pipe, part=part, how="failed", failure=self._failure),
                ]
            case StopPipe(pipe=pipe):
                self.stopped.append(pipe)
        return 1

    def _deliver(self):
        due, self._due = self._due, []
        for message in due:
            self._say(message)
        return 0.0


def start(failure):
    """Start a pipe whose part on far fails so; return the error, and what had been started here."""
    far = Far(failure)
    place = Place(peer=far, dialing=lambda _: {}, accepting=lambda _: {})
    with Monitor() as monitor:
        pipe = JointPipe(
            name=PipeName("x-1"),
            parts=split(SPEC, os.urandom),
            places={"far": place},
            monitor=monitor,
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the test looks at it
            pipe.start()
        return caught.value, monitor.pipes, monitor.led


def test_who_fails_as_soon_as_it_is_up_is_named_and_nothing_is_begun_here():
    error, pipes, led = start(KILLED)

    assert isinstance(error, StageFailedError)
    assert (error.stage, error.machine, error.cause_code) == ("read", "far", "killed")
    assert pipes == ()
    assert led == []


def test_a_fork_server_that_dies_there_is_named_with_its_machine():
    error, *_ = start(ForkServerError(status=-9))

    assert isinstance(error, ForkServerError)
    assert (error.status, error.machine) == (-9, "far")
    assert str(error).startswith("the fork server on far was killed by signal 9")


def test_what_is_no_stage_s_failure_is_told_as_the_machine_s():
    error, *_ = start(PeerRefusedError(peer="x", reason="no"))

    assert isinstance(error, PeerRefusedError)
    assert (error.peer, error.cause_code) == ("far", "peer.refused")
