"""Run one pipe as a job: show its progress, pass on its notices, sum it up.

Source: SPEC X5, U18; docs/ARCHITECTURE.md.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError
from datamover.monitor.live import Outcome
from datamover.mover.report import Notice, Progress, StageShare, Watch

if TYPE_CHECKING:
    from datamover.errors import Fact
    from datamover.monitor.joint import JointPipe, Place
    from datamover.monitor.live import LivePipe
    from datamover.monitor.statistics import PipeStatistics, StageStatistics
    from datamover.monitor.supervisor import Monitor
    from datamover.mover.forecast import Forecast
    from datamover.pipe.spec import PipeSpec

__all__ = ["Finished", "Job", "processors"]

_TICK: Final = 0.1
_PATIENCE: Final = 10.0
_SENDS: Final = "net_send"

Hook = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What came of a job."""

    outcome: Outcome
    stages: tuple[StageShare, ...]
    seconds: float

    def number(self, stage: str, name: str) -> int:
        """Sum of what the instances of ``stage`` left under ``name``."""
        values = [given.get(name, 0) for given in self.outcome.results.get(stage, ())]
        return sum(value for value in values if isinstance(value, int))


class Job:
    """A job about to run: its name, who watches, and what its notices mean to the caller."""

    def __init__(
        self,
        kind: str,
        watch: Watch,
        *,
        monitor: Monitor,
        counts: str,
        also: str = "",
        places: Mapping[str, Place] | None = None,
    ) -> None:
        """Prepare a job.

        Args:
            kind: "backup", "restore" or "verify".
            watch: Who looks on.
            monitor: Where the pipe runs.
            counts: The stage whose items are the files done, and whose bytes are the progress.
            also: Another stage that does a part of them.
            places: The other machines that stages may run on.
        """
        self._kind = kind
        self._watch = watch
        self._monitor = monitor
        self._counts = {counts, also}
        self._places = places or {}
        self._hooks: dict[str, Hook] = {}
        self._due: deque[tuple[Hook, Mapping[str, object]]] = deque()
        self._notices: Counter[str] = Counter()
        self._started = time.monotonic()
        self.total_files: int | None = None
        self.total_bytes: int | None = None
        self.forecast: Forecast | None = None
        self.on_sent: Callable[[int], None] | None = None

    def on(self, kind: str, hook: Hook) -> None:
        """Take notices of this kind for the caller: nobody else sees them."""
        self._hooks[kind] = hook

    def after(self, kind: str, hook: Hook) -> None:
        """Take notices of this kind too, and call ``hook`` between two looks at the pipe.

        For hooks that ask another machine, and so let the pipe go on while they wait: two of them
        never run at once, and they run in the order of their notices.
        """
        self._hooks[kind] = lambda given: self._due.append((hook, given))

    @property
    def notices(self) -> Mapping[str, int]:
        """How many notices of each kind were passed on."""
        return dict(self._notices)

    def tell(self, stage: str, kind: str, given: Mapping[str, object]) -> None:
        """Pass a notice on to who watches."""
        facts: dict[str, Fact] = {
            name: value
            for name, value in given.items()
            if value is None or isinstance(value, str | int | float | bool)
        }
        self._notices[kind] += 1
        self._watch.notice(Notice(kind=kind, stage=stage, given=facts))

    def run(self, spec: PipeSpec) -> Finished:
        """Run the pipe to its end.

        Raises:
            StageFailedError: A stage ended abnormally.

        Blocking: until the pipe has ended.
        """
        pipe = self._start(spec)
        try:
            while not pipe.poll(_TICK):
                self._catch_up()
                self._watch.progress(self._progress(pipe))
        except BaseException:
            # Whoever cleans up behind this must not meet a stage that still writes.
            pipe.stop("the job, which gave up")
            deadline = time.monotonic() + _PATIENCE
            while not pipe.poll(_TICK) and time.monotonic() < deadline:
                continue
            raise
        try:
            outcome = pipe.outcome()
        except DataMoverError:
            # What was heard before the failure still holds.
            with suppress(DataMoverError):
                self._catch_up()
            raise
        self._catch_up()
        return Finished(
            outcome=outcome,
            stages=tuple(_share(stage, outcome.statistics) for stage in outcome.statistics.stages),
            seconds=time.monotonic() - self._started,
        )

    def _start(self, spec: PipeSpec) -> LivePipe | JointPipe:
        if not any(stage.at for stage in spec.stages):
            return self._monitor.start(spec, on_notice=self._heard)
        # Imported late: most pipes stay on this machine.
        from datamover.monitor.joint import JointPipe  # noqa: PLC0415 - as above
        from datamover.monitor.supervisor import new_name  # noqa: PLC0415 - as above
        from datamover.mover.route import WINDOW  # noqa: PLC0415 - as above
        from datamover.pipe.split import split  # noqa: PLC0415 - as above

        pipe = JointPipe(
            name=new_name(spec),
            parts=split(spec, os.urandom, window=WINDOW),
            places=self._places,
            monitor=self._monitor,
            on_notice=self._heard,
        )
        pipe.start()
        return pipe

    def _catch_up(self) -> None:
        while self._due:
            hook, given = self._due.popleft()
            hook(given)

    def _heard(self, stage: str, _instance: int, kind: str, given: Mapping[str, object]) -> None:
        hook = self._hooks.get(kind)
        if hook is not None:
            hook(given)
        else:
            self.tell(stage, kind, given)

    def _progress(self, pipe: LivePipe | JointPipe) -> Progress:
        statistics = pipe.statistics()
        limiting = statistics.limiting
        first, last = statistics.stages[0], statistics.stages[-1]
        if self.on_sent is not None:
            leaves = next((s for s in statistics.stages if s.stage == _SENDS), last)
            self.on_sent(sum(i.bytes_in for i in leaves.instances))
        counted = [s for s in statistics.stages if s.stage in self._counts]
        return Progress(
            job=self._kind,
            elapsed_s=time.monotonic() - self._started,
            files=sum(i.items for s in counted for i in s.instances),
            bytes_in=sum(
                max(i.bytes_in, i.bytes_out) for s in counted or [first] for i in s.instances
            ),
            bytes_out=sum(i.bytes_in for i in last.instances),
            total_files=self.forecast.files if self.forecast else self.total_files,
            total_bytes=self.forecast.bytes if self.forecast else self.total_bytes,
            limiting=limiting.stage,
            limiting_busy=limiting.busy,
        )


def _share(stage: StageStatistics, whole: PipeStatistics) -> StageShare:
    total = (whole.elapsed_s or 1.0) * len(stage.instances)

    def part(seconds: float) -> float:
        return min(1.0, seconds / total)

    return StageShare(
        stage=stage.stage,
        instances=len(stage.instances),
        busy=part(sum(i.busy_s for i in stage.instances)),
        wait_input=part(sum(i.wait_input_s for i in stage.instances)),
        wait_buffer=part(sum(i.wait_buffer_s for i in stage.instances)),
        wait_output=part(sum(i.wait_output_s for i in stage.instances)),
        buffers=sum(max(i.buffers_in, i.buffers_out) for i in stage.instances),
        bytes=sum(max(i.bytes_in, i.bytes_out) for i in stage.instances),
    )


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
