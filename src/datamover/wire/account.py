"""What a pipe does, for who asks from outside: a tree pipe -> part -> stage -> instance.

Every field but names has a default: older and newer releases read each other's.

Source: docs/spec/control-protocol.md, section 4; SPEC C2, C13, C17.
"""

from __future__ import annotations

import msgspec

__all__ = ["Account", "InstanceAccount", "PartAccount", "PathAccount", "StageAccount"]


class InstanceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One instance, so far; see ``monitor.statistics.InstanceStatistics``.

    Attributes:
        pid: Of its process; 0 when it has none of its own, or none any more.
        state: "starting", "running", "finished" or "ended".
    """

    instance: int
    pid: int = 0
    state: str = ""
    buffers_in: int = 0
    bytes_in: int = 0
    buffers_out: int = 0
    bytes_out: int = 0
    elapsed_s: float = 0.0
    busy_s: float = 0.0
    wait_input_s: float = 0.0
    wait_buffer_s: float = 0.0
    wait_output_s: float = 0.0
    cpu_s: float = 0.0
    copied: int = 0
    held: int = 0
    items: int = 0


class StageAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One stage; ``queue`` is how many buffers wait in front of it."""

    stage: str
    queue: int = 0
    instances: list[InstanceAccount] = []


class PathAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One path of a border, as the network task at this side of it said last.

    Attributes:
        stage: The network task's stage.
        path: Its number.
        facts: What the task says of it: state, bytes, rate, round trip.
    """

    stage: str
    path: int
    facts: dict[str, object] = {}


class PartAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The stages of a pipe that run on one machine.

    Attributes:
        machine: Its name; empty: the machine that was asked.
        state: As ``monitor.core.State``; "unknown" where the machine does not say.
        buffers: Slots of its pool.
    """

    part: int = 0
    machine: str = ""
    state: str = ""
    reason: str = ""
    elapsed_s: float = 0.0
    buffers: int = 0
    buffer_size: int = 0
    descriptors: int = 0
    stages: list[StageAccount] = []
    paths: list[PathAccount] = []


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A whole pipe, as far as who was asked knows it.

    Attributes:
        pid: Of the process that supervises it.
        by: Who asked for it: empty for the user of this process, else the client's name.
        limit: Bytes a second that its borders may carry; 0: no limit.
        note: What else a person wants to know, in words.
    """

    pipe: str
    machine: str = ""
    pid: int = 0
    by: str = ""
    state: str = ""
    limit: int = 0
    note: str = ""
    parts: list[PartAccount] = []
