"""Make finished chunks durable behind the stream's back, in order.

``fsync`` of a chunk takes as long as the disk needs; meanwhile the next chunk is written.  A chunk
is reported only when it and all before it are durable.

Source: docs/ARCHITECTURE.md, "Invariants"; docs/spec/media-format.md, "Folders".
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from datamover.errors import StoreError

if TYPE_CHECKING:
    from datamover.media.medium import Writer

__all__ = ["Committer"]

T = TypeVar("T")
_DEPTH: Final = 2


class Committer(Generic[T]):
    """One background thread that commits writers in the order they come.

    After an error the committer is broken for good: what it holds is abandoned.
    """

    def __init__(self, *, depth: int = _DEPTH) -> None:
        """Make one; at most ``depth`` chunks wait, so that memory and loss stay bounded."""
        self._depth = depth
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._pending: deque[tuple[Future[None], Writer, T]] = deque()
        self._done: list[T] = []
        self._is_broken = False
        self._is_closing = False

    def submit(self, writer: Writer, ticket: T) -> None:
        """Commit ``writer`` in its turn; ``finished`` gives ``ticket`` back when it is durable.

        Raises:
            MediumFullError: An earlier chunk could not be kept.
            StoreError: Likewise; ``writer`` is abandoned.

        Blocking: while as many chunks as allowed are waiting.
        """
        self._pending.append((self._pool.submit(self._commit, writer), writer, ticket))
        while len(self._pending) > self._depth:
            self._settle_first()

    def finished(self) -> list[T]:
        """Return the tickets of what became durable since the last call, in order.

        Raises:
            MediumFullError: A chunk could not be kept.
            StoreError: Likewise.

        Blocking: never.
        """
        while self._pending and self._pending[0][0].done():
            self._settle_first()
        return self._take()

    def drain(self) -> list[T]:
        """Wait for all; return the tickets that are left, in order.

        Raises:
            MediumFullError: A chunk could not be kept.
            StoreError: Likewise.

        Blocking: until the medium has all.
        """
        while self._pending:
            self._settle_first()
        return self._take()

    def close(self) -> None:
        """Abandon what was not begun, and end the thread.

        Blocking: until the commit in hand is done.
        """
        self._is_closing = self._is_broken = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        while self._pending:
            _, writer, _ = self._pending.popleft()
            writer.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _commit(self, writer: Writer) -> None:
        """Runs in the thread."""
        if self._is_broken:
            # A later chunk without an earlier one would be a hole.
            writer.abandon()
            raise StoreError(store=writer.name, reason="an earlier chunk could not be stored")
        # Broken until it went well: nothing that commit raises leaves a way past this chunk.
        self._is_broken = True
        writer.commit()
        self._is_broken = self._is_closing

    def _settle_first(self) -> None:
        future, _, ticket = self._pending[0]
        future.result()
        self._pending.popleft()
        self._done.append(ticket)

    def _take(self) -> list[T]:
        done, self._done = self._done, []
        return done
