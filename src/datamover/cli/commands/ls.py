"""``datamover ls STORE [ARCHIVE]``: what is in an archive."""

import os
from collections.abc import Iterator

from datamover.cli.answer import Column, Kind, Rows, Value
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.render import show
from datamover.cli.secret import Passphrase
from datamover.errors import ArchiveMissingError
from datamover.files.entry import Entry
from datamover.files.entry import Kind as FileKind
from datamover.mover import listing
from datamover.mover.elsewhere import opened_store

__all__ = ["ls"]

_LONG = (
    Column(key="mode", heading="mode", kind=Kind.MODE, width=10),
    Column(key="user", heading="user", width=8),
    Column(key="group", heading="group", width=8),
    Column(key="size", heading="size", kind=Kind.BYTES, width=8),
    Column(key="mtime_ns", heading="changed", kind=Kind.TIME, width=20),
    Column(key="path", heading="path"),
    Column(key="link", heading="link"),
)
_SHORT = (Column(key="path", heading="path"),)


def ls(
    store: str,
    archive: str | None = None,
    path: str = "",
    /,
    *,
    long: bool = False,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """List what is in an archive.

    Args:
        store: The store.
        archive: An archive's name or id, or `latest`, which is the default.
        path: List this path and what is below it.
        long: Show mode, owner, size, time and link target too.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    with opened_store(store, Passphrase(everywhere.passphrase_file), network.travel()) as opened:
        entries = listing.entries(opened, archive, os.fsencode(path.removeprefix("./")))
        if path:
            entries = _at_least_one(entries, store, path)
        if long or everywhere.json:
            rows = Rows(event="entry", columns=_LONG, rows=map(_long, entries), stream=True)
        else:
            names = ((os.fsdecode(entry.path),) for entry in entries)
            rows = Rows(event="entry", columns=_SHORT, rows=names, stream=True)
        show(rows, everywhere)


def _at_least_one(entries: Iterator[Entry], store: str, path: str) -> Iterator[Entry]:
    empty = True
    for entry in entries:
        empty = False
        yield entry
    if empty:
        raise ArchiveMissingError(store=store, reason=f"the archive has no {path!r}")


def _long(entry: Entry) -> tuple[Value, ...]:
    sign = "= " if entry.kind == FileKind.HARD_LINK else "-> "
    return (
        entry.mode,
        os.fsdecode(entry.user) or str(entry.uid),
        os.fsdecode(entry.group) or str(entry.gid),
        entry.size,
        entry.mtime_ns,
        os.fsdecode(entry.path),
        sign + os.fsdecode(entry.link) if entry.link else "",
    )
