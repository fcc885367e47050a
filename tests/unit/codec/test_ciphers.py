"""A seal opens for its key, nonce and facts alone, and leaves nothing behind when it does not."""

import pytest

from datamover.codec.cipher import SEAL_SIZE, Cipher, make_nonce
from datamover.errors import SealError, TruncatedError, UsageError
from datamover.wire.tag import TransformId

KINDS = [TransformId.AES_256_GCM, TransformId.CHACHA20_POLY1305]
KEY = bytes(range(32))
NONCE = make_nonce(1, 2)


def sealed(kind, plain, *, nonce=NONCE, associated=b"facts", key=KEY):
    data = bytearray(plain) + bytearray(SEAL_SIZE)
    size = Cipher(kind, key).seal(nonce, associated, memoryview(data), len(plain))
    assert size == len(data)
    return data


def test_aes_256_gcm_agrees_with_the_published_vector():
    """McGrew and Viega, The Galois/Counter Mode of Operation, test case 16."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    data = sealed(
        TransformId.AES_256_GCM,
        plain,
        key=key,
        nonce=bytes.fromhex("cafebabefacedbaddecaf888"),
        associated=bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    )

    assert data.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_chacha20_poly1305_agrees_with_the_published_vector():
    """RFC 8439, section 2.8.2."""
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you "
        b"only one tip for the future, sunscreen would be it."
    )
    data = sealed(
        TransformId.CHACHA20_POLY1305,
        plain,
        key=bytes(range(0x80, 0xA0)),
        nonce=bytes.fromhex("070000004041424344454647"),
        associated=bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
    )

    assert data[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert data[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 5000])
def test_a_seal_opens_in_place(kind, size):
    plain = bytes(i % 256 for i in range(size))
    data = sealed(kind, plain)

    assert Cipher(kind, KEY).open(NONCE, b"facts", memoryview(data), len(data)) == size
    assert data[:size] == plain


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_seal_are_not_touched(kind):
    data = bytearray(b"plain") + bytearray(b"\xaa" * 40)
    Cipher(kind, KEY).seal(NONCE, b"", memoryview(data), 5)

    assert data[21:] == b"\xaa" * 24


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("key", "nonce", "associated"),
    [
        (bytes(32), NONCE, b"facts"),
        (KEY, make_nonce(2, 2), b"facts"),
        (KEY, make_nonce(1, 3), b"facts"),
        (KEY, NONCE, b"fact"),
    ],
)
def test_another_key_nonce_or_fact_opens_nothing_and_leaves_nothing(kind, key, nonce, associated):
    data = sealed(kind, b"secret" * 10)
    with pytest.raises(SealError):
        Cipher(kind, key).open(nonce, associated, memoryview(data), len(data))

    assert data[:60] == bytes(60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seal_of_one_cipher_does_not_open_with_the_other(kind):
    data = sealed(kind, b"secret")
    (other,) = set(KINDS) - {kind}

    with pytest.raises(SealError):
        Cipher(other, KEY).open(NONCE, b"facts", memoryview(data), len(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 15, 23])
def test_a_length_that_holds_no_seal_opens_nothing(kind, length):
    data = sealed(kind, b"secret")

    with pytest.raises(SealError):
        Cipher(kind, KEY).open(NONCE, b"facts", memoryview(data), length)


@pytest.mark.parametrize("kind", KINDS)
def test_without_room_for_the_seal_nothing_is_changed(kind):
    data = bytearray(b"plain") + bytearray(15)
    with pytest.raises(TruncatedError):
        Cipher(kind, KEY).seal(NONCE, b"", memoryview(data), 5)

    assert data == b"plain" + bytes(15)


def test_what_is_no_key_or_no_cipher_is_refused():
    with pytest.raises(UsageError):
        Cipher(TransformId.AES_256_GCM, bytes(16))
    with pytest.raises(UsageError):
        Cipher(TransformId.CRC32C, bytes(32))


def test_a_nonce_is_layer_then_block_and_12_bytes():
    assert make_nonce(1, 2).hex() == "010000000200000000000000"
    assert len(make_nonce(2**32 - 1, 2**64 - 1)) == 12


def test_the_key_is_in_no_repr():
    assert KEY.hex() not in repr(Cipher(TransformId.AES_256_GCM, KEY))
