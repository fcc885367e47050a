"""Send files as what their signatures do not know: steps over old pieces, and data.

Role:       middle, allocating, any number of buffers for one
Instances:  one, for a file's blocks follow each other
Copies:     data that is not at the destination, from where it was read into a buffer
Fails:      on a signature that breaks the format or is of another file; never on a file
Source:     docs/spec/copy-pipes.md, "Differences"; ADR 0016
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.errors import MalformedError
from datamover.files.chunker import chunks, name_of
from datamover.files.delta import DeltaWriter
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.naming import require_plain
from datamover.files.origin import Origin
from datamover.files.printable import printable, why
from datamover.files.signature import RECORDS_MAX, Piece, average_of, decode_signature
from datamover.files.walk import Walk
from datamover.ids import BlockNumber
from datamover.pipe.stage import FanOut, Role, StageInfo
from datamover.stages.block import set_tag
from datamover.stages.tables import Tables
from datamover.wire.tag import TagHeader, TagKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.pipe.ports import MiddlePort
    from datamover.shm.buffer import Buffer

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(
    name="match", role=Role.MIDDLE, allocates=True, parallel=False, fan_out=FanOut.MANY
)

_FILE: Final = int(Kind.FILE)
_SPARSE: Final = int(EntryFlag.SPARSE)
_BARE: Final = int(EntryFlag.BARE)
_SAME: Final = int(EntryFlag.SAME)
_CRUMB: Final = 4096
"""Data is not split to use less room than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the match stage.

    Attributes:
        roots: Absolute paths of the sources.
        files: Number of the source and archived name of each file, as ``sign`` has them.
    """

    roots: tuple[str, ...]
    files: tuple[tuple[int, str], ...]


@dataclass(slots=True)
class _Basis:
    """What the destination has of one file."""

    average: int = 0
    beginnings: list[Piece] = field(default_factory=list)
    chunks: dict[bytes, Piece] = field(default_factory=dict)
    records: int = 0


def run(port: MiddlePort, settings: Settings) -> None:
    """Send every file whose signature comes.

    Raises:
        FormatError: A signature breaks a rule, or is of no file of the request, or a name in
            that leads out of its source.
        PipeError: From the port.
    """
    for _, path in settings.files:
        require_plain(os.fsencode(path))
    with Origin([os.fsencode(root) for root in settings.roots]) as origin:
        match = _Match(port, origin)
        basis = _Basis()
        due = 0
        for buffer in port.incoming():
            signature = decode_signature(buffer.payload)
            port.free(buffer)
            if signature.file != due or due >= len(settings.files):
                raise MalformedError(
                    what="signature", reason=f"of file {signature.file}, not {due}"
                )
            basis.records += len(signature.beginnings) + len(signature.chunks)
            if basis.records > RECORDS_MAX:
                raise MalformedError(what="signature", reason="more pieces than a file has")
            basis.average = max(basis.average, signature.average)
            basis.beginnings += signature.beginnings
            for chunk in signature.chunks:
                basis.chunks.setdefault(chunk.name, chunk)
            if signature.is_last:
                root, path = settings.files[due]
                match.file(root, os.fsencode(path), basis)
                basis = _Basis()
                due += 1
        match.finish()


class _Match:
    def __init__(self, port: MiddlePort, origin: Origin) -> None:
        self._port = port
        self._origin = origin
        self._tables = Tables(port)
        self._block = 0
        self._folder = (-1, b"")
        self._counts = {"files": 0, "data": 0, "reused": 0, "kept": 0}

    def finish(self) -> None:
        self._tables.finish()
        self._port.result(self._counts)

    def file(self, root: int, path: bytes, basis: _Basis) -> None:
        """Send one file, and the folder that it is in, which gets its times again."""
        entry = self._look(root, path)
        if entry is None:
            return
        if entry.kind != _FILE or not self._tables.fits(entry):
            self._tell("unreadable", root, path, "it is no file any more")
            return
        try:
            file = self._origin.open(root, path)
        except OSError as error:
            self._tell("unreadable", root, path, why(error))
            return
        try:
            self._send_folder(root, path)
            entry.flags |= _BARE
            self._send(file, entry, basis)
        finally:
            os.close(file)
        self._counts["files"] += 1

    def _send(self, file: int, entry: Entry, basis: _Basis) -> None:
        work = _Outgoing(self._port, entry, self._block)
        try:
            kept = self._kept(file, entry, basis.beginnings)
            work.begin(kept)
            for offset, data in self._pieces(file, entry, basis, kept):
                self._port.check()
                known = basis.chunks.get(name_of(data)) if basis.chunks else None
                if known is not None and known.length == len(data):
                    work.refer(offset, data, known.offset)
                else:
                    work.put(offset, data)
        except OSError as error:
            work.end(0, failed=True)
            self._tell("unreadable", entry.root, entry.path, why(error))
        else:
            now = os.fstat(file)
            work.end(min(entry.size, now.st_size))
            if now.st_size != entry.size or now.st_mtime_ns != entry.mtime_ns:
                self._tell("changed", entry.root, entry.path, "it changed while it was read")
            self._counts["kept"] += kept
        self._block = work.block
        self._counts["data"] += work.data
        self._counts["reused"] += work.reused

    def _pieces(
        self, file: int, entry: Entry, basis: _Basis, kept: int
    ) -> Iterator[tuple[int, memoryview]]:
        average = basis.average or average_of(entry.size)
        sparse = bool(entry.flags & _SPARSE)
        return chunks(file, entry.size, average, sparse=sparse, begin=kept)

    def _kept(self, file: int, entry: Entry, beginnings: list[Piece]) -> int:
        """Return how much of the leftover is the file's beginning."""
        kept = 0
        buffer = memoryview(bytearray(max([one.length for one in beginnings], default=0)))
        for offset, length, name in beginnings:
            if offset != kept or kept + length > entry.size:
                break
            self._port.check()
            got = os.preadv(file, [buffer[:length]], offset)
            if got != length or name_of(buffer[:got]) != name:
                break
            kept += length
        return kept

    def _look(self, root: int, path: bytes) -> Entry | None:
        """Return the entry of one file as a walk finds it; None, and a notice, without."""
        return self._entry(self._origin.path(root, path), root, path)

    def _send_folder(self, root: int, path: bytes) -> None:
        above = path.rpartition(b"/")[0]
        if not above or self._folder == (root, above):
            return
        self._folder = (root, above)
        folder = self._entry(self._origin.path(root, above), root, above)
        if folder is not None and self._tables.fits(folder):
            folder.flags |= _BARE | _SAME
            self._tables.add(folder, lambda _: ())
            self._tables.finish()

    def _entry(self, full: bytes, root: int, path: bytes) -> Entry | None:
        def tell(kind: str, path: bytes, reason: str) -> None:
            self._port.notice(kind, path=printable(path), reason=reason)

        entry = next(iter(Walk([full], notice=tell)), None)
        if entry is not None:
            entry.root, entry.path = root, path
        return entry

    def _tell(self, kind: str, root: int, path: bytes, reason: str) -> None:
        self._port.notice(kind, path=printable(self._origin.name(root, path)), reason=reason)


class _Outgoing:
    """One file's blocks.

    Attributes:
        block: Number of the next block.
        data: Data bytes in them.
        reused: Bytes that they take from the old file.
    """

    def __init__(self, port: MiddlePort, entry: Entry, block: int) -> None:
        from blake3 import blake3  # noqa: PLC0415 - only those who match pay for it

        self.block = block
        self.data = 0
        self.reused = 0
        self._port = port
        self._entry = entry
        self._hasher = blake3()
        self._kept = 0
        self._is_first = True
        self._open: tuple[Buffer, DeltaWriter] | None = None

    def begin(self, kept: int) -> None:
        self._kept = kept

    def refer(self, offset: int, data: memoryview, source: int) -> None:
        self._hasher.update(data)
        writer = self._writer()
        if writer.room < 0:
            self._flush()
            writer = self._writer()
        writer.refer(offset, len(data), source)
        self.reused += len(data)

    def put(self, offset: int, data: memoryview) -> None:
        self._hasher.update(data)
        self.data += len(data)
        while data:
            writer = self._writer()
            if writer.room < min(len(data), _CRUMB):
                self._flush()
                continue
            part = data[: writer.room]
            writer.put(offset, part)
            offset += len(part)
            data = data[len(part) :]

    def end(self, size: int, *, failed: bool = False) -> None:
        self._writer()
        self._flush(last=True, size=size, failed=failed)

    def _writer(self) -> DeltaWriter:
        if self._open is None:
            buffer = self._port.alloc()
            out = buffer.data[: self._port.buffer_size]
            self._open = (buffer, DeltaWriter(out, self._entry))
        return self._open[1]

    def _flush(self, *, last: bool = False, size: int = 0, failed: bool = False) -> None:
        assert self._open is not None  # noqa: S101 - the callers have opened one
        buffer, writer = self._open
        self._open = None
        buffer.used = used = writer.finish(
            first=self._is_first,
            last=last,
            failed=failed,
            kept=self._kept if self._is_first else 0,
            size=size,
            digest=self._hasher.digest(32) if last else bytes(32),
        )
        self._is_first = False
        set_tag(
            buffer,
            TagHeader(kind=TagKind.RAW, block=BlockNumber(self.block), length=used, plain=used),
        )
        writer.release()
        self._port.send(buffer)
        self.block += 1
