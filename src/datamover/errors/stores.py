"""Sources, destinations, stores and the media below them."""

from __future__ import annotations

from dataclasses import dataclass

from datamover.errors.base import DataMoverError

__all__ = [
    "ArchiveBusyError",
    "ArchiveMissingError",
    "CatalogError",
    "ChunkMissingError",
    "DamagedError",
    "MediaError",
    "MediumFullError",
    "MediumRefusedError",
    "MediumUnreachableError",
    "NotAStoreError",
    "RestoreError",
    "SourceError",
    "StoreError",
    "StoreExistsError",
    "VolumeMissingError",
]


@dataclass(eq=False, kw_only=True)
class SourceError(DataMoverError):
    """A source cannot be read as it was found."""

    code = "source"
    exit_status = 66
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class RestoreError(DataMoverError):
    """A destination refuses what is to be restored."""

    code = "restore"
    exit_status = 73
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class StoreError(DataMoverError):
    """A store or its catalog refuses."""

    code = "store"
    exit_status = 74
    store: str
    reason: str

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class NotAStoreError(StoreError):
    """There is no store here."""

    code = "store.missing"
    exit_status = 66
    hint = "make one with `datamover init STORE`"


@dataclass(eq=False, kw_only=True)
class StoreExistsError(StoreError):
    """There is already something here; nothing was changed."""

    code = "store.exists"
    exit_status = 73
    hint = "choose an empty folder, or a new name"


@dataclass(eq=False, kw_only=True)
class ArchiveMissingError(StoreError):
    """No archive, or no path in it, matches."""

    code = "store.archive-missing"
    exit_status = 66
    hint = "`datamover archives STORE` lists what is there"


@dataclass(eq=False, kw_only=True)
class ArchiveBusyError(StoreError):
    """Another process writes the archive, or one that is gone was not missed yet."""

    code = "store.archive-busy"
    exit_status = 75
    hint = "run the same command again in a minute"


@dataclass(eq=False, kw_only=True)
class CatalogError(StoreError):
    """The catalog is missing, damaged or another store's; the chunk files are not touched."""

    code = "store.catalog"
    hint = "run `datamover catalog rebuild STORE`, which makes it again from the chunk files"


@dataclass(eq=False, kw_only=True)
class DamagedError(StoreError):
    """Something stored is damaged; everything else was done."""

    code = "store.damaged"
    exit_status = 65


@dataclass(eq=False, kw_only=True)
class VolumeMissingError(StoreError):
    """A chunk lies on a volume that is not here, wholly or in part.

    Attributes:
        chunk: The chunk.
        volume: The number of the volume, as its label has it.
        reason: Made from the two.
    """

    code = "store.volume-missing"
    hint = "put the volume in, then run the same command again"
    reason: str = ""
    chunk: str
    volume: int

    def __str__(self) -> str:
        return f"{self.store}: volume {self.volume} is not here, and chunk {self.chunk} needs it"


class MediaError(DataMoverError):
    """A place where chunks rest refused."""

    code = "media"
    exit_status = 74


@dataclass(eq=False, kw_only=True)
class ChunkMissingError(MediaError):
    """The chunk is not here."""

    code = "media.chunk-missing"
    exit_status = 66
    chunk: str

    def __str__(self) -> str:
        return f"chunk {self.chunk} is not on this medium"


@dataclass(eq=False, kw_only=True)
class MediumFullError(MediaError):
    """No room; nothing of the open chunk was kept."""

    code = "media.full"
    hint = "free some space and run the same command again; complete archives are untouched"
    where: str

    def __str__(self) -> str:
        return f"{self.where}: no space left"


@dataclass(eq=False, kw_only=True)
class MediumRefusedError(MediaError):
    """The place is there, and does not let us in; nothing of the open chunk was kept."""

    code = "media.refused"
    exit_status = 77
    hint = (
        "check the medium's address; for an object store also AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and this machine's clock"
    )
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class MediumUnreachableError(MediaError):
    """The place did not answer, however often it was asked; nothing of the open chunk was kept."""

    code = "media.unreachable"
    exit_status = 69
    retryable = True
    hint = "check the medium's address and the network, then run the same command again"
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"
