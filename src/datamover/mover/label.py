"""What an archive calls itself: name, host, user, sources; sealed, for names are secrets too.

Source: docs/spec/store.md, section 2; docs/spec/keys.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.codec.cipher import NONCE_SIZE, SEAL_SIZE, Cipher
from datamover.codec.keys import derive_subkey
from datamover.errors import MalformedError, SealError, UsageError
from datamover.units import Nanoseconds
from datamover.wire.tag import TransformId

if TYPE_CHECKING:
    from datamover.ids import ArchiveId

__all__ = ["Label", "open_label", "seal_label"]

_NAME_MAX: Final = 255
_PLAIN_MAX: Final = 1536
_PURPOSE: Final = b"datamover label v1"
_WHAT: Final = "archive label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What an archive calls itself.

    Attributes:
        name: Chosen by a person; several archives may have the same.
        host: The machine that was backed up.
        user: Who ran the backup.
        sources: What was backed up; file names, decoded as the system does.
        started_ns: When the backup began.
        omitted: How many sources did not fit into the label.
    """

    name: str
    host: str
    user: str
    sources: tuple[str, ...]
    started_ns: Nanoseconds
    omitted: int = 0


class _Stored(msgspec.Struct, kw_only=True):
    """A label as JSON: text that may not be UTF-8 is bytes there."""

    name: bytes
    host: bytes
    user: bytes
    sources: list[bytes]
    started_ns: int
    omitted: int = 0


def seal_label(label: Label, *, key: bytes, archive: ArchiveId) -> bytes:
    """Return the bytes for the archive header.

    Args:
        label: What to keep; sources that do not fit are left out and counted.
        key: The store's key; empty when nothing is encrypted.
        archive: The archive it is for; it opens for no other.

    Raises:
        UsageError: The name is too long.
    """
    plain = _encode(label)
    if not key:
        return plain
    sealed = memoryview(bytearray(plain) + bytes(SEAL_SIZE))
    _cipher(key, archive).seal(bytes(NONCE_SIZE), archive, sealed, len(plain))
    return bytes(sealed)


def open_label(sealed: bytes, *, key: bytes, archive: ArchiveId) -> Label:
    """Undo ``seal_label``.

    Raises:
        SealError: It was changed, or belongs to another archive or store.
        MalformedError: It is no label.
    """
    plain = sealed
    if key:
        if len(sealed) < SEAL_SIZE:
            raise SealError(what=_WHAT)
        data = memoryview(bytearray(sealed))
        length = _cipher(key, archive).open(bytes(NONCE_SIZE), archive, data, len(data))
        plain = bytes(data[:length])
    try:
        stored = msgspec.json.decode(plain, type=_Stored)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError(what=_WHAT, reason=str(error)) from None
    return Label(
        name=os.fsdecode(stored.name),
        host=os.fsdecode(stored.host),
        user=os.fsdecode(stored.user),
        sources=tuple(os.fsdecode(source) for source in stored.sources),
        started_ns=Nanoseconds(stored.started_ns),
        omitted=stored.omitted,
    )


def _encode(label: Label) -> bytes:
    name = os.fsencode(label.name)
    if len(name) > _NAME_MAX:
        raise UsageError(reason=f"an archive's name has at most {_NAME_MAX} bytes, not {len(name)}")
    stored = _Stored(
        name=name,
        # A machine's and a user's name are short; a hostile environment's are cut.
        host=os.fsencode(label.host)[:_NAME_MAX],
        user=os.fsencode(label.user)[:_NAME_MAX],
        sources=[],
        started_ns=label.started_ns,
        omitted=label.omitted + len(label.sources),
    )
    plain = msgspec.json.encode(stored)
    for source in label.sources:
        stored.sources.append(os.fsencode(source))
        stored.omitted -= 1
        longer = msgspec.json.encode(stored)
        if len(longer) > _PLAIN_MAX:
            break
        plain = longer
    return plain


def _cipher(key: bytes, archive: ArchiveId) -> Cipher:
    # One key for each archive, and one message under it, so the nonce may be constant.
    return Cipher(TransformId.AES_256_GCM, derive_subkey(key, _PURPOSE, archive))
