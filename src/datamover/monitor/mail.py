"""Messages between their values in this program and their values on the way.

A name may hold any byte, and a text on the way may not: see ``pipe.plain``.

Source: docs/spec/control-protocol.md, section 2; SPEC U10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from datamover.pipe.plain import packed, unpacked
from datamover.wire.control import encode
from datamover.wire.message import ExtendPipe, InitiatePipe, PipeEnded, PipeNotice

if TYPE_CHECKING:
    from datamover.wire.message import Message

__all__ = ["posted", "received"]

_PLAIN: Final[dict[type[Message], tuple[str, ...]]] = {
    ExtendPipe: ("spec",),
    InitiatePipe: ("stages", "travel"),
    PipeNotice: ("given",),
    PipeEnded: ("results", "failure"),
}


def posted(message: Message) -> bytes:
    """Return a message's bytes; a text for people that is no UTF-8 is written with escapes.

    Raises:
        MalformedError: It is too long, or holds what is no plain value.
    """
    changed: dict[str, object] = {}
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, str) and not value.isascii():
            changed[name] = value.encode("utf-8", "backslashreplace").decode()
        elif isinstance(value, dict | list):
            changed[name] = packed(value)
    return encode(msgspec.structs.replace(message, **changed) if changed else message)


def received(message: Message) -> Message:
    """Return a message as this program has its values; those of calls are left as they came."""
    names = _PLAIN.get(type(message), ())
    if not names:
        return message
    return msgspec.structs.replace(
        message, **{name: unpacked(getattr(message, name)) for name in names}
    )
