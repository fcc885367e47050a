"""An address is taken apart once, and what is none is told so without repeating a secret."""

from __future__ import annotations

import pytest

from datamover.errors import UsageError
from datamover.media.address import MediumAddress
from datamover.media.directory import DirectoryMedium
from datamover.media.opening import open_medium
from datamover.units import MIB, Bytes


def test_an_address_has_four_parts():
    found = MediumAddress.parse("s3://bucket/a%20b/c?endpoint=http://127.0.0.1:9000&part=8MiB")

    assert (found.scheme, found.host, found.path) == ("s3", "bucket", "/a b/c")
    assert found.options == {"endpoint": "http://127.0.0.1:9000", "part": "8MiB"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/mnt/big",
        "file:/mnt/big",
        "s3:",
        "file:///a?b",
        "file:///a?b=1&b=2",
        "file:///a#b",
        "s3://[::1/x",
        "file:///" + "x" * 5000,
        "file:///a\0b",
        "s3://b/p?" + "&".join(f"o{n}=1" for n in range(99)),
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError):
        MediumAddress.parse(text)


def test_a_key_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="environment") as caught:
        MediumAddress.parse("s3://AKIA:s3cret@bucket/prefix")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "file://mnt/big",
        "file://",
        "file:///a%00b",
        "file:///a?x=1",
        "ftp://host/x",
    ],
)
def test_what_no_medium_can_be_is_refused(text):
    with pytest.raises(UsageError):
        open_medium(text)


def test_a_folder_is_opened_by_its_address(tmp_path):
    with open_medium(f"file://{tmp_path}/with%20space") as medium:
        assert isinstance(medium, DirectoryMedium)
        assert list(medium.names()) == []


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("8MiB", 8 * MIB), ("64KiB", 65536), ("1GiB", 1 << 30)]
)
def test_a_size_has_a_unit_or_is_in_bytes(text, size):
    address = MediumAddress.parse(f"s3://b/?part={text}")

    assert address.size("part", Bytes(5)) == size
    assert address.size("other", Bytes(5)) == 5


@pytest.mark.parametrize("text", ["", "-1", "1MB", "1.5MiB", "9" * 40])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError):
        MediumAddress.parse(f"s3://b/?part={text}").size("part", Bytes(5))
