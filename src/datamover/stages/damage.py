"""What becomes of a block that cannot be undone: it is dropped and reported, the rest goes on.

Source: SPEC G7; docs/ARCHITECTURE.md, "Invariants".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datamover.pipe.ports import TailPort
    from datamover.shm.buffer import Buffer
    from datamover.wire.tag import TagHeader

__all__ = ["drop_damaged"]


def drop_damaged(port: TailPort, buffer: Buffer, tag: TagHeader, reason: str) -> None:
    """Free the buffer and send the notice ``damaged`` with the block, the chunk and the reason.

    Ownership: the pool's; nobody sees the bytes.
    """
    port.free(buffer)
    port.notice("damaged", block=tag.block, chunk=tag.chunk, reason=reason)
