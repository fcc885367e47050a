"""What stages have that work on the destination of a copy.

Source: docs/spec/copy-pipes.md; DESIGN D14.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from datamover.disk.straight import open_folder, shown
from datamover.errors import DataMoverError, RestoreError, UsageError
from datamover.files.attributes import Attributes
from datamover.files.duplicate import Duplicate
from datamover.files.handover import Handover
from datamover.files.naming import Naming
from datamover.files.origin import Origin
from datamover.files.printable import printable, why
from datamover.files.replacement import Replacement
from datamover.files.transfer import Transfer
from datamover.shm.statistics import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from datamover.pipe.ports import Port

__all__ = ["Placing"]


class Placing:
    """A destination that is open, and how files get there; a context manager.

    Attributes:
        base: Descriptor of the destination.
        target: Where to.
        naming: What the sources are called there.
        attributes: Sets what an entry says beside its data.
        handover: Gives files their names.
        transfer: Copies files of this machine; None where the sources are on another.

    Raises:
        UsageError: Sources and targets are not of one number.
        RestoreError: The destination cannot be used.
        MalformedError: A target leads out of it.
    """

    def __init__(
        self,
        port: Port,
        destination: str,
        *,
        sources: Sequence[str],
        targets: Sequence[str],
        origins: Sequence[str],
        numeric_ids: bool,
        sync: bool,
        replaces: bool,
        failed: Callable[[bytes, OSError, bool], None],
    ) -> None:
        if len(sources) != len(targets):
            raise UsageError(reason="each source needs a target")
        pairs = zip(sources, targets, strict=True)
        self._port = port
        self.naming = Naming([(os.fsencode(a), os.fsencode(b)) for a, b in pairs])
        self.attributes = Attributes(notice=self.notice, numeric_ids=numeric_ids)
        self.base = _opened(destination)
        self._destination = destination
        self.target = Replacement(self.base)
        self.handover = Handover(
            self.target, failed, sync=self.sync if sync else None, replaces=replaces
        )
        self.transfer: Transfer | None = None
        self._stack = ExitStack()
        self._stack.enter_context(self.target)
        if origins:
            origin = self._stack.enter_context(Origin([os.fsencode(one) for one in origins]))
            self.transfer = Transfer(
                self.target,
                origin=origin,
                duplicate=Duplicate(check=port.check, told=port.took),
                attributes=self.attributes,
                handover=self.handover,
                notice=self.notice,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Files that are complete get their names, also when others cannot be: nobody writes
        # them again then.
        with suppress(OSError, DataMoverError):
            self.handover.finish()
        self._stack.close()

    def sync(self) -> None:
        """Wait until everything in the destination is durable.

        Raises:
            RestoreError: Something could not be written.

        Blocking: until the disk has it.
        """
        try:
            with self._port.waiting(Wait.OUTPUT):
                self.target.sync()
        except OSError as error:
            path = printable(os.fsencode(shown(self._destination)))
            raise RestoreError(path=path, reason=why(error)) from error

    def notice(self, kind: str, path: bytes, reason: str) -> None:
        """Tell the caller of the pipe."""
        self._port.notice(kind, path=printable(path), reason=reason)


def _opened(destination: str) -> int:
    """Open the destination, reached by a symlink where the user named one."""
    try:
        return open_folder(destination, make=True)
    except OSError as error:
        path = printable(os.fsencode(shown(destination)))
        raise RestoreError(path=path, reason=why(error)) from error
