"""Bytes that flow in one direction: a file, a device, a pipe, standard input or output.

Source: SPEC U19; docs/spec/wire-format.md, "Framings".
"""

from __future__ import annotations

import errno
import os
import select
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import open_file, shown
from datamover.errors import MediumFullError, SourceError, StoreError
from datamover.shm.statistics import Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.pipe.ports import Port

__all__ = ["fill", "opened_sink", "opened_source", "pour", "refuse_sink", "refuse_source"]

_STANDARD: Final = "-"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOOK_MS: Final = 200


@contextmanager
def opened_source(path: str) -> Iterator[int]:
    """Yield a descriptor to read from; ``-`` is standard input, and stays open.

    Raises:
        SourceError: It cannot be opened.
    """
    if path == _STANDARD:
        yield 0
        return
    with refuse_source(path):
        descriptor = open_file(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_sink(path: str) -> Iterator[int]:
    """Yield a descriptor to write to; ``-`` is standard output, and stays open.

    A regular file is emptied first, and durable when the block ends well.

    Raises:
        MediumFullError: No room.
        StoreError: It cannot be opened, or made durable.
    """
    if path == _STANDARD:
        yield 1
        return
    with refuse_sink(path):
        descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        yield descriptor
        with refuse_sink(path):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fill(port: Port, descriptor: int, into: memoryview, *, name: str) -> int:
    """Read until ``into`` is full or the source ends; return how many bytes came.

    Raises:
        SourceError: The source cannot be read.
        StopRequestedError: The monitor wants this task to end.

    Blocking: until enough bytes come; a stop is seen within 0.2 s.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    done, size = 0, len(into)
    with refuse_source(name), port.waiting(Wait.INPUT):
        while done < size:
            while not poll.poll(_LOOK_MS):
                port.check()
            more = os.readv(descriptor, [into[done:]])
            if not more:
                break
            done += more
    return done


def pour(port: Port, descriptor: int, *views: memoryview | bytes, name: str, sent: int = 0) -> int:
    """Write all views, in order; return how many bytes went, ``sent`` of earlier calls included.

    Raises:
        MediumFullError: No room.
        StoreError: The sink refuses, or nobody reads it any more.

    Blocking: until the sink took the bytes.
    """
    total = sum(map(len, views))
    with refuse_sink(name), port.waiting(Wait.OUTPUT):
        done = os.writev(descriptor, views) if total else 0
        for view in views:
            # Most often everything went at once, and this only counts.
            rest = memoryview(view)[min(done, len(view)) :]
            done = max(0, done - len(view))
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    return sent + total


@contextmanager
def refuse_source(path: str) -> Iterator[None]:
    """Say what the operating system refuses to read in our words."""
    try:
        yield
    except OSError as error:
        raise SourceError(path=shown(path), reason=error.strerror or "cannot be read") from error


@contextmanager
def refuse_sink(path: str) -> Iterator[None]:
    """Say what the operating system refuses to write in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MediumFullError(where=shown(path)) from error
        raise StoreError(store=shown(path), reason=error.strerror or "cannot be written") from error
