"""What is stored is loaded; what is damaged is named, and everything else comes back."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from datamover.errors import MediumFullError, StopRequestedError, StoreError, UsageError
from datamover.ids import ArchiveId, BlockNumber
from datamover.media.directory import DirectoryMedium
from datamover.media.naming import chunk_name
from datamover.media.tape.virtual_library import create_library
from datamover.shm.statistics import Wait
from datamover.stages.head import load
from datamover.stages.tail import store
from datamover.testing.media import FailingMedium
from datamover.testing.port import ScriptedPort
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveHeader
from datamover.wire.chunk import ChunkFooter, decode_table, encode_table
from datamover.wire.crc import crc32c
from datamover.wire.stream import ArchiveEnded, BlockFound, StreamReader
from datamover.wire.tag import Extension, TagFlag, TagHeader, TagKind, Transform

ARCHIVE = ArchiveId(bytes(range(16)))
HEADER = ArchiveHeader(
    archive=ARCHIVE,
    created_ns=Nanoseconds(5),
    block_size=Bytes(4096),
    wrapped_key=b"key",
    label=b"label",
)


def block(number: int, payload: bytes, kind: int = TagKind.DATA) -> tuple[TagHeader, bytes]:
    tag = TagHeader(
        kind=kind,
        block=BlockNumber(number),
        length=Bytes(len(payload)),
        plain=Bytes(2 * len(payload)),
        flags=TagFlag.GROUPED,
        offset=number * 1000,
        transforms=(Transform(id=1, parameter=1, length=Bytes(2 * len(payload))),),
        public=(Extension(id=2, value=b"k\0v"),),
    )
    return tag, payload


BLOCKS = [
    block(n, bytes([n]) * (300 + n), TagKind.INDEX if n == 4 else TagKind.DATA) for n in range(10)
]


def do_store(path, blocks=BLOCKS, *, chunk_size=1500, **settings) -> ScriptedPort:
    port = ScriptedPort(blocks)
    archive = HEADER.encode().hex()
    store.run(
        port,
        store.Settings(directory=str(path), archive=archive, chunk_size=chunk_size, **settings),
    )
    return port


def do_load(path, names, *, instance=0, instances=1, **settings) -> ScriptedPort:
    port = ScriptedPort(instance=instance, instances=instances)
    given = {"directory": str(path), "archive": ARCHIVE.hex()} | settings
    load.run(port, load.Settings(chunks=tuple(names), **given))
    assert port.held == 0
    return port


def names_in(path) -> list[str]:
    return sorted(os.listdir(path / "chunks"))


def loaded(port) -> list[tuple[int, bytes]]:
    return [(out.tag.block, out.payload) for out in port.outputs]


WHOLE = [(tag.block, payload) for tag, payload in BLOCKS]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    do_store(path)
    return path


def test_what_is_stored_is_loaded(stored):
    port = do_load(stored, names_in(stored))

    assert loaded(port) == WHOLE
    assert port.notices == []
    assert port.results == {"blocks": 10, "bytes": sum(len(p) for _, p in BLOCKS)}


def test_a_tag_comes_back_as_it_was(stored):
    tag = do_load(stored, names_in(stored)).outputs[7].tag
    given = BLOCKS[7][0]

    assert tag.associated(ARCHIVE, 0) == given.associated(ARCHIVE, 0)
    assert (tag.length, tag.transforms, tag.private) == (
        given.length,
        given.transforms,
        given.private,
    )


def test_each_durable_chunk_is_told_with_its_pages(tmp_path):
    port = do_store(tmp_path)
    chunks = port.noticed("chunk")
    page = port.noticed("page")[0]
    record = (tmp_path / "chunks" / chunks[page["chunk"]]["name"]).read_bytes()[page["offset"] :]

    assert [c["name"] for c in chunks] == names_in(tmp_path)
    assert [c["number"] for c in chunks] == list(range(len(chunks)))
    assert chunks[0]["first_block"] == 0
    assert sum(c["blocks"] for c in chunks) == 10
    assert all(os.stat(tmp_path / "chunks" / c["name"]).st_size == c["length"] for c in chunks)
    assert (page["block"], page["tag_kind"]) == (4, TagKind.INDEX)
    assert TagHeader.decode(memoryview(record)).block == 4
    assert record[page["header"] :][: page["length"]] == BLOCKS[4][1]
    assert port.results == {
        "bytes_stored": sum(c["length"] for c in chunks),
        "chunks": len(chunks),
        "blocks": 10,
        "plain": sum(t.plain for t, _ in BLOCKS),
    }
    assert Wait.OUTPUT in port.waits
    assert (port.held, port.freed) == (0, 10)


def test_chunks_keep_to_their_size_unless_one_block_alone_is_longer(tmp_path):
    do_store(tmp_path, [*BLOCKS[:3], block(3, b"x" * 4000), block(4, b"y")])
    sizes = [os.stat(tmp_path / "chunks" / n).st_size for n in names_in(tmp_path)]

    assert sum(size > 1500 for size in sizes) == 1
    assert len(sizes) == 4


def test_every_chunk_is_a_whole_session_and_the_last_ends_the_archive(stored):
    footers = []
    for number, name in enumerate(names_in(stored)):
        data = memoryview((stored / "chunks" / name).read_bytes())
        reader = StreamReader()
        events = []
        while not reader.is_complete:
            here = data[reader.position :]
            events += reader.take(here[: reader.header_length(here)])
        assert reader.position == len(data)
        assert {e.tag.chunk for e in events if isinstance(e, BlockFound)} == {number}
        footers += [e.footer for e in events if isinstance(e, ArchiveEnded)]

    assert footers[:-1] == [None] * (len(footers) - 1)
    assert (footers[-1].chunks, footers[-1].blocks) == (len(footers), 10)
    assert footers[-1].complete


def test_an_archive_without_blocks_is_complete_too(tmp_path):
    port = do_store(tmp_path, [])

    assert port.results["chunks"] == 1
    assert do_load(tmp_path, names_in(tmp_path)).notices == []


def test_a_buffer_without_a_tag_is_stored_as_raw(tmp_path):
    do_store(tmp_path, [(None, b"raw one"), (None, b"raw two")])
    port = do_load(tmp_path, names_in(tmp_path))

    assert loaded(port) == [(0, b"raw one"), (1, b"raw two")]
    assert {out.tag.kind for out in port.outputs} == {TagKind.RAW}


@pytest.mark.parametrize("plan", ["F", "T", ".F", "...F", "...........F", "E", "......E"])
def test_a_medium_that_fails_keeps_no_torn_chunk(tmp_path, monkeypatch, plan):
    with DirectoryMedium(tmp_path) as inner:

        class Failing(FailingMedium):
            def __init__(self, *_where):
                super().__init__(inner, plan)

        monkeypatch.setattr(store, "chunk_medium", Failing)
        with pytest.raises((MediumFullError, StoreError)):
            do_store(tmp_path)
        names = list(inner.names())

        assert inner.clean() == []
    whole = do_load(tmp_path, names)
    assert loaded(whole) == WHOLE[: len(whole.outputs)]
    assert whole.notices == []


def test_a_stop_leaves_whole_chunks_only(tmp_path):
    port = ScriptedPort(BLOCKS, stop_after=6)
    settings = store.Settings(
        directory=str(tmp_path), archive=HEADER.encode().hex(), chunk_size=1500
    )
    with pytest.raises(StopRequestedError):
        store.run(port, settings)

    assert os.listdir(tmp_path / "tmp") == []
    assert do_load(tmp_path, names_in(tmp_path)).notices == []


def test_ranges_pick_blocks_across_chunks(stored):
    port = do_load(stored, names_in(stored), ranges=((2, 4), (3, 5), (9, 50)))

    assert [number for number, _ in loaded(port)] == [2, 3, 4, 9]


@pytest.mark.parametrize("instances", [2, 3, 16])
def test_instances_share_the_blocks_and_number_them_densely(stored, instances):
    ports = [
        do_load(stored, names_in(stored), instance=i, instances=instances, ranges=((1, 10),))
        for i in range(instances)
    ]
    sent = sorted(
        (out.sequence, out.tag.block, out.payload) for port in ports for out in port.outputs
    )

    assert [s for s, _, _ in sent] == list(range(9))
    assert [(b, p) for _, b, p in sent] == WHOLE[1:]


def test_a_missing_chunk_is_told_once_and_the_rest_is_loaded(tmp_path):
    chunks = do_store(tmp_path).noticed("chunk")
    names = names_in(tmp_path)
    os.unlink(tmp_path / "chunks" / names[1])
    ports = [do_load(tmp_path, names, instance=i, instances=2) for i in range(2)]
    lost = range(chunks[1]["first_block"], chunks[1]["first_block"] + chunks[1]["blocks"])

    assert [port.noticed("missing") for port in ports] == [[{"chunk": names[1]}], []]
    assert sorted(b for port in ports for b, _ in loaded(port)) == [
        n for n in range(10) if n not in lost
    ]


def test_a_damaged_block_keeps_its_place_among_instances(tmp_path):
    do_store(tmp_path)
    flip_payload(tmp_path, 3)
    ports = [do_load(tmp_path, names_in(tmp_path), instance=i, instances=2) for i in range(2)]
    by_number = {out.sequence: out for port in ports for out in port.outputs}

    assert sorted(by_number) == list(range(10))
    assert (by_number[3].tag.kind, by_number[3].payload) == (TagKind.LOST, b"")
    assert [n["block"] for port in ports for n in port.noticed("damaged")] == [3]


def flip_payload(path, number: int) -> None:
    for name in names_in(path):
        data = bytearray((path / "chunks" / name).read_bytes())
        at = data.find(BLOCKS[number][1])
        if at >= 0:
            data[at + 5] ^= 8
            (path / "chunks" / name).write_bytes(data)


def test_every_flipped_bit_is_found_and_costs_one_block_at_most(tmp_path):
    blocks = [block(n, bytes([65 + n]) * 8) for n in range(3)]
    do_store(tmp_path, blocks)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    whole = path.read_bytes()
    for bit in range(0, len(whole) * 8, 3):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        port = do_load(tmp_path, [path.name])
        told = {n.get("block") for n in port.noticed("damaged")} - {None}

        assert port.noticed("damaged"), bit
        assert len(port.outputs) == 3 - len(told) >= 2, bit
        assert all(p == blocks[b][1] for b, p in loaded(port)), bit


@pytest.mark.parametrize("cut", [1, 60, 200, 500, 1000])
def test_a_cut_chunk_gives_what_is_left_of_it(tmp_path, cut):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-cut])
    port = do_load(tmp_path, [path.name])

    assert loaded(port) == WHOLE[: len(port.outputs)]
    assert port.noticed("damaged")


def test_damage_at_both_ends_still_names_the_block_between(tmp_path):
    """Block table and a tag are hit: the walk misses the tag, and its number is a gap."""
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[data.find(b"DMcf") + 20] ^= 1
    tag = data.find(b"DMtg", data.find(b"DMtg") + 1)
    data[tag + 17] ^= 1
    path.write_bytes(data)
    port = do_load(tmp_path, [path.name])

    assert [b for b, _ in loaded(port)] == [0, 2]
    assert [n["block"] for n in port.noticed("damaged") if "block" in n] == [1]


def test_the_last_block_of_a_damaged_chunk_is_named_too(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[data.find(b"DMcf") + 20] ^= 1
    data[data.rfind(b"DMtg") + 17] ^= 1
    path.write_bytes(data)
    port = do_load(tmp_path, [path.name])

    assert [b for b, _ in loaded(port)] == [0, 1]
    assert [n["block"] for n in port.noticed("damaged") if "block" in n] == [2]


def harmed(path, keep=lambda data: bytes(len(data))) -> str:
    name = names_in(path)[0]
    data = (path / "chunks" / name).read_bytes()
    (path / "chunks" / name).write_bytes(keep(data))
    return name


@pytest.mark.parametrize("keep", [lambda data: bytes(len(data)), lambda _: b"", lambda d: d[:90]])
def test_a_chunk_that_is_beyond_reading_is_told_as_a_whole(tmp_path, keep):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    name = harmed(tmp_path, keep)
    port = do_load(tmp_path, [name])

    assert port.outputs == []
    assert [n for n in port.noticed("damaged") if "chunk" in n and "block" not in n]


def test_with_the_storage_map_each_block_that_is_lost_is_named(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    name = harmed(tmp_path)
    port = do_load(tmp_path, [name], extents=((0, 3),))

    assert [n["block"] for n in port.noticed("damaged") if "chunk" in n] == [0, 1, 2]


def test_without_its_session_footer_a_chunk_is_read_by_its_table(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    name = harmed(tmp_path, lambda data: data[:-30])
    port = do_load(tmp_path, [name])

    assert loaded(port) == WHOLE[:3]
    assert [set(n) for n in port.noticed("damaged")] == [{"name", "offset", "reason"}]


def test_extents_that_do_not_fit_are_refused(stored):
    with pytest.raises(UsageError):
        do_load(stored, names_in(stored), extents=((0, 3),))


def test_a_chunk_that_cannot_be_opened_is_told(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    name = names_in(tmp_path)[0]
    os.rename(tmp_path / "chunks" / name, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "chunks" / name)
    port = do_load(tmp_path, [name])

    assert [n["chunk"] for n in port.noticed("damaged")] == [name]


def test_a_chunk_of_another_archive_is_not_taken(stored):
    port = ScriptedPort()
    other = "ff" * 16
    name = chunk_name(bytes.fromhex(other), 0)
    os.link(stored / "chunks" / names_in(stored)[0], stored / "chunks" / name)
    load.run(port, load.Settings(directory=str(stored), archive=other, chunks=(name,)))
    os.unlink(stored / "chunks" / name)

    assert port.outputs == []
    assert port.noticed("damaged")


def test_a_block_longer_than_a_buffer_is_refused(tmp_path):
    do_store(tmp_path, [block(0, b"x" * 6000), block(1, b"y")])
    port = ScriptedPort(buffer_size=1024)
    settings = load.Settings(
        directory=str(tmp_path), archive=ARCHIVE.hex(), chunks=tuple(names_in(tmp_path))
    )
    load.run(port, settings)

    assert [n["block"] for n in port.noticed("damaged")] == [0]
    assert loaded(port) == [(1, b"y")]


def test_what_the_medium_cannot_read_is_told_and_the_rest_goes_on(stored, monkeypatch):
    real = os.preadv

    def preadv(file, views, offset):
        if len(views) == 2 and len(views[1]) == len(BLOCKS[2][1]):
            raise OSError(5, "Input/output error")
        return real(file, views, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    port = do_load(stored, names_in(stored))

    assert [n["block"] for n in port.noticed("damaged")] == [2]
    assert [b for b, _ in loaded(port)] == [n for n in range(10) if n != 2]


@pytest.mark.parametrize("name", ["../x", "a.dmc", "", f"{'0' * 32}-00000000.dmc.1"])
def test_a_name_that_is_no_chunk_is_refused(stored, name):
    with pytest.raises(UsageError):
        do_load(stored, [name])


def test_settings_that_are_no_hexadecimal_are_refused(stored, tmp_path):
    with pytest.raises(UsageError):
        do_load(stored, [], archive="zz")
    with pytest.raises(UsageError):
        do_store(tmp_path, store="zz")


def test_a_chunk_is_told_only_when_it_is_durable(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: (real(f), synced.append(os.fstat(f).st_ino)))

    class Watching(ScriptedPort):
        def notice(self, kind, **given):
            if kind == "chunk":
                found = os.stat(tmp_path / "chunks" / given["name"])
                assert found.st_ino in synced
            super().notice(kind, **given)

    port = Watching(BLOCKS)
    archive = HEADER.encode().hex()
    store.run(port, store.Settings(directory=str(tmp_path), archive=archive, chunk_size=1500))

    assert len(port.noticed("chunk")) > 3


def test_a_block_that_was_moved_to_another_place_is_not_taken(tmp_path):
    """Tag and payload are sound, but the line of the table led to another block."""
    blocks = [block(n, bytes([n]) * 50) for n in range(3)]
    do_store(tmp_path, blocks, chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    data = path.read_bytes()
    first, second = (data.find(b"DMtg"), data.find(b"DMtg", data.find(b"DMtg") + 1))
    size = second - first
    moved = data[:first] + data[second : second + size] * 2 + data[second + size :]
    path.write_bytes(moved)
    port = do_load(tmp_path, [path.name])

    assert [b for b, _ in loaded(port)] == [1, 2]
    assert [n["block"] for n in port.noticed("damaged")] == [0]


def test_chunks_are_told_while_the_stream_goes_on(tmp_path):
    class Watching(ScriptedPort):
        told = 0

        def free(self, buffer):
            self.told = len(self.noticed("chunk"))
            super().free(buffer)

    port = Watching([block(n, b"x" * 900) for n in range(20)])
    archive = HEADER.encode().hex()
    store.run(port, store.Settings(directory=str(tmp_path), archive=archive, chunk_size=1500))

    assert len(port.noticed("chunk")) == 20
    assert 15 <= port.told < 20


def forged(path, change) -> str:
    """Rewrite the block table of a chunk by ``change``, with checksums that fit."""
    name = names_in(path)[0]
    data = (path / "chunks" / name).read_bytes()
    at = data.rfind(ChunkFooter.MAGIC)
    footer = ChunkFooter.decode(memoryview(data)[at:])
    size = len(footer.encode())
    lines = decode_table(footer, memoryview(data)[at + size :])
    table = encode_table(change(lines))
    new = replace(footer, table_crc=crc32c(table))
    whole = data[:at] + new.encode() + table + data[at + size + len(table) :]
    (path / "chunks" / name).write_bytes(whole)
    return name


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0], lines[1]._replace(offset=lines[0].offset), lines[2]],
        lambda lines: [lines[0], lines[1]._replace(length=1 << 30), lines[2]],
        lambda lines: [lines[0], lines[1]._replace(offset=1 << 60), lines[2]],
        lambda lines: [lines[0], lines[1]._replace(header=1 << 20), lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0]] * 3,
    ],
)
def test_a_forged_table_is_not_followed(tmp_path, change):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    port = do_load(tmp_path, [forged(tmp_path, change)])

    assert loaded(port) == WHOLE[:3]
    assert ["table" in str(n["reason"]) for n in port.noticed("damaged")] == [True]


def test_a_block_that_comes_twice_in_a_walk_is_taken_once(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    data = path.read_bytes()
    first = data.find(b"DMtg")
    second = data.find(b"DMtg", first + 1)
    path.write_bytes(data[:second] + data[first:])
    port = do_load(tmp_path, [path.name])

    assert loaded(port) == WHOLE[:3]
    assert any("second time" in str(n["reason"]) for n in port.noticed("damaged"))


def test_a_block_that_was_cut_is_told_with_its_lengths(tmp_path):
    do_store(tmp_path, BLOCKS[:3], chunk_size=9999)
    path = tmp_path / "chunks" / names_in(tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"DMtg") + 200])
    port = do_load(tmp_path, [path.name])
    told = [n for n in port.noticed("damaged") if n.get("block") == 2]

    assert loaded(port) == WHOLE[:2]
    assert ["200 bytes" in str(n["reason"]) for n in told] == [True]


@pytest.mark.parametrize("places", [{}, {"directory": "/d", "medium": "file:///d"}])
def test_chunks_have_one_place(places):
    with pytest.raises(UsageError):
        store.run(ScriptedPort(), store.Settings(archive=HEADER.encode().hex(), **places))
    with pytest.raises(UsageError):
        load.run(ScriptedPort(), load.Settings(archive=ARCHIVE.hex(), **places))


def test_a_tape_has_one_reader(tmp_path):
    create_library(tmp_path / "robot", cartridges=1)
    address = f"vtape://{tmp_path}/robot"
    store.run(
        ScriptedPort(BLOCKS),
        store.Settings(medium=address, archive=HEADER.encode().hex(), chunk_size=1500),
    )
    settings = load.Settings(medium=address, listed=True)
    port = ScriptedPort()
    load.run(port, settings)
    with pytest.raises(UsageError, match="one reader"):
        load.run(ScriptedPort(instance=1, instances=2), settings)

    assert loaded(port) == WHOLE
    assert port.notices == []


def test_the_medium_itself_tells_the_names_of_an_archive(tmp_path):
    do_store(tmp_path)
    (tmp_path / "chunks" / "README").write_bytes(b"no chunk")
    (tmp_path / "chunks" / chunk_name(bytes(16), 0)).write_bytes(b"another archive's")
    port = ScriptedPort()
    load.run(port, load.Settings(medium=f"file://{tmp_path}", archive=ARCHIVE.hex(), listed=True))

    assert loaded(port) == WHOLE
    assert port.notices == []
