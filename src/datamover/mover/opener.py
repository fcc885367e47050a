"""Derive a store's key beside other work: slow on purpose, and no work of Python's.

A command that is about to open a store can begin before it has read its own arguments; whoever
opens that store with that passphrase then finds the work done, or under way.

Source: docs/spec/keys.md; docs/decisions/0012-fork-the-server-early.md; DESIGN D10.
"""

from __future__ import annotations

import hmac
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from datamover.codec.keys import derive_key, unwrap_key
from datamover.errors import DataMoverError, PassphraseError, SealError
from datamover.mover.description import read_description

if TYPE_CHECKING:
    from pathlib import Path

    from datamover.mover.description import Description

__all__ = ["Opener", "begin_opening", "drop_opening", "opening"]

_begun: list[Opener] = []


class Opener(threading.Thread):
    """Opens a store's key with a passphrase, in a thread that began with its making."""

    def __init__(self, description: Description, passphrase: bytes) -> None:
        super().__init__(name="unlock", daemon=True)
        self._description = description
        self._given = passphrase
        self._found: bytes | DataMoverError = b""
        self.start()

    def run(self) -> None:
        """Do it; ``key`` tells what came of it."""
        try:
            self._found = _unwrap(self._description, self._given)
        except DataMoverError as error:
            self._found = error

    def opens(self, description: Description, passphrase: bytes) -> bool:
        """Whether that is what it opens, with that."""
        same = hmac.compare_digest(self._given, passphrase)
        return same and self._description == description

    def key(self) -> bytes:
        """Wait for the key.

        Raises:
            PassphraseError: The passphrase does not open the store.
        """
        self.join()
        if isinstance(self._found, DataMoverError):
            raise self._found
        return self._found


def begin_opening(folder: Path, passphrase: bytes) -> None:
    """Begin to derive the key of the store in ``folder``, if there is an encrypted one.

    Whatever is wrong will be said by who opens it.
    """
    with suppress(DataMoverError):
        description = read_description(folder)
        if description.is_encrypted and passphrase:
            _begun.append(Opener(description, passphrase))


def opening(description: Description, passphrase: bytes) -> Opener:
    """Return the opener that was begun for this store and passphrase, or begin one."""
    begun = _begun.pop() if _begun else None
    if begun is not None and begun.opens(description, passphrase):
        return begun
    return Opener(description, passphrase)


def drop_opening() -> None:
    """Forget what was begun and nobody took.

    Blocking: until it is done, for a process must not end in the middle of it.
    """
    while _begun:
        _begun.pop().join()


def _unwrap(description: Description, passphrase: bytes) -> bytes:
    if description.kdf is None or description.wrapped_key is None:
        return b""
    key = derive_key(passphrase, description.kdf)
    try:
        return unwrap_key(description.wrapped_key, by=key, context=description.context)
    except SealError:
        raise PassphraseError(reason="the passphrase does not open the store") from None
