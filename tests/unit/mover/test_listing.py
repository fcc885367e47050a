"""Listing needs the catalog alone, and finds every block that a path needs."""

from __future__ import annotations

import shutil
from itertools import pairwise

import pytest
from msgspec.structs import replace

from datamover.codec.keys import KdfParameters
from datamover.errors import ArchiveMissingError, FormatError, PassphraseError, SealError
from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.mover.listing import archives, blocks_of, entries, info
from datamover.mover.open_block import open_record
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import backup_without_a_pipe
from datamover.wire.tag import TagHeader, Transform

CHEAP = KdfParameters(salt=b"0123456789abcdef", memory_kib=64, iterations=1, lanes=1)


def file(path, size=3, flags=0, extents=None):
    extents = ((0, size),) if extents is None else extents
    return Entry(path, Kind.FILE, 0o100644, size=size, flags=flags, extents=extents)


def directory(path):
    return Entry(path, Kind.DIRECTORY, 0o40755)


def link(path, target):
    return Entry(path, Kind.HARD_LINK, 0o100644, link=target)


BIG = [
    file(b"src/big", size=9, flags=EntryFlag.MORE, extents=((0, 3),)),
    file(b"src/big", size=9, flags=EntryFlag.MORE | EntryFlag.CONTINUES, extents=((3, 3),)),
    file(b"src/big", size=9, flags=EntryFlag.CONTINUES, extents=((6, 3),)),
]
# Blocks 0 and 1, their index 2; 3 and 4, index 5; 6, index 7; contents 8.
TABLES = [
    [directory(b"src"), directory(b"src/a"), file(b"src/a/one", flags=EntryFlag.LINKED)],
    [file(b"src/ab"), BIG[0]],
    [BIG[1]],
    [BIG[2], file(b"src/c", size=0, extents=())],
    [Entry(b"src/d", Kind.SYMLINK, 0o120777, link=b"ab"), link(b"src/e", b"src/a/one")],
]


@pytest.fixture(params=["aes-256-gcm", "none"])
def store(tmp_path, request):
    create_store(tmp_path / "s", passphrase=b"p", cipher=request.param, kdf=CHEAP)
    with Store.open(tmp_path / "s", lambda: b"p") as opened:
        backup_without_a_pipe(opened, TABLES)
        yield opened


def test_archives_are_listed_oldest_first_with_what_is_in_them(store):
    second = backup_without_a_pipe(store, [[file(b"x")]], name="second")
    rows = archives(store)

    assert [row.name for row in rows] == ["test", "second"]
    assert rows[1].archive == second.id.hex()
    assert (rows[0].files, rows[0].directories, rows[0].others) == (4, 2, 2)
    assert rows[0].bytes_in == 3 + 3 + 9
    assert rows[0].bytes_stored == sum(
        (store.chunks / chunk.name).stat().st_size
        for chunk in store.catalog.map.chunks(bytes.fromhex(rows[0].archive))
    )
    assert (rows[0].host, rows[0].user, rows[0].sources) == ("h", "u", ("/src",))
    assert rows[0].created_ns < rows[0].completed_ns


def test_each_file_is_listed_once_and_no_chunk_is_read(store):
    shutil.rmtree(store.chunks)
    found = [entry.path for entry in entries(store)]

    assert found == [
        b"src", b"src/a", b"src/a/one", b"src/ab", b"src/big", b"src/c", b"src/d", b"src/e",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"src/a", [b"src/a", b"src/a/one"]),
        (b"/src/a/", [b"src/a", b"src/a/one"]),
        (b"src/ab", [b"src/ab"]),
        (b"sr", []),
    ],
)
def test_a_prefix_is_compared_by_components(store, prefix, expected):
    assert [entry.path for entry in entries(store, None, prefix)] == expected


@pytest.mark.parametrize(
    ("paths", "blocks"),
    [
        ([], {0, 1, 3, 4, 6}),
        ([b"src"], {0, 1, 3, 4, 6}),
        ([b"src/ab"], {0, 1}),
        ([b"src/big"], {0, 1, 3, 4}),
        ([b"src/a"], {0}),
        ([b"src/d"], {0, 6}),
        ([b"src/e"], {0, 6}),
        ([b"other"], set()),
    ],
)
def test_the_blocks_of_a_path_are_found(store, paths, blocks):
    found = blocks_of(store, "test", paths)

    assert {number for one in found for number in one} == blocks
    assert all(a.stop < b.start for a, b in pairwise(found))


def test_a_hard_link_brings_the_blocks_of_its_first_name(store):
    tables = [
        [file(b"t/a", flags=EntryFlag.LINKED | EntryFlag.MORE, extents=((0, 1),))],
        [file(b"t/a", flags=EntryFlag.LINKED | EntryFlag.CONTINUES, extents=((1, 2),))],
        [file(b"t/b")],
        [link(b"t/z", b"t/a")],
    ]
    backup_without_a_pipe(store, tables)

    assert blocks_of(store, None, [b"t/z"]) == [range(2), range(4, 5)]


def test_the_info_needs_no_passphrase(store):
    with Store.open(store.path) as opened:
        found = info(opened)

    assert (found.archives, found.incomplete, found.chunks) == (1, 0, 3)
    assert found.bytes_stored == sum(one.stat().st_size for one in store.chunks.iterdir())
    assert (found.cipher, found.store) == (store.cipher, store.id.hex())
    assert found.bytes_free > 0


def test_no_name_is_in_clear_in_an_encrypted_catalog(store):
    store.close()
    data = b"".join(one.read_bytes() for one in store.path.rglob("*") if one.is_file())
    clear = [word for word in (b"src/ab", b"src", b"test") if word in data]

    assert bool(clear) == (store.cipher == "none")


def test_an_encrypted_archive_is_not_listed_without_the_passphrase(store):
    with Store.open(store.path) as opened:
        if opened.cipher == "none":
            assert len(archives(opened)) == 1
        else:
            with pytest.raises(PassphraseError):
                archives(opened)
            with pytest.raises(PassphraseError):
                list(entries(opened, store.find().id.hex()))


def test_what_is_not_there_is_said(store):
    with pytest.raises(ArchiveMissingError):
        list(entries(store, "nothing"))


def test_one_damaged_label_hides_no_other_archive(store):
    bad = store.new_archive(store.label(store.find()))
    record = type(bad.record())(
        id=bad.id, created_ns=1, label=b"garbage" * 9, wrapped_key=bad.wrapped_key
    )
    store.catalog.map.begin(record)
    store.catalog.map.complete(bad.id, completed_ns=2, facts=record.facts)

    assert [(row.name, row.is_damaged) for row in archives(store)] == [("", True), ("test", False)]


def test_any_bit_of_a_page_that_is_flipped_is_noticed(store):
    record = store.find()
    key = store.archive_key(record)
    page = next(store.catalog.index.pages(record.id)).record
    _, whole = open_record(memoryview(page), key=key, archive=record.id)
    for bit in range(0, len(page) * 8, 3):
        data = bytearray(page)
        data[bit // 8] ^= 1 << bit % 8
        try:
            _, payload = open_record(memoryview(data), key=key, archive=record.id)
        except (FormatError, SealError):
            continue
        # Only a seal covers what nothing else does.
        assert payload == whole


def test_a_page_of_another_archive_does_not_open(store):
    if store.cipher == "none":
        pytest.skip("nothing binds a block to its archive without a key")
    first = store.find()
    second = backup_without_a_pipe(store, TABLES)
    page = next(store.catalog.index.pages(first.id)).record
    with pytest.raises(SealError):
        open_record(memoryview(page), key=store.archive_key(first), archive=second.id)
    with pytest.raises(PassphraseError):
        open_record(memoryview(page), key=b"", archive=first.id)


def test_an_unknown_transform_is_refused():
    tag = TagHeader(kind=2, block=0, length=4, plain=4)
    out = bytearray(4096)
    for step in (Transform(id=999, length=4), Transform(id=1, length=2**31)):
        size = replace(tag, transforms=(step,)).encode_into(memoryview(out))
        with pytest.raises(FormatError):
            open_record(memoryview(bytes(out[:size]) + b"abcd"), key=b"", archive=b"a" * 16)
