"""What is learned from a block table is what a walk over every block finds."""

from __future__ import annotations

import os

import pytest

from datamover.files.entry import Entry, Kind
from datamover.mover import chunk_file
from datamover.mover.chunk_file import ChunkFile
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import make_blocks, make_label, write_chunks
from datamover.wire.chunk import decode_table

BLOCKS = 40
PER_CHUNK = 25


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The chunk files of an archive: 25 blocks, and the rest with the archive's end."""
    path = tmp_path_factory.mktemp("stores") / "s"
    create_store(path, passphrase=None, cipher="none")
    tables = [
        [Entry(b"f%03d" % n, Kind.FILE, 0o100644, size=3, extents=((0, 3),))] for n in range(BLOCKS)
    ]
    with Store.open(path) as store:
        names = write_chunks(
            store, store.new_archive(make_label()), make_blocks(tables), per_chunk=PER_CHUNK
        )
        return [store.chunks / name for name in names]


@pytest.fixture
def reads(monkeypatch):
    """How many times a file is read."""
    found = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *given: found.append(given) or pread(*given))
    return found


def test_the_table_says_what_the_walk_finds(files):
    for path in files:
        by_table = ChunkFile.survey(path, by_table=True)

        assert by_table == ChunkFile.survey(path)
        assert by_table.damage is None
        assert by_table.pages


def test_a_block_costs_no_read_where_the_table_is_believed(files, reads):
    assert ChunkFile.survey(files[0], by_table=True).blocks == PER_CHUNK
    assert len(reads) < PER_CHUNK


@pytest.mark.parametrize("magic", [b"DMsh", b"DMah", b"DMch", b"DMcf", b"DMaf", b"DMsf"])
def test_damage_beside_the_blocks_is_seen_as_a_walk_sees_it(magic, files, tmp_path):
    data = bytearray(files[-1].read_bytes())
    data[data.rindex(magic) + 18] ^= 1
    path = tmp_path / files[-1].name
    path.write_bytes(data)
    by_table = ChunkFile.survey(path, by_table=True)

    assert repr(by_table) == repr(ChunkFile.survey(path))
    assert by_table.damage is not None


def test_a_damaged_table_is_not_believed(files, tmp_path):
    data = bytearray(files[-1].read_bytes())
    data[data.rindex(b"DMaf") - 5] ^= 1
    path = tmp_path / files[-1].name
    path.write_bytes(data)

    assert ChunkFile.survey(path, by_table=True) == ChunkFile.survey(files[-1])


@pytest.mark.parametrize("lost", [0, 3, -1])
def test_a_table_that_leaves_a_block_out_is_not_believed(lost, files, monkeypatch):
    """All its checksums hold; that its blocks do not lie side by side gives it away."""
    whole = ChunkFile.survey(files[0])
    monkeypatch.setattr(chunk_file, "decode_table", lambda *given: _without(lost, *given))

    assert ChunkFile.survey(files[0], by_table=True) == whole


def _without(lost, footer, data):
    table = decode_table(footer, data)
    del table[lost]
    return table
