"""What somebody without the key puts among the blocks of an encrypted store is never restored."""

import pytest

from datamover.errors import SealError
from datamover.files.entry import Entry, Kind
from datamover.ids import ArchiveId, BlockNumber
from datamover.mover.open_block import open_record
from datamover.mover.report import Silent
from datamover.mover.restore import RestoreSettings, restore
from datamover.mover.store import NewArchive, Store, create_store
from datamover.mover.verify import verify
from datamover.testing.chunks import backup_without_a_pipe, make_blocks, write_chunks
from datamover.units import Bytes
from datamover.wire.tag import TagHeader, TagKind

pytestmark = [pytest.mark.faults, pytest.mark.processes]

PASSPHRASE = b"correct horse"
FORGED = [[Entry(b"src/forged", Kind.FILE, 0o100644, size=5, extents=((0, 5),))]]


def table(number):
    name = b"src/%d" % number
    return [Entry(name, Kind.FILE, 0o100644, size=5, extents=((0, 5),))]


@pytest.fixture
def store(tmp_path):
    create_store(tmp_path / "store", passphrase=PASSPHRASE, cipher="aes-256-gcm")
    with Store.open(tmp_path / "store", lambda: PASSPHRASE) as opened:
        yield opened


class Notices(Silent):
    def __init__(self):
        self.kinds = []

    def notice(self, notice):
        self.kinds.append((notice.kind, notice.given.get("reason")))


def forge(store, archive, chunk, blocks):
    """Put blocks without a seal in the place of a chunk, under its name and its archive's id."""
    keyless = NewArchive(
        id=archive.id,
        created_ns=archive.created_ns,
        cipher=0,
        key=b"",
        wrapped_key=archive.wrapped_key,
        label=archive.label,
    )
    path = store.chunks / chunk
    path.chmod(0o600)
    kept = path.read_bytes()
    path.unlink()
    write_chunks(store, keyless, blocks, per_chunk=len(blocks))
    assert path.read_bytes() != kept


def test_a_forged_block_is_damage_and_not_a_file(store, tmp_path):
    archive = backup_without_a_pipe(store, [table(0), table(1)], per_chunk=10)
    [chunk] = store.depot.chunks(archive.id)
    forge(store, archive, chunk.name, make_blocks([*FORGED, table(1)]))
    watch = Notices()
    restore(store, None, [], str(tmp_path / "back"), RestoreSettings(sync=False), watch)
    checked = verify(store, None, Silent())

    assert list((tmp_path / "back").rglob("*")) == []
    assert any("not sealed" in str(reason) for _, reason in watch.kinds)
    assert checked.notices


def test_a_forged_record_of_the_index_is_not_opened():
    payload = b"any"
    tag = TagHeader(kind=TagKind.INDEX, block=BlockNumber(1), length=Bytes(3), plain=Bytes(3))
    head = memoryview(bytearray(4096))
    record = memoryview(bytes(head[: tag.encode_into(head)]) + payload)

    assert open_record(record, key=b"", archive=ArchiveId(bytes(16)))[1] == payload
    with pytest.raises(SealError, match="block 1"):
        open_record(record, key=bytes(32), archive=ArchiveId(bytes(16)))
