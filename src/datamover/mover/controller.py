"""The controller (Network Controller Process): leads one pipe for the monitor that started it.

    monitor ── InitiatePipe ──▶ controller ── ExtendPipe ──▶ monitors elsewhere
            ◀── Initiated, notices, PipeEnded ──┘

The pipe lives in the controller: a mistake in it, or a machine that does not answer, holds up
nobody else whom the monitor serves.  Each sees the end of the other by the line between them.

Source: seed FIG. 2B (60A), 3B; docs/spec/control-protocol.md, section 8; SPEC C5, C16; ADR 0023.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError, MalformedError, facts
from datamover.monitor.core import State
from datamover.monitor.ending import ending, refusal, refused
from datamover.monitor.initiation import initiation
from datamover.monitor.live import LivePipe
from datamover.monitor.pipe_socket import asked as answering
from datamover.monitor.supervisor import Monitor
from datamover.mover.job_run import run_job, travel_of
from datamover.mover.lead import led
from datamover.wire.message import (
    Call,
    Initiated,
    InitiatePipe,
    PipeEnded,
    PipeNotice,
    SetLimit,
    StopPipe,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.monitor.joint import JointPipe
    from datamover.monitor.line import Line
    from datamover.mover.job_run import PassphraseOf

__all__ = ["control"]

_TICK: Final = 0.2


def control(line: Line, passphrase: PassphraseOf) -> None:
    """Lead the pipe, or do the job, that the line asks for, to its end.

    Args:
        line: To the monitor; when that is gone, the pipe is stopped.
        passphrase: Reads one from a file, when a job needs it.

    Raises:
        PeerLostError: Nothing was asked for.

    Blocking: until the pipe has ended.
    """
    asked = line.first()
    if isinstance(asked, InitiatePipe):
        with Monitor() as monitor, answering(monitor):
            _Controller(line, monitor, asked).run()
    elif isinstance(asked, Call):
        run_job(line, asked, passphrase)


class _Controller:
    def __init__(self, line: Line, monitor: Monitor, asked: InitiatePipe) -> None:
        self._line = line
        self._monitor = monitor
        self._asked = asked
        self._is_told = False
        self._name = ""

    def run(self) -> None:
        asked, line = self._asked, self._line
        try:
            made = initiation(asked, os.urandom)
            line.watch(self._monitor)
            travel = travel_of(asked.travel)
            with led(made.spec, travel, monitor=self._monitor, on_notice=self._notice) as pipe:
                self._name = pipe.name
                initiated = Initiated(
                    request=asked.request,
                    pipe=pipe.name,
                    pid=os.getpid(),
                    gate=made.gate,
                    token=made.token,
                )
                self._lead(pipe, initiated)
        except (DataMoverError, OSError) as error:
            self._refuse(error)
            return
        ended = ending(pipe.name, 0, pipe.outcome)
        try:
            line.say(ended if self._is_told else refusal(asked.request, ended))
        except MalformedError as error:
            failure: dict[str, object] = dict(facts(error))
            line.say(PipeEnded(pipe=pipe.name, part=0, how="failed", failure=failure))

    def _lead(self, pipe: LivePipe | JointPipe, initiated: Initiated) -> None:
        while not pipe.poll(_TICK):
            if not self._is_told and _is_up(pipe):
                self._is_told = True
                self._line.say(initiated)
            for message in self._line.take():
                match message:
                    case StopPipe(reason=reason):
                        pipe.stop(reason)
                    case SetLimit(bytes_per_s=bytes_per_s):
                        pipe.set_limit(bytes_per_s)
                    case _:
                        continue
            if self._line.is_gone:
                pipe.stop("the loss of the monitor")
        if not self._is_told and _finished(pipe):
            self._is_told = True
            self._line.say(initiated)

    def _refuse(self, error: DataMoverError | OSError) -> None:
        self._line.say(refused(self._asked.request, error))

    def _notice(self, stage: str, instance: int, kind: str, given: Mapping[str, object]) -> None:
        self._line.say(
            PipeNotice(
                pipe=self._name,
                part=0,
                stage=stage,
                instance=instance,
                kind=kind,
                given=dict(given),
            )
        )


def _is_up(pipe: LivePipe | JointPipe) -> bool:
    if isinstance(pipe, LivePipe):
        return pipe.state is State.RUNNING
    return pipe.is_up


def _finished(pipe: LivePipe | JointPipe) -> bool:
    """Whether it was so short that nobody saw it run."""
    return ending("", 0, pipe.outcome).how == "finished"
