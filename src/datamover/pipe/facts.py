"""What a task is told when it starts: plain values, and the numbers of its descriptors.

Source: seed, "Attachments"; SPEC C12; docs/spec/shm-layout.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

__all__ = ["Descriptors", "TaskFacts"]


class Descriptors(msgspec.Struct, frozen=True, kw_only=True):
    """The open descriptors of a task; -1: it has none of this kind.

    Attributes:
        free: Free queues to take from (its own), by allocating instance.
        release: Free queues to give back to, by allocating instance.
    """

    segment: int
    control: int
    input: int = -1
    output: int = -1
    free: Mapping[str, int] = {}
    release: Mapping[str, int] = {}

    def numbers(self) -> list[int]:
        """Every descriptor, in a fixed order, for sending."""
        fixed = [self.segment, self.control, self.input, self.output]
        found = [n for n in fixed if n >= 0]
        return [*found, *self.free.values(), *self.release.values()]

    def renumbered(self, left: Iterator[int]) -> Descriptors:
        """Return the same with the numbers that the descriptors have in another process."""
        fixed = [
            next(left) if n >= 0 else -1
            for n in (self.segment, self.control, self.input, self.output)
        ]
        return Descriptors(
            segment=fixed[0],
            control=fixed[1],
            input=fixed[2],
            output=fixed[3],
            free={key: next(left) for key in self.free},
            release={key: next(left) for key in self.release},
        )


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One task.

    Attributes:
        id: Its number in the pipe, and its record in the segment.
        use: The stage's reference.
        settings: The stage's settings, plain.
        segment: Identity of the segment it must attach to.
        share: Buffers it may have in use; 0 when it does not allocate.
        terminates: Asking for more ends it.
        resequences: It puts back in order what it receives.
        joined: It has its input to itself, from the task that it shares a process with.
        hands_over: The one it sends to shares its process, and goes first.
        wide: It has several instances, or could be replaced: it keeps the numbers that it gets.
        accounted: Tasks of this pipe may be replaced, so the table always says where a buffer is.
        crew: The tasks in its process, where they would be replaced; empty: they would not.
        overwrites: It cannot begin anew on a payload that it has changed.
        late: Those before it may be replaced, and send once more what they had sent.
        replay: Tokens (index, used, sequence) that its predecessor had, and it begins with.
        window: Buffers that all producers share, where only a buffer can bring what is missing
            (behind a head of several instances); 0: something else can, and waiting is right.
    """

    id: int
    pipe: str
    stage: str
    use: str
    instance: int
    instances: int
    settings: Mapping[str, object]
    segment: bytes
    descriptors: Descriptors
    producers: int
    consumers: int
    share: int
    terminates: bool
    resequences: bool
    fan_out: str
    window: int = 0
    joined: bool = False
    wide: bool = False
    accounted: bool = False
    crew: Sequence[int] = ()
    overwrites: bool = False
    late: bool = False
    replay: Sequence[tuple[int, int, int]] = ()
    hands_over: bool = False
