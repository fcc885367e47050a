"""Send signatures of what a destination has of some files: beginnings, and old versions.

Role:       head
Instances:  one, for the files come in the order of the request
Copies:     none of file data, which it reads and names
Fails:      never on a file; one that cannot be read has no signature
Source:     docs/spec/copy-pipes.md, "Signatures"; ADR 0016
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import open_folder
from datamover.files.chunker import chunks, name_of, runs
from datamover.files.descent import Descent
from datamover.files.leftover import leftover_name
from datamover.files.naming import require_plain
from datamover.files.signature import (
    RECORDS_MAX,
    Piece,
    Signature,
    average_of,
    capacity,
    encode_signature,
)
from datamover.ids import BlockNumber
from datamover.pipe.stage import Role, StageInfo
from datamover.stages.block import set_tag
from datamover.wire.tag import TagHeader, TagKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.pipe.ports import HeadPort

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="sign", role=Role.HEAD, allocates=True, parallel=False)

_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECTOR: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the sign stage.

    Attributes:
        destination: The folder that the files are in.
        files: Their names, relative to it.
        beginnings: Look for the beginnings that earlier copies left.
        old: Sign the files that are to be replaced.
    """

    destination: str
    files: tuple[str, ...]
    beginnings: bool = True
    old: bool = True


def run(port: HeadPort, settings: Settings) -> None:
    """Sign every file of the request.

    Raises:
        MalformedError: A name leads out of the destination; nothing was read.
        PipeError: From the port.
    """
    for file in settings.files:
        require_plain(os.fsencode(file))
    sign = _Sign(port, settings)
    try:
        base = open_folder(settings.destination)
    except OSError:
        for number in range(len(settings.files)):
            sign.nothing(number)
        return
    with Descent(base) as descent:
        for number, file in enumerate(settings.files):
            sign.file(descent, number, os.fsencode(file))


class _Sign:
    def __init__(self, port: HeadPort, settings: Settings) -> None:
        self._port = port
        self._settings = settings
        self._most = capacity(port.buffer_size)
        self._block = 0

    def nothing(self, number: int) -> None:
        self._send(Signature(number, is_last=True, average=0, beginnings=(), chunks=()))

    def file(self, descent: Descent, number: int, path: bytes) -> None:
        above, _, name = path.rpartition(b"/")
        try:
            directory = descent.enter(above)
        except OSError:
            self.nothing(number)
            return
        if self._settings.beginnings:
            pieces = self._beginnings(directory, leftover_name(name))
            self._parts(number, pieces, average=0)
        average = 0
        if self._settings.old:
            average = self._old(directory, name, number)
        self._send(Signature(number, is_last=True, average=average, beginnings=(), chunks=()))

    def _old(self, directory: int, name: bytes, number: int) -> int:
        """Sign the old file; return the average of its chunks."""
        try:
            file = os.open(name, _OLD, dir_fd=directory)
        except OSError:
            return 0
        try:
            there = os.fstat(file)
            if not stat.S_ISREG(there.st_mode):
                return 0
            average = average_of(there.st_size)
            sparse = there.st_blocks * _SECTOR < there.st_size
            found = chunks(file, there.st_size, average, sparse=sparse)
            self._parts(number, self._named(found), average=average)
        except OSError:
            return 0  # what was signed until here is of use all the same
        finally:
            os.close(file)
        return average

    def _beginnings(self, directory: int, name: bytes) -> Iterator[Piece]:
        try:
            file = os.open(name, _OLD, dir_fd=directory)
        except OSError:
            return
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                yield from self._named(runs(file))
        except OSError:
            return  # the rest is sent
        finally:
            os.close(file)

    def _named(self, found: Iterator[tuple[int, memoryview]]) -> Iterator[Piece]:
        for count, (offset, data) in enumerate(found):
            if count == RECORDS_MAX // 2:
                return
            self._port.took(len(data))
            yield Piece(offset, len(data), name_of(data))

    def _parts(self, number: int, pieces: Iterator[Piece], *, average: int) -> None:
        """Send pieces, as many blocks as it takes; old ones where there is an average."""
        held: list[Piece] = []
        for piece in pieces:
            held.append(piece)
            if len(held) == self._most:
                self._part(number, held, average)
                held = []
            self._port.check()
        if held:
            self._part(number, held, average)

    def _part(self, number: int, held: list[Piece], average: int) -> None:
        beginnings, old = ((), held) if average else (held, ())
        self._send(
            Signature(number, is_last=False, average=average, beginnings=beginnings, chunks=old)
        )

    def _send(self, signature: Signature) -> None:
        buffer = self._port.alloc()
        buffer.used = used = encode_signature(buffer.data, signature)
        set_tag(
            buffer,
            TagHeader(kind=TagKind.RAW, block=BlockNumber(self._block), length=used, plain=used),
        )
        self._port.send(buffer)
        self._block += 1
