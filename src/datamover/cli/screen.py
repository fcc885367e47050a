"""Where output goes: standard output for what was asked for, standard error for all else.

Writes are plain; the one surprise, a reader that has gone, has its own class, for it is no error
(`datamover ls STORE | head`).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

__all__ = [
    "OutputClosedError",
    "blocks",
    "close_output",
    "flush",
    "is_terminal",
    "prepare_streams",
    "put",
    "say",
]


class OutputClosedError(Exception):
    """Whoever reads standard output has gone; the program ends in silence."""


def put(text: str) -> None:
    """Write to standard output, as it is.

    Raises:
        OutputClosedError: Its reader has gone.

    Blocking: until the reader takes it.
    """
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise OutputClosedError from None


def flush() -> None:
    """Bring standard output up to date.

    Raises:
        OutputClosedError: Its reader has gone.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosedError from None


def say(text: str, *, end: str = "\n") -> None:
    """Write to standard error; that it cannot be read is no reason to stop a job."""
    with suppress(OSError):
        sys.stderr.write(text + end)
        sys.stderr.flush()


def prepare_streams() -> None:
    """Make both streams usable, whatever the caller of the program left of them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Started with the descriptor closed (`>&-`): there is nobody to tell.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - kept
        elif hasattr(stream, "reconfigure"):
            # A name that the terminal's encoding lacks must not end a backup.
            stream.reconfigure(errors="backslashreplace")


def close_output() -> None:
    """Drop what is still buffered: it has nowhere to go, and the interpreter would complain."""
    with suppress(OSError):
        sys.stdout.flush()
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at the stream through a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def blocks(stream: TextIO) -> bool:
    """Whether the stream can show block characters."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf8")
