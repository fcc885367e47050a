"""Entry tables: what a DATA block says about the files in it.

Written by ``scan``, completed in place by ``collect``, copied by ``index``, obeyed by ``restore``.
Encoding and decoding cost a few microseconds an entry, for they run once for each file.

Source: docs/spec/entry-table.md, "DATA payload" and "Entry".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from datamover.errors import MagicError, MalformedError, TruncatedError
from datamover.files.entry import SIZE_MAX, Entry, Extent, Kind, Status
from datamover.units import Bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

__all__ = [
    "ENTRY_SIZE",
    "EXTENT_SIZE",
    "HEADER_SIZE",
    "TABLE_RESERVE",
    "Source",
    "clear_status",
    "decode_entries",
    "decode_sources",
    "encode_entry",
    "encode_plain",
    "patch_status",
    "plain_facts",
    "table_size",
    "write_table",
]

MAGIC: Final = b"DMet"
TABLE_RESERVE: Final = 64
"""Bytes that a table stays below a block's size, so that an index block can carry it."""

_WHAT: Final = "entry table"
_HEADER: Final = struct.Struct("<4sIII")
_ENTRY: Final = struct.Struct("<IBBHIIIIQqqQQIIIHHHBB")
_PLAIN: Final = struct.Struct("<IB3xIII4xQqq24xIHHxxBB")
"""An entry's fields, without those that are 0 in most."""

_PLAIN_FACTS: Final = struct.Struct("<32xq38xH")
_SOURCE: Final = struct.Struct("<IB15xIQq32xIHHHBB")
"""The fields that say where a file's data is."""

_EXTENT: Final = struct.Struct("<QI")
_XATTR: Final = struct.Struct("<HI")
_PATCH_STATUS: Final = 5
_PATCH_ACTUAL: Final = 48
_ACTUAL: Final = struct.Struct("<Q")
_FILE: Final = int(Kind.FILE)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_DOT: Final = ord(".")

HEADER_SIZE: Final = _HEADER.size
ENTRY_SIZE: Final = _ENTRY.size
EXTENT_SIZE: Final = _EXTENT.size

Source = tuple[int, int, bytes, bytes, int, int, tuple[Extent, ...]]
"""A file with data in a block: the entry's place in the table, root, directory, name, size,
mtime_ns, extents."""


def encode_entry(entry: Entry) -> bytes:
    """Return the entry's bytes.

    Raises:
        MalformedError: A field does not fit its place in the record.
    """
    path, link, user, group = entry.path, entry.link, entry.user, entry.group
    extents = entry.extents
    tail = b"".join((path, link, user, group))
    xattrs = 0
    if entry.xattrs:
        packed = _encode_xattrs(entry.xattrs)
        xattrs = len(packed)
        tail += packed
    for one in extents:
        tail += _EXTENT.pack(*one)
    try:
        return _ENTRY.pack(
            84 + len(tail), entry.kind, entry.status, entry.flags, entry.mode, entry.uid,
            entry.gid, xattrs, entry.size, entry.mtime_ns, entry.ctime_ns, entry.actual,
            entry.before, entry.major, entry.minor, len(extents), entry.root, len(path),
            len(link), len(user), len(group),
        ) + tail  # fmt: skip
    except struct.error as error:
        raise MalformedError(what="entry", reason=str(error)) from error


def encode_plain(
    prefix: bytes, name: bytes, status: os.stat_result, root: int, user: bytes, group: bytes
) -> bytes:
    """Return what ``encode_entry`` does for a whole file without anything beside it.

    That is: one name, no hole, no extended attribute, and all of its data in the block.  Nearly
    every file is one, and this takes a third of the time.

    Args:
        prefix: What stands before the name in its path; empty, or ending in a slash.
        name: Its last component; with the prefix at most PATH_MAX bytes.
        status: What the system says about it.
        root: Which source, from 0.
        user: Owner's name.
        group: Group's name.
    """
    size = status.st_size
    path = len(prefix) + len(name)
    beside = path + len(user) + len(group)
    return b"".join((
        _PLAIN.pack(
            96 + beside if size else 84 + beside, 1, status.st_mode, status.st_uid, status.st_gid,
            size, status.st_mtime_ns, status.st_ctime_ns, 1 if size else 0, root, path,
            len(user), len(group),
        ),
        prefix, name, user, group, _EXTENT.pack(0, size) if size else b"",
    ))  # fmt: skip


def plain_facts(record: bytes) -> tuple[bytes, int]:
    """Return path and mtime_ns of an entry that ``encode_plain`` made."""
    mtime_ns, length = _PLAIN_FACTS.unpack_from(record)
    return record[ENTRY_SIZE : ENTRY_SIZE + length], mtime_ns


def write_table(out: memoryview, records: Sequence[bytes]) -> Bytes:
    """Write header and encoded entries at the start of ``out``; return the table's length.

    Args:
        out: Writable, at least as long as the table.
        records: From ``encode_entry``.

    Raises:
        TruncatedError: ``out`` is too short; nothing was written.
    """
    body = b"".join(records)
    length = HEADER_SIZE + len(body)
    if length > len(out):
        raise TruncatedError(what=_WHAT, need=Bytes(length), have=Bytes(len(out)))
    _HEADER.pack_into(out, 0, MAGIC, length, len(records), 0)
    out[HEADER_SIZE:length] = body
    return Bytes(length)


def table_size(payload: memoryview) -> tuple[int, int]:
    """Return the length of the table at the start of ``payload`` and its number of entries.

    Raises:
        TruncatedError: Fewer bytes than the header, or than the table claims.
        MagicError: Not an entry table.
        MalformedError: More entries than fit.
    """
    if len(payload) < HEADER_SIZE:
        raise TruncatedError(what=_WHAT, need=Bytes(HEADER_SIZE), have=Bytes(len(payload)))
    magic, length, entries, _ = _HEADER.unpack_from(payload)
    if magic != MAGIC:
        raise MagicError(what=_WHAT, found=magic.hex())
    if length > len(payload):
        raise TruncatedError(what=_WHAT, need=length, have=Bytes(len(payload)))
    if length < HEADER_SIZE + entries * ENTRY_SIZE:
        raise _malformed(f"{entries} entries in {length} bytes")
    return length, entries


def decode_entries(payload: memoryview) -> Iterator[Entry]:
    """Yield the entries of the table at the start of ``payload``.

    Raises:
        FormatError: The table breaks a rule; entries yielded before are sound in themselves.
    """
    end, count = table_size(payload)
    table = bytes(payload[:end])
    at = HEADER_SIZE
    unpack = _ENTRY.unpack_from
    find = table.find
    for _ in range(count):
        if end - at < ENTRY_SIZE:
            raise _malformed("an entry reaches beyond the table")
        (
            length, kind, status, flags, mode, uid, gid, xattrs_length, size, mtime, ctime, actual,
            before, major, minor, extents, root, path_length, link_length, user_length,
            group_length,
        ) = unpack(table, at)  # fmt: skip
        link_at = at + ENTRY_SIZE + path_length
        user_at = link_at + link_length
        group_at = user_at + user_length
        xattrs_at = group_at + group_length
        extents_at = xattrs_at + xattrs_length
        if length > end - at or extents_at + extents * EXTENT_SIZE > at + length:
            raise _malformed("an entry's parts reach beyond it")
        path = table[at + ENTRY_SIZE : link_at]
        _require_safe(path)
        if find(b"\0", at + ENTRY_SIZE, xattrs_at) >= 0:
            raise _malformed(f"a name of {path[:80]!r} holds a NUL")
        if kind == _HARD_LINK:
            _require_safe(table[link_at:user_at])
        if size > SIZE_MAX or actual > SIZE_MAX or before > SIZE_MAX:
            raise _malformed("a size is beyond what a file can have")
        yield Entry(
            path, kind, mode, uid, gid, size, mtime, ctime, root, flags,
            table[link_at:user_at] if link_length else b"",
            table[user_at:group_at],
            table[group_at:xattrs_at],
            _decode_xattrs(table, xattrs_at, extents_at) if xattrs_length else (),
            _decode_extents(table, extents_at, extents, size) if extents else (),
            status, actual, before, major, minor,
        )  # fmt: skip
        at += length
    if at != end:
        raise _malformed("the table is longer than its entries")


def decode_sources(payload: memoryview) -> Iterator[Source]:
    """Yield the files of the table that have data in this block: what ``collect`` reads.

    Raises:
        FormatError: The table breaks a rule.
    """
    end, count = table_size(payload)
    table = bytes(payload[:end])
    at = HEADER_SIZE
    unpack = _SOURCE.unpack_from
    find, rfind = table.find, table.rfind
    directory = b""
    for _ in range(count):
        if end - at < ENTRY_SIZE:
            raise _malformed("an entry reaches beyond the table")
        length, kind, xattrs, size, mtime, extents, root, path, link, user, group = unpack(
            table, at
        )
        path_at = at + ENTRY_SIZE
        path_end = path_at + path
        extents_at = path_end + link + user + group + xattrs
        if length > end - at or extents_at + extents * EXTENT_SIZE > at + length:
            raise _malformed("an entry's parts reach beyond it")
        if extents:
            slash = rfind(b"/", path_at, path_end)
            name_at = slash + 1 if slash >= 0 else path_at
            above = table[path_at:slash] if slash >= 0 else b""
            # Most files lie in the directory of the one before, which was looked at.
            if (
                above != directory
                or slash == path_at
                or name_at == path_end
                or table[name_at] == _DOT
                or find(b"\0", path_at, path_end) >= 0
            ):
                _require_source(table[path_at:path_end])
                directory = above
            if kind != _FILE:
                raise _malformed("only a file has data")
            held = _decode_extents(table, extents_at, extents, size)
            yield at, root, above, table[name_at:path_end], size, mtime, held
        at += length


def patch_status(
    payload: memoryview, at: int, status: Status, *, actual: int | None = None
) -> None:
    """Mark the entry at offset ``at`` of the table, in place.

    Args:
        payload: Writable; the table from its start.
        at: The entry's place, as ``decode_sources`` gives it.
        status: What to mark it with.
        actual: The file's size now, for SHORT.
    """
    payload[at + _PATCH_STATUS] = status
    if actual is not None:
        _ACTUAL.pack_into(payload, at + _PATCH_ACTUAL, actual)


def clear_status(payload: memoryview, at: int) -> None:
    """Take a mark of ``patch_status`` back."""
    if payload[at + _PATCH_STATUS]:
        patch_status(payload, at, Status.OK, actual=0)


def _encode_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    parts: list[bytes] = []
    for name, value in xattrs:
        parts += (_XATTR.pack(len(name), len(value)), name, value)
    return b"".join(parts)


def _decode_xattrs(table: bytes, at: int, end: int) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    while at < end:
        if end - at < _XATTR.size:
            raise _malformed("an extended attribute reaches beyond its entry")
        name, value = _XATTR.unpack_from(table, at)
        at += _XATTR.size
        if name + value > end - at or table.find(b"\0", at, at + name) >= 0:
            raise _malformed(
                "an extended attribute reaches beyond its entry, or its name holds a NUL"
            )
        found.append((table[at : at + name], table[at + name : at + name + value]))
        at += name + value
    return tuple(found)


def _decode_extents(table: bytes, at: int, count: int, size: int) -> tuple[Extent, ...]:
    if count == 1:
        offset, length = only = _EXTENT.unpack_from(table, at)
        if offset + length > size:
            raise _malformed("an extent is beyond its file")
        return (only,)
    extents: tuple[Extent, ...] = tuple(_EXTENT.iter_unpack(table[at : at + count * EXTENT_SIZE]))
    last = 0
    for offset, length in extents:
        if offset < last or offset + length > size:
            raise _malformed("an extent is out of order or beyond its file")
        last = offset + length
    return extents


def _require_safe(path: bytes) -> None:
    """Refuse a name that could lead out of a destination."""
    framed = b"/%b/" % path
    # Hidden files begin with a dot too, so the quick look is followed by the exact one.
    dots = b"/." in framed and (b"/../" in framed or b"/./" in framed)
    if dots or b"//" in framed:
        raise _malformed(f"the path {path[:80]!r} is not a plain relative path")


def _require_source(path: bytes) -> None:
    _require_safe(path)
    if b"\0" in path:
        raise _malformed(f"the path {path[:80]!r} holds a NUL")


def _malformed(reason: str) -> MalformedError:
    return MalformedError(what=_WHAT, reason=reason)
