"""Unlisted: where the index of an interrupted archive stands, kept in a file beside the journal.

Source: docs/spec/resume.md, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from datamover.errors import MalformedError
from datamover.files.listing import IndexBlock

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IndexState"]


class IndexState(msgspec.Struct, kw_only=True):
    """Where the index of an archive stands.

    Attributes:
        offset: Plain bytes of all blocks so far.
        blocks: DATA blocks so far.
        entries: Entries so far, repeats not counted.
        plain: Plain bytes of the DATA blocks.
        index: The index blocks that are there.
        tables: DATA blocks that no index block lists, and their tables.
    """

    offset: int = 0
    blocks: int = 0
    entries: int = 0
    plain: int = 0
    index: list[IndexBlock] = []
    tables: list[tuple[int, bytes]] = []

    @classmethod
    def read(cls, path: Path) -> IndexState:
        """Read one.

        Raises:
            MalformedError: It is none.
            OSError: It cannot be read.
        """
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=cls)
        except msgspec.DecodeError as error:
            raise MalformedError(what="state of the index", reason=str(error)) from None

    def write(self, path: Path) -> None:
        """Write it to a new file that only this user may read.

        Raises:
            OSError: The system refuses.
        """
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(msgspec.msgpack.encode(self))
