"""Content is known by its first bytes, whatever it is called, and randomness by a few of them."""

import gzip
import io
import random
import tarfile
import zipfile

import pytest

from datamover.codec.content import entropy, sniff
from datamover.codec.inspection import Inspection
from datamover.codec.signatures import SIGNATURES
from datamover.errors import FormatError, MalformedError, TruncatedError, VersionError
from datamover.units import Bytes


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("name"))
    return out.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "inode/x-empty"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0..JFIF", "image/jpeg"),
        (b"\x7fELF\2\1\1", "application/x-executable"),
        (b"#!/bin/sh\n", "text/x-script"),
        (b"RIFF....WAVEfmt ", "audio/x-wav"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"....ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"SQLite format 3\0", "application/vnd.sqlite3"),
        (b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
        (b"!<arch>\n/", "application/x-archive"),
        (b"%PDF-1.7", "application/pdf"),
        (b"plain words\n", "text/plain"),
        ("Grüße aus Köln".encode(), "text/plain"),
        ("Grüße".encode("latin-1"), "application/octet-stream"),
        (("é" * 600).encode()[:511], "text/plain"),
        (("x" + "é" * 600).encode(), "text/plain"),
        (b"words\x01", "application/octet-stream"),
        (b"words\0", "application/octet-stream"),
        (bytes(512), "application/octet-stream"),
        (b"P", "text/plain"),
        (b"PK", "text/plain"),
        (b"RIFF", "text/plain"),
    ],
)
def test_content_is_known_by_its_first_bytes(head, expected):
    assert sniff(head) == expected
    assert sniff(memoryview(head)) == expected


def test_what_real_programs_write_is_known():
    assert sniff(tar()) == "application/x-tar"
    assert sniff(gzip.compress(b"x")) == "application/gzip"
    assert sniff(zipped("a.txt", b"x")) == "application/zip"
    assert sniff(zipped("META-INF/MANIFEST.MF", b"x")) == "application/java-archive"
    assert sniff(zipped("[Content_Types].xml", b"x")) == "application/vnd.openxmlformats"
    assert sniff(zipped("mimetype", b"application/epub+zip")) == "application/epub+zip"
    assert (
        sniff(zipped("mimetype", b"application/vnd.oasis.opendocument.text"))
        == "application/vnd.oasis.opendocument"
    )


@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: row.type)
def test_every_row_of_the_table_can_be_reached(row):
    head = bytearray(row.magic.ljust(row.at + len(row.more), b"."))
    head[row.at : row.at + len(row.more)] = row.more

    assert sniff(bytes(head)) == row.type


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_character_cut_off_at_the_end_is_forgiven(cut):
    assert sniff("ab\U0001f600".encode()[:-cut]) == "text/plain"


def test_only_the_first_512_bytes_are_looked_at():
    assert sniff(b"words " * 100 + bytes(100)) == "text/plain"


@pytest.mark.parametrize(
    ("data", "least", "most"),
    [
        (b"", 0, 0),
        (b"x", 0, 0),
        (bytes(100000), 0, 0),
        (b"ab" * 50000, 0.99, 1.01),
        (bytes(range(16)) * 5000, 3.95, 4.05),
        (random.Random(1).randbytes(100000), 7.8, 8),
        (random.Random(1).randbytes(100), 6.5, 8),
    ],
    ids=["nothing", "one", "zeros", "two", "sixteen", "noise", "little noise"],
)
def test_entropy_is_near_what_it_is(data, least, most):
    assert least <= entropy(memoryview(data)) <= most


def test_entropy_looks_at_the_end_too():
    data = bytes(50000) + random.Random(1).randbytes(50000)

    assert entropy(memoryview(data)) > 3


def test_an_inspection_is_encoded_as_specified():
    found = Inspection(content_type="image/png", entropy=7.5, size=Bytes(0x10203), blocks=1)

    assert found.encode().hex() == "01098007" + "01000000" + "0302010000000000" + b"image/png".hex()
    assert Inspection.decode(found.encode()) == found


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", TruncatedError),
        (bytes([1, 9]) + bytes(22), TruncatedError),
        (bytes([2, 0]) + bytes(14), VersionError),
        (bytes([1, 0, 1, 8]) + bytes(12), MalformedError),
        (bytes([1, 1]) + bytes(14) + b"\xff", MalformedError),
        (bytes([1, 128]) + bytes(14) + b"x" * 128, MalformedError),
    ],
)
def test_an_inspection_that_makes_no_sense_is_refused(value, error):
    with pytest.raises(error) as caught:
        Inspection.decode(value)
    assert isinstance(caught.value, FormatError)


@pytest.mark.parametrize("wrong", [{"content_type": "x" * 128}, {"entropy": -1.0}, {"size": -1}])
def test_an_inspection_that_cannot_be_written_is_refused(wrong):
    fields = {"content_type": "x", "entropy": 0.0, "size": Bytes(0)} | wrong

    with pytest.raises(MalformedError):
        Inspection(**fields).encode()
