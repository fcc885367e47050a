"""Keys agree with the published vectors, open what they wrapped, and cost no more than allowed."""

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from datamover.codec.keys import (
    WRAPPED_SIZE,
    KdfParameters,
    derive_key,
    derive_subkey,
    read_hex,
    unwrap_key,
    wrap_key,
)
from datamover.errors import MalformedError, SealError, UsageError

KEY, BY, NONCE = bytes(range(32)), bytes(range(32, 64)), bytes(12)
FROZEN = (
    "00000000000000000000000001490c15023574d0ef35fc873b9331f459bb"
    "2800accab9ff7db329fcec58879af6f2185a980582a274eca6ef04e07d88"
)


def test_argon2id_agrees_with_rfc_9106():
    """Section 5.3: with a secret and associated data, so through the primitive itself."""
    found = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        secret=b"\x03" * 8,
        ad=b"\x04" * 12,
    ).derive(b"\x01" * 32)

    assert found.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_a_derived_key_agrees_with_the_reference_implementation():
    """phc-winner-argon2, src/test.c: version 0x13, t=2, m=2^8, p=1 and p=2."""
    one = KdfParameters(salt=b"somesalt", memory_kib=256, iterations=2, lanes=1)
    two = KdfParameters(salt=b"somesalt", memory_kib=256, iterations=2, lanes=2)

    assert derive_key(b"password", one).hex() == (
        "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
    )
    assert derive_key(b"password", two).hex() == (
        "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"
    )


@pytest.mark.parametrize(
    ("key", "context", "purpose", "expected"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c",
        ),
        (
            "0b" * 22,
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d",
        ),
    ],
)
def test_a_subkey_agrees_with_rfc_5869(key, context, purpose, expected):
    """Appendix A.1 to A.3: the first 32 bytes of each."""
    found = derive_subkey(bytes.fromhex(key), bytes.fromhex(purpose), bytes.fromhex(context))

    assert found.hex() == expected


def test_each_purpose_and_context_has_its_own_subkey():
    found = {derive_subkey(KEY, p, c) for p in (b"a", b"b") for c in (b"1" * 16, b"2" * 16)}

    assert len(found) == 4


def test_a_wrapped_key_is_unwrapped():
    wrapped = wrap_key(KEY, by=BY, nonce=NONCE, context=b"store")

    assert len(wrapped) == WRAPPED_SIZE == 60
    assert KEY not in wrapped
    assert unwrap_key(wrapped, by=BY, context=b"store") == KEY


def test_the_wrapped_bytes_are_frozen():
    assert wrap_key(KEY, by=BY, nonce=NONCE, context=b"archive 16 bytes").hex() == FROZEN


@pytest.mark.parametrize(("by", "context"), [(KEY, b"store"), (BY, b"other")])
def test_another_key_or_context_unwraps_nothing(by, context):
    with pytest.raises(SealError):
        unwrap_key(wrap_key(KEY, by=BY, nonce=NONCE, context=b"store"), by=by, context=context)


@pytest.mark.parametrize("bit", range(0, WRAPPED_SIZE * 8, 7))
def test_a_flipped_bit_unwraps_nothing(bit):
    wrapped = bytearray(wrap_key(KEY, by=BY, nonce=NONCE, context=b"store"))
    wrapped[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SealError):
        unwrap_key(bytes(wrapped), by=BY, context=b"store")


@pytest.mark.parametrize("size", [0, 59, 61])
def test_a_wrapped_key_of_another_length_is_refused(size):
    with pytest.raises(MalformedError):
        unwrap_key(bytes(size), by=BY, context=b"store")


def test_what_cannot_be_wrapped_is_refused():
    with pytest.raises(UsageError):
        wrap_key(b"short", by=BY, nonce=NONCE, context=b"")


@pytest.mark.parametrize(
    "hostile",
    [
        {"memory_kib": 1 << 30},
        {"memory_kib": 4 * 1024 * 1024 + 1},
        {"memory_kib": 4 * 1024 * 1024, "iterations": 5},
        {"memory_kib": 31, "lanes": 4},
        {"memory_kib": 0},
        {"memory_kib": -1},
        {"iterations": 1 << 31},
        {"iterations": 0},
        {"lanes": 0},
        {"lanes": 17},
        {"salt": b"short"},
        {"salt": bytes(65)},
    ],
)
def test_parameters_that_cost_too_much_or_protect_nothing_are_refused(hostile):
    with pytest.raises(MalformedError):
        KdfParameters(**({"salt": bytes(16)} | hostile))


def test_the_bounds_themselves_are_accepted():
    KdfParameters(salt=bytes(64), memory_kib=4 * 1024 * 1024, iterations=4, lanes=16)
    KdfParameters(salt=bytes(8), memory_kib=8, iterations=1, lanes=1)


def test_hexadecimal_settings_are_read_and_never_repeated():
    assert read_hex("key", KEY.hex()) == KEY
    for bad in ("", "zz" * 32, "00" * 31, "00" * 33):
        with pytest.raises(UsageError, match=r"^key: not 64 hexadecimal digits$"):
            read_hex("key", bad)
