"""Magic bytes of well-known content: a table, and nothing else.

A row matches when the content begins with ``magic`` and, where ``more`` is given, has ``more`` at
``at``.  Of two rows with one magic the first that matches wins, so the particular stands first.

Source: docs/spec/inspection.md, "Content types"; the formats' own specifications.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BOXES", "SIGNATURES", "Signature"]


class Signature(NamedTuple):
    """One kind of content."""

    magic: bytes
    type: str
    at: int = 0
    more: bytes = b""


SIGNATURES: Final = (
    # programs
    Signature(b"\x7fELF", "application/x-executable"),
    Signature(b"\xca\xfe\xba\xbe", "application/java-vm"),
    Signature(b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    Signature(b"\0asm", "application/wasm"),
    Signature(b"MZ", "application/vnd.microsoft.portable-executable"),
    Signature(b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    Signature(b"!<arch>\n", "application/x-archive"),
    Signature(b"\xed\xab\xee\xdb", "application/x-rpm"),
    Signature(b"#!", "text/x-script"),
    Signature(b"\xde\x12\x04\x95", "application/x-gettext-translation"),
    # archives and compressed streams
    Signature(b"PK\x03\x04", "application/epub+zip", 38, b"application/epub+zip"),
    Signature(b"PK\x03\x04", "application/vnd.oasis.opendocument", 38, b"application/vnd.oasis"),
    Signature(b"PK\x03\x04", "application/vnd.openxmlformats", 30, b"[Content_Types].xml"),
    Signature(b"PK\x03\x04", "application/java-archive", 30, b"META-INF/"),
    Signature(b"PK\x03\x04", "application/zip"),
    Signature(b"PK\x05\x06", "application/zip"),
    Signature(b"\x1f\x8b", "application/gzip"),
    Signature(b"BZh", "application/x-bzip2"),
    Signature(b"\xfd7zXZ\0", "application/x-xz"),
    Signature(b"\x28\xb5\x2f\xfd", "application/zstd"),
    Signature(b"\x04\x22\x4d\x18", "application/x-lz4"),
    Signature(b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    Signature(b"Rar!\x1a\x07", "application/vnd.rar"),
    Signature(b"MSCF", "application/vnd.ms-cab-compressed"),
    Signature(b"070701", "application/x-cpio"),
    Signature(b"hsqs", "application/x-squashfs"),
    Signature(b"\x1f\x9d", "application/x-compress"),
    Signature(b"LZIP", "application/lzip"),
    # images
    Signature(b"\x89PNG\r\n\x1a\n", "image/png"),
    Signature(b"\xff\xd8\xff", "image/jpeg"),
    Signature(b"GIF8", "image/gif"),
    Signature(b"RIFF", "image/webp", 8, b"WEBP"),
    Signature(b"II*\0", "image/tiff"),
    Signature(b"MM\0*", "image/tiff"),
    Signature(b"\0\0\1\0", "image/vnd.microsoft.icon"),
    Signature(b"8BPS", "image/vnd.adobe.photoshop"),
    Signature(b"<svg", "image/svg+xml"),
    Signature(b"BM", "image/bmp", 6, b"\0\0\0\0"),
    # sound and film
    Signature(b"RIFF", "audio/x-wav", 8, b"WAVE"),
    Signature(b"RIFF", "video/x-msvideo", 8, b"AVI "),
    Signature(b"OggS", "application/ogg"),
    Signature(b"fLaC", "audio/flac"),
    Signature(b"ID3", "audio/mpeg"),
    Signature(b"\xff\xfb", "audio/mpeg"),
    Signature(b"MThd", "audio/midi"),
    Signature(b"\x1aE\xdf\xa3", "video/x-matroska"),
    Signature(b"FLV\1", "video/x-flv"),
    Signature(b"\0\0\1\xba", "video/mpeg"),
    # documents
    Signature(b"%PDF", "application/pdf"),
    Signature(b"%!PS", "application/postscript"),
    Signature(b"{\\rtf", "application/rtf"),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    Signature(b"<?xml", "text/xml"),
    Signature(b"<!DO", "text/html"),
    Signature(b"<!do", "text/html"),
    Signature(b"<html", "text/html"),
    Signature(b"wOFF", "font/woff"),
    Signature(b"wOF2", "font/woff2"),
    Signature(b"OTTO", "font/otf"),
    Signature(b"\0\1\0\0", "font/ttf"),
    # databases and tables
    Signature(b"SQLite format 3\0", "application/vnd.sqlite3"),
    Signature(b"PAR1", "application/vnd.apache.parquet"),
    Signature(b"ARROW1", "application/vnd.apache.arrow.file"),
    Signature(b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    Signature(b"PGDMP", "application/x-pg-dump"),
    # disks, keys, what programs left
    Signature(b"QFI\xfb", "application/x-qcow2"),
    Signature(b"KDMV", "application/x-vmdk"),
    Signature(b"LUKS\xba\xbe", "application/x-luks"),
    Signature(b"-----BEGIN ", "application/x-pem-file"),
    Signature(b"age-encryption.org/", "application/x-age-encrypted"),
    Signature(b"Salted__", "application/x-openssl-encrypted"),
    Signature(b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    Signature(b"PACK\0\0\0", "application/x-git-pack"),
    Signature(b"From ", "application/mbox"),
    # text that says so
    Signature(b"\xef\xbb\xbf", "text/plain"),
    Signature(b"\xff\xfe", "text/plain"),
    Signature(b"\xfe\xff", "text/plain"),
)

# Formats of boxes begin with a length; the brand behind "ftyp" says which one it is.
BOXES: Final = {
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"mif1": "image/heic",
    b"M4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"3gp4": "video/3gpp",
    b"3gp5": "video/3gpp",
}
