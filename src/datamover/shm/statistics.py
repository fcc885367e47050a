"""What each instance has done, in the segment: one writer a record, any number of readers.

Source: SPEC X5 (the measuring half); docs/spec/shm-layout.md, "Instance records".
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Stand", "Wait"]


class Wait(IntEnum):
    """What an instance waits for."""

    NOTHING = 0
    INPUT = 1
    """The stage before (or, for a head, its source)."""

    BUFFER = 2
    """A free buffer of its own share: the stages behind are slower."""

    OUTPUT = 3
    """The outside, where data leaves: a disk, a network."""


class Stand(IntEnum):
    """At which queue an instance stands, for as long as it takes."""

    NOWHERE = 0
    AT_INPUT = 1
    """For a buffer from the stage before."""

    AT_FREE = 2
    """For a buffer of its own share."""

    AT_OUTPUT = 3
    """For room in front of the stage behind."""
