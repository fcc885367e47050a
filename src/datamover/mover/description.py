"""store.json: what a store is, and the key to it, wrapped.

Source: docs/spec/store.md, section 1; docs/spec/keys.md; DESIGN D10.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from datamover.codec.keys import KdfParameters
from datamover.errors import (
    MalformedError,
    MediumFullError,
    NotAStoreError,
    StoreError,
    VersionError,
)
from datamover.ids import StoreId

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Description",
    "checked_description",
    "plain_description",
    "read_description",
    "write_description",
]

_NAME: Final = "store.json"
_FORMAT: Final = "datamover-store"
_VERSION: Final = 1
_SIZE_MAX: Final = 64 * 1024
_NO_SPACE: Final = 28


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself.

    Attributes:
        id: 32 hex digits.
        created_ns: Nanoseconds since 1970, UTC.
        cipher: The name of the cipher, or "none".
        kdf: How the passphrase becomes a key; None without encryption.
        wrapped_key: The store key under that key; None without encryption.
        format: Always the same.
        version: Of this file.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    created_ns: Annotated[int, msgspec.Meta(ge=0)]
    cipher: Literal["aes-256-gcm", "chacha20-poly1305", "none"]
    kdf: KdfParameters | None = None
    wrapped_key: Annotated[bytes, msgspec.Meta(max_length=1024)] | None = None
    format: Literal["datamover-store"] = _FORMAT
    version: Literal[1] = _VERSION

    @property
    def store(self) -> StoreId:
        """The store's id as bytes."""
        return StoreId(bytes.fromhex(self.id))

    @property
    def is_encrypted(self) -> bool:
        """Whether a passphrase is needed to read what is stored."""
        return self.cipher != "none"

    @property
    def context(self) -> bytes:
        """What the wrapped key is bound to."""
        return b"datamover store v1\0" + self.store + self.cipher.encode()


class _Version(msgspec.Struct):
    """The part of any version's description that every release understands."""

    format: str
    version: int


def read_description(folder: Path) -> Description:
    """Read the description of the store in ``folder``.

    Raises:
        NotAStoreError: There is none.
        VersionError: A newer release made the store.
        MalformedError: It is damaged, or someone changed it.
        StoreError: It cannot be read.
    """
    path = folder / _NAME
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAStoreError(store=str(folder), reason="no store here") from None
    except OSError as error:
        raise StoreError(store=str(folder), reason=f"{_NAME}: {error.strerror}") from error
    if len(data) > _SIZE_MAX:
        raise MalformedError(what=str(path), reason=f"longer than {_SIZE_MAX} bytes")
    return _decode(data, str(path))


def write_description(folder: Path, description: Description) -> None:
    """Write the description of a store: wholly and durably there on return, or not at all.

    Raises:
        MediumFullError: No room.
        StoreError: The folder refuses.
    """
    data = msgspec.json.format(msgspec.json.encode(plain_description(description))) + b"\n"
    aside = folder / (_NAME + ".new")
    try:
        try:
            _write_durably(aside, data)
            aside.rename(folder / _NAME)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            raise
        _sync(folder)
    except OSError as error:
        if error.errno == _NO_SPACE:
            raise MediumFullError(where=str(folder)) from error
        raise StoreError(store=str(folder), reason=f"{_NAME}: {error.strerror}") from error


def _decode(data: bytes, what: str) -> Description:
    try:
        seen = msgspec.json.decode(data, type=_Version)
        if seen.format == _FORMAT and seen.version > _VERSION:
            raise VersionError(what=what, found=seen.version, newest=_VERSION)
        description = msgspec.json.decode(data, type=Description)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedError(what=what, reason=str(error)) from None
    return _agreeing(description, what)


def checked_description(plain: object, what: str) -> Description:
    """Make a description of the plain values that another machine sent.

    Args:
        plain: As ``plain_description`` makes them.
        what: What the store is called in an error.

    Raises:
        MalformedError: They are none.
    """
    try:
        description = msgspec.convert(plain, Description, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise MalformedError(what=what, reason=str(error)) from None
    return _agreeing(description, what)


def _agreeing(description: Description, what: str) -> Description:
    parts = (description.kdf is not None, description.wrapped_key is not None)
    if parts != (description.is_encrypted,) * 2:
        raise MalformedError(what=what, reason="cipher and key do not fit each other")
    return description


def plain_description(description: Description) -> dict[str, object]:
    """Return a description as plain values, as the file has them."""
    fields: dict[str, object] = {
        name: getattr(description, name) for name in ("format", "version", "id", "created_ns")
    }
    return fields | {
        "cipher": description.cipher,
        "kdf": None if description.kdf is None else asdict(description.kdf),
        "wrapped_key": description.wrapped_key,
    }


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
