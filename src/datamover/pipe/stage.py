"""What a stage is: a role, two properties, and a function over a port.

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
    """

    name: str
    role: Role
    allocates: bool = False
    parallel: bool = True
    fan_out: FanOut = FanOut.ONE
