"""The parts of pipes that one client had built here, from ExtendPipe to PipeEnded.

Source: docs/spec/control-protocol.md, section 3; seed FIG. 3B; SPEC C4, C15-C17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import MalformedError, UsageError, facts
from datamover.monitor.account import part_of
from datamover.monitor.core import State
from datamover.monitor.ending import ending, refusal
from datamover.monitor.live import Alias, LivePipe
from datamover.monitor.plan import spec_of
from datamover.wire.message import Extended, ExtendPipe, Message, PipeEnded, PipeNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from datamover.monitor.live import Notify
    from datamover.monitor.permit import Permit
    from datamover.monitor.supervisor import Monitor

__all__ = ["PartsHere"]

_MOST: Final = 64
_LONGEST_NAME: Final = 255


@dataclass(slots=True)
class _Part:
    live: LivePipe
    request: int
    is_told: bool = False


class PartsHere:
    """The parts of one conversation."""

    def __init__(self, monitor: Monitor, by: str, say: Callable[[Message], None]) -> None:
        """Begin with none.

        Args:
            monitor: Who runs them.
            by: For whom.
            say: Tells the client; raises MalformedError when it is too much.
        """
        self._monitor = monitor
        self._by = by
        self._say = say
        self._parts: dict[tuple[str, int], _Part] = {}

    def names(self) -> set[str]:
        """Return the pipes that have parts here."""
        return {pipe for pipe, _ in self._parts}

    def extend(self, message: ExtendPipe, permit: Permit) -> None:
        """Start a part; Extended is said by ``look`` when all its tasks are attached.

        Raises:
            UsageError: It cannot be built, is there already, or there are too many.
            DataMoverError: It is not permitted.
            OSError: The system refuses.
        """
        key = (message.pipe, message.part)
        if not 1 <= len(message.pipe) <= _LONGEST_NAME or not message.pipe.isprintable():
            raise UsageError(reason=f"no name for a pipe: {message.pipe!r:.80}")
        if key in self._parts:
            raise UsageError(reason=f"part {message.part} of pipe {message.pipe} is here already")
        if len(self._parts) >= _MOST:
            raise UsageError(reason=f"a conversation has at most {_MOST} parts of pipes")
        spec = spec_of(message.spec)
        spec = permit.extend(spec)
        alias = Alias(pipe=message.pipe, part=message.part, by=self._by)
        live = self._monitor.start(spec, on_notice=self._notices(key), alias=alias)
        self._parts[key] = _Part(live, message.request)

    def look(self) -> None:
        """Say which parts are attached, and which are over."""
        for (pipe, number), part in list(self._parts.items()):
            if not part.is_told and _was_attached(part.live):
                part.is_told = True
                self._say(Extended(request=part.request, pipe=pipe, part=number))
            if part.live.is_over:
                del self._parts[pipe, number]
                self._tell_end(pipe, number, part)

    def stop_pipe(self, pipe: str, by: str) -> bool:
        """Ask the parts of a pipe to end; return whether there are any."""
        found = list(self._of(pipe))
        for part in found:
            part.live.stop(by)
        return bool(found)

    def set_limit(self, pipe: str, bytes_per_s: int) -> bool:
        """Limit the parts of a pipe; return whether there are any."""
        found = list(self._of(pipe))
        for part in found:
            part.live.set_limit(bytes_per_s)
        return bool(found)

    def stop(self, by: str) -> None:
        """Ask every part to end."""
        for part in self._parts.values():
            part.live.stop(by)

    def _of(self, pipe: str) -> Iterator[_Part]:
        return (part for (name, _), part in self._parts.items() if name == pipe)

    def _notices(self, key: tuple[str, int]) -> Notify:
        pipe, number = key

        def notice(stage: str, instance: int, kind: str, given: Mapping[str, object]) -> None:
            self._say(
                PipeNotice(
                    pipe=pipe,
                    part=number,
                    stage=stage,
                    instance=instance,
                    kind=kind,
                    given=dict(given),
                )
            )

        return notice

    def _tell_end(self, pipe: str, number: int, part: _Part) -> None:
        ended = ending(pipe, number, part.live.outcome, part_of(part.live))
        try:
            self._say(ended)
        except MalformedError as error:
            # Its results do not fit a message: an end that nobody can use is a failure.
            ended = PipeEnded(pipe=pipe, part=number, how="failed", failure=dict(facts(error)))
            self._say(ended)
        if not part.is_told:
            self._say(refusal(part.request, ended))


def _was_attached(live: LivePipe) -> bool:
    return live.state is State.RUNNING or (live.is_over and live.reason == "finished")
