"""A store opens with its passphrase alone, keeps archives apart, and refuses what is not one."""

from __future__ import annotations

import json
import os
import stat

import pytest

from datamover.codec.keys import KdfParameters
from datamover.errors import (
    ArchiveMissingError,
    FormatError,
    MalformedError,
    MediumFullError,
    NotAStoreError,
    PassphraseError,
    SealError,
    StoreError,
    StoreExistsError,
    UsageError,
    VersionError,
)
from datamover.files.entry import Entry, Kind
from datamover.mover.description import read_description, write_description
from datamover.mover.label import open_label, seal_label
from datamover.mover.store import Store, create_store
from datamover.testing.chunks import backup_without_a_pipe, make_label

SECRET = b"correct horse"
CHEAP = KdfParameters(salt=b"0123456789abcdef", memory_kib=64, iterations=1, lanes=1)
FILE = Entry(b"src/a", Kind.FILE, 0o100644, size=3, extents=((0, 3),))


def secret():
    return SECRET


@pytest.fixture(params=["aes-256-gcm", "chacha20-poly1305", "none"])
def cipher(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    create_store(tmp_path / "s", passphrase=SECRET, cipher="aes-256-gcm", kdf=CHEAP)
    return tmp_path / "s"


def test_a_new_store_opens_and_is_empty(tmp_path, cipher):
    create_store(str(tmp_path / "s"), passphrase=SECRET, cipher=cipher, kdf=CHEAP)
    with Store.open(str(tmp_path / "s"), secret) as store:
        assert cipher == store.cipher
        assert len(store.unlock()) == (0 if cipher == "none" else 32)
        assert store.catalog.map.archives() == []
        assert len(store.id) == 16


def test_a_new_store_has_only_what_it_needs_and_is_its_owners_alone(path):
    modes = {stat.S_IMODE(one.stat().st_mode) & 0o077 for one in [path, *path.iterdir()]}

    assert modes == {0}
    assert set(os.listdir(path)) == {
        "active", "catalog.lock", "catalog.sqlite", "chunks", "store.json", "tmp",
    }  # fmt: skip


def test_a_store_without_encryption_needs_no_passphrase(tmp_path):
    create_store(tmp_path / "s", passphrase=None, cipher="none")
    with Store.open(tmp_path / "s") as store:
        archive = backup_without_a_pipe(store, [[FILE]])

        assert store.archive_key(store.find()) == archive.key == b""
        assert store.label(store.find()).name == "test"


def test_the_passphrase_is_asked_for_once_and_only_when_it_is_needed(path):
    asked = []

    def ask():
        asked.append(True)
        return SECRET

    with Store.open(path, ask) as store:
        _ = store.catalog.map.archives()
        before = len(asked)
        store.unlock()
        store.unlock()

        assert (before, len(asked)) == (0, 1)


@pytest.mark.parametrize("wrong", [lambda: b"wrong", lambda: b"", None])
def test_a_wrong_passphrase_or_none_is_refused(path, wrong):
    with Store.open(path, wrong) as store, pytest.raises(PassphraseError):
        store.unlock()


@pytest.mark.parametrize("passphrase", [None, b""])
def test_an_encrypted_store_is_not_made_without_a_passphrase(tmp_path, passphrase):
    with pytest.raises(PassphraseError):
        create_store(tmp_path / "s", passphrase=passphrase, cipher="aes-256-gcm", kdf=CHEAP)

    assert not (tmp_path / "s").exists()


def test_an_unknown_cipher_is_refused(tmp_path):
    with pytest.raises(UsageError, match="rot13"):
        create_store(tmp_path / "s", passphrase=SECRET, cipher="rot13")

    assert not (tmp_path / "s").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    before = (path / "store.json").read_bytes()
    for where in (tmp_path / "full", tmp_path / "file", path):
        with pytest.raises(StoreExistsError):
            create_store(where, passphrase=None, cipher="none")

    assert os.listdir(tmp_path / "full") == ["file"]
    assert (path / "store.json").read_bytes() == before


def test_a_folder_without_a_description_is_no_store(tmp_path):
    for where in (tmp_path, tmp_path / "nowhere", "/dev/null"):
        with pytest.raises(NotAStoreError):
            Store.open(where)


def changed(path, **fields):
    described = json.loads((path / "store.json").read_bytes())
    (path / "store.json").write_text(json.dumps(described | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "00" * 16},
        {"cipher": "chacha20-poly1305"},
        {
            "kdf": {
                "salt": "QUFBQUFBQUFBQUFBQUFBQQ==",
                "memory_kib": 64,
                "iterations": 1,
                "lanes": 1,
            }
        },
        {"wrapped_key": "A" * 80},
    ],
)
def test_a_tampered_description_opens_with_no_passphrase(path, fields):
    changed(path, **fields)
    with Store.open(path, secret) as store, pytest.raises(PassphraseError):
        store.unlock()


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "no"},
        {"id": 7},
        {"created_ns": -1},
        {"cipher": "rot13"},
        {"cipher": "none"},
        {"kdf": None},
        {"wrapped_key": None},
        {"wrapped_key": "A" * 4000},
        {"wrapped_key": "!"},
        {"kdf": {"salt": "", "memory_kib": 64, "iterations": 1, "lanes": 1}},
        {"kdf": {"salt": "QUFBQUFBQUE=", "memory_kib": 2**50, "iterations": 1, "lanes": 1}},
        {"kdf": {"salt": "QUFBQUFBQUE=", "memory_kib": 64, "iterations": 2**60, "lanes": 1}},
        {"format": "restic"},
        {"version": 0},
        {"version": "1"},
    ],
)
def test_a_description_that_breaks_a_rule_is_refused(path, fields):
    changed(path, **fields)
    with pytest.raises(MalformedError):
        Store.open(path, secret)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b"{}" * 40_000, b'{"x":' + b"[" * 60_000]
)
def test_a_description_that_is_no_description_is_refused(path, data):
    (path / "store.json").write_bytes(data)
    with pytest.raises(MalformedError):
        Store.open(path, secret)


def test_a_newer_description_is_refused_whatever_else_it_says(path):
    (path / "store.json").write_text('{"format": "datamover-store", "version": 2, "new": []}')
    with pytest.raises(VersionError):
        Store.open(path, secret)


def test_fields_of_a_later_release_are_passed_over(path):
    changed(path, motto="later")
    with Store.open(path, secret) as store:
        assert len(store.unlock()) == 32


def test_a_new_archive_has_its_own_id_and_key(path):
    with Store.open(path, secret) as store:
        first, second = (store.new_archive(make_label()) for _ in range(2))

        assert first.id != second.id
        assert first.key != second.key
        assert store.archive_key(first.record()) == first.key
        assert repr(first.key) not in repr(first)


def test_an_archive_key_opens_for_its_own_archive_alone(path):
    with Store.open(path, secret) as store:
        first, second = (store.new_archive(make_label()).record() for _ in range(2))
        swapped = type(first)(
            id=first.id, created_ns=0, label=first.label, wrapped_key=second.wrapped_key
        )
        with pytest.raises(SealError):
            store.archive_key(swapped)


def test_a_label_comes_back_whatever_is_in_a_name(path):
    label = make_label("n\udcff\n\x00ä")
    with Store.open(path, secret) as store:
        archive = store.new_archive(label)

        assert store.label(archive.record()) == label
        assert b"src" not in archive.label


def test_sources_that_do_not_fit_a_label_are_counted():
    label = make_label()
    label = type(label)(
        name="n", host="h", user="u", started_ns=1, sources=tuple(f"/s/{n}" for n in range(900))
    )
    sealed = seal_label(label, key=b"k" * 32, archive=b"a" * 16)
    found = open_label(sealed, key=b"k" * 32, archive=b"a" * 16)

    assert len(sealed) <= 2048
    assert len(found.sources) + found.omitted == 900
    assert found.sources == label.sources[: len(found.sources)]


def test_a_name_that_is_too_long_is_refused(path):
    with Store.open(path, secret) as store, pytest.raises(UsageError):
        store.new_archive(make_label("n" * 256))


@pytest.mark.parametrize("sealed", [b"", b"x" * 15, b"x" * 300])
def test_a_label_that_is_none_is_refused(sealed):
    with pytest.raises(SealError):
        open_label(sealed, key=b"k" * 32, archive=b"a" * 16)
    with pytest.raises(FormatError):
        open_label(sealed, key=b"", archive=b"a" * 16)


def test_an_archive_is_found_by_name_id_and_prefix(path):
    with Store.open(path, secret) as store:
        old = backup_without_a_pipe(store, [[FILE]], name="same")
        other = backup_without_a_pipe(store, [[FILE]], name="other")
        new = backup_without_a_pipe(store, [[FILE]], name="same")
        found = {
            word: store.find(word).id
            for word in (None, "latest", "same", "other", old.id.hex(), other.id.hex()[:8])
        }

    assert found == {
        None: new.id,
        "latest": new.id,
        "same": new.id,
        "other": other.id,
        old.id.hex(): old.id,
        other.id.hex()[:8]: other.id,
    }


def test_what_names_no_archive_or_several_is_refused(path, monkeypatch):
    ids = iter([b"\xaa" * 15 + b"1", b"\xaa" * 15 + b"2"])
    with Store.open(path, secret) as store:
        with pytest.raises(ArchiveMissingError):
            store.find()
        real = os.urandom
        monkeypatch.setattr(
            "datamover.mover.store.os.urandom", lambda n: next(ids) if n == 16 else real(n)
        )
        for _ in range(2):
            backup = store.new_archive(make_label())
            store.catalog.map.begin(backup.record())
        with pytest.raises(ArchiveMissingError):
            store.find("aaaaaa")
        for one in store.catalog.map.archives():
            store.catalog.map.complete(one.id, completed_ns=1, facts=one.facts)
        with pytest.raises(UsageError, match="2 archive ids"):
            store.find("aaaaaa")
        with pytest.raises(ArchiveMissingError):
            store.find("aaaaa")


@pytest.mark.parametrize(("code", "kind"), [(28, MediumFullError), (5, StoreError)])
def test_a_description_that_cannot_be_made_durable_is_not_there(path, monkeypatch, code, kind):
    before = (path / "store.json").read_bytes()
    described = read_description(path)

    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("datamover.mover.description.os.fsync", refuse)
    with pytest.raises(kind):
        write_description(path, described)

    assert (path / "store.json").read_bytes() == before
    assert not (path / "store.json.new").exists()


def test_a_description_that_cannot_be_read_is_an_error_of_the_store(path):
    (path / "store.json").unlink()
    (path / "store.json").mkdir()
    with pytest.raises(StoreError, match=r"store\.json"):
        Store.open(path, secret)
