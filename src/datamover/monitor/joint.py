"""A pipe whose parts run on several machines, as the one pipe that it is.

    here:  LivePipe ─┐
                     ├─ JointPipe: poll, statistics, outcome, stop
    vault: a Peer ───┘        ExtendPipe ▶   ◀ Extended, notices, PipeEnded

The parts elsewhere come up first, so that whoever dials finds a door.  When a part fails, or a
machine is lost, the others are stopped, and the first culprit is the one that is named.

Source: seed FIG. 2D, 3B, "Status Monitoring"; SPEC C2, C4, C16, C17; ADR 0014.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import (
    DataMoverError,
    ForkServerError,
    PeerError,
    PeerLostError,
    PeerRefusedError,
    StageFailedError,
    StopRequestedError,
    revive,
)
from datamover.ids import PipeName
from datamover.monitor.account import part_of
from datamover.monitor.core import State
from datamover.monitor.failure import revived_failure
from datamover.monitor.live import Alias, LivePipe, Notify, Outcome
from datamover.monitor.peer import Peer
from datamover.monitor.plan import plain_of
from datamover.monitor.statistics import PipeStatistics, StageStatistics, stage_statistics
from datamover.monitor.supervisor import Monitor
from datamover.pipe.plain import unpacked
from datamover.pipe.split import HERE, Part
from datamover.wire.account import Account, PartAccount
from datamover.wire.message import (
    AskStatus,
    Extended,
    ExtendPipe,
    PipeEnded,
    PipeNotice,
    Refused,
    SetLimit,
    Status,
    StopPipe,
)

if TYPE_CHECKING:
    from datamover.pipe.split import Border
    from datamover.wire.message import Message

__all__ = ["JointPipe", "Place"]

_TICK: Final = 0.2
_ASK_EVERY: Final = 0.5
_UP_WITHIN: Final = 30.0
_DOWN_WITHIN: Final = 10.0

BorderSettings = Callable[["Border"], dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A machine that takes part, as this one reaches it.

    Attributes:
        peer: An open conversation with its monitor; the caller closes it.
        dialing: Settings of a network task here, whose border leads there.
        accepting: Settings of the network task there.
        limit: Bytes a second that may go to it and come from it; 0: as much as can be.
    """

    peer: Peer
    dialing: BorderSettings
    accepting: BorderSettings
    limit: int = 0


@dataclass(slots=True, kw_only=True)
class _Elsewhere:
    """A part on another machine, as far as it was heard of."""

    part: Part
    peer: Peer
    is_up: bool = False
    ended: PipeEnded | None = None
    account: PartAccount | None = None
    stages: tuple[StageStatistics, ...] = ()
    request: int = 0
    lost: bool = False

    @property
    def is_over(self) -> bool:
        return self.lost or self.ended is not None


@dataclass(slots=True, kw_only=True, eq=False)
class JointPipe:
    """A started pipe of several parts; use it from the thread that uses its monitor.

    Attributes:
        name: The same on every machine.
        parts: From ``pipe.split``.
        places: Every machine but this one.
    """

    name: PipeName
    parts: Sequence[Part]
    places: Mapping[str, Place]
    monitor: Monitor
    on_notice: Notify | None = None
    started: float = field(default_factory=time.monotonic)
    _here: dict[int, LivePipe] = field(default_factory=dict)
    _there: dict[int, _Elsewhere] = field(default_factory=dict)
    _culprit: DataMoverError | None = None
    _stopping: float | None = None
    _asked: float = 0.0
    _ended: float = 0.0

    def start(self) -> None:
        """Bring up the parts elsewhere, then those here.

        Raises:
            PeerError: A machine refuses, or is gone; everything is stopped again.
            SpecError: A part here cannot be built; likewise.
            StageFailedError: A task elsewhere failed at once; likewise.

        Blocking: until every task of the other machines is attached, at most 30 s.
        """
        self.monitor.led.append(self)
        try:
            for machine, place in self.places.items():
                place.peer.watch(
                    self.monitor,
                    on_message=lambda message, machine=machine: self._hear(machine, message),  # type: ignore[misc]
                    on_lost=lambda error, machine=machine: self._lose(machine, error),  # type: ignore[misc]
                )
            for part in self.parts:
                if part.machine != HERE:
                    self._extend(part)
            self._wait_up()
            for part in self.parts:
                if part.machine == HERE:
                    spec = part.connected(self._dialing(part))
                    self._here[part.number] = self.monitor.start(
                        spec,
                        on_notice=self.on_notice,
                        alias=Alias(pipe=self.name, part=part.number),
                    )
            limits = [place.limit for place in self.places.values() if place.limit]
            if limits:
                self.set_limit(min(limits))
        except BaseException:
            self.stop("a part that could not be started")
            self._drain()
            self._let_go()
            raise

    @property
    def is_up(self) -> bool:
        """Whether every task is attached, on every machine."""
        return all(pipe.state is not State.STARTING for pipe in self._here.values())

    @property
    def is_over(self) -> bool:
        """Whether every part has ended, wherever it ran."""
        return all(pipe.is_over for pipe in self._here.values()) and all(
            part.is_over for part in self._there.values()
        )

    def poll(self, timeout: float) -> bool:
        """Let the pipe go on for at most ``timeout`` seconds; return whether it is over.

        Blocking: at most ``timeout``.
        """
        deadline = time.monotonic() + timeout
        while not self.is_over:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.monitor.step(min(left, _TICK))
            self._judge()
        if not self._ended:
            self._ended = time.monotonic()
            self._let_go()
        return True

    def wait(self) -> Outcome:
        """Wait for the end, and return what came of it; see ``outcome``.

        Blocking: until every part has ended.
        """
        while not self.poll(_TICK):
            continue
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return what came of a pipe that is over.

        Raises:
            StageFailedError: A stage ended abnormally: which, on which machine, and why.
            PeerLostError: A machine was lost.
            StopRequestedError: The pipe was stopped before its end.
        """
        if self._culprit is not None:
            raise self._culprit
        results: dict[str, tuple[Mapping[str, object], ...]] = {}
        for part in self.parts:
            if part.machine == HERE:
                results |= self._here[part.number].outcome().results
                continue
            ended = self._there[part.number].ended
            if ended is None or ended.how != "finished":
                raise StopRequestedError
            for stage, given in ended.results.items():
                results[stage] = tuple(_facts(one) for one in given)
        return Outcome(
            pipe=self.name,
            seconds=self._ended - self.started,
            results=results,
            statistics=self.statistics(),
        )

    def statistics(self) -> PipeStatistics:
        """Return what every part has done; what runs elsewhere is half a second old at most.

        Blocking: never.
        """
        stages: list[StageStatistics] = []
        for part in self.parts:
            if part.number in self._here:
                stages += self._here[part.number].statistics().stages
            elif part.number in self._there:
                stages += self._there[part.number].stages
        elapsed = (self._ended or time.monotonic()) - self.started
        return PipeStatistics(pipe=self.name, elapsed_s=elapsed, stages=tuple(stages))

    def account(self) -> Account:
        """Return what is known of all parts, for whoever asks this machine; see ``roster.Led``.

        Blocking: never.
        """
        known = [
            part_of(self._here[part.number]) if part.number in self._here else self._elsewhere(part)
            for part in self.parts
        ]
        states = {one.state for one in known} - {State.STOPPED}
        return Account(
            pipe=self.name,
            machine=platform.node(),
            pid=os.getpid(),
            state=states.pop() if len(states) == 1 else self._state(),
            limit=max((pipe.limit for pipe in self._here.values()), default=0),
            parts=known,
        )

    def set_limit(self, bytes_per_s: int) -> None:
        """Let each part send so much a second; 0: as much as it can.

        Blocking: never.
        """
        for pipe in self._here.values():
            pipe.set_limit(bytes_per_s)
        for machine in self._machines():
            self._post(machine, SetLimit(request=0, pipe=self.name, bytes_per_s=bytes_per_s))

    def stop(self, by: str = "the caller") -> None:
        """Ask every part to end; ``wait`` then raises StopRequestedError.

        Blocking: never.
        """
        if self._stopping is None:
            self._stopping = time.monotonic() + _DOWN_WITHIN
        for pipe in self._here.values():
            pipe.stop(by)
        for machine in self._machines():
            self._post(machine, StopPipe(request=0, pipe=self.name, reason=by))

    def _elsewhere(self, part: Part) -> PartAccount:
        there = self._there.get(part.number)
        account = None if there is None else there.account
        if there is not None and there.ended is not None:
            account = there.ended.account
        state = "unknown" if there is not None and there.lost else str(State.STARTING)
        if account is None:
            return PartAccount(part=part.number, machine=part.machine, state=state)
        return msgspec.structs.replace(account, part=part.number, machine=part.machine)

    def _state(self) -> State:
        """Where in its life the whole is, while its parts differ."""
        if self.is_over:
            return State.STOPPED
        return State.STARTING if self._stopping is None else State.STOPPING

    # ---- starting

    def _dialing(self, part: Part) -> BorderSettings:
        """Settings of a network task of a part here: the machine is that of the neighbor."""

        def settings(border: Border) -> dict[str, object]:
            other = border.after if border.before == part.number else border.before
            return self.places[self.parts[other].machine].dialing(border)

        return settings

    def _extend(self, part: Part) -> None:
        place = self.places[part.machine]
        spec = part.connected(place.accepting)
        there = self._there[part.number] = _Elsewhere(part=part, peer=place.peer)
        there.request = place.peer.post(
            ExtendPipe(request=0, pipe=self.name, part=part.number, spec=plain_of(spec))
        )

    def _wait_up(self) -> None:
        deadline = time.monotonic() + _UP_WITHIN
        while not all(one.is_up for one in self._there.values()):
            if self._culprit is not None:
                raise self._culprit
            left = deadline - time.monotonic()
            if left <= 0:
                late = next(one for one in self._there.values() if not one.is_up)
                raise PeerLostError(
                    peer=late.part.machine, reason=f"its part is not up after {_UP_WITHIN:.0f} s"
                )
            self.monitor.step(min(left, _TICK))
        # Who was up and failed in the same step would find the parts here begin, and wait for it.
        if self._culprit is not None:
            raise self._culprit

    def _let_go(self) -> None:
        if self in self.monitor.led:
            self.monitor.led.remove(self)

    def _drain(self) -> None:
        while not self.is_over:
            self.monitor.step(_TICK)
            self._judge()

    # ---- hearing

    def _hear(self, machine: str, message: Message) -> None:
        match message:
            case Extended(part=number) if number in self._there:
                self._there[number].is_up = True
            case Refused() as refused:
                self._refused(machine, refused)
            case PipeNotice(pipe=pipe) as notice if pipe == self.name and self.on_notice:
                self.on_notice(notice.stage, notice.instance, notice.kind, _facts(notice.given))
            case PipeEnded(pipe=pipe, part=number) as ended if (
                pipe == self.name and number in self._there
            ):
                self._end(self._there[number], ended)
            case Status(pipes=pipes):
                for account in pipes:
                    for part in account.parts:
                        self._count(machine, part)
            case _:
                return  # Done, and what a newer release may say besides

    def _refused(self, machine: str, refused: Refused) -> None:
        for there in self._there.values():
            if there.part.machine == machine and there.request == refused.request:
                there.lost = True
                self._blame(
                    PeerRefusedError(
                        peer=machine,
                        reason=refused.reason,
                        cause_code=refused.code,
                        cause_status=refused.status,
                        cause_hint=refused.hint,
                    )
                )

    def _end(self, there: _Elsewhere, ended: PipeEnded) -> None:
        there.ended, there.is_up = ended, True
        if ended.account is not None:
            self._count(there.part.machine, ended.account)
        if ended.how == "failed":
            self._blame(_failure(_facts(ended.failure), machine=there.part.machine))
        elif ended.how == "stopped" and self._stopping is None:
            self._blame(
                PeerLostError(peer=there.part.machine, reason="its part of the pipe was stopped")
            )

    def _count(self, machine: str, account: PartAccount) -> None:
        there = self._there.get(account.part)
        if there is not None and there.part.machine == machine:
            there.account = account
            there.stages = stage_statistics(account)

    def _lose(self, machine: str, error: PeerError) -> None:
        for there in self._there.values():
            if there.part.machine == machine and not there.is_over:
                there.lost = True
                self._blame(error)

    # ---- judging

    def _blame(self, error: DataMoverError) -> None:
        """Stop everything; the first culprit stays the culprit."""
        if self._culprit is None and self._stopping is None:
            self._culprit = error
            self.stop("a part that failed")

    def _judge(self) -> None:
        for pipe in self._here.values():
            if pipe.is_over and pipe.failure is not None:
                self._blame(pipe.failure)
        now = time.monotonic()
        if self._stopping is not None and now > self._stopping:
            for there in self._there.values():
                there.lost = True
        if now - self._asked > _ASK_EVERY:
            self._asked = now
            for machine in self._machines():
                self._post(machine, AskStatus(request=0, pipe=self.name))

    def _machines(self) -> set[str]:
        """The machines whose parts are not over."""
        return {one.part.machine for one in self._there.values() if not one.is_over}

    def _post(self, machine: str, message: Message) -> None:
        try:
            self.places[machine].peer.post(message)
        except PeerError as error:
            self._lose(machine, error)


def _failure(given: Mapping[str, object], *, machine: str) -> DataMoverError:
    """Return what a part elsewhere failed of; what is no stage's failure is not told as one."""
    if given.get("code") == StageFailedError.code:
        return revived_failure(given, machine=machine)
    found = revive(given)
    if isinstance(found, ForkServerError):
        return ForkServerError(status=found.status, machine=machine)
    return PeerRefusedError(
        peer=machine,
        reason=str(found),
        cause_code=found.code,
        cause_status=found.exit_status,
        cause_hint=found.hint,
    )


def _facts(given: Mapping[str, object]) -> dict[str, object]:
    found = unpacked(given)
    assert isinstance(found, dict)  # noqa: S101 - of a map
    return found
