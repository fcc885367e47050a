"""Fuzz every decoder of the wire package: a FormatError is an answer, anything else is a bug.

With atheris installed, ``python tests/fuzz/wire_fuzz.py CORPUS`` explores until it is stopped;
without it, the same target runs over seeded mutations of the golden vectors.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

from datamover.errors import FormatError
from datamover.wire.archive import ArchiveFooter, ArchiveHeader
from datamover.wire.chunk import ChunkFooter, ChunkHeader, decode_table
from datamover.wire.extension import decode_extensions
from datamover.wire.locate import session_footer, walk
from datamover.wire.options import OptionsHeader
from datamover.wire.session import SessionFooter, SessionHeader
from datamover.wire.stream import StreamReader
from datamover.wire.tag import TagHeader

VECTORS = Path(__file__).parents[1] / "golden" / "wire"
TABLE = ChunkFooter(archive=bytes(16), chunk=0, blocks=3, length=0, table_crc=0)


def stream(view: memoryview) -> None:
    """Read a stream until it ends or breaks."""
    reader = StreamReader()
    while not reader.is_complete:
        here = view[reader.position :]
        reader.take(here[: reader.header_length(here)])


TARGETS = (
    TagHeader.decode,
    SessionHeader.decode,
    SessionFooter.decode,
    ArchiveHeader.decode,
    ArchiveFooter.decode,
    ChunkHeader.decode,
    ChunkFooter.decode,
    OptionsHeader.decode,
    decode_extensions,
    session_footer,
    stream,
    lambda view: decode_table(TABLE, view),
    lambda view: list(walk(lambda at, n: view[at : at + n], start=0, end=len(view))),
)


def one_input(data: bytes) -> None:
    """Give ``data`` to every decoder."""
    view = memoryview(data)
    for target in TARGETS:
        try:
            target(view)
        except FormatError:
            continue


def mutations(seed: int, count: int):
    """Yield golden records, spliced, cut and flipped; some with a checksum that fits."""
    from datamover.wire.crc import crc32c

    chance = random.Random(seed)
    corpus = [bytes.fromhex(path.read_text()) for path in sorted(VECTORS.glob("*.hex"))]
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.7 and len(data) > 20:
            data[-4:] = crc32c(bytes(data[:-4])).to_bytes(4, "little")
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
