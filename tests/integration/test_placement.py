"""Rules of a store, or of a file, decide how the blocks of real backups are kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

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

ROOT = Path(__file__).parents[2]

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


def datamover(*arguments):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DATAMOVER_")}
    return subprocess.run(
        [sys.executable, "-m", "datamover", *map(str, arguments)],
        env=kept | {"PYTHONPATH": str(ROOT / "src"), "DATAMOVER_PASSPHRASE": PASSPHRASE.decode()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_a_file_of_rules_is_checked(store, tmp_path):
    checked = datamover("placement", "check", store.path)
    (tmp_path / "wrong").write_text(RULES + "media = ['tape']\n")
    refused = datamover("placement", "check", tmp_path / "wrong")
    lines = [line.split("\t") for line in checked.stdout.splitlines()]

    assert lines[0] == ["2", "pictures", "content image/*", "codec none"]
    assert lines[-1] == ["15", "default", "everything", "codec lz4-1"]
    assert refused.returncode == 64
    assert f"{tmp_path}/wrong:17: media cannot be followed" in refused.stderr


def test_what_a_backup_would_do_is_explained_and_is_what_it_does(store, source):
    told = datamover(
        "placement", "explain", source, "--to", store.path, "--name", "weekly 1", "--json"
    )
    backup(store, [str(source)], BackupSettings(name="weekly 1"), Silent())
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    said = {row["path"]: row["value"] for row in rows if row["key"] == "codec"}
    names = {"none": [], "zstd-9": [(TransformId.ZSTD, 9)], "lz4-1": [(TransformId.LZ4, 1)]}

    assert told.returncode == 0, told.stderr
    assert {(row["key"], row["value"], row["by"]) for row in rows if row["path"] is None} == {
        ("chunk_size", "1MiB", "weekly"),
        ("cipher", "chacha20-poly1305", "weekly"),
    }
    assert {
        path.removeprefix(str(source.parent) + "/"): names[codec] for path, codec in said.items()
    } == kept(store, "weekly 1")
    assert {row["why"] for row in rows if row["by"] == "pictures"} == {
        "content image/png fits image/*"
    }


def test_a_file_of_rules_takes_the_place_of_the_stores(store, source, tmp_path):
    (tmp_path / "other").write_text("[default]\ncodec = 'gzip-2'\n")
    saved = datamover(
        "backup", source, "--to", store.path, "--rules", tmp_path / "other", "--name", "other"
    )
    (store.path / "placement.toml").write_text("[[rule]]\ncodec = 'brotli'\n")
    refused = datamover("backup", source, "--to", store.path)

    assert saved.returncode == 0, saved.stderr
    assert kept(store, "other")["src/b.png"] == [(TransformId.GZIP, 2)]
    assert refused.returncode == 64
    assert "placement.toml:2: codec: no codec 'brotli'" in refused.stderr
