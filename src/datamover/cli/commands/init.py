"""``datamover init STORE``: make a store."""

from typing import Literal

from datamover.cli.answer import Column, Record
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.render import show
from datamover.cli.secret import Passphrase
from datamover.mover.store import create_store

__all__ = ["init"]


def init(
    store: str,
    /,
    *,
    encryption: Literal["aes-256-gcm", "chacha20-poly1305", "none"] = "aes-256-gcm",
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Make a store: a folder that keeps archives.

    Args:
        store: The folder; it must be new or empty.
        encryption: The cipher for everything in it; `none` needs no passphrase.
        everywhere: The options that every command takes.
    """
    passphrase = Passphrase(everywhere.passphrase_file, twice=True)
    create_store(
        store, passphrase=None if encryption == "none" else passphrase(), cipher=encryption
    )
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
