"""Explain: what the rules make of files that are there, and why; nothing is read but beginnings.

Source: docs/spec/placement.md; SPEC F4, F7, F8.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import SourceError
from datamover.files.entry import Kind
from datamover.files.walk import Walk
from datamover.placement.decision import Settled
from datamover.placement.matching import Facts
from datamover.placement.reason import reason_of
from datamover.placement.value import DECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datamover.files.notice import Notice
    from datamover.placement.decision import Placement

__all__ = ["Explained", "explain"]

_FILE: Final = int(Kind.FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One thing that is decided for a file, or for the archive.

    Attributes:
        path: Of the file, on this machine; None for what holds for the whole archive.
        content: Its content type; empty when it cannot be read; None for the archive.
        size: Bytes of the file; None for the archive.
        key: What is decided.
        settled: By whom, and what.
        why: In words.
    """

    path: bytes | None = None
    content: str | None = None
    size: int | None = None
    key: str
    settled: Settled
    why: str


def explain(
    placement: Placement, paths: Sequence[str], *, archive: str, notice: Notice
) -> Iterator[Explained]:
    """Yield what is decided for the archive, and for each file with data under ``paths``.

    Args:
        placement: Decides.
        paths: Files and folders.
        archive: The archive's name.
        notice: Told what cannot be looked at.

    Raises:
        SourceError: One of the paths is not there; nothing was yielded.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise SourceError(path=path, reason="no such file or folder")
    return _explained(placement, [os.path.abspath(path) for path in paths], archive, notice)  # noqa: PTH100 - a link is not followed


def _explained(
    placement: Placement, paths: list[str], archive: str, notice: Notice
) -> Iterator[Explained]:
    for key, one in DECISIONS.items():
        if one.for_archive:
            settled = placement.decide(key)
            yield Explained(key=key, settled=settled, why=reason_of(settled, None, archive))
    keys = [key for key, one in DECISIONS.items() if not one.for_archive]
    now = time.time_ns()
    walk = Walk([os.fsencode(path) for path in paths], notice=notice)
    for entry in walk:
        if entry.kind != _FILE or not entry.size:
            continue
        directory, _, name = entry.path.rpartition(b"/")
        facts = Facts(
            walk.folder(directory),
            name,
            size=entry.size,
            age_ns=now - entry.mtime_ns,
            head=walk.head,
        )
        for key in keys:
            settled = placement.decide(key, facts)
            yield Explained(
                path=b"%b/%b" % (facts.directory, name),
                content=facts.content,
                size=entry.size,
                key=key,
                settled=settled,
                why=reason_of(settled, facts, archive),
            )
