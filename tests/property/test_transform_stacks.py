"""Every transform, every pair, every legal order, twice too: the tags say how to undo it."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamover.ids import BlockNumber
from datamover.stages.middle import checksum, compress, decrypt, encrypt, expand, inspect, verify
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes
from datamover.wire.tag import Extension, TagHeader, TagKind, TransformId

KEY, ARCHIVE = "5a" * 32, "c3" * 16
SECRET = Extension(id=7, value=b"private")
CLEAR = Extension(id=8, value=b"public")

TRANSFORMS = {
    "zstd": (compress, compress.Settings(codec="zstd", level=3)),
    "lz4": (compress, compress.Settings(codec="lz4")),
    "gzip": (compress, compress.Settings(codec="gzip")),
    "none": (compress, compress.Settings(codec="none", level=0)),
    "aes": (encrypt, encrypt.Settings(key=KEY, archive=ARCHIVE)),
    "chacha": (encrypt, encrypt.Settings(key=KEY, archive=ARCHIVE, cipher="chacha20-poly1305")),
    "crc": (checksum, checksum.Settings()),
}
OPEN = decrypt.Settings(key=KEY, archive=ARCHIVE)
INVERSES = {
    TransformId.ZSTD: (expand, expand.Settings()),
    TransformId.LZ4: (expand, expand.Settings()),
    TransformId.GZIP: (expand, expand.Settings()),
    TransformId.AES_256_GCM: (decrypt, OPEN),
    TransformId.CHACHA20_POLY1305: (decrypt, OPEN),
    TransformId.CRC32C: (verify, verify.Settings()),
}
ALL_INVERSES = [(expand, expand.Settings()), (decrypt, OPEN), (verify, verify.Settings())]
PAYLOADS = [b"", b"a", b"words and words " * 500, random.Random(3).randbytes(10000)]


def blocks(payloads, kind=TagKind.DATA):
    return [
        (
            TagHeader(
                kind=kind,
                block=BlockNumber(number),
                length=Bytes(len(payload)),
                plain=Bytes(len(payload)),
                offset=number * 7,
                public=(CLEAR,),
                private=(SECRET,),
            ),
            payload,
        )
        for number, payload in enumerate(payloads)
    ]


def apply(stage, given_settings, items):
    port = ScriptedPort(items, buffer_size=16384)
    stage.run(port, given_settings)
    assert port.held == 0
    assert port.notices == []
    return [(out.tag, out.payload) for out in port.outputs]


def transform(names, items):
    layers = itertools.count()
    for name in names:
        stage, given_settings = TRANSFORMS[name]
        if stage is encrypt:
            given_settings = replace(given_settings, layer=next(layers))
        items = apply(stage, given_settings, items)
    return items


def undo_by_tags(item):
    """One block alone, by what its own tag says."""
    while item[0].transforms:
        (item,) = apply(*INVERSES[item[0].transforms[-1].id], [item])
    return item


def undo_by_pipe(names, items):
    """All blocks through the reversed pipe, whatever became of each on the way."""
    for name in reversed(names):
        number = {"zstd": 1, "lz4": 2, "gzip": 3, "aes": 16, "chacha": 17, "crc": 32}.get(name)
        if number is not None:
            items = apply(*INVERSES[number], items)
    return items


@pytest.mark.parametrize(
    "names", [*((n,) for n in TRANSFORMS), *itertools.product(TRANSFORMS, repeat=2)], ids="-".join
)
def test_every_pair_of_transforms_in_every_order_is_undone(names):
    items = blocks(PAYLOADS)
    stored = transform(names, items)

    assert [undo_by_tags(item) for item in stored] == items
    assert undo_by_pipe(names, stored) == items


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=6),
    st.lists(st.binary(max_size=30).map(lambda piece: piece * 100), max_size=4),
)
def test_any_stack_of_transforms_is_undone(names, payloads):
    items = blocks(payloads)
    stored = transform(names, items)

    assert [undo_by_tags(item) for item in stored] == items
    assert undo_by_pipe(names, stored) == items


def test_the_same_block_sealed_in_two_layers_has_two_ciphertexts():
    ((_, twice),) = transform(["aes", "aes"], blocks([bytes(100)]))

    # Were the nonce the same, the second layer would cancel the first and show the zeros.
    assert twice[:100] != bytes(100)


def test_an_inspection_travels_sealed_and_comes_back():
    items = apply(inspect, inspect.Settings(), blocks(PAYLOADS, kind=TagKind.RAW))
    stored = transform(["crc", "zstd", "aes"], items)
    assert all(tag.private == () for tag, _ in stored)
    assert not any(b"text/plain" in payload for _, payload in stored)

    assert [undo_by_tags(item) for item in stored] == items


def test_inverses_leave_a_plain_block_alone():
    items = blocks(PAYLOADS)
    for stage, given_settings in ALL_INVERSES:
        assert apply(stage, given_settings, items) == items
