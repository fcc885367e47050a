"""``datamover info STORE``: what a store is."""

from datamover.cli.answer import Column, Kind, Record
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.render import show
from datamover.cli.secret import Passphrase
from datamover.mover import listing
from datamover.mover.elsewhere import opened_store

__all__ = ["info"]

_COLUMNS = (
    Column(key="path", heading="store"),
    Column(key="id", heading="id"),
    Column(key="encryption", heading="encryption"),
    Column(key="created_ns", heading="made", kind=Kind.TIME),
    Column(key="archives", heading="archives", kind=Kind.COUNT),
    Column(key="incomplete", heading="incomplete archives", kind=Kind.COUNT),
    Column(key="chunks", heading="chunk files", kind=Kind.COUNT),
    Column(key="bytes_in", heading="bytes in", kind=Kind.BYTES),
    Column(key="bytes_stored", heading="bytes stored", kind=Kind.BYTES),
    Column(key="bytes_incomplete", heading="bytes incomplete", kind=Kind.BYTES),
    Column(key="bytes_free", heading="bytes free", kind=Kind.BYTES),
)


def info(store: str, /, *, network: Network = NEAR, everywhere: Everywhere = DEFAULTS) -> None:
    """Say what a store is, what it holds and how it is encrypted.

    Args:
        store: The store.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    with opened_store(store, Passphrase(everywhere.passphrase_file), network.travel()) as opened:
        found = listing.info(opened)
    values = (
        store,
        found.store,
        found.cipher,
        found.created_ns,
        found.archives,
        found.incomplete,
        found.chunks,
        found.bytes_in,
        found.bytes_stored,
        found.bytes_incomplete,
        found.bytes_free,
    )
    show(Record(event="store", title="store", columns=_COLUMNS, values=values), everywhere)
