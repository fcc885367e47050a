"""``datamover catalog rebuild STORE``: make the catalog again, from the chunks alone."""

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.secret import Passphrase
from datamover.mover.rebuild import rebuild_catalog

__all__ = ["rebuild"]


def rebuild(store: str, /, *, everywhere: Everywhere = DEFAULTS) -> None:
    """Make the catalog of a store again, from its chunks alone.

    Args:
        store: The store.
        everywhere: The options that every command takes.
    """
    rebuild_catalog(store, Passphrase(everywhere.passphrase_file))
