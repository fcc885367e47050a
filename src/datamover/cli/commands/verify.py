"""``datamover verify STORE [ARCHIVE]``: read everything that is stored and say what is damaged."""

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.secret import Passphrase
from datamover.cli.summary import finish
from datamover.mover import verify as mover
from datamover.mover.elsewhere import opened_store

__all__ = ["verify"]


def verify(
    store: str,
    archive: str | None = None,
    /,
    *,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Read everything that is stored and say what is damaged.

    Args:
        store: The store.
        archive: An archive's name or id, or `latest`; by default all of them.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    passphrase = Passphrase(everywhere.passphrase_file)
    with (
        opened_store(store, passphrase, network.travel()) as opened,
        Display(everywhere) as display,
    ):
        summary = mover.verify(opened, archive, display)
    return finish(summary, everywhere)
