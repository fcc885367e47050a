"""Where output goes: standard output for what was asked for, standard error for all else.

Writes are plain; the one surprise, a reader that has gone, has its own class, for it is no error
(`datamover ls STORE | head`).
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["OutputClosedError", "blocks", "close_output", "flush", "is_terminal", "put", "say"]


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


def say(text: str) -> None:
    """Write a line to standard error; nobody reading it is no reason to stop."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        return


def close_output() -> None:
    """Point standard output at nothing: what is still buffered has nowhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at the stream through a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def blocks(stream: TextIO) -> bool:
    """Whether the stream can show block characters."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf8")
