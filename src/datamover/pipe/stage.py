"""What a stage is: a role, a few properties, and a function over a port.

A stage is a module (or a function) that declares what it does and does it; it does not know
whether it runs as a process, a thread or inline, nor who comes before and after it.

Source: seed, "Data Transfer Implementation"; SPEC A4-A6, A15; docs/ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["FanOut", "Role", "StageInfo"]


class Role(StrEnum):
    """A stage's place in the pipe."""

    HEAD = "head"
    MIDDLE = "middle"
    TAIL = "tail"


class FanOut(StrEnum):
    """How many buffers a middle stage sends for one it received."""

    ONE = "one"
    """At most one: the buffer itself, or one in its place."""

    MANY = "many"
    """Any number; a resequencer behind it keeps the parts together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfo:
    """What a stage declares about itself.

    Attributes:
        name: How a pipe specification calls it.
        role: Head, middle or tail.
        allocates: It calls ``alloc``; heads always do, tails never.
        parallel: It may run in several instances.
        fan_out: Buffers sent for one received.
        replayable: A dead instance can be replaced by a new one that is given the same inputs once
            more: the stage keeps nothing from one to the next, ends with no result, and makes the
            same of an input whose payload it had begun to work on.
        overwrites: It changes the payload where it lies, so that it could not begin anew.  Where it
            may be replaced it is given a copy of what the stages with it may be given once more.
    """

    name: str
    role: Role
    allocates: bool = False
    parallel: bool = True
    fan_out: FanOut = FanOut.ONE
    replayable: bool = False
    overwrites: bool = False
