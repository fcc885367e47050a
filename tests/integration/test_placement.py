"""Rules of a store, or of a file, decide how the blocks of real backups are kept."""

import os

import pytest

from datamover.files.listing import index_tables
from datamover.files.table import decode_entries
from datamover.mover.backup import BackupSettings, backup
from datamover.mover.listing import _index
from datamover.mover.report import Silent
from datamover.mover.restore import RestoreSettings, restore
from datamover.mover.store import Store, create_store
from datamover.mover.verify import verify
from datamover.testing.trees import assert_same_tree
from datamover.wire.stream import BlockFound, StreamReader
from datamover.wire.tag import TransformId

pytestmark = pytest.mark.processes

WORDS = b"".join(b"%d words of a text that shrinks\n" % n for n in range(3000))
PNG = b"\x89PNG\r\n\x1a\n"
RULES = """
[[rule]]
name = "pictures"
content = "image/*"
codec = "none"
[[rule]]
name = "texts"
content = "text/*"
codec = "zstd-9"
[[rule]]
name = "weekly"
archive = "weekly*"
chunk_size = "1MiB"
cipher = "chacha20-poly1305"
[default]
codec = "lz4"
"""
PASSPHRASE = b"correct horse"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "src"
    (root / "deep").mkdir(parents=True)
    for name, data in {
        "a.txt": WORDS,
        "b.png": PNG + WORDS,
        "deep/c.txt": PNG + WORDS,
        "deep/d": WORDS * 30,
        "e.bin": b"\0" * 100_000,
        "f.png": PNG * 400_000,
        "empty": b"",
    }.items():
        (root / name).write_bytes(data)
    (root / "link").symlink_to("a.txt")
    return root


@pytest.fixture
def store(tmp_path):
    create_store(tmp_path / "store", passphrase=PASSPHRASE, cipher="aes-256-gcm")
    (tmp_path / "store" / "placement.toml").write_text(RULES)
    with Store.open(tmp_path / "store", lambda: PASSPHRASE) as opened:
        yield opened


def tags(store, archive):
    """All tags of an archive, as they lie in its chunk files."""
    for chunk in store.depot.chunks(archive):
        data = memoryview((store.chunks / chunk.name).read_bytes())
        reader = StreamReader()
        while not reader.is_complete:
            for event in reader.take(data[reader.position :]):
                if isinstance(event, BlockFound):
                    yield event.tag


def kept(store, name):
    """What was done to the data of each file of the newest archive of that name."""
    record = store.find(name)
    done = {tag.block: tag.transforms for tag in tags(store, record.id)}
    found = {}
    for payload in _index(store, record):
        for block, table in index_tables(payload):
            for entry in decode_entries(table):
                if entry.extents:
                    codecs = [
                        (step.id, step.parameter)
                        for step in done[block]
                        if step.id < TransformId.AES_256_GCM
                    ]
                    found.setdefault(os.fsdecode(entry.path), []).extend(codecs)
    return {path: sorted(set(codecs)) for path, codecs in found.items()}


def test_each_file_is_kept_as_the_stores_rules_say_and_comes_back(store, source, tmp_path):
    backup(store, [str(source)], BackupSettings(name="first"), Silent())
    restore(store, "first", [], str(tmp_path / "back"), RestoreSettings(), Silent())

    zstd9, lz4 = [(TransformId.ZSTD, 9)], [(TransformId.LZ4, 1)]
    assert kept(store, "first") == {
        "src/a.txt": zstd9,
        "src/b.png": [],
        "src/deep/c.txt": [],
        "src/deep/d": zstd9,
        "src/e.bin": lz4,
        "src/f.png": [],
    }
    assert_same_tree(source, tmp_path / "back" / "src")


def test_what_rules_say_of_an_archive_holds_for_that_one_alone(store, source):
    backup(store, [str(source)], BackupSettings(name="daily"), Silent())
    backup(store, [str(source)], BackupSettings(name="weekly 3"), Silent())
    daily, weekly = store.find("daily"), store.find("weekly 3")
    ciphers = {
        name: {tag.transforms[-1].id for tag in tags(store, record.id)}
        for name, record in (("daily", daily), ("weekly", weekly))
    }

    assert len(store.depot.chunks(daily.id)) == 1
    assert len(store.depot.chunks(weekly.id)) > 2
    assert ciphers == {
        "daily": {TransformId.AES_256_GCM},
        "weekly": {TransformId.CHACHA20_POLY1305},
    }
    assert not verify(store, None, Silent()).notices


def test_the_command_is_before_the_rules(store, source):
    settings = BackupSettings(name="weekly", codec="gzip-1", chunk_size=64 << 20)
    backup(store, [str(source)], settings, Silent())

    assert {tuple(codecs) for codecs in kept(store, "weekly").values()} <= {
        ((TransformId.GZIP, 1),),
        (),
    }
    assert kept(store, "weekly")["src/b.png"] == [(TransformId.GZIP, 1)]
    assert len(store.depot.chunks(store.find("weekly").id)) == 1
