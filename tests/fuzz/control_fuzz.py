"""Fuzz the control protocol's reader: a FormatError is an answer, anything else is a bug.

With atheris installed, ``python tests/fuzz/control_fuzz.py CORPUS`` explores until it is stopped;
without it, the same target runs over seeded mutations of the golden vectors.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

from datamover.errors import FormatError
from datamover.wire.control import HEADER, ControlReader, encode
from datamover.wire.crc import crc32c
from datamover.wire.message import Unknown

VECTORS = Path(__file__).parents[1] / "golden" / "control"


def one_input(data: bytes) -> None:
    """Read ``data`` in two pieces, and say again what was understood."""
    reader = ControlReader()
    reader.open()
    try:
        for piece in (data[: len(data) // 3], data[len(data) // 3 :]):
            reader.feed(piece)
            for message in reader.messages():
                if not isinstance(message, Unknown):
                    encode(message)
    except FormatError:
        return


def mutations(seed: int, count: int):
    """Yield golden messages, flipped, cut and spliced; most with a check that fits."""
    chance = random.Random(seed)
    corpus = [bytes.fromhex(path.read_text()) for path in sorted(VECTORS.glob("*.hex"))]
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randrange(5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            at = chance.randrange(HEADER.size, len(data))
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        if chance.random() < 0.8:
            body = data[HEADER.size :]
            data[:6] = b"DMCM\x01\0"
            data[8:12] = len(body).to_bytes(4, "little")
            data[12:16] = crc32c(bytes(data[:12] + body)).to_bytes(4, "little")
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
