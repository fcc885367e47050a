"""Make the catalog of a store again, from its chunk files alone.

Source: docs/spec/catalog.md, section 6; SPEC X10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datamover.catalog.database import Catalog
from datamover.errors import StoreError
from datamover.media.directory import DirectoryMedium
from datamover.mover.enter import enter_archive, gather
from datamover.mover.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Rebuilt", "rebuild_catalog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found.

    Attributes:
        complete: How many archives may be read.
        incomplete: How many were never finished; the next backup removes them.
        chunks: Chunk files.
        notes: What is damaged or missing, one line each.
    """

    complete: int
    incomplete: int
    chunks: int
    notes: tuple[str, ...]


def rebuild_catalog(path: str | Path, passphrase: Callable[[], bytes] | None = None) -> Rebuilt:
    """Replace the catalog of a store by one made from its chunk files.

    The old catalog stays until the new one is whole and durable.

    Args:
        path: The store's folder.
        passphrase: Called if the store is encrypted: files are counted from sealed indexes.

    Raises:
        NotAStoreError: There is no store.
        PassphraseError: The store does not open.
        StoreError: The catalog is in use, or the store refuses.
        MediumFullError: No room; the old catalog is as it was.
    """
    with Store.open(path, passphrase) as store:
        store.unlock()
        notes: list[str] = []
        complete = 0
        try:
            with Catalog.replaced(store.path, store=store.id) as catalog:
                with DirectoryMedium(store.path) as medium:
                    names = [name for name in medium.names() if name.endswith(".dmc")]
                found = gather(store.chunks, names)
                for archive in sorted(found.values(), key=lambda one: one.archive):
                    notes += enter_archive(catalog, store.chunks, archive, key_of=store.archive_key)
                    complete += archive.last is not None and archive.header is not None
        except OSError as error:
            raise StoreError(store=str(store.path), reason=f"rebuild: {error}") from error
    return Rebuilt(
        complete=complete,
        incomplete=len(found) - complete,
        chunks=len(names),
        notes=tuple(notes),
    )
