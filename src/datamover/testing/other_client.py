"""A client that shares no code with the program: the control protocol, from its specification.

With ``OtherPeer`` it stands for a release in another language on a machine of the other byte order:
MessagePack and headers are put together and taken apart byte by byte.

    client = OtherClient(connection)          a socket that leads to ``datamover serve --stdio``
    client.greet()
    client.extend("pipe-1", stages=[...])     returns when the part is up
    client.until(PIPE_ENDED)

Source: docs/spec/control-protocol.md, 2 and 3; the MessagePack specification; SPEC N4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from datamover.testing.other_peer import checksum, little, number

if TYPE_CHECKING:
    import socket

__all__ = ["OtherClient"]

_HELLO, _WELCOME, _REFUSED, _PING, _PONG = 1, 2, 3, 4, 5
_EXTEND, _EXTENDED = 16, 17

Value = object


def _packed(value: Value) -> bytes:
    """MessagePack, always in the long forms: a reader may not count on the short ones."""
    match value:
        case None | True | False:
            packed = {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            packed = b"\xd3" + struct.pack(">q", value)
        case float():
            packed = b"\xcb" + struct.pack(">d", value)
        case bytes():
            packed = b"\xc6" + struct.pack(">I", len(value)) + value
        case str():
            text = value.encode()
            packed = b"\xdb" + struct.pack(">I", len(text)) + text
        case Mapping():
            pairs = (_packed(one) for pair in value.items() for one in pair)
            packed = b"\xdf" + struct.pack(">I", len(value)) + b"".join(pairs)
        case _:
            assert isinstance(value, Sequence), f"no word for a {type(value).__name__}"
            packed = b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(_packed, value))
    return packed


# What a first byte says: a value, a number's layout, the layout of a length.
_PLAIN: Final = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS: Final = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_BINARIES: Final = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_TEXTS: Final = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS: Final = {0xDC: ">H", 0xDD: ">I"}
_MAPS: Final = {0xDE: ">H", 0xDF: ">I"}


class _Unpacking:
    """Takes one MessagePack value after the other out of a body."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> Value:
        kind = self._take(1)[0]
        found: Value
        if kind < 0x80 or kind >= 0xE0:
            found = kind if kind < 0x80 else kind - 0x100
        elif kind in _PLAIN:
            found = _PLAIN[kind]
        elif kind in _NUMBERS:
            found = self._number(_NUMBERS[kind])
        elif kind in _BINARIES:
            found = self._take(self._length(kind, _BINARIES, 0))
        elif 0xA0 <= kind < 0xC0 or kind in _TEXTS:
            found = self._take(self._length(kind, _TEXTS, 0x1F)).decode()
        elif 0x90 <= kind < 0xA0 or kind in _ARRAYS:
            found = [self.value() for _ in range(self._length(kind, _ARRAYS, 0x0F))]
        else:
            assert kind < 0x90 or kind in _MAPS, f"byte {kind:#x} begins no value"
            found = {self.value(): self.value() for _ in range(self._length(kind, _MAPS, 0x0F))}
        return found

    def _length(self, kind: int, layouts: Mapping[int, str], bits: int) -> int:
        return int(self._number(layouts[kind])) if kind in layouts else kind & bits

    def _number(self, layout: str) -> float:
        (found,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        assert isinstance(found, int | float)
        return found

    def _take(self, size: int) -> bytes:
        self._at += size
        assert self._at <= len(self._data), "the body ends within a value"
        return self._data[self._at - size : self._at]


class OtherClient:
    """One conversation; every method blocks, as long as the socket lets it.

    Attributes:
        heard: Type and body of every message that came, in order.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._requests = 0
        self.heard: list[tuple[int, dict[str, Value]]] = []

    def say(self, kind: int, **body: Value) -> None:
        """Send a message."""
        packed = _packed(body)
        head = b"DMCM\x01\x00" + little(kind, 2) + little(len(packed), 4)
        self._connection.sendall(head + little(checksum(head + packed), 4) + packed)

    def hear(self) -> tuple[int, dict[str, Value]]:
        """Take the next message, checked; a Ping is answered."""
        head = self._take(16)
        assert head[:6] == b"DMCM\x01\x00", head
        kind, length = number(head[6:8]), number(head[8:12])
        data = self._take(length)
        assert number(head[12:]) == checksum(head[:12] + data)
        body = _Unpacking(data).value()
        assert isinstance(body, dict)
        self.heard.append((kind, body))
        if kind == _PING:
            self.say(_PONG, request=body["request"])
        return kind, body

    def until(self, kind: int) -> dict[str, Value]:
        """Return the body of the next message of a type; a refusal is an error."""
        while True:
            found, body = self.hear()
            assert found != _REFUSED, body
            if found == kind:
                return body

    def greet(self) -> dict[str, Value]:
        """Say Hello; return the body of Welcome."""
        self.say(_HELLO, release="9.9", machine="other", pid=1, versions=[1, 1], purpose="pipe")
        return self.until(_WELCOME)

    def extend(
        self, pipe: str, stages: Sequence[Mapping[str, Value]], *, buffers: int, size: int
    ) -> None:
        """Have a part built; return when all its tasks are attached."""
        self._requests += 1
        spec = {"name": "other", "stages": stages, "buffers": buffers, "buffer_size": size}
        self.say(_EXTEND, request=self._requests, pipe=pipe, part=1, spec=spec)
        body = self.until(_EXTENDED)
        assert (body["request"], body["pipe"], body["part"]) == (self._requests, pipe, 1)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data
