"""Any bytes survive any codec; no bytes make a codec write where it should not or lie."""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamover.codec.cipher import Cipher
from datamover.codec.content import entropy, sniff
from datamover.codec.inspection import Inspection
from datamover.codec.registry import CIPHERS, COMPRESSORS, make_compressor, make_expanders
from datamover.codec.sample import incompressible
from datamover.errors import FormatError, SealError
from datamover.units import Bytes

LEVELS = {"zstd": [1, 3, 9, 19], "lz4": [1, 2, 9, 12], "gzip": [1, 2, 3]}
CODECS = [(name, level) for name in sorted(COMPRESSORS) for level in LEVELS[name]]
EDGE = b"\xee" * 16


@st.composite
def payloads(draw):
    """Bytes of any size that shrink much, little or not at all."""
    size = draw(st.integers(0, 70000) | st.integers(0, 40))
    piece = draw(st.binary(min_size=1, max_size=64))
    noisy = draw(st.integers(0, size))
    noise = random.Random(draw(st.integers(0, 2**32))).randbytes(noisy)
    return (noise + piece * (size // len(piece) + 1))[:size]


@settings(deadline=None)
@given(st.sampled_from(CODECS), payloads(), st.integers(0, 80000))
@example(("zstd", 1), b"", 0)
def test_expanding_undoes_compressing_and_never_leaves_the_output(which, plain, room):
    codec = make_compressor(*which)
    assert codec is not None
    packed = bytearray(room) + EDGE
    size = codec.compress_into(memoryview(plain), memoryview(packed)[:room])
    assert packed[room:] == EDGE
    if size is None:
        assert packed[:room] == bytes(room)
        return
    out = bytearray(len(plain)) + EDGE
    expander = make_expanders()[codec.id]
    assert size < len(plain)
    assert expander.expand_into(
        memoryview(packed)[:size], memoryview(out)[: len(plain)], Bytes(len(plain))
    ) == len(plain)

    assert out == plain + EDGE


@given(st.sampled_from(sorted(make_expanders())), st.binary(max_size=300), st.integers(0, 2**32))
def test_garbage_expands_to_the_stated_length_or_not_at_all(number, garbage, claimed):
    out = bytearray(1000) + EDGE
    try:
        size = make_expanders()[number].expand_into(
            memoryview(garbage), memoryview(out)[:1000], Bytes(claimed)
        )
    except FormatError:
        assert out == bytes(1000) + EDGE
    else:
        assert size == claimed <= 1000


@settings(deadline=None)
@given(
    st.sampled_from(CODECS),
    st.binary(min_size=1, max_size=64),
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_a_damaged_block_expands_to_the_stated_length_or_not_at_all(which, piece, times, damage):
    plain = piece * times
    codec = make_compressor(*which)
    assert codec is not None
    packed = bytearray(len(plain))
    size = codec.compress_into(memoryview(plain), memoryview(packed))
    if size is None:
        return
    for at, change in damage:
        packed[at % size] ^= change
    out = bytearray(len(plain)) + EDGE
    try:
        codec.expand_into(memoryview(packed)[:size], memoryview(out)[:-16], Bytes(len(plain)))
    except FormatError:
        assert not any(out[:-16])
    assert out[-16:] == EDGE


@given(
    st.sampled_from(sorted(CIPHERS.values())),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=12, max_size=12),
    st.binary(max_size=80),
    st.binary(max_size=300),
    st.integers(0, 2**20),
)
def test_a_seal_opens_unchanged_and_with_no_flipped_bit(number, key, nonce, facts, plain, bit):
    cipher = Cipher(number, key)
    data = bytearray(plain) + bytearray(16) + EDGE
    end = cipher.seal(nonce, facts, memoryview(data), len(plain))
    broken = bytearray(data)
    broken[bit // 8 % end] ^= 1 << bit % 8
    assert cipher.open(nonce, facts, memoryview(data), end) == len(plain)
    assert data[: len(plain)] == plain
    assert data[end:] == EDGE

    try:
        cipher.open(nonce, facts, memoryview(broken), end)
    except SealError:
        assert broken[: len(plain)] == bytes(len(plain))
    else:
        raise AssertionError


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_type_an_entropy_and_a_verdict(data):
    view = memoryview(data)
    kind = sniff(view)

    assert kind.count("/") == 1
    assert 0.0 <= entropy(view) <= 8.0
    assert incompressible(view) is False
    assert len(Inspection(content_type=kind, entropy=8.0, size=Bytes(0)).encode()) < 100


@given(st.binary(max_size=200))
def test_an_inspection_decodes_to_what_encodes_again_or_is_refused(value):
    try:
        found = Inspection.decode(value)
    except FormatError:
        return

    assert value.startswith(found.encode())
