"""``datamover archives STORE``: what a store keeps."""

from datamover.cli.answer import Column, Kind, Rows
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.render import show
from datamover.cli.secret import Passphrase
from datamover.mover import listing
from datamover.mover.elsewhere import opened_store

__all__ = ["archives"]

_COLUMNS = (
    Column(key="archive", heading="archive", kind=Kind.ID),
    Column(key="created_ns", heading="begun", kind=Kind.TIME),
    Column(key="name", heading="name"),
    Column(key="files", heading="files", kind=Kind.COUNT),
    Column(key="bytes_in", heading="bytes", kind=Kind.BYTES),
    Column(key="bytes_stored", heading="stored", kind=Kind.BYTES),
    Column(key="host", heading="host"),
    Column(key="sources", heading="sources"),
    Column(key="damaged", heading="damaged"),
)
_EMPTY = "no archive yet"
_DAMAGED = len(_COLUMNS) - 1


def archives(store: str, /, *, network: Network = NEAR, everywhere: Everywhere = DEFAULTS) -> None:
    """List the archives of a store, oldest first.

    Args:
        store: The store.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    with opened_store(store, Passphrase(everywhere.passphrase_file), network.travel()) as opened:
        found = listing.archives(opened)
    rows = [
        (
            row.archive,
            row.created_ns,
            row.name,
            row.files,
            row.bytes_in,
            row.bytes_stored,
            row.host,
            " ".join(row.sources),
            row.is_damaged,
        )
        for row in found
    ]
    # The last column is for the rare store that needs it, and for programs.
    if not everywhere.json and not any(row.is_damaged for row in found):
        columns, rows_shown = _COLUMNS[:_DAMAGED], [row[:_DAMAGED] for row in rows]
        show(Rows(event="archive", columns=columns, rows=rows_shown, empty=_EMPTY), everywhere)
        return
    show(Rows(event="archive", columns=_COLUMNS, rows=rows, empty=_EMPTY), everywhere)
