"""Every single bit of a stored chunk flipped: found, located, and all other blocks come through.

The chunk is a real one, of a real backup: encrypted, of several blocks with several files each.
All of its bits are flipped below the stage that reads chunks; some of them below whole commands.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from datamover.catalog.rows import ArchiveRecord, ChunkRecord
from datamover.media.directory import DirectoryMedium
from datamover.mover.restore import RestoreSettings, restore
from datamover.mover.store import Store
from datamover.stages.chunk_reader import ChunkReader
from datamover.stages.head import load
from datamover.testing.port import ScriptedPort
from datamover.testing.program import Program

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.slow]


@dataclass(frozen=True)
class Small:
    """A store whose only archive is one chunk of a few KiB."""

    source: Path
    store: Path
    record: ArchiveRecord
    chunk: ChunkRecord

    @property
    def path(self):
        return self.store / "chunks" / self.chunk.name

    def load(self):
        """Read the chunk as a pipe's head does."""
        port = ScriptedPort(buffer_size=8192, buffers=2)
        first, after = self.chunk.first_block, self.chunk.first_block + self.chunk.blocks
        settings = load.Settings(
            directory=str(self.store),
            archive=self.record.id.hex(),
            chunks=(self.chunk.name,),
            extents=((first, after),),
        )
        load.run(port, settings)
        assert port.held == 0
        return port

    def places(self):
        """Where the bytes of each block lie."""
        with DirectoryMedium(self.store) as medium, medium.open(self.chunk.name) as reader:
            found = ChunkReader(
                reader,
                archive=self.record.id,
                chunk=self.chunk.number,
                extent=None,
                lost=pytest.fail,
                dented=pytest.fail,
            ).entries()
            return {e.block: range(e.offset, e.offset + e.header + e.length) for e in found}


@pytest.fixture(scope="module")
def small(tmp_path_factory, make_store):
    """Files that are long to fill several blocks, and compress to next to nothing."""
    root = tmp_path_factory.mktemp("small")
    source, store = root / "source", make_store(root / "store")
    source.mkdir()
    for number in range(12):
        (source / f"long-{number}").write_bytes(b"%d" % number * 600_000)
        (source / f"short-{number}").write_bytes(b"short %d" % number)
    Program().backup(source, store).check(0)
    with Store.open(store, lambda: b"correct") as opened:
        record = opened.find()
        (chunk,) = opened.catalog.map.chunks(record.id)
    small = Small(source, store, record, chunk)
    assert chunk.blocks >= 5
    assert small.path.stat().st_size < 8192
    return small


@pytest.fixture
def file(small):
    """The chunk file, as it was again at the end."""
    whole = small.path.read_bytes()
    descriptor = os.open(small.path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.pwrite(descriptor, whole, 0)
        os.close(descriptor)


def flip(file, bit):
    """Flip one bit; again, and it is as it was."""
    (byte,) = os.pread(file, 1, bit // 8)
    os.pwrite(file, bytes([byte ^ 1 << bit % 8]), bit // 8)


def mistakes(port, small, bit, places, whole):
    """What was not said of a flipped bit, or lost without need."""
    told = [notice.facts for notice in port.notices]
    size = small.path.stat().st_size
    lost = [facts["block"] for facts in told if "block" in facts]
    if not told:
        yield "not found"
    for facts in told:
        if small.chunk.name not in {facts.get("chunk"), facts.get("name")}:
            yield f"another chunk is named: {facts}"
        if not 0 <= facts.get("offset", -1) <= size:
            yield f"not located: {facts}"
        if "block" in facts and facts["offset"] != places[facts["block"]].start:
            yield f"not where the block is: {facts}"
    if lost != [block for block, place in places.items() if bit // 8 in place]:
        yield f"blocks {lost} lost"
    if [(out.tag, out.payload) for out in port.outputs] != [
        (out.tag, out.payload) for out in whole if out.tag.block not in lost
    ]:
        yield "other blocks changed"


@pytest.mark.timeout(300)
def test_every_bit_of_a_chunk_is_guarded(small, file):
    places, whole = small.places(), small.load().outputs
    assert [out.tag.block for out in whole] == list(places)
    wrong = []
    for bit in range(small.path.stat().st_size * 8):
        flip(file, bit)
        wrong += [f"bit {bit}: {one}" for one in mistakes(small.load(), small, bit, places, whole)]
        flip(file, bit)

    assert wrong == []
    assert small.load().notices == []


def restored(store, into, told):
    with Store.open(store, lambda: b"correct") as opened:
        restore(opened, None, (), str(into), RestoreSettings(sync=False), told)
    return {path.name: path.read_bytes() for path in (into / "source").iterdir()}


def test_a_flipped_bit_costs_the_files_that_are_named(small, file, verified, heard, tmp_path):
    """The whole job, in one process: what is read, undone, looked up in the index, written."""
    expected = {path.name: path.read_bytes() for path in small.source.iterdir()}
    size = small.path.stat().st_size * 8
    costly = 0
    for bit in range(0, size, size // 60):
        flip(file, bit)
        damage, told = verified(small.store), heard()
        found = restored(small.store, tmp_path / str(bit), told)
        flip(file, bit)
        named = {
            os.path.basename(name)
            for one in damage
            for name in str(one.get("paths", "")).split(", ")
        }
        different = {name for name in expected if found.get(name) != expected[name]}
        costly += bool(different)

        assert damage, bit
        assert {one.get("chunk") or one.get("name") for one in damage} == {small.chunk.name}, bit
        assert different <= named, bit
        assert told.damage or not different, bit
    assert costly
