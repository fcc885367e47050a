"""A sealed block is the same bytes for ever, and only its own facts open it."""

import pytest

from datamover.codec.cipher import Cipher
from datamover.codec.envelope import LAYER_MAX, open_block, seal_block
from datamover.errors import MalformedError, RoomError, SealError
from datamover.ids import BlockNumber
from datamover.units import Bytes
from datamover.wire.tag import Extension, TagHeader, TagKind, Transform

KEY, ARCHIVE = bytes(range(32)), bytes(range(16))
AES = Cipher(16, KEY)
TAG = TagHeader(
    kind=TagKind.DATA,
    block=BlockNumber(5),
    length=Bytes(11),
    plain=Bytes(40),
    flags=1,
    offset=99,
    transforms=(Transform(id=1, parameter=3, length=Bytes(40)),),
    public=(Extension(id=2, value=b"key\0value"),),
    private=(Extension(id=1, value=b"what it is"),),
)


def seal(cipher=AES, **how):
    data = bytearray(b"the payload") + bytearray(64)
    tag = seal_block(TAG, memoryview(data), cipher=cipher, archive=ARCHIVE, **({"layer": 2} | how))
    return tag, data


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (16, "723701a98ed9920145c9571c00e0fb4686bf2bf0c98623fe574092965cd73d288e290d6f6b436d0c1a"),
        (17, "bf1e81d78da38871d884a892e28b5133f91eb7a4caf09b2f6d989f29f3ad6af27bd612b2a93a286f80"),
    ],
)
def test_the_sealed_bytes_are_frozen(number, expected):
    tag, data = seal(Cipher(number, KEY))

    assert tag.length == 11 + 14 + 16
    assert tag.transforms[-1] == Transform(id=number, parameter=2, length=Bytes(11), inner=14)
    assert data[: tag.length].hex() == expected
    assert not any(data[tag.length :])


def test_opening_undoes_sealing():
    tag, data = seal()

    assert open_block(tag, memoryview(data), cipher=AES, archive=ARCHIVE) == TAG
    assert data[:11] == b"the payload"


def test_the_highest_layer_is_the_highest_a_tag_can_say():
    tag, data = seal(layer=LAYER_MAX)
    wire = bytearray(4096)
    tag.encode_into(memoryview(wire))

    assert (
        open_block(
            TagHeader.decode(memoryview(wire)), memoryview(data), cipher=AES, archive=ARCHIVE
        )
        == TAG
    )


def test_without_room_nothing_is_changed():
    data = bytearray(b"the payload") + bytearray(29)
    with pytest.raises(RoomError) as caught:
        seal_block(TAG, memoryview(data), cipher=AES, archive=ARCHIVE, layer=0)

    assert (caught.value.need, caught.value.have) == (41, 40)
    assert data == b"the payload" + bytes(29)


def test_a_sealed_block_opens_in_no_other_archive():
    tag, data = seal()

    with pytest.raises(SealError):
        open_block(tag, memoryview(data), cipher=AES, archive=bytes(16))


def test_an_archive_id_of_another_length_is_refused():
    with pytest.raises(MalformedError):
        seal_block(TAG, memoryview(bytearray(99)), cipher=AES, archive=b"short", layer=0)
