"""``datamover verify STORE [ARCHIVE]``: read everything that is stored and say what is damaged."""

from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.progress import Display
from datamover.cli.secret import Passphrase
from datamover.cli.summary import finish
from datamover.mover import verify as mover
from datamover.mover.elsewhere import opened_store
from datamover.pipe.spec import OnDeath

__all__ = ["verify"]


def verify(
    store: str,
    archive: str | None = None,
    /,
    *,
    on_death: OnDeath = OnDeath.STOP,
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> int:
    """Read everything that is stored and say what is damaged.

    Args:
        store: The store.
        archive: An archive's name or id, or `latest`; by default all of them.
        on_death: What happens when a task that can be replaced is killed: retry or stop.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    passphrase = Passphrase(everywhere.passphrase_file)
    with (
        opened_store(store, passphrase, network.travel()) as opened,
        Display(everywhere) as display,
    ):
        summary = mover.verify(opened, archive, display, on_death=on_death)
    return finish(summary, everywhere)
