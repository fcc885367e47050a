"""``datamover init STORE``: make a store."""

from typing import Literal

from datamover.cli.answer import Column, Record
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.network import NEAR, Network
from datamover.cli.render import show
from datamover.cli.secret import Passphrase
from datamover.mover.elsewhere import created_store
from datamover.mover.store import describe

__all__ = ["init"]


def init(
    store: str,
    /,
    *,
    encryption: Literal["aes-256-gcm", "chacha20-poly1305", "none"] = "aes-256-gcm",
    network: Network = NEAR,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Make a store: a folder that keeps archives.

    Args:
        store: The folder; it must be new or empty.
        encryption: The cipher for everything in it; `none` needs no passphrase.
        network: How another machine is reached.
        everywhere: The options that every command takes.
    """
    passphrase = Passphrase(everywhere.passphrase_file, twice=True)
    description = describe(None if encryption == "none" else passphrase(), encryption)
    created_store(store, description, network.travel())
    if everywhere.json or not everywhere.quiet:
        columns = (
            Column(key="path", heading="store"),
            Column(key="encryption", heading="encryption"),
        )
        show(
            Record(
                event="store",
                title="store made",
                columns=columns,
                values=(store, encryption),
            ),
            everywhere,
        )
