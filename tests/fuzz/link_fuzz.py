"""Fuzz what comes in on a path: a FormatError or SealError is an answer, anything else is a bug.

With atheris installed, ``python tests/fuzz/link_fuzz.py CORPUS`` explores until it is stopped;
without it, the same target runs over seeded mutations of the golden vectors.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

from datamover.errors import DataMoverError, FormatError, PeerRefusedError, SealError
from datamover.link.greeting import Terms, answer, ask, conclude
from datamover.link.seal import Opener
from datamover.wire.crc import crc32c
from datamover.wire.frame import FRAME_SIZE, HELLO_SIZE, Protection, decode_frame

VECTORS = Path(__file__).parents[1] / "golden" / "link"
TERMS = Terms(
    token=bytes(range(100, 116)),
    secret=bytes(range(32)),
    protection=Protection.SEALED,
    paths=8,
    buffer_size=1000,
)
ASKED = ask(TERMS, 3)


def frame(data: bytes) -> None:
    """Read a frame under every protection."""
    header = data[:FRAME_SIZE]
    found = decode_frame(header, counter=int.from_bytes(header[8:16], "little"), most=1000)
    for protection in Protection:
        opener = Opener(protection, bytes(32))
        body = memoryview(bytearray(data[FRAME_SIZE:]))
        if len(body) == found.length + opener.seal_size:
            opener.check(found, header, body)


TARGETS = (
    frame,
    lambda data: answer(TERMS, data[:HELLO_SIZE], set()),
    lambda data: conclude(TERMS, ASKED, data[:HELLO_SIZE]),
)


def one_input(data: bytes) -> None:
    """Give ``data`` to every reader."""
    for target in TARGETS:
        try:
            target(data)
        except (FormatError, SealError, PeerRefusedError):
            continue
        except DataMoverError as error:
            raise AssertionError(repr(error)) from error


def mutations(seed: int, count: int):
    """Yield golden hellos and frames, flipped and cut; most with a header check that fits."""
    chance = random.Random(seed)
    corpus = [bytes.fromhex(path.read_text()) for path in sorted(VECTORS.glob("*.hex"))]
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randrange(5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.7:
            data[44:48] = crc32c(bytes(data[:44])).to_bytes(4, "little")
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))] + chance.choice(corpus)
        yield bytes(data)


def run_seeded(seed: int, count: int) -> None:
    """Run the target over ``count`` mutations."""
    for data in mutations(seed, count):
        one_input(data)


if __name__ == "__main__":
    if importlib.util.find_spec("atheris"):
        import atheris

        atheris.instrument_all()
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
    else:
        run_seeded(seed=int(sys.argv[1]) if len(sys.argv) > 1 else 1, count=100_000)
