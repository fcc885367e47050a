"""The bytes of link protocol version 1 are frozen: releases of different age move data together.

``link/*.hex`` holds one hello or one whole frame a file; the values are here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datamover.link.seal import Direction, Opener, Sealer, Side, derive_key, proof_fits, proved
from datamover.wire.frame import (
    FRAME_SIZE,
    PROOF_AT,
    Frame,
    Hello,
    Kind,
    Protection,
    decode_frame,
    decode_hello,
    encode_frame,
)

VECTORS = Path(__file__).parent / "link"
SECRET = bytes(range(32))
TOKEN = bytes(range(100, 116))
DIALER, ACCEPTOR = bytes(range(200, 216)), bytes(range(216, 232))
DIAL = Hello(Protection.SEALED, 3, TOKEN, DIALER, 1 << 20)
ACCEPT = Hello(Protection.SEALED, 3, TOKEN, ACCEPTOR, 1 << 16)
KEY = derive_key(SECRET, dialer=DIALER, acceptor=ACCEPTOR, path=3, direction=Direction.DATA)
BACK = derive_key(SECRET, dialer=DIALER, acceptor=ACCEPTOR, path=3, direction=Direction.BACK)
BODY = b"tag" + b"payload" * 5
FRAMES = {
    "data-clear": (Protection.CLEAR, False),
    "data-sealed": (Protection.SEALED, False),
    "data-sealed-before": (Protection.SEALED, True),
    "data-authenticated": (Protection.AUTHENTICATED, False),
}
SMALL = {
    "ack": (Kind.ACK, {"sequence": 9, "received": 4, "stamp": 123456}),
    "end": (Kind.END, {"sequence": 1 << 33}),
    "done": (Kind.DONE, {}),
    "ping": (Kind.PING, {}),
}


def vector(name: str) -> bytes:
    return bytes.fromhex((VECTORS / f"{name}.hex").read_text())


def data_frame(protection: Protection, *, is_sealed: bool) -> bytes:
    sealer = Sealer(protection, KEY, room=1000)
    sealer.counter = 7
    pieces = sealer.data(
        memoryview(BODY), sequence=1 << 40, tag_used=3, stamp=0xFFFFFFFE, is_sealed=is_sealed
    )
    return b"".join(pieces)


def small_frame(name: str) -> bytes:
    sealer = Sealer(Protection.SEALED, BACK)
    sealer.counter = 2
    kind, fields = SMALL[name]
    return sealer.small(kind, **fields)


def test_hellos_are_what_they_always_were():
    dial = proved(SECRET, Side.DIAL, DIAL)
    accept = proved(SECRET, Side.ACCEPT, ACCEPT, answers=dial)

    assert dial.hex() == vector("hello-dial").hex()
    assert accept.hex() == vector("hello-accept").hex()


def test_hellos_are_still_read():
    dial, accept = vector("hello-dial"), vector("hello-accept")

    assert decode_hello(dial) == DIAL._replace(proof=dial[PROOF_AT:])
    assert decode_hello(accept) == ACCEPT._replace(proof=accept[PROOF_AT:])
    assert proof_fits(SECRET, Side.DIAL, dial)
    assert proof_fits(SECRET, Side.ACCEPT, accept, answers=dial)


@pytest.mark.parametrize("name", FRAMES)
def test_data_is_sent_as_it_always_was(name: str):
    protection, is_sealed = FRAMES[name]

    assert data_frame(protection, is_sealed=is_sealed).hex() == vector(name).hex()


@pytest.mark.parametrize("name", FRAMES)
def test_data_is_still_understood(name: str):
    protection, _ = FRAMES[name]
    data = vector(name)
    header, body = data[:FRAME_SIZE], memoryview(bytearray(data[FRAME_SIZE:]))
    frame = decode_frame(header, counter=7, most=1000)
    opener = Opener(protection, KEY)
    opener.check(frame, header, body)

    assert bytes(body[: len(body) - opener.seal_size]) == BODY
    assert frame.sequence == 1 << 40
    assert (frame.tag_used, frame.used, frame.stamp) == (3, 35, 0xFFFFFFFE)


@pytest.mark.parametrize("name", SMALL)
def test_small_frames_are_what_they_always_were(name: str):
    kind, fields = SMALL[name]
    data = vector(name)
    header = data[:FRAME_SIZE]

    assert small_frame(name).hex() == data.hex()
    assert decode_frame(header, counter=2, most=0) == Frame(kind, 2, **fields)
    assert encode_frame(Frame(kind, 2, **fields)) == header


def test_every_vector_is_tested():
    names = {path.stem for path in VECTORS.glob("*.hex")}

    assert names == {*FRAMES, *SMALL, "hello-dial", "hello-accept"}
