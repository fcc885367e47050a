"""Jobs that the daemon goes on with by itself: after a lost network, and after its own restart.

    start ──▶ file, fsync ──▶ attempt ──▶ done, failed, stopped ──▶ file
                                 ▲  │
                          backoff└──┘ the network, a machine, or the process was lost

Each attempt is a process (``attended``) that does what the command does.

Source: docs/spec/jobs.md; SPEC G9, C16, C19; issue 3, section 5; ADR 0023.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import (
    DataMoverError,
    FormatError,
    MalformedError,
    PeerError,
    UsageError,
    is_retryable,
)
from datamover.link.events import tell, warn
from datamover.monitor.attended import Attended, attended
from datamover.monitor.here import Here
from datamover.monitor.job_file import ENDED, JobFile, JobFolder
from datamover.pipe.plain import unpacked
from datamover.wire.account import Account
from datamover.wire.message import Answer, Call, Part, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from datamover.monitor.supervisor import Monitor
    from datamover.wire.message import Message, Plain

__all__ = ["Jobs"]

_MOST: Final = 64
_LEAST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 60.0
_MOST_DEATHS: Final = 10
_KILLED: Final = frozenset({"killed", "silent", "pipe.fork-server", "pipe.controller"})
"""What ends an attempt besides a lost network, and may be otherwise the next time."""
_END_S: Final = 15.0
_LONGEST_REASON: Final = 500
_LISTED: Final = ("id", "kind", "state", "attempts", "begun", "ended")


class _Start(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    given: dict[str, object]


@dataclass(slots=True, eq=False)
class _Job:
    """One job that has not ended; see ``roster.Led``."""

    file: JobFile
    jobs: Jobs
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    process: Attended | None = None
    due: float = 0.0
    deaths: int = 0
    progress: str = ""
    stopped_by: str = ""

    @property
    def name(self) -> str:
        """See ``Led``."""
        return self.file.id

    def account(self) -> Account:
        """See ``Led``."""
        what = self.file.given.get("what", self.file.kind)
        note = f"{what}\nattempt {self.file.attempts}"
        if self.file.state == "waiting":
            left = max(0.0, self.due - time.monotonic())
            reason = self.file.reason[:_LONGEST_REASON]
            note = f"{note} failed, the next in {left:.0f} s\n{reason}"
        elif self.progress:
            note = f"{note}: {self.progress}"
        return Account(
            pipe=self.file.id,
            machine=platform.node(),
            pid=self.process.pid if self.process else 0,
            state=self.file.state,
            note=note,
        )

    def stop(self, by: str) -> None:
        """See ``Led``."""
        self.stopped_by = self.stopped_by or by
        self.wake.set()
        if self.process is not None:
            self.process.terminate()

    def set_limit(self, bytes_per_s: int) -> None:
        """See ``Led``: this attempt, and those that follow."""
        self.jobs.limit(self, bytes_per_s)


class Jobs:
    """The jobs of one daemon; lives in the running event loop."""

    def __init__(
        self, *, monitor: Monitor, command: Sequence[str], folder: Path, runtime: Path
    ) -> None:
        """Have none; see ``resume``.

        Args:
            monitor: Shows them to who asks.
            command: What to start for an attempt.
            folder: Where their files are.
            runtime: Where commands that run pipes are found.
        """
        self._monitor = monitor
        self._command = tuple(command)
        self._folder = JobFolder(folder)
        self._here = Here(runtime)
        self._running: list[_Job] = []
        self._chores: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Go on with what had not ended when the daemon did."""
        for job in self._folder.read():
            if job.state not in ENDED:
                tell("job.resumed", job=job.id, attempts=job.attempts)
                self._begin(job)

    def call(self, method: str, given: Plain) -> Mapping[str, object]:
        """Answer a call of a conversation.

        Raises:
            UsageError: There is no such method, or it cannot be.
            OSError: The job's file cannot be written; nothing was begun.
        """
        if method == "job.start":
            return {"job": self.start(given)}
        if method == "job.list":
            return {"jobs": [_listed(one) for one in self._folder.read()]}
        raise UsageError(reason=f"no method {method:.100} is served here")

    def start(self, given: Plain) -> str:
        """Begin a job; return its name."""
        try:
            asked = msgspec.convert(given, _Start)
            job = msgspec.convert(
                {
                    "id": f"job-{secrets.token_hex(4)}",
                    "kind": asked.kind,
                    "given": unpacked(asked.given),
                    "begun": int(time.time()),
                },
                JobFile,
            )
        except msgspec.ValidationError as error:
            raise MalformedError(what="job", reason=str(error)) from None
        if len(self._running) >= _MOST:
            raise UsageError(reason=f"a monitor has at most {_MOST} jobs")
        self._folder.write(job)
        tell("job.begun", job=job.id, kind=job.kind)
        self._begin(job)
        return job.id

    def limit(self, job: _Job, bytes_per_s: int) -> None:
        """Limit an attempt that runs, and those that follow."""
        travel = job.file.given.get("travel")
        changed = {**(travel if isinstance(travel, Mapping) else {}), "limit": bytes_per_s}
        self._note(job, given={**job.file.given, "travel": changed})
        if job.process is not None:
            chore = asyncio.ensure_future(self._limit(job, job.process.pid, bytes_per_s))
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def end(self) -> None:
        """End the attempts that run; a later daemon goes on with them."""
        tasks = [job.task for job in self._running if job.task is not None]
        for job in self._running:
            if job.process is not None:
                job.process.terminate()
        for task in tasks:
            task.cancel()
        await asyncio.wait([*tasks, *self._chores], timeout=_END_S) if tasks else None

    # ---- inside

    def _begin(self, file: JobFile) -> None:
        job = _Job(file=file, jobs=self)
        self._running.append(job)
        self._monitor.led.append(job)
        job.task = asyncio.ensure_future(self._keep_at(job))

    async def _limit(self, job: _Job, pid: int, bytes_per_s: int) -> None:
        try:
            for account in await asyncio.to_thread(self._here.accounts):
                if account.pid == pid and account.pipe != job.name:
                    await asyncio.to_thread(self._here.set_limit, account.pipe, bytes_per_s)
        except DataMoverError as error:
            warn("job.not-limited", job=job.name, reason=error)

    async def _keep_at(self, job: _Job) -> None:
        try:
            wait = _LEAST_WAIT_S / 2
            while job.file.state not in ENDED:
                begun = time.monotonic()
                await self._attempt(job)
                lasted = time.monotonic() - begun
                wait = _LEAST_WAIT_S if lasted > _MOST_WAIT_S else min(2 * wait, _MOST_WAIT_S)
                await self._pause(job, wait)
        finally:
            self._running.remove(job)
            self._monitor.led.remove(job)

    async def _attempt(self, job: _Job) -> None:
        """Try once, and note what came of it."""
        self._note(job, state="running", attempts=job.file.attempts + 1)
        job.progress = ""
        answer: Message | None = None
        status = 71
        try:
            async with attended(self._command) as process:
                job.process = process
                process.post(
                    Call(request=1, method=f"job.{job.file.kind}", given=dict(job.file.given))
                )
                async for message in process.messages():
                    if isinstance(message, Part):
                        job.progress = str(message.values.get("progress", ""))[:200]
                    elif isinstance(message, Answer | Refused):
                        answer = message
                if job.stopped_by:
                    process.terminate()
                status = await process.wait()
        except (OSError, FormatError) as error:
            warn("job.controller-lost", job=job.file.id, reason=error)
        finally:
            job.process = None
        self._judge(job, answer, status)

    def _judge(self, job: _Job, answer: Message | None, status: int) -> None:
        match answer:
            case Answer(values=values):
                self._end(job, "done", summary=dict(values))
            case _ if job.stopped_by:
                self._end(job, "stopped", f"stopped by {job.stopped_by}")
            case Refused(code="pipe.stopped", reason=reason):
                self._end(job, "stopped", reason)
            case Refused(code=code, reason=reason) if is_retryable(code) or code in _KILLED:
                job.deaths = 0
                self._note(job, state="waiting", reason=reason)
            case Refused(reason=reason):
                self._end(job, "failed", reason)
            case _:
                job.deaths += 1
                how = f"killed by signal {-status}" if status < 0 else f"status {status}"
                reason = f"the process of the attempt ended: {how}"
                if job.deaths < _MOST_DEATHS:
                    self._note(job, state="waiting", reason=reason)
                else:
                    self._end(job, "failed", f"{reason}, {job.deaths} times in a row")

    async def _pause(self, job: _Job, seconds: float) -> None:
        if job.file.state in ENDED:
            return
        job.due = time.monotonic() + seconds
        warn("job.waits", job=job.file.id, seconds=seconds, reason=job.file.reason)
        try:
            await asyncio.wait_for(job.wake.wait(), seconds)
        except TimeoutError:
            return
        self._end(job, "stopped", f"stopped by {job.stopped_by}")

    def _end(self, job: _Job, state: str, reason: str = "", **more: object) -> None:
        self._note(job, state=state, reason=reason, ended=int(time.time()), **more)
        log = warn if state == "failed" else tell
        log("job.ended", job=job.file.id, how=state, reason=reason)

    def _note(self, job: _Job, **changes: object) -> None:
        """Keep what has become of a job; a disk that refuses must not end it."""
        job.file = msgspec.structs.replace(job.file, **changes)
        try:
            self._folder.write(job.file)
        except (OSError, DataMoverError, PeerError) as error:
            warn("job.not-kept", job=job.file.id, reason=error)


def _listed(job: JobFile) -> dict[str, object]:
    """Return what is told of a job: a hundred of them must fit one message."""
    found: dict[str, object] = {name: getattr(job, name) for name in _LISTED}
    what = str(job.given.get("what", ""))[:_LONGEST_REASON]
    return found | {"reason": job.reason[:_LONGEST_REASON], "what": what}
