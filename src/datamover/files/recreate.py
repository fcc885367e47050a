"""Recreate: turn DATA blocks back into files, block by block, in the order of the archive.

    entry            what happens
    file             made, written, its attributes set; with MORE it stays open for the next block
    directory        made; its attributes are set when the archive's order has left it
    hard link        linked to the restored first name; copied where links cannot be
    other            made, its attributes set

What cannot be restored is a notice and the rest goes on, except where nothing more can succeed:
a full or read-only destination.

Source: docs/spec/entry-table.md; SPEC E1, U10; DESIGN D14.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from datamover.disk.direct import DirectFile
from datamover.disk.staging import Staging
from datamover.errors import MalformedError, RestoreError
from datamover.files.attributes import Attributes
from datamover.files.destination import Destination
from datamover.files.entry import Entry, EntryFlag, Kind, Status
from datamover.files.notice import Notice
from datamover.files.part import Part, write_extents
from datamover.files.printable import printable, why
from datamover.files.selection import Selection
from datamover.files.superseded import Superseded
from datamover.files.table import decode_entries, table_size
from datamover.units import MIB

__all__ = ["Counts", "Recreate"]

_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_SPECIAL: Final = (Kind.SYMLINK, Kind.FIFO, Kind.CHARACTER, Kind.BLOCK)
_SHORT: Final = int(Status.SHORT)
_CONTINUES: Final = int(EntryFlag.CONTINUES)
_MORE: Final = int(EntryFlag.MORE)
_LINKED: Final = int(EntryFlag.LINKED)
_IN_PARTS: Final = _CONTINUES | _MORE
_LARGE: Final = 4 * MIB
_FATAL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(slots=True)
class Counts:
    """What a restore has done.

    Attributes:
        files: Regular files restored.
        directories: Directories made, or given their attributes.
        other: Further names of files, symlinks, FIFOs and devices made, as ``scan`` counts them.
        bytes: Data bytes written.
        kept: Files that were there already, equal in size and time.
        skipped: Entries that could not be restored; each has a notice.
    """

    files: int = 0
    directories: int = 0
    other: int = 0
    bytes: int = 0
    kept: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Recreate:
    """Restores the entries of blocks that are given in order.

    Attributes:
        destination: Where to; the caller closes it.
        notice: Told "exists", "missing", "incomplete", "failed", "skipped" and "metadata".
        selection: What is wanted.
        numeric_ids: Use archived user and group numbers even where their names exist here.
        stand_ins: First names of inodes that are not wanted, and the names to restore them as.
        direct: Write large files past the page cache; for a caller that waits for the disk anyway.
        superseded: Which entries count, in an archive that was interrupted.
        counts: What was done so far.
    """

    destination: Destination
    notice: Notice
    selection: Selection = field(default_factory=Selection)
    numeric_ids: bool = False
    stand_ins: Mapping[bytes, bytes] = field(default_factory=dict)
    direct: bool = False
    superseded: Superseded = field(default_factory=Superseded)
    counts: Counts = field(default_factory=Counts)
    _staging: Staging = field(init=False, default_factory=Staging)
    _attributes: Attributes = field(init=False)
    _directories: list[tuple[bytes, Entry | None]] = field(init=False, default_factory=list)
    _linked: dict[bytes, bytes] = field(init=False, default_factory=dict)
    _refused: bytes = field(init=False, default=b"")
    _part: Part | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._attributes = Attributes(notice=self.notice, numeric_ids=self.numeric_ids)

    def block(self, payload: memoryview) -> None:
        """Restore what one DATA block holds.

        Raises:
            FormatError: The block's table breaks a rule; what came before it was restored.
            RestoreError: The destination can take nothing more.
        """
        at, _ = table_size(payload)
        end = len(payload)
        for entry in decode_entries(payload):
            begin = at
            for _, length in entry.extents:
                at += length
            if at > end:
                raise MalformedError(what="entry table", reason="its data reaches beyond the block")
            try:
                self._entry(entry, payload[begin:at])
            except OSError as error:
                self._failed(entry.path, error)

    def finish(self) -> None:
        """Set what is left to set: the attributes of the directories that are still open.

        Raises:
            RestoreError: The destination can take nothing more.
        """
        self._end_part()
        while self._directories:
            self._leave()
        for path in self.selection.unseen:
            self.notice("missing", path, "it is not in the archive")

    def close(self) -> None:
        """Let go of a file that is not finished; what was restored stays as it is."""
        if self._part is not None:
            self._part.close()
        self._part = None

    def _entry(self, entry: Entry, data: memoryview) -> None:
        if self._part is not None:
            if entry.flags & _CONTINUES and entry.path == self._part.name:
                self._go_on(self._part, entry, data)
                return
            self._end_part()
        self._first(entry, data)

    def _first(self, entry: Entry, data: memoryview) -> None:
        if self.superseded and not self.superseded.counts(entry):
            if self.superseded.is_folder_later(entry) and self._is_wanted(entry):
                self._directory(entry, is_last=False)
            return
        name = entry.path
        if not self._is_wanted(entry):
            return
        if entry.kind == _FILE:
            self._file(entry, data, name)
        elif entry.kind == _DIRECTORY:
            self._directory(entry)
        elif entry.kind == _HARD_LINK:
            self._link(entry)
        else:
            self._special(entry, name)

    def _is_wanted(self, entry: Entry) -> bool:
        """Say whether to restore the entry, and set where; leave finished directories."""
        path = entry.path
        if not self.selection.wants(path, entry.kind):
            stand_in = self.stand_ins.get(path) if entry.flags & _LINKED else None
            if stand_in is None:
                return False
            path = entry.path = stand_in
        while self._directories and not path.startswith(self._directories[-1][0]):
            self._leave()
        if self._refused and path.startswith(self._refused):
            self.counts.skipped += 1
            return False
        return True

    def _file(self, entry: Entry, data: memoryview, name: bytes) -> None:
        if entry.flags & _IN_PARTS:
            self._begin(entry, data, name)
            return
        if entry.status > _SHORT:
            self._skip("missing", entry.path, "it could not be read when it was archived")
            return
        file = self.destination.file(entry)
        if file is None:
            self.counts.kept += 1
        else:
            try:
                write_extents(file, entry, data)
                size = min(entry.actual, entry.size) if entry.status == _SHORT else entry.size
                if size != len(data):
                    os.ftruncate(file, size)
                self._attributes.set(file, entry)
            except OSError:
                self.destination.remove(entry.path)
                raise
            finally:
                os.close(file)
            self.counts.files += 1
            self.counts.bytes += len(data)
        if entry.flags & _LINKED:
            self._linked[name] = entry.path

    def _begin(self, entry: Entry, data: memoryview, name: bytes) -> None:
        """Start a file whose data is in several blocks."""
        self._part = part = Part(name, entry)
        try:
            file = self.destination.file(entry)
        except OSError as error:
            self._failed(entry.path, error)
            return
        if file is None:
            self.counts.kept += 1
        else:
            part.file = file
            if self.direct and entry.size >= _LARGE:
                part.direct = DirectFile(file, self._staging)
        if entry.flags & _LINKED:
            self._linked[name] = entry.path
        self._go_on(part, entry, data)

    def _go_on(self, part: Part, entry: Entry, data: memoryview) -> None:
        """Add one block's part."""
        if part.file >= 0:
            if entry.before != part.data:
                part.damaged = True
            part.data = entry.before + len(data)
            if entry.status > _SHORT:
                part.missing = True
            elif entry.status == _SHORT:
                part.actual = min(part.actual, entry.actual)
            try:
                part.write(entry, data)
            except OSError as error:
                self._drop(part)
                self._failed(entry.path, error)
                return
            self.counts.bytes += len(data)
        if not entry.flags & _MORE:
            self._end_part(complete=True)

    def _end_part(self, *, complete: bool = False) -> None:
        """Finish the file in parts, whether its last part came or not."""
        part, self._part = self._part, None
        if part is None or part.file < 0:
            return
        path = part.entry.path
        try:
            if part.missing:
                self._drop(part)
                self._skip("missing", path, "it could not be read when it was archived")
                return
            try:
                part.flush()
            except OSError:
                self._drop(part)
                raise
            whole = complete and not part.damaged
            os.ftruncate(part.file, min(part.entry.size, part.actual))
            self._attributes.set(part.file, part.entry, times=whole)
            if whole:
                self.counts.files += 1
            else:
                self._skip("incomplete", path, "a block of it is damaged; the rest is in place")
        except OSError as error:
            self._failed(path, error)
        finally:
            part.close()

    def _drop(self, part: Part) -> None:
        part.close()
        self.destination.remove(part.entry.path)

    def _directory(self, entry: Entry, *, is_last: bool = True) -> None:
        try:
            self.destination.directory(entry.path)
        except OSError:
            self._refused = entry.path + b"/"
            raise
        self._directories.append((entry.path + b"/", entry if is_last else None))

    def _leave(self) -> None:
        """Set the attributes of a directory whose files are all there."""
        _, entry = self._directories.pop()
        if entry is None:  # it comes once more
            return
        try:
            self._attributes.set(self.destination.enter(entry.path), entry)
        except OSError as error:
            self._failed(entry.path, error)
            return
        self.counts.directories += 1

    def _link(self, entry: Entry) -> None:
        target = self._linked.get(entry.link)
        if target is None:
            reason = (
                f"the file that it is another name of was not restored: {printable(entry.link)}"
            )
            self._skip("missing", entry.path, reason)
            return
        if target == entry.path:
            return  # it stands in for the first name, and is there
        made = self.destination.link(entry, target)
        if made is None:
            self.counts.kept += 1
            return
        if not made:
            self._copy(entry, target)
        self.counts.other += 1

    def _copy(self, entry: Entry, target: bytes) -> None:
        entry.kind = _FILE
        file = self.destination.file(entry)
        if file is None:
            return
        try:
            self.destination.copy(target, file)
            self._attributes.set(file, entry)
        except OSError:
            self.destination.remove(entry.path)
            raise
        finally:
            os.close(file)

    def _special(self, entry: Entry, name: bytes) -> None:
        if entry.kind not in _SPECIAL:
            self._skip("skipped", entry.path, f"a file of a kind not known here: {entry.kind}")
            return
        made = self.destination.special(entry)
        if made is None:
            self.counts.kept += 1
        else:
            self._attributes.set_special(*made, entry)
            self.counts.other += 1
        if entry.flags & _LINKED:
            self._linked[name] = entry.path

    def _failed(self, path: bytes, error: OSError) -> None:
        if error.errno in _FATAL:
            raise RestoreError(path=printable(path), reason=why(error)) from error
        kind = "exists" if isinstance(error, FileExistsError) else "failed"
        self._skip(kind, path, why(error))

    def _skip(self, kind: str, path: bytes, reason: str) -> None:
        self.counts.skipped += 1
        self.notice(kind, path, reason)
