"""Duplicate: one file's data to another file of the same machine, by the kernel where it can.

    reflink            both on one file system that shares extents: no data moves
    copy_file_range    the kernel moves it; holes stay holes
    read and write     what is left, and what is small

Source: copy_file_range(2), ioctl_ficlone(2); ADR 0015.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

from datamover.files.walk import data_extents
from datamover.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Duplicate"]

_SMALL: Final = 256 * KIB
_STEP: Final = 16 * MIB
_FICLONE: Final = 0x40049409
_REFUSED: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM,
     errno.EBADF, errno.ETXTBSY}
)  # fmt: skip
_PAGE: Final = 4096


class Duplicate:
    """Copies data between descriptors; it remembers what the file systems refused.

    Args:
        check: Called between steps of a large file; may raise to stop.
        told: Called with the bytes of each step.
    """

    def __init__(self, *, check: Callable[[], None], told: Callable[[int], None]) -> None:
        self._check = check
        self._told = told
        self._buffer = memoryview(bytearray(_SMALL))
        self._clones = True
        self._kernel = True

    def copy(self, source: int, target: int, size: int, *, sparse: bool, begin: int = 0) -> int:
        """Fill ``target``, an empty file or one with the first ``begin`` bytes; return its size.

        Args:
            source: To read from.
            target: To write to.
            size: Bytes that the source is thought to have.
            sparse: The source has holes, which stay holes.
            begin: Bytes that are there already.

        Raises:
            OSError: The system refuses; the target has a part of the data.
        """
        if size <= _SMALL and not begin and not sparse:
            return self._small(source, target, size)
        if not begin and self._clone(source, target):
            self._told(size)
            return os.fstat(target).st_size
        end = begin
        extents = data_extents(source, size) if sparse else ((0, size),)
        for offset, length in extents:
            at = max(offset, begin)
            if at < offset + length:
                end = self._extent(source, target, at, offset + length)
                if end < offset + length:
                    break
        else:
            end = size if sparse else end
        if sparse and end == size:
            os.ftruncate(target, size)
        return end

    def common(self, source: int, target: int) -> int:
        """Return how many bytes both files begin with, in whole pages."""
        step = len(self._buffer) // 2
        ours, theirs = self._buffer[:step], self._buffer[step:]
        at = 0
        while True:
            self._check()
            got = os.preadv(source, [ours], at)
            there = os.preadv(target, [theirs], at)
            less = min(got, there)
            if not less or ours[:less] != theirs[:less]:
                return at
            if less < step:
                return at + less // _PAGE * _PAGE
            at += less

    def _small(self, source: int, target: int, size: int) -> int:
        done = 0
        while True:
            # One byte more than is thought to be there: a file that grew says so by its time.
            got = os.readv(source, [self._buffer[: max(size - done, 0)]]) if size > done else 0
            if not got:
                return done
            self._write(target, got, done)
            done += got
            self._told(got)

    def _write(self, target: int, length: int, offset: int) -> None:
        begin = 0
        while begin < length:
            begin += os.pwrite(target, self._buffer[begin:length], offset + begin)

    def _clone(self, source: int, target: int) -> bool:
        if not self._clones:
            return False
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._clones = False
        return self._clones

    def _extent(self, source: int, target: int, at: int, end: int) -> int:
        """Copy ``at`` to ``end``; return where the source ended."""
        while at < end:
            self._check()
            length = min(_STEP, end - at)
            got = self._range(source, target, at, length) if self._kernel else -1
            if got < 0:
                got = self._plainly(source, target, at, length)
            if not got:
                break
            at += got
            self._told(got)
        return at

    def _range(self, source: int, target: int, at: int, length: int) -> int:
        try:
            return os.copy_file_range(source, target, length, at, at)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._kernel = False
            return -1

    def _plainly(self, source: int, target: int, at: int, length: int) -> int:
        got = os.preadv(source, [self._buffer[:length]], at)
        self._write(target, got, at)
        return got
