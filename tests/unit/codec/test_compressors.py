"""Compressors shrink, restore exactly, and believe no length that a block claims."""

import random
import tracemalloc
import zlib

import pytest

from datamover.codec.compressor import Compressor
from datamover.codec.gzip import Gzip
from datamover.codec.lz4 import Lz4
from datamover.codec.registry import COMPRESSORS, make_cipher, make_compressor, make_expanders
from datamover.codec.sample import incompressible, take_sample
from datamover.codec.zstd import Zstd, zstd
from datamover.errors import MalformedError, UsageError
from datamover.units import Bytes

TEXT = b"the same words again and again, " * 400
NOISE = random.Random(5).randbytes(40000)
KINDS = [Zstd, Lz4, Gzip]


def compress(codec: Compressor, plain: bytes) -> bytes:
    out = bytearray(len(plain) + 100)
    size = codec.compress_into(memoryview(plain), memoryview(out))
    assert size is not None
    return bytes(out[:size])


def expand(codec: Compressor, packed: bytes, plain: int, room: int | None = None) -> bytes:
    out = bytearray(plain if room is None else room)
    size = codec.expand_into(memoryview(packed), memoryview(out), Bytes(plain))
    return bytes(out[:size])


@pytest.mark.parametrize(
    ("kind", "level"),
    [(Zstd, 1), (Zstd, 3), (Zstd, 19), (Lz4, 1), (Lz4, 2), (Lz4, 12), (Gzip, 1), (Gzip, 3)],
)
def test_what_was_compressed_is_what_is_expanded(kind, level):
    packed = compress(kind(level), TEXT)

    assert expand(kind(), packed, len(TEXT)) == TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_is_as_good_for_the_second_block_as_for_the_first(kind):
    codec = kind()

    assert compress(codec, TEXT) == compress(codec, TEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_shrink_leaves_the_output_untouched(kind):
    out = bytearray(50000)

    assert kind().compress_into(memoryview(NOISE), memoryview(out)) is None
    assert kind().compress_into(memoryview(b""), memoryview(out)) is None
    assert not any(out)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_leaves_the_output_untouched(kind):
    out = bytearray(10)

    assert kind().compress_into(memoryview(TEXT), memoryview(out)) is None
    assert not any(out)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_past_the_output(kind):
    packed = compress(kind(), TEXT)
    out = bytearray(b"\xaa" * (len(TEXT) + 10))
    kind().expand_into(memoryview(packed), memoryview(out)[: len(TEXT)], Bytes(len(TEXT)))

    assert out[len(TEXT) :] == b"\xaa" * 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claimed", [0, 1, len(TEXT) - 1, len(TEXT) + 1])
def test_another_length_than_stated_is_refused(kind, claimed):
    with pytest.raises(MalformedError):
        expand(kind(), compress(kind(), TEXT), claimed, room=len(TEXT) + 10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claimed", [1001, 1 << 32, 1 << 62, -1])
def test_a_length_beyond_the_output_is_refused_before_anything_is_made(kind, claimed):
    packed = compress(kind(), TEXT)
    tracemalloc.start()
    with pytest.raises(MalformedError):
        expand(kind(), packed, claimed, room=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000


@pytest.mark.parametrize("kind", [Zstd, Gzip])
def test_a_bomb_makes_no_more_than_the_stated_length(kind):
    bomb = compress(kind(), bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(MalformedError):
        expand(kind(), bomb, 4096)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1_000_000


def test_a_frame_that_asks_for_a_huge_window_is_refused():
    options = {zstd.CompressionParameter.window_log: 27}
    stream = zstd.ZstdCompressor(options=options)
    frame = stream.compress(TEXT) + stream.flush()  # an unknown size, so the window counts

    with pytest.raises(MalformedError):
        expand(Zstd(), frame, len(TEXT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1])
def test_a_truncated_block_is_refused(kind, cut):
    with pytest.raises(MalformedError):
        expand(kind(), compress(kind(), TEXT)[:cut], len(TEXT))


def test_a_frame_without_its_end_is_refused_although_every_byte_came_out():
    stream = zstd.ZstdCompressor()

    with pytest.raises(MalformedError):
        expand(Zstd(), stream.compress(TEXT, stream.FLUSH_BLOCK), len(TEXT))


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_a_block_are_refused(kind):
    with pytest.raises(MalformedError):
        expand(kind(), compress(kind(), TEXT) + b"more", len(TEXT))


def test_a_wrong_crc_inside_a_gzip_member_is_refused():
    packed = bytearray(compress(Gzip(), TEXT))
    packed[-5] ^= 1

    with pytest.raises(MalformedError):
        expand(Gzip(), bytes(packed), len(TEXT))


def test_gzip_members_of_other_programs_are_read():
    member = zlib.compressobj(9, zlib.DEFLATED, 31)

    assert expand(Gzip(), member.compress(TEXT) + member.flush(), len(TEXT)) == TEXT


@pytest.mark.parametrize("name", COMPRESSORS)
def test_every_name_has_an_expander_by_its_wire_id(name):
    codec = make_compressor(name, 1)
    assert codec is not None

    assert expand(make_expanders()[codec.id], compress(codec, TEXT), len(TEXT)) == TEXT


def test_no_compression_is_no_compressor():
    assert make_compressor("none", 0) is None


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(UsageError, match="gzip, lz4, zstd, none"):
        make_compressor("brotli", 1)
    with pytest.raises(UsageError, match="aes-256-gcm, chacha20-poly1305"):
        make_cipher("des", bytes(32))


def test_noise_is_incompressible_and_text_is_not():
    assert incompressible(memoryview(NOISE))
    assert not incompressible(memoryview(TEXT))


def test_noise_with_a_compressible_quarter_is_worth_compressing():
    block = NOISE[:30000] + bytes(10000)

    assert not incompressible(memoryview(block))


def test_a_block_too_small_to_sample_is_tried():
    assert not incompressible(memoryview(NOISE[:8192]))
    assert not incompressible(memoryview(b""))


@pytest.mark.parametrize("size", [33, 64, 1000, 4097])
def test_a_sample_reaches_from_the_first_byte_to_nearly_the_last(size):
    block = bytes(i % 251 for i in range(size))
    sample = take_sample(memoryview(block), 4, 8)

    assert len(sample) == 32
    assert sample[:8] == block[:8]
    assert block.rindex(sample[-8:]) > size - 8 - 4


def test_a_small_view_is_its_own_sample():
    assert take_sample(memoryview(b"abc"), 4, 8) == b"abc"
