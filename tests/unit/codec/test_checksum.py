"""CRC-32C, as everyone else computes it."""

import pytest

from datamover.codec.checksum import append_checksum, check_checksum, crc32c
from datamover.errors import CorruptError, RoomError, TruncatedError


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_it_agrees_with_rfc_3720(data, expected):
    """Appendix B.4."""
    assert crc32c(data) == expected


def test_it_goes_on_where_it_left_off():
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


def test_what_is_appended_is_checked_and_every_flipped_bit_found():
    data = bytearray(b"123456789....")
    assert append_checksum(memoryview(data), 9) == 13
    assert check_checksum(memoryview(data), 13) == 9

    for bit in range(13 * 8):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptError):
            check_checksum(memoryview(data), 13)
        data[bit // 8] ^= 1 << bit % 8


def test_lengths_that_make_no_sense_are_refused():
    with pytest.raises(RoomError):
        append_checksum(memoryview(bytearray(12)), 9)
    with pytest.raises(TruncatedError):
        check_checksum(memoryview(b"abc"), 3)
    with pytest.raises(TruncatedError):
        check_checksum(memoryview(b"abcd"), 5)
