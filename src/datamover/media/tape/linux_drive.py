"""A real drive, by the tape driver of Linux: ``/dev/nst0`` and its like.

The device that does not rewind when it is closed is the one to use.  Somebody puts the cartridges
in: this is a changer that can load what is in the drive already.

Source: st(4); linux/mtio.h; docs/spec/media-format.md, "Tapes"; ADR 0027.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from datamover.errors import MediumFullError, StoreError
from datamover.media.tape.drive import Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.units import Bytes

__all__ = ["LinuxDrive", "SingleDrive"]

# struct mtop { short mt_op; int mt_count; } and struct mtget { long x 5; __daddr_t x 2; }
_OPERATION: Final = struct.Struct("@hi")
_STATUS: Final = struct.Struct("@lllllii")
_READ_WRITE: Final = {"write": 1, "read": 2}


def _ioctl_number(direction: str, number: int, size: int) -> int:
    """Return _IOW('m', number, size) or _IOR: the same on x86-64 and on aarch64."""
    return _READ_WRITE[direction] << 30 | size << 16 | ord("m") << 8 | number


_MTIOCTOP: Final = _ioctl_number("write", 1, _OPERATION.size)
_MTIOCGET: Final = _ioctl_number("read", 2, _STATUS.size)

_FORWARD_FILES: Final = 1
_BACKWARD_FILES: Final = 2
_WRITE_FILEMARKS: Final = 5
_REWIND: Final = 6
_END_OF_DATA: Final = 12
_SET_BLOCK: Final = 20
_WRITE_FILEMARKS_SOON: Final = 35

_IS_AT_END_OF_TAPE: Final = 0x20000000
_IS_AT_END_OF_DATA: Final = 0x08000000
_IS_PROTECTED: Final = 0x04000000
_IS_ONLINE: Final = 0x01000000


class LinuxDrive:
    """See ``Drive``."""

    def __init__(self, device: str, file: int, *, block: Bytes, is_fixed: bool) -> None:
        """Take over an open device with a cartridge in it.

        Raises:
            StoreError: The drive refuses the length of blocks.
        """
        self.name = device
        self.block = block
        self.is_fixed = is_fixed
        self._file = file
        self._has_warned = False
        self._is_at_start = False
        # Filemarks between the beginning and here.
        self._marks = 0
        self._do(_SET_BLOCK, block if is_fixed else 0)

    def write(self, block: memoryview) -> Written:
        """Write one block; see ``Drive.write``."""
        size = len(block)
        if not 0 < size <= self.block or (self.is_fixed and size != self.block):
            raise StoreError(store=self.name, reason=f"takes no block of {size} bytes")
        try:
            done = os.write(self._file, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise self._refusal(error) from error
            if not self._has_warned:
                self._has_warned = True
                return Written.WARNED
            # Near the end the driver warns before each block, and takes it when it comes again.
            done = self._write_again(block)
        if done != size:
            raise StoreError(store=self.name, reason=f"took {done} of {size} bytes")
        return Written.TAKEN

    def mark(self, *, durable: bool = True) -> None:
        """Write a filemark; see ``Drive.mark``."""
        operation = _WRITE_FILEMARKS if durable else _WRITE_FILEMARKS_SOON
        try:
            fcntl.ioctl(self._file, _MTIOCTOP, _OPERATION.pack(operation, 1))
        except OSError as error:
            # Near the end the mark is written all the same, and the driver warns.
            if error.errno != errno.ENOSPC:
                raise self._refusal(error) from error
        self._marks += 1

    def read(self, into: memoryview) -> int | None:
        """Read the block here; see ``Drive.read``."""
        is_first, self._is_at_start = self._is_at_start, False
        try:
            size = os.readv(self._file, [into])
        except OSError as error:
            if error.errno in {errno.EIO, errno.ENOSPC} and self._has_ended():
                return None
            raise self._refusal(error) from error
        status = _status(self._file)
        if status & _IS_AT_END_OF_DATA:
            return None
        if is_first and status & _IS_AT_END_OF_TAPE and self._has_ended():
            # The first block, at the end, and no mark behind it: so some drives answer where
            # nothing was ever written.
            return None
        self._marks += not size
        return size

    def rewind(self) -> None:
        """Go to the beginning; see ``Drive.rewind``."""
        self._has_warned = False
        self._do(_REWIND, 1)
        self._marks = 0
        self._is_at_start = True

    def forward_files(self, count: int) -> int:
        """Pass filemarks; see ``Drive.forward_files``."""
        self._is_at_start = False
        for passed in range(count):
            try:
                fcntl.ioctl(self._file, _MTIOCTOP, _OPERATION.pack(_FORWARD_FILES, 1))
            except OSError as error:
                if error.errno == errno.EIO and self._has_ended():
                    return passed
                raise self._refusal(error) from error
            self._marks += 1
        return count

    def close(self) -> None:
        """Let go of the device; again is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write_again(self, block: memoryview) -> int:
        try:
            return os.write(self._file, block)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise MediumFullError(where=self.name) from error
            raise self._refusal(error) from error

    def _has_ended(self) -> bool:
        """Say whether what was just refused was refused for the end of the data.

        A driver that knows says so.  Where it does not, an error in the midst of a tape must not
        pass for its end, for the end is where the next file is written: so the marks are counted,
        back from where the drive says that the data ends.
        """
        if _status(self._file) & _IS_AT_END_OF_DATA:
            return True
        passed = self._marks
        try:
            self._do(_END_OF_DATA, 1)
            if passed:
                self._do(_BACKWARD_FILES, passed)
        except StoreError:
            return False
        try:
            self._do(_BACKWARD_FILES, 1)
        except StoreError:
            # There is no mark before these: none is behind the place that was refused.
            self._do(_END_OF_DATA, 1)
            return True
        return False

    def _do(self, operation: int, count: int) -> None:
        try:
            fcntl.ioctl(self._file, _MTIOCTOP, _OPERATION.pack(operation, count))
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> StoreError:
        return StoreError(store=self.name, reason=error.strerror or "refused")


class SingleDrive:
    """A ``Changer`` without an arm: one drive, and the cartridge that is in it."""

    def __init__(self, device: str, *, block: Bytes, is_fixed: bool) -> None:
        """Name the device; nothing is opened before it is needed."""
        self.where = device
        self.block = block
        self._is_fixed = is_fixed
        self._drive: LinuxDrive | None = None

    def cartridges(self) -> Sequence[str]:
        """Return one name, for whatever is in the drive; see ``Changer``."""
        self.load("loaded")
        return ["loaded"]

    def load(self, cartridge: str) -> LinuxDrive:
        """Take what is in the drive, at its beginning; see ``Changer.load``."""
        if cartridge != "loaded":
            raise StoreError(store=self.where, reason=f"put cartridge {cartridge} into the drive")
        if self._drive is None:
            self._drive = self._open()
        self._drive.rewind()
        return self._drive

    def close(self) -> None:
        """Let go of the drive; again is harmless."""
        if self._drive is not None:
            self._drive.close()
            self._drive = None

    def _open(self) -> LinuxDrive:
        # An open that may wait does so for ever where there is no cartridge.
        with self._refusals():
            file = os.open(self.where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = _status(file)
        except OSError as error:
            raise StoreError(store=self.where, reason="no tape drive") from error
        finally:
            os.close(file)
        if not status & _IS_ONLINE:
            raise StoreError(store=self.where, reason="no cartridge is in the drive")
        mode = os.O_RDONLY if status & _IS_PROTECTED else os.O_RDWR
        with self._refusals():
            file = os.open(self.where, mode | os.O_CLOEXEC)
        try:
            return LinuxDrive(self.where, file, block=self.block, is_fixed=self._is_fixed)
        except StoreError:
            os.close(file)
            raise

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or "refused"
            if error.errno == errno.EBUSY:
                reason = "the drive is in use by another process"
            raise StoreError(store=self.where, reason=reason) from error


def _status(file: int) -> int:
    """Return the bits that mtio.h calls ``mt_gstat``."""
    return int(_STATUS.unpack(fcntl.ioctl(file, _MTIOCGET, bytes(_STATUS.size)))[3])
