"""What monitors, commands and guests say to each other: one value a message.

Plain values (``Plain``) are what MessagePack has: None, bool, int, float, text, bytes, lists, maps.
A text that is no UTF-8 cannot travel as text; whoever sends makes bytes of it (``pipe.plain``).

Source: docs/spec/control-protocol.md, section 3; seed FIG. 3A, 3B; SPEC C1-C6, C15-C17.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from datamover.wire.account import Account, PartAccount

__all__ = [
    "TYPES",
    "Answer",
    "AskStatus",
    "Call",
    "Count",
    "Done",
    "ExtendPipe",
    "Extended",
    "Hello",
    "Identified",
    "Identify",
    "InitiatePipe",
    "Initiated",
    "Message",
    "Part",
    "Ping",
    "PipeEnded",
    "PipeNotice",
    "Plain",
    "Pong",
    "Refused",
    "SetLimit",
    "Status",
    "StopPipe",
    "Unknown",
    "Welcome",
]

Plain: TypeAlias = dict[str, object]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things, and a request: its answer repeats it."""
ExitStatus: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
Token: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Any message."""


class Hello(Message, frozen=True, kw_only=True):
    """The first word of who connected.

    Attributes:
        release: Of its program, for people.
        machine: Its name, for people; who it is says the carrier.
        versions: The least and the most that it speaks.
        purpose: "pipe" when it will ask for one, so that the server can warm up; else free.
    """

    release: str
    machine: str
    pid: Count
    versions: tuple[Count, Count]
    purpose: str = ""


class Welcome(Message, frozen=True, kw_only=True):
    """The answer: from here on ``version`` is spoken.

    Attributes:
        serves: The methods that it answers.
        session: A name for its logs.
    """

    release: str
    machine: str
    pid: Count
    version: Count
    serves: list[str]
    session: str


class Refused(Message, frozen=True, kw_only=True):
    """It was not done: the facts of the error that says why.  ``request`` 0: the conversation."""

    request: Count
    code: str
    reason: str
    hint: str = ""
    status: ExitStatus = 70


class Ping(Message, frozen=True, kw_only=True):
    """Is anybody there?"""

    request: Count


class Pong(Message, frozen=True, kw_only=True):
    """Somebody is."""

    request: Count


class ExtendPipe(Message, frozen=True, kw_only=True):
    """Build a part of a pipe, and start it (Extend_Pipe).

    Attributes:
        pipe: The name that the initiator gave it.
        part: Its number in that pipe.
        spec: Stages, buffers, buffer_size and policy, as a pipe file has them.
    """

    request: Count
    pipe: str
    part: Count
    spec: Plain


class Extended(Message, frozen=True, kw_only=True):
    """Every task of the part is attached."""

    request: Count
    pipe: str
    part: Count


class StopPipe(Message, frozen=True, kw_only=True):
    """Stop every part of a pipe that is here (STOP_PIPE)."""

    request: Count
    pipe: str
    reason: str = ""


class PipeNotice(Message, frozen=True, kw_only=True):
    """A stage has something to say."""

    pipe: str
    part: Count
    stage: str
    instance: Count
    kind: str
    given: Plain


class PipeEnded(Message, frozen=True, kw_only=True):
    """A part is over, and everything of it is given back.

    Attributes:
        how: Whether it ended by itself.
        failure: The facts of the error, when it failed; else empty.
        results: What each stage left, a map for each of its instances.
        account: What it did.
    """

    pipe: str
    part: Count
    how: Literal["finished", "failed", "stopped"]
    failure: Plain = {}
    results: dict[str, list[Plain]] = {}
    account: PartAccount | None = None


class Done(Message, frozen=True, kw_only=True):
    """It was done."""

    request: Count


class SetLimit(Message, frozen=True, kw_only=True):
    """Let a pipe's borders carry so much a second; 0: as much as they can."""

    request: Count
    pipe: str
    bytes_per_s: Count


class AskStatus(Message, frozen=True, kw_only=True):
    """What do you run?  ``pipe`` empty: everything."""

    request: Count
    pipe: str = ""


class Status(Message, frozen=True, kw_only=True):
    """What runs here."""

    request: Count
    pipes: list[Account]


class Identify(Message, frozen=True, kw_only=True):
    """A program that is no child wants a place in a pipe (SEND_IDENT)."""

    request: Count
    pipe: str
    place: Literal["head", "tail"]
    token: Token
    pid: Count


class Identified(Message, frozen=True, kw_only=True):
    """It has the place; its descriptors come with this message, in the order of ``descriptors``."""

    request: Count
    descriptors: list[str] = []
    given: Plain = {}


class InitiatePipe(Message, frozen=True, kw_only=True):
    """Build a pipe and run it for me (Initiate_Pipe).

    Attributes:
        name: What a person calls it; the pipe's own name begins with it.
        stages: Module, and as far as they are not the usual: name, instances, allocates, settings,
            share, on_quota, on_death, joined, machine of each.
        buffers: Slots of the pool; 0: sized to the stages.
        buffer_size: Bytes a head fills of each; 0: the usual.
        on_death: What happens when an instance is killed.
        silence_s: Seconds that a task may be silent; 0: for ever.
        direction: As this machine sees it, "send": data begins here; "receive": it ends here;
            "relay": it only passes through; empty: it is not said, and not checked.
        invoker: What asks: "command" leaves it alone; "head" and "tail" will be that end of it.
        travel: How other machines are reached, as ``mover.travel.Travel`` has it.
    """

    request: Count
    name: str
    stages: list[Plain]
    buffers: Count = 0
    buffer_size: Count = 0
    on_death: Literal["stop", "retry"] = "stop"
    silence_s: float = 0.0
    direction: Literal["", "send", "receive", "relay"] = ""
    invoker: Literal["command", "head", "tail"] = "command"
    travel: Plain = {}


class Initiated(Message, frozen=True, kw_only=True):
    """It runs: every task of it is attached.

    Attributes:
        pid: Of the process that leads it.
        gate: What ``attach`` calls the place of an invoker that is an end; else empty.
        token: What that identifies itself with; else empty.
    """

    request: Count
    pipe: str
    pid: Count = 0
    gate: str = ""
    token: Annotated[bytes, Meta(max_length=16)] = b""


class Call(Message, frozen=True, kw_only=True):
    """Do what ``method`` names, which is no pipe."""

    request: Count
    method: str
    given: Plain = {}


class Answer(Message, frozen=True, kw_only=True):
    """What came of a call."""

    request: Count
    values: Plain = {}


class Part(Message, frozen=True, kw_only=True):
    """One of many answers, before the last."""

    request: Count
    values: Plain


class Unknown(Message, frozen=True, kw_only=True):
    """A message of a type that this release does not know; it is never sent."""

    type: int
    request: int


TYPES: Final[dict[int, tuple[type[Message], int]]] = {
    1: (Hello, 4 << 10),
    2: (Welcome, 4 << 10),
    3: (Refused, 64 << 10),
    4: (Ping, 256),
    5: (Pong, 256),
    16: (ExtendPipe, 1 << 20),
    17: (Extended, 4 << 10),
    18: (StopPipe, 64 << 10),
    19: (PipeNotice, 128 << 10),
    20: (PipeEnded, 1 << 20),
    21: (Done, 256),
    22: (SetLimit, 4 << 10),
    23: (AskStatus, 4 << 10),
    24: (Status, 1 << 20),
    25: (Identify, 4 << 10),
    26: (Identified, 64 << 10),
    27: (InitiatePipe, 1 << 20),
    28: (Initiated, 4 << 10),
    32: (Call, 1 << 20),
    33: (Answer, 1 << 20),
    34: (Part, 1 << 20),
}
"""What each type is, and how long its body may be at most."""
