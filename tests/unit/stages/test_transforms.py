"""Each transform stage does its one thing, says so in the tag, and its inverse undoes no other."""

import random
import struct
import zlib
from dataclasses import replace

import pytest
from msgspec.structs import replace as retagged

from datamover.codec.cipher import Cipher, make_nonce
from datamover.errors import RoomError, SequenceError, UsageError
from datamover.ids import BlockNumber, ChunkNumber
from datamover.shm.buffer import TRAILER_SIZE
from datamover.stages.middle import (
    checksum,
    compress,
    decrypt,
    encrypt,
    expand,
    verify,
)
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes
from datamover.wire.tag import Extension, TagHeader, TagKind, Transform, TransformId

KEY, OTHER_KEY = "11" * 32, "22" * 32
ARCHIVE = "ab" * 16
TEXT = b"the same words again and again, " * 400
NOISE = random.Random(5).randbytes(30000)
SECRET = Extension(id=1, value=b"text/plain of somebody")


def tagged(payload, *, block=7, **more):
    size = Bytes(len(payload))
    return TagHeader(
        kind=TagKind.DATA,
        block=BlockNumber(block),
        chunk=ChunkNumber(2),
        length=size,
        plain=size,
        **more,
    ), payload


def run(stage, inputs, settings=None, **how):
    port = ScriptedPort(inputs, **how)
    stage.run(port, settings or stage.Settings())
    assert port.held == 0
    return port


def one(stage, item, settings=None, **how):
    (out,) = run(stage, [item], settings, **how).outputs
    return out.tag, out.payload


SEAL = encrypt.Settings(key=KEY, archive=ARCHIVE)
OPEN = decrypt.Settings(key=KEY, archive=ARCHIVE)


@pytest.mark.parametrize(
    ("codec", "number"),
    [("zstd", TransformId.ZSTD), ("lz4", TransformId.LZ4), ("gzip", TransformId.GZIP)],
)
def test_a_compressed_block_says_how_and_from_what_length(codec, number):
    tag, payload = one(compress, tagged(TEXT), compress.Settings(codec=codec, level=2))

    assert len(payload) < len(TEXT) // 10
    assert tag.length == len(payload)
    assert tag.transforms == (Transform(id=number, parameter=2, length=Bytes(len(TEXT))),)
    assert one(expand, (tag, payload)) == tagged(TEXT)


@pytest.mark.parametrize("payload", [NOISE, b"", b"x", NOISE[:100]])
def test_a_block_that_does_not_shrink_goes_on_unchanged(payload):
    assert one(compress, tagged(payload)) == tagged(payload)


def test_an_incompressible_block_costs_no_buffer():
    assert one(compress, tagged(NOISE), buffers=0) == tagged(NOISE)


def test_without_compression_every_block_goes_on_unchanged():
    settings = compress.Settings(codec="none", level=0)

    assert one(compress, tagged(TEXT), settings) == tagged(TEXT)


@pytest.mark.parametrize(
    ("codec", "level"), [("zip", 1), ("zstd", 0), ("zstd", 20), ("lz4", 13), ("gzip", 4)]
)
def test_a_codec_or_level_that_does_not_exist_is_refused_at_once(codec, level):
    with pytest.raises(UsageError):
        run(compress, [], compress.Settings(codec=codec, level=level))


def test_a_gzip_block_opens_with_any_gzip():
    _, payload = one(compress, tagged(TEXT), compress.Settings(codec="gzip"))

    assert zlib.decompress(payload, 31) == TEXT


def test_a_buffer_without_a_tag_is_compressed_like_any_other():
    tag, payload = one(compress, (None, TEXT))

    assert (tag.kind, tag.plain) == (TagKind.RAW, len(TEXT))
    assert one(expand, (tag, payload))[1] == TEXT


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "chacha20-poly1305"])
def test_a_sealed_block_hides_payload_and_private_extensions(cipher):
    item = tagged(TEXT, private=(SECRET,))
    tag, payload = one(encrypt, item, replace(SEAL, cipher=cipher))

    assert TEXT[:8] not in payload
    assert SECRET.value not in payload
    assert tag.private == ()
    assert tag.transforms[0].inner == len(SECRET.value) + 4
    assert len(payload) == len(TEXT) + len(SECRET.value) + 4 + 16
    assert one(decrypt, (tag, payload), OPEN) == item


def test_encrypting_twice_uses_two_nonces_and_is_undone_twice():
    item = tagged(TEXT, private=(SECRET,))
    first = one(encrypt, item, SEAL)
    second = one(encrypt, first, replace(SEAL, layer=1))
    again = one(encrypt, item, replace(SEAL, layer=1))

    assert again[1] != first[1]
    assert one(decrypt, one(decrypt, second, OPEN), OPEN) == item


@pytest.mark.parametrize("second", [7, 6])
def test_a_block_number_that_does_not_grow_is_not_sealed(second):
    with pytest.raises(SequenceError):
        encrypt.run(ScriptedPort([tagged(TEXT), tagged(NOISE, block=second)]), SEAL)


def test_a_full_buffer_has_room_for_the_trailers():
    full = random.Random(1).randbytes(256)
    tag, payload = one(encrypt, one(checksum, tagged(full), buffer_size=256), SEAL, buffer_size=256)

    assert tag.length == len(payload) == 256 + 4 + 16


def test_a_seal_that_does_not_fit_is_refused_with_the_numbers():
    item = tagged(bytes(256 + TRAILER_SIZE - 15))

    with pytest.raises(RoomError) as caught:
        run(encrypt, [item], SEAL, buffer_size=256)
    assert caught.value.need == caught.value.have + 1 == 256 + TRAILER_SIZE + 1


def test_a_checksum_that_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(RoomError):
        run(checksum, [tagged(bytes(256 + TRAILER_SIZE - 3))], buffer_size=256)


def test_a_checksum_is_appended_and_stripped():
    tag, payload = one(checksum, tagged(b"123456789"))

    assert payload == b"123456789" + (0xE3069283).to_bytes(4, "little")
    assert one(verify, (tag, payload)) == tagged(b"123456789")


@pytest.mark.parametrize("inverse", [expand, verify])
def test_an_inverse_passes_on_what_another_stage_did_last(inverse):
    sealed = one(encrypt, one(checksum, one(compress, tagged(TEXT))), SEAL)

    assert one(inverse, sealed) == sealed
    assert one(inverse, tagged(TEXT)) == tagged(TEXT)


def test_decrypt_passes_on_what_another_stage_did_last():
    checked = one(checksum, one(encrypt, tagged(TEXT), SEAL))

    assert one(decrypt, checked, OPEN) == checked
    assert one(decrypt, tagged(TEXT), OPEN) == tagged(TEXT)


def test_an_unknown_transform_is_left_alone():
    unknown = tagged(TEXT, transforms=(Transform(id=999, length=Bytes(1)),))

    assert one(decrypt, one(expand, one(verify, unknown)), OPEN) == unknown


def flipped(payload, bit):
    changed = bytearray(payload)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("bit", [0, 12345, -8 * 16, -1])
@pytest.mark.parametrize("cipher", ["aes-256-gcm", "chacha20-poly1305"])
def test_a_flipped_bit_in_ciphertext_or_seal_drops_the_block_and_no_other(cipher, bit):
    good = one(encrypt, tagged(TEXT, block=8), replace(SEAL, cipher=cipher))
    tag, payload = one(encrypt, tagged(TEXT), replace(SEAL, cipher=cipher))
    port = run(decrypt, [(tag, flipped(payload, bit)), good], OPEN)

    assert port.noticed("damaged") == [{"block": 7, "chunk": 2, "reason": "seal does not match"}]
    assert [out.payload for out in port.outputs] == [TEXT]
    assert port.freed == 1


@pytest.mark.parametrize(
    "change",
    [
        {"block": 8},
        {"kind": TagKind.INDEX},
        {"flags": 1},
        {"plain": 5},
        {"offset": 1},
        {"public": (SECRET,)},
        {"transforms": (Transform(id=16, parameter=1, length=12800, inner=26),)},
        {"transforms": (Transform(id=16, parameter=0, length=12799, inner=27),)},
        {"transforms": (Transform(id=16, parameter=0, length=12826, inner=0),)},
        {"transforms": (Transform(id=17, parameter=0, length=12800, inner=26),)},
        {"transforms": (Transform(id=16, parameter=0, length=1 << 31, inner=0),)},
        {
            "transforms": (
                Transform(id=1, length=1),
                Transform(id=16, parameter=0, length=12800, inner=26),
            )
        },
    ],
)
def test_a_changed_fact_of_the_tag_drops_the_block(change):
    tag, payload = one(encrypt, tagged(TEXT, private=(SECRET,)), SEAL)
    assert tag.transforms == (Transform(id=16, parameter=0, length=Bytes(12800), inner=26),)
    port = run(decrypt, [(retagged(tag, **change), payload)], OPEN)

    assert port.outputs == []
    assert len(port.noticed("damaged")) == 1


@pytest.mark.parametrize(
    "settings", [replace(OPEN, key=OTHER_KEY), replace(OPEN, archive="cd" * 16)]
)
def test_another_key_or_archive_opens_nothing(settings):
    port = run(decrypt, [one(encrypt, tagged(TEXT), SEAL)], settings)

    assert port.outputs == []
    assert len(port.noticed("damaged")) == 1


def test_what_storing_changes_does_not_break_a_seal():
    tag, payload = one(encrypt, tagged(TEXT), SEAL)
    moved = retagged(tag, chunk=ChunkNumber(9), crc=5)

    assert one(decrypt, (moved, payload), OPEN)[1] == TEXT


def test_nonsense_under_a_matching_seal_drops_the_block():
    plain, payload = tagged(TEXT)
    step = Transform(id=16, length=Bytes(len(TEXT)), inner=3)
    data = bytearray(payload + b"bad") + bytearray(16)
    facts = plain.associated(bytes.fromhex(ARCHIVE), 0) + struct.pack("<IH", len(TEXT), 3)
    size = Cipher(16, bytes.fromhex(KEY)).seal(
        make_nonce(0, plain.block), facts, memoryview(data), len(TEXT) + 3
    )
    port = run(decrypt, [(retagged(plain, length=size, transforms=(step,)), bytes(data))], OPEN)

    assert port.outputs == []
    assert len(port.noticed("damaged")) == 1


def test_private_extensions_beside_a_seal_are_not_believed():
    tag, payload = one(encrypt, tagged(TEXT, private=(SECRET,)), SEAL)
    forged = retagged(tag, private=(Extension(id=1, value=b"forged"),))

    assert one(decrypt, (forged, payload), OPEN)[0].private == (SECRET,)


@pytest.mark.parametrize(
    "settings",
    [
        encrypt.Settings(key="11", archive=ARCHIVE),
        encrypt.Settings(key="zz" * 32, archive=ARCHIVE),
        encrypt.Settings(key=KEY, archive="ab"),
        encrypt.Settings(key=KEY, archive=ARCHIVE, cipher="rot13"),
        encrypt.Settings(key=KEY, archive=ARCHIVE, layer=65536),
    ],
)
def test_settings_that_make_no_sense_are_refused_and_the_key_is_not_told(settings):
    with pytest.raises(UsageError) as caught:
        run(encrypt, [], settings)
    assert "zz" not in str(caught.value)


def test_keys_are_in_no_repr():
    assert KEY not in repr(SEAL)
    assert KEY not in repr(OPEN)


def test_a_block_that_fails_its_checksum_is_dropped_and_no_other():
    tag, payload = one(checksum, tagged(TEXT))
    port = run(verify, [(tag, flipped(payload, 77)), (tag, payload)])

    assert [out.payload for out in port.outputs] == [TEXT]
    (notice,) = port.noticed("damaged")
    assert (notice["block"], notice["chunk"]) == (7, 2)


@pytest.mark.parametrize("size", [0, 3])
def test_a_block_too_short_for_its_checksum_is_dropped(size):
    item = tagged(bytes(size), transforms=(Transform(id=32, length=Bytes(0)),))

    assert run(verify, [item]).outputs == []


def test_a_checksum_of_another_length_is_dropped():
    tag, payload = one(checksum, tagged(TEXT))
    lying = retagged(tag, transforms=(Transform(id=32, length=Bytes(1)),))

    assert run(verify, [(lying, payload)]).outputs == []


@pytest.mark.parametrize("codec", ["zstd", "lz4", "gzip"])
@pytest.mark.parametrize("claimed", [0, 1, 12799, 12801, 65536 + TRAILER_SIZE + 1, (1 << 32) - 1])
def test_a_lie_about_the_length_drops_the_block(codec, claimed):
    tag, payload = one(compress, tagged(TEXT), compress.Settings(codec=codec))
    (step,) = tag.transforms
    lying = retagged(tag, plain=Bytes(claimed), transforms=(retagged(step, length=Bytes(claimed)),))
    port = run(expand, [(lying, payload), (tag, payload)])

    assert [out.payload for out in port.outputs] == [TEXT]
    assert len(port.noticed("damaged")) == 1
    assert port.freed == 3


def test_a_block_whose_plain_length_is_another_is_dropped():
    tag, payload = one(compress, tagged(TEXT))
    port = run(expand, [(retagged(tag, plain=Bytes(5)), payload)])

    assert port.outputs == []


def test_where_a_seal_is_required_a_block_without_one_is_dropped():
    required = replace(OPEN, required=True)
    lost = retagged(tagged(b"", block=8)[0], kind=TagKind.LOST)
    sealed = one(encrypt, tagged(TEXT), SEAL)
    port = run(
        decrypt, [sealed, tagged(TEXT, block=8), (lost, b""), tagged(TEXT, block=9)], required
    )

    assert [(out.tag.block, out.tag.kind) for out in port.outputs] == [
        (7, TagKind.DATA),
        (8, TagKind.LOST),
    ]
    assert [one["block"] for one in port.noticed("damaged")] == [8, 9]
