"""A store, open: its key, its archives, and the folders that hold them.

Source: docs/spec/store.md; docs/spec/keys.md; SPEC E3, F1; DESIGN D10, D12.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from datamover.catalog.rows import ArchiveRecord, ArchiveState
from datamover.codec.keys import KdfParameters, derive_key, unwrap_key, wrap_key
from datamover.codec.registry import CIPHERS
from datamover.errors import (
    ArchiveMissingError,
    PassphraseError,
    SealError,
    StoreError,
    UsageError,
)
from datamover.ids import ArchiveId
from datamover.mover.depot import FOLDERS, LocalDepot, make_depot
from datamover.mover.description import Description
from datamover.mover.label import Label, open_label, seal_label
from datamover.mover.opener import opening
from datamover.units import Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from datamover.catalog.database import Catalog
    from datamover.ids import StoreId
    from datamover.mover.depot import Depot
    from datamover.mover.opener import Opener
    from datamover.mover.reservation import Reservation
    from datamover.mover.sweep import Cleaned

__all__ = ["NewArchive", "Store", "create_store", "describe"]

_NO_CIPHER: Final = "none"
_LATEST: Final = "latest"
_SHORTEST_PREFIX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArchive:
    """What a new archive's header needs.

    Attributes:
        id: Fresh and random.
        created_ns: When it began.
        cipher: The TransformId that seals its blocks; 0 for none.
        key: Its key; empty when nothing is encrypted.
        wrapped_key: Its key under the store's.
        label: What it calls itself, sealed.
    """

    id: ArchiveId
    created_ns: Nanoseconds
    cipher: int
    key: bytes = field(repr=False)
    wrapped_key: bytes
    label: bytes

    def record(self) -> ArchiveRecord:
        """Return its row in the master map, as it begins."""
        return ArchiveRecord(
            id=self.id,
            created_ns=self.created_ns,
            label=self.label,
            wrapped_key=self.wrapped_key,
        )


def create_store(
    path: str | Path,
    *,
    passphrase: bytes | None,
    cipher: str,
    kdf: KdfParameters | None = None,
) -> None:
    """Make a store in a folder that is new or empty.

    Args:
        path: The folder.
        passphrase: Opens the store; not used when ``cipher`` is "none".
        cipher: "aes-256-gcm", "chacha20-poly1305" or "none".
        kdf: How the passphrase becomes a key; by default with a fresh salt and good costs.

    Raises:
        StoreExistsError: Something is there already; nothing was changed.
        PassphraseError: A passphrase is needed and there is none.
        UsageError: No such cipher.
        MediumFullError: No room; a folder without ``store.json`` may be left.
        StoreError: The folder refuses.

    Blocking: a fraction of a second, to derive the key.
    """
    make_depot(Path(path), describe(passphrase, cipher, kdf))


class Store:
    """A store, open: what lies in it, and its key; a context manager.

    Attributes:
        depot: Where it lies.
        description: What it says of itself.
        path: Its folder, on the machine that has it.
        chunks: Where its chunk files are.
        tmp: Where chunk files are written.
        active: Where running backups are known by their locks.
    """

    def __init__(self, depot: Depot, passphrase: Callable[[], bytes] | None = None) -> None:
        """Open the store that lies in ``depot``; see ``open``."""
        self.depot = depot
        self.description = depot.description
        self.path = path = Path(depot.directory)
        self.chunks, self.tmp, self.active = (path / name for name in FOLDERS)
        self._passphrase = passphrase
        self._key: bytes | None = None
        self._opener: Opener | None = None

    @classmethod
    def open(cls, path: str | Path, passphrase: Callable[[], bytes] | None = None) -> Self:
        """Open a store; neither the passphrase nor the catalog is asked for yet.

        Args:
            path: Its folder.
            passphrase: Called at most once, and only if the store is encrypted and something
                sealed is to be read or written.

        Raises:
            NotAStoreError: There is no store.
            VersionError: A newer release made it.
            MalformedError: Its description is damaged.
            StoreError: It cannot be read.
        """
        return cls(LocalDepot(Path(path)), passphrase)

    @property
    def id(self) -> StoreId:
        """Its id."""
        return self.description.store

    @property
    def cipher(self) -> str:
        """The name of its cipher, or "none"."""
        return self.description.cipher

    @property
    def catalog(self) -> Catalog:
        """Its catalog, opened when it is first asked for; only where the store is.

        Raises:
            CatalogError: It cannot be used.
            VersionError: A newer release made it.
            StoreError: It is being rebuilt, or the store is on another machine.
        """
        return self._local().catalog

    def close(self) -> None:
        """Let go of the depot and the key; again is harmless."""
        self.depot.close()
        if self._opener is not None:
            self._opener.join()
            self._opener = None
        self._key = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def unlock_soon(self) -> None:
        """Begin to derive the key beside whatever comes next; ``unlock`` takes it, or its error.

        Raises:
            PassphraseError: There is none.

        Blocking: as long as a person types.
        """
        if self._key is None and self._opener is None and self.description.is_encrypted:
            if self._passphrase is None:
                raise PassphraseError(reason="the store is encrypted, and no passphrase was given")
            self._opener = opening(self.description, self._passphrase())

    def unlock(self) -> bytes:
        """Return the store's key, asking for the passphrase if need be; empty without encryption.

        Raises:
            PassphraseError: It is wrong, or there is none.

        Blocking: as long as a person types, and a fraction of a second to derive the key.
        """
        if self._key is None:
            self.unlock_soon()
            self._key = self._opener.key() if self._opener else b""
        return self._key

    def new_archive(self, label: Label, cipher: str = "") -> NewArchive:
        """Make a new archive's id, key and sealed label; nothing is written.

        Args:
            label: What it calls itself.
            cipher: What seals its blocks, in an encrypted store; by default the store's.

        Raises:
            PassphraseError: The store does not open.
            UsageError: The name is too long.
        """
        store_key = self.unlock()
        archive = ArchiveId(os.urandom(16))
        key = wrapped = b""
        if store_key:
            key = os.urandom(32)
            wrapped = wrap_key(key, by=store_key, nonce=os.urandom(12), context=archive)
        return NewArchive(
            id=archive,
            created_ns=label.started_ns,
            cipher=CIPHERS[cipher or self.cipher] if store_key else 0,
            key=key,
            wrapped_key=wrapped,
            label=seal_label(label, key=store_key, archive=archive),
        )

    def archive_key(self, record: ArchiveRecord) -> bytes:
        """Return an archive's key; empty when nothing is encrypted.

        Raises:
            PassphraseError: The store does not open.
            SealError: The wrapped key was changed.
            MalformedError: It is no wrapped key.
        """
        store_key = self.unlock()
        return unwrap_key(record.wrapped_key, by=store_key, context=record.id) if store_key else b""

    def label(self, record: ArchiveRecord) -> Label:
        """Return what an archive calls itself.

        Raises:
            PassphraseError: The store does not open.
            SealError: The label was changed.
            MalformedError: It is no label.
        """
        return open_label(record.label, key=self.unlock(), archive=record.id)

    def find(self, word: str | None = None) -> ArchiveRecord:
        """Find a complete archive.

        Args:
            word: Its id, its name (the newest of that name), or the beginning of its id, at least
                six digits; None or "latest" for the newest of all.

        Raises:
            ArchiveMissingError: There is none.
            UsageError: The beginning of an id fits several.
            PassphraseError: The store does not open, and names are sealed.
        """
        archives = self.depot.archives(ArchiveState.COMPLETE)
        if word is None or word == _LATEST:
            found = archives[:1]
        else:
            found = [one for one in archives if one.id.hex() == word] or self._named(archives, word)
        if not found:
            what = "no archive yet" if word is None else f"no archive {word!r}"
            raise ArchiveMissingError(store=self.depot.place, reason=what)
        return found[0]

    def _named(self, archives: list[ArchiveRecord], word: str) -> list[ArchiveRecord]:
        named = [one for one in archives if self._name(one) == word]
        if named or len(word) < _SHORTEST_PREFIX:
            return named
        begun = [one for one in archives if one.id.hex().startswith(word.lower())]
        if len(begun) > 1:
            ids = ", ".join(one.id.hex()[:12] for one in begun[:4])
            raise UsageError(reason=f"{word} is the beginning of {len(begun)} archive ids: {ids}")
        return begun

    def _name(self, record: ArchiveRecord) -> str | None:
        try:
            return self.label(record).name
        except SealError:
            return None

    def reserve(self, archive: ArchiveId) -> Reservation:
        """Make known that this process writes ``archive``; hold it until the archive is complete.

        Raises:
            StoreError: Somebody else has it, or the store refuses.
        """
        return self._local().reserve(archive)

    def discard(self, archive: ArchiveId) -> bool:
        """Remove an archive that this process has reserved, unless it is complete.

        Returns:
            Whether it went; a complete archive stays, however its run ended.

        Raises:
            StoreError: The store refuses; the next cleaning tries again.
        """
        return self._local().discard(archive)

    def clean(self) -> Cleaned:
        """Remove what dead runs left; complete archives and live runs are never touched.

        Raises:
            StoreError: The store refuses.
            PassphraseError: The store does not open, and an archive is to be completed.
        """
        return self.depot.clean(self.archive_key)

    def _local(self) -> LocalDepot:
        if not isinstance(self.depot, LocalDepot):
            raise StoreError(store=self.depot.place, reason="can be done where the store is, only")
        return self.depot


def describe(
    passphrase: bytes | None, cipher: str, kdf: KdfParameters | None = None
) -> Description:
    """Draw a new store's id and key, and return its description; nothing is written.

    Args:
        passphrase: Opens the store; not used when ``cipher`` is "none".
        cipher: "aes-256-gcm", "chacha20-poly1305" or "none".
        kdf: How the passphrase becomes a key; by default with a fresh salt and good costs.

    Raises:
        PassphraseError: A passphrase is needed and there is none.
        UsageError: No such cipher.

    Blocking: a fraction of a second, to derive the key.
    """
    identity = os.urandom(16)
    created = time.time_ns()
    if cipher == _NO_CIPHER:
        return Description(id=identity.hex(), created_ns=created, cipher="none")
    if cipher not in CIPHERS:
        known = ", ".join([*CIPHERS, _NO_CIPHER])
        raise UsageError(reason=f"no cipher {cipher!r:.40}: {known}")
    if not passphrase:
        raise PassphraseError(reason="an encrypted store needs a passphrase")
    parameters = kdf or KdfParameters(salt=os.urandom(16))
    bare = Description(id=identity.hex(), created_ns=created, cipher=cipher)  # type: ignore[arg-type]  # checked above
    wrapped = wrap_key(
        os.urandom(32),
        by=derive_key(passphrase, parameters),
        nonce=os.urandom(12),
        context=bare.context,
    )
    return Description(
        id=bare.id, created_ns=created, cipher=bare.cipher, kdf=parameters, wrapped_key=wrapped
    )
