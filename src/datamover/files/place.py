"""Place: do at the destination of a copy what the blocks of its pipe say.

    entry            what happens
    file             written beside, its attributes set, renamed over what has its name
    file, BARE       likewise, but its data comes from the source, which is on this machine
    any, SAME        what is there keeps its data; its attributes are set
    directory        made; its attributes are set when the order of the blocks has left it
    hard link        made beside, renamed; copied where links cannot be
    other            made beside, its attributes set, renamed
    REMOVED          removed, if that was asked for

What cannot be done is a notice and the rest goes on, except where nothing more can succeed.

Source: docs/spec/copy-pipes.md; SPEC E1, U10; DESIGN D14.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from datamover.disk.direct import DirectFile
from datamover.disk.staging import Staging
from datamover.errors import MalformedError, RestoreError
from datamover.files.attributes import Attributes
from datamover.files.delta import Delta, decode_delta
from datamover.files.entry import Entry, EntryFlag, Kind, Status
from datamover.files.handover import Handover
from datamover.files.leftover import RESUMABLE, is_leftover
from datamover.files.naming import Naming
from datamover.files.notice import Notice
from datamover.files.part import Part, write_extents
from datamover.files.patch import Patch
from datamover.files.printable import printable, why
from datamover.files.replacement import Replacement
from datamover.files.table import decode_entries, table_size
from datamover.files.transfer import Transfer

__all__ = ["Place", "Placed"]

_FILE: Final = int(Kind.FILE)
_SPECIAL: Final = (Kind.SYMLINK, Kind.FIFO, Kind.CHARACTER, Kind.BLOCK)
_SHORT: Final = int(Status.SHORT)
_CONTINUES: Final = int(EntryFlag.CONTINUES)
_MORE: Final = int(EntryFlag.MORE)
_LINKED: Final = int(EntryFlag.LINKED)
_BARE: Final = int(EntryFlag.BARE)
_SAME: Final = int(EntryFlag.SAME)
_NAMED: Final = int(EntryFlag.NAMED)
_IN_PARTS: Final = _CONTINUES | _MORE
_LARGE: Final = 4 << 20
_FATAL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NOT_EMPTY: Final = (errno.ENOTEMPTY, errno.EEXIST)
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Placed:
    """What was done at the destination.

    Attributes:
        files: Regular files written.
        directories: Directories made, or given their attributes.
        other: Further names of files, symlinks, FIFOs and devices made.
        bytes: Data bytes written.
        touched: Entries whose data stayed, and whose attributes were set; directories not counted.
        removed: Files and directories removed.
        resumed: Bytes of large files that an earlier copy had left, and that were not sent again.
        reused: Bytes taken from the files that were replaced.
        skipped: Entries that could not be placed; each has a notice.
    """

    files: int = 0
    directories: int = 0
    other: int = 0
    bytes: int = 0
    touched: int = 0
    removed: int = 0
    resumed: int = 0
    reused: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Place:
    """Obeys the entries of blocks that are given in order.

    Attributes:
        target: Where to; the caller closes it.
        naming: What the sources are called there.
        notice: Told "exists", "missing", "incomplete", "failed", "skipped", "metadata", "changed",
            "unreadable" and "note".
        attributes: Sets what an entry says beside its data.
        handover: Gives files their names.
        removes: What REMOVED names may go.
        direct: Write large files past the page cache; for a caller that waits for the disk anyway.
        transfer: Copies the sources' data, where they are on this machine.
        told: Called with bytes that came neither in a block nor from a source.
        unmatched: Called with number of the source and archived name of a file that could not be
            built from what its signature said.
        counts: What was done so far.
    """

    target: Replacement
    naming: Naming
    notice: Notice
    attributes: Attributes
    handover: Handover
    removes: bool = False
    direct: bool = False
    transfer: Transfer | None = None
    told: Callable[[int], None] = lambda _: None
    unmatched: Callable[[int, bytes], None] = lambda *_: None
    counts: Placed = field(default_factory=Placed)
    _staging: Staging = field(init=False, default_factory=Staging)
    _directories: list[tuple[bytes, Entry]] = field(init=False, default_factory=list)
    _linked: dict[bytes, bytes] = field(init=False, default_factory=dict)
    _refused: bytes = field(init=False, default=b"")
    _part: Part | None = field(init=False, default=None)
    _patch: Patch | None = field(init=False, default=None)
    _beside: bytes = field(init=False, default=b"")
    _is_root: bool = field(init=False, default_factory=lambda: os.geteuid() == 0)

    def block(self, payload: memoryview) -> None:
        """Do what one DATA block says.

        Raises:
            FormatError: The block's table breaks a rule; what came before it was done.
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

    def delta(self, payload: memoryview) -> None:
        """Do what one block says of a file that is built from an old one.

        Raises:
            FormatError: The block breaks a rule.
            RestoreError: The destination can take nothing more.
        """
        delta = decode_delta(payload)
        entry, name = delta.entry, delta.entry.path
        entry.path = self.naming.target(entry.root, name)
        self._move_to(entry.path)
        try:
            self._patched(delta, name)
        except OSError as error:
            self._drop_patch(keep=True)
            self._failed(entry.path, error)

    def finish(self) -> None:
        """Set what is left to set: the attributes of the directories that are still open.

        Raises:
            RestoreError: The destination can take nothing more.
        """
        self._end_part()
        while self._directories:
            self._leave()
        self.handover.finish()

    def close(self) -> None:
        """Let go of a file that is not finished: of a large one the next copy finds its part."""
        part, self._part = self._part, None
        if part is not None:
            self._stop(part)
        self._drop_patch(keep=True)

    def not_given(self, path: bytes, error: OSError, is_own: bool) -> None:
        """Learn that a complete file, or another name of one, could not get its name."""
        self.counts.files -= is_own
        self.counts.other -= not is_own
        self._failed(path, error)

    def _entry(self, entry: Entry, data: memoryview) -> None:
        name = entry.path
        entry.path = path = self.naming.target(entry.root, name)
        if self._part is not None and entry.flags & _CONTINUES and name == self._part.name:
            self._go_on(self._part, entry, data)
            return
        self._move_to(path)
        if self._refused and path.startswith(self._refused):
            self.counts.skipped += 1
            return
        if entry.kind == _FILE and not entry.flags & _SAME:
            self._file(entry, data, name)
        else:
            self._other(entry)
        if entry.flags & _LINKED:
            self._linked[name] = path

    def _move_to(self, path: bytes) -> None:
        """Finish what is behind: a file in parts, directories that the path is not in."""
        if self._part is not None:
            self._end_part()
        while self._directories and not path.startswith(self._directories[-1][0]):
            self._leave()

    def _other(self, entry: Entry) -> None:
        """Do what takes no data."""
        match entry.kind:
            case Kind.DIRECTORY:
                self._directory(entry)
            case Kind.REMOVED:
                self._remove(entry)
            case Kind.HARD_LINK:
                self._link(entry)
            case _ if entry.flags & _NAMED:
                return  # for the hard links to come
            case _ if entry.flags & _SAME:
                self._touch(entry)
            case _:
                self._special(entry)

    # ---- files

    def _file(self, entry: Entry, data: memoryview, name: bytes) -> None:
        if entry.flags & _BARE:
            self._transfer(entry, name)
        elif entry.flags & _IN_PARTS:
            self._begin(entry, data, name)
        elif entry.status > _SHORT:
            self._skip("missing", entry.path, "it could not be read")
        else:
            size = min(entry.actual, entry.size) if entry.status == _SHORT else entry.size
            file, beside, there = self.target.begin(entry.path, size)
            try:
                if there:
                    os.ftruncate(file, 0)
                write_extents(file, entry, data)
                if size != len(data):
                    os.ftruncate(file, size)
                self._keep(file, beside, entry, size, has_holes=size != len(data))
            except OSError:
                self.target.drop(entry.path, beside)
                raise
            finally:
                os.close(file)
            self.counts.bytes += len(data)

    def _keep(
        self, file: int, beside: bytes, entry: Entry, size: int, *, has_holes: bool = True
    ) -> None:
        """Give a complete file its attributes and its name."""
        self.attributes.set(file, entry)
        self.counts.files += 1
        try:
            self.handover.give(entry.path, beside, file=file, size=size, has_holes=has_holes)
        except OSError:
            self.counts.files -= 1
            raise

    def _transfer(self, entry: Entry, name: bytes) -> None:
        """Copy a file of this machine."""
        if self.transfer is None:
            raise MalformedError(what="entry table", reason="a file came without its data")
        done = self.transfer.file(entry, name)
        if done is None:
            self.counts.skipped += 1
            return
        self.counts.files += 1
        self.counts.bytes += done.written
        self.counts.resumed += done.resumed

    def _begin(self, entry: Entry, data: memoryview, name: bytes) -> None:
        """Start a file whose data is in several blocks."""
        self._part = part = Part(name, entry)
        try:
            part.file, self._beside, there = self.target.begin(entry.path, entry.size)
            if there:
                os.ftruncate(part.file, 0)
        except OSError as error:
            part.close()
            self._failed(entry.path, error)
            return
        if self.direct and entry.size >= _LARGE:
            part.direct = DirectFile(part.file, self._staging)
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
                self._stop(part)
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
                self._skip("missing", path, "it could not be read")
            elif not complete or part.damaged:
                self._skip("incomplete", path, "not all of its data came")
            else:
                part.flush()
                size = min(part.entry.size, part.actual)
                os.ftruncate(part.file, size)
                self._keep(part.file, self._beside, part.entry, size, has_holes=size != part.data)
                part.close()
        except OSError as error:
            self._failed(path, error)
        finally:
            self._stop(part)

    def _stop(self, part: Part) -> None:
        """Close a file that did not get its name; its beginning is worth keeping if it is long."""
        if part.file < 0:
            return
        keeps = part.entry.size >= RESUMABLE and not part.missing and not part.damaged
        part.close()
        if not keeps:
            self.target.drop(part.entry.path, self._beside)

    # ---- files that are built from old ones

    def _patched(self, delta: Delta, name: bytes) -> None:
        if delta.is_first:
            self._drop_patch(keep=True)
            self._patch = Patch(self.target, delta.entry, name, delta.kept)
        patch = self._patch
        if patch is None or patch.name != name:
            return  # it could not be begun, and that was said
        before = patch.reused
        patch.apply(delta)
        self.told(patch.reused - before)
        if delta.is_last:
            self._end_patch(patch, delta)

    def _end_patch(self, patch: Patch, delta: Delta) -> None:
        if delta.has_failed:
            self._drop_patch(keep=True)
            self._skip("missing", patch.entry.path, "it could not be read")
        elif not patch.verify(delta.digest):
            self._drop_patch(keep=False)
            self.unmatched(patch.entry.root, patch.name)
        else:
            os.ftruncate(patch.file, delta.size)
            self._keep(patch.file, patch.beside, patch.entry, delta.size)
            self.counts.bytes += patch.data
            self.counts.reused += patch.reused
            self.counts.resumed += patch.kept
            self._patch = None
            patch.close(keep=True)

    def _drop_patch(self, *, keep: bool) -> None:
        """Let go of a file that did not get its name; ``keep`` its beginning, if it is long."""
        patch, self._patch = self._patch, None
        if patch is not None:
            is_worth_it = patch.is_sound and patch.entry.size >= RESUMABLE
            patch.close(keep=keep and is_worth_it)

    # ---- everything else

    def _directory(self, entry: Entry) -> None:
        path = entry.path
        try:
            directory = self.target.directory(path) if path else self.target.base
            if not self._is_root and ~os.fstat(directory).st_mode & stat.S_IRWXU:
                os.fchmod(directory, stat.S_IRWXU)
        except OSError:
            self._refused = path + b"/"
            raise
        self._directories.append((path + b"/" if path else b"", entry))

    def _leave(self) -> None:
        """Set the attributes of a directory whose files are all there."""
        _, entry = self._directories.pop()
        self.handover.then(lambda: self._finish_directory(entry))

    def _finish_directory(self, entry: Entry) -> None:
        try:
            directory = self.target.enter(entry.path) if entry.path else self.target.base
            if entry.flags & _SAME:
                self.attributes.prune(directory, entry)
            self.attributes.set(directory, entry)
        except OSError as error:
            self._failed(entry.path, error)
            return
        self.counts.directories += 1

    def _touch(self, entry: Entry) -> None:
        """Set the attributes of what is there."""
        above, _, name = entry.path.rpartition(b"/")
        directory = self.target.enter(above)
        if not stat.S_ISLNK(entry.mode):
            self.attributes.prune(b"/proc/self/fd/%d/%b" % (directory, name), entry)
        self.attributes.set_special(directory, name, entry)
        self.counts.touched += 1

    def _link(self, entry: Entry) -> None:
        first = self._linked.get(entry.link)
        if first is None:
            reason = f"the file that it is another name of is not there: {printable(entry.link)}"
            self._skip("missing", entry.path, reason)
            return
        there = self.handover.place_of(first)
        beside = self.target.link_beside(entry, there)
        if beside is None:
            return
        if not beside:
            self._copy(entry, there)
        else:
            # Where its file waits for its first name, this one waits too.
            self.handover.give(entry.path, beside, has_holes=self.handover.is_waiting(first))
        self.counts.other += 1

    def _copy(self, entry: Entry, first: bytes) -> None:
        """Write again what cannot be linked to."""
        entry.kind = _FILE
        file, beside, there = self.target.begin(entry.path, entry.size)
        try:
            if there:
                os.ftruncate(file, 0)
            self.target.copy(first, file)
            self._keep(file, beside, entry, entry.size)
        except OSError:
            self.target.drop(entry.path, beside)
            raise
        finally:
            os.close(file)

    def _special(self, entry: Entry) -> None:
        if entry.kind not in _SPECIAL:
            self._skip("skipped", entry.path, f"a file of a kind not known here: {entry.kind}")
            return
        directory, beside = self.target.special(entry)
        try:
            self.attributes.set_special(directory, beside, entry)
            self.target.commit(entry.path, beside)
        except OSError:
            self.target.drop(entry.path, beside)
            raise
        self.counts.other += 1

    def _remove(self, entry: Entry) -> None:
        if not self.removes and not is_leftover(entry.path.rpartition(b"/")[2]):
            self._skip("skipped", entry.path, "nothing is to be removed here")
            return
        if self.removes:
            # What was moved at the source is here under its new name before the old one goes.
            self.handover.settle()
        try:
            is_directory = stat.S_ISDIR(entry.mode)
            if self.target.remove_entry(entry.path, is_directory=is_directory):
                self.counts.removed += 1
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            self.notice("note", entry.path, "the folder stays, for it is not empty")

    def _failed(self, path: bytes, error: OSError) -> None:
        if error.errno in _FATAL:
            raise RestoreError(path=printable(path), reason=why(error)) from error
        kind = "exists" if isinstance(error, FileExistsError) else "failed"
        self._skip(kind, path, why(error))

    def _skip(self, kind: str, path: bytes, reason: str) -> None:
        self.counts.skipped += 1
        self.notice(kind, path, reason)
