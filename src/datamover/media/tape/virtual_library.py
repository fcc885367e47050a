"""A robot of which the shelf is a folder: cartridges are files, and are moved into drives.

    library.json      how long the tapes are, and how many drives there are
    slots/NAME.tap    cartridges on the shelf
    drive0/NAME.tap   the cartridge in a drive
    drive0.lock       whoever has the drive holds a lock on it

A cartridge can be taken out by hand: a file that is moved away from slots/ is off line.

Source: docs/spec/media-format.md, "Tapes"; SPEC F13; ADR 0027.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.disk.straight import open_folder, shown
from datamover.errors import StoreError, StoreExistsError, UsageError
from datamover.media.tape.virtual_drive import VirtualDrive
from datamover.units import GIB, KIB, MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["VirtualLibrary", "create_library"]

_FACTS: Final = "library.json"
_SLOTS: Final = "slots"
_SUFFIX: Final = ".tap"
_NAME: Final = re.compile(r"[A-Z0-9]{1,32}")
_FACTS_MAX: Final = 4096
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MOST_CARTRIDGES: Final = 10_000
_MOST_DRIVES: Final = 16
_LEAST_BLOCKS: Final = 16
_CAPACITY: Final = Bytes(10 * GIB)
_BLOCK: Final = Bytes(256 * KIB)


class _Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``library.json`` says."""

    drives: int
    capacity: int
    early: int
    block: int
    fixed: bool


def create_library(
    path: str | os.PathLike[str],
    *,
    cartridges: int,
    capacity: Bytes = _CAPACITY,
    block: Bytes = _BLOCK,
    fixed: bool = False,
    drives: int = 1,
) -> None:
    """Make a library of empty cartridges, named V00001 and so on, in an empty or a new folder.

    Args:
        path: The folder.
        cartridges: How many.
        capacity: Bytes of each tape.
        block: Bytes of a block.
        fixed: Whether all blocks have that length.
        drives: How many processes can use it at once.

    Raises:
        UsageError: A number is out of range.
        StoreExistsError: Something is there already.
        StoreError: The system refuses.
    """
    early = 4 * block
    sound = 64 * KIB <= block <= 8 * MIB and block % KIB == 0 and capacity >= _LEAST_BLOCKS * block
    if not (sound and 1 <= drives <= _MOST_DRIVES and 0 <= cartridges <= _MOST_CARTRIDGES):
        raise UsageError(
            reason="a library has 1 to 16 drives, at most 10000 cartridges, blocks of 64 KiB to "
            "8 MiB, and tapes of 16 blocks at least"
        )
    facts = _Facts(drives=drives, capacity=capacity, early=early, block=block, fixed=fixed)
    where = shown(os.fspath(path))
    with _refusals(where):
        root = open_folder(os.fspath(path), make=True)
        try:
            if os.listdir(root):  # noqa: PTH208 - a descriptor
                raise StoreExistsError(store=where, reason="the folder is not empty")
            for name in (_SLOTS, *(f"drive{number}" for number in range(drives))):
                os.mkdir(name, 0o700, dir_fd=root)
            slots = os.open(_SLOTS, _FOLDER, dir_fd=root)
            try:
                for number in range(1, cartridges + 1):
                    name = f"V{number:05d}{_SUFFIX}"
                    flags = _FILE | os.O_CREAT | os.O_EXCL | os.O_WRONLY
                    os.close(os.open(name, flags, 0o600, dir_fd=slots))
                os.fsync(slots)
            finally:
                os.close(slots)
            # Last: a folder without it is no library.
            flags = _FILE | os.O_CREAT | os.O_EXCL | os.O_WRONLY
            file = os.open(_FACTS, flags, 0o600, dir_fd=root)
            try:
                os.write(file, msgspec.json.encode(facts))
                os.fsync(file)
            finally:
                os.close(file)
            os.fsync(root)
        finally:
            os.close(root)


class VirtualLibrary:
    """See ``Changer``."""

    def __init__(self, path: str) -> None:
        """Name the folder; nothing is opened before it is needed."""
        self._path = path
        self.where = shown(path)
        self._root = -1
        self._facts: _Facts | None = None
        self._lock = -1
        self._number = 0
        self._drive: VirtualDrive | None = None

    @property
    def block(self) -> Bytes:
        """Bytes of a block; see ``Changer``."""
        return Bytes(self._open().block)

    def cartridges(self) -> Sequence[str]:
        """Return the names of what is on the shelf or in our drive; see ``Changer``."""
        self._take_drive()
        with _refusals(self.where):
            return sorted([*self._in(_SLOTS), *self._in(self._place)])

    def load(self, cartridge: str) -> VirtualDrive:
        """Put a cartridge into our drive; see ``Changer.load``."""
        facts = self._take_drive()
        self._let_go()
        with _refusals(self.where):
            loaded = self._in(self._place)
            for other in loaded:
                if other != cartridge:
                    self._move(other, self._place, _SLOTS)
            if cartridge not in loaded:
                try:
                    self._move(cartridge, _SLOTS, self._place)
                except FileNotFoundError:
                    raise StoreError(
                        store=self.where, reason=f"cartridge {cartridge} is not on the shelf"
                    ) from None
            name = f"{self._place}/{cartridge}{_SUFFIX}"
            file = os.open(name, _FILE | os.O_RDWR, dir_fd=self._root)
        self._drive = VirtualDrive(
            f"{self.where}: {cartridge}",
            file,
            capacity=Bytes(facts.capacity),
            early=Bytes(facts.early),
            block=Bytes(facts.block),
            is_fixed=facts.fixed,
        )
        return self._drive

    def close(self) -> None:
        """Let go of the drive; the cartridge stays in it."""
        self._let_go()
        for descriptor in (self._lock, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._root = -1

    @property
    def _place(self) -> str:
        return f"drive{self._number}"

    def _take_drive(self) -> _Facts:
        """Find a drive that nobody has, and keep it."""
        facts = self._open()
        if self._lock >= 0:
            return facts
        for number in range(facts.drives):
            with _refusals(self.where):
                lock = os.open(
                    f"drive{number}.lock", _FILE | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._root
                )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
            else:
                self._lock, self._number = lock, number
                return facts
        raise StoreError(store=self.where, reason="every drive is in use by another process")

    def _open(self) -> _Facts:
        if self._facts is not None and self._root >= 0:
            return self._facts
        with _refusals(self.where):
            self._root = open_folder(self._path)
            try:
                file = os.open(_FACTS, _FILE | os.O_RDONLY, dir_fd=self._root)
            except FileNotFoundError:
                raise StoreError(
                    store=self.where, reason=f"no tape library: there is no {_FACTS}"
                ) from None
            try:
                text = os.read(file, _FACTS_MAX)
            finally:
                os.close(file)
        try:
            facts = msgspec.json.decode(text, type=_Facts)
        except msgspec.DecodeError as error:
            raise StoreError(store=self.where, reason=f"{_FACTS}: {error}") from None
        if not (
            0 < facts.drives <= _MOST_DRIVES and 0 < facts.block <= 8 * MIB and facts.early >= 0
        ):
            raise StoreError(store=self.where, reason=f"{_FACTS}: a number is out of range")
        self._facts = facts
        return facts

    def _in(self, folder: str) -> list[str]:
        place = os.open(folder, _FOLDER, dir_fd=self._root)
        try:
            with os.scandir(place) as entries:
                names = [e.name for e in entries if e.is_file(follow_symlinks=False)]
        finally:
            os.close(place)
        stems = [n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)]
        return [stem for stem in stems if _NAME.fullmatch(stem)]

    def _move(self, cartridge: str, source: str, target: str) -> None:
        name = f"{cartridge}{_SUFFIX}"
        root = self._root
        os.rename(f"{source}/{name}", f"{target}/{name}", src_dir_fd=root, dst_dir_fd=root)

    def _let_go(self) -> None:
        if self._drive is not None:
            self._drive.close()
            self._drive = None


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        with suppress(KeyError):
            reason = errno.errorcode[error.errno or 0]
        raise StoreError(store=where, reason=error.strerror or reason) from error
